//! The S3 protocol without sockets: what to ask, signed, and what the answer says.
//!
//! | what | where |
//! |---|---|
//! | where a bucket is | [`Endpoint`], [`Bucket`] |
//! | what to ask of it | [`Bucket::put`], [`Bucket::get`], [`Bucket::list`], [`Bucket::list_versions`], … |
//! | signing it (AWS Signature Version 4, in headers) | [`Request::sign`], [`Credentials`] |
//! | retention and legal hold of an object | [`ObjectLock`], [`LockMode`] |
//! | what was answered | [`answer`] |
//!
//! Bytes and the time in, bytes out: who sends them, over what and when, is up to the caller. So the sink that writes a bucket and the
//! verifier that reads it can share this and nothing else. It does what an audit trail needs, for any server that speaks S3.

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

pub mod answer;
mod bucket;
mod credentials;
mod error;
mod lock;
mod request;
mod sign;

pub use bucket::{Bucket, Endpoint, MAX_LISTED};
pub use credentials::{CredentialSource, Credentials, MAX_CREDENTIALS_BYTES};
pub use error::Error;
pub use lock::{LockMode, ObjectLock};
pub use request::{Method, Request, SignedRequest};
