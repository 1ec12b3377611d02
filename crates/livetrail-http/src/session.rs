//! One viewer: a response body, and its link to the connection that carries it.
//!
//! On a connection of our own gateway the body only makes hyper send the answer's head. The
//! connection then leaves hyper, and the egress sends the stream. In any other server the body
//! reads frames from its [`Playback`], and so it does where a connection carries several answers
//! (HTTP/2).

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use livetrail_engine::{EndSignal, Playback, Reason, SessionContext, SharedFrame};
use livetrail_gateway::{AddressTurn, Stop};
use tokio::sync::watch;

use crate::{
    protocol::Variant,
    wire::{file_header, tag_parts},
};

/// Frames taken from the engine at once. A viewer holds at most these in addition to its socket's
/// buffer.
const BATCH_FRAMES: usize = 16;

/// The response body. [`BATCH_FRAMES`] bounds it; further frames stay in the engine, which counts
/// and limits the lag.
///
/// Dropping it ends the session (`client_closed`).
pub(crate) struct FlvBody {
    playback: Option<Playback>,
    batch: Vec<Arc<SharedFrame>>,
    parts: VecDeque<Bytes>,
    begun: bool,
    metadata: bool,
}

impl FlvBody {
    pub(crate) fn new(playback: Playback, metadata: bool) -> Self {
        Self {
            metadata,
            playback: Some(playback),
            batch: Vec::with_capacity(BATCH_FRAMES),
            parts: VecDeque::new(),
            begun: false,
        }
    }
}

impl Body for FlvBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if let Some(part) = this.parts.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            let Some(playback) = &mut this.playback else {
                return Poll::Ready(None);
            };
            if !ready!(playback.poll_batch(cx, &mut this.batch, BATCH_FRAMES)) {
                this.playback = None;
                return Poll::Ready(None);
            }
            if !std::mem::replace(&mut this.begun, true) {
                this.parts.push_back(file_header(&this.batch));
            }
            let metadata = this.metadata;
            let wanted = |frame: &Arc<SharedFrame>| metadata || !frame.is_metadata();
            for frame in this.batch.drain(..).filter(wanted) {
                this.parts.extend(tag_parts(&frame));
            }
        }
    }
}

/// The body of an answer whose connection will leave hyper. It never yields data; it only notes
/// that the head is about to be sent.
///
/// Dropping it ends the session, unless the connection has taken the session over.
pub(crate) struct HandoverBody {
    link: Link,
}

impl HandoverBody {
    pub(crate) fn new(link: Link, handover: Handover) -> Self {
        link.begin(handover);
        Self { link }
    }
}

impl Body for HandoverBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // hyper polls the body after it has queued the head for sending.
        self.link.advance(NOTHING, HEAD_IS_QUEUED);
        Poll::Pending
    }
}

impl Drop for HandoverBody {
    fn drop(&mut self) {
        self.link.finish();
    }
}

/// The parts that a connection takes over when its answer is a stream.
pub(crate) struct Handover {
    pub(crate) playback: Playback,
    pub(crate) variant: Variant,
}

/// The body of an answer that shares its connection with others: a [`FlvBody`] whose session is
/// watched. The frames that its client does not read stay in the engine, as for any slow viewer.
#[cfg(feature = "tls")]
pub(crate) struct StreamBody {
    link: Link,
    body: FlvBody,
    ended: EndSignal,
}

/// The answer of an evicted viewer is incomplete.
#[cfg(feature = "tls")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the viewer was evicted")]
pub(crate) struct Evicted;

#[cfg(feature = "tls")]
impl StreamBody {
    pub(crate) fn new(link: Link, playback: Playback, metadata: bool) -> Self {
        link.watch(&playback);
        Self {
            link,
            ended: playback.end_signal(),
            body: FlvBody::new(playback, metadata),
        }
    }
}

