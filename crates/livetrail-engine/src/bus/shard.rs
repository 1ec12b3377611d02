//! Sharded delivery: one worker wakes once per frame and serves all of its viewers itself.
//!
//! A task per viewer costs a wake, a poll and a trip through the scheduler for each viewer and
//! frame. A shard costs the writer one atomic operation, and one wake if the worker sleeps. The
//! worker loads each new frame once, and passes the same slice to each viewer that is up to date.
//!
//! ```text
//!             attach ─▶ waiting ──── caught up ───▶ live ─┐ one batch for all of them
//!                        ▲    │                      │    │
//!        resume, or news │    └─ took less ─▶ full ◀─┘ ◀──┘ took less
//!                        └────────────────────┘
//! ```
//!
//! Joining, leaving and resuming cost the same for any number of viewers. None of them makes the
//! worker visit the viewers that are up to date.

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
    slab::{Key, Slab},
    stream::Stream,
    wire::SharedFrame,
};
use crate::{event::Reason, progress::Pace, session::Playback};

/// The maximum number of streams that one shard can serve at once.
const MAX_GROUPS: usize = 64 * WORDS;
const WORDS: usize = 1_024;

/// News that comes sooner than this is likely to be followed by more before a worker could sleep
/// and wake.
const DENSE_US: u64 = 20;
/// Checks for news that a worker then makes before it sleeps: 5 to 15 µs.
const LOOKS: u32 = 300;

/// The maximum number of frames that a viewer is offered at once.
const BATCH_FRAMES: usize = 256;

/// The signals to a shard: a stream has news, or a session has ended.
pub(crate) struct ShardSignal {
    marks: Marks,
    /// Sessions that ended elsewhere. Each ends once, so there are never more than viewers.
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

/// Why a viewer could not join a shard.
#[derive(Debug, thiserror::Error)]
#[error("a shard serves at most {MAX_GROUPS} streams at once")]
#[non_exhaustive]
pub struct AttachError {
    /// The viewer, returned to the caller.
    pub playback: Box<Playback>,
}

/// Viewers that one worker serves. The worker owns the shard: only the wake-up is shared.
///
/// A worker loops forever over [`ready`](Self::ready), then [`serve`](Self::serve). A worker with
/// other work calls the parts of `serve`: [`serve_news`](Self::serve_news) for viewers that are up
/// to date, then [`serve_waiting`](Self::serve_waiting) for a few of the others. A thousand viewers
/// that join then do not keep a thousand others from their next frame.
pub struct Shard<T> {
    signal: Arc<ShardSignal>,
    groups: Slab<GroupId, Group<T>>,
    /// By the stream's address, which only serves as a name: nothing is read through it. The group
    /// keeps the stream alive, so it is unique.
    by_stream: HashMap<usize, GroupId>,
    seats: Seats<T>,
    /// Viewers to serve individually, in order of arrival. A viewer that has left since is skipped.
    waiting: VecDeque<ViewerId>,
    /// When the newest served frame came, in microseconds.
    newest_us: u64,
    /// Frames come less than [`DENSE_US`] apart, or one came while the worker checked for it.
    dense: bool,
    /// A buffer that is kept for its capacity.
    marked: Vec<usize>,
    batch: Vec<Arc<SharedFrame>>,
    own: Vec<Arc<SharedFrame>>,
    short: Vec<(usize, usize)>,
}

/// The id of a group. Marks name only its slot: a reused slot may still be marked for the stream
/// before, and then there is nothing new to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GroupId {
    slot: usize,
    number: u64,
}

