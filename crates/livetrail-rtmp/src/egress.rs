//! Sending to players: a few threads, each of which serves a share of all players from one [`Shard`].
//!
//! A player's connection keeps its task, which reads what the player says and waits for the socket when it is full; frames
//! never go through that task. When a frame comes, each thread wakes once, and writes it (and whatever else is due) to each of
//! its players with one vectored write from the shared chunks.
//!
//! While a player sits here, everything that is written to its socket is written here: two writers would cut into each
//! other's messages.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use livetrail_engine::{Deliver, Playback, Reason, Shard, SharedFrame, ViewerId};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::error;

use crate::{outbox::Outbox, protocol::FrameChunks, wire::RtmpWire};

/// Slices in one vectored write; Linux takes up to 1,024.
const MAX_SLICES: usize = 128;
/// Orders that wait for a thread; who gives one more waits.
const MAX_ORDERS: usize = 1_024;

/// The threads. Dropping it ends them, and with them the sessions of players that still sit there.
pub(crate) struct Egress {
    threads: Vec<mpsc::Sender<Order>>,
    next: AtomicUsize,
    /// Counts its players by its other handles.
    seats: Arc<()>,
}

enum Order {
    Seat {
        playback: Box<Playback>,
        player: Player,
        reply: oneshot::Sender<Option<ViewerId>>,
    },
    /// The socket takes bytes again.
    Resume(ViewerId),
    /// An answer to something that the player said; acknowledged when it is written or waits for the socket.
    Say(ViewerId, Bytes, oneshot::Sender<()>),
    /// The player leaves.
    Leave(ViewerId, oneshot::Sender<Playback>),
}

/// What a thread keeps for a player.
struct Player {
    stream: Arc<TcpStream>,
    /// What the socket did not take; empty for a player that keeps up.
    rest: Outbox,
    multitrack: bool,
    bell: Arc<Bell>,
}

/// How a thread calls a player's connection.
#[derive(Default)]
pub(crate) struct Bell {
    /// The socket is full: wait until it is writable, then say so.
    full: AtomicBool,
    /// Counts writes that the socket took bytes of.
    writes: AtomicUsize,
    /// Writing failed. The connection finds out why when it reads.
    failed: OnceLock<io::Error>,
    /// What was not written when the player left.
    rest: Mutex<Outbox>,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        *lock(&self.waker) = Some(cx.waker().clone());
    }
}

/// Nothing that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A player's place, as its connection sees it.
pub(crate) struct Seat {
    viewer: ViewerId,
    thread: mpsc::Sender<Order>,
    stream: Arc<TcpStream>,
    bell: Arc<Bell>,
    left: bool,
    _counted: Arc<()>,
}

impl Egress {
    /// `threads` threads; each collects frames for `send_interval` before it writes them, unless that is zero.
    pub(crate) fn start(threads: usize, send_interval: Duration) -> io::Result<Self> {
        let threads = (0..threads.max(1)).map(|n| {
            let (orders, inbox) = mpsc::channel(MAX_ORDERS);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            thread::Builder::new()
                .name(format!("rtmp-egress-{n}"))
                .spawn(move || runtime.block_on(Thread::new(inbox, send_interval).run()))?;
            Ok(orders)
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
            seats: Arc::default(),
        })
    }

    /// Players at present.
    pub(crate) fn players(&self) -> usize {
        Arc::strong_count(&self.seats).saturating_sub(1)
    }

    /// Seats a player, to which `rest` is to be written first. `None` when the threads are full or gone: the session has ended then.
    pub(crate) async fn seat(
        &self,
        playback: Playback,
        stream: Arc<TcpStream>,
        rest: Outbox,
        multitrack: bool,
    ) -> Option<Seat> {
        // Counted before the player can hear that it may play.
        let counted = self.seats.clone();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let thread = self
            .threads
            .get(turn.checked_rem(self.threads.len())?)?
            .clone();
        let bell = Arc::new(Bell::default());
        let player = Player {
            stream: stream.clone(),
            rest,
            multitrack,
            bell: bell.clone(),
        };
        let (reply, seated) = oneshot::channel();
        let order = Order::Seat {
            playback: Box::new(playback),
            player,
            reply,
        };
        thread.send(order).await.ok()?;
        let viewer = seated.await.ok().flatten()?;
        Some(Seat {
            viewer,
            thread,
            stream,
            bell,
            left: false,
            _counted: counted,
        })
    }
}

