//! Tests of the whole ledger: crashes at every step, then the whole tree recomputed from the files.
//!
//! The feature `fuzz` also builds the parts that the fuzzer needs.

#![cfg_attr(not(test), allow(dead_code, reason = "the fuzzer needs a part of it"))]

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod companions;
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
