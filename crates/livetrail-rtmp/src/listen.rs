//! The listening socket and the connections it has accepted.

use std::{
    collections::HashMap,
    future::Future,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use livetrail_egress::{Egress, EgressConfig};
use livetrail_engine::Engine;
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    config::RtmpConfig,
    error::Result,
    session::{self, Host},
    wire::RtmpWire,
};

/// After a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For connections to end by themselves when the server stops; they have nothing left to do but to say goodbye.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// An RTMP server: takes publishers to an engine, and players from it.
///
/// One task a connection, and a few threads that send to all players. Every limit is in [`RtmpConfig`].
pub struct RtmpServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    engine: Engine,
    config: Arc<RtmpConfig>,
    egress: Arc<Egress<RtmpWire>>,
    stats: RtmpStats,
}

/// What a server has counted. Cloning gives another handle to the same counters.
#[derive(Debug, Clone, Default)]
pub struct RtmpStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    open: AtomicUsize,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl RtmpStats {
    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.open.load(Relaxed)
    }

    /// Connections that were served or are being served.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Relaxed)
    }

    /// Connections that were closed at once, over a limit on connections.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.0.turned_away.load(Relaxed)
    }
}

impl RtmpServer {
    /// Opens the listening socket. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// The socket's: the address is taken, or not ours. Or the system gives no thread.
    pub async fn bind(
        addr: impl ToSocketAddrs,
        engine: Engine,
        config: RtmpConfig,
    ) -> Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let egress = EgressConfig {
            threads: config.egress_threads,
            send_interval: config.send_interval,
            io_uring: config.io_uring,
        };
        Ok(Self {
            listener,
            local_addr,
            engine,
            egress: Arc::new(Egress::start("rtmp", egress)?),
            config: Arc::new(config),
            stats: RtmpStats::default(),
        })
    }

    /// The address that it listens on, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The server's counters.
    #[must_use]
    pub fn stats(&self) -> RtmpStats {
        self.stats.clone()
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
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task failed");
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.begin(stream, peer, &mut connections, &stopped, &seeds),
                    Err(error) => {
                        warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
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

    fn begin(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connections: &mut JoinSet<()>,
        stopped: &watch::Receiver<bool>,
        seeds: &RandomState,
    ) {
        let Some(guard) = OpenConnection::count(&self.stats, peer.ip(), &self.config) else {
            debug!(%peer, "turned away: too many connections");
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "cannot turn off Nagle's algorithm");
        }
        let mut stopped = stopped.clone();
        let stop = Box::pin(async move {
            // A server that is gone has stopped, too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        });
        let host = Host {
            engine: self.engine.clone(),
            config: self.config.clone(),
            egress: self.egress.clone(),
        };
        let seed = seeds.hash_one(self.stats.accepted());
        connections.spawn(async move {
            let _guard = guard;
            session::serve(stream, peer, host, seed, stop).await;
        });
    }
}

/// Counts a connection for as long as it lives, also if its task panics.
struct OpenConnection {
    stats: RtmpStats,
    ip: IpAddr,
}

impl OpenConnection {
    fn count(stats: &RtmpStats, ip: IpAddr, config: &RtmpConfig) -> Option<Self> {
        let counters = &stats.0;
        let mut by_ip = counters
            .by_ip
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let from_ip = by_ip.get(&ip).copied().unwrap_or(0);
        let ip_full = config.max_connections_per_ip > 0 && from_ip >= config.max_connections_per_ip;
        if ip_full || counters.open.load(Relaxed) >= config.max_connections {
            counters.turned_away.fetch_add(1, Relaxed);
            return None;
        }
        by_ip.insert(ip, from_ip.saturating_add(1));
        counters.open.fetch_add(1, Relaxed);
        counters.accepted.fetch_add(1, Relaxed);
        Some(Self {
            stats: stats.clone(),
            ip,
        })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let counters = &self.stats.0;
        let mut by_ip = counters
            .by_ip
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counters.open.fetch_sub(1, Relaxed);
        match by_ip.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => {
                by_ip.remove(&self.ip);
            }
        }
    }
}