impl Seat {
    /// Looks after the socket when it is full. Ready with an error when writing failed.
    pub(crate) fn poll_full(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.bell.register(cx);
        if let Some(error) = self.bell.failed.get() {
            return Poll::Ready(error.kind().into());
        }
        while self.bell.full.load(Ordering::Acquire) && self.stream.poll_write_ready(cx).is_ready()
        {
            self.bell.full.store(false, Ordering::Release);
            match self.thread.try_send(Order::Resume(self.viewer)) {
                Ok(()) => {}
                // Rare, and soon over: look again.
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.bell.full.store(true, Ordering::Release);
                    cx.waker().wake_by_ref();
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    return Poll::Ready(io::ErrorKind::BrokenPipe.into());
                }
            }
        }
        Poll::Pending
    }

    /// Sends bytes that are no frame, after what is being sent. When this returns, [`is_full`](Self::is_full) knows of them.
    pub(crate) async fn say(&self, bytes: Bytes) {
        let (reply, said) = oneshot::channel();
        // A thread that is gone has ended the session.
        if self
            .thread
            .send(Order::Say(self.viewer, bytes, reply))
            .await
            .is_ok()
        {
            let _ = said.await;
        }
    }

    /// Whether the player has to take something before it gets more.
    pub(crate) fn is_full(&self) -> bool {
        self.bell.full.load(Ordering::Acquire)
    }

    /// Changes whenever the player takes something.
    pub(crate) fn writes(&self) -> usize {
        self.bell.writes.load(Ordering::Relaxed)
    }

    /// Gives the place up. The playback comes back unless its session has ended; so does what is not written yet.
    pub(crate) async fn leave(mut self) -> (Option<Playback>, Outbox) {
        self.left = true;
        let (reply, left) = oneshot::channel();
        let _ = self.thread.send(Order::Leave(self.viewer, reply)).await;
        let playback = left.await.ok();
        (playback, std::mem::take(&mut lock(&self.bell.rest)))
    }
}

impl Drop for Seat {
    /// A connection whose task is cut off has not left.
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let leave = Order::Leave(self.viewer, oneshot::channel().0);
        if self.thread.try_send(leave).is_err() {
            // Then it gets nothing more, and is evicted for taking nothing.
            let _ = self.bell.failed.set(io::ErrorKind::NotConnected.into());
        }
    }
}

/// One thread.
struct Thread {
    shard: Shard<Player>,
    inbox: mpsc::Receiver<Order>,
    send_interval: Duration,
}

enum Wake {
    Orders,
    Frames,
    Gone,
}

impl Thread {
    fn new(inbox: mpsc::Receiver<Order>, send_interval: Duration) -> Self {
        Self {
            shard: Shard::new(),
            inbox,
            send_interval,
        }
    }

    async fn run(mut self) {
        let mut orders = Vec::new();
        // When what is there is sent.
        let mut send_at = Instant::now();
        let mut due = false;
        loop {
            let wake = if due {
                tokio::select! {
                    biased;
                    wake = poll_fn(|cx| Self::poll_orders(&mut self.inbox, &mut orders, cx)) => wake,
                    () = sleep_until(send_at) => Wake::Frames,
                }
            } else {
                poll_fn(|cx| {
                    let orders = Self::poll_orders(&mut self.inbox, &mut orders, cx);
                    if orders.is_ready() {
                        return orders;
                    }
                    self.shard.poll_ready(cx).map(|()| Wake::Frames)
                })
                .await
            };
            match wake {
                Wake::Gone => return,
                // Who has just come does not wait for the others.
                Wake::Orders => {
                    for order in orders.drain(..) {
                        self.obey(order);
                    }
                    due = false;
                }
                // The first one waits for those that come after it.
                Wake::Frames if !due && !self.send_interval.is_zero() => {
                    let now = Instant::now();
                    send_at = now.checked_add(self.send_interval).unwrap_or(now);
                    due = true;
                    continue;
                }
                Wake::Frames => due = false,
            }
            // What orders have marked is served now, and no reason to wait once more.
            poll_fn(|cx| Poll::Ready(self.shard.poll_ready(cx).is_ready())).await;
            self.shard.serve(&mut Sender);
        }
    }

    fn poll_orders(
        inbox: &mut mpsc::Receiver<Order>,
        orders: &mut Vec<Order>,
        cx: &mut Context<'_>,
    ) -> Poll<Wake> {
        inbox
            .poll_recv_many(cx, orders, MAX_ORDERS)
            .map(|n| if n == 0 { Wake::Gone } else { Wake::Orders })
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Seat {
                playback,
                mut player,
                reply,
            } => {
                player.send_rest();
                let seated = self.shard.attach(*playback, player);
                if let Err(full) = &seated {
                    error!(%full, "a player was turned away");
                }
                let viewer = seated
                    .map_err(|full| full.playback.end(Reason::LimitReached))
                    .ok();
                // Who asked has gone: nobody would ever take the player from its seat.
                if let Err(Some(viewer)) = reply.send(viewer) {
                    self.shard.detach(viewer);
                }
            }
            Order::Resume(viewer) => {
                let Some(player) = self.shard.state_mut(viewer) else {
                    return;
                };
                if player.send_rest() {
                    self.shard.resume(viewer);
                }
            }
            Order::Say(viewer, bytes, said) => {
                if let Some(player) = self.shard.state_mut(viewer) {
                    player.rest.push_bytes(bytes);
                    player.send_rest();
                }
                let _ = said.send(());
            }
            Order::Leave(viewer, reply) => {
                if let Some((playback, player)) = self.shard.detach(viewer) {
                    *lock(&player.bell.rest) = player.rest;
                    let _ = reply.send(playback);
                }
            }
        }
    }
}

