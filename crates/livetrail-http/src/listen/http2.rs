//! One connection of HTTP/2: hyper's state machine, a task for each request, and the causes that
//! end either of them early.
//!
//! The answers of a connection share its socket, so the egress cannot write to it. Each stream is
//! read from the engine by its own task, which waits for the client's window: a stream that the
//! client does not read falls behind in the engine alone, as any slow viewer, and the others go on.
//!
//! What a client can use up:
//! - [`MAX_STREAMS`] requests at once. Each counts among the connections of its address until its
//!   session is admitted or its answer has ended.
//! - [`MAX_SEND_BYTES`] of output for each request, and what its task has taken from the engine: at
//!   most 16 frames.
//! - [`WINDOW_BYTES`] of input that nobody has read, and a header within
//!   [`HttpConfig::max_header_bytes`]. The library bounds CONTINUATION frames by it.
//! - [`MAX_PENDING_RESETS`] and [`MAX_ABANDONED`] requests that it resets before they are answered.
//! - [`HttpConfig::header_timeout`] without a request. A client that answers no ping for
//!   [`HttpConfig::write_stall_timeout`] is gone.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::{
    Request,
    body::{self, Body as _, Frame, SizeHint},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use livetrail_engine::log;
use livetrail_gateway::{AddressTurn, Closed, Opened, Slot, Stop, Transport};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    connection::{Requests, unless_never},
    stalled::StallGuard,
};
use crate::{config::HttpConfig, session::Link};

/// Requests at once on one connection.
const MAX_STREAMS: u32 = 32;
/// Input of a request, and of all requests of a connection, that nobody has read yet. The protocol
/// allows no smaller window for a connection.
const WINDOW_BYTES: u32 = 65_535;
/// Output of one request that the socket has not taken yet.
const MAX_SEND_BYTES: usize = 64 << 10;
/// Output that is given to the library at once: the longest DATA frame that every client takes.
const PIECE_BYTES: usize = 16 << 10;
/// Requests that the client has reset before this side has seen them. More end the connection.
const MAX_PENDING_RESETS: usize = 20;
/// Streams that this side has reset for the client's errors. More end the connection.
const MAX_ERROR_RESETS: usize = 64;
/// Requests of a connection that its client has reset before they were answered. More end the
/// connection.
const MAX_ABANDONED: usize = 100;
/// A connection is asked this often whether its client is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

tokio::task_local! {
    /// The request that a task answers.
    static ANSWERING: Answering;
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    config: &HttpConfig,
    requests: Requests,
    stream: Transport,
    opened: Opened,
    stop: Stop,
) -> Closed {
    let peer = requests.client.peer;
    let (slot, reserved) = match opened {
        Opened::Slot(slot) => (Some(slot), None),
        Opened::Reserved(reserved) => (None, Some(reserved)),
    };
    let open = Arc::new(Open {
        requests: watch::Sender::new(0),
        slot: Mutex::new(slot),
        abandoned: AtomicUsize::new(0),
        end: Notify::new(),
        is_flood: AtomicBool::new(false),
    });
    let tasks = Tasks {
        open: open.clone(),
        reserved: reserved.is_some(),
        stop: stop.clone(),
        linger: config.linger,
        stall_timeout: config.write_stall_timeout,
    };
    let header_bytes = u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX);
    // Its socket is watched as a whole: no one answer is meant by it.
    let link = Link::of_several(reserved.is_some(), stop.clone());
    let io = StallGuard::new(stream, config.write_stall_timeout, link);
    let connection = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .max_concurrent_streams(if reserved.is_some() { 1 } else { MAX_STREAMS })
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(MAX_SEND_BYTES)
        .max_header_list_size(header_bytes)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(config.write_stall_timeout)
        .serve_connection(
            TokioIo::new(io),
            service_fn(move |request: Request<body::Incoming>| answer(requests.clone(), request)),
        );
    let mut connection = std::pin::pin!(connection);
    let asked = open.requests.subscribe();
    let early = tokio::select! {
        ended = connection.as_mut() => return over(ended, peer),
        () = stop.wait() => Early::Stop,
        () = open.end.notified() => Early::Limit,
        () = idle(asked, config.header_timeout) => Early::Idle,
        () = replaced(reserved.as_ref(), open.requests.subscribe()) => Early::Replaced,
    };
    tracing::debug!(peer = log::personal(peer), why = ?early, "ending an HTTP/2 connection");
    let is_displaced = matches!(early, Early::Replaced) && *open.requests.borrow() == 0;
    if is_displaced || open.is_flood.load(Relaxed) {
        return Closed::Cut;
    }
    // Requests that are open get their answers, but no further ones.
    connection.as_mut().graceful_shutdown();
    if matches!(early, Early::Stop) {
        // The acceptor limits the time.
        return over(connection.await, peer);
    }
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = none_for(open.requests.subscribe(), config.linger) => return Closed::Cut,
    };
    over(ended, peer)
}

/// Why a connection ends before its client closes it.
#[derive(Debug, Clone, Copy)]
enum Early {
    Stop,
    /// Its address has too many, or it has reset too many requests.
    Limit,
    Idle,
    /// It is in reserve. It has had its one request, or a newer connection needs its entry.
    Replaced,
}

fn over(ended: Result<(), hyper::Error>, peer: std::net::SocketAddr) -> Closed {
    if let Err(error) = ended {
        tracing::debug!(peer = log::personal(peer), %error, "HTTP/2 connection failed");
    }
    Closed::Whole
}

/// Completes when there was no request for this long.
async fn idle(requests: watch::Receiver<usize>, limit: Duration) {
    let Some(limit) = unless_never(limit) else {
        return std::future::pending().await;
    };
    none_for(requests, limit).await;
}

