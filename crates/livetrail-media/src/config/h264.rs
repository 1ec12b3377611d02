//! `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 5.3.3) and the part of the sequence
//! parameter set (H.264 section 7.3.2.1) that gives the picture's size.

use bytes::Bytes;

use super::bits::Bits;
use crate::{
    error::{Error, Result},
    read::Reader,
};

const RECORD: &str = "AVCDecoderConfigurationRecord";
const SPS: &str = "H.264 sequence parameter set";
const NAL_SPS: u8 = 7;
/// Profiles whose parameter set contains the chroma format.
const PROFILES_WITH_CHROMA: [u8; 13] =
    [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Profiles whose record repeats the chroma format and the depths.
const PROFILES_WITH_EXTENSION: [u8; 4] = [100, 110, 122, 144];
/// Level 6.2 allows 16,880 pixels (1,055 macroblocks) per side.
const MAX_MACROBLOCKS_A_SIDE: u32 = 1_055;
const MAX_REFERENCE_FRAMES_IN_CYCLE: u32 = 255;

/// The stream's properties in an H.264 configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvcConfig {
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub profile: u8,
    /// `profile_compatibility`, the constraint flags.
    pub compatibility: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub nal_length_bytes: u8,
    /// Width and height in pixels, after cropping.
    pub picture: (u32, u32),
}

impl AvcConfig {
    /// Reads the record and its first sequence parameter set.
    ///
    /// # Errors
    /// A record that is too short, contradicts its specification, or has no sequence parameter set.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, RECORD);
        let [version, profile, compatibility, level, lengths, sets] = reader.array()?;
        if version != 1 {
            return Err(Error::Config {
                what: RECORD,
                detail: "a version other than 1",
            });
        }
        if lengths & 3 == 2 {
            return Err(Error::Config {
                what: RECORD,
                detail: "NAL units with lengths of three bytes",
            });
        }
        if sets & 0x1f == 0 {
            return Err(Error::Config {
                what: RECORD,
                detail: "no sequence parameter set",
            });
        }
        let len = reader.u16()?;
        let picture = Sps::parse(reader.take(usize::from(len))?)?.picture;
        let nal_length_bytes = (lengths & 3).saturating_add(1);
        Ok(Self {
            profile,
            compatibility,
            level,
            nal_length_bytes,
            picture,
        })
    }

    /// Makes the record of parameter sets, for NAL units with lengths of four bytes.
    ///
    /// # Errors
    /// No parameter set of a kind, more than the record can count (31 and 255), one of more than
    /// 65,535 bytes, or an invalid first sequence parameter set.
    ///
    /// ```
    /// use livetrail_media::config::AvcConfig;
    ///
    /// # const SPS: &[u8] = b"\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\0\0\x03\0\x08\
    /// #     \0\0\x03\x01\x90\x78\xa1\x4c\xd0";
    /// # const PPS: &[u8] = b"\x68\xe9\x78\x44\xb2";
    /// let record = AvcConfig::encode(&[SPS], &[PPS])?;
    /// assert_eq!(AvcConfig::parse(&record)?.picture, (320, 180));
    /// # Ok::<(), livetrail_media::Error>(())
    /// ```
    pub fn encode<S: AsRef<[u8]>, P: AsRef<[u8]>>(sps: &[S], pps: &[P]) -> Result<Bytes> {
        let none = Error::Config {
            what: RECORD,
            detail: "expected at least one SPS and one PPS",
        };
        if pps.is_empty() {
            return Err(none);
        }
        let first = sps.first().ok_or(none)?.as_ref();
        let info = Sps::parse(first)?;
        let [_, profile, compatibility, level] = Reader::new(first, SPS).array()?;
        let mut out = vec![1, profile, compatibility, level, 0xff];
        out.push(0xe0 | count(sps.len(), 31)?);
        for set in sps {
            push_set(&mut out, set.as_ref())?;
        }
        out.push(count(pps.len(), 255)?);
        for set in pps {
            push_set(&mut out, set.as_ref())?;
        }
        if PROFILES_WITH_EXTENSION.contains(&profile) {
            out.extend([
                0xfc | info.chroma_format,
                0xf8 | info.luma,
                0xf8 | info.chroma,
                0,
            ]);
        }
        Ok(out.into())
    }
}

fn count(sets: usize, most: u8) -> Result<u8> {
    let count = u8::try_from(sets).ok().filter(|count| *count <= most);
    count.ok_or(Error::Config {
        what: RECORD,
        detail: "more parameter sets than the record can count",
    })
}

fn push_set(out: &mut Vec<u8>, set: &[u8]) -> Result<()> {
    let length = u16::try_from(set.len()).map_err(|_| Error::Config {
        what: RECORD,
        detail: "a parameter set of more than 65,535 bytes",
    })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(set);
    Ok(())
}

/// What a record needs of a sequence parameter set.
struct Sps {
    /// Width and height in pixels, after cropping.
    picture: (u32, u32),
    /// `chroma_format_idc`.
    chroma_format: u8,
    /// Bits of a sample beyond 8.
    luma: u8,
    chroma: u8,
}

