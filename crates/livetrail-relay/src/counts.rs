//! What pulls and pushes have done.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

macro_rules! counts {
    ($(#[$of_shown:meta])* $shown:ident from $live:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        #[derive(Debug, Default)]
        pub(crate) struct $live {
            $(pub(crate) $name: AtomicU64,)*
        }

        $(#[$of_shown])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct $shown {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl $live {
            pub(crate) fn snapshot(&self) -> $shown {
                $shown { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Counts of pulls. All but the first two only grow.
    PullCounts from LivePullCounts {
        /// Pulls that are open now, those that look for an origin included.
        open,
        /// Of these, those that get frames from an origin.
        carrying,
        /// Pulls that were opened.
        opened,
        /// Sessions at origins that were started.
        sessions,
        /// Origins that were lost while they sent frames.
        lost,
        /// Attempts that an origin refused.
        refused,
        /// Attempts at an origin that could not be reached, did not answer, or sent no frame.
        unreachable,
        /// Viewers that were refused because of a remembered answer.
        remembered,
        /// Viewers that were refused because there were too many pulls, or too many at once.
        limited,
    }
}

counts! {
    /// Counts of pushes. All but the first two only grow.
    PushCounts from LivePushCounts {
        /// Pushes that are open now: one for each target of each stream.
        open,
        /// Of these, those whose target takes frames.
        carrying,
        /// Sessions at targets that were started.
        sessions,
        /// Attempts that a target refused.
        refused,
        /// Attempts at a target that could not be reached or did not answer, and sessions that it
        /// ended.
        failed,
        /// Frames that were skipped because a target was too slow.
        skipped_frames,
        /// Pushes that were not opened because there were too many.
        limited,
    }
}

/// Counts as long as it lives.
pub(crate) struct Counted<T> {
    of: Arc<T>,
    which: fn(&T) -> &AtomicU64,
}

impl<T> Counted<T> {
    pub(crate) fn new(of: &Arc<T>, which: fn(&T) -> &AtomicU64) -> Self {
        which(of).fetch_add(1, Relaxed);
        Self {
            of: of.clone(),
            which,
        }
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        (self.which)(&self.of).fetch_sub(1, Relaxed);
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