/// Writes what the shard offers.
struct Sender;

impl Deliver<Player> for Sender {
    fn deliver(
        &mut self,
        _viewer: ViewerId,
        player: &mut Player,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        let fit = player.bell.failed.get().is_none();
        if fit && player.send_rest() {
            player.send(frames)
        } else {
            0
        }
    }

    fn ended(&mut self, _viewer: ViewerId, player: Player, _reason: Reason) {
        // The connection hears of it from the session.
        *lock(&player.bell.rest) = player.rest;
    }
}

impl Player {
    /// Writes what the socket did not take before; true when nothing of it is left.
    fn send_rest(&mut self) -> bool {
        if self.rest.is_empty() {
            return true;
        }
        match self.rest.try_write(&self.stream) {
            Ok(true) => self.took(),
            Ok(false) => {}
            Err(error) => return self.fail(error),
        }
        self.rest.is_empty() || self.wait()
    }

    /// Writes frames straight from their shared chunks; gives how many are no longer the shard's concern. The last of these
    /// may be begun only: its rest is the player's.
    fn send(&mut self, frames: &[Arc<SharedFrame>]) -> usize {
        let mut sent = 0_usize;
        while let Some(left) = frames.get(sent..).filter(|left| !left.is_empty()) {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0_usize;
            let mut held = 0_usize;
            for frame in left {
                let parts =
                    chunks(frame, self.multitrack).map_or(0, |chunks| chunks.parts().count());
                if count.saturating_add(parts) > MAX_SLICES && held > 0 {
                    break;
                }
                let free = slices.iter_mut().skip(count);
                let parts = chunks(frame, self.multitrack)
                    .into_iter()
                    .flat_map(FrameChunks::parts);
                for (place, part) in free.zip(parts) {
                    *place = IoSlice::new(part);
                    count = count.saturating_add(1);
                }
                held = held.saturating_add(1);
            }
            let batch = left.get(..held).unwrap_or_default();
            if count == 0 {
                sent = sent.saturating_add(held);
                continue;
            }
            match self
                .stream
                .try_write_vectored(slices.get(..count).unwrap_or_default())
            {
                Ok(written) => {
                    self.took();
                    let whole = self.keep_begun(batch, written);
                    sent = sent.saturating_add(whole);
                    // A frame of more parts than one write takes has its rest there as well.
                    if !self.rest.is_empty() && !self.send_rest() {
                        return sent;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait();
                    return sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(error);
                    return sent;
                }
            }
        }
        sent
    }

    /// After a write of so many bytes of these frames: how many frames are written or begun; one that is begun is kept.
    fn keep_begun(&mut self, frames: &[Arc<SharedFrame>], mut written: usize) -> usize {
        for (at, frame) in frames.iter().enumerate() {
            let len = chunks(frame, self.multitrack).map_or(0, FrameChunks::len);
            match written.checked_sub(len) {
                Some(less) => written = less,
                None if written == 0 => return at,
                None => {
                    self.rest.push_shared(frame.clone());
                    self.rest.advance(written);
                    return at.saturating_add(1);
                }
            }
        }
        frames.len()
    }

    /// The socket took something. One thread writes, so a load and a store will do.
    fn took(&self) {
        let writes = self.bell.writes.load(Ordering::Relaxed);
        self.bell
            .writes
            .store(writes.wrapping_add(1), Ordering::Relaxed);
    }

    /// Asks the connection to look after the socket. Always false.
    fn wait(&self) -> bool {
        self.bell.full.store(true, Ordering::Release);
        self.bell.ring();
        false
    }

    /// Tells the connection that the socket is no good. Always false.
    fn fail(&self, error: io::Error) -> bool {
        let _ = self.bell.failed.set(error);
        self.bell.ring();
        false
    }
}

/// The bytes of a frame for this player, if it gets the frame at all.
fn chunks(frame: &SharedFrame, multitrack: bool) -> Option<&FrameChunks> {
    if frame.track != 0 && !multitrack {
        return None;
    }
    frame.wire::<RtmpWire>().as_ref()
}
