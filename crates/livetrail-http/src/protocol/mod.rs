//! HTTP-FLV without I/O: the request for a stream, and the stream of tags that answers it.
//!
//! ```text
//! GET /live/cam.flv?token=…  ─▶  200  video/x-flv
//!     "FLV" header | onMetaData, configurations | the GOP from its keyframe | live
//! ```

mod flv;
mod forwarded;
mod host;
mod path;
mod request;

pub use flv::{FlvTag, Framing, Variant};
pub(crate) use flv::{LAST_CHUNK, header, size_line};
pub(crate) use forwarded::{Kind as Forwarded, client as forwarded_client};
pub(crate) use host::is_host;
pub(crate) use path::Named;
pub(crate) use request::{Wanted, wanted};
