//! What the enhanced audio and video headers have in common: FourCC, ModEx and multitrack.

use livetrail_engine::{CodecId, MediaKind};

use super::Skipped;
use crate::{
    error::{Error, Result},
    read::Reader,
};

/// `AudioPacketType` and `VideoPacketType` share these values.
pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
pub(super) const SEQUENCE_END: u8 = 2;
/// Video only: coded frames whose composition time is 0 and left out.
pub(super) const CODED_FRAMES_X: u8 = 3;
/// `Metadata` for video, `MultichannelConfig` for audio.
pub(super) const METADATA: u8 = 4;
/// Video only.
pub(super) const MPEG2TS_SEQUENCE_START: u8 = 5;
const MOD_EX: u8 = 7;

/// One track in the message: `AvMultitrackType.OneTrack`.
pub(super) const ONE_TRACK: u8 = 0;

/// Where the packet type of a multitrack message stands.
pub(super) fn multitrack_packet_type(kind: MediaKind) -> u8 {
    if kind == MediaKind::Audio { 5 } else { 6 }
}

/// The FourCC of a codec, if the enhanced headers know it.
pub(super) fn fourcc(codec: CodecId) -> Option<&'static [u8; 4]> {
    Some(match codec {
        CodecId::H264 => b"avc1",
        CodecId::H265 => b"hvc1",
        CodecId::Av1 => b"av01",
        CodecId::Vp8 => b"vp08",
        CodecId::Vp9 => b"vp09",
        CodecId::Aac => b"mp4a",
        CodecId::Opus => b"Opus",
        CodecId::Mp3 => b".mp3",
        _ => return None,
    })
}

fn codec(kind: MediaKind, fourcc: [u8; 4]) -> Result<CodecId> {
    match (kind, &fourcc) {
        (MediaKind::Video, b"avc1") => Ok(CodecId::H264),
        (MediaKind::Video, b"hvc1") => Ok(CodecId::H265),
        (MediaKind::Video, b"av01") => Ok(CodecId::Av1),
        (MediaKind::Video, b"vp08") => Ok(CodecId::Vp8),
        (MediaKind::Video, b"vp09") => Ok(CodecId::Vp9),
        (MediaKind::Audio, b"mp4a") => Ok(CodecId::Aac),
        (MediaKind::Audio, b"Opus") => Ok(CodecId::Opus),
        (MediaKind::Audio, b".mp3") => Ok(CodecId::Mp3),
        _ => Err(Error::FourCc { fourcc }),
    }
}

/// Skips the modifiers before the real packet type and gives that. The only one defined so far refines the time by
/// nanoseconds, which is below what a frame's milliseconds can say.
pub(super) fn skip_modifiers(mut packet_type: u8, reader: &mut Reader<'_>) -> Result<u8> {
    while packet_type == MOD_EX {
        let mut size = usize::from(reader.u8()?).saturating_add(1);
        if size == 256 {
            size = usize::from(reader.u16()?).saturating_add(1);
        }
        reader.take(size)?;
        packet_type = reader.u8()? & 0x0f;
    }
    Ok(packet_type)
}

/// Packet type, codec and track of an enhanced header whose modifiers have been skipped.
pub(super) fn track(
    kind: MediaKind,
    packet_type: u8,
    reader: &mut Reader<'_>,
) -> Result<Result<(u8, CodecId, u8), Skipped>> {
    if packet_type != multitrack_packet_type(kind) {
        return Ok(Ok((packet_type, codec(kind, reader.array()?)?, 0)));
    }
    let types = reader.u8()?;
    if types >> 4 != ONE_TRACK {
        return Ok(Err(Skipped::ManyTracks));
    }
    let codec = codec(kind, reader.array()?)?;
    Ok(Ok((types & 0x0f, codec, reader.u8()?)))
}
