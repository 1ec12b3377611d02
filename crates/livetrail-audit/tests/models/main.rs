//! Protocols of the pipeline under a model checker: each interleaving that the memory model allows.
//!
//! The modules are the library's own. They take their atomics from `super::sync`, which is the
//! model checker's here.

#![allow(
    dead_code,
    reason = "the modules are the library's, of which the models need the protocols alone"
)]

mod asleep_worker;
mod loss_banks;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

#[path = "../../src/pipeline/asleep.rs"]
mod asleep;
#[path = "../../src/pipeline/loss.rs"]
mod loss;
