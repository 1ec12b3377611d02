//! The common parts of enhanced audio and video headers: modifiers, FourCC, packet type and tracks.
//!
//! ```text
//! one track        [first 4 | packet type 4] ModEx* FourCC                        data
//! multitrack       [first 4 | 5 or 6]        ModEx* [shape 4 | packet type 4] …
//!   OneTrack                                        FourCC  track 8               data
//!   ManyTracks                                      FourCC (track 8  size 24      data)*
//!   ManyCodecs                                     (FourCC  track 8  size 24      data)*
//! ```
//!
//! A message with several tracks becomes one frame per track. So the bus keeps each track's
//! configuration, and players that know one track get the first.

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, MediaKind};

use super::{Decoded, Packet, Skipped, has_composition_time};
use crate::{
    error::{Error, Result},
    read::Reader,
};

/// `AudioPacketType` and `VideoPacketType` share these values.
pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
pub(super) const SEQUENCE_END: u8 = 2;
/// H.264, H.265 and related codecs only: coded frames that omit their composition time, which is 0.
pub(super) const CODED_FRAMES_X: u8 = 3;
/// `Metadata` for video, `MultichannelConfig` for audio.
pub(super) const METADATA: u8 = 4;
/// Video only.
const MPEG2TS_SEQUENCE_START: u8 = 5;
pub(super) const MOD_EX: u8 = 7;

/// `AvMultitrackType`.
pub(super) const ONE_TRACK: u8 = 0;
const MANY_TRACKS: u8 = 1;
const MANY_CODECS: u8 = 2;

/// The maximum number of tracks that are read from one message; a track's number has 8 bits.
const MAX_TRACKS: usize = 256;

/// A modifier of this type refines the presentation time, in 24 bits.
pub(super) const TIMESTAMP_NANOS: u8 = 0;
/// Larger values would reach the next millisecond.
const MAX_NANOS: u32 = 999_999;

type FourCc = [u8; 4];

/// The position of the packet type in a multitrack message.
pub(super) fn multitrack_packet_type(kind: MediaKind) -> u8 {
    if kind == MediaKind::Audio { 5 } else { 6 }
}

/// The FourCC of a codec, if the enhanced headers define one and Livetrail decodes its packets.
pub(super) fn fourcc(codec: CodecId) -> Option<&'static FourCc> {
    Some(match codec {
        CodecId::H264 => b"avc1",
        CodecId::H265 => b"hvc1",
        CodecId::Av1 => b"av01",
        CodecId::Vp8 => b"vp08",
        CodecId::Vp9 => b"vp09",
        CodecId::Aac => b"mp4a",
        CodecId::Opus => b"Opus",
        CodecId::Mp3 => b".mp3",
        CodecId::Ac3 => b"ac-3",
        CodecId::Eac3 => b"ec-3",
        CodecId::Flac => b"fLaC",
        _ => return None,
    })
}

/// The codec, and whether its packets are decoded; the others pass through unchanged.
fn codec(kind: MediaKind, fourcc: FourCc) -> (CodecId, bool) {
    match (kind, &fourcc) {
        (MediaKind::Video, b"avc1") => (CodecId::H264, true),
        (MediaKind::Video, b"hvc1") => (CodecId::H265, true),
        (MediaKind::Video, b"av01") => (CodecId::Av1, true),
        (MediaKind::Video, b"vp08") => (CodecId::Vp8, true),
        (MediaKind::Video, b"vp09") => (CodecId::Vp9, true),
        (MediaKind::Video, b"vvc1") => (CodecId::Vvc, false),
        (MediaKind::Audio, b"mp4a") => (CodecId::Aac, true),
        (MediaKind::Audio, b"Opus") => (CodecId::Opus, true),
        (MediaKind::Audio, b".mp3") => (CodecId::Mp3, true),
        (MediaKind::Audio, b"ac-3") => (CodecId::Ac3, true),
        (MediaKind::Audio, b"ec-3") => (CodecId::Eac3, true),
        (MediaKind::Audio, b"fLaC") => (CodecId::Flac, true),
        _ => (CodecId::Other, false),
    }
}

/// The modifiers before the actual packet type.
pub(super) struct Modifiers {
    pub(super) packet_type: u8,
    pub(super) pts_nanos: u32,
}

/// Reads the modifiers. Skips those of an unknown type: they are optional by definition.
pub(super) fn modifiers(mut packet_type: u8, reader: &mut Reader<'_>) -> Result<Modifiers> {
    let mut pts_nanos = 0;
    while packet_type == MOD_EX {
        let mut size = usize::from(reader.u8()?).saturating_add(1);
        if size == 256 {
            size = usize::from(reader.u16()?).saturating_add(1);
        }
        let data = reader.take(size)?;
        let types = reader.u8()?;
        if types >> 4 == TIMESTAMP_NANOS
            && let Some([a, b, c]) = data.first_chunk()
        {
            pts_nanos = u32::from_be_bytes([0, *a, *b, *c]).min(MAX_NANOS);
        }
        packet_type = types & 0x0f;
    }
    Ok(Modifiers {
        packet_type,
        pts_nanos,
    })
}

/// A message whose first byte and modifiers have been read.
pub(super) struct Message<'a> {
    pub(super) what: &'static str,
    pub(super) kind: MediaKind,
    /// The first byte, without the packet type.
    pub(super) first: u8,
    pub(super) keyframe: bool,
    pub(super) time_ms: i64,
    pub(super) pts_nanos: u32,
    pub(super) body: &'a Bytes,
}

