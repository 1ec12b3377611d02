//! The connected viewer: the egress writes its socket, and its connection watches for its end.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use livetrail_egress::{Egress, EgressConfig, Format, IoUringUse, ViewerHandle};
use livetrail_engine::{EndSignal, Playback, Reason};
use tokio::time::{Sleep, sleep};

use crate::transport::Transport;

/// The maximum number of viewers that get each frame [at once](FrameDelay::None). Each costs a
/// write per frame. Those beyond it are batched as the others are.
const MAX_AT_ONCE: usize = 64;

/// The sender for the viewers of one gateway: threads that start with the first viewer.
pub struct Viewers<F: Format> {
    gateway: &'static str,
    config: EgressConfig,
    /// `None` if the system provided no threads.
    egress: OnceLock<Option<Egress<F>>>,
    /// One thread, which starts with the first viewer that is to have each frame at once.
    at_once: OnceLock<Option<Egress<F>>>,
    io_uring: Arc<OnceLock<IoUringUse>>,
}

/// How long a frame waits before it is sent to a viewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FrameDelay {
    /// For the frames after it: [`EgressConfig::send_interval`].
    #[default]
    SendInterval,
    /// Not at all: for a few viewers that pass it on to others, which would all wait with them. At
    /// most 64 of a gateway's viewers; further ones have the send interval.
    None,
}

/// A viewer whose socket the egress writes, as its connection sees it.
///
/// Poll [`poll_end`](Self::poll_end) whenever the connection's task is polled. Until
/// [`leave`](Self::leave) nothing else may write to the socket.
pub struct ConnectedViewer<F: Format> {
    handle: ViewerHandle<F>,
    signal: EndSignal,
    ended: Pin<Box<dyn Future<Output = Reason> + Send + Sync>>,
    stall: StallWatch,
}

/// Why a viewer gets no more frames.
#[derive(Debug)]
pub enum ViewerEnd {
    /// Its session ended.
    Ended(Reason),
    /// A write to its socket failed.
    Failed(io::Error),
    /// It read nothing for this long, although bytes were pending.
    Stalled(Duration),
}

/// The remains of a viewer that left the egress.
#[non_exhaustive]
pub struct LeftViewer {
    /// The session, or why it ended.
    pub playback: Result<Playback, Reason>,
    /// Bytes that must be written before anything else.
    pub unwritten: Bytes,
    /// The write error, if a write failed. The socket may report a broken connection only to its
    /// writer; the connection may then see only that the client has closed.
    pub failed: Option<io::Error>,
}

impl<F: Format> Viewers<F> {
    pub(crate) fn new(
        gateway: &'static str,
        config: EgressConfig,
        io_uring: Arc<OnceLock<IoUringUse>>,
    ) -> Self {
        Self {
            gateway,
            config,
            egress: OnceLock::new(),
            at_once: OnceLock::new(),
            io_uring,
        }
    }

    /// Starts the threads now instead of with the first viewer.
    ///
    /// # Errors
    /// The system provides no thread.
    pub fn start(&self) -> io::Result<()> {
        let egress = Egress::start(self.gateway, self.config)?;
        let _ = self.io_uring.set(egress.io_uring_use());
        // Another start was faster: these threads end.
        let _ = self.egress.set(Some(egress));
        Ok(())
    }

    /// The number of viewers that are connected now.
    #[must_use]
    pub fn count(&self) -> usize {
        let both = [&self.egress, &self.at_once];
        let count = |egress: &OnceLock<Option<Egress<F>>>| {
            let egress = egress.get().and_then(Option::as_ref);
            egress.map_or(0, Egress::viewers)
        };
        both.into_iter().map(count).sum()
    }

    /// Moves a viewer's socket to the threads, which write `first` before any frame. A viewer that
    /// reads nothing for `write_stall_timeout` has [stalled](ViewerEnd::Stalled).
    ///
    /// This is not cancel safe: if the future is dropped, the session ends, or, if the threads have
    /// just taken the viewer, it goes on until its stream ends or a write fails.
    ///
    /// # Errors
    /// Why the session ended: the threads are full, or there are no threads.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn connect(
        &self,
        playback: Playback,
        stream: &mut Transport,
        first: Bytes,
        variant: F::Variant,
        write_stall_timeout: Duration,
        delay: FrameDelay,
    ) -> Result<ConnectedViewer<F>, Reason> {
        let signal = playback.end_signal();
        let at_once = (delay == FrameDelay::None)
            .then(|| self.at_once())
            .flatten();
        let Some(egress) = at_once.or_else(|| self.egress()) else {
            playback.end(Reason::InternalError);
            return Err(signal.reason().unwrap_or(Reason::InternalError));
        };
        let Some(handle) = egress
            .attach(playback, stream.take_output(), first, variant)
            .await
        else {
            return Err(signal.reason().unwrap_or(Reason::LimitReached));
        };
        let ended = signal.clone();
        Ok(ConnectedViewer {
            stall: StallWatch::new(write_stall_timeout, handle.writes()),
            handle,
            signal,
            ended: Box::pin(async move { ended.wait().await }),
        })
    }

    fn egress(&self) -> Option<&Egress<F>> {
        let start = || {
            let egress = started(self.gateway, self.config)?;
            let _ = self.io_uring.set(egress.io_uring_use());
            Some(egress)
        };
        self.egress.get_or_init(start).as_ref()
    }

    /// The thread that batches nothing. `None` if it has its viewers.
    fn at_once(&self) -> Option<&Egress<F>> {
        let mut config = self.config;
        (config.threads, config.send_interval) = (1, Duration::ZERO);
        // It pays for many viewers of one stream.
        config.io_uring = false;
        let start = || started(&format!("{}-now", self.gateway), config);
        let egress = self.at_once.get_or_init(start).as_ref()?;
        (egress.viewers() < MAX_AT_ONCE).then_some(egress)
    }
}

