//! What the ring and the marks share between threads with; `tests/bus_model.rs` puts a model checker's in its place.

pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::yield_now,
};

pub(crate) use atomic_waker::AtomicWaker;

/// A place for a shared value that one thread replaces and any thread reads, without a lock.
pub(crate) type Slot<T> = arc_swap::ArcSwapOption<T>;
