//! The address of a client, and how it is known.

use std::net::{IpAddr, SocketAddr};

/// How the address of a client is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PeerSource {
    /// The client connected itself: it is the socket's peer.
    #[default]
    Socket,
    /// A trusted proxy said so in a PROXY protocol header, version 1.
    ProxyV1,
    /// A trusted proxy said so in a PROXY protocol header, version 2.
    ProxyV2,
    /// A trusted proxy said so in a request's `Forwarded` or `X-Forwarded-For`.
    Forwarded,
}

impl PeerSource {
    /// The label, as it is recorded: `socket`, `proxy_v1`, `proxy_v2` or `forwarded`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::ProxyV1 => "proxy_v1",
            Self::ProxyV2 => "proxy_v2",
            Self::Forwarded => "forwarded",
        }
    }
}

/// The address of a client, and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClientAddress {
    /// The client's own address. Port 0 means that only the IP address is known.
    pub peer: SocketAddr,
    /// The proxy that connected to the server, if there is one.
    pub via: Option<IpAddr>,
    /// How `peer` is known.
    pub source: PeerSource,
}

impl ClientAddress {
    /// A client that connected itself.
    #[must_use]
    pub const fn of_socket(peer: SocketAddr) -> Self {
        Self {
            peer,
            via: None,
            source: PeerSource::Socket,
        }
    }

    /// A client of which a proxy said where it is.
    #[must_use]
    pub const fn of_proxy(peer: SocketAddr, via: IpAddr, source: PeerSource) -> Self {
        Self {
            peer,
            via: Some(via),
            source,
        }
    }
}
