//! Waking readers: the writer marks a listener, and wakes it only if it was not marked already.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use atomic_waker::AtomicWaker;

use super::shard::ShardSignal;

/// A task's waker with a flag in front of it, so that a busy reader costs the writer one atomic operation.
#[derive(Default)]
pub(crate) struct Wake {
    marked: AtomicBool,
    waker: AtomicWaker,
}

impl Wake {
    /// Marks, and wakes if that is news.
    pub(crate) fn wake(&self) {
        if !self.marked.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Takes the mark away, telling whether there was one; if there was none, `waker` is woken by the next.
    pub(crate) fn take_or_register(&self, waker: &std::task::Waker) -> bool {
        if self.marked.swap(false, Ordering::AcqRel) {
            return true;
        }
        self.waker.register(waker);
        // A mark between the two: the waker may have missed it.
        self.marked.swap(false, Ordering::AcqRel)
    }
}

/// Who is woken when a stream has a new frame or ends.
#[derive(Clone)]
pub(crate) enum Listener {
    /// One subscriber that polls for itself.
    Single(Arc<Wake>),
    /// A shard, which serves all of its subscribers to this stream; `group` is the stream's number within it.
    Shard {
        /// The shard.
        signal: Arc<ShardSignal>,
        /// The stream's number within the shard.
        group: usize,
    },
}

impl Listener {
    pub(crate) fn notify(&self) {
        match self {
            Self::Single(wake) => wake.wake(),
            Self::Shard { signal, group } => signal.mark(*group),
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Single(a), Self::Single(b)) => Arc::ptr_eq(a, b),
            (
                Self::Shard {
                    signal: a,
                    group: i,
                },
                Self::Shard {
                    signal: b,
                    group: j,
                },
            ) => i == j && Arc::ptr_eq(a, b),
            (Self::Single(_), Self::Shard { .. }) | (Self::Shard { .. }, Self::Single(_)) => false,
        }
    }
}