impl Key for GroupId {
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

type Seats<T> = Slab<ViewerId, Seat<T>>;

/// The viewers of one stream.
struct Group<T> {
    stream: Arc<Stream>,
    listener: Listener,
    /// Frames below this were offered to each viewer that is up to date.
    seen: u64,
    /// The frames that those viewers were offered since the group started.
    pace: Arc<Pace>,
    /// Whether there was video to wait for when the stream was last checked.
    has_video: bool,
    live: Vec<Live<T>>,
    /// Viewers that have nothing to take until there is news: a keyframe, or the frames that they
    /// are ahead by.
    idle: Vec<ViewerId>,
    /// All viewers of the group.
    viewers: usize,
}

/// The position of a viewer.
struct Seat<T> {
    group: GroupId,
    place: Place<T>,
}

enum Place<T> {
    /// At this index of the group's `live`.
    Live(usize),
    Aside(Aside<T>),
}

/// A viewer that is not up to date.
struct Aside<T> {
    playback: Box<Playback>,
    state: T,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    /// The viewer is served for the first time: it gets everything that is available, whatever the
    /// others got.
    New,
    /// In `waiting`.
    Waiting,
    /// In its group's `idle`.
    Idle,
    /// It is skipped until it is resumed.
    Full,
}

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Shard<T> {
    /// A shard without viewers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            signal: Arc::new(ShardSignal::new()),
            groups: Slab::new(),
            by_stream: HashMap::new(),
            seats: Slab::new(),
            waiting: VecDeque::new(),
            newest_us: 0,
            dense: false,
            marked: Vec::new(),
            batch: Vec::with_capacity(BATCH_FRAMES),
            own: Vec::with_capacity(BATCH_FRAMES),
            short: Vec::new(),
        }
    }

    /// The number of viewers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there are no viewers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.len() == 0
    }

    /// Takes over a viewer. Its first frames come with the next [`serve`](Self::serve), or when
    /// [`serve_waiting`](Self::serve_waiting) reaches it.
    ///
    /// # Errors
    /// [`AttachError`] if the shard serves its maximum number of streams; it returns the viewer.
    pub fn attach(
        &mut self,
        playback: impl Into<Box<Playback>>,
        state: T,
    ) -> Result<ViewerId, AttachError> {
        let mut playback = playback.into();
        let stream = playback.stream().clone();
        let known = self.by_stream.get(&name(&stream)).copied();
        let open = known.or_else(|| self.open_group(&stream));
        let Some((key, group)) = open.and_then(|key| Some((key, self.groups.get_mut(key)?))) else {
            return Err(AttachError { playback });
        };
        let signal = self.signal.clone();
        let id = self.seats.insert(|viewer| {
            playback.sit(Listener::Seat { signal, viewer });
            Seat {
                group: key,
                place: Place::Aside(Aside {
                    playback,
                    state,
                    status: Status::New,
                }),
            }
        });
        group.viewers += 1;
        self.waiting.push_back(id);
        Ok(id)
    }

    /// Releases a viewer, for instance because its client left. The caller decides about its
    /// session.
    pub fn detach(&mut self, viewer: ViewerId) -> Option<(Playback, T)> {
        let (playback, state) = self.remove(viewer)?;
        playback.stand();
        Some((*playback, state))
    }

    /// Notes that a full viewer can take frames again: it is offered some with the next
    /// [`serve`](Self::serve).
    pub fn resume(&mut self, viewer: ViewerId) {
        if let Some(seat) = self.seats.get_mut(viewer)
            && let Place::Aside(aside) = &mut seat.place
            && aside.status == Status::Full
        {
            aside.status = Status::Waiting;
            self.waiting.push_back(viewer);
        }
    }

    /// The caller's state of a viewer.
    pub fn state_mut(&mut self, viewer: ViewerId) -> Option<&mut T> {
        let seat = self.seats.get_mut(viewer)?;
        match &mut seat.place {
            Place::Aside(aside) => Some(&mut aside.state),
            Place::Live(at) => {
                let group = self.groups.get_mut(seat.group)?;
                group.live.get_mut(*at).map(|live| &mut live.state)
            }
        }
    }

    /// Waits until there is something to serve: news of a stream, the end of a session, a waiting
    /// viewer.
    ///
    /// While frames come closer together than a sleep and a wake-up take, it checks for the next
    /// one for some microseconds before it sleeps, and occupies its thread for this long.
    ///
    /// Cancel safe: news stays until it is served. Needs no runtime.
    pub async fn ready(&mut self) {
        if self.dense && !self.has_waiting() {
            self.dense = self.signal.marks.wake().look(LOOKS);
        }
        poll_fn(|cx| self.poll_ready(cx)).await;
    }

    /// [`ready`](Self::ready) for code that waits for other things too.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // This is polled in any case: it registers the waker for later news.
        let news = self.poll_news(cx);
        if self.has_waiting() {
            return Poll::Ready(());
        }
        news
    }

    /// Ready when a stream has news (a frame, its end) or a session has ended, once for everything
    /// since the last time.
    pub fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.marks.wake().take_or_register(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether there are viewers for [`serve_waiting`](Self::serve_waiting).
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Serves all viewers: [`serve_news`](Self::serve_news), then all waiting viewers.
    pub fn serve(&mut self, deliver: &mut impl Deliver<T>) {
        self.serve_news(deliver);
        self.serve_waiting(usize::MAX, deliver);
    }

    /// Delivers new frames to all viewers that are up to date, and releases those whose sessions
    /// have ended.
    pub fn serve_news(&mut self, deliver: &mut impl Deliver<T>) {
        // The news until now is served here, so the wake-up for it is no longer needed.
        self.signal.marks.wake().take();
        self.remove_ended(deliver);
        let mut marked = std::mem::take(&mut self.marked);
        marked.clear();
        self.signal.marks.take(&mut marked);
        let before_us = self.newest_us;
        for &slot in &marked {
            self.serve_group(slot, deliver);
        }
        self.dense |= self.newest_us.saturating_sub(before_us) < DENSE_US && !marked.is_empty();
        self.marked = marked;
    }

    /// Delivers to up to `limit` viewers what they alone need: configurations and the GOP for a new
    /// viewer, old frames for one that was full. Each is offered everything that is available until
    /// it is full.
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

    fn serve_group(&mut self, slot: usize, deliver: &mut impl Deliver<T>) {
        let Some(key) = self.groups.key_at(slot) else {
            // Its last viewer left after it was marked.
            return;
        };
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        let (seats, waiting) = (&mut self.seats, &mut self.waiting);
        let batch = &mut self.batch;
        batch.clear();
        // Closed is read before the head: frames published before the end are still delivered.
        let closed = group.stream.is_closed();
        let mut published = group.stream.published();
        let (first, head) = (group.seen, published.head());
        let last = head.min(first + BATCH_FRAMES as u64);
        let pushed_us = group.stream.pushed_us();
        batch.extend((first..last).map_while(|seq| published.get(seq).cloned()));
        let whole = batch.len() as u64 == last - first;
        // This comes after the frames are read: a worker that sees the first video frame sees that
        // there is video.
        let has_video = group.stream.has_video(first);
        let had_video = std::mem::replace(&mut group.has_video, has_video);
        let video_began = has_video && !had_video;
        if !whole {
            group.set_aside(seats, waiting, |_| true);
            group.advance(&[], head);
        } else {
            if video_began {
                let waits = |live: &Live<T>| !live.playback.is_live_at(first, true);
                group.set_aside(seats, waiting, waits);
            }
            group.deliver_live(seats, batch, &mut self.short, deliver);
            group.advance(batch, last);
        }
        batch.clear();
        self.newest_us = self.newest_us.max(pushed_us);
        if closed && group.seen == head {
            group.end_live(seats, deliver);
        }
        group.wake_idle(seats, waiting);
        if last < head && whole {
            self.signal.mark(slot);
        }
        if group.viewers == 0 {
            self.close_group(key);
        }
    }

    fn catch_up(&mut self, viewer: ViewerId, deliver: &mut impl Deliver<T>) {
        let Some(seat) = self.seats.get_mut(viewer) else {
            // It has left meanwhile.
            return;
        };
        let Place::Aside(aside) = &mut seat.place else {
            return;
        };
        // A viewer is in the queue once; a second entry is skipped.
        if !matches!(aside.status, Status::New | Status::Waiting) {
            return;
        }
        let Some(group) = self.groups.get_mut(seat.group) else {
            debug_assert!(false, "a viewer's group is open");
            return;
        };
        // A new viewer has waited long enough. Any other must not run ahead of the group: it could
        // never join it.
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
                // The awaited frame has not come, or has been marked.
                aside.status = Status::Idle;
                group.idle.push(viewer);
            }
            Ok(false) => aside.status = Status::Full,
        }
    }

    /// Makes a viewer live: no frames are left between its position and the group's.
    fn make_live(&mut self, viewer: ViewerId) {
        let Some(seat) = self.seats.get_mut(viewer) else {
            debug_assert!(false, "a viewer that was just served has not left");
            return;
        };
        let Some(group) = self.groups.get_mut(seat.group) else {
            debug_assert!(false, "a viewer's group is open");
            return;
        };
        let place = Place::Live(group.live.len());
        match std::mem::replace(&mut seat.place, place) {
            Place::Aside(aside) => {
                aside.playback.join(&group.pace);
                group.live.push(Live {
                    id: viewer,
                    state: aside.state,
                    playback: aside.playback,
                });
            }
            Place::Live(at) => {
                debug_assert!(false, "it is live already, at {at}");
                seat.place = Place::Live(at);
            }
        }
    }

    fn remove(&mut self, viewer: ViewerId) -> Option<(Box<Playback>, T)> {
        let Seat { group: key, place } = self.seats.remove(viewer)?;
        let Some(group) = self.groups.get_mut(key) else {
            debug_assert!(false, "a viewer's group is open");
            return None;
        };
        group.viewers -= 1;
        let removed = match place {
            Place::Live(at) => {
                let live = group.take_live(&mut self.seats, at);
                live.map(|live| (live.playback, live.state))
            }
            Place::Aside(aside) => {
                if aside.status == Status::Idle {
                    group.idle.retain(|idle| *idle != viewer);
                }
                Some((aside.playback, aside.state))
            }
        };
        if group.viewers == 0 {
            self.close_group(key);
        }
        removed
    }

    fn open_group(&mut self, stream: &Arc<Stream>) -> Option<GroupId> {
        if self.groups.len() >= MAX_GROUPS {
            return None;
        }
        let signal = self.signal.clone();
        let key = self.groups.insert(|key: GroupId| {
            let group = key.slot();
            let listener = Listener::Shard { signal, group };
            stream.listen(&listener);
            let seen = stream.head();
            Group {
                stream: stream.clone(),
                listener,
                seen,
                pace: Arc::new(Pace::at(seen)),
                has_video: stream.has_video(seen),
                live: Vec::new(),
                idle: Vec::new(),
                viewers: 0,
            }
        });
        self.by_stream.insert(name(stream), key);
        Some(key)
    }

    fn close_group(&mut self, key: GroupId) {
        if let Some(group) = self.groups.remove(key) {
            group.stream.unlisten(&group.listener);
            self.by_stream.remove(&name(&group.stream));
        }
    }
}

