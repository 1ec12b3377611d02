//! Tests of the whole: crashes at every step, then the whole tree recomputed from the files.

mod faults;
pub(crate) mod harness;
mod invariants;
mod large;
mod power_cuts;
mod refusals;
mod rotation;
mod running;
