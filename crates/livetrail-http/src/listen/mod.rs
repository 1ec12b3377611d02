//! Serves a router on a listener, within limits: whatever a client does, it uses a bounded amount
//! of memory and time.
//!
//! - Connections: [`HttpConfig::max_connections`], [`HttpConfig::max_connections_per_ip`],
//!   [`HttpConfig::reserve`].
//! - A slow or missing header: [`HttpConfig::header_timeout`].
//! - A long header: [`HttpConfig::max_header_bytes`].
//! - An answer that the client does not read: [`HttpConfig::write_stall_timeout`]; for a stream,
//!   the engine's stall timeout.
//! - Requests at once on a connection of HTTP/2, and floods of its frames: see `http2`.

mod client;
mod connection;
mod host;
#[cfg(feature = "tls")]
mod http2;
mod stalled;
mod viewer;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::Router;
use livetrail_engine::Engine;
use livetrail_gateway::{
    Acceptor, ConnectionLimits, DenyRules, GatewayStats, Incoming, ListenError, TrustedProxies,
    Viewers,
};
use tokio::net::{TcpListener, ToSocketAddrs};

use crate::{config::HttpConfig, handler, hls::Hls, wire::FlvWire};

/// The gateway's name in logs and reports.
const GATEWAY: &str = "http";

/// The names of the protocols (ALPN). [`HttpGateway::PROTOCOLS`] has them.
#[cfg(feature = "tls")]
const HTTP_2: &str = "h2";
#[cfg(feature = "tls")]
const HTTP_1: &str = "http/1.1";

/// What all connections of a gateway share.
struct Shared {
    service: Router,
    config: HttpConfig,
    viewers: Viewers<FlvWire>,
}

/// An HTTP server from which viewers play an engine's streams. It can serve other routes as well.
/// It speaks HTTP/1.1 and, where TLS has agreed on it, HTTP/2.
///
/// Each connection has one task, and each request of HTTP/2 has one of its own. A few threads send
/// to all viewers of HTTP/1.1; they start with the first one. Each limit is in [`HttpConfig`].
pub struct HttpGateway {
    acceptor: Acceptor,
    engine: Engine,
    router: Router,
    config: HttpConfig,
}

impl HttpGateway {
    /// Opens the listening socket. The gateway accepts no connection before [`run`](Self::run).
    ///
    /// Cancel safe: a dropped future leaves no socket open.
    ///
    /// # Errors
    /// [`ListenError`]: the address is in use, not local, or not allowed.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn bind(
        addr: impl ToSocketAddrs,
        engine: Engine,
        config: HttpConfig,
    ) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(addr).await?;
        Ok(Self::new(listener, engine, config)?)
    }

    /// Serves on a socket that is listening already. The gateway accepts no connection before
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// The system does not report the socket's address.
    pub fn new(listener: TcpListener, engine: Engine, config: HttpConfig) -> io::Result<Self> {
        let limits = ConnectionLimits {
            max_connections: config.max_connections,
            max_connections_per_ip: config.max_connections_per_ip,
            reserve: config.reserve,
        };
        Ok(Self {
            acceptor: Acceptor::new(GATEWAY, listener, limits)?
                .first_timeout(config.header_timeout),
            router: handler::router(engine.clone(), config.playback.clone()),
            engine,
            config,
        })
    }

    /// Serves HLS as well. Call it before [`routes`](Self::routes). Several gateways of an engine
    /// share one [`Hls`].
    #[must_use]
    pub fn hls(mut self, hls: &Hls) -> Self {
        let playback = self.config.playback.clone();
        self.router = handler::router_with(self.engine.clone(), playback, Some(hls.clone()));
        self
    }

    /// Replaces the routes: `routes` gets the playback routes, which have no fallback, and returns
    /// the routes to serve.
    #[must_use]
    pub fn routes(mut self, routes: impl FnOnce(Router) -> Router) -> Self {
        self.router = routes(self.router);
        self
    }

    /// Sets the networks whose connections are closed at once.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.acceptor = self.acceptor.deny(rules);
        self
    }

    /// What the TLS of a gateway should offer (ALPN), the preferred one first.
    #[cfg(feature = "tls")]
    pub const PROTOCOLS: &[&str] = &[HTTP_2, HTTP_1];

    /// Speaks HTTPS: TLS on all connections. Let it offer [`PROTOCOLS`](Self::PROTOCOLS); a client
    /// that agrees on `h2` gets HTTP/2, any other HTTP/1.1.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: livetrail_gateway::TlsAcceptor) -> Self {
        self.acceptor = self.acceptor.tls(tls);
        self
    }

    /// Sets the proxies that may name the clients of their connections, with a PROXY header, and of
    /// their requests, with `Forwarded` or `X-Forwarded-For`.
    #[must_use]
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.acceptor = self.acceptor.trust(proxies);
        self
    }

    /// The listening address, with the port that the system chose for port 0.
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
    /// The engine's shutdown ends streams, not this one: stop the engine as well. Dropping the
    /// future closes all connections.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let linger = self.config.linger;
        let shared = Arc::new(Shared {
            service: self.router,
            viewers: self.acceptor.viewers(self.config.egress),
            config: self.config,
        });
        let serve = move |incoming: Incoming| connection::serve(shared.clone(), incoming);
        self.acceptor.run(shutdown, linger, serve).await;
    }
}