impl Sps {
    fn parse(nal: &[u8]) -> Result<Self> {
        if nal.first().is_none_or(|header| header & 0x1f != NAL_SPS) {
            return Err(Error::Config {
                what: SPS,
                detail: "a NAL unit of another type",
            });
        }
        let rbsp = without_emulation_prevention(nal.get(1..).unwrap_or_default());
        let mut bits = Bits::new(&rbsp, SPS);
        let profile = bits.read(8)? as u8;
        bits.read(16)?;
        bits.unsigned()?;
        let (chroma, [chroma_format, luma, depth]) = if PROFILES_WITH_CHROMA.contains(&profile) {
            chroma(&mut bits)?
        } else {
            (Chroma::Yuv420, [1, 0, 0])
        };
        bits.unsigned()?;
        skip_picture_order(&mut bits)?;
        bits.unsigned()?;
        bits.flag()?;
        let width = macroblocks(bits.unsigned()?)?;
        let height = macroblocks(bits.unsigned()?)?;
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.flag()?;
        }
        bits.flag()?;
        let fields = if frames_only { 1 } else { 2 };
        let (step_x, step_y) = chroma.crop_steps();
        let mut size = (
            width.saturating_mul(16),
            height.saturating_mul(16).saturating_mul(fields),
        );
        if bits.flag()? {
            size.0 = crop(size.0, &mut bits, step_x)?;
            size.1 = crop(size.1, &mut bits, step_y.saturating_mul(fields))?;
        }
        Ok(Self {
            picture: size,
            chroma_format,
            luma,
            chroma: depth,
        })
    }
}

fn macroblocks(minus_1: u32) -> Result<u32> {
    if minus_1 >= MAX_MACROBLOCKS_A_SIDE {
        return Err(Error::Config {
            what: SPS,
            detail: "a picture larger than any level allows",
        });
    }
    Ok(minus_1.saturating_add(1))
}

fn crop(size: u32, bits: &mut Bits<'_>, step: u32) -> Result<u32> {
    let both = bits.unsigned()?.saturating_add(bits.unsigned()?);
    size.checked_sub(both.saturating_mul(step))
        .filter(|size| *size > 0)
        .ok_or(Error::Config {
            what: SPS,
            detail: "the cropping exceeds the picture",
        })
}

#[derive(Clone, Copy)]
enum Chroma {
    Monochrome,
    Yuv420,
    Yuv422,
    Yuv444,
}

impl Chroma {
    /// Pixels per cropping unit, horizontally and vertically (table 6-1).
    fn crop_steps(self) -> (u32, u32) {
        match self {
            Self::Yuv420 => (2, 2),
            Self::Yuv422 => (2, 1),
            Self::Monochrome | Self::Yuv444 => (1, 1),
        }
    }
}

/// The chroma format, and the three fields of it that a record repeats.
fn chroma(bits: &mut Bits<'_>) -> Result<(Chroma, [u8; 3])> {
    let format = bits.unsigned()?;
    let (mut chroma, lists) = match format {
        0 => (Chroma::Monochrome, 8),
        1 => (Chroma::Yuv420, 8),
        2 => (Chroma::Yuv422, 8),
        3 => (Chroma::Yuv444, 12),
        _ => {
            return Err(Error::Config {
                what: SPS,
                detail: "a reserved chroma format",
            });
        }
    };
    if matches!(chroma, Chroma::Yuv444) && bits.flag()? {
        // Three separately coded planes are cropped like one.
        chroma = Chroma::Monochrome;
    }
    let depths = [depth(bits)?, depth(bits)?];
    bits.flag()?;
    if bits.flag()? {
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    let [luma, depth] = depths;
    Ok((chroma, [format as u8, luma, depth]))
}

/// Bits of a sample beyond 8.
fn depth(bits: &mut Bits<'_>) -> Result<u8> {
    match bits.unsigned()? {
        more @ 0..=6 => Ok(more as u8),
        _ => Err(Error::Config {
            what: SPS,
            detail: "samples of more than 14 bits",
        }),
    }
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<()> {
    let mut last = 8i32;
    for _ in 0..size {
        let next = last.saturating_add(bits.signed()?).rem_euclid(256);
        if next == 0 {
            return Ok(());
        }
        last = next;
    }
    Ok(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Result<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.flag()?;
            bits.signed()?;
            bits.signed()?;
            let count = bits.unsigned()?;
            if count > MAX_REFERENCE_FRAMES_IN_CYCLE {
                return Err(Error::Config {
                    what: SPS,
                    detail: "more than 255 frames in a picture order cycle",
                });
            }
            for _ in 0..count {
                bits.signed()?;
            }
        }
        2 => {}
        _ => {
            return Err(Error::Config {
                what: SPS,
                detail: "a reserved picture order count type",
            });
        }
    }
    Ok(())
}

/// Drops the 3 of each 00 00 03 (section 7.4.1).
pub(super) fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0u8;
    for byte in nal {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 {
            zeros.saturating_add(1)
        } else {
            0
        };
        out.push(*byte);
    }
    out
}