#[cfg(feature = "tls")]
impl Body for StreamBody {
    type Data = Bytes;
    type Error = Evicted;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Evicted>>> {
        let this = self.get_mut();
        let Some(Ok(frame)) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
            let is_evicted = this.ended.reason() == Some(Reason::Evicted);
            return Poll::Ready(is_evicted.then_some(Err(Evicted)));
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

#[cfg(feature = "tls")]
impl Drop for StreamBody {
    fn drop(&mut self) {
        if let (Some(playback), Some(cause)) = (self.body.playback.take(), self.link.failure()) {
            playback.end_with(Reason::ClientClosed, &cause);
        }
        self.link.finish();
    }
}

/// Marks a request of a trusted proxy itself, such as a health check: it gets no stream, so that it
/// leaves no record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProxysOwn;

/// Links a connection to the session that it carries.
///
/// Until the stream begins, hyper owns the connection and may wait for the client to read. So the
/// connection itself watches the session's end, and closes if nothing else can.
#[derive(Clone)]
pub(crate) struct Link(Arc<Tie>);

struct Tie {
    session: watch::Sender<Option<EndSignal>>,
    carries: Carries,
    handover: Mutex<Option<Handover>>,
    /// How far the answer's head has been sent.
    stage: AtomicU8,
    /// The connection is in reserve: it may carry anything but a stream.
    reserved: bool,
    /// A session of many requests has been admitted on it.
    is_admitted: AtomicBool,
    /// How the present request counts for the address of its client.
    turn: Mutex<Option<AddressTurn>>,
    stop: Stop,
}

/// What a connection carries at once.
enum Carries {
    One,
    /// This answer and others.
    #[cfg(feature = "tls")]
    Several {
        /// What the client does not do, once that is certain.
        failure: std::sync::OnceLock<String>,
    },
}

const NOTHING: u8 = 0;
const HEAD_IS_QUEUED: u8 = 1;
const HEAD_IS_SENT: u8 = 2;

impl Link {
    pub(crate) fn new(reserved: bool, stop: Stop) -> Self {
        Self::carrying(Carries::One, reserved, stop)
    }

    /// The link of one answer among several on a connection.
    #[cfg(feature = "tls")]
    pub(crate) fn of_several(reserved: bool, stop: Stop) -> Self {
        let failure = std::sync::OnceLock::new();
        Self::carrying(Carries::Several { failure }, reserved, stop)
    }

    fn carrying(carries: Carries, reserved: bool, stop: Stop) -> Self {
        Self(Arc::new(Tie {
            session: watch::Sender::new(None),
            carries,
            handover: Mutex::new(None),
            stage: AtomicU8::new(NOTHING),
            reserved,
            is_admitted: AtomicBool::new(false),
            turn: Mutex::new(None),
            stop,
        }))
    }

    /// Holds how a request counts while it is answered.
    pub(crate) fn hold_turn(&self, turn: Option<AddressTurn>) {
        *self.turn() = turn;
    }

    pub(crate) fn take_turn(&self) -> Option<AddressTurn> {
        self.turn().take()
    }

    /// Notes that the request belongs to an admitted session: from now on neither the request nor
    /// its connection counts among those of their address without a session.
    pub(crate) fn admit(&self) {
        self.0.is_admitted.store(true, Ordering::Relaxed);
        drop(self.take_turn());
    }

    /// Whether [`admit`](Self::admit) was called.
    pub(crate) fn is_admitted(&self) -> bool {
        self.0.is_admitted.load(Ordering::Relaxed)
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn turn(&self) -> std::sync::MutexGuard<'_, Option<AddressTurn>> {
        self.0.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection is in reserve, and thus must not carry a stream.
    pub(crate) fn is_reserved(&self) -> bool {
        self.0.reserved
    }

    /// Whether the connection carries other answers as well.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self.0.carries, Carries::One)
    }

    /// Whether there is a session.
    #[cfg(feature = "tls")]
    pub(crate) fn has_session(&self) -> bool {
        self.0.session.borrow().is_some()
    }

    /// Notes why the session will end.
    #[cfg(feature = "tls")]
    pub(crate) fn fail(&self, cause: String) {
        if let Carries::Several { failure } = &self.0.carries {
            let _ = failure.set(cause);
        }
    }

    #[cfg(feature = "tls")]
    fn failure(&self) -> Option<String> {
        match &self.0.carries {
            Carries::One => None,
            Carries::Several { failure } => failure.get().cloned(),
        }
    }

    /// Completes when the gateway stops.
    pub(crate) async fn stopping(&self) {
        self.0.stop.clone().wait().await;
    }

    /// Notes that the socket has accepted all of hyper's output.
    pub(crate) fn flushed(&self) {
        self.advance(HEAD_IS_QUEUED, HEAD_IS_SENT);
    }

    pub(crate) fn is_head_sent(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) == HEAD_IS_SENT
    }

    pub(crate) fn take_handover(&self) -> Option<Handover> {
        self.handover().take()
    }

    fn begin(&self, handover: Handover) {
        let session = handover.playback.end_signal();
        *self.handover() = Some(handover);
        self.0.session.send_replace(Some(session));
    }

    #[cfg(feature = "tls")]
    fn watch(&self, playback: &Playback) {
        self.0.session.send_replace(Some(playback.end_signal()));
    }

    fn finish(&self) {
        drop(self.take_handover());
        self.0.session.send_replace(None);
    }

    /// Only the connection's own task calls this.
    fn advance(&self, from: u8, to: u8) {
        if self.0.stage.load(Ordering::Acquire) == from {
            self.0.stage.store(to, Ordering::Release);
        }
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn handover(&self) -> std::sync::MutexGuard<'_, Option<Handover>> {
        self.0
            .handover
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the connection must be cut: its session was evicted, or it ended otherwise
    /// and the client did not read the remaining bytes within `linger`. Returns the session and why
    /// it ended.
    pub(crate) async fn cut(&self, linger: Duration) -> (Arc<SessionContext>, Reason) {
        let mut session = self.0.session.subscribe();
        loop {
            let watched = session.borrow_and_update().clone();
            if let Some(signal) = watched {
                let reason = tokio::select! {
                    reason = signal.wait() => reason,
                    _ = session.changed() => continue,
                };
                if reason == Reason::Evicted {
                    return (signal.context().clone(), reason);
                }
                if tokio::time::timeout(linger, session.changed())
                    .await
                    .is_err()
                {
                    return (signal.context().clone(), reason);
                }
            } else if session.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
