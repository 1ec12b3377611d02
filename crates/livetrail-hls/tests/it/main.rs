//! Playlists of made streams, compared as text, their rules over time, and tokens.

mod reloads;
mod rules;
mod stream;
mod text;
mod tokens;
