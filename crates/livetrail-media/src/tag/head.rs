//! Frames to the header bytes before their payload.

use livetrail_engine::{CodecId, FrameFlags, MediaFrame, MediaKind};

use super::{TagKind, enhanced, has_composition_time};
use crate::error::{Error, Result};

/// The longest header: multitrack, with a modifier and a composition time.
const MAX_LEN: usize = 15;

/// The header before a frame's payload in a tag or message. The body is `bytes()` and then the
/// payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagHead {
    /// Audio, video or script.
    pub kind: TagKind,
    /// The frame's decode time in milliseconds, modulo 2^32; a time before 0 becomes 0. For
    /// `onMetaData` it is always 0: that describes the whole stream, and players take it for a
    /// subtitle at other times.
    pub timestamp_ms: u32,
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl TagHead {
    fn new(kind: TagKind, frame: &MediaFrame) -> Self {
        let metadata = kind == TagKind::Script && frame.is_config();
        let dts_ms = if metadata { 0 } else { frame.dts_ms().max(0) };
        let timestamp_ms = (dts_ms & 0xffff_ffff) as u32;
        Self {
            kind,
            timestamp_ms,
            bytes: [0; MAX_LEN],
            len: 0,
        }
    }

    /// The header, 0 to 15 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
                *place = *byte;
                self.len = self.len.saturating_add(1);
            }
        }
        self
    }
}

/// The header for a frame: legacy for H.264, AAC, MP3 and G.711, enhanced for the other codecs and
/// for every track except the first; empty for a payload that includes its header.
///
/// Times in other bases are rescaled to milliseconds, rounded towards minus infinity; nanoseconds
/// are dropped. A composition time that exceeds 24 bits (2.3 hours) is clamped.
///
/// # Errors
/// [`Error::NotInFlv`] for a codec, or a configuration, that FLV cannot carry.
pub fn head(frame: &MediaFrame) -> Result<TagHead> {
    make(frame, 0)
}

/// Like [`head`], with the nanoseconds of the presentation time as a modifier in an enhanced
/// header. For a player that announced support for modifiers.
///
/// # Errors
/// As [`head`].
pub fn exact_head(frame: &MediaFrame) -> Result<TagHead> {
    let coded = packet_type(frame) == enhanced::CODED_FRAMES;
    make(frame, if coded { frame.pts_nanos } else { 0 })
}

fn make(frame: &MediaFrame, nanos: u32) -> Result<TagHead> {
    match frame.kind {
        MediaKind::Data if frame.codec == CodecId::Amf0 => Ok(TagHead::new(TagKind::Script, frame)),
        MediaKind::Video if frame.is_as_received() => Ok(TagHead::new(TagKind::Video, frame)),
        MediaKind::Audio if frame.is_as_received() => Ok(TagHead::new(TagKind::Audio, frame)),
        MediaKind::Video => video_head(frame, nanos),
        MediaKind::Audio => audio_head(frame, nanos),
        MediaKind::Data => Err(not_in_flv(frame)),
    }
}

fn video_head(frame: &MediaFrame, nanos: u32) -> Result<TagHead> {
    let head = TagHead::new(TagKind::Video, frame);
    let starts =
        frame.flags.contains(FrameFlags::KEYFRAME) || packet_type(frame) != enhanced::CODED_FRAMES;
    let frame_type: u8 = if starts { 0x10 } else { 0x20 };
    if frame.codec == CodecId::H264 && frame.track == 0 && nanos == 0 {
        let head = head.with(&[frame_type | 7, packet_type(frame)]);
        return Ok(head.with(&composition_time(frame)));
    }
    if !matches!(
        frame.codec,
        CodecId::H264 | CodecId::H265 | CodecId::Av1 | CodecId::Vp8 | CodecId::Vp9
    ) {
        return Err(not_in_flv(frame));
    }
    // Only codecs with a composition time have a packet type that means 0.
    let timed = has_composition_time(frame.codec);
    let packet_type = match packet_type(frame) {
        enhanced::CODED_FRAMES if timed && composition_time(frame) == [0; 3] => {
            enhanced::CODED_FRAMES_X
        }
        other => other,
    };
    let head = enhanced_head(head, 0x80 | frame_type, packet_type, frame, nanos)?;
    Ok(if timed && packet_type == enhanced::CODED_FRAMES {
        head.with(&composition_time(frame))
    } else {
        head
    })
}

