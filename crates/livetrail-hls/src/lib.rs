//! HLS and low-latency HLS without sockets: the playlists of a stream's segments.
//!
//! ```
//! use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
//! use livetrail_hls::{Decision, Playlists, Reload};
//! use livetrail_segment::{Rendition, Segmenter};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut segmenter = Segmenter::new(livetrail_segment::Options::default())?;
//! let mut playlists = Playlists::new(livetrail_hls::Options::default())?;
//! let mut events = Vec::new();
//! let mut push = |time_ms, flags, payload: Vec<u8>| {
//!     let frame = MediaFrame::audio(CodecId::Aac, time_ms, flags, payload.into());
//!     segmenter.push(&frame, &mut events);
//!     for event in events.drain(..) {
//!         let now_unix_ms = 1_796_113_800_000 + time_ms;
//!         playlists.apply(event, now_unix_ms);
//!     }
//! };
//! push(0, FrameFlags::CONFIG, vec![0x11, 0x90]);
//! for frame in 0..300 {
//!     push(frame * 1_024 / 48, FrameFlags::NONE, vec![0x21; 200]);
//! }
//! let text = playlists.media(Rendition::Audio, false).expect("a playlist");
//! let text = std::str::from_utf8(&text)?;
//! assert!(text.contains("#EXT-X-TARGETDURATION:2\n") && text.contains("\na0.m4s\n"));
//! assert!(text.ends_with("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a3.0.m4s\"\n"));
//! // The next reload of a low-latency player waits for that part.
//! let reload = Reload::parse("_HLS_msn=3&_HLS_part=0")?;
//! assert_eq!(playlists.decide(Rendition::Audio, &reload), Decision::Wait);
//! # Ok(()) }
//! ```
//!
//! - [`Playlists`]: the multivariant playlist and those of the renditions, each rendered once for
//!   all who ask; what a reload waits for; what a request for media finds.
//! - [`Reload`]: the delivery directives of a request.
//! - [`Resource`]: the names in a playlist, read and written.
//! - [`token`]: what a viewer's addresses carry, sealed.
//!
//! Sections are those of RFC 8216bis (draft-pantos-hls-rfc8216bis). This crate knows no sockets, no
//! clock and no sessions: the host passes the time in, holds requests, and answers them.
//!
//! # What a playlist promises
//!
//! - The target duration, the part target and what follows from them never change (section 6.2.1):
//!   `PART-HOLD-BACK` is three part targets, `CAN-SKIP-UNTIL` six target durations.
//! - Media and discontinuity sequence numbers never decrease (section 6.2.2). A playlist lists at
//!   least three target durations; a segment can be fetched for another window after it has left.
//! - Each segment has a date. All renditions share the dates, which continue until the next
//!   discontinuity (section 6.2.4).
//! - A player that asks for a segment from the past gets the current playlist.

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

mod date;
mod fuzz;
mod name;
mod options;
mod playlists;
mod reload;
mod render;
pub mod token;
mod window;

#[doc(hidden)]
pub use fuzz::{fuzz_hls_token, fuzz_playlist_request};
pub use name::Resource;
pub use options::{Options, OptionsError};
pub use playlists::{Found, Playlists};
pub use reload::{BadReload, Decision, Reload};
