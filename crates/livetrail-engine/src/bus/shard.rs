//! Sharded delivery: one worker wakes once per frame and serves all of its subscribers itself.
//!
//! A task per subscriber costs a wake, a poll and a trip through the scheduler for each subscriber and frame. A shard
//! costs the writer one atomic operation, and one wake when the worker sleeps; the worker loads each new frame once and
//! hands the same slice to every subscriber that is up to date.
//!
//! ```text
//!             attach ─▶ waiting ──── caught up ───▶ live ─┐ one batch for all of them
//!                        ▲    │                      │    │
//!        resume, or news │    └─ took less ─▶ full ◀─┘ ◀──┘ took less
//!                        └────────────────────┘
//! ```
//!
//! Joining, leaving and resuming cost the same however many others there are, and none of them makes the worker look at
//! those who are up to date.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use super::{
    deliver::{Deliver, Live, LiveViewers, ViewerId},
    listener::Listener,
    marks::Marks,
    stream::Stream,
    wire::SharedFrame,
};
use crate::{event::Reason, progress::Pace, session::Playback};

/// Streams that one shard can serve at once.
const MAX_GROUPS: usize = 64 * WORDS;
const WORDS: usize = 1_024;

/// News that comes after less than this is likely to be followed by more before a worker could sleep and be woken.
const DENSE_US: u64 = 20;
/// Looks that a worker then takes for it before it sleeps: 5 to 15 µs.
const LOOKS: u32 = 300;

/// Frames that a subscriber is offered at once at most.
const BATCH_FRAMES: usize = 256;

/// What others tell a shard: that a stream has news, and that a session has ended.
pub(crate) struct ShardSignal {
    marks: Marks,
    /// Sessions that ended elsewhere. Each ends once, so there are never more than subscribers.
    ended: Mutex<Vec<ViewerId>>,
}

impl ShardSignal {
    fn new() -> Self {
        Self {
            marks: Marks::new(WORDS),
            ended: Mutex::default(),
        }
    }

    pub(crate) fn mark(&self, group: usize) {
        self.marks.mark(group);
    }

