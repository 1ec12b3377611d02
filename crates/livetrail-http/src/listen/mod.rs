//! Serving a router on a listener, within limits: whatever a client does or leaves undone costs a stated amount of memory and time.
//!
//! | what a client may do | what bounds it |
//! |---|---|
//! | connect | [`HttpLimits::max_connections`] |
//! | say nothing, or a header slowly | [`HttpLimits::header_timeout`] |
//! | send a long header | [`HttpLimits::max_header_bytes`] |
//! | not read an answer | [`HttpLimits::write_stall_timeout`]; of a stream, the engine's stall timeout |

mod connection;
mod stalled;
mod viewer;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// After an error of `accept` that is not one connection's own (no file descriptors left), for how long none is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So many failures in a row are one line in the log: one in ten seconds.
const FAILURES_PER_WARNING: u32 = 100;

/// What a gateway allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Connections at once (10,000); more are closed as they come.
    pub max_connections: usize,
    /// From a connection's begin, or the end of an answer, to the end of the next request's header (10 s).
    pub header_timeout: Duration,
    /// Longest request header (16 KiB, at least 8 KiB).
    pub max_header_bytes: usize,
    /// A client that takes nothing of what waits for it for so long is cut off (30 s).
    pub write_stall_timeout: Duration,
    /// When a viewer's session ends, or the server stops: for so long a client may take what is left (5 s).
    pub linger: Duration,
    /// Threads that send to viewers; 0 is one a processor (0).
    pub egress_threads: usize,
    /// A frame waits for so long for those that come after it, and is sent with them: fewer and larger writes for a later picture
    /// (10 ms, somewhat less than half the time of an AAC frame). Zero sends each as it comes. A viewer's first frames are never held back.
    pub send_interval: Duration,
    /// Whether the writes of a frame to many viewers are one system call (io_uring) where the system allows it (true).
    pub io_uring: bool,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 16 << 10,
            write_stall_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            egress_threads: 0,
            send_interval: Duration::from_millis(10),
            io_uring: true,
        }
    }
}

/// Counts of one gateway since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GatewayStats {
    /// Connections at present.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because there were too many.
    pub refused: u64,
    /// Connections cut because their viewer was evicted or would not take the rest.
    pub cut: u64,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
}

/// Reads a gateway's counts while it serves.
#[derive(Clone)]
pub struct GatewayHandle {
    counters: Arc<Counters>,
}

impl GatewayHandle {
    /// The counts of this moment.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        GatewayStats {
            connections: self.counters.connections.load(Relaxed),
            accepted: self.counters.accepted.load(Relaxed),
            refused: self.counters.refused.load(Relaxed),
            cut: self.counters.cut.load(Relaxed),
        }
    }
}

/// Serves a router (this crate's, or one that it was merged into) over HTTP/1.
pub struct HttpGateway {
    router: Router,
    limits: HttpLimits,
    counters: Arc<Counters>,
}

impl HttpGateway {
    /// A gateway for `router` with default limits.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router,
            limits: HttpLimits::default(),
            counters: Arc::default(),
        }
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: HttpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// For reading the counts later.
    #[must_use]
    pub fn handle(&self) -> GatewayHandle {
        GatewayHandle {
            counters: self.counters.clone(),
        }
    }

    /// Serves until `shutdown` completes; then lets each connection finish its answer for at most [`HttpLimits::linger`].
    ///
    /// Streams are ended by the engine's shutdown, not by this one: stop the engine, too. Dropping the future closes all
    /// connections.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let shared = Arc::new(connection::Shared {
            service: self.router,
            limits: self.limits,
            egress: OnceLock::new(),
        });
        let slots = Arc::new(Semaphore::new(self.limits.max_connections));
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let (stream, peer) = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&listener) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                self.counters.refused.fetch_add(1, Relaxed);
                continue;
            };
            self.counters.accepted.fetch_add(1, Relaxed);
            let (shared, counters, stopping) =
                (shared.clone(), self.counters.clone(), stopping.clone());
            connections.spawn(async move {
                let _slot = slot;
                let _count = Counted::new(&counters.connections);
                if connection::serve(&shared, stream, peer, stopping).await {
                    counters.cut.fetch_add(1, Relaxed);
                }
            });
        }
        drop(listener);
        stop.send_replace(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.linger, drained)
            .await
            .is_err()
        {
            tracing::info!("HTTP connections that would not end are closed");
        }
    }
}

/// Counts a connection for as long as it is there, also when its task is aborted.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The next connection. Errors of a single one are skipped; those of the process are waited out.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut failures: u32 = 0;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if failures.is_multiple_of(FAILURES_PER_WARNING) {
                    tracing::warn!(%error, "HTTP: accepting connections is not possible at the moment");
                }
                failures = failures.wrapping_add(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