fn audio_head(frame: &MediaFrame, nanos: u32) -> Result<TagHead> {
    let head = TagHead::new(TagKind::Audio, frame);
    let packet_type = packet_type(frame);
    let coded = packet_type == enhanced::CODED_FRAMES;
    let plain = frame.track == 0 && nanos == 0;
    match frame.codec {
        // The legacy format has no end marker for AAC, but the enhanced header has.
        CodecId::Aac if plain && packet_type != enhanced::SEQUENCE_END => {
            // Rate, size and channels are fixed for AAC: 44 kHz, 16 bits, stereo. The actual ones
            // are in its configuration.
            Ok(head.with(&[0xaf, packet_type]))
        }
        CodecId::Mp3 if plain && coded => Ok(head.with(&[0x2f])),
        // G.711 is 8 kHz, 16 bits, mono.
        CodecId::G711Alaw if frame.track == 0 && coded => Ok(head.with(&[0x72])),
        CodecId::G711Ulaw if frame.track == 0 && coded => Ok(head.with(&[0x82])),
        CodecId::Aac
        | CodecId::Opus
        | CodecId::Mp3
        | CodecId::Ac3
        | CodecId::Eac3
        | CodecId::Flac => enhanced_head(head, 0x90, packet_type, frame, nanos),
        _ => Err(not_in_flv(frame)),
    }
}

fn enhanced_head(
    head: TagHead,
    first: u8,
    packet_type: u8,
    frame: &MediaFrame,
    nanos: u32,
) -> Result<TagHead> {
    let fourcc = enhanced::fourcc(frame.codec).ok_or_else(|| not_in_flv(frame))?;
    let multitrack = frame.track != 0;
    let outer = if multitrack {
        enhanced::multitrack_packet_type(frame.kind)
    } else {
        packet_type
    };
    let head = if nanos == 0 {
        head.with(&[first | outer])
    } else {
        let [_, a, b, c] = nanos.to_be_bytes();
        let last_byte_of_data = 2;
        head.with(&[first | enhanced::MOD_EX, last_byte_of_data, a, b, c])
            .with(&[(enhanced::TIMESTAMP_NANOS << 4) | outer])
    };
    if !multitrack {
        return Ok(head.with(fourcc));
    }
    let types = (enhanced::ONE_TRACK << 4) | packet_type;
    Ok(head.with(&[types]).with(fourcc).with(&[frame.track]))
}

fn packet_type(frame: &MediaFrame) -> u8 {
    if frame.is_config() {
        enhanced::SEQUENCE_START
    } else if frame.flags.contains(FrameFlags::END_OF_SEQUENCE) {
        enhanced::SEQUENCE_END
    } else {
        enhanced::CODED_FRAMES
    }
}

/// The time from decoding to presentation, 24 bits in two's complement; 0 unless the frame is
/// coded.
fn composition_time(frame: &MediaFrame) -> [u8; 3] {
    if packet_type(frame) != enhanced::CODED_FRAMES {
        return [0; 3];
    }
    let ms = frame
        .pts_ms()
        .saturating_sub(frame.dts_ms())
        .clamp(-0x80_0000, 0x7f_ffff);
    let [_, _, _, _, _, a, b, c] = ms.to_be_bytes();
    [a, b, c]
}

fn not_in_flv(frame: &MediaFrame) -> Error {
    Error::NotInFlv {
        codec: frame.codec.label(),
    }
}
