//! The threads as connections see them: a seat for each viewer.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use livetrail_engine::{Placed, Playback, Spread, ViewerId};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use crate::{
    format::Format,
    rest::Rest,
    sender::Rings,
    socket::Socket,
    thread::{Order, Thread},
};

/// Orders that wait for a thread; who gives one more waits.
const MAX_ORDERS: usize = 1_024;
/// Viewers of one stream that one thread serves before the next thread is woken for that stream as well, when frames do not wait: it has
/// written to half of them after a quarter of a millisecond.
const TOGETHER: usize = 64;
/// The same at most, when they do.
const MOST_TOGETHER: usize = 1_024;
/// What a write costs, about.
const A_WRITE: Duration = Duration::from_micros(4);

/// How the threads send. Each gateway's configuration contains one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EgressConfig {
    /// Threads; 0 is one for each processor. Default 0.
    pub threads: usize,
    /// How long a frame waits for the frames after it, so that fewer and larger writes send them
    /// together. Zero sends each frame as it comes. A viewer's first frames never wait.
    ///
    /// Default 10 ms, somewhat less than half the time of an AAC frame: most sound then travels
    /// with the picture next to it, and the last of a thousand viewers has both within 20 ms.
    pub send_interval: Duration,
    /// Default true. Whether the threads hand the writes of a frame to the kernel together, by io_uring, where the system lets them: one system
    /// call for up to 256 viewers. Where it does not, that is logged, and each viewer is written to by itself; where it stops doing so,
    /// it is asked again after a pause of 1 s, which doubles up to a minute. The process is aborted should the kernel keep what it was
    /// lent: see [`livetrail_uring`].
    pub io_uring: bool,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            // Half of 1,024 samples at 44.1 kHz are 11.6 ms. Publishers and timers are late by up
            // to 3 ms.
            send_interval: Duration::from_millis(10),
            io_uring: true,
        }
    }
}

/// The threads. Dropping it ends them once no viewer sits there any more.
pub struct Egress<F: Format> {
    threads: Vec<Handle<F>>,
    rings: Arc<Rings>,
    spread: Arc<Spread>,
}

/// How many threads of an egress write by io_uring. It keeps none of them alive.
#[derive(Debug, Clone)]
pub struct IoUringUse(Arc<Rings>);

impl IoUringUse {
    /// The count of this moment.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.in_use()
    }
}

/// A thread, as others reach it.
struct Handle<F: Format> {
    orders: mpsc::Sender<Order<F>>,
    left: Arc<Left>,
}

impl<F: Format> Clone for Handle<F> {
    fn clone(&self) -> Self {
        Self {
            orders: self.orders.clone(),
            left: self.left.clone(),
        }
    }
}

/// Viewers whose connections were cut off, for whom nobody can wait. Each is here once, so there are no more than viewers.
#[derive(Debug, Default)]
pub(crate) struct Left(Mutex<Vec<ViewerId>>);

impl Left {
    pub(crate) fn take(&self) -> Vec<ViewerId> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// How a thread calls a viewer's connection.
#[derive(Default)]
pub(crate) struct Bell {
    /// The socket is full: wait until it is writable, then say so.
    full: AtomicBool,
    /// Counts writes of what the socket had not taken at once.
    writes: AtomicUsize,
    /// Writing failed. The connection finds out why when it reads.
    failed: OnceLock<io::Error>,
    /// What was not written when the viewer left.
    rest: Mutex<Bytes>,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    pub(crate) fn ring_full(&self) {
        if !self.full.swap(true, Ordering::AcqRel) {
            self.ring();
        }
    }

    pub(crate) fn ring_failed(&self, error: io::Error) {
        let _ = self.failed.set(error);
        self.ring();
    }

