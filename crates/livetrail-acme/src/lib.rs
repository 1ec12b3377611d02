//! Certificates from an authority that speaks ACME (RFC 8555).
//!
//! - [`AcmeSettings`]: the authority, and the names.
//! - [`Acme`]: the account, the certificate and its files; [`Acme::issue`] orders one.
//! - [`Schedule`]: when the next order is due, after success and after failures.
//!
//! Each name is proven by a TLS handshake on port 443 (tls-alpn-01, RFC 8737), which the listeners
//! of a [`CertificateStore`](livetrail_tls::CertificateStore) answer. A server that is reached over
//! HTTPS has that port open already: no second listener, no port 80 and no access to the name's DNS
//! is needed. Wildcards cannot be proven in this way.
//!
//! ```text
//!  Schedule ──▶ Acme::issue ──▶ order ──▶ challenge in the store ──▶ authority asks port 443
//!                                  └──▶ certificate.pem, checked and renamed ──▶ the store
//! ```

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

mod client;
mod error;
mod files;
mod issue;
mod schedule;
mod settings;

pub use error::AcmeError;
pub use issue::{Acme, Issued};
pub use schedule::Schedule;
pub use settings::{AcmeSettings, LETS_ENCRYPT};
