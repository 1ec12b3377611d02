//! A frame's bytes on the wire to players, made once for all of them.

use livetrail_egress::Format;
use livetrail_engine::{MediaFrame, SharedFrame, WireFormat};

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

/// Whether a player understands more than one track. One that does not gets the first alone.
pub(crate) type Multitrack = bool;

impl Format for RtmpWire {
    type Variant = Multitrack;

    fn parts(frame: &SharedFrame, multitrack: Multitrack) -> impl Iterator<Item = &[u8]> {
        let wanted = frame.track == 0 || multitrack;
        let chunks = wanted.then(|| frame.wire::<Self>().as_ref()).flatten();
        chunks.into_iter().flat_map(FrameChunks::parts)
    }

    fn len(frame: &SharedFrame, multitrack: Multitrack) -> usize {
        let wanted = frame.track == 0 || multitrack;
        let chunks = wanted.then(|| frame.wire::<Self>().as_ref()).flatten();
        chunks.map_or(0, FrameChunks::len)
    }
}
