//! How much a session has carried, and its position. The thread that serves the session writes
//! this, and any thread may read it.
//!
//! Of the viewers that one worker serves together, all that are up to date carry the same frames.
//! Their frames are counted once, in a shared [`Pace`], and not once per viewer: with a thousand
//! sessions a frame then leaves a thousand cache lines untouched.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The frames and bytes carried to all viewers that are currently up to date, since the pace
/// started.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    frames: AtomicU64,
    bytes: AtomicU64,
    position: AtomicU64,
}

impl Pace {
    /// A pace at this frame that has carried nothing.
    pub(crate) fn at(position: u64) -> Self {
        Self {
            position: AtomicU64::new(position),
            ..Self::default()
        }
    }

    /// Adds carried frames and bytes; the next frame is `position`. Only one thread calls this.
    pub(crate) fn advance(&self, frames: u64, bytes: u64, position: u64) {
        add(&self.frames, frames);
        add(&self.bytes, bytes);
        self.position.store(position, Relaxed);
    }
}

/// One session's sums and position.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// With a pace, these are added to the pace's sums: the session's sums less what the pace had
    /// carried before. They wrap.
    frames: AtomicU64,
    bytes: AtomicU64,
    position: AtomicU64,
    /// Held while the sums change their meaning, so that no reader sees a mixture.
    pace: Mutex<Option<Arc<Pace>>>,
}

/// What a session has carried, and the number of its next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) position: u64,
}

impl Progress {
    /// Counts frames carried outside any pace. One thread at a time counts for a session.
    pub(crate) fn count(&self, frames: u64, bytes: u64) {
        add(&self.frames, frames);
        add(&self.bytes, bytes);
    }

    /// Counts what several threads carry at once, for a session that never has a pace.
    pub(crate) fn count_from_any_thread(&self, frames: u64, bytes: u64) {
        self.frames.fetch_add(frames, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Sets the next frame, while there is no pace.
    pub(crate) fn move_to(&self, position: u64) {
        self.position.store(position, Relaxed);
    }

    /// Joins a pace: from now on the session carries what the pace carries.
    pub(crate) fn join(&self, pace: &Arc<Pace>) {
        let mut own = self.lock();
        self.settle(own.take());
        self.frames.store(
            self.frames
                .load(Relaxed)
                .wrapping_sub(pace.frames.load(Relaxed)),
            Relaxed,
        );
        self.bytes.store(
            self.bytes
                .load(Relaxed)
                .wrapping_sub(pace.bytes.load(Relaxed)),
            Relaxed,
        );
        *own = Some(pace.clone());
    }

    /// Leaves the pace: what the pace has carried until now becomes the session's own.
    pub(crate) fn leave(&self) {
        let mut own = self.lock();
        self.settle(own.take());
    }

    /// The current sums and position.
    pub(crate) fn carried(&self) -> Carried {
        let own = self.lock();
        let (frames, bytes) = (self.frames.load(Relaxed), self.bytes.load(Relaxed));
        match &*own {
            None => Carried {
                frames,
                bytes,
                position: self.position.load(Relaxed),
            },
            Some(pace) => Carried {
                frames: frames.wrapping_add(pace.frames.load(Relaxed)),
                bytes: bytes.wrapping_add(pace.bytes.load(Relaxed)),
                position: pace.position.load(Relaxed),
            },
        }
    }

    fn settle(&self, pace: Option<Arc<Pace>>) {
        if let Some(pace) = pace {
            add(&self.frames, pace.frames.load(Relaxed));
            add(&self.bytes, pace.bytes.load(Relaxed));
            self.position.store(pace.position.load(Relaxed), Relaxed);
        }
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Pace>>> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only one thread writes, so a load and a store are enough.
fn add(sum: &AtomicU64, more: u64) {
    sum.store(sum.load(Relaxed).wrapping_add(more), Relaxed);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However often a session joins and leaves a pace, it has carried its own counts plus what
        /// the pace carried while the session was with it.
        #[test]
        fn a_session_has_carried_its_own_and_the_paces_that_it_kept(
            steps in prop::collection::vec((0..4u8, 1..1_000u64), 0..60),
        ) {
            let (progress, pace) = (Progress::default(), Arc::new(Pace::at(7)));
            let (mut frames, mut bytes, mut place) = (0, 0, 0);
            let (mut with_pace, mut pace_place) = (false, 7);
            for (step, n) in steps {
                match step {
                    0 if !with_pace => {
                        progress.count(1, n);
                        (frames, bytes) = (frames + 1, bytes + n);
                    }
                    1 => {
                        pace_place += 1;
                        pace.advance(1, n, pace_place);
                        if with_pace {
                            (frames, bytes) = (frames + 1, bytes + n);
                        }
                    }
                    2 => {
                        progress.join(&pace);
                        with_pace = true;
                    }
                    _ => {
                        progress.leave();
                        with_pace = false;
                    }
                }
                if with_pace {
                    place = pace_place;
                }
                prop_assert_eq!(progress.carried(), Carried { frames, bytes, position: place });
            }
        }
    }
}
