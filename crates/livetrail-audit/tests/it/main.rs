//! The pipeline from outside: what is recorded, what is refused, what is lost and reported.
//!
//! `allocations.rs` and `idle.rs` next to this directory need a process of their own.

mod common;
mod file_sink;
mod ledger;
mod openings;
mod pipeline;
mod refusals;
mod sound;
mod strict;
mod viewers;
