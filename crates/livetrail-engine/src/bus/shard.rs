//! Sharded delivery: one worker wakes once per frame and serves all of its subscribers itself.
//!
//! A task per subscriber costs a wake, a poll and a trip through the scheduler for each subscriber and frame. A shard
//! costs the writer one atomic operation, and one wake when the worker sleeps; the worker loads each new frame once and
//! hands the same slice to every subscriber that is up to date.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use super::{
    listener::{Listener, Wake},
    stream::Stream,
    wire::SharedFrame,
};
use crate::{event::Reason, session::Playback};

/// Streams that one shard can serve at once.
const MAX_GROUPS: usize = 64 * WORDS;
const WORDS: usize = 1_024;

/// Frames that a subscriber is offered at once at most.
const BATCH_FRAMES: usize = 256;

/// Which streams of a shard have news: a bitmap with a summary, so that marking is two atomic operations at most and
/// finding is proportional to what was marked.
pub(crate) struct ShardSignal {
    wake: Wake,
    summary: Box<[AtomicU64]>,
    words: Box<[AtomicU64]>,
}

impl ShardSignal {
    fn new() -> Self {
        let zeros = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            wake: Wake::default(),
            summary: zeros(WORDS / 64),
            words: zeros(WORDS),
        }
    }

    pub(crate) fn mark(&self, group: usize) {
        let (word, bit) = (group / 64, 1 << (group % 64));
        if self.words[word].fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.summary[word / 64].fetch_or(1 << (word % 64), Ordering::AcqRel);
            self.wake.wake();
        }
    }

    fn take(&self, into: &mut Vec<usize>) {
        for (i, summary) in self.summary.iter().enumerate() {
            // A look costs less than a swap, and most are empty.
            if summary.load(Ordering::Acquire) == 0 {
                continue;
            }
            for word in bits(summary.swap(0, Ordering::AcqRel)) {
                let word = i * 64 + word;
                into.extend(
                    bits(self.words[word].swap(0, Ordering::AcqRel)).map(|bit| word * 64 + bit),
                );
            }
        }
    }
}

fn name(stream: &Arc<Stream>) -> usize {
    Arc::as_ptr(stream).addr()
}

/// The numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        bit
    })
}

/// Names a subscriber within its shard. Never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewerId {
    group: usize,
    number: u64,
}

/// Why a subscriber could not join a shard.
#[derive(Debug, thiserror::Error)]
#[error("a shard serves at most {MAX_GROUPS} streams at once")]
pub struct AttachError {
    /// The subscriber, handed back.
    pub playback: Box<Playback>,
}

/// What a shard's worker does for its subscribers; `T` is what it keeps for each.
pub trait Deliver<T> {
    /// Takes as many of `frames` as the subscriber can take now, in order from the first, and says how many. Less than
    /// all means that it is full: it is left alone until [`Shard::resume`]. Must not block.
    fn deliver(&mut self, viewer: ViewerId, state: &mut T, frames: &[Arc<SharedFrame>]) -> usize;

    /// The subscriber's session ended; it is no longer in the shard. Already recorded.
    fn ended(&mut self, viewer: ViewerId, state: T, reason: Reason);
}

/// Subscribers that one worker serves. Owned by that worker: nothing here is shared but the wake-up.
///
/// The loop of a worker, in this order, for ever: `ready().await`, then `serve(..)`.
pub struct Shard<T> {
    signal: Arc<ShardSignal>,
    groups: Vec<Option<Group<T>>>,
    free: Vec<usize>,
    /// By the stream's address: a name, nothing is read through it. The group keeps the stream alive, so it is unique.
    by_stream: HashMap<usize, usize>,
    next_number: u64,
    viewers: usize,
    /// Scratch, kept for its capacity.
    marked: Vec<usize>,
    batch: Vec<Arc<SharedFrame>>,
    own: Vec<Arc<SharedFrame>>,
}

/// The subscribers to one stream.
struct Group<T> {
    stream: Arc<Stream>,
    /// Frames below were offered to every up-to-date subscriber.
    seen: u64,
    viewers: Vec<Viewer<T>>,
    listener: Listener,
}

