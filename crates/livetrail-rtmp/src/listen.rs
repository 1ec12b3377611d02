//! The listening socket and the connections it has accepted.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use livetrail_egress::{Egress, EgressConfig, IoUringUse};
use livetrail_engine::Engine;
use livetrail_gateway::{ConnectionLimits, Connections, DenyRules, Listener, Opened};
use tokio::{
    net::{TcpListener, ToSocketAddrs},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, info, warn};

use crate::{
    config::RtmpConfig,
    error::{Error, Result},
    session::{self, Host},
    wire::RtmpWire,
};

/// How the gateway is named in logs and reports.
const GATEWAY: &str = "rtmp";
/// For connections to end by themselves when the server stops; they have nothing left to do but to say goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// An RTMP server: takes publishers to an engine, and players from it.
///
/// One task a connection, and a few threads that send to all players. Every limit is in [`RtmpConfig`].
pub struct RtmpServer {
    listener: Listener,
    local_addr: SocketAddr,
    engine: Engine,
    config: Arc<RtmpConfig>,
    egress: Arc<Egress<RtmpWire>>,
    connections: Connections,
}

/// What a server has counted. Cloning gives another handle to the same counters.
#[derive(Debug, Clone)]
pub struct RtmpStats(Connections, IoUringUse);

impl RtmpStats {
    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        usize::try_from(self.0.stats().open).unwrap_or(usize::MAX)
    }

    /// Connections that were served or are being served.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.0.stats().accepted
    }

    /// Connections that were closed because there were too many, in all or from their address.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.0.stats().turned_away()
    }

    /// Threads that write to players by io_uring.
    #[must_use]
    pub fn io_uring_threads(&self) -> usize {
        self.1.threads()
    }
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
        let local_addr = listener.local_addr()?;
        let egress = EgressConfig {
            threads: config.egress_threads,
            send_interval: config.send_interval,
            io_uring: config.io_uring,
        };
        let limits = ConnectionLimits {
            max_connections: config.max_connections,
            max_per_address: config.max_connections_per_ip,
            reserve: 0,
        };
        Ok(Self {
            listener: Listener::new(GATEWAY, listener),
            local_addr,
            engine,
            egress: Arc::new(Egress::start(GATEWAY, egress)?),
            config: Arc::new(config),
            connections: Connections::new(GATEWAY, limits),
        })
    }

    /// Sets the networks whose connections are closed as they come.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.listener = self.listener.deny(rules);
        self
    }

    /// The address that it listens on, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The server's counters.
    #[must_use]
    pub fn stats(&self) -> RtmpStats {
        RtmpStats(self.connections.clone(), self.egress.io_uring_use())
    }

    /// Serves until `shutdown` resolves; then accepts no more, ends every session (`server_shutdown`) and returns once
    /// the connections are closed, after 5 s at the latest.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        info!(address = %self.local_addr, "RTMP listens");
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        // Differs per process and needs no source of randomness of its own.
        let seeds = RandomState::new();
        loop {
            let (stream, peer) = tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task failed");
                    }
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            // There is no reserve: no connection here is for anything but a session.
            let Some(Opened::Slot(mut slot)) = self.connections.open(peer) else {
                debug!(%peer, "turned away: too many connections");
                continue;
            };
            let host = Host {
                engine: self.engine.clone(),
                config: self.config.clone(),
                egress: self.egress.clone(),
            };
            let seed = seeds.hash_one(self.connections.stats().accepted);
            let stop = stop_of(stopped.clone());
            connections.spawn(async move {
                if slot.turn().await {
                    session::serve(stream, peer, host, slot, seed, stop).await;
                } else {
                    let _ = slot.into_reserve();
                    debug!(%peer, "turned away: too many connections from its address");
                }
            });
        }
        drop(self.listener);
        stop.send_replace(true);
        let drained = timeout(STOP_TIMEOUT, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        if drained.is_err() {
            warn!(
                open = connections.len(),
                "connections did not close in time"
            );
            connections.shutdown().await;
        }
    }
}

fn stop_of(mut stopped: watch::Receiver<bool>) -> session::Stop {
    Box::pin(async move {
        // A server that is gone has stopped, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    })
}
