//! The accept loop of a gateway, and how it stops.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use livetrail_egress::{EgressConfig, Format};
use livetrail_engine::{ClientAddress, log};
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    task::JoinSet,
    time::timeout,
};

#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
use crate::{
    connections::{ConnectionLimits, Connections, Opened},
    deny::DenyRules,
    listen::{ListenError, Listener},
    stats::GatewayStats,
    stop::Stop,
    transport::Transport,
    viewers::Viewers,
};

/// A listening socket with limits, counts and an ordered stop. A gateway adds its protocol.
#[derive(Debug)]
pub struct Acceptor {
    name: &'static str,
    listener: Listener,
    local_addr: SocketAddr,
    stats: GatewayStats,
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
}

/// A connection that may be served. Nagle's algorithm is off.
#[derive(Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// The client's bytes.
    pub stream: Transport,
    /// The client's [`canonical`](crate::canonical) address, and how it is known.
    pub client: ClientAddress,
    /// The name in the client's verified certificate, if it has shown one: a URI or a DNS name.
    pub certificate: Option<Arc<str>>,
    /// How the connection is counted. A gateway without a reserve gets slots only.
    pub opened: Opened,
    /// Completes when the gateway stops. The connection must then end.
    pub stop: Stop,
    /// Its number among the gateway's connections.
    pub number: u64,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The client closed it, or had time to read why the gateway did.
    Whole,
    /// It was closed before its client had read the reason.
    Cut,
}

impl Acceptor {
    /// Opens a listening socket. `name` is the gateway's name in logs and reports, such as `rtmp`.
    ///
    /// Cancel safe: a dropped future leaves no socket open.
    ///
    /// # Errors
    /// [`ListenError`]: the address is in use, not local, or not allowed.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn bind(
        name: &'static str,
        address: impl ToSocketAddrs,
        limits: ConnectionLimits,
    ) -> Result<Self, ListenError> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self::new(name, socket, limits)?)
    }

    /// Accepts from a socket that is listening already.
    ///
    /// # Errors
    /// The system does not report the socket's address.
    pub fn new(
        name: &'static str,
        socket: TcpListener,
        limits: ConnectionLimits,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            local_addr: socket.local_addr()?,
            listener: Listener::new(name, socket),
            stats: GatewayStats::new(Connections::new(name, limits)),
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    /// Sets the networks whose connections are closed at once.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.listener = self.listener.deny(rules);
        self
    }

    /// Speaks TLS on all connections. Each one is encrypted before it is served.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: TlsAcceptor) -> Self {
        self.stats.tls = Some(tls.counts.clone());
        self.tls = Some(tls);
        self
    }

    /// The listening address, with the port that the system chose for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The counts of the gateway.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        self.stats.clone()
    }

    /// Makes the sender for the gateway's viewers. Its threads start with the first viewer.
    #[must_use]
    pub fn viewers<F: Format>(&self, config: EgressConfig) -> Viewers<F> {
        Viewers::new(self.name, config, self.stats.io_uring.clone())
    }

    /// Passes each connection to `serve`, in its own task, until `shutdown` completes.
    ///
    /// Then accepts no more, signals [`Stop`], and returns when all connections are closed. Cuts
    /// those that are still open after `stop_timeout`. Dropping the future cuts all connections.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time. A panic in `serve` ends its connection alone
    /// and is logged.
    pub async fn run<F>(
        self,
        shutdown: impl Future<Output = ()>,
        stop_timeout: Duration,
        serve: impl Fn(Incoming) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Closed> + Send + 'static,
    {
        let gateway = self.name;
        tracing::info!(gateway, address = %self.local_addr, "the gateway is listening");
        let connections = &self.stats.connections;
        let serve = Arc::new(serve);
        let (stop, stopping) = Stop::channel();
        let mut tasks = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let (stream, peer) = tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::warn!(gateway, %error, "the task of a connection failed");
                    }
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            let Some(opened) = connections.open(peer) else {
                tracing::debug!(
                    gateway,
                    peer = log::personal(peer),
                    "turned away: too many connections"
                );
                continue;
            };
            // Each message is written as soon as it exists: waiting to fill a segment adds latency.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(gateway, peer = log::personal(peer), %error, "cannot turn off Nagle's algorithm");
            }
            let number = connections.stats().accepted;
            let (connections, serve) = (connections.clone(), serve.clone());
            let stop = stopping.clone();
            let security = Security {
                #[cfg(feature = "tls")]
                tls: self.tls.clone(),
            };
            tasks.spawn(async move {
                let Some(opened) = opened.turn().await else {
                    tracing::debug!(
                        gateway,
                        peer = log::personal(peer),
                        "turned away: too many from its address"
                    );
                    return;
                };
                let secured = tokio::select! {
                    secured = security.secure(stream) => secured,
                    () = stop.clone().wait() => return,
                };
                let (stream, certificate) = match secured {
                    Ok(secured) => secured,
                    Err(error) => {
                        tracing::debug!(gateway, peer = log::personal(peer), %error, "the TLS handshake failed");
                        return;
                    }
                };
                let incoming = Incoming {
                    stream,
                    certificate,
                    client: ClientAddress::of_socket(peer),
                    opened,
                    stop,
                    number,
                };
                if serve(incoming).await == Closed::Cut {
                    connections.count_cut();
                }
            });
        }
        drop(self.listener);
        stop.send_replace(true);
        let drained = async { while tasks.join_next().await.is_some() {} };
        if timeout(stop_timeout, drained).await.is_err() {
            let open = tasks.len();
            tracing::warn!(
                gateway,
                open,
                "connections did not close in time; cutting them"
            );
            tasks.shutdown().await;
        }
    }
}

/// The encryption of a listener's connections.
struct Security {
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
}

impl Security {
    /// Encrypts a connection if its listener does so. Returns the name in the client's certificate.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, reason = "no handshake")
    )]
    async fn secure(&self, stream: TcpStream) -> io::Result<(Transport, Option<Arc<str>>)> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let accepted = tls.accept(stream).await?;
            return Ok((accepted.transport, accepted.certificate.map(Into::into)));
        }
        Ok((Transport::plain(stream), None))
    }
}
