//! A frame's bytes on the wire to players, made once for all of them.

use livetrail_engine::{MediaFrame, WireFormat};

use crate::protocol::{FrameChunks, MEDIA_STREAM_ID, OUT_CHUNK_BYTES};

/// RTMP to players: absolute time, message stream 1, chunks of 65,536 bytes; equal for every player.
///
/// `None` for what RTMP does not carry.
#[derive(Debug)]
pub struct RtmpWire;

impl WireFormat for RtmpWire {
    type Wire = Option<FrameChunks>;

    fn make(frame: &MediaFrame) -> Self::Wire {
        FrameChunks::new(frame, MEDIA_STREAM_ID, OUT_CHUNK_BYTES).ok()
    }
}
