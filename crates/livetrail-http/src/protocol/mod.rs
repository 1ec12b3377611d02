//! HTTP-FLV and HLS without I/O: the requests for a stream, and the tags that answer one.
//!
//! ```text
//! GET /live/cam.flv?token=…  ─▶  200  video/x-flv
//!     "FLV" header | onMetaData, configurations | the GOP from its keyframe | live
//! GET /live/cam/index.m3u8?token=…      the multivariant playlist, which has a token of our own
//! GET /live/cam/s/TOKEN/video.m3u8      a media playlist, a segment, a part
//! ```

mod flv;
mod forwarded;
mod hls;
mod host;
pub(crate) mod path;
mod request;

pub use flv::{FlvTag, Framing, Variant};
pub(crate) use flv::{LAST_CHUNK, header, size_line};
pub(crate) use forwarded::{Kind as Forwarded, client as forwarded_client};
pub(crate) use hls::Asked;
pub(crate) use host::is_host;
pub(crate) use path::Named;
pub(crate) use request::{Wanted, wanted};
