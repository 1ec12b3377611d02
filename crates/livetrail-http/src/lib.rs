//! HTTP gateway: HTTP-FLV playback.
//!
//! | what | where |
//! |---|---|
//! | `GET /{app}/{stream}.flv` as an axum router | [`router`], [`PlaybackOptions`] |
//! | serving a router on a listener, with limits on connections, time and stalled writes | [`HttpGateway`], [`HttpLimits`] |
//! | a frame as an FLV tag, made once for all viewers | [`FlvWire`], [`FlvTag`], [`Framing`] |
//!
//! On a connection of the gateway's, hyper reads the request and writes the answer's head; then the socket goes over to the threads
//! that send to all viewers (`livetrail-egress`), and the answer ends with the connection. In another server the router's
//! bodies feed themselves.
//!
//! One request is one play session of the engine, whatever its outcome. Nothing here knows who audits it.
//!
//! ```no_run
//! use livetrail_engine::{AppSpec, Engine};
//! use livetrail_http::{HttpGateway, PlaybackOptions, router};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().application(AppSpec::new("live")).build()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let gateway = HttpGateway::new(router(engine, PlaybackOptions::default()));
//! gateway.serve(listener, std::future::pending()).await;
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

mod error;
mod listen;
mod problem;
mod protocol;
mod session;

pub use error::{Error, Result};
pub use listen::{GatewayHandle, GatewayStats, HttpGateway, HttpLimits};
pub use problem::{PROBLEM_JSON, Problem};
pub use protocol::{FlvTag, FlvWire, Framing, PlaybackOptions, Variant, router};
