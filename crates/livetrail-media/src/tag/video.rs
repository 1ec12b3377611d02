//! Video tag bodies to frames.

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, MediaKind};

use super::{Decoded, Packet, Skipped, enhanced};
use crate::{
    error::{Error, Result},
    read::Reader,
};

const WHAT: &str = "video tag";
/// Set in the first byte of an enhanced header.
const IS_EX_HEADER: u8 = 0x80;
const FRAME_KEY: u8 = 1;
const FRAME_GENERATED_KEY: u8 = 4;
const FRAME_COMMAND: u8 = 5;

pub(super) fn decode(body: &Bytes, dts_ms: i64) -> Result<Decoded> {
    let mut reader = Reader::new(body, WHAT);
    let first = reader.u8()?;
    if first & IS_EX_HEADER != 0 {
        decode_enhanced(first, reader, body, dts_ms)
    } else {
        decode_legacy(first, reader, body, dts_ms)
    }
}

fn decode_legacy(first: u8, mut reader: Reader<'_>, body: &Bytes, dts_ms: i64) -> Result<Decoded> {
    let frame_type = first >> 4;
    if frame_type == FRAME_COMMAND {
        return Ok(Decoded::Skipped(Skipped::Command));
    }
    let keyframe = is_key(frame_type);
    let codec = match first & 0x0f {
        7 => CodecId::H264,
        // Not Adobe's, but encoders used it for H.265 before FourCCs existed.
        12 => CodecId::H265,
        2 => return Ok(as_received(CodecId::H263, keyframe, &reader, body, dts_ms)),
        4 | 5 => return Ok(as_received(CodecId::Vp6, keyframe, &reader, body, dts_ms)),
        _ => return Ok(as_received(CodecId::Other, keyframe, &reader, body, dts_ms)),
    };
    let packet = match reader.u8()? {
        0 => Packet::Config,
        1 => Packet::Coded,
        // The rest of it has no meaning, and some senders omit it.
        2 => Packet::End,
        value => return Err(Error::PacketType { what: WHAT, value }),
    };
    let composition_ms = match packet {
        Packet::End => 0,
        _ => reader.i24()?,
    };
    let Some(payload) = packet.payload(&reader, body) else {
        return Ok(Decoded::Skipped(Skipped::Empty));
    };
    let pts_ms = match packet {
        Packet::Coded => dts_ms.saturating_add(i64::from(composition_ms)),
        _ => dts_ms,
    };
    let flags = packet.flags(keyframe);
    Ok(Decoded::Frame(MediaFrame::video(
        codec, dts_ms, pts_ms, flags, payload,
    )))
}

/// A codec without a separate configuration; its first byte has the decoder's parameters.
fn as_received(
    codec: CodecId,
    keyframe: bool,
    reader: &Reader<'_>,
    body: &Bytes,
    dts_ms: i64,
) -> Decoded {
    if reader.is_empty() {
        return Decoded::Skipped(Skipped::Empty);
    }
    let flags = Packet::Coded.flags(keyframe) | FrameFlags::AS_RECEIVED;
    Decoded::Frame(MediaFrame::video(
        codec,
        dts_ms,
        dts_ms,
        flags,
        body.clone(),
    ))
}

fn decode_enhanced(
    first: u8,
    mut reader: Reader<'_>,
    body: &Bytes,
    dts_ms: i64,
) -> Result<Decoded> {
    let frame_type = (first >> 4) & 0x07;
    let modifiers = enhanced::modifiers(first & 0x0f, &mut reader)?;
    // For metadata the frame type has no meaning.
    if frame_type == FRAME_COMMAND && modifiers.packet_type != enhanced::METADATA {
        return Ok(Decoded::Skipped(Skipped::Command));
    }
    let message = enhanced::Message {
        what: WHAT,
        kind: MediaKind::Video,
        first: first & 0xf0,
        keyframe: is_key(frame_type),
        time_ms: dts_ms,
        pts_nanos: modifiers.pts_nanos,
        body,
    };
    message.decode(modifiers.packet_type, &mut reader)
}

fn is_key(frame_type: u8) -> bool {
    matches!(frame_type, FRAME_KEY | FRAME_GENERATED_KEY)
}
