//! HTTP-FLV: the request, its refusals, and the stream of tags that answers it.
//!
//! ```text
//! GET /live/cam.flv?token=…  ─▶  200  video/x-flv  "FLV" header | onMetaData, configurations | the GOP from its keyframe | live
//! ```

mod path;
mod request;
mod wire;

pub use request::router;
pub use wire::{FlvTag, FlvWire, Framing, Variant};
pub(crate) use wire::{LAST_CHUNK, file_header, tag_parts};
