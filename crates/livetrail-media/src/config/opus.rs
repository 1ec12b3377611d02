//! `OpusHead` (RFC 7845 section 5.1) and the duration of a packet (RFC 6716 section 3.1).

use crate::{
    error::{Error, Result},
    read::Reader,
};

const HEAD: &str = "OpusHead";
const PACKET: &str = "Opus packet";
/// Samples per second: Opus always decodes to this rate (RFC 7845 section 5.1).
pub const OPUS_HZ: u32 = 48_000;
/// The longest packet, 120 ms.
const MAX_SAMPLES: u32 = 5_760;

/// The stream's properties in an Opus configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpusConfig {
    /// Output channels, at least 1.
    pub channels: u8,
    /// Samples at 48 kHz that a decoder drops at the start.
    pub pre_skip: u16,
    /// The rate of the input before encoding, for display; 0 if unknown.
    pub input_hz: u32,
    /// Gain in 1/256 dB that a decoder applies.
    pub gain: i16,
    /// The channel mapping family, and its table if the family has one.
    pub mapping: (u8, Vec<u8>),
}

impl OpusConfig {
    /// Reads the header.
    ///
    /// # Errors
    /// A header that is too short, has another signature or version, or no channels.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let refused = |detail| Error::Config { what: HEAD, detail };
        let mut reader = Reader::new(bytes, HEAD);
        if &reader.array::<8>()? != b"OpusHead" {
            return Err(refused("another signature"));
        }
        let [version, channels] = reader.array()?;
        if version & 0xf0 != 0 {
            return Err(refused("an incompatible version"));
        }
        if channels == 0 {
            return Err(refused("no channels"));
        }
        let pre_skip = u16::from_le_bytes(reader.array()?);
        let input_hz = u32::from_le_bytes(reader.array()?);
        let gain = i16::from_le_bytes(reader.array()?);
        let family = reader.u8()?;
        let table = match family {
            0 if channels > 2 => return Err(refused("more than two channels without a table")),
            0 => Vec::new(),
            _ => reader
                .take(usize::from(channels).saturating_add(2))?
                .to_vec(),
        };
        Ok(Self {
            channels,
            pre_skip,
            input_hz,
            gain,
            mapping: (family, table),
        })
    }

    /// Samples at 48 kHz in a packet, up to 5,760.
    ///
    /// # Errors
    /// An empty packet, one that does not say its number of frames, or one of more than 120 ms.
    ///
    /// ```
    /// use livetrail_media::config::OpusConfig;
    ///
    /// // One CELT frame of 20 ms.
    /// assert_eq!(OpusConfig::samples(&[0xfc, 0xff])?, 960);
    /// # Ok::<(), livetrail_media::Error>(())
    /// ```
    pub fn samples(packet: &[u8]) -> Result<u32> {
        let mut reader = Reader::new(packet, PACKET);
        let first = reader.u8()?;
        let size = match (first >> 3, (first >> 3) & 3) {
            (0..=11, size @ 0..=2) => 480_u32 << size,
            (0..=11, _) => 2_880,
            (12..=15, size) => 480 << (size & 1),
            (_, size) => 120 << size,
        };
        let frames = match first & 3 {
            0 => 1,
            1 | 2 => 2,
            _ => u32::from(reader.u8()? & 0x3f),
        };
        let samples = size.saturating_mul(frames);
        if samples == 0 || samples > MAX_SAMPLES {
            return Err(Error::Config {
                what: PACKET,
                detail: "no frames, or more than 120 ms",
            });
        }
        Ok(samples)
    }
}
