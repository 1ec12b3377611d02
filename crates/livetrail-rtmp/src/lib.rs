//! RTMP gateway: publish and play, as server and as client.
//!
//! [`RtmpServer`] connects publishers and players to a [`livetrail_engine::Engine`]; [`RtmpClient`]
//! is the other side. Both are thin hosts of the sans-IO sessions in [`protocol`]. Each limit is a
//! field of [`RtmpConfig`] or [`ClientConfig`].
//!
//! ```
//! use livetrail_engine::{AppSpec, CodecId, Engine, FrameFlags, MediaFrame};
//! use livetrail_rtmp::{RtmpClient, RtmpConfig, RtmpServer, RtmpUrl};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().application(AppSpec::new("live")).build()?;
//! let server = RtmpServer::bind("127.0.0.1:0", engine, RtmpConfig::default()).await?;
//! let url = RtmpUrl::parse(&format!("rtmp://{}/live/cam", server.local_addr()))?;
//! tokio::spawn(server.run(std::future::pending()));
//!
//! let mut publisher = RtmpClient::new().publish(&url).await?;
//! let mut player = RtmpClient::new().play(&url).await?;
//! let unit = "an access unit".into();
//! let frame = MediaFrame::video(CodecId::H264, 0, 40, FrameFlags::KEYFRAME, unit);
//! publisher.push(&frame).await?;
//! assert_eq!(player.next().await?, Some(frame));
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

mod client;
mod config;
mod error;
mod fuzz;
mod listen;
mod nodes;
mod outbox;
pub mod protocol;
mod session;
mod target;
mod wire;

pub use client::{ClientConfig, Pacer, RtmpClient, RtmpPlayer, RtmpPublisher};
pub use config::RtmpConfig;
pub use error::{Error, Result};
#[doc(hidden)]
pub use fuzz::{fuzz_chunk, fuzz_handshake, fuzz_session};
pub use listen::RtmpServer;
pub use target::{DEFAULT_PORT, DEFAULT_TLS_PORT, RtmpUrl};
pub use wire::RtmpWire;
