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

mod error;
pub mod protocol;
mod target;

pub use error::{Error, Result};
pub use target::{DEFAULT_PORT, RtmpUrl};