    pub(crate) fn ended(&self, viewer: ViewerId) {
        self.lock().push(viewer);
        self.marks.wake().wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ViewerId>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(stream: &Arc<Stream>) -> usize {
    Arc::as_ptr(stream).addr()
}

/// Why a subscriber could not join a shard.
#[derive(Debug, thiserror::Error)]
#[error("a shard serves at most {MAX_GROUPS} streams at once")]
pub struct AttachError {
    /// The subscriber, handed back.
    pub playback: Box<Playback>,
}

/// Subscribers that one worker serves. Owned by that worker: nothing here is shared but the wake-up.
///
/// The loop of a worker, in this order, for ever: [`ready`](Self::ready), then [`serve`](Self::serve). A worker that has
/// other things to do as well takes `serve` apart: [`serve_news`](Self::serve_news) for those who are up to date, then
/// [`serve_waiting`](Self::serve_waiting) for a few of the others, so that a thousand who join do not keep a thousand who
/// watch from their next frame.
pub struct Shard<T> {
    signal: Arc<ShardSignal>,
    groups: Vec<Option<Group<T>>>,
    free_groups: Vec<usize>,
    /// By the stream's address: a name, nothing is read through it. The group keeps the stream alive, so it is unique.
    by_stream: HashMap<usize, usize>,
    seats: Vec<Seat<T>>,
    free_seats: Vec<usize>,
    next_number: u64,
    viewers: usize,
    /// To be served on their own, first come first served. One that has left since is passed over.
    waiting: VecDeque<ViewerId>,
    /// When the newest frame came that was served, in microseconds.
    newest_us: u64,
    /// Frames come less than [`DENSE_US`] apart, or one came while the worker looked for it.
    dense: bool,
    /// Scratch, kept for its capacity.
    marked: Vec<usize>,
    batch: Vec<Arc<SharedFrame>>,
    own: Vec<Arc<SharedFrame>>,
    short: Vec<(usize, usize)>,
}

/// The subscribers to one stream.
struct Group<T> {
    stream: Arc<Stream>,
    listener: Listener,
    /// Frames below were offered to every subscriber that is up to date.
    seen: u64,
    /// What those were offered since the group began.
    pace: Arc<Pace>,
    /// Whether there was video to wait for when the stream was last checked.
    has_video: bool,
    live: Vec<Live<T>>,
    /// Those who have nothing to take until there is news: a keyframe, or the frames that they are ahead by.
    idle: Vec<ViewerId>,
    /// All of them, wherever they are.
    viewers: usize,
}

/// Where a subscriber is to be found.
struct Seat<T> {
    /// Of the subscriber; the seat is used again, the number is not.
    number: u64,
    group: usize,
    place: Place<T>,
}

enum Place<T> {
    Empty,
    /// At this place of the group's `live`.
    Live(usize),
    Aside(Aside<T>),
}

/// A subscriber that is not up to date.
struct Aside<T> {
    playback: Box<Playback>,
    state: T,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    /// To be served for the first time: it gets all that is there, whatever the others have got.
    New,
    /// In `waiting`.
    Waiting,
    /// In its group's `idle`.
    Idle,
    /// Left alone until it is resumed.
    Full,
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
            free_groups: Vec::new(),
            by_stream: HashMap::new(),
            seats: Vec::new(),
            free_seats: Vec::new(),
            next_number: 0,
            viewers: 0,
            waiting: VecDeque::new(),
            newest_us: 0,
            dense: false,
            marked: Vec::new(),
            batch: Vec::with_capacity(BATCH_FRAMES),
            own: Vec::with_capacity(BATCH_FRAMES),
            short: Vec::new(),
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

    /// Takes over a subscriber. Its first frames come with the next [`serve`](Self::serve), or when
    /// [`serve_waiting`](Self::serve_waiting) comes to it.
    ///
    /// # Errors
    /// [`AttachError`] when the shard serves as many streams as it can; the subscriber is handed back.
    pub fn attach(
        &mut self,
        playback: impl Into<Box<Playback>>,
        state: T,
    ) -> Result<ViewerId, AttachError> {
        let mut playback = playback.into();
        let stream = playback.stream().clone();
        let known = self.by_stream.get(&name(&stream)).copied();
        let Some(index) = known.or_else(|| self.open_group(&stream)) else {
            return Err(AttachError { playback });
        };
        let slot = self.free_seats.pop().unwrap_or_else(|| {
            self.seats.push(Seat {
                number: 0,
                group: 0,
                place: Place::Empty,
            });
            self.seats.len() - 1
        });
        let id = ViewerId {
            slot,
            number: self.next_number,
        };
        self.next_number += 1;
        playback.sit(Listener::Seat {
            signal: self.signal.clone(),
            viewer: id,
        });
        self.seats[slot] = Seat {
            number: id.number,
            group: index,
            place: Place::Aside(Aside {
                playback,
                state,
                status: Status::New,
            }),
        };
        if let Some(group) = self.group_mut(index) {
            group.viewers += 1;
        }
        self.viewers += 1;
        self.waiting.push_back(id);
        Ok(id)
    }

    /// Lets a subscriber go, for instance because its client left. What becomes of its session is up to the caller.
    pub fn detach(&mut self, viewer: ViewerId) -> Option<(Playback, T)> {
        let (playback, state) = self.remove(viewer)?;
        playback.stand();
        Some((*playback, state))
    }

    /// A subscriber that was full can take frames again: it is offered some with the next [`serve`](Self::serve).
    pub fn resume(&mut self, viewer: ViewerId) {
        if let Some(Place::Aside(aside)) = self.place_mut(viewer)
            && aside.status == Status::Full
        {
            aside.status = Status::Waiting;
            self.waiting.push_back(viewer);
        }
    }

    /// What the caller keeps for a subscriber.
    pub fn state_mut(&mut self, viewer: ViewerId) -> Option<&mut T> {
        let seat = self.seats.get_mut(viewer.slot)?;
        if seat.number != viewer.number {
            return None;
        }
        match &mut seat.place {
            Place::Empty => None,
            Place::Aside(aside) => Some(&mut aside.state),
            Place::Live(at) => {
                let group = self.groups.get_mut(seat.group)?.as_mut()?;
                group.live.get_mut(*at).map(|live| &mut live.state)
            }
        }
    }

    /// Waits until there is something to serve: news of a stream, the end of a session, a subscriber that waits.
    ///
    /// While frames come closer together than a sleep and a wake-up take, it looks for the next one for some microseconds before it
    /// sleeps, and keeps its thread for so long.
    pub async fn ready(&mut self) {
        if self.dense && !self.has_waiting() {
            self.dense = self.signal.marks.wake().look(LOOKS);
        }
        poll_fn(|cx| self.poll_ready(cx)).await;
    }

    /// [`ready`](Self::ready) for those who wait for other things too.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Asked in any case: who is told of news later must be known by then.
        let news = self.poll_news(cx);
        if self.has_waiting() {
            return Poll::Ready(());
        }
        news
    }

    /// Ready when a stream has news (a frame, its end) or a session has ended, once for all that came since the last time.
    pub fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.marks.wake().take_or_register(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether there are subscribers for [`serve_waiting`](Self::serve_waiting).
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Serves everybody: [`serve_news`](Self::serve_news), then all who wait.
    pub fn serve(&mut self, deliver: &mut impl Deliver<T>) {
        self.serve_news(deliver);
        self.serve_waiting(usize::MAX, deliver);
    }

    /// Gives all who are up to date what is new, and lets go of those whose sessions have ended.
    pub fn serve_news(&mut self, deliver: &mut impl Deliver<T>) {
        // Whoever let the news gather has not been asked for what came meanwhile, and need not be.
        self.signal.marks.wake().take();
        self.remove_ended(deliver);
        let mut marked = std::mem::take(&mut self.marked);
        marked.clear();
        self.signal.marks.take(&mut marked);
        let before_us = self.newest_us;
        for &index in &marked {
            self.serve_group(index, deliver);
        }
        self.dense |= self.newest_us.saturating_sub(before_us) < DENSE_US && !marked.is_empty();
        self.marked = marked;
    }

    /// Gives up to `limit` subscribers what they alone need: configurations and the GOP when they are new, old frames when
    /// they were full. Each is offered all that is there until it is full.
    pub fn serve_waiting(&mut self, limit: usize, deliver: &mut impl Deliver<T>) {
        for _ in 0..limit {
            let Some(viewer) = self.waiting.pop_front() else {
                return;
            };
            self.catch_up(viewer, deliver);
        }
    }

    fn remove_ended(&mut self, deliver: &mut impl Deliver<T>) {
        let ended = std::mem::take(&mut *self.signal.lock());
        for viewer in ended {
            if let Some((playback, state)) = self.remove(viewer) {
                let reason = playback.end_reason().unwrap_or(Reason::InternalError);
                deliver.ended(viewer, state, reason);
            }
        }
    }

    fn serve_group(&mut self, index: usize, deliver: &mut impl Deliver<T>) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        if let Some(group) = self.group_mut(index) {
            // Closed is read before the head: what was published before the end is still handed out.
            let closed = group.stream.is_closed();
            let mut published = group.stream.published();
            let (first, head) = (group.seen, published.head());
            let last = head.min(first + BATCH_FRAMES as u64);
            let pushed_us = group.stream.pushed_us();
            batch.extend((first..last).map_while(|seq| published.get(seq).cloned()));
            let whole = batch.len() as u64 == last - first;
            // After the frames: whoever sees the first of the video sees that there is some.
            let has_video = group.stream.has_video(first);
            let had_video = std::mem::replace(&mut group.has_video, has_video);
            let video_began = has_video && !had_video;
            if !whole {
                self.set_aside(index, |_| true);
                self.advance(index, &[], head);
            } else {
                if video_began {
                    self.set_aside(index, |live| !live.playback.is_live_at(first, true));
                }
                self.deliver_live(index, &batch, deliver);
                self.advance(index, &batch, last);
            }
            self.newest_us = self.newest_us.max(pushed_us);
            if closed {
                self.end_live_if_over(index, head, deliver);
            }
            self.wake_idle(index);
            if last < head && whole {
                self.signal.mark(index);
            }
            self.close_group_if_empty(index);
        }
        batch.clear();
        self.batch = batch;
    }

    /// Offers the batch to all who are up to date; who does not take all of it is so no more.
    fn deliver_live(
        &mut self,
        index: usize,
        batch: &[Arc<SharedFrame>],
        deliver: &mut impl Deliver<T>,
    ) {
        let mut short = std::mem::take(&mut self.short);
        short.clear();
        if let Some(group) = self.groups.get_mut(index).and_then(Option::as_mut)
            && !batch.is_empty()
            && !group.live.is_empty()
        {
            let mut viewers = LiveViewers::new(&mut group.live, &mut short, batch.len());
            deliver.deliver_live(batch, &mut viewers);
            drop(viewers);
            // From the back, so that removing by swap moves only those who took everything.
            for &(at, taken) in short.iter().rev() {
                let Some(mut live) = self.take_live(index, at) else {
                    continue;
                };
                live.playback.commit_live(&batch[..taken]);
                self.put_aside(live, Status::Full);
            }
        }
        self.short = short;
    }

    fn advance(&mut self, index: usize, batch: &[Arc<SharedFrame>], seen: u64) {
        if let Some(group) = self.group_mut(index) {
            let bytes = batch.iter().map(|frame| frame.payload.len() as u64).sum();
            group.pace.advance(batch.len() as u64, bytes, seen);
            group.seen = seen;
        }
    }

    /// Of those who are up to date, these are so no more.
    fn set_aside(&mut self, index: usize, which: impl Fn(&Live<T>) -> bool) {
        let count = self.group_mut(index).map_or(0, |group| group.live.len());
        for at in (0..count).rev() {
            let live = self.group_mut(index).and_then(|group| group.live.get(at));
            if live.is_some_and(&which)
                && let Some(live) = self.take_live(index, at)
            {
                self.waiting.push_back(live.id);
                self.put_aside(live, Status::Waiting);
            }
        }
    }

    fn end_live_if_over(&mut self, index: usize, head: u64, deliver: &mut impl Deliver<T>) {
        while let Some(group) = self.group_mut(index)
            && group.seen == head
            && let Some(last) = group.live.last()
        {
            let viewer = last.id;
            if let Some((playback, state)) = self.remove_only(viewer) {
                let reason = playback.end_with_stream();
                deliver.ended(viewer, state, reason);
            }
        }
    }

    /// There is news: those who had nothing to take look again.
    fn wake_idle(&mut self, index: usize) {
        let idle = self.group_mut(index).map(|g| std::mem::take(&mut g.idle));
        let mut idle = idle.unwrap_or_default();
        for &viewer in &idle {
            if let Some(Place::Aside(aside)) = self.place_mut(viewer) {
                aside.status = Status::Waiting;
                self.waiting.push_back(viewer);
            }
        }
        idle.clear();
        if let Some(group) = self.group_mut(index) {
            group.idle = idle;
        }
    }

    fn catch_up(&mut self, viewer: ViewerId, deliver: &mut impl Deliver<T>) {
        let Some(seat) = self.seats.get_mut(viewer.slot) else {
            return;
        };
        let (number, index) = (seat.number, seat.group);
        let Place::Aside(aside) = &mut seat.place else {
            return;
        };
        let Some(group) = self.groups.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        // Who waits is in the queue once; what is there twice or has left is passed over.
        if number != viewer.number || !matches!(aside.status, Status::New | Status::Waiting) {
            return;
        }
        // Who is new has waited long enough. Who is not must not run ahead of the others: it could never join them.
        let until = match aside.status {
            Status::New => u64::MAX,
            Status::Waiting | Status::Idle | Status::Full => group.seen,
        };
        match aside.take_own(viewer, until, &mut self.own, deliver) {
            Err(reason) => {
                if let Some((_, state)) = self.remove(viewer) {
                    deliver.ended(viewer, state, reason);
                }
            }
            Ok(true) if aside.playback.is_live_at(group.seen, group.has_video) => {
                self.make_live(viewer);
            }
            Ok(true) => {
                // What it waits for has not come, or has been marked.
                aside.status = Status::Idle;
                group.idle.push(viewer);
            }
            Ok(false) => aside.status = Status::Full,
        }
    }

    /// From where it is to where the group is there is nothing left.
    fn make_live(&mut self, viewer: ViewerId) {
        let Some(seat) = self.seats.get_mut(viewer.slot) else {
            return;
        };
        let Some(group) = self.groups.get_mut(seat.group).and_then(Option::as_mut) else {
            return;
        };
        let place = Place::Live(group.live.len());
        if let Place::Aside(aside) = std::mem::replace(&mut seat.place, place) {
            aside.playback.join(&group.pace);
            group.live.push(Live {
                id: viewer,
                state: aside.state,
                playback: aside.playback,
            });
        }
    }

    /// Takes one out of those who are up to date; it goes on where they are.
    fn take_live(&mut self, index: usize, at: usize) -> Option<Live<T>> {
        let group = self.groups.get_mut(index)?.as_mut()?;
        if at >= group.live.len() {
            return None;
        }
        let mut live = group.live.swap_remove(at);
        live.playback.leave(group.seen);
        if let Some(moved) = group.live.get(at)
            && let Some(seat) = self.seats.get_mut(moved.id.slot)
        {
            seat.place = Place::Live(at);
        }
        Some(live)
    }

    fn put_aside(&mut self, live: Live<T>, status: Status) {
        if let Some(seat) = self.seats.get_mut(live.id.slot) {
            seat.place = Place::Aside(Aside {
                playback: live.playback,
                state: live.state,
                status,
            });
        }
    }

    fn remove(&mut self, viewer: ViewerId) -> Option<(Box<Playback>, T)> {
        let index = self.seats.get(viewer.slot)?.group;
        let removed = self.remove_only(viewer)?;
        self.close_group_if_empty(index);
        Some(removed)
    }

    /// Removes a subscriber, and leaves its group even when that is empty.
    fn remove_only(&mut self, viewer: ViewerId) -> Option<(Box<Playback>, T)> {
        let index = self.seats.get(viewer.slot)?.group;
        let removed = match std::mem::replace(self.place_mut(viewer)?, Place::Empty) {
            Place::Empty => return None,
            Place::Live(at) => {
                let live = self.take_live(index, at)?;
                (live.playback, live.state)
            }
            Place::Aside(aside) => {
                if let Some(group) = self.group_mut(index)
                    && aside.status == Status::Idle
                {
                    group.idle.retain(|idle| *idle != viewer);
                }
                (aside.playback, aside.state)
            }
        };
        self.free_seats.push(viewer.slot);
        self.viewers -= 1;
        if let Some(group) = self.group_mut(index) {
            group.viewers -= 1;
        }
        Some(removed)
    }

    fn place_mut(&mut self, viewer: ViewerId) -> Option<&mut Place<T>> {
        let seat = self.seats.get_mut(viewer.slot)?;
        (seat.number == viewer.number && !matches!(seat.place, Place::Empty))
            .then_some(&mut seat.place)
    }

    fn group_mut(&mut self, index: usize) -> Option<&mut Group<T>> {
        self.groups.get_mut(index)?.as_mut()
    }

    fn open_group(&mut self, stream: &Arc<Stream>) -> Option<usize> {
        let index = match self.free_groups.pop() {
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
        let seen = stream.head();
        self.groups[index] = Some(Group {
            stream: stream.clone(),
            listener,
            seen,
            pace: Arc::new(Pace::at(seen)),
            has_video: stream.has_video(seen),
            live: Vec::new(),
            idle: Vec::new(),
            viewers: 0,
        });
        Some(index)
    }

    fn close_group_if_empty(&mut self, index: usize) {
        if self.group_mut(index).is_some_and(|g| g.viewers == 0) {
            self.close_group(index);
        }
    }

    fn close_group(&mut self, index: usize) {
        if let Some(group) = self.groups.get_mut(index).and_then(Option::take) {
            group.stream.unlisten(&group.listener);
            self.by_stream.remove(&name(&group.stream));
            self.free_groups.push(index);
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

impl<T> Aside<T> {
    /// Offers what is there below frame `until`; true when all of it was taken.
    fn take_own(
        &mut self,
        id: ViewerId,
        until: u64,
        own: &mut Vec<Arc<SharedFrame>>,
        deliver: &mut impl Deliver<T>,
    ) -> Result<bool, Reason> {
        self.playback.collect(own, BATCH_FRAMES, until)?;
        while !own.is_empty() {
            let taken = deliver.deliver(id, &mut self.state, own).min(own.len());
            self.playback.commit(own, taken);
            if taken < own.len() {
                own.clear();
                return Ok(false);
            }
            self.playback.collect(own, BATCH_FRAMES, until)?;
        }
        Ok(true)
    }
}
