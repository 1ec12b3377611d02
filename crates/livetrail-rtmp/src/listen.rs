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
use livetrail_gateway::{Acceptor, ConnectionLimits, DenyRules, GatewayStats, Incoming};
use tokio::net::{TcpListener, ToSocketAddrs};

use crate::{
    config::RtmpConfig,
    error::{Error, Result},
    session::{self, Host},
};

/// How the gateway is named in logs and reports.
const GATEWAY: &str = "rtmp";
/// For connections to end by themselves when the server stops: they only have to say goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// An RTMP server: takes publishers to an engine, and viewers from it.
///
/// One task for each connection, and a few threads that send to all viewers. Every limit is in
/// [`RtmpConfig`].
pub struct RtmpServer {
    acceptor: Acceptor,
    host: Host,
}

impl RtmpServer {
    /// Opens the listening socket. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// [`Error::Listen`]: the address is taken, or not ours. Or the system gives no thread.
    pub async fn bind(
        addr: impl ToSocketAddrs,
        engine: Engine,
        config: RtmpConfig,
    ) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(Error::listen)?;
        Ok(Self::new(listener, engine, config)?)
    }

    /// Serves on a socket that listens already. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(listener: TcpListener, engine: Engine, config: RtmpConfig) -> io::Result<Self> {
        let limits = ConnectionLimits {
            max_connections: config.max_connections,
            max_connections_per_ip: config.max_connections_per_ip,
            reserve: 0,
        };
        let acceptor = Acceptor::new(GATEWAY, listener, limits)?;
        let viewers = acceptor.viewers(config.egress);
        viewers.start()?;
        let host = Host {
            engine,
            config: Arc::new(config),
            viewers: Arc::new(viewers),
        };
        Ok(Self { acceptor, host })
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

    /// The server's counts.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        self.acceptor.stats()
    }

    /// Serves until `shutdown` completes. Then accepts no more, ends every session
    /// (`server_shutdown`) and returns when the connections are closed, after 5 s at the latest.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        // Differs per process and needs no source of randomness of its own.
        let seeds = RandomState::new();
        let host = self.host;
        let serve = move |incoming: Incoming| {
            let seed = seeds.hash_one(incoming.number);
            session::serve(incoming, host.clone(), seed)
        };
        self.acceptor.run(shutdown, STOP_TIMEOUT, serve).await;
    }
}
