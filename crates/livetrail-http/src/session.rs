//! One viewer: a response body fed straight from its [`Playback`], and its tie to the connection that carries it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use livetrail_engine::{EndSignal, Playback, Reason, SharedFrame};
use tokio::sync::watch;

use crate::protocol::{file_header, tag_parts};

/// Frames taken from the engine at once: what a viewer holds beside what its socket holds.
const BATCH_FRAMES: usize = 16;

/// The response body. Bounded by [`BATCH_FRAMES`]; the engine's frames wait in the engine, which counts and limits the lag.
///
/// Dropping it ends the session (`client_closed`).
pub(crate) struct FlvBody {
    playback: Option<Playback>,
    link: Option<Link>,
    batch: Vec<Arc<SharedFrame>>,
    parts: VecDeque<Bytes>,
    begun: bool,
}

impl FlvBody {
    pub(crate) fn new(playback: Playback, link: Option<Link>) -> Self {
        if let Some(link) = &link {
            link.begin(playback.end_signal());
        }
        Self {
            playback: Some(playback),
            link,
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
            for frame in this.batch.drain(..) {
                this.parts.extend(tag_parts(&frame));
            }
        }
    }
}

impl Drop for FlvBody {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.finish();
        }
    }
}

/// Ties a connection to the session that it carries at the moment; requests of a connection come one after the other.
///
/// A body is not polled while its connection waits for the client to read. So the connection itself watches the session's end, and
/// closes when the body cannot.
#[derive(Clone)]
pub(crate) struct Link {
    session: Arc<watch::Sender<Option<EndSignal>>>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            session: Arc::new(watch::Sender::new(None)),
        }
    }

    fn begin(&self, signal: EndSignal) {
        self.session.send_replace(Some(signal));
    }

    fn finish(&self) {
        self.session.send_replace(None);
    }

    /// Completes when the connection is to be cut: its session was evicted, or ended otherwise and the client did not take what
    /// was left within `linger`.
    pub(crate) async fn cut(&self, linger: Duration) -> Reason {
        let mut session = self.session.subscribe();
        loop {
            let signal = session.borrow_and_update().clone();
            if let Some(signal) = signal {
                let reason = tokio::select! {
                    reason = signal.wait() => reason,
                    _ = session.changed() => continue,
                };
                if reason == Reason::Evicted {
                    return reason;
                }
                if tokio::time::timeout(linger, session.changed())
                    .await
                    .is_err()
                {
                    return reason;
                }
            } else if session.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
