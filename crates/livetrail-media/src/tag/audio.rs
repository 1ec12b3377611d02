//! Audio tag bodies to frames.

use bytes::Bytes;
use livetrail_engine::{CodecId, MediaFrame, MediaKind};

use super::{Decoded, Packet, Skipped, enhanced};
use crate::{
    error::{Error, Result},
    read::Reader,
};

const WHAT: &str = "audio tag";
/// The sound format that announces an enhanced header.
const FORMAT_EX_HEADER: u8 = 9;
const FORMAT_AAC: u8 = 10;

pub(super) fn decode(body: &Bytes, pts_ms: i64) -> Result<Decoded> {
    let mut reader = Reader::new(body, WHAT);
    let first = reader.u8()?;
    let (codec, packet, track) = match first >> 4 {
        FORMAT_EX_HEADER => match enhanced_header(first & 0x0f, &mut reader)? {
            Ok(found) => found,
            Err(skipped) => return Ok(Decoded::Skipped(skipped)),
        },
        FORMAT_AAC => (CodecId::Aac, aac_packet(reader.u8()?)?, 0),
        2 | 14 => (CodecId::Mp3, Packet::Coded, 0),
        7 => (CodecId::G711Alaw, Packet::Coded, 0),
        8 => (CodecId::G711Ulaw, Packet::Coded, 0),
        id => return Err(Error::AudioCodec { id }),
    };
    let Some(payload) = packet.payload(&reader, body) else {
        return Ok(Decoded::Skipped(Skipped::Empty));
    };
    let frame = MediaFrame::audio(codec, pts_ms, packet.flags(false), payload);
    Ok(Decoded::Frame(MediaFrame { track, ..frame }))
}

fn aac_packet(value: u8) -> Result<Packet> {
    match value {
        0 => Ok(Packet::Config),
        1 => Ok(Packet::Coded),
        _ => Err(Error::PacketType { what: WHAT, value }),
    }
}

fn enhanced_header(
    packet_type: u8,
    reader: &mut Reader<'_>,
) -> Result<Result<(CodecId, Packet, u8), Skipped>> {
    let packet_type = enhanced::skip_modifiers(packet_type, reader)?;
    let (packet_type, codec, track) = match enhanced::track(MediaKind::Audio, packet_type, reader)?
    {
        Ok(found) => found,
        Err(skipped) => return Ok(Err(skipped)),
    };
    Ok(match packet_type {
        enhanced::SEQUENCE_START => Ok((codec, Packet::Config, track)),
        enhanced::CODED_FRAMES => Ok((codec, Packet::Coded, track)),
        enhanced::SEQUENCE_END => Ok((codec, Packet::End, track)),
        enhanced::METADATA => Err(Skipped::MultichannelConfig),
        value => return Err(Error::PacketType { what: WHAT, value }),
    })
}
