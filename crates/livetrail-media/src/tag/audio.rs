//! Audio tag bodies to frames.

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, MediaKind};

use super::{Decoded, Packet, Skipped, enhanced};
use crate::{
    error::{Error, Result},
    read::Reader,
};

const WHAT: &str = "audio tag";
/// The sound format that announces an enhanced header.
const FORMAT_EX_HEADER: u8 = 9;

pub(super) fn decode(body: &Bytes, pts_ms: i64) -> Result<Decoded> {
    let mut reader = Reader::new(body, WHAT);
    let first = reader.u8()?;
    let (codec, packet) = match first >> 4 {
        FORMAT_EX_HEADER => return decode_enhanced(first, reader, body, pts_ms),
        10 => (CodecId::Aac, aac_packet(reader.u8()?)?),
        2 | 14 => (CodecId::Mp3, Packet::Coded),
        7 => (CodecId::G711Alaw, Packet::Coded),
        8 => (CodecId::G711Ulaw, Packet::Coded),
        // Rate, size and channels exist only in the first byte.
        0 | 3 => return Ok(as_received(CodecId::Pcm, &reader, body, pts_ms)),
        1 => return Ok(as_received(CodecId::Adpcm, &reader, body, pts_ms)),
        4..=6 => return Ok(as_received(CodecId::Nellymoser, &reader, body, pts_ms)),
        11 => return Ok(as_received(CodecId::Speex, &reader, body, pts_ms)),
        _ => return Ok(as_received(CodecId::Other, &reader, body, pts_ms)),
    };
    let Some(payload) = packet.payload(&reader, body) else {
        return Ok(Decoded::Skipped(Skipped::Empty));
    };
    let flags = packet.flags(false);
    Ok(Decoded::Frame(MediaFrame::audio(
        codec, pts_ms, flags, payload,
    )))
}

fn aac_packet(value: u8) -> Result<Packet> {
    match value {
        0 => Ok(Packet::Config),
        1 => Ok(Packet::Coded),
        _ => Err(Error::PacketType { what: WHAT, value }),
    }
}

fn as_received(codec: CodecId, reader: &Reader<'_>, body: &Bytes, pts_ms: i64) -> Decoded {
    if reader.is_empty() {
        return Decoded::Skipped(Skipped::Empty);
    }
    let flags = FrameFlags::AS_RECEIVED;
    Decoded::Frame(MediaFrame::audio(codec, pts_ms, flags, body.clone()))
}

fn decode_enhanced(
    first: u8,
    mut reader: Reader<'_>,
    body: &Bytes,
    pts_ms: i64,
) -> Result<Decoded> {
    let modifiers = enhanced::modifiers(first & 0x0f, &mut reader)?;
    let message = enhanced::Message {
        what: WHAT,
        kind: MediaKind::Audio,
        first: first & 0xf0,
        keyframe: false,
        time_ms: pts_ms,
        pts_nanos: modifiers.pts_nanos,
        body,
    };
    message.decode(modifiers.packet_type, &mut reader)
}
