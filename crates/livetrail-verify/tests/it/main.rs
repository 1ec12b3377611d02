//! Trails made by an independent writer, sound ones and every way of spoiling them.

mod command;
mod events;
mod given_up;
mod hostile;
mod lines;
mod proof;
mod sound;
mod support;
mod tampered;
mod witnesses;
