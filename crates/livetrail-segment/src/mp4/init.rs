//! Init segments: `ftyp` and `moov` of one track.

use bytes::Bytes;

use super::{put_box, put_full_box, put_u16, put_u32, put_zeros};
use crate::{
    event::Track,
    format::{Coding, Format},
};

const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
const UNDETERMINED_LANGUAGE: u16 = 0x55c4;

/// The init segment of a track.
pub(crate) fn init(format: &Format) -> Bytes {
    let mut out = Vec::with_capacity(format.config.len().saturating_add(1_024));
    put_box(&mut out, b"ftyp", |out| {
        out.extend_from_slice(b"iso6\0\0\0\0iso6cmfc");
        if matches!(format.coding, Coding::Av1) {
            out.extend_from_slice(b"av01");
        }
    });
    put_box(&mut out, b"moov", |out| {
        put_full_box(out, b"mvhd", 0, 0, |out| {
            put_zeros(out, 8);
            put_u32(out, format.hz);
            put_u32(out, 0);
            put_u32(out, 0x1_0000);
            put_u16(out, 0x100);
            put_zeros(out, 10);
            MATRIX.iter().for_each(|value| put_u32(out, *value));
            put_zeros(out, 24);
            put_u32(out, 2);
        });
        put_box(out, b"trak", |out| {
            track_header(out, format);
            put_box(out, b"mdia", |out| media(out, format));
        });
        put_box(out, b"mvex", |out| {
            put_full_box(out, b"trex", 0, 0, |out| {
                [1, 1, 0, 0, 0]
                    .into_iter()
                    .for_each(|value| put_u32(out, value));
            });
        });
    });
    out.into()
}

fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}

fn track_header(out: &mut Vec<u8>, format: &Format) {
    let (width, height) = format.picture.unwrap_or_default();
    // Enabled, and in the presentation.
    put_full_box(out, b"tkhd", 0, 3, |out| {
        put_zeros(out, 8);
        put_u32(out, 1);
        put_zeros(out, 16);
        // Layer and alternate group.
        put_zeros(out, 4);
        let is_audio = format.track() == Track::Audio;
        put_u16(out, if is_audio { 0x100 } else { 0 });
        put_u16(out, 0);
        MATRIX.iter().for_each(|value| put_u32(out, *value));
        put_u32(out, u32::from(side(width)) << 16);
        put_u32(out, u32::from(side(height)) << 16);
    });
}

fn media(out: &mut Vec<u8>, format: &Format) {
    put_full_box(out, b"mdhd", 0, 0, |out| {
        put_zeros(out, 8);
        put_u32(out, format.hz);
        put_u32(out, 0);
        put_u16(out, UNDETERMINED_LANGUAGE);
        put_u16(out, 0);
    });
    put_full_box(out, b"hdlr", 0, 0, |out| {
        put_u32(out, 0);
        out.extend_from_slice(match format.track() {
            Track::Video => b"vide",
            Track::Audio => b"soun",
        });
        put_zeros(out, 12);
        out.extend_from_slice(b"Livetrail\0");
    });
    put_box(out, b"minf", |out| {
        match format.track() {
            Track::Video => put_full_box(out, b"vmhd", 0, 1, |out| put_zeros(out, 8)),
            Track::Audio => put_full_box(out, b"smhd", 0, 0, |out| put_zeros(out, 4)),
        }
        put_box(out, b"dinf", |out| {
            put_full_box(out, b"dref", 0, 0, |out| {
                put_u32(out, 1);
                // The media is in this file.
                put_full_box(out, b"url ", 0, 1, |_| {});
            });
        });
        put_box(out, b"stbl", |out| {
            put_full_box(out, b"stsd", 0, 0, |out| {
                put_u32(out, 1);
                sample_entry(out, format);
            });
            for kind in [b"stts", b"stsc", b"stco"] {
                put_full_box(out, kind, 0, 0, |out| put_u32(out, 0));
            }
            put_full_box(out, b"stsz", 0, 0, |out| put_zeros(out, 8));
        });
    });
}

