//! Frames as FLV tags.

use std::{fmt::Write as _, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use livetrail_egress::Format;
use livetrail_engine::{MediaFrame, MediaKind, SharedFrame, WireFormat};
use livetrail_media::{
    amf0,
    flv::{self, FrameTag},
};

/// A frame as an FLV tag, the payload being the frame's own buffer. Made once for each frame and shared by all viewers.
///
/// `None` for a frame that has no place in FLV; viewers go without it.
#[derive(Debug, Clone, Copy)]
pub struct FlvWire;

/// An FLV tag, and around it what makes it a chunk of a chunked answer (RFC 9112 section 7.1).
///
/// ```text
///  1f4 CR LF │ tag header, body header │ payload │ tag size │ CR LF
///  └──────── head ───────────────────┘            └───── tail ────┘
/// ```
#[derive(Debug, Clone)]
pub struct FlvTag {
    head: Bytes,
    /// Bytes of `head` that are the chunk's.
    size_line_bytes: usize,
    payload: Bytes,
    tail: Bytes,
    /// Bytes of `tail` that are the tag's.
    tag_size_bytes: usize,
}

/// How an answer's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// With the end of the connection, to a client of HTTP/1.0.
    Plain,
    /// With a last chunk.
    Chunked,
}

/// The last chunk, with no trailer.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl WireFormat for FlvWire {
    type Wire = Option<FlvTag>;

    fn make(frame: &MediaFrame) -> Self::Wire {
        FrameTag::new(frame).ok().map(|tag| FlvTag::new(&tag))
    }
}

impl FlvTag {
    fn new(tag: &FrameTag) -> Self {
        let size_line = size_line(tag.len());
        let mut all = BytesMut::with_capacity(
            size_line
                .len()
                .saturating_add(tag.head.len())
                .saturating_add(tag.tail.len())
                .saturating_add(2),
        );
        all.put_slice(size_line.as_bytes());
        all.put_slice(&tag.head);
        let head = all.split().freeze();
        all.put_slice(&tag.tail);
        all.put_slice(b"\r\n");
        Self {
            head,
            size_line_bytes: size_line.len(),
            payload: tag.payload.clone(),
            tail: all.freeze(),
            tag_size_bytes: tag.tail.len(),
        }
    }

    /// The bytes to send, in order: header, payload (the frame's own buffer), size.
    pub fn parts(&self, framing: Framing) -> impl Iterator<Item = &[u8]> {
        let (head, tail) = match framing {
            Framing::Chunked => (Some(&self.head[..]), Some(&self.tail[..])),
            Framing::Plain => (
                self.head.get(self.size_line_bytes..),
                self.tail.get(..self.tag_size_bytes),
            ),
        };
        let parts = [head, Some(&self.payload[..]), tail];
        parts.into_iter().flatten().filter(|part| !part.is_empty())
    }

    /// The tag without framing, as buffers that share its memory.
    fn buffers(&self) -> [Bytes; 3] {
        let head = self.head.slice(self.size_line_bytes..);
        let tail = self.tail.slice(..self.tag_size_bytes);
        [head, self.payload.clone(), tail]
    }
}

fn size_line(bytes: usize) -> String {
    let mut line = String::with_capacity(10);
    // Writing to a string cannot fail.
    let _ = write!(line, "{bytes:x}\r\n");
    line
}

impl Format for FlvWire {
    type Variant = Framing;

    fn parts(frame: &SharedFrame, framing: Framing) -> impl Iterator<Item = &[u8]> {
        let tag = frame.wire::<Self>().as_ref();
        tag.into_iter().flat_map(move |tag| tag.parts(framing))
    }

    fn preface(first: &[Arc<SharedFrame>], framing: Framing) -> Bytes {
        let header = file_header(first);
        match framing {
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
            for framing in [Framing::Chunked, Framing::Plain] {
                let shared: Vec<_> = FlvWire::parts(&frame, framing)
                    .map(<[u8]>::as_ptr)
                    .collect();
                assert_eq!(shared[1], payload.as_ptr());
                parts.push(shared);
            }
            let plain: Vec<u8> = FlvWire::parts(&frame, Framing::Plain)
                .flatten()
                .copied()
                .collect();
            let buffers: Vec<u8> = tag_parts(&frame).flatten().collect();
            assert_eq!(buffers, plain);
            let chunked: Vec<u8> = FlvWire::parts(&frame, Framing::Chunked)
                .flatten()
                .copied()
                .collect();
            let size = format!("{:x}\r\n", plain.len());
            assert_eq!(chunked, [size.as_bytes(), &plain, b"\r\n"].concat());
        }
        assert_eq!(parts[..2], parts[2..]);
    }
}