fn started<F: Format>(name: &str, config: EgressConfig) -> Option<Egress<F>> {
    Egress::start(name, config)
        .inspect_err(|error| {
            tracing::error!(name, %error, "cannot start threads that send to viewers");
        })
        .ok()
}

impl<F: Format> std::fmt::Debug for Viewers<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewers")
            .field("gateway", &self.gateway)
            .field("config", &self.config)
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl<F: Format> ConnectedViewer<F> {
    /// Ready when the viewer gets no more frames. Waits for the socket while it is full.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<ViewerEnd> {
        if let Poll::Ready(reason) = self.ended.as_mut().poll(cx) {
            return Poll::Ready(ViewerEnd::Ended(reason));
        }
        if let Poll::Ready(error) = self.handle.poll_full(cx) {
            return Poll::Ready(ViewerEnd::Failed(error));
        }
        let handle = &self.handle;
        let stalled = self.stall.poll(cx, || (handle.is_full(), handle.writes()));
        stalled.map(|()| ViewerEnd::Stalled(self.stall.timeout))
    }

    /// Sends bytes that are not a frame, after the current output. When this returns,
    /// [`is_full`](Self::is_full) includes them.
    ///
    /// If the future is dropped, the viewer gets all of the bytes or none of them. Needs no
    /// runtime.
    pub async fn say(&self, bytes: Bytes) {
        self.handle.send(bytes).await;
    }

    /// Whether the viewer must read something before it gets more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.handle.is_full()
    }

    /// Takes the socket back from the threads, for the transport that was connected. The session
    /// goes on, unless it has ended.
    ///
    /// This is not cancel safe: if the future is dropped after its first poll, the session and the
    /// unwritten bytes may be lost. Needs no runtime.
    pub async fn leave(self, stream: &mut Transport) -> LeftViewer {
        let left = self.handle.detach().await;
        stream.put_back(left.cipher);
        let playback = match left.playback {
            Some(playback) => Ok(playback),
            None => Err(self.signal.wait().await),
        };
        LeftViewer {
            playback,
            unwritten: left.unwritten,
            failed: left.failed.map(io::Error::from),
        }
    }
}

/// Detects a viewer that reads nothing: between one and two timeouts after it stopped.
#[derive(Debug)]
struct StallWatch {
    timeout: Duration,
    check: Pin<Box<Sleep>>,
    writes: usize,
}

impl StallWatch {
    fn new(timeout: Duration, writes: usize) -> Self {
        Self {
            timeout,
            check: Box::pin(sleep(timeout)),
            writes,
        }
    }

    /// `state` returns whether the viewer is full, and how many times it has read something.
    fn poll(&mut self, cx: &mut Context<'_>, state: impl Fn() -> (bool, usize)) -> Poll<()> {
        while self.check.as_mut().poll(cx).is_ready() {
            let (is_full, writes) = state();
            let before = std::mem::replace(&mut self.writes, writes);
            if is_full && before == writes {
                return Poll::Ready(());
            }
            self.check.set(sleep(self.timeout));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use tokio::time::timeout;

    use crate::clock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_viewer_has_stalled_when_it_is_full_and_takes_nothing() {
        let limit = Duration::from_secs(30);
        let (is_full, writes) = (Cell::new(false), Cell::new(0));
        let mut watch = StallWatch::new(limit, 0);
        let mut waits = async |limit| {
            let stalled = poll_fn(|cx| watch.poll(cx, || (is_full.get(), writes.get())));
            timeout(limit, stalled).await
        };
        assert!(waits(limit * 10).await.is_err(), "it has all it gets");
        is_full.set(true);
        for taken in 1..10 {
            writes.set(taken);
            assert!(waits(limit).await.is_err(), "it took something");
        }
        let since = clock::now();
        assert!(waits(limit * 3).await.is_ok());
        assert!(since.elapsed() <= limit * 2);
    }
}
