//! The floor under gateways: everything that does not depend on a peer's protocol.
//!
//! Each gateway is `bind(addr, engine, config)`, `run(shutdown)` and `stats()`. It adds its
//! `protocol/`, which turns bytes into events, and one function that serves an [`Incoming`]
//! connection. The rest is here:
//!
//! - [`Acceptor`], [`Incoming`], [`Stop`]: accept connections within limits, and stop in order.
//! - [`Transport`]: the bytes between a client and a gateway.
//! - [`GatewayStats`], [`GatewayCounts`]: counts, the same for each gateway.
//! - [`Viewers`], [`ConnectedViewer`]: viewers whose sockets the egress writes: end, full socket,
//!   stall.
//! - [`say_goodbye`]: the last bytes of a connection, and the time to read them.
//! - [`Listener`]: a listening socket whose `accept` never fails and gives each peer one spelling.
//! - [`DenyRules`]: networks that are closed as they connect, counted, and reported in aggregate.
//! - [`TrustedProxies`], [`AddressRules`]: the proxies that may name a client, and the rules for
//!   clients that a request names.
//! - [`parse_proxy`]: the header of the PROXY protocol.
//! - [`Connections`]: limits on connections: in all, per address, and a reserve beyond them.
//! - [`query_token`], [`query_credentials`]: the token and other credentials in the query of an
//!   address.
//!
//! This crate depends on no protocol, no container and no auditor. Each table has its bound where
//! it is made.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod accept;
mod address;
pub mod clock;
mod connections;
mod deny;
mod goodbye;
mod listen;
mod proxy;
mod query;
mod reserve;
mod stats;
mod stop;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod viewers;

pub use accept::{Acceptor, Closed, Incoming};
pub use address::{AddressGroup, canonical};
pub use connections::{ConnectionLimits, ConnectionStats, Connections, Opened, Slot};
pub use deny::{DeniedConnections, DenyRules};
pub use goodbye::{poll_gone, say_goodbye};
pub use listen::{ListenError, Listener};
#[doc(hidden)]
pub use proxy::fuzz_proxy;
pub use proxy::{
    AddressRules, AddressTurn, OverLimit, ProxyError, ProxyHeader, ProxyOrigin, ProxyParse,
    TrustedProxies, parse_proxy,
};
pub use query::{
    credentials as query_credentials, percent_decode, percent_decode_bytes, token as query_token,
};
pub use reserve::Reserved;
pub use stats::{GatewayCounts, GatewayStats};
pub use stop::Stop;
#[cfg(feature = "tls")]
pub use tls::{TlsAcceptor, connect_tls};
pub use transport::Transport;
pub use viewers::{ConnectedViewer, FrameDelay, LeftViewer, ViewerEnd, Viewers};
