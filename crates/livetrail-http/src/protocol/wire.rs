//! Frames as FLV tags.

use std::sync::Arc;

use bytes::Bytes;
use livetrail_engine::{MediaFrame, MediaKind, SharedFrame, WireFormat};
use livetrail_media::{
    amf0,
    flv::{self, FrameTag},
};

/// A frame as an FLV tag: header, payload and trailing size, the payload being the frame's own buffer. Made once for each
/// frame and shared by all viewers.
///
/// `None` for a frame that has no place in FLV; viewers go without it.
#[derive(Debug, Clone, Copy)]
pub struct FlvWire;

impl WireFormat for FlvWire {
    type Wire = Option<FrameTag>;

    fn make(frame: &MediaFrame) -> Self::Wire {
        FrameTag::new(frame).ok()
    }
}

/// The tag's three pieces, in order; nothing for a frame that has no place in FLV.
pub(crate) fn tag_parts(frame: &SharedFrame) -> impl Iterator<Item = Bytes> {
    let tag = frame.wire::<FlvWire>().as_ref();
    tag.into_iter()
        .flat_map(|tag| [tag.head.clone(), tag.payload.clone(), tag.tail.clone()])
        .filter(|part| !part.is_empty())
}

/// The file header that fits what a viewer gets first: the configurations come before anything else, so they tell which tracks
/// there are. Of a stream so young that it has none yet, its metadata may tell; failing that, both are promised.
pub(crate) fn file_header(first: &[Arc<SharedFrame>]) -> Bytes {
    let mut header = flv::Header {
        has_audio: false,
        has_video: false,
    };
    for frame in first {
        match frame.kind {
            MediaKind::Video => header.has_video = true,
            MediaKind::Audio => header.has_audio = true,
            MediaKind::Data if frame.is_config() => {
                let values = amf0::decode_all(&frame.payload).unwrap_or_default();
                let says = |key| values.iter().any(|value| value.get(key).is_some());
                header.has_video |= says("videocodecid");
                header.has_audio |= says("audiocodecid");
            }
            MediaKind::Data => {}
        }
    }
    if !header.has_audio && !header.has_video {
        (header.has_audio, header.has_video) = (true, true);
    }
    Bytes::copy_from_slice(&flv::file_header(header))
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, StreamKey};

    use super::*;

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
            parts.push(
                tag_parts(&frame)
                    .map(|part| part.as_ptr())
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(parts[0], parts[1]);
        assert_eq!(parts[0][1], payload.as_ptr());
    }
}
