//! The S3 protocol without sockets: signed requests, and reading the answers.
//!
//! | task | where |
//! |---|---|
//! | a bucket's address | [`Endpoint`], [`Bucket`] |
//! | reading and writing objects | [`Bucket::put`], [`Bucket::get`], … |
//! | listings | [`Bucket::list`], [`Bucket::list_versions`] |
//! | signing (AWS Signature Version 4, in headers) | [`Request::sign`], [`Credentials`] |
//! | retention and legal hold of an object | [`ObjectLock`], [`LockMode`] |
//! | answers | [`answer`] |
//!
//! The time and bytes go in, bytes come out; the caller decides how and when to send them. So the
//! sink that writes a bucket and the verifier that reads it share only this crate. It covers the
//! needs of an audit trail, for any server that speaks S3.

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
