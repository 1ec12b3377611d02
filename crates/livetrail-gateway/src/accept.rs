//! The accept loop of a gateway, and how it stops.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use livetrail_egress::{EgressConfig, Format};
use livetrail_engine::{CertificateName, ClientAddress, log};
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
use crate::{
    clock,
    connections::{ConnectionLimits, Connections, Opened},
    deny::DenyRules,
    listen::{ListenError, Listener},
    proxy::{self, AddressRules, Preamble, ProxyHeader, ProxyOrigin, Refusal, TrustedProxies},
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
    deny: DenyRules,
    proxies: TrustedProxies,
    first_timeout: Duration,
}

/// How long a connection may take to send its first byte, unless a gateway sets another time.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that may be served. Nagle's algorithm is off, and a proxy's header has been read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// The client's bytes.
    pub stream: Transport,
    /// The client's [`canonical`](crate::canonical) address, and how it is known.
    pub client: ClientAddress,
    /// The name in the client's verified certificate, if it has shown one: a URI or a DNS name.
    pub certificate: Option<CertificateName>,
    /// The protocol that the handshake of TLS has agreed on (ALPN), such as `h2`.
    pub protocol: Option<Vec<u8>>,
    /// The connection is a trusted proxy's own, such as its health check. It must not become a
    /// session.
    pub is_proxys_own: bool,
    /// The name of the server that the client asked for, if a proxy said so.
    pub authority: Option<Box<str>>,
    /// When it was accepted.
    pub accepted: Instant,
    /// The rules for clients that a request names.
    pub rules: AddressRules,
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
            deny: DenyRules::default(),
            proxies: TrustedProxies::default(),
            first_timeout: FIRST_TIMEOUT,
        })
    }

    /// Sets the networks whose connections are closed at once.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.listener = self.listener.deny(rules.clone());
        self.deny = rules;
        self
    }

    /// Sets the proxies that may name the clients of their connections.
    #[must_use]
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.listener = self.listener.exempt(proxies.clone());
        self.proxies = proxies;
        self
    }

    /// Sets how long a connection may take to send its first byte. After that it is closed. The
    /// default is 10 s.
    #[must_use]
    pub fn first_timeout(mut self, timeout: Duration) -> Self {
        self.first_timeout = timeout;
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
        let (stop, stopping) = Stop::channel();
        let door = Door::new(&self, stopping);
        let serve = Arc::new(serve);
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
            let Some(entry) = door.enter(peer) else {
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
            let (door, serve) = (door.clone(), serve.clone());
            tasks.spawn(async move {
                let accepted = clock::now();
                let Some(incoming) = door.pass(stream, peer, entry, accepted).await else {
                    return;
                };
                if serve(incoming).await == Closed::Cut {
                    door.rules.connections.count_cut();
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

/// What a connection passes between the socket and its gateway.
#[derive(Clone)]
struct Door {
    rules: AddressRules,
    /// Connections of trusted proxies whose client is not known yet.
    unnamed: Arc<Semaphore>,
    first_timeout: Duration,
    security: Security,
    stop: Stop,
}

/// How a connection is counted until its client is known.
enum Entry {
    /// The peer is the client.
    Client(Opened),
    /// The peer is a trusted proxy.
    Proxy(OwnedSemaphorePermit),
}

impl Door {
    fn new(acceptor: &Acceptor, stop: Stop) -> Self {
        let connections = acceptor.stats.connections.clone();
        let limits = connections.limits();
        let unnamed = limits.max_connections.saturating_add(limits.reserve);
        Self {
            unnamed: Arc::new(Semaphore::new(unnamed.clamp(1, Semaphore::MAX_PERMITS))),
            rules: AddressRules {
                gateway: acceptor.name,
                proxies: acceptor.proxies.clone(),
                deny: acceptor.deny.clone(),
                counters: acceptor.stats.proxies.clone(),
                connections,
            },
            first_timeout: acceptor.first_timeout,
            security: Security {
                #[cfg(feature = "tls")]
                tls: acceptor.tls.clone(),
            },
            stop,
        }
    }

    /// Counts a connection as it is accepted. `None` if it must be closed at once.
    fn enter(&self, peer: SocketAddr) -> Option<Entry> {
        if !self.rules.trusts(peer.ip()) {
            return self.rules.connections.open(peer).map(Entry::Client);
        }
        let Ok(permit) = self.unnamed.clone().try_acquire_owned() else {
            self.rules.connections.turn_away(peer);
            return None;
        };
        Some(Entry::Proxy(permit))
    }

    /// Waits until the connection may be served. `None` if it must be closed.
    async fn pass(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        entry: Entry,
        accepted: Instant,
    ) -> Option<Incoming> {
        let mut client = ClientAddress::of_socket(peer);
        let (mut is_proxys_own, mut authority) = (false, None);
        let opened = match entry {
            Entry::Client(opened) => {
                let opened = self.turn(opened, peer).await?;
                let screened = self.unless_over(proxy::screen(&stream), &opened).await?;
                screened.map_err(|why| self.refuse(peer, &why)).ok()?;
                opened
            }
            Entry::Proxy(permit) => {
                let header = self.header(&mut stream, peer).await?;
                let has_header = header.is_some();
                if let Some(header) = header {
                    authority = header.authority;
                    match header.origin {
                        ProxyOrigin::Client(named) => {
                            client = ClientAddress::of_proxy(named, peer.ip(), header.source);
                        }
                        ProxyOrigin::Proxy => is_proxys_own = true,
                    }
                }
                let connections = &self.rules.connections;
                let opened = if has_header && !is_proxys_own {
                    self.rules.counters.named.fetch_add(1, Relaxed);
                    if self.rules.denies(&client) {
                        return None;
                    }
                    connections.open(client.peer)
                } else {
                    connections.open_for_proxy(peer)
                };
                drop(permit);
                self.turn(opened?, client.peer).await?
            }
        };
        if is_proxys_own {
            self.rules.counters.own.fetch_add(1, Relaxed);
        }
        let secured = tokio::select! {
            secured = self.security.secure(stream) => secured,
            () = self.stop.clone().wait() => return None,
        };
        let Secured {
            stream,
            certificate,
            protocol,
        } = match secured {
            Ok(secured) => secured,
            Err(error) => {
                let (gateway, peer) = (self.rules.gateway, log::personal(client.peer));
                tracing::debug!(gateway, peer, %error, "the TLS handshake failed");
                return None;
            }
        };
        #[cfg(feature = "tls")]
        if protocol.as_deref() == Some(livetrail_tls::ACME_TLS_1.as_bytes()) {
            // The handshake was all that an authority wanted to see.
            return None;
        }
        Some(Incoming {
            stream,
            certificate,
            protocol,
            client,
            is_proxys_own,
            authority,
            accepted,
            rules: self.rules.clone(),
            opened,
            stop: self.stop.clone(),
            number: self.rules.connections.stats().accepted,
        })
    }

    async fn turn(&self, opened: Opened, peer: SocketAddr) -> Option<Opened> {
        let opened = opened.turn().await;
        if opened.is_none() {
            tracing::debug!(
                gateway = self.rules.gateway,
                peer = log::personal(peer),
                "turned away: too many from its address"
            );
        }
        opened
    }

    /// The header of a trusted proxy; the inner `None` is a connection that may come without one.
    async fn header(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Option<Option<ProxyHeader>> {
        let read = tokio::select! {
            read = proxy::read(stream) => read,
            () = self.stop.clone().wait() => return None,
        };
        let refused = match read {
            Ok(Preamble::Header(header)) => return Some(Some(header)),
            Ok(Preamble::Closed) => {
                self.rules.counters.own.fetch_add(1, Relaxed);
                return None;
            }
            Ok(Preamble::Bare) if !self.rules.proxies.requires_proxy() => return Some(None),
            Ok(Preamble::Bare) => Refusal::Missing,
            Err(refused) => refused,
        };
        self.refuse(peer, &refused);
        None
    }

    fn refuse(&self, peer: SocketAddr, why: &Refusal) {
        self.rules.counters.refused.fetch_add(1, Relaxed);
        tracing::debug!(
            gateway = self.rules.gateway,
            peer = log::personal(peer),
            %why,
            "closed a connection for its PROXY header"
        );
    }

    /// `None` if the connection is silent for too long, a newer one replaces it, or the gateway
    /// stops.
    async fn unless_over<T>(&self, work: impl Future<Output = T>, opened: &Opened) -> Option<T> {
        let displaced = async {
            match opened {
                Opened::Reserved(reserved) => reserved.displaced().await,
                Opened::Slot(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = displaced => None,
            () = self.stop.clone().wait() => None,
            () = sleep(self.first_timeout) => None,
        }
    }
}

/// The encryption of a listener's connections.
#[derive(Clone)]
struct Security {
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
}

/// A connection that is encrypted if its listener does so, and what its handshake has shown.
struct Secured {
    stream: Transport,
    certificate: Option<CertificateName>,
    protocol: Option<Vec<u8>>,
}

impl Security {
    /// Encrypts a connection if its listener does so.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_async, reason = "no handshake")
    )]
    async fn secure(&self, stream: TcpStream) -> io::Result<Secured> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let accepted = tls.accept(stream).await?;
            return Ok(Secured {
                stream: accepted.transport,
                certificate: accepted.certificate.map(CertificateName::new),
                protocol: accepted.protocol,
            });
        }
        Ok(Secured {
            stream: Transport::plain(stream),
            certificate: None,
            protocol: None,
        })
    }
}
