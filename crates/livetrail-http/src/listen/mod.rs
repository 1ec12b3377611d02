//! Serving a router on a listener, within limits: whatever a client does or leaves undone costs a stated amount of memory and time.
//!
//! | what a client may do | what bounds it |
//! |---|---|
//! | connect | [`HttpLimits::max_connections`], [`HttpLimits::max_connections_per_ip`], [`HttpLimits::reserve`] |
//! | say nothing, or a header slowly | [`HttpLimits::header_timeout`] |
//! | send a long header | [`HttpLimits::max_header_bytes`] |
//! | not read an answer | [`HttpLimits::write_stall_timeout`]; of a stream, the engine's stall timeout |

mod connection;
mod host;
mod stalled;
mod viewer;

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use livetrail_egress::IoUringUse;
use livetrail_gateway::{ConnectionLimits, Connections, DenyRules, Listener};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// How the gateway is named in logs and reports.
const GATEWAY: &str = "http";

/// What a gateway allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Connections at once (10,000).
    pub max_connections: usize,
    /// Connections without an admitted session from one address (256), IPv6 by /64; 0 is no limit. Eight times as many may
    /// wait, each for at most a second, so that an audience behind one address can arrive at once.
    pub max_connections_per_ip: usize,
    /// Connections beyond both limits (64), for everything but streams: health, metrics, and the API. Each answers one
    /// request. When all are taken, one that has not asked yet is closed for the next; further ones are closed as they come.
    pub reserve: usize,
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
            max_connections_per_ip: 256,
            reserve: 64,
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
    /// Connections at present in reserve: no slot was left for them.
    pub reserved: u64,
    /// Connections closed because there were too many, in all or from their address.
    pub refused: u64,
    /// Connections cut because their viewer was evicted or would not take the rest.
    pub cut: u64,
    /// Threads that write to viewers by io_uring; 0 before the first viewer.
    pub io_uring_threads: u64,
}

/// Reads a gateway's counts while it serves.
#[derive(Clone)]
pub struct GatewayHandle {
    connections: Arc<OnceLock<Connections>>,
    cut: Arc<AtomicU64>,
    io_uring: Arc<OnceLock<IoUringUse>>,
}

impl GatewayHandle {
    /// The counts of this moment.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        let connections = self.connections.get().map(Connections::stats);
        let connections = connections.unwrap_or_default();
        GatewayStats {
            connections: connections.open,
            accepted: connections.accepted,
            reserved: connections.reserved,
            refused: connections.turned_away(),
            cut: self.cut.load(Relaxed),
            io_uring_threads: self.io_uring.get().map_or(0, |used| used.threads() as u64),
        }
    }
}

/// Serves a router (this crate's, or one that it was merged into) over HTTP/1.
pub struct HttpGateway {
    router: Router,
    limits: HttpLimits,
    deny: DenyRules,
    handle: GatewayHandle,
}

impl HttpGateway {
    /// A gateway for `router` with default limits.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router,
            limits: HttpLimits::default(),
            deny: DenyRules::default(),
            handle: GatewayHandle {
                connections: Arc::default(),
                cut: Arc::default(),
                io_uring: Arc::default(),
            },
        }
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: HttpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the networks whose connections are closed as they come.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.deny = rules;
        self
    }

    /// For reading the counts later.
    #[must_use]
    pub fn handle(&self) -> GatewayHandle {
        self.handle.clone()
    }

    /// Serves until `shutdown` completes; then lets each connection finish its answer for at most [`HttpLimits::linger`].
    ///
    /// Streams are ended by the engine's shutdown, not by this one: stop the engine, too. Dropping the future closes all
    /// connections.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let listener = Listener::new(GATEWAY, listener).deny(self.deny);
        let shared = Arc::new(connection::Shared {
            service: self.router,
            limits: self.limits,
            egress: OnceLock::new(),
            io_uring: self.handle.io_uring.clone(),
        });
        let limits = ConnectionLimits {
            max_connections: self.limits.max_connections,
            max_per_address: self.limits.max_connections_per_ip,
            reserve: self.limits.reserve,
        };
        let open = Connections::new(GATEWAY, limits);
        let _ = self.handle.connections.set(open.clone());
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let (stream, peer) = tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Some(opened) = open.open(peer) else {
                continue;
            };
            let (shared, stopping) = (shared.clone(), stopping.clone());
            let cut = self.handle.cut.clone();
            connections.spawn(async move {
                if connection::serve(&shared, stream, peer, opened, stopping).await {
                    cut.fetch_add(1, Relaxed);
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
