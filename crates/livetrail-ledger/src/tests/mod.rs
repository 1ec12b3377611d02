//! Tests of the whole: crashes at every step, then the whole tree recomputed from the files.
//!
//! What the fuzzer needs of them is built with the feature `fuzz`, too.

#![cfg_attr(not(test), allow(dead_code, reason = "the fuzzer needs a part of it"))]

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod faults;
pub(crate) mod harness;
#[cfg(test)]
mod held;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod large;
pub(crate) mod operations;
#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod pruning;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod room;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod running;