/// Completes when no request has been open for this long.
async fn none_for(mut requests: watch::Receiver<usize>, limit: Duration) {
    loop {
        if requests.wait_for(|open| *open == 0).await.is_err() {
            return;
        }
        if timeout(limit, requests.wait_for(|open| *open > 0))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Completes when a connection in reserve must end.
async fn replaced(
    reserved: Option<&livetrail_gateway::Reserved>,
    mut requests: watch::Receiver<usize>,
) {
    let Some(reserved) = reserved else {
        return std::future::pending().await;
    };
    tokio::select! {
        () = reserved.displaced() => {}
        _ = requests.wait_for(|open| *open > 0) => reserved.busy(),
    }
}

/// The requests of a connection that are open.
struct Open {
    requests: watch::Sender<usize>,
    /// Counts among the connections of its address while no request is open. `None` in reserve.
    slot: Mutex<Option<Slot>>,
    abandoned: AtomicUsize,
    /// Notified when the connection must end.
    end: Notify,
    is_flood: AtomicBool,
}

impl Open {
    /// Only the connection's own task calls this.
    fn begin(self: &Arc<Self>) -> OpenRequest {
        let mut slot = self.slot();
        self.requests
            .send_modify(|open| *open = open.saturating_add(1));
        if let Some(slot) = &mut *slot {
            slot.admitted();
        }
        OpenRequest(self.clone())
    }

    fn end(&self) {
        let mut slot = self.slot();
        self.requests
            .send_modify(|open| *open = open.saturating_sub(1));
        let is_last = *self.requests.borrow() == 0;
        if is_last && slot.as_mut().is_some_and(|slot| !slot.idle()) {
            self.end.notify_one();
        }
    }

    fn abandon(&self) {
        let abandoned = self.abandoned.fetch_add(1, Relaxed);
        if abandoned >= MAX_ABANDONED {
            self.is_flood.store(true, Relaxed);
            self.end.notify_one();
        }
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn slot(&self) -> MutexGuard<'_, Option<Slot>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request while it is open.
struct OpenRequest(Arc<Open>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Makes the task of each request.
#[derive(Clone)]
struct Tasks {
    open: Arc<Open>,
    reserved: bool,
    stop: Stop,
    linger: Duration,
    stall_timeout: Duration,
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    /// A task that is given up drops its answer, and the library resets the stream.
    fn execute(&self, work: F) {
        let request = self.open.begin();
        let answering = Answering {
            link: Link::of_several(self.reserved, self.stop.clone()),
            open: self.open.clone(),
            pace: Arc::default(),
        };
        let (link, pace) = (answering.link.clone(), answering.pace.clone());
        let (linger, stall_timeout) = (self.linger, self.stall_timeout);
        tokio::spawn(async move {
            let _request = request;
            let mut work = std::pin::pin!(ANSWERING.scope(answering, work));
            tokio::select! {
                biased;
                () = work.as_mut() => {}
                (of, reason) = link.cut(linger) => {
                    let (peer, via) = log::client(&of);
                    tracing::info!(peer, via, session = %of.session, %reason, "HTTP/2 stream reset: its viewer's session has ended");
                }
                () = pace.stalled(stall_timeout) => {
                    link.fail(format!("it read nothing for {stall_timeout:?}"));
                }
            }
        });
    }
}

/// What a task has with it.
#[derive(Clone)]
struct Answering {
    link: Link,
    open: Arc<Open>,
    pace: Arc<Pace>,
}

async fn answer(
    requests: Requests,
    request: Request<body::Incoming>,
) -> Result<Response, std::convert::Infallible> {
    // The library polls this in the task that the executor has made for it.
    let Answering { link, open, pace } = ANSWERING.get();
    let unanswered = Unanswered(Some(open));
    let answer = requests.answer(link.clone(), request).await;
    unanswered.answered();
    let turn = link.take_turn().filter(|_| !link.has_session());
    answer.map(|answer| answer.map(|body| Body::new(Paced::new(body, pace, turn))))
}

/// Counts a request that is given up before it is answered.
struct Unanswered(Option<Arc<Open>>);

impl Unanswered {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(open) = &self.0 {
            open.abandon();
        }
    }
}

/// Whether a client reads an answer.
#[derive(Default)]
struct Pace {
    taken: AtomicUsize,
    /// The last thing that the body gave was data: it waits for the client.
    has_output: AtomicBool,
}

impl Pace {
    /// Completes when the client has read nothing for this long, although there was output: between
    /// one and two times that after it stopped.
    async fn stalled(&self, limit: Duration) {
        let Some(limit) = unless_never(limit) else {
            return std::future::pending().await;
        };
        loop {
            let before = self.taken.load(Relaxed);
            sleep(limit).await;
            if self.has_output.load(Relaxed) && self.taken.load(Relaxed) == before {
                return;
            }
        }
    }
}

/// A body that notes when the client takes something from it. It gives its data in pieces, and the
/// library asks for one when the client's window has room: so it holds one piece, and not a whole
/// answer, for a client that does not read.
struct Paced {
    body: Body,
    pace: Arc<Pace>,
    rest: Bytes,
    /// An answer that is not a session counts until it has ended.
    _turn: Option<AddressTurn>,
}

impl Paced {
    fn new(body: Body, pace: Arc<Pace>, turn: Option<AddressTurn>) -> Self {
        Self {
            body,
            pace,
            rest: Bytes::new(),
            _turn: turn,
        }
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = this.poll_piece(cx);
        this.pace.taken.fetch_add(1, Relaxed);
        let has_output = matches!(polled, Poll::Ready(Some(_)));
        this.pace.has_output.store(has_output, Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() {
            return self.body.size_hint();
        }
        SizeHint::default()
    }
}
