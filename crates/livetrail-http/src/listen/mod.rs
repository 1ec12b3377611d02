//! Serving a router on a listener, within limits: whatever a client does or leaves undone costs a stated amount of memory and time.
//!
//! | what a client may do | what bounds it |
//! |---|---|
//! | connect | [`HttpConfig::max_connections`], [`HttpConfig::max_connections_per_ip`], [`HttpConfig::reserve`] |
//! | say nothing, or a header slowly | [`HttpConfig::header_timeout`] |
//! | send a long header | [`HttpConfig::max_header_bytes`] |
//! | not read an answer | [`HttpConfig::write_stall_timeout`]; of a stream, the engine's stall timeout |

mod connection;
mod host;
mod stalled;
mod viewer;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::Router;
use livetrail_engine::Engine;
use livetrail_gateway::{
    Acceptor, ConnectionLimits, DenyRules, GatewayStats, Incoming, ListenError,
};
use tokio::net::{TcpListener, ToSocketAddrs};

use crate::{config::HttpConfig, handler};

/// How the gateway is named in logs and reports.
const GATEWAY: &str = "http";

/// An HTTP/1 server: viewers play an engine's streams from it. Other routes may be served next to
/// them.
///
/// One task for each connection, and a few threads that send to all viewers. They start with the
/// first viewer. Every limit is in [`HttpConfig`].
pub struct HttpGateway {
    acceptor: Acceptor,
    router: Router,
    config: HttpConfig,
}

impl HttpGateway {
    /// Opens the listening socket. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// [`ListenError`]: the address is taken, not this machine's, or not allowed.
    pub async fn bind(
        addr: impl ToSocketAddrs,
        engine: Engine,
        config: HttpConfig,
    ) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(addr).await?;
        Ok(Self::new(listener, engine, config)?)
    }

    /// Serves on a socket that listens already. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// The system does not say where the socket listens.
    pub fn new(listener: TcpListener, engine: Engine, config: HttpConfig) -> io::Result<Self> {
        let limits = ConnectionLimits {
            max_connections: config.max_connections,
            max_connections_per_ip: config.max_connections_per_ip,
            reserve: config.reserve,
        };
        Ok(Self {
            acceptor: Acceptor::new(GATEWAY, listener, limits)?,
            router: handler::router(engine, config.playback.clone()),
            config,
        })
    }

    /// Replaces the routes: `routes` gets those of playback, which have no fallback, and gives what
    /// is served.
    #[must_use]
    pub fn routes(mut self, routes: impl FnOnce(Router) -> Router) -> Self {
        self.router = routes(self.router);
        self
    }

    /// Sets the networks whose connections are closed as they come.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.acceptor = self.acceptor.deny(rules);
        self
    }

    /// The address that it listens on, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.acceptor.local_addr()
    }

    /// The gateway's counts.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        self.acceptor.stats()
    }

    /// Serves until `shutdown` completes. Then accepts no more, and lets each connection finish its
    /// answer for at most [`HttpConfig::linger`].
    ///
    /// Streams are ended by the engine's shutdown, not by this one: stop the engine, too. Dropping
    /// the future closes all connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let linger = self.config.linger;
        let shared = Arc::new(connection::Shared {
            service: self.router,
            viewers: self.acceptor.viewers(self.config.egress),
            config: self.config,
        });
        let serve = move |incoming: Incoming| connection::serve(shared.clone(), incoming);
        self.acceptor.run(shutdown, linger, serve).await;
    }
}
