//! Proxies in front of a gateway: which of them are trusted, and what they say.
//!
//! ```text
//!  client ──▶ proxy ──▶ PROXY header │ the client's bytes
//!                       └ taken here ┘ └ the gateway's ──▶
//! ```
//!
//! A trusted proxy may begin a connection with a header of the PROXY protocol, version 1 or 2. The
//! header names the client, and nothing behind it is read here. Anyone else who sends such a header
//! is disconnected.

mod crc32c;
mod fuzz;
mod header;
mod preamble;
mod rules;
mod v1;
mod v2;

pub use fuzz::fuzz_proxy;
pub use header::{ProxyError, ProxyHeader, ProxyOrigin, ProxyParse, parse_proxy};
pub(crate) use preamble::{Preamble, Refusal, read, screen};
pub(crate) use rules::ProxyCounters;
pub use rules::{AddressRules, AddressTurn, OverLimit, TrustedProxies};
