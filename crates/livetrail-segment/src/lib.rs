//! Frames in, parts and segments out: CMAF and MPEG-TS for HLS, without sockets, files and clocks.
//!
//! ```
//! use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
//! use livetrail_segment::{Event, Options, Segmenter};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut segmenter = Segmenter::new(Options::default())?;
//! let mut events = Vec::new();
//! let mut push = |time_ms, flags, payload: Vec<u8>| {
//!     let frame = MediaFrame::audio(CodecId::Aac, time_ms, flags, payload.into());
//!     segmenter.push(&frame, &mut events);
//! };
//! // AAC-LC, 48 kHz, stereo; then ten seconds of frames, with RTMP's times in milliseconds.
//! push(0, FrameFlags::CONFIG, vec![0x11, 0x90]);
//! for frame in 0..469 {
//!     push(frame * 1_024 / 48, FrameFlags::NONE, vec![0x21; 200]);
//! }
//! segmenter.finish(&mut events);
//! let (mut init, mut seconds) = (None, 0.0);
//! for event in events {
//!     match event {
//!         Event::Init(new) => init = Some(new),
//!         Event::Segment(segment) => {
//!             // Serve `segment.pieces()` after `init.bytes`.
//!             assert!(segment.duration.as_secs_f64() < 2.5);
//!             seconds += segment.duration.as_secs_f64();
//!         }
//!         Event::Irregular(irregularity) => panic!("{}", irregularity.label()),
//!         _ => {}
//!     }
//! }
//! assert_eq!(init.unwrap().codecs, "mp4a.40.2");
//! assert!((seconds - 10.0).abs() < 0.01);
//! # Ok(()) }
//! ```
//!
//! [`Segmenter`] takes the frames of a stream, as a tap of the engine returns them, and makes
//! [`Event`]s. Sections are those of RFC 8216bis (draft-pantos-hls-rfc8216bis).
//!
//! # Time
//!
//! - **One line.** All renditions share one time line. It is the stream's own as long as that is
//!   continuous, and it never goes back. A jump of a track's clock, or a gap longer than a part, is
//!   a discontinuity, and time continues from there. A wrap at 2^32 ms or 2^33 ticks is not a jump.
//! - **Video** has the decode times of its frames. A frame lasts until the next one.
//! - **Audio** has a clock of its own: it counts samples. The millisecond to which RTMP rounds has
//!   no effect. When timestamps and count differ by more than a frame, the count is set.
//!
//! # Cuts
//!
//! - **Segments** are cut at the keyframes that come closest to [`Options::segment`]. The first GOP
//!   sets the target duration ([`Targets`]), which never changes (section 6.2.1); no duration
//!   rounded to seconds exceeds it (section 4.4.3.1). If no keyframe comes in time, the segment is
//!   cut without one, and the next has [`Segment::independent`] `false`. So a GOP without end needs
//!   no more memory than a short one.
//! - **Parts** have at most the part target (section 4.4.3.7), and at least 85 % of it (section
//!   4.4.4.9), except the last of a segment. A slow frame rate raises the target at the start.
//! - **Audio next to video** is cut where video is, at the nearest frame that is not in a part
//!   already. If that would be right after a part, the segment gets one frame more as its last
//!   part, because players already wait for it (section 6.2.6). Alone it is cut by its own clock.
//! - **The parts of a segment are the segment**, byte for byte.
//!
//! # Unusual input
//!
//! Nothing is refused, and nothing is unbounded. Each [`Irregularity`] says what is unusual, and
//! what the segmenter did. Frames are dropped only if they cannot be decoded or are too large; the
//! others come out as they went in.

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

mod event;
mod format;
mod fuzz;
mod judge;
mod lane;
mod limits;
mod measure;
mod mp4;
mod options;
mod segmenter;
mod start;
mod state;
mod time;
mod ts;

pub use event::{Cause, Event, Init, Irregularity, Measured, Part, Rendition, Segment, Track};
#[doc(hidden)]
pub use fuzz::fuzz_segmenter;
#[doc(hidden)]
pub use judge::Judge;
pub use options::{Container, Options, OptionsError, Targets};
pub use segmenter::Segmenter;