fn sample_entry(out: &mut Vec<u8>, format: &Format) {
    let config = &format.config;
    let configuration = |out: &mut Vec<u8>, kind| {
        put_box(out, kind, |out| out.extend_from_slice(config));
    };
    match &format.coding {
        Coding::Avc(..) => visual(out, b"avc1", format, |out| configuration(out, b"avcC")),
        Coding::Hevc(..) => visual(out, b"hvc1", format, |out| configuration(out, b"hvcC")),
        Coding::Av1 => visual(out, b"av01", format, |out| configuration(out, b"av1C")),
        Coding::Aac(_) => audio(out, b"mp4a", format, |out| {
            elementary_stream(out, 0x40, config);
        }),
        Coding::Mp3(header) => audio(out, b"mp4a", format, |out| {
            elementary_stream(out, if header.is_mpeg_1 { 0x6b } else { 0x69 }, &[]);
        }),
        Coding::Opus(head) => audio(out, b"Opus", format, |out| {
            // Opus in ISOBMFF section 4.3.2: as OpusHead, but big-endian and of version 0.
            put_box(out, b"dOps", |out| {
                out.extend_from_slice(&[0, head.channels]);
                put_u16(out, head.pre_skip);
                put_u32(out, head.input_hz);
                out.extend_from_slice(&head.gain.to_be_bytes());
                out.push(head.mapping.0);
                out.extend_from_slice(&head.mapping.1);
            });
        }),
    }
}

fn visual(out: &mut Vec<u8>, kind: &[u8; 4], format: &Format, more: impl FnOnce(&mut Vec<u8>)) {
    let (width, height) = format.picture.unwrap_or_default();
    put_box(out, kind, |out| {
        put_zeros(out, 6);
        put_u16(out, 1);
        put_zeros(out, 16);
        put_u16(out, side(width));
        put_u16(out, side(height));
        // 72 dots per inch, both ways.
        put_u32(out, 0x48_0000);
        put_u32(out, 0x48_0000);
        put_u32(out, 0);
        put_u16(out, 1);
        put_zeros(out, 32);
        put_u16(out, 24);
        put_u16(out, u16::MAX);
        more(out);
    });
}

fn audio(out: &mut Vec<u8>, kind: &[u8; 4], format: &Format, more: impl FnOnce(&mut Vec<u8>)) {
    put_box(out, kind, |out| {
        put_zeros(out, 6);
        put_u16(out, 1);
        put_zeros(out, 8);
        put_u16(out, u16::from(format.channels.unwrap_or(2)));
        put_u16(out, 16);
        put_u32(out, 0);
        // 16.16 bits; 0 if the rate does not fit.
        put_u32(out, u32::from(u16::try_from(format.hz).unwrap_or(0)) << 16);
        more(out);
    });
}

/// `esds` (ISO/IEC 14496-1 section 7.2.6): an object type, and its decoder's configuration.
fn elementary_stream(out: &mut Vec<u8>, object_type: u8, config: &[u8]) {
    let specific = if config.is_empty() {
        0
    } else {
        config.len().saturating_add(5)
    };
    put_full_box(out, b"esds", 0, 0, |out| {
        put_descriptor(out, 3, specific.saturating_add(3 + 5 + 13 + 5 + 1));
        out.extend_from_slice(&[0, 1, 0]);
        put_descriptor(out, 4, specific.saturating_add(13));
        // An audio stream; its buffer and rates are unknown.
        out.extend_from_slice(&[object_type, 0x15]);
        put_zeros(out, 11);
        if !config.is_empty() {
            put_descriptor(out, 5, config.len());
            out.extend_from_slice(config);
        }
        put_descriptor(out, 6, 1);
        out.push(2);
    });
}

/// A descriptor's tag and length, in five bytes; the length has up to 28 bits.
fn put_descriptor(out: &mut Vec<u8>, tag: u8, length: usize) {
    let part = |shift: u32| ((length >> shift) & 0x7f) as u8;
    out.extend_from_slice(&[
        tag,
        part(21) | 0x80,
        part(14) | 0x80,
        part(7) | 0x80,
        part(0),
    ]);
}
