//! Video tag bodies to frames.

use bytes::Bytes;
use livetrail_engine::{CodecId, MediaFrame, MediaKind};

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
    let codec = match first & 0x0f {
        7 => CodecId::H264,
        // Not Adobe's, but what encoders used for H.265 before there were FourCCs.
        12 => CodecId::H265,
        id => return Err(Error::VideoCodec { id }),
    };
    let packet = match reader.u8()? {
        0 => Packet::Config,
        1 => Packet::Coded,
        2 => Packet::End,
        value => return Err(Error::PacketType { what: WHAT, value }),
    };
    let composition_ms = reader.i24()?;
    Ok(frame(
        Header {
            codec,
            packet,
            frame_type,
            composition_ms,
            track: 0,
        },
        &reader,
        body,
        dts_ms,
    ))
}

fn decode_enhanced(
    first: u8,
    mut reader: Reader<'_>,
    body: &Bytes,
    dts_ms: i64,
) -> Result<Decoded> {
    let frame_type = (first >> 4) & 0x07;
    let packet_type = enhanced::skip_modifiers(first & 0x0f, &mut reader)?;
    if frame_type == FRAME_COMMAND && packet_type != enhanced::METADATA {
        return Ok(Decoded::Skipped(Skipped::Command));
    }
    let (packet_type, codec, track) =
        match enhanced::track(MediaKind::Video, packet_type, &mut reader)? {
            Ok(found) => found,
            Err(skipped) => return Ok(Decoded::Skipped(skipped)),
        };
    let mut composition_ms = 0;
    let packet = match packet_type {
        enhanced::SEQUENCE_START => Packet::Config,
        enhanced::CODED_FRAMES => {
            if has_composition_time(codec) {
                composition_ms = reader.i24()?;
            }
            Packet::Coded
        }
        enhanced::CODED_FRAMES_X => Packet::Coded,
        enhanced::SEQUENCE_END => Packet::End,
        enhanced::METADATA => return Ok(Decoded::Skipped(Skipped::Metadata)),
        enhanced::MPEG2TS_SEQUENCE_START => {
            return Ok(Decoded::Skipped(Skipped::Mpeg2TsSequenceStart));
        }
        value => return Err(Error::PacketType { what: WHAT, value }),
    };
    Ok(frame(
        Header {
            codec,
            packet,
            frame_type,
            composition_ms,
            track,
        },
        &reader,
        body,
        dts_ms,
    ))
}

/// H.264 and H.265 reorder pictures; their coded frames carry the distance from decoding to showing.
pub(super) fn has_composition_time(codec: CodecId) -> bool {
    matches!(codec, CodecId::H264 | CodecId::H265)
}

struct Header {
    codec: CodecId,
    packet: Packet,
    frame_type: u8,
    composition_ms: i32,
    track: u8,
}

fn frame(header: Header, reader: &Reader<'_>, body: &Bytes, dts_ms: i64) -> Decoded {
    let Some(payload) = header.packet.payload(reader, body) else {
        return Decoded::Skipped(Skipped::Empty);
    };
    let pts_ms = match header.packet {
        Packet::Coded => dts_ms.saturating_add(i64::from(header.composition_ms)),
        Packet::Config | Packet::End => dts_ms,
    };
    let keyframe = matches!(header.frame_type, FRAME_KEY | FRAME_GENERATED_KEY);
    let flags = header.packet.flags(keyframe);
    let frame = MediaFrame::video(header.codec, dts_ms, pts_ms, flags, payload);
    Decoded::Frame(MediaFrame {
        track: header.track,
        ..frame
    })
}
