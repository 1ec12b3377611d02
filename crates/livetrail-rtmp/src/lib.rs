//! RTMP gateway: publish and play, as server and as client.

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
pub use listen::{RtmpServer, RtmpStats};
pub use target::{DEFAULT_PORT, RtmpUrl};
pub use wire::RtmpWire;