impl<T> Group<T> {
    /// Offers the batch to all viewers that are up to date. Viewers that do not take the whole
    /// batch leave the live set.
    fn deliver_live(
        &mut self,
        seats: &mut Seats<T>,
        batch: &[Arc<SharedFrame>],
        short: &mut Vec<(usize, usize)>,
        deliver: &mut impl Deliver<T>,
    ) {
        if batch.is_empty() || self.live.is_empty() {
            return;
        }
        short.clear();
        let mut viewers = LiveViewers::new(&mut self.live, short, batch.len());
        deliver.deliver_live(batch, &mut viewers);
        drop(viewers);
        // From the back, so that swap removal moves only viewers that took everything.
        for &(at, taken) in short.iter().rev() {
            let Some(mut live) = self.take_live(seats, at) else {
                continue;
            };
            live.playback.commit_live(&batch[..taken]);
            put_aside(seats, live, Status::Full);
        }
    }

    fn advance(&mut self, batch: &[Arc<SharedFrame>], seen: u64) {
        let bytes = batch.iter().map(|frame| frame.payload.len() as u64).sum();
        self.pace.advance(batch.len() as u64, bytes, seen);
        self.seen = seen;
    }

    /// Moves the live viewers for which `which` holds to the waiting queue.
    fn set_aside(
        &mut self,
        seats: &mut Seats<T>,
        waiting: &mut VecDeque<ViewerId>,
        which: impl Fn(&Live<T>) -> bool,
    ) {
        for at in (0..self.live.len()).rev() {
            if self.live.get(at).is_some_and(&which)
                && let Some(live) = self.take_live(seats, at)
            {
                waiting.push_back(live.id);
                put_aside(seats, live, Status::Waiting);
            }
        }
    }

