//! A frame's bytes on the wire to viewers, made once for all of them.

use std::sync::Arc;

use bytes::Bytes;
use livetrail_egress::{Format, Uncarried};
use livetrail_engine::{MediaFrame, SharedFrame, WireFormat};
use livetrail_media::flv::{self, FrameTag};

use crate::protocol::{FlvTag, Framing, Variant, header, size_line};

/// A frame as an FLV tag, the payload being the frame's own buffer. Made once for each frame and
/// shared by all viewers.
///
/// `None` for a frame that FLV cannot carry. Viewers go without it, and it is counted
/// ([`FlvWire::uncarried_frames`]).
#[derive(Debug, Clone, Copy)]
pub struct FlvWire;

impl WireFormat for FlvWire {
    type Wire = Option<FlvTag>;

    fn make(frame: &MediaFrame) -> Self::Wire {
        match FrameTag::new(frame) {
            Ok(tag) => Some(FlvTag::new(&tag)),
            Err(error) => {
                UNCARRIED.count(frame, &error);
                None
            }
        }
    }
}

static UNCARRIED: Uncarried = Uncarried::new("FLV");

impl FlvWire {
    /// Frames that FLV could not carry, since the start of the process. Viewers went without them.
    #[must_use]
    pub fn uncarried_frames() -> u64 {
        UNCARRIED.frames()
    }
}

impl Format for FlvWire {
    type Variant = Variant;

    fn parts(frame: &SharedFrame, variant: Variant) -> impl Iterator<Item = &[u8]> {
        let wanted = variant.metadata || !frame.is_metadata();
        let tag = wanted.then(|| frame.wire::<Self>().as_ref()).flatten();
        tag.into_iter()
            .flat_map(move |tag| tag.parts(variant.framing))
    }

    fn preface(first: &[Arc<SharedFrame>], variant: Variant) -> Bytes {
        let header = file_header(first);
        match variant.framing {
            Framing::Plain => header,
            Framing::Chunked => [size_line(header.len()).as_bytes(), &header, b"\r\n"]
                .concat()
                .into(),
        }
    }
}

/// The tag's three pieces, in order; nothing for a frame that has no place in FLV.
pub(crate) fn tag_parts(frame: &SharedFrame) -> impl Iterator<Item = Bytes> {
    let tag = frame.wire::<FlvWire>().as_ref();
    tag.into_iter()
        .flat_map(FlvTag::buffers)
        .filter(|part| !part.is_empty())
}

/// The file header for a viewer whose first frames are these.
pub(crate) fn file_header(first: &[Arc<SharedFrame>]) -> Bytes {
    let carries = first.iter().find_map(|frame| frame.stream_carries());
    let frames: Vec<_> = first.iter().map(|frame| frame.frame()).collect();
    Bytes::copy_from_slice(&flv::file_header(header(carries, &frames)))
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, StreamKey};

    use super::*;

    #[test]
    fn a_frame_that_is_too_long_for_the_format_is_counted() {
        let payload = vec![0; 17 << 20].into();
        let frame = MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, payload);
        let before = FlvWire::uncarried_frames();
        assert!(FlvWire::make(&frame).is_none());
        assert_eq!(FlvWire::uncarried_frames(), before + 1);
    }

    #[tokio::test]
    async fn all_viewers_share_one_tag_and_the_payload_that_was_pushed() {
        let engine = Engine::builder()
            .application(AppSpec::new("live"))
            .build()
            .unwrap();
        let attempt = || Attempt::new(StreamKey::parse("live", "cam").unwrap(), "test");
        let mut publication = engine.publish(attempt()).await.unwrap();
        let payload = Bytes::from(vec![7; 100]);
        let pushed = MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, payload.clone());
        publication.push(pushed).unwrap();
        let mut parts = Vec::new();
        for _ in 0..2 {
            let mut viewer = engine.play(attempt()).await.unwrap();
            let frame = viewer.next().await.unwrap();
            let variant = |framing| Variant {
                framing,
                metadata: true,
            };
            for framing in [Framing::Chunked, Framing::Plain] {
                let shared: Vec<_> = FlvWire::parts(&frame, variant(framing))
                    .map(<[u8]>::as_ptr)
                    .collect();
                assert_eq!(shared[1], payload.as_ptr());
                parts.push(shared);
            }
            let plain: Vec<u8> = FlvWire::parts(&frame, variant(Framing::Plain))
                .flatten()
                .copied()
                .collect();
            let buffers: Vec<u8> = tag_parts(&frame).flatten().collect();
            assert_eq!(buffers, plain);
            let chunked: Vec<u8> = FlvWire::parts(&frame, variant(Framing::Chunked))
                .flatten()
                .copied()
                .collect();
            let size = format!("{:x}\r\n", plain.len());
            assert_eq!(chunked, [size.as_bytes(), &plain, b"\r\n"].concat());
        }
        assert_eq!(parts[..2], parts[2..]);
    }
}
