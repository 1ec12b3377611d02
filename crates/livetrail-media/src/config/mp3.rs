//! The header of an MPEG audio frame (ISO/IEC 11172-3 section 2.4.1.3).

use crate::{
    error::{Error, Result},
    read::Reader,
};

const WHAT: &str = "MP3 frame header";
const MPEG_1_HZ: [u32; 3] = [44_100, 48_000, 32_000];

/// A layer III frame's properties. MP3 has no other configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mp3Header {
    /// Samples per second.
    pub sample_rate_hz: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples of the frame: 1,152, or 576 in MPEG-2.
    pub samples: u32,
    /// Whether it is MPEG-1, and not MPEG-2 or 2.5.
    pub is_mpeg_1: bool,
}

impl Mp3Header {
    /// Reads the header at the begin of a frame.
    ///
    /// # Errors
    /// Fewer than four bytes, no synchronisation word, another layer, or a reserved rate.
    pub fn parse(frame: &[u8]) -> Result<Self> {
        let refused = |detail| Error::Config { what: WHAT, detail };
        let [sync, kind, rate, mode] = Reader::new(frame, WHAT).array()?;
        if sync != 0xff || kind & 0xe0 != 0xe0 {
            return Err(refused("no synchronisation word"));
        }
        if kind & 0x06 != 0x02 {
            return Err(refused("a layer other than III"));
        }
        let index = usize::from((rate >> 2) & 3);
        let hz = MPEG_1_HZ.get(index).copied();
        let hz = hz.ok_or(refused("a reserved sampling rate"))?;
        let (shift, samples, is_mpeg_1) = match (kind >> 3) & 3 {
            3 => (0, 1_152, true),
            2 => (1, 576, false),
            0 => (2, 576, false),
            _ => return Err(refused("a reserved version")),
        };
        Ok(Self {
            sample_rate_hz: hz >> shift,
            channels: if mode >> 6 == 3 { 1 } else { 2 },
            samples,
            is_mpeg_1,
        })
    }
}
