//! The server: an accept loop whose connections speak RTMP.

use std::{
    future::Future,
    hash::{BuildHasher as _, RandomState},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use livetrail_engine::Engine;
use livetrail_gateway::{
    Acceptor, ConnectionLimits, DenyRules, GatewayStats, Incoming, TrustedProxies,
};
use tokio::net::{TcpListener, ToSocketAddrs};

use crate::{
    config::RtmpConfig,
    error::{Error, Result},
    session::{self, Host},
};

/// The gateway's name in logs and reports.
const GATEWAY: &str = "rtmp";
/// Time for connections to end by themselves when the server stops: they only have to send a
/// goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// An RTMP server: connects publishers and viewers to an engine.
///
/// Each connection has one task. A few threads send to all viewers. Each limit is in
/// [`RtmpConfig`].
pub struct RtmpServer {
    acceptor: Acceptor,
    host: Host,
}

impl RtmpServer {
    /// Opens the listening socket. The server accepts no connection before [`run`](Self::run).
    ///
    /// Cancel safe: a dropped future leaves no socket open.
    ///
    /// # Errors
    /// [`Error::Listen`] if the address is in use or not local, or if the system provides no
    /// thread.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn bind(
        addr: impl ToSocketAddrs,
        engine: Engine,
        config: RtmpConfig,
    ) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(Error::listen)?;
        Ok(Self::new(listener, engine, config)?)
    }

    /// Serves on a socket that is listening already. The server accepts no connection before
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// The system provides no thread.
    pub fn new(listener: TcpListener, engine: Engine, config: RtmpConfig) -> io::Result<Self> {
        let limits = ConnectionLimits {
            max_connections: config.max_connections,
            max_connections_per_ip: config.max_connections_per_ip,
            reserve: 0,
        };
        let acceptor = Acceptor::new(GATEWAY, listener, limits)?;
        let acceptor = acceptor.first_timeout(config.handshake_timeout);
        let viewers = acceptor.viewers(config.egress);
        viewers.start()?;
        let host = Host {
            engine,
            config: Arc::new(config),
            viewers: Arc::new(viewers),
        };
        Ok(Self { acceptor, host })
    }

    /// Sets the networks whose connections are closed at once.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.acceptor = self.acceptor.deny(rules);
        self
    }

    /// Speaks RTMPS: TLS on all connections.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: livetrail_gateway::TlsAcceptor) -> Self {
        self.acceptor = self.acceptor.tls(tls);
        self
    }

    /// Sets the proxies that may name the clients of their connections, with a PROXY header.
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

    /// The server's counts.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        self.acceptor.stats()
    }

    /// Serves until `shutdown` completes. It then accepts no more connections, ends each session
    /// (`server_shutdown`), and returns when the connections are closed, after 5 s at the latest.
    ///
    /// Dropping the future closes all connections at once; their sessions end.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        // The seeds differ per process and need no other source of randomness.
        let seeds = RandomState::new();
        let host = self.host;
        let serve = move |incoming: Incoming| {
            let seed = seeds.hash_one(incoming.number);
            session::serve(incoming, host.clone(), seed)
        };
        self.acceptor.run(shutdown, STOP_TIMEOUT, serve).await;
    }
}
