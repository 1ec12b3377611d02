//! How much a session has carried, and where it is: written by whoever serves it, read by whoever asks.
//!
//! Of the subscribers that a worker serves together, all those that are up to date carry the same frames. So their frames
//! are counted once, in a [`Pace`] that they share, and not once each: a thousand sessions are a thousand cache lines that
//! a frame does not touch.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What has been carried to all subscribers that are up to date at the moment, since it began.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    frames: AtomicU64,
    bytes: AtomicU64,
    position: AtomicU64,
}

impl Pace {
    /// At this frame, having carried nothing.
    pub(crate) fn at(position: u64) -> Self {
        Self {
            position: AtomicU64::new(position),
            ..Self::default()
        }
    }

    /// So much more was carried, and the next frame is `position`. One thread alone says so.
    pub(crate) fn advance(&self, frames: u64, bytes: u64, position: u64) {
        add(&self.frames, frames);
        add(&self.bytes, bytes);
        self.position.store(position, Relaxed);
    }
}

/// One session's sums and place.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// With a pace, these are what it has to be added to: the sums less what the pace had carried before. They wrap.
    frames: AtomicU64,
    bytes: AtomicU64,
    position: AtomicU64,
    /// Held while the sums change their meaning, so that nobody reads halves.
    pace: Mutex<Option<Arc<Pace>>>,
}

/// What a session has carried, and the number of the next frame that it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) position: u64,
}

impl Progress {
    /// Counts what was carried apart from any pace. One thread at a time counts for a session.
    pub(crate) fn count(&self, frames: u64, bytes: u64) {
        add(&self.frames, frames);
        add(&self.bytes, bytes);
    }

    /// Counts what several threads carry at once, for a session that never has a pace.
    pub(crate) fn count_from_any_thread(&self, frames: u64, bytes: u64) {
        self.frames.fetch_add(frames, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// The next frame to look at, while there is no pace.
    pub(crate) fn move_to(&self, position: u64) {
        self.position.store(position, Relaxed);
    }

    /// From now on carries what the pace carries.
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

    /// No more: what the pace has carried until now is this session's own.
    pub(crate) fn leave(&self) {
        let mut own = self.lock();
        self.settle(own.take());
    }

    /// The sums and the place of this moment.
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

    /// Nothing that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Pace>>> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread writes, so a load and a store will do.
fn add(sum: &AtomicU64, more: u64) {
    sum.store(sum.load(Relaxed).wrapping_add(more), Relaxed);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However often a session joins and leaves a pace, it has carried what it counted and what the pace carried while
        /// it was with it.
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
