//! HTTP gateway: playback over HTTP-FLV, HLS and low-latency HLS.
//!
//! - [`HttpGateway`] and [`HttpConfig`]: `GET /{app}/{stream}.flv` on a listener, with limits on
//!   connections, time and stalled writes.
//! - [`router`] and [`PlaybackOptions`]: the same as an axum router, for another server.
//! - [`Hls`] and [`HlsOptions`]: HLS on the same listeners, from `/{app}/{stream}/index.m3u8` on.
//! - [`FlvWire`], [`FlvTag`] and [`Framing`]: a frame as an FLV tag, made once for all viewers.
//!
//! On a connection of the gateway, hyper reads the request and writes the answer's head. The socket
//! then moves to the threads that send to all viewers (`livetrail-egress`), and the answer ends
//! with the connection. In another server the router's bodies read their frames themselves.
//!
//! One request of HTTP-FLV is one play session of the engine, whatever its outcome. A viewer of HLS
//! is one session however many requests it makes. This crate does not depend on the audit trail.
//!
//! ```no_run
//! use livetrail_engine::{AppSpec, Engine};
//! use livetrail_http::{HttpConfig, HttpGateway};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().application(AppSpec::new("live")).build()?;
//! let gateway = HttpGateway::bind("127.0.0.1:8080", engine, HttpConfig::default()).await?;
//! gateway.run(std::future::pending()).await;
//! # Ok(()) }
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

mod config;
mod error;
mod fuzz;
mod handler;
mod hls;
mod listen;
mod page;
mod problem;
mod protocol;
mod session;
mod wire;

pub use config::{HttpConfig, PlaybackOptions};
pub use error::{Error, Result};
#[doc(hidden)]
pub use fuzz::{fuzz_forwarded, fuzz_request};
pub use handler::router;
pub use hls::{Hls, HlsCdn, HlsCounts, HlsOptions, HlsOptionsError, HlsStart};
pub use listen::HttpGateway;
pub use problem::{PROBLEM_JSON, Problem};
pub use protocol::{FlvTag, Framing, Variant};
pub use wire::FlvWire;
