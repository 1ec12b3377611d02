//! The bytes of a frame on the wire to players, made once for all of them.

use livetrail_egress::{Format, Uncarried};
use livetrail_engine::{MediaFrame, SharedFrame, WireFormat};

use crate::protocol::{Accepts, FrameChunks, MEDIA_STREAM_ID, OUT_CHUNK_BYTES};

/// RTMP to players: absolute time, message stream 1, chunks of 65,536 bytes. The bytes are the same
/// for each player.
///
/// `None` for frames that RTMP does not carry; they are counted ([`RtmpWire::uncarried_frames`]).
#[derive(Debug)]
pub struct RtmpWire;

impl WireFormat for RtmpWire {
    type Wire = Option<FrameChunks>;

    fn make(frame: &MediaFrame) -> Self::Wire {
        carried(
            frame,
            FrameChunks::new(frame, MEDIA_STREAM_ID, OUT_CHUNK_BYTES),
        )
    }
}

/// The same with nanosecond times, for players that understand them. Made only of frames that have
/// nanoseconds.
#[derive(Debug)]
struct ExactWire;

impl WireFormat for ExactWire {
    type Wire = Option<FrameChunks>;

    fn make(frame: &MediaFrame) -> Self::Wire {
        carried(
            frame,
            FrameChunks::exact(frame, MEDIA_STREAM_ID, OUT_CHUNK_BYTES),
        )
    }
}

static UNCARRIED: Uncarried = Uncarried::new("RTMP");

fn carried(frame: &MediaFrame, made: crate::Result<FrameChunks>) -> Option<FrameChunks> {
    made.map_err(|error| UNCARRIED.count(frame, &error)).ok()
}

impl RtmpWire {
    /// Frames that RTMP could not carry, since the start of the process. Viewers went without them.
    #[must_use]
    pub fn uncarried_frames() -> u64 {
        UNCARRIED.frames()
    }

    /// The chunks for a player; `None` for a frame that it does not understand. A player that
    /// supports one track gets the first.
    fn chunks(frame: &SharedFrame, accepts: Accepts) -> Option<&FrameChunks> {
        let wanted =
            (frame.track == 0 || accepts.multitrack) && (!frame.is_metadata() || accepts.metadata);
        if !wanted {
            None
        } else if frame.pts_nanos != 0 && accepts.modifiers {
            frame.wire::<ExactWire>().as_ref()
        } else {
            frame.wire::<Self>().as_ref()
        }
    }
}

impl Format for RtmpWire {
    type Variant = Accepts;

    fn parts(frame: &SharedFrame, accepts: Accepts) -> impl Iterator<Item = &[u8]> {
        let chunks = Self::chunks(frame, accepts);
        chunks.into_iter().flat_map(FrameChunks::parts)
    }

    fn len(frame: &SharedFrame, accepts: Accepts) -> usize {
        Self::chunks(frame, accepts).map_or(0, FrameChunks::len)
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, StreamKey};

    use super::*;

    #[test]
    fn a_frame_that_is_too_long_for_the_format_is_counted() {
        let payload = vec![0; 17 << 20].into();
        let frame = MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, payload);
        let before = RtmpWire::uncarried_frames();
        assert!(RtmpWire::make(&frame).is_none());
        assert_eq!(RtmpWire::uncarried_frames(), before + 1);
    }

    #[tokio::test]
    async fn a_player_gets_what_it_said_that_it_understands() {
        let engine = Engine::builder().application(AppSpec::new("live"));
        let engine = engine.build().unwrap();
        let attempt = || Attempt::new(StreamKey::parse("live", "cam").unwrap(), "test");
        let mut publication = engine.publish(attempt()).await.unwrap();
        let frame = |flags| MediaFrame::video(CodecId::H265, 0, 0, flags, "x".into());
        let describes = FrameFlags::CONFIG | FrameFlags::METADATA | FrameFlags::AS_RECEIVED;
        let frames = [
            frame(FrameFlags::CONFIG),
            frame(describes),
            MediaFrame {
                pts_nanos: 7,
                ..frame(FrameFlags::KEYFRAME)
            },
            MediaFrame {
                track: 1,
                ..frame(FrameFlags::KEYFRAME)
            },
        ];
        for frame in frames {
            publication.push(frame).unwrap();
        }
        // A viewer that joined late: the track's description comes with its configuration, and does
        // not replace it.
        let mut viewer = engine.play(attempt()).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.push(viewer.next().await.unwrap());
        }
        let all = Accepts {
            multitrack: true,
            modifiers: true,
            metadata: true,
        };
        let got = |accepts| Vec::from_iter(seen.iter().map(|f| RtmpWire::len(f, accepts)));
        let header = 12;
        assert_eq!(got(all), [header + 6, header + 1, header + 11, header + 8]);
        assert_eq!(got(Accepts::default()), [header + 6, 0, header + 6, 0]);
    }
}
