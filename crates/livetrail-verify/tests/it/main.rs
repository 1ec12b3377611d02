//! Trails made by an independent writer: sound ones, and many kinds of damaged ones.

#[cfg(feature = "s3")]
mod bucket;
mod command;
mod events;
mod fleet;
mod given_up;
mod hostile;
mod judged;
mod lines;
mod personal;
mod proof;
mod site;
mod sound;
mod stopped;
mod support;
mod tampered;
mod witnesses;
