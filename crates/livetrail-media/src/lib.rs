//! Containers and codec headers, shared by all gateways: FLV, AMF0, and decoder configurations.
//!
//! Everything here is total: any bytes give a value or an [`Error`], within stated bounds of memory
//! and stack. Nothing here knows sockets, clocks, or the engine beyond its
//! [`MediaFrame`](livetrail_engine::MediaFrame).
//!
//! - [`amf0`]: the value encoding of RTMP commands and FLV metadata
//! - [`annexb`]: H.264 with start codes, from and to the engine's form
//! - [`flv`]: reading and writing files and streams
//! - [`tag`]: the header before a payload in FLV tags and RTMP messages, legacy and enhanced
//! - [`config`]: decoder configurations: reading those of H.264, H.265, AV1, AAC, Opus and MP3, and
//!   making those of H.264 and AAC

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

pub mod amf0;
pub mod annexb;
pub mod config;
mod error;
pub mod flv;
mod fuzz;
mod read;
pub mod tag;

pub use error::{Error, Result};
#[doc(hidden)]
pub use fuzz::{fuzz_amf0, fuzz_annexb, fuzz_flv, fuzz_tag};
