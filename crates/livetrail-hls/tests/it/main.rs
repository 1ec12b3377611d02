//! Playlists of made streams, compared as text, and their rules over time.

mod reloads;
mod rules;
mod stream;
mod text;
