//! The floor under gateways: what each of them needs before it knows what its peer speaks.
//!
//! | what | where |
//! |---|---|
//! | a listening socket whose `accept` never fails and gives each peer one spelling | [`Listener`] |
//! | networks that are closed as they connect, counted, and reported in aggregate | [`DenyRules`] |
//! | limits on connections: in all, per address, and a reserve beyond them | [`Connections`] |
//! | the token in the query of an address | [`query_token`] |
//!
//! Nothing here knows a protocol, the engine, or an auditor. Each table is bounded where it is made.

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

mod address;
mod connections;
mod deny;
mod listen;
mod query;
mod reserve;

pub use address::{AddressGroup, canonical};
pub use connections::{ConnectionLimits, ConnectionStats, Connections, Opened, Slot};
pub use deny::{DeniedConnections, DenyRules};
pub use listen::{ListenError, Listener};
pub use query::{percent_decode, percent_decode_bytes, token as query_token};
pub use reserve::Reserved;
