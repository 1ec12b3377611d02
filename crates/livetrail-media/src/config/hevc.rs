//! `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 8.3.3) and the part of the sequence
//! parameter set (H.265 section 7.3.2.2) that gives the picture's size.

use super::{bits::Bits, h264::without_emulation_prevention};
use crate::{
    error::{Error, Result},
    read::Reader,
};

const RECORD: &str = "HEVCDecoderConfigurationRecord";
const SPS: &str = "H.265 sequence parameter set";
const NAL_SPS: u8 = 33;
/// Level 6.2 allows 16,888 pixels per side, 8.5 has no limit. Larger pictures are not video.
const MAX_SIDE: u32 = 65_535;

/// The stream's properties in an H.265 configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HevcConfig {
    /// `general_profile_space`: 0 to 3.
    pub profile_space: u8,
    /// `general_tier_flag`: the high tier.
    pub high_tier: bool,
    /// `general_profile_idc`: 1 main, 2 main 10.
    pub profile: u8,
    /// `general_profile_compatibility_flags`, the first flag in the highest bit.
    pub compatibility: u32,
    /// `general_constraint_indicator_flags`, in their order.
    pub constraints: [u8; 6],
    /// `general_level_idc`: 30 times the level.
    pub level: u8,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub nal_length_bytes: u8,
    /// Width and height in pixels, after cropping.
    pub picture: (u32, u32),
}

impl HevcConfig {
    /// Reads the record and its first sequence parameter set.
    ///
    /// # Errors
    /// A record that is too short, contradicts its specification, or has no sequence parameter set.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, RECORD);
        let refused = |detail| Error::Config {
            what: RECORD,
            detail,
        };
        let [version, profile] = reader.array()?;
        if version != 1 {
            return Err(refused("a version other than 1"));
        }
        let compatibility = reader.u32()?;
        let constraints = reader.array()?;
        let level = reader.u8()?;
        reader.take(8)?;
        let lengths = reader.u8()? & 3;
        if lengths == 2 {
            return Err(refused("NAL units with lengths of three bytes"));
        }
        let mut picture = None;
        for_each_set(&mut reader, |kind, unit| {
            if kind == NAL_SPS && picture.is_none() {
                picture = Some(picture_of(unit)?);
            }
            Ok(())
        })?;
        Ok(Self {
            profile_space: profile >> 6,
            high_tier: profile & 0x20 != 0,
            profile: profile & 0x1f,
            compatibility,
            constraints,
            level,
            nal_length_bytes: lengths.saturating_add(1),
            picture: picture.ok_or(refused("no sequence parameter set"))?,
        })
    }

    /// The parameter sets of a record in their order, each with a start code.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parameter_sets(bytes: &[u8]) -> Result<Vec<u8>> {
        Self::parse(bytes)?;
        let mut reader = Reader::new(bytes, RECORD);
        reader.take(22)?;
        let mut out = Vec::new();
        for_each_set(&mut reader, |_, unit| {
            out.extend_from_slice(&[0, 0, 0, 1]);
            out.extend_from_slice(unit);
            Ok(())
        })?;
        Ok(out)
    }
}

/// Calls `each` with the type and the bytes of every NAL unit of the record.
fn for_each_set(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(u8, &[u8]) -> Result<()>,
) -> Result<()> {
    for _ in 0..reader.u8()? {
        let kind = reader.u8()? & 0x3f;
        for _ in 0..reader.u16()? {
            let length = usize::from(reader.u16()?);
            each(kind, reader.take(length)?)?;
        }
    }
    Ok(())
}

/// Width and height after cropping.
fn picture_of(nal: &[u8]) -> Result<(u32, u32)> {
    let refused = |detail| Error::Config { what: SPS, detail };
    let rbsp = without_emulation_prevention(nal.get(2..).unwrap_or_default());
    let mut bits = Bits::new(&rbsp, SPS);
    bits.read(4)?;
    let sub_layers = bits.read(3)?;
    bits.flag()?;
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.unsigned()?;
    let (step_x, step_y) = match bits.unsigned()? {
        0 => (1, 1),
        1 => (2, 2),
        2 => (2, 1),
        3 => {
            bits.flag()?;
            (1, 1)
        }
        _ => return Err(refused("a reserved chroma format")),
    };
    let mut size = [bits.unsigned()?, bits.unsigned()?];
    if size.iter().any(|side| *side > MAX_SIDE) {
        return Err(refused("a picture larger than any level allows"));
    }
    if bits.flag()? {
        for (side, step) in size.iter_mut().zip([step_x, step_y]) {
            let both = bits.unsigned()?.saturating_add(bits.unsigned()?);
            *side = side.saturating_sub(both.saturating_mul(step));
        }
    }
    match size {
        [0, _] | [_, 0] => Err(refused("the cropping exceeds the picture")),
        [width, height] => Ok((width, height)),
    }
}

/// `profile_tier_level(1, sub_layers)`, section 7.3.3.
fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Result<()> {
    bits.skip(96)?;
    let mut present = [(false, false); 8];
    for layer in present.iter_mut().take(sub_layers as usize) {
        *layer = (bits.flag()?, bits.flag()?);
    }
    if sub_layers > 0 {
        bits.skip(8_u32.saturating_sub(sub_layers).saturating_mul(2))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 })?;
        bits.skip(if level { 8 } else { 0 })?;
    }
    Ok(())
}
