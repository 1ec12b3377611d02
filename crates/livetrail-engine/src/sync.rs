//! What the ring, the marks, the bell and the outbox share between threads with; `tests/bus_model.rs` and
//! `tests/thread_model.rs` put a model checker's in its place.

pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::yield_now,
};

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

use std::sync::{Arc, OnceLock};

pub(crate) use atomic_waker::AtomicWaker;

/// A place for a shared value that one thread replaces and any thread reads, without a lock. Reading is cheap; to replace is not:
/// it looks after every thread that may be reading.
pub(crate) type Slot<T> = arc_swap::ArcSwapOption<T>;

/// What [`Slot::load`] gives.
pub(crate) type Loaded<T> = arc_swap::Guard<Option<Arc<T>>>;

/// A place that is filled once: neither filling nor reading waits for anybody.
pub(crate) type Cell<T> = OnceLock<Arc<T>>;

/// Frames in a segment of the ring: so many share the price of a [`Slot`] that changes, and of an allocation; and so many
/// less one may be kept longer than they have to be.
pub(crate) const SEGMENT_FRAMES: usize = 16;
