//! The interface between a shard and the worker that sends for it.

use std::sync::Arc;

use super::{slab::Key, wire::SharedFrame};
use crate::{event::Reason, session::Playback};

/// The id of a viewer within its shard. It is never used again for another viewer.
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

/// A worker's actions for its viewers; `T` is the worker's state of each.
///
/// ```
/// use std::sync::Arc;
/// use livetrail_engine::{
///     AppSpec, Attempt, CodecId, Deliver, Engine, FrameFlags, MediaFrame, Reason, Shard,
///     SharedFrame, StreamKey, ViewerId,
/// };
///
/// /// Viewers that take any number of frames. Their state is the number of bytes that they have.
/// #[derive(Default)]
/// struct Counter {
///     ended: Vec<(usize, Reason)>,
/// }
///
/// impl Deliver<usize> for Counter {
///     fn deliver(&mut self, _: ViewerId, bytes: &mut usize, new: &[Arc<SharedFrame>]) -> usize {
///         *bytes += new.iter().map(|frame| frame.payload.len()).sum::<usize>();
///         new.len()
///     }
///
///     fn ended(&mut self, _: ViewerId, bytes: usize, reason: Reason) {
///         self.ended.push((bytes, reason));
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
/// let key = StreamKey::parse("live", "cam")?;
/// let mut publication = engine.publish(Attempt::new(key.clone(), "example")).await?;
/// let mut shard = Shard::new();
/// shard.attach(engine.play(Attempt::new(key, "example")).await?, 0)?;
///
/// let keyframe = FrameFlags::KEYFRAME;
/// publication.push(MediaFrame::video(CodecId::H264, 0, 0, keyframe, "media".into()))?;
/// let mut counter = Counter::default();
/// // A worker does this forever: it waits until there is something to serve, and serves it.
/// shard.ready().await;
/// shard.serve(&mut counter);
/// drop(publication);
/// shard.ready().await;
/// shard.serve(&mut counter);
/// assert_eq!(counter.ended, [(5, Reason::StreamEnded)]);
/// assert!(shard.is_empty());
/// # Ok(()) }
/// ```
pub trait Deliver<T> {
    /// Takes as many of `frames` as the viewer can take now, in order from the first, and returns
    /// how many. Fewer than all means that it is full: the shard skips it until
    /// [`Shard::resume`](crate::Shard::resume). Must not block.
    fn deliver(&mut self, viewer: ViewerId, state: &mut T, frames: &[Arc<SharedFrame>]) -> usize;

    /// Delivers the same frames to all viewers that are up to date: to each of `viewers`, as
    /// [`deliver`](Self::deliver) would. For a worker that can prepare something once for all of
    /// them.
    fn deliver_live(&mut self, frames: &[Arc<SharedFrame>], viewers: &mut LiveViewers<'_, T>) {
        viewers.for_each(|viewer, state| self.deliver(viewer, state, frames));
    }

    /// The viewer's session ended, and the end is on record. The viewer is no longer in the shard.
    fn ended(&mut self, viewer: ViewerId, state: T, reason: Reason);
}

/// A viewer that is up to date. It takes what all such viewers take, so only its identity is kept.
pub(super) struct Live<T> {
    pub(super) id: ViewerId,
    pub(super) state: T,
    pub(super) playback: Box<Playback>,
}

/// About the number of reads that a processor performs at once.
const TOUCHED_AT_ONCE: usize = 16;

/// The viewers of a stream that are up to date.
pub struct LiveViewers<'a, T> {
    live: &'a mut [Live<T>],
    /// Viewers that took fewer than all frames, and how many they took; in order.
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

    /// How many viewers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there are no viewers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Calls `take` for each viewer. It returns how many of the frames the viewer took, in order
    /// from the first. Only the first call has an effect: a frame is offered once.
    pub fn for_each(&mut self, take: impl FnMut(ViewerId, &mut T) -> usize) {
        self.for_each_touched(|_| {}, take);
    }

    /// The same, with `touch` called for a few viewers before their turn, to read the memory that
    /// `take` will need and that was not read since the last frame. The processor waits for several
    /// such reads at once, but for each alone if there is a system call between them.
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

    /// The same for up to `size` viewers at a time, at least one: for a worker that acts for many
    /// viewers at once.
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
    /// Viewers that were not asked have taken nothing.
    fn drop(&mut self) {
        self.for_each(|_, _| 0);
    }
}

/// Some of the viewers that are up to date.
pub struct LiveBatch<'a, T> {
    live: &'a mut [Live<T>],
    short: &'a mut Vec<(usize, usize)>,
    /// The index of the first of them among all.
    first: usize,
    frames: usize,
}

impl<T> LiveBatch<'_, T> {
    /// The state of each viewer.
    pub fn states(&self) -> impl Iterator<Item = &T> {
        self.live.iter().map(|viewer| &viewer.state)
    }

    /// The state of each viewer, in the same order, to prepare something for it.
    pub fn states_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.live.iter_mut().map(|viewer| &mut viewer.state)
    }

    /// Calls `take` for each viewer, in the order of [`states`](Self::states). It returns how many
    /// of the frames the viewer took, in order from the first.
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
    /// Viewers that were not asked have taken nothing.
    fn drop(&mut self) {
        self.ask(|_, _| 0);
    }
}
