//! FLV files and streams (Adobe FLV 10.1, annex E).
//!
//! ```text
//! "FLV" version=1 flags offset=9 | previous tag size = 0
//! type 8 | size 24 | time 24 | time high 8 | stream id 24 = 0 | body … | previous tag size 32
//! (the second line repeats)
//! ```

mod demux;
mod mux;

use bytes::Bytes;

pub use demux::{DEFAULT_MAX_TAG_BYTES, Demuxer};
pub use mux::{FrameTag, file_header};

use crate::tag::{Decoded, TagKind};

/// Bytes of a tag's header.
pub const TAG_HEADER_BYTES: usize = 11;

/// The largest body size that fits a tag's 24-bit field.
pub const MAX_TAG_BYTES: usize = 0xff_ffff;

/// The streams announced in the file's header. Some files announce wrong ones; rely on the tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// There are audio tags.
    pub has_audio: bool,
    /// There are video tags.
    pub has_video: bool,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Audio, video or script.
    pub kind: TagKind,
    /// Milliseconds, modulo 2^32; see [`Unwrapper`](crate::tag::Unwrapper).
    pub timestamp_ms: u32,
    /// The body for [`tag::decode`](crate::tag::decode).
    pub body: Bytes,
}

impl Tag {
    /// Decodes the tag's body, without copying its payload, at the tag's own time.
    ///
    /// # Errors
    /// As [`tag::decode`](crate::tag::decode).
    pub fn decode(&self) -> crate::Result<Decoded> {
        crate::tag::decode(self.kind, &self.body, i64::from(self.timestamp_ms))
    }
}

#[cfg(test)]
mod tests;
