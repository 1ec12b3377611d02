//! What a shard and those who send for it say to each other.

use std::sync::Arc;

use super::{slab::Key, wire::SharedFrame};
use crate::{event::Reason, session::Playback};

/// Names a subscriber within its shard. Never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewerId {
    slot: usize,
    number: u64,
}

impl Key for ViewerId {
    fn new(slot: usize, number: u64) -> Self {
        Self { slot, number }
    }
    fn slot(self) -> usize {
        self.slot
    }
    fn number(self) -> u64 {
        self.number
    }
}

/// What a shard's worker does for its subscribers; `T` is what it keeps for each.
pub trait Deliver<T> {
    /// Takes as many of `frames` as the subscriber can take now, in order from the first, and says how many. Less than
    /// all means that it is full: it is left alone until [`Shard::resume`](crate::Shard::resume). Must not block.
    fn deliver(&mut self, viewer: ViewerId, state: &mut T, frames: &[Arc<SharedFrame>]) -> usize;

    /// The same frames for all subscribers that are up to date: to be given to each of `viewers`, as
    /// [`deliver`](Self::deliver) would. For those who can prepare something once that serves all of them.
    fn deliver_live(&mut self, frames: &[Arc<SharedFrame>], viewers: &mut LiveViewers<'_, T>) {
        viewers.for_each(|viewer, state| self.deliver(viewer, state, frames));
    }

    /// The subscriber's session ended; it is no longer in the shard. Already recorded.
    fn ended(&mut self, viewer: ViewerId, state: T, reason: Reason);
}

/// A subscriber that is up to date: it takes what all of them take, so that there is nothing to be kept of it but who it is.
pub(super) struct Live<T> {
    pub(super) id: ViewerId,
    pub(super) state: T,
    pub(super) playback: Box<Playback>,
}

/// As many reads as a processor has under way at a time, about.
const TOUCHED_AT_ONCE: usize = 16;

/// The subscribers of a stream that are up to date.
pub struct LiveViewers<'a, T> {
    live: &'a mut [Live<T>],
    /// Who took less than all, and how much; in order.
    short: &'a mut Vec<(usize, usize)>,
    frames: usize,
    visited: bool,
}

impl<'a, T> LiveViewers<'a, T> {
    pub(super) fn new(
        live: &'a mut [Live<T>],
        short: &'a mut Vec<(usize, usize)>,
        frames: usize,
    ) -> Self {
        Self {
            live,
            short,
            frames,
            visited: false,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Calls `take` for each, which says how many of the frames the subscriber took, in order from the first. Only the first
    /// call does anything: a frame is offered once.
    pub fn for_each(&mut self, take: impl FnMut(ViewerId, &mut T) -> usize) {
        self.for_each_touched(|_| {}, take);
    }

    /// The same, with `touch` called for a few subscribers before it is their turn: to read what `take` will need from memory
    /// that nobody has read since the last frame. The processor waits for several such reads at once, and for each alone when
    /// there is a system call between them.
    pub fn for_each_touched(
        &mut self,
        touch: impl Fn(&T),
        mut take: impl FnMut(ViewerId, &mut T) -> usize,
    ) {
        self.for_each_batch(TOUCHED_AT_ONCE, |batch| {
            batch.states().for_each(&touch);
            batch.take(&mut take);
        });
    }

    /// The same, up to `size` subscribers at a time, at least one: for those who do for many at once what they do for each.
    pub fn for_each_batch(&mut self, size: usize, mut give: impl FnMut(LiveBatch<'_, T>)) {
        if std::mem::replace(&mut self.visited, true) {
            return;
        }
        let mut first = 0;
        for live in self.live.chunks_mut(size.max(1)) {
            let next = first + live.len();
            give(LiveBatch {
                live,
                short: self.short,
                first,
                frames: self.frames,
            });
            first = next;
        }
    }
}

impl<T> Drop for LiveViewers<'_, T> {
    /// Who was not asked has taken nothing.
    fn drop(&mut self) {
        self.for_each(|_, _| 0);
    }
}

/// Some of the subscribers that are up to date.
pub struct LiveBatch<'a, T> {
    live: &'a mut [Live<T>],
    short: &'a mut Vec<(usize, usize)>,
    /// Where the first of them is among all.
    first: usize,
    frames: usize,
}

impl<T> LiveBatch<'_, T> {
    /// What is kept for each.
    pub fn states(&self) -> impl Iterator<Item = &T> {
        self.live.iter().map(|viewer| &viewer.state)
    }

    /// Calls `take` for each, in the order of [`states`](Self::states), which says how many of the frames the subscriber took, in
    /// order from the first.
    pub fn take(mut self, take: impl FnMut(ViewerId, &mut T) -> usize) {
        self.ask(take);
    }

    fn ask(&mut self, mut take: impl FnMut(ViewerId, &mut T) -> usize) {
        let live = std::mem::take(&mut self.live);
        for (at, viewer) in live.iter_mut().enumerate() {
            let taken = take(viewer.id, &mut viewer.state);
            if taken < self.frames {
                self.short.push((self.first + at, taken));
            }
        }
    }
}

impl<T> Drop for LiveBatch<'_, T> {
    /// Who was not asked has taken nothing.
    fn drop(&mut self) {
        self.ask(|_, _| 0);
    }
}
