//! Types that the ring, the marks, the wake-up and the outbox share between threads.
//! `tests/models/bus.rs` and `tests/models/thread.rs` replace them with a model checker's types.

pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::yield_now,
};

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

use std::sync::{Arc, OnceLock};

pub(crate) use atomic_waker::AtomicWaker;

/// A slot for a shared value that one thread replaces and any thread reads, without a lock. Reading
/// is cheap. Replacing is not: it checks each thread that may be reading.
pub(crate) type Slot<T> = arc_swap::ArcSwapOption<T>;

/// The result of [`Slot::load`].
pub(crate) type Loaded<T> = arc_swap::Guard<Option<Arc<T>>>;

/// A cell that is filled once. Neither filling nor reading ever waits.
pub(crate) type Cell<T> = OnceLock<Arc<T>>;

/// Frames per segment of the ring. One [`Slot`] change and one allocation are amortised over this
/// many frames; up to `SEGMENT_FRAMES - 1` frames outlive their bound.
pub(crate) const SEGMENT_FRAMES: usize = 16;