struct Viewer<T> {
    number: u64,
    playback: Playback,
    state: T,
    full: bool,
}

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Shard<T> {
    /// A shard without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            signal: Arc::new(ShardSignal::new()),
            groups: Vec::new(),
            free: Vec::new(),
            by_stream: HashMap::new(),
            next_number: 0,
            viewers: 0,
            marked: Vec::new(),
            batch: Vec::with_capacity(BATCH_FRAMES),
            own: Vec::with_capacity(BATCH_FRAMES),
        }
    }

    /// Subscribers at present.
    #[must_use]
    pub fn len(&self) -> usize {
        self.viewers
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.viewers == 0
    }

    /// Takes over a subscriber. Its first frames come with the next [`serve`](Self::serve).
    ///
    /// # Errors
    /// [`AttachError`] when the shard serves as many streams as it can; the subscriber is handed back.
    pub fn attach(&mut self, mut playback: Playback, state: T) -> Result<ViewerId, AttachError> {
        let stream = playback.stream().clone();
        let index = match self.by_stream.get(&name(&stream)) {
            Some(&index) => index,
            None => match self.open_group(&stream) {
                Some(index) => index,
                None => {
                    return Err(AttachError {
                        playback: Box::new(playback),
                    });
                }
            },
        };
        let number = self.next_number;
        self.next_number += 1;
        if let Some(group) = self.groups.get_mut(index).and_then(Option::as_mut) {
            playback.listen_through(&group.listener);
            group.viewers.push(Viewer {
                number,
                playback,
                state,
                full: false,
            });
            self.viewers += 1;
        }
        self.signal.mark(index);
        Ok(ViewerId {
            group: index,
            number,
        })
    }

    /// Lets a subscriber go, for instance because its client left. What becomes of its session is up to the caller.
    pub fn detach(&mut self, viewer: ViewerId) -> Option<(Playback, T)> {
        let group = self.groups.get_mut(viewer.group)?.as_mut()?;
        let at = group
            .viewers
            .iter()
            .position(|v| v.number == viewer.number)?;
        let viewer_state = group.viewers.swap_remove(at);
        self.viewers -= 1;
        if group.viewers.is_empty() {
            self.close_group(viewer.group);
        }
        Some((viewer_state.playback, viewer_state.state))
    }

    /// A subscriber that was full can take frames again: it is offered some with the next [`serve`](Self::serve).
    pub fn resume(&mut self, viewer: ViewerId) {
        let Some(group) = self.groups.get_mut(viewer.group).and_then(Option::as_mut) else {
            return;
        };
        if let Some(found) = group.viewers.iter_mut().find(|v| v.number == viewer.number) {
            found.full = false;
            self.signal.mark(viewer.group);
        }
    }

    /// What the caller keeps for a subscriber.
    pub fn state_mut(&mut self, viewer: ViewerId) -> Option<&mut T> {
        let group = self.groups.get_mut(viewer.group)?.as_mut()?;
        group
            .viewers
            .iter_mut()
            .find(|v| v.number == viewer.number)
            .map(|v| &mut v.state)
    }

    /// Waits until some stream has news: a frame, its end, or the end of a session.
    pub async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }

    /// [`ready`](Self::ready) for those who wait for other things too.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.wake.take_or_register(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Serves every stream that has news.
    pub fn serve(&mut self, deliver: &mut impl Deliver<T>) {
        let mut marked = std::mem::take(&mut self.marked);
        marked.clear();
        self.signal.take(&mut marked);
        for &index in &marked {
            self.serve_group(index, deliver);
        }
        self.marked = marked;
    }

    fn serve_group(&mut self, index: usize, deliver: &mut impl Deliver<T>) {
        let Some(group) = self.groups.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let (first, head) = (group.seen, group.stream.head());
        let last = head.min(first + BATCH_FRAMES as u64);
        self.batch.clear();
        self.batch
            .extend((first..last).map_while(|seq| group.stream.frame(seq)));
        let whole = self.batch.len() as u64 == last - first;
        let has_video = group.stream.has_video();
        // From the back, so that removing by swap moves only those who were served already.
        for at in (0..group.viewers.len()).rev() {
            let viewer = &mut group.viewers[at];
            let id = ViewerId {
                group: index,
                number: viewer.number,
            };
            let ended = if viewer.full {
                viewer.playback.end_reason()
            } else if whole && viewer.playback.is_live_at(first, has_video) {
                viewer.live(id, &self.batch, deliver)
            } else {
                viewer.catch_up(id, &mut self.own, deliver)
            };
            if let Some(reason) = ended {
                let viewer = group.viewers.swap_remove(at);
                self.viewers -= 1;
                deliver.ended(id, viewer.state, reason);
            }
        }
        group.seen = if whole { last } else { head };
        if group.viewers.is_empty() {
            self.close_group(index);
        } else if last < head {
            self.signal.mark(index);
        }
        self.batch.clear();
    }

    fn open_group(&mut self, stream: &Arc<Stream>) -> Option<usize> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.groups.len() < MAX_GROUPS => {
                self.groups.push(None);
                self.groups.len() - 1
            }
            None => return None,
        };
        let listener = Listener::Shard {
            signal: self.signal.clone(),
            group: index,
        };
        stream.listen(&listener);
        self.by_stream.insert(name(stream), index);
        self.groups[index] = Some(Group {
            seen: stream.head(),
            stream: stream.clone(),
            viewers: Vec::new(),
            listener,
        });
        Some(index)
    }

    fn close_group(&mut self, index: usize) {
        if let Some(group) = self.groups.get_mut(index).and_then(Option::take) {
            group.stream.unlisten(&group.listener);
            self.by_stream.remove(&name(&group.stream));
            self.free.push(index);
        }
    }
}

impl<T> Drop for Shard<T> {
    fn drop(&mut self) {
        for index in 0..self.groups.len() {
            self.close_group(index);
        }
    }
}

impl<T> Viewer<T> {
    /// Offers the batch that all up-to-date subscribers share.
    fn live(
        &mut self,
        id: ViewerId,
        batch: &[Arc<SharedFrame>],
        deliver: &mut impl Deliver<T>,
    ) -> Option<Reason> {
        if let Some(reason) = self.playback.end_reason() {
            return Some(reason);
        }
        if !batch.is_empty() {
            let taken = deliver.deliver(id, &mut self.state, batch).min(batch.len());
            self.full = taken < batch.len();
            self.playback.advance_live(&batch[..taken]);
        }
        self.playback.end_if_stream_is_over()
    }

    /// Offers what this subscriber alone needs: configurations and the GOP when it is new, old frames when it was full.
    fn catch_up(
        &mut self,
        id: ViewerId,
        own: &mut Vec<Arc<SharedFrame>>,
        deliver: &mut impl Deliver<T>,
    ) -> Option<Reason> {
        if let Err(reason) = self.playback.collect(own, BATCH_FRAMES) {
            return Some(reason);
        }
        while !own.is_empty() {
            let taken = deliver.deliver(id, &mut self.state, own).min(own.len());
            self.playback.commit(own, taken);
            if taken < own.len() {
                self.full = true;
                return None;
            }
            if let Err(reason) = self.playback.collect(own, BATCH_FRAMES) {
                return Some(reason);
            }
        }
        None
    }
}
