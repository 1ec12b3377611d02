//! Frames as FLV tags, and the file header before them.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use livetrail_engine::{Carries, MediaFrame, MediaKind};
use livetrail_media::{
    amf0::{self, Value},
    flv::{self, FrameTag},
};

/// An FLV tag, wrapped as a chunk of a chunked answer (RFC 9112 section 7.1).
///
/// ```text
///  1f4 CR LF │ tag header, body header │ payload │ tag size │ CR LF
///  └──────── head ───────────────────┘            └───── tail ────┘
/// ```
#[derive(Debug, Clone)]
pub struct FlvTag {
    head: Bytes,
    /// Bytes of `head` that belong to the chunk.
    size_line_bytes: usize,
    payload: Bytes,
    tail: Bytes,
    /// Bytes of `tail` that belong to the tag.
    tag_size_bytes: usize,
}

/// How the answer marks its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By the end of the connection, for a client of HTTP/1.0.
    Plain,
    /// By a last chunk.
    Chunked,
}

/// The options that differ between viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// How the answer's end is marked.
    pub framing: Framing,
    /// Whether to send packets that describe a track in addition to its configuration (colours,
    /// speakers). Players in web pages report an error for each such packet.
    pub metadata: bool,
}

/// The last chunk, with no trailer.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl FlvTag {
    pub(crate) fn new(tag: &FrameTag) -> Self {
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
    pub(crate) fn buffers(&self) -> [Bytes; 3] {
        let head = self.head.slice(self.size_line_bytes..);
        let tail = self.tail.slice(..self.tag_size_bytes);
        [head, self.payload.clone(), tail]
    }
}

/// The line before a chunk's bytes.
pub(crate) fn size_line(bytes: usize) -> String {
    let mut line = String::with_capacity(10);
    // Writing to a string cannot fail.
    let _ = write!(line, "{bytes:x}\r\n");
    line
}

/// The file header that fits the viewer's stream. Players wait without limit for each kind of media
/// that the header announces.
///
/// The frames of the stream's first second decide. For a younger stream the configurations decide,
/// and its metadata may. Without those, the header announces both audio and video.
pub(crate) fn header(carries: Option<Carries>, first: &[&MediaFrame]) -> flv::Header {
    let carried = carries.map(|carries| flv::Header {
        has_audio: carries.audio,
        has_video: carries.video,
    });
    let mut header = carried
        .or_else(|| came(first))
        .unwrap_or_else(|| announced(first));
    if !header.has_audio && !header.has_video {
        (header.has_audio, header.has_video) = (true, true);
    }
    header
}

/// Media time after which frames decide.
const SHOWN_MS: i64 = 1_000;

/// The kinds of media among a second of frames.
fn came(first: &[&MediaFrame]) -> Option<flv::Header> {
    let media = || {
        let media = first.iter().filter(|frame| !frame.is_config());
        media.filter(|frame| frame.kind != MediaKind::Data)
    };
    let times = || media().map(|frame| frame.dts_ms());
    let span_ms = times().max()?.saturating_sub(times().min()?);
    (span_ms >= SHOWN_MS).then(|| flv::Header {
        has_audio: media().any(|frame| frame.kind == MediaKind::Audio),
        has_video: media().any(|frame| frame.kind == MediaKind::Video),
    })
}

fn announced(first: &[&MediaFrame]) -> flv::Header {
    let mut header = flv::Header {
        has_audio: false,
        has_video: false,
    };
    for frame in first {
        match frame.kind {
            MediaKind::Video => header.has_video = true,
            MediaKind::Audio => header.has_audio = true,
            MediaKind::Data if frame.is_config() => {
                let values: Vec<_> = amf0::Decoder::lenient(&frame.payload).flatten().collect();
                header.has_video |= promises(&values, "hasVideo", "videocodecid");
                header.has_audio |= promises(&values, "hasAudio", "audiocodecid");
            }
            MediaKind::Data => {}
        }
    }
    header
}

/// Whether metadata announces such a track. Cameras set the codec id of a missing track to 0 or
/// null.
fn promises(values: &[Value], has: &str, codec_id: &str) -> bool {
    let find = |key| values.iter().find_map(|value| value.get(key));
    match find(has) {
        Some(Value::Boolean(has)) => *has,
        _ => match find(codec_id) {
            Some(Value::Number(id)) => *id > 0.0,
            Some(Value::String(fourcc)) => !fourcc.is_empty(),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{CodecId, FrameFlags};

    use super::*;

    fn header_of(frames: Vec<MediaFrame>) -> (bool, bool) {
        let header = header(None, &frames.iter().collect::<Vec<_>>());
        (header.has_audio, header.has_video)
    }

    fn metadata(properties: &[(&str, Value)]) -> MediaFrame {
        let object = Value::object(properties.iter().cloned());
        let mut payload = Vec::new();
        Value::from("onMetaData").encode(&mut payload);
        object.encode(&mut payload);
        MediaFrame::data(CodecId::Amf0, 0, FrameFlags::CONFIG, payload.into())
    }

    #[test]
    fn the_header_promises_only_what_comes() {
        let audio_only_if = |id: Value| {
            let video = ("videocodecid", Value::from(7.0));
            header_of(vec![metadata(&[video, ("audiocodecid", id)])])
        };
        assert_eq!(audio_only_if(Value::from(10.0)), (true, true));
        assert_eq!(audio_only_if(Value::from("Opus")), (true, true));
        for nothing in [Value::from(0.0), Value::Null, Value::from("")] {
            assert_eq!(audio_only_if(nothing), (false, true));
        }
        let denied = [
            ("hasVideo", Value::from(true)),
            ("hasAudio", Value::from(false)),
            ("audiocodecid", Value::from(10.0)),
        ];
        assert_eq!(header_of(vec![metadata(&denied)]), (false, true));
        assert_eq!(header_of(vec![metadata(&[])]), (true, true), "nobody knows");
        // A second of frames decides, whatever was announced.
        let promise = metadata(&[("audiocodecid", Value::from(10.0))]);
        let video = |ms| MediaFrame::video(CodecId::H264, ms, ms, FrameFlags::NONE, "x".into());
        let audio = MediaFrame::audio(CodecId::Aac, 500, FrameFlags::NONE, "x".into());
        let frames = |until: i64| {
            [
                vec![promise.clone()],
                (0..=until).map(|n| video(n * 40)).collect(),
            ]
            .concat()
        };
        assert_eq!(header_of(frames(24)), (true, true));
        assert_eq!(header_of(frames(25)), (false, true));
        assert_eq!(header_of([frames(25), vec![audio]].concat()), (true, true));
    }
}
