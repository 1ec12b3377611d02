//! The crate's one error type: one variant per distinct violation.

/// A violation in the input bytes, or in the frame to encode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends inside a structure that needs more bytes.
    #[error("{what}: the input ends too early")]
    Truncated {
        /// The structure that was being read.
        what: &'static str,
    },
    /// An AMF0 type marker that the format reserves or does not define (AMF0 section 2.1).
    #[error("AMF0: unsupported type marker {marker:#04x}")]
    Amf0Marker {
        /// The marker byte.
        marker: u8,
    },
    /// AMF0 values nested deeper than [`amf0::Limits::max_depth`](crate::amf0::Limits::max_depth).
    #[error("AMF0: values are nested deeper than {limit}")]
    Amf0Depth {
        /// The exceeded limit.
        limit: usize,
    },
    /// More AMF0 values than [`amf0::Limits::max_values`](crate::amf0::Limits::max_values).
    #[error("AMF0: more than {limit} values")]
    Amf0Count {
        /// The exceeded limit.
        limit: usize,
    },
    /// An AMF0 object whose end marker is not preceded by an empty key.
    #[error("AMF0: an object end marker where a value was expected")]
    Amf0ObjectEnd,
    /// The first three bytes of the file are not `FLV`.
    #[error("not an FLV file")]
    FlvSignature,
    /// An FLV version other than 1.
    #[error("FLV version {version} is not supported")]
    FlvVersion {
        /// The version byte.
        version: u8,
    },
    /// A data offset smaller than the header or larger than the accepted slack.
    #[error("FLV header says that data begins at byte {offset}")]
    FlvDataOffset {
        /// The offset as stored.
        offset: u32,
    },
    /// A tag that is larger than the demuxer accepts, or than a 24-bit size can express.
    #[error("FLV tag of {size} bytes exceeds the limit of {limit}")]
    FlvTagSize {
        /// Size of the tag's body in bytes.
        size: usize,
        /// The largest size that is allowed here, in bytes.
        limit: usize,
    },
    /// A tag with the encryption filter bit set (FLV annex F).
    #[error("encrypted FLV tags are not supported")]
    FlvEncrypted,
    /// A packet type, or shape of a multitrack message, that is not defined.
    #[error("{what}: undefined packet type {value}")]
    PacketType {
        /// The header that was being read.
        what: &'static str,
        /// The value of the field.
        value: u8,
    },
    /// A frame whose codec has no representation in FLV and RTMP.
    #[error("codec {codec} cannot be carried in FLV or RTMP")]
    NotInFlv {
        /// The codec's name.
        codec: &'static str,
    },
    /// A decoder configuration record that contradicts itself or its specification.
    #[error("{what}: {detail}")]
    Config {
        /// The record that was being read.
        what: &'static str,
        /// The contradiction.
        detail: &'static str,
    },
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
