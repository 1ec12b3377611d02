//! TLS without sockets: certificates that are exchanged while they serve, handshakes, and records.
//!
//! - [`CertificateStore`]: the chains and keys of all listeners, chosen by the name that the client
//!   asks for. Files are read again when their contents change; an invalid pair changes nothing.
//! - [`ServerTls`], [`ClientTls`]: the settings of a listener, and of a client.
//! - [`Handshake`]: bytes in, bytes out, until a connection is [`Established`].
//! - [`Sealer`], [`Opener`]: the two directions of an established connection. They share nothing
//!   but the keys that follow the present ones, so each may belong to its own thread.
//!
//! ```text
//!  bytes ──▶ Handshake ──▶ Established ──┬──▶ Sealer: plain bytes ──▶ records   (any thread)
//!                                        └──▶ Opener: records ──▶ plain bytes   (any thread)
//! ```
//!
//! rustls does the handshake and derives all keys. The records of an established connection are
//! made and read here, so that they go into buffers that are used again. There is no early data
//! (0-RTT): it could be replayed.
//!
//! Nothing here opens a socket or reads a clock. This crate depends on no runtime.

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

mod certificate;
mod client;
mod error;
pub mod fuzz;
mod handshake;
mod keys;
mod open;
mod peer;
mod seal;
mod server;
mod store;
#[cfg(test)]
mod tests;

pub use client::ClientTls;
pub use error::{CertificateError, Error};
pub use handshake::{Established, Handshake, MAX_HANDSHAKE_BYTES};
pub use open::{Opened, Opener};
pub use peer::PeerName;
pub use seal::{MAX_RECORD_OVERHEAD, MAX_RECORD_PLAIN, Sealer};
pub use server::{ACME_TLS_1, ClientAuthorities, ServerTls};
pub use store::{CertificateFiles, CertificateState, CertificateStore, ChallengeGuard, Reloaded};
