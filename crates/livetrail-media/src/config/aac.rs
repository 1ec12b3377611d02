//! `AudioSpecificConfig` (ISO/IEC 14496-3 section 1.6.2.1).

use bytes::Bytes;

use super::bits::Bits;
use crate::error::{Error, Result};

const WHAT: &str = "AudioSpecificConfig";
const SAMPLE_RATES_HZ: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// The beginning of an AAC decoder configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// 2 for AAC-LC, 5 for HE-AAC, 29 for HE-AAC v2.
    pub object_type: u8,
    /// Samples per second; with HE-AAC the extension's rate, which is the output rate.
    pub sample_rate_hz: u32,
    /// Channels; 0 when a program config element defines them.
    pub channels: u8,
    /// Samples of a frame at `sample_rate_hz`: 1,024 or 960, with HE-AAC twice as many.
    pub samples_per_frame: u32,
    /// The first three bytes of an ADTS header without the number of bytes, if ADTS has a code for
    /// profile, rate and channels.
    adts: Option<[u8; 3]>,
}

impl AudioSpecificConfig {
    /// Reads the record, and ignores everything after its fields.
    ///
    /// # Errors
    /// A record that is too short, or has a reserved sampling rate or channel configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut bits = Bits::new(bytes, WHAT);
        let object_type = object_type(&mut bits)?;
        let mut sample_rate_hz = sample_rate(&mut bits)?;
        let core_hz = sample_rate_hz;
        let configuration = bits.read(4)? as u8;
        let channels = match configuration {
            7 => 8,
            11 => 7,
            12 | 14 => 8,
            0..=6 => configuration,
            _ => {
                return Err(Error::Config {
                    what: WHAT,
                    detail: "a reserved channel configuration",
                });
            }
        };
        let mut core_type = object_type;
        let is_he = matches!(object_type, 5 | 29);
        if is_he {
            sample_rate_hz = sample_rate(&mut bits)?;
            // A short record, which decoders accept, leaves the usual core open.
            core_type = self::object_type(&mut bits).unwrap_or(2);
        }
        let is_short = bits.flag().unwrap_or(false);
        let core_samples = match (core_type, is_short) {
            (23, false) => 512,
            (23, true) => 480,
            (_, false) => 1_024,
            (_, true) => 960,
        };
        Ok(Self {
            object_type,
            sample_rate_hz,
            channels,
            samples_per_frame: if is_he && sample_rate_hz > core_hz {
                core_samples << 1
            } else {
                core_samples
            },
            adts: adts(core_type, core_hz, configuration),
        })
    }

    /// The ADTS header (ISO/IEC 13818-7 section 6.2) of a frame of `bytes` bytes; `None` if ADTS
    /// has no code for the configuration, or if the frame has more than 8,184 bytes.
    ///
    /// ```
    /// use livetrail_media::config::AudioSpecificConfig;
    ///
    /// let config = AudioSpecificConfig::parse(&[0x12, 0x10])?;
    /// assert_eq!(config.adts(100), Some([0xff, 0xf1, 0x50, 0x80, 0x0d, 0x7f, 0xfc]));
    /// # Ok::<(), livetrail_media::Error>(())
    /// ```
    #[must_use]
    pub fn adts(&self, bytes: usize) -> Option<[u8; 7]> {
        let [profile, rate, channels] = self.adts?;
        let length = u16::try_from(bytes.checked_add(7)?).ok()?;
        if length >= 1 << 13 {
            return None;
        }
        Some([
            0xff,
            0xf1,
            (profile << 6) | (rate << 2) | (channels >> 2),
            // The length's 13 bits: two here, eight in the next byte, three after it.
            (channels << 6) | (length >> 11) as u8,
            (length >> 3) as u8,
            ((length & 7) as u8) << 5 | 0x1f,
            0xfc,
        ])
    }

    /// Makes the record of AAC-LC with frames of 1,024 samples.
    ///
    /// # Errors
    /// More than 7 channels but not 8, no channel, or a rate above 16,777,215 Hz.
    ///
    /// ```
    /// use livetrail_media::config::AudioSpecificConfig;
    ///
    /// assert_eq!(AudioSpecificConfig::encode_lc(44_100, 2)?[..], [0x12, 0x10]);
    /// # Ok::<(), livetrail_media::Error>(())
    /// ```
    pub fn encode_lc(sample_rate_hz: u32, channels: u8) -> Result<Bytes> {
        let refused = |detail| Error::Config { what: WHAT, detail };
        let configuration = match channels {
            1..=6 => u64::from(channels),
            8 => 7,
            _ => return Err(refused("a number of channels without a configuration")),
        };
        if sample_rate_hz >= 1 << 24 {
            return Err(refused("a sampling rate of more than 24 bits"));
        }
        // Type (5 bits), rate (4 bits, or 15 and 24 bits), channels (4 bits), three flags.
        let mut index = (0_u64..).zip(SAMPLE_RATES_HZ);
        let known = index.find(|(_, rate)| *rate == sample_rate_hz);
        Ok(match known {
            Some((index, _)) => {
                let bits = (2 << 11) | (index << 7) | (configuration << 3);
                Bytes::copy_from_slice(bits.to_be_bytes().get(6..).unwrap_or_default())
            }
            None => {
                let rate = u64::from(sample_rate_hz);
                let bits = (2 << 35) | (15 << 31) | (rate << 7) | (configuration << 3);
                Bytes::copy_from_slice(bits.to_be_bytes().get(3..).unwrap_or_default())
            }
        })
    }
}

/// Profile, index of the rate, and channel configuration, if ADTS has a code for each.
fn adts(core_type: u8, core_hz: u32, configuration: u8) -> Option<[u8; 3]> {
    let profile = core_type.checked_sub(1).filter(|profile| *profile < 4)?;
    let index = SAMPLE_RATES_HZ.iter().position(|hz| *hz == core_hz)?;
    let is_coded = matches!(configuration, 1..=7);
    is_coded.then_some([profile, u8::try_from(index).ok()?, configuration])
}

fn object_type(bits: &mut Bits<'_>) -> Result<u8> {
    match bits.read(5)? {
        31 => Ok((bits.read(6)? as u8).saturating_add(32)),
        object_type => Ok(object_type as u8),
    }
}

fn sample_rate(bits: &mut Bits<'_>) -> Result<u32> {
    match bits.read(4)? as usize {
        15 => bits.read(24),
        index => SAMPLE_RATES_HZ.get(index).copied().ok_or(Error::Config {
            what: WHAT,
            detail: "a reserved sampling rate",
        }),
    }
}