/// One track's part of a message.
struct Part<'a> {
    packet_type: u8,
    fourcc: FourCc,
    track: u8,
    data: &'a [u8],
    /// The message has no other part.
    alone: bool,
}

impl Message<'_> {
    /// The frames of all tracks.
    pub(super) fn decode(&self, packet_type: u8, reader: &mut Reader<'_>) -> Result<Decoded> {
        if packet_type != multitrack_packet_type(self.kind) {
            return self.part(&Part {
                packet_type,
                fourcc: reader.array()?,
                track: 0,
                data: reader.rest(),
                alone: true,
            });
        }
        let types = reader.u8()?;
        let packet_type = types & 0x0f;
        match types >> 4 {
            ONE_TRACK => {
                let fourcc = reader.array()?;
                self.part(&Part {
                    packet_type,
                    fourcc,
                    track: reader.u8()?,
                    data: reader.rest(),
                    alone: true,
                })
            }
            MANY_TRACKS => {
                let fourcc = reader.array()?;
                self.parts(packet_type, Some(fourcc), reader)
            }
            MANY_CODECS => self.parts(packet_type, None, reader),
            value => Err(Error::PacketType {
                what: "multitrack tag",
                value,
            }),
        }
    }

    /// Each track separately: an unreadable track affects only itself. Data after a wrong size is
    /// lost.
    fn parts(
        &self,
        packet_type: u8,
        shared: Option<FourCc>,
        reader: &mut Reader<'_>,
    ) -> Result<Decoded> {
        let mut frames = Vec::new();
        let mut failed = None;
        for _ in 0..MAX_TRACKS {
            if reader.is_empty() {
                break;
            }
            let part = match Part::read(packet_type, shared, reader) {
                Ok(part) => part,
                Err(error) => {
                    failed.get_or_insert(error);
                    break;
                }
            };
            match self.part(&part) {
                Ok(decoded) => frames.extend(decoded.into_frames()),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) if frames.is_empty() => Err(error),
            _ if frames.is_empty() => Ok(Decoded::Skipped(Skipped::Empty)),
            _ => Ok(Decoded::Frames(frames)),
        }
    }

    fn part(&self, part: &Part<'_>) -> Result<Decoded> {
        let (codec, known) = codec(self.kind, part.fourcc);
        let is_video = self.kind == MediaKind::Video;
        let packet = match part.packet_type {
            SEQUENCE_START => Packet::Config,
            CODED_FRAMES => Packet::Coded,
            CODED_FRAMES_X if is_video => Packet::Coded,
            SEQUENCE_END => Packet::End,
            METADATA => Packet::Metadata,
            MPEG2TS_SEQUENCE_START if is_video => {
                return Ok(Decoded::Skipped(Skipped::Mpeg2TsSequenceStart));
            }
            value => {
                return Err(Error::PacketType {
                    what: self.what,
                    value,
                });
            }
        };
        if part.data.is_empty() && packet != Packet::End {
            return Ok(Decoded::Skipped(Skipped::Empty));
        }
        if !known || packet == Packet::Metadata {
            return Ok(Decoded::Frame(self.as_received(codec, packet, part)));
        }
        let mut reader = Reader::new(part.data, self.what);
        let mut composition_ms = 0;
        if part.packet_type == CODED_FRAMES && has_composition_time(codec) {
            composition_ms = reader.i24()?;
        }
        let Some(payload) = packet.payload(&reader, self.body) else {
            return Ok(Decoded::Skipped(Skipped::Empty));
        };
        let frame = self.frame(codec, composition_ms, packet.flags(self.keyframe), payload);
        let pts_nanos = if packet == Packet::Coded {
            self.pts_nanos
        } else {
            0
        };
        Ok(Decoded::Frame(MediaFrame {
            track: part.track,
            pts_nanos,
            ..frame
        }))
    }

    /// The whole message or, if it has several tracks, a message with this track alone.
    fn as_received(&self, codec: CodecId, packet: Packet, part: &Part<'_>) -> MediaFrame {
        let payload = if part.alone {
            self.body.clone()
        } else {
            let first = self.first | multitrack_packet_type(self.kind);
            let types = (ONE_TRACK << 4) | part.packet_type;
            let [a, b, c, d] = part.fourcc;
            [&[first, types, a, b, c, d, part.track], part.data]
                .concat()
                .into()
        };
        let flags = packet.flags(self.keyframe) | FrameFlags::AS_RECEIVED;
        MediaFrame {
            track: part.track,
            ..self.frame(codec, 0, flags, payload)
        }
    }

    fn frame(
        &self,
        codec: CodecId,
        composition_ms: i32,
        flags: FrameFlags,
        payload: Bytes,
    ) -> MediaFrame {
        let dts_ms = self.time_ms;
        if self.kind == MediaKind::Audio {
            return MediaFrame::audio(codec, dts_ms, flags, payload);
        }
        let pts_ms = dts_ms.saturating_add(i64::from(composition_ms));
        MediaFrame::video(codec, dts_ms, pts_ms, flags, payload)
    }
}

impl<'a> Part<'a> {
    fn read(packet_type: u8, shared: Option<FourCc>, reader: &mut Reader<'a>) -> Result<Self> {
        let fourcc = match shared {
            Some(fourcc) => fourcc,
            None => reader.array()?,
        };
        let track = reader.u8()?;
        let size = reader.u24()? as usize;
        Ok(Self {
            packet_type,
            fourcc,
            track,
            data: reader.take(size)?,
            alone: false,
        })
    }
}
