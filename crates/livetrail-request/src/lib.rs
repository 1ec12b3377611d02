//! Requests to services of others over HTTP.
//!
//! - [`Endpoint`]: the address of a service, and how to connect to it. Without TLS, a request stays
//!   on this machine unless the settings allow more.
//! - [`Client`]: sends requests, each within a timeout and with a bounded answer. It follows no
//!   redirect.
//! - [`SigningKey`]: signs a request's body and its time, so that the service can check who sent
//!   it, and when.
//!
//! # Signatures
//!
//! A signed request has two headers:
//!
//! ```text
//! Livetrail-Timestamp: 1800000000
//! Livetrail-Signature: v1=b400451ccbb1fe18…
//! ```
//!
//! The signature is the HMAC-SHA-256 of the timestamp as it is in the header, a full stop, and the
//! body's bytes, in hexadecimal. A service computes it again, compares in constant time, and
//! refuses old timestamps. In Python:
//!
//! ```python
//! signed = headers["Livetrail-Timestamp"].encode() + b"." + body
//! wanted = "v1=" + hmac.new(key, signed, "sha256").hexdigest()
//! genuine = hmac.compare_digest(wanted, headers["Livetrail-Signature"])
//! ```

mod client;
mod endpoint;
mod error;
mod sign;

pub use bytes::Bytes;
pub use client::{Bounds, Client, Failure, Reply};
pub use endpoint::Endpoint;
pub use error::RequestError;
pub use hyper::{
    StatusCode,
    header::{HeaderMap, HeaderValue},
};
pub use sign::{MIN_KEY_BYTES, SIGNATURE_HEADER, SigningKey, TIMESTAMP_HEADER};
