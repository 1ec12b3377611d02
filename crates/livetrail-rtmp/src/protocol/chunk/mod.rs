//! Messages split into chunks and joined again (RTMP 1.0 section 5.3).
//!
//! ```text
//! fmt 2 | chunk stream 6 [8|16]   0: +64 in one byte, 1: +64 in two, little-endian; 2: control
//! fmt 0   time 24 | length 24 | type 8 | message stream 32, little-endian
//! fmt 1   time delta 24 | length 24 | type 8
//! fmt 2   time delta 24
//! fmt 3   nothing
//! [time or delta 32, if the 24 bits are all ones; on fmt 3 too, if the repeated header had it]
//! up to chunk size bytes of the message
//! ```

mod reader;
mod writer;

use bytes::Bytes;

pub use reader::{ChunkLimits, ChunkReader};
pub use writer::{ChunkParts, FrameChunks, write_message};

/// The chunk size until the peer sets another.
pub const DEFAULT_CHUNK_BYTES: u32 = 128;

/// The 24-bit time that refers to the 32 bits after the header.
const EXTENDED: u32 = 0xff_ffff;

/// One complete message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message type.
    pub type_id: u8,
    /// Milliseconds, modulo 2^32.
    pub timestamp_ms: u32,
    /// The message stream: 0 for the connection, 1 and up for media.
    pub stream_id: u32,
    /// The message's content: a slice of the input if one chunk held all of it.
    pub payload: Bytes,
}

#[cfg(test)]
mod tests;
