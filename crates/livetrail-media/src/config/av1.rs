//! `AV1CodecConfigurationRecord` (AV1 in ISOBMFF section 2.3.3) and the part of the sequence header
//! (AV1 section 5.5) that gives the picture's size.

use super::bits::Bits;
use crate::{
    error::{Error, Result},
    read::Reader,
};

const RECORD: &str = "AV1CodecConfigurationRecord";
const SEQUENCE: &str = "AV1 sequence header";
const OBU_SEQUENCE_HEADER: u8 = 1;
/// The maximum number of OBUs that are read in a record.
const MAX_OBUS: usize = 64;

/// The stream's properties in an AV1 configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Av1Config {
    /// `seq_profile`: 0 main, 1 high, 2 professional.
    pub profile: u8,
    /// `seq_level_idx_0`: 0 for level 2.0, 8 for 4.0, 31 for no level.
    pub level: u8,
    /// `seq_tier_0`: the high tier.
    pub high_tier: bool,
    /// Bits of a sample: 8, 10 or 12.
    pub depth: u8,
    /// Maximum width and height in pixels, if the record has a sequence header.
    pub picture: Option<(u32, u32)>,
}

impl Av1Config {
    /// Reads the record and its sequence header.
    ///
    /// # Errors
    /// A record that is too short, has another version, or has an invalid sequence header.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, RECORD);
        let [version, profile, flags, _] = reader.array()?;
        if version != 0x81 {
            return Err(Error::Config {
                what: RECORD,
                detail: "a version other than 1",
            });
        }
        let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
            (false, _) => 8,
            (true, false) => 10,
            (true, true) => 12,
        };
        Ok(Self {
            profile: profile >> 5,
            level: profile & 0x1f,
            high_tier: flags & 0x80 != 0,
            depth,
            picture: sequence_header(&mut reader)?.map(picture_of).transpose()?,
        })
    }
}

/// The content of the first sequence header.
fn sequence_header<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    for _ in 0..MAX_OBUS {
        if reader.is_empty() {
            break;
        }
        let header = reader.u8()?;
        if header & 4 != 0 {
            reader.u8()?;
        }
        let size = if header & 2 != 0 {
            leb128(reader)?
        } else {
            reader.rest().len()
        };
        let content = reader.take(size)?;
        if (header >> 3) & 15 == OBU_SEQUENCE_HEADER {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// `leb128()`, section 4.10.5, of up to 32 bits.
fn leb128(reader: &mut Reader<'_>) -> Result<usize> {
    let mut value = 0_u64;
    for at in 0..8_u32 {
        let byte = reader.u8()?;
        value |= u64::from(byte & 0x7f) << at.saturating_mul(7);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let value = u32::try_from(value).map_err(|_| Error::Config {
        what: RECORD,
        detail: "an OBU of 4 GiB or more",
    })?;
    Ok(value as usize)
}

fn picture_of(header: &[u8]) -> Result<(u32, u32)> {
    let mut bits = Bits::new(header, SEQUENCE);
    bits.skip(4)?;
    if bits.flag()? {
        bits.skip(5)?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = bits.read(4)?.saturating_add(1);
    let height_bits = bits.read(4)?.saturating_add(1);
    let width = bits.read(width_bits)?.saturating_add(1);
    let height = bits.read(height_bits)?.saturating_add(1);
    Ok((width, height))
}

fn skip_operating_points(bits: &mut Bits<'_>) -> Result<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            bits.unsigned()?;
        }
        if bits.flag()? {
            delay_bits = Some(bits.read(5)?.saturating_add(1));
            bits.skip(42)?;
        }
    }
    let has_display_delay = bits.flag()?;
    for _ in 0..=bits.read(5)? {
        bits.skip(12)?;
        if bits.read(5)? > 7 {
            bits.flag()?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(delay_bits.saturating_mul(2).saturating_add(1))?;
        }
        if has_display_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Ok(())
}
