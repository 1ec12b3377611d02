//! The header of an FLV tag's body. RTMP audio, video and data messages have the same header.
//!
//! ```text
//! legacy video    [frame type 4 | codec id 4] [AVC packet type 8] [composition time 24] data
//! legacy audio    [format 4 | rate 2 | size 1 | stereo 1] [AAC packet type 8] data
//! enhanced video  [1 | frame type 3 | packet type 4] ModEx* [FourCC 32] [composition time 24] data
//!                 (composition time in H.264 and H.265 only)
//! enhanced audio  [9 (4) | packet type 4] ModEx* [FourCC 32] data
//! ```
//!
//! [`decode`] splits a body without copying its payload. [`head`] makes the few bytes before a
//! frame's payload. [`Intake`] decodes for a whole connection or file, and counts unusable
//! messages. A codec unknown to Livetrail passes through unchanged ([`FrameFlags::AS_RECEIVED`]).
//! Adobe FLV 10.1 annex E.4; Enhanced RTMP v2.

mod audio;
mod enhanced;
mod head;
mod intake;
mod timestamp;
mod video;

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame};

pub use head::{TagHead, exact_head, head};
pub use intake::{Intake, Unusable};
pub use timestamp::Unwrapper;

use crate::{amf0, error::Result, read::Reader};

/// The content of a tag or message. The numbers are FLV tag types and RTMP message types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// 8.
    Audio,
    /// 9.
    Video,
    /// 18, AMF0 script data.
    Script,
}

impl TagKind {
    /// The kind with this number, if it is defined.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }

    /// The kind's number in FLV and RTMP.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }
}

/// The result of decoding a well-formed tag body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A frame; its payload is a slice of the body.
    Frame(MediaFrame),
    /// A frame for each of several tracks, at least one.
    Frames(Vec<MediaFrame>),
    /// No frame, and the reason.
    Skipped(Skipped),
}

impl Decoded {
    /// The frame, if there is exactly one.
    #[must_use]
    pub fn into_frame(self) -> Option<MediaFrame> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Frames(_) | Self::Skipped(_) => None,
        }
    }

    /// All frames, in the order of their tracks in the message.
    pub fn into_frames(self) -> impl Iterator<Item = MediaFrame> {
        let (one, many) = match self {
            Self::Frame(frame) => (Some(frame), Vec::new()),
            Self::Frames(frames) => (None, frames),
            Self::Skipped(_) => (None, Vec::new()),
        };
        one.into_iter().chain(many)
    }
}

/// Why a well-formed tag body gives no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// The body has no payload: some encoders send such tags as a keep-alive.
    Empty,
    /// A seek marker for the player (frame type 5).
    Command,
    /// An AV1 descriptor for MPEG-2 TS, which no known encoder sends (enhanced video packet type
    /// 5).
    Mpeg2TsSequenceStart,
    /// `@clearDataFrame`.
    ClearDataFrame,
}

/// Parses a tag's body. `timestamp_ms` is the tag's time, unwrapped (see [`Unwrapper`]).
///
/// The payload of the frame is a slice of `body`, or a copy for an unknown codec in a message with
/// several tracks.
///
/// # Errors
/// A body that is too short, or an undefined packet type. The next body may still be fine.
pub fn decode(kind: TagKind, body: &Bytes, timestamp_ms: i64) -> Result<Decoded> {
    if body.is_empty() {
        return Ok(Decoded::Skipped(Skipped::Empty));
    }
    match kind {
        TagKind::Audio => audio::decode(body, timestamp_ms),
        TagKind::Video => video::decode(body, timestamp_ms),
        TagKind::Script => Ok(decode_script(body, timestamp_ms)),
    }
}

/// The AMF0 string `@setDataFrame`, which publishers send before metadata that the server should
/// keep.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
const CLEAR_DATA_FRAME: &[u8] = b"\x02\x00\x0f@clearDataFrame";
const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";

/// The maximum number of values that are skipped before the name: cameras send two numbers.
const MAX_LEADING_VALUES: usize = 16;

/// Passes script data through, without the instruction to the server. Only `onMetaData` is kept for
/// late joiners; it describes the whole stream, so its time is always 0.
fn decode_script(body: &Bytes, timestamp_ms: i64) -> Decoded {
    let mut payload = &body[..];
    let mut metadata = false;
    // A repeated instruction is odd, but must not remain: it would be an instruction to the next
    // server.
    loop {
        let named = without_leading_values(payload);
        if let Some(rest) = named.strip_prefix(SET_DATA_FRAME) {
            payload = rest;
            continue;
        }
        if named.starts_with(CLEAR_DATA_FRAME) {
            return Decoded::Skipped(Skipped::ClearDataFrame);
        }
        if named.starts_with(ON_META_DATA) {
            metadata = true;
            payload = named;
        }
        break;
    }
    if payload.is_empty() {
        return Decoded::Skipped(Skipped::Empty);
    }
    let (flags, time_ms) = if metadata {
        (FrameFlags::CONFIG, 0)
    } else {
        (FrameFlags::NONE, timestamp_ms)
    };
    Decoded::Frame(MediaFrame::data(
        CodecId::Amf0,
        time_ms,
        flags,
        body.slice_ref(payload),
    ))
}

/// The payload from its first text on, or all of it if there is no text within the bound.
fn without_leading_values(payload: &[u8]) -> &[u8] {
    const SHORT_STRING: u8 = 0x02;
    let mut decoder = amf0::Decoder::new(payload);
    for _ in 0..=MAX_LEADING_VALUES {
        if decoder.rest().first() == Some(&SHORT_STRING) {
            return decoder.rest();
        }
        if !matches!(decoder.next(), Some(Ok(_))) {
            break;
        }
    }
    payload
}

/// The role of a packet within its codec's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    Config,
    Coded,
    End,
    /// A description of the track, in addition to its configuration.
    Metadata,
}

impl Packet {
    /// The payload: the rest of the reader's input. `None` if that is empty, unless the packet ends
    /// the sequence.
    fn payload(self, reader: &Reader<'_>, body: &Bytes) -> Option<Bytes> {
        match self {
            Self::End => Some(Bytes::new()),
            Self::Config | Self::Coded | Self::Metadata => {
                (!reader.is_empty()).then(|| body.slice_ref(reader.rest()))
            }
        }
    }

    fn flags(self, keyframe: bool) -> FrameFlags {
        match self {
            Self::Config => FrameFlags::CONFIG,
            Self::Metadata => FrameFlags::CONFIG | FrameFlags::METADATA,
            Self::End => FrameFlags::END_OF_SEQUENCE,
            Self::Coded if keyframe => FrameFlags::KEYFRAME,
            Self::Coded => FrameFlags::NONE,
        }
    }
}

#[cfg(test)]
mod tests;

/// H.264 and H.265 reorder pictures, so their coded frames carry the time from decoding to
/// presentation.
fn has_composition_time(codec: CodecId) -> bool {
    matches!(codec, CodecId::H264 | CodecId::H265)
}