    /// The socket took something. One thread writes, so a load and a store will do.
    pub(crate) fn count_write(&self) {
        let writes = self.writes.load(Ordering::Relaxed);
        self.writes.store(writes.wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, rest: Bytes) {
        *lock(&self.rest) = rest;
    }

    fn ring(&self) {
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut waker = lock(&self.waker);
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// Nothing that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A viewer's place, as its connection sees it.
pub struct Seat<F: Format> {
    viewer: ViewerId,
    thread: Handle<F>,
    stream: Arc<TcpStream>,
    bell: Arc<Bell>,
    has_left: bool,
    _placed: Placed,
}

/// What a viewer leaves when its socket is no longer the egress's.
#[derive(Debug)]
pub struct LeftSeat {
    /// The session, unless it has ended.
    pub playback: Option<Playback>,
    /// Bytes that have to be written before anything else: of what was begun, and of what was said.
    pub unwritten: Bytes,
    /// How writing failed, if it did.
    pub failed: Option<io::ErrorKind>,
}

impl<F: Format> Egress<F> {
    /// Starts the threads; `name` goes into theirs.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(name: &str, config: EgressConfig) -> io::Result<Self> {
        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let rings = Arc::new(Rings::new(name, config.io_uring));
        let threads = (0..count).map(|n| {
            let (orders, inbox) = mpsc::channel(MAX_ORDERS);
            let left = Arc::<Left>::default();
            let thread = Thread::new(inbox, left.clone(), rings.clone(), config.send_interval);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            std::thread::Builder::new()
                .name(format!("{name}-egress-{n}"))
                .spawn(move || runtime.block_on(thread.run()))?;
            Ok(Handle { orders, left })
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            rings,
            spread: Spread::new(count, together(config.send_interval)),
        })
    }

    /// Viewers at present.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.spread.placed()
    }

    /// Threads that write by io_uring. A thread finds out before it takes its first viewer.
    #[must_use]
    pub fn io_uring_threads(&self) -> usize {
        self.rings.in_use()
    }

    /// Counts them after the egress itself has been handed out.
    #[must_use]
    pub fn io_uring_use(&self) -> IoUringUse {
        IoUringUse(self.rings.clone())
    }

    /// Seats a viewer, to whom `first` is to be written before any frame. `None` when the threads are full or gone: the session has
    /// ended then.
    pub async fn seat(
        &self,
        playback: Playback,
        stream: Arc<TcpStream>,
        first: Bytes,
        variant: F::Variant,
    ) -> Option<Seat<F>> {
        // Counted before the viewer can hear that it may play.
        let placed = self.spread.place(playback.key());
        let thread = self.threads.get(placed.worker())?.clone();
        let bell = Arc::new(Bell::default());
        let mut rest = Rest::new(variant);
        rest.say(&first);
        let (reply, seated) = oneshot::channel();
        let order = Order::Seat {
            playback: Box::new(playback),
            socket: Socket::new(stream.clone(), rest, variant, bell.clone()),
            reply,
        };
        thread.orders.send(order).await.ok()?;
        let viewer = seated.await.ok().flatten()?;
        Some(Seat {
            viewer,
            thread,
            stream,
            bell,
            has_left: false,
            _placed: placed,
        })
    }
}

/// Viewers of one stream for one thread: as many as it writes to in a quarter of the time for which a frame waits anyway. A second
/// thread has its part sooner, and each write costs more: two processors then take turns with what all sockets share. Half of that
/// time took a tenth of the processor time off a thousand viewers at 10 ms, and the last of them had a frame after 21 ms instead of 18.
fn together(send_interval: Duration) -> usize {
    let four_writes = A_WRITE.saturating_mul(4).as_nanos();
    let writes = send_interval.as_nanos().checked_div(four_writes);
    usize::try_from(writes.unwrap_or(0))
        .unwrap_or(usize::MAX)
        .clamp(TOGETHER, MOST_TOGETHER)
}

impl<F: Format> Seat<F> {
    /// Looks after the socket when it is full; to be called whenever the connection's task is polled. Ready with an error when
    /// writing failed.
    pub fn poll_full(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.bell.register(cx);
        if let Some(error) = self.bell.failed.get() {
            return Poll::Ready(error.kind().into());
        }
        while self.bell.full.load(Ordering::Acquire) && self.stream.poll_write_ready(cx).is_ready()
        {
            self.bell.full.store(false, Ordering::Release);
            match self.thread.orders.try_send(Order::Resume(self.viewer)) {
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
    pub async fn say(&self, bytes: Bytes) {
        let (reply, said) = oneshot::channel();
        let order = Order::Say(self.viewer, bytes, reply);
        // A thread that is gone has ended the session.
        if self.thread.orders.send(order).await.is_ok() {
            let _ = said.await;
        }
    }

    /// Whether the viewer has to take something before it gets more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bell.full.load(Ordering::Acquire)
    }

    /// Changes whenever a viewer that is full takes something.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.bell.writes.load(Ordering::Relaxed)
    }

    /// Gives the viewer's socket back.
    pub async fn leave(mut self) -> LeftSeat {
        self.has_left = true;
        let (reply, left) = oneshot::channel();
        let order = Order::Leave(self.viewer, reply);
        let _ = self.thread.orders.send(order).await;
        let playback = left.await.ok();
        LeftSeat {
            playback,
            unwritten: std::mem::take(&mut lock(&self.bell.rest)),
            failed: self.bell.failed.get().map(io::Error::kind),
        }
    }
}

impl<F: Format> Drop for Seat<F> {
    /// A connection whose task is cut off has not left, and cannot wait for room among the orders.
    fn drop(&mut self) {
        if !self.has_left {
            lock(&self.thread.left.0).push(self.viewer);
            // Full: then the thread is awake, and looks after its orders.
            let _ = self.thread.orders.try_send(Order::Look);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_frames_wait_the_more_viewers_share_a_thread_within_bounds() {
        for (micros, viewers) in [
            (0, 64),
            (500, 64),
            (2_000, 125),
            (8_000, 500),
            (10_000, 625),
            (1_000_000, 1_024),
        ] {
            assert_eq!(together(Duration::from_micros(micros)), viewers);
        }
        assert_eq!(together(Duration::MAX), 1_024);
    }
}
