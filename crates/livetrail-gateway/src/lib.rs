//! The floor under gateways: everything that does not depend on what a peer speaks.
//!
//! Each gateway is `bind(addr, engine, config)`, `run(shutdown)` and `stats()`. It brings its
//! `protocol/`, which takes bytes and gives events, and one function that serves an [`Incoming`]
//! connection. The rest is here:
//!
//! | what | where |
//! |---|---|
//! | accepting connections within limits, and stopping in order | [`Acceptor`], [`Incoming`], [`Stop`] |
//! | counts, the same for each gateway | [`GatewayStats`], [`GatewayCounts`] |
//! | viewers whose sockets the egress writes: end, full socket, stall | [`Viewers`], [`ConnectedViewer`] |
//! | the last bytes of a connection, and the time to read them | [`say_goodbye`] |
//! | a listening socket whose `accept` never fails and gives each peer one spelling | [`Listener`] |
//! | networks that are closed as they connect, counted, and reported in aggregate | [`DenyRules`] |
//! | limits on connections: in all, per address, and a reserve beyond them | [`Connections`] |
//! | the token in the query of an address | [`query_token`] |
//!
//! Nothing here knows a protocol, a container or an auditor. Each table is bounded where it is made.

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
mod connections;
mod deny;
mod goodbye;
mod listen;
mod query;
mod reserve;
mod stats;
mod stop;
mod viewers;

pub use accept::{Acceptor, Closed, Incoming};
pub use address::{AddressGroup, canonical};
pub use connections::{ConnectionLimits, ConnectionStats, Connections, Opened, Slot};
pub use deny::{DeniedConnections, DenyRules};
pub use goodbye::{poll_gone, say_goodbye};
pub use listen::{ListenError, Listener};
pub use query::{percent_decode, percent_decode_bytes, token as query_token};
pub use reserve::Reserved;
pub use stats::{GatewayCounts, GatewayStats};
pub use stop::Stop;
pub use viewers::{ConnectedViewer, LeftViewer, ViewerEnd, Viewers};