    /// Ends the live viewers: the stream has ended, and all of them have its last frame.
    fn end_live(&mut self, seats: &mut Seats<T>, deliver: &mut impl Deliver<T>) {
        while let Some(last) = self.live.len().checked_sub(1)
            && let Some(live) = self.take_live(seats, last)
        {
            let removed = seats.remove(live.id);
            debug_assert!(removed.is_some(), "a live viewer has its slot");
            self.viewers -= 1;
            let reason = live.playback.end_with_stream();
            deliver.ended(live.id, live.state, reason);
        }
    }

    /// Moves idle viewers to the waiting queue after news.
    fn wake_idle(&mut self, seats: &mut Seats<T>, waiting: &mut VecDeque<ViewerId>) {
        for viewer in self.idle.drain(..) {
            let seat = seats.get_mut(viewer);
            debug_assert!(seat.is_some(), "a viewer that leaves is no longer idle");
            if let Some(Seat {
                place: Place::Aside(aside),
                ..
            }) = seat
            {
                aside.status = Status::Waiting;
                waiting.push_back(viewer);
            }
        }
    }

    /// Removes a viewer from the live set; its position becomes that of the set.
    fn take_live(&mut self, seats: &mut Seats<T>, at: usize) -> Option<Live<T>> {
        if at >= self.live.len() {
            debug_assert!(false, "{at} is not the position of a live viewer");
            return None;
        }
        let mut live = self.live.swap_remove(at);
        live.playback.leave(self.seen);
        if let Some(moved) = self.live.get(at) {
            let seat = seats.get_mut(moved.id);
            debug_assert!(seat.is_some(), "a live viewer has its slot");
            if let Some(seat) = seat {
                seat.place = Place::Live(at);
            }
        }
        Some(live)
    }
}

fn put_aside<T>(seats: &mut Seats<T>, live: Live<T>, status: Status) {
    let seat = seats.get_mut(live.id);
    debug_assert!(seat.is_some(), "a live viewer has its slot");
    if let Some(seat) = seat {
        seat.place = Place::Aside(Aside {
            playback: live.playback,
            state: live.state,
            status,
        });
    }
}

impl<T> Drop for Shard<T> {
    fn drop(&mut self) {
        let keys: Vec<_> = self.groups.keys().collect();
        for key in keys {
            self.close_group(key);
        }
    }
}

impl<T> Aside<T> {
    /// Offers the frames below `until`; true if the viewer took all of them.
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
