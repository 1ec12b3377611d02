//! Decoder configuration records, as far as people and interfaces need them: codec, picture size,
//! sampling rate.

mod aac;
mod av1;
mod bits;
mod h264;
mod hevc;
mod mp3;
mod opus;

use std::fmt;

use livetrail_engine::{CodecId, MediaFrame};

pub use aac::AudioSpecificConfig;
pub use av1::Av1Config;
pub use h264::AvcConfig;
pub use hevc::HevcConfig;
pub use mp3::Mp3Header;
pub use opus::{OPUS_HZ, OpusConfig};

use crate::{error::Result, read::Reader};

/// A track's content according to its configuration. Displayed as `h264 1280x720` or `aac 48000
/// Hz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackInfo {
    /// The codec.
    pub codec: CodecId,
    /// Width and height of the picture in pixels, after cropping.
    pub picture: Option<(u32, u32)>,
    /// Samples per second.
    pub sample_rate_hz: Option<u32>,
    /// Audio channels.
    pub channels: Option<u8>,
}

impl TrackInfo {
    /// The information that a frame gives about its track. A configuration gives all its fields (of
    /// H.264, AAC and Opus), any other frame only its codec.
    ///
    /// # Errors
    /// A configuration that contradicts its specification.
    pub fn of(frame: &MediaFrame) -> Result<Self> {
        let mut info = Self {
            codec: frame.codec,
            picture: None,
            sample_rate_hz: None,
            channels: None,
        };
        if !frame.is_config() || frame.is_metadata() || frame.is_as_received() {
            return Ok(info);
        }
        match frame.codec {
            CodecId::H264 => info.picture = Some(AvcConfig::parse(&frame.payload)?.picture),
            CodecId::Aac => {
                let config = AudioSpecificConfig::parse(&frame.payload)?;
                info.sample_rate_hz = Some(config.sample_rate_hz);
                info.channels = Some(config.channels).filter(|channels| *channels > 0);
            }
            CodecId::Opus => {
                let mut reader = Reader::new(&frame.payload, "OpusHead");
                reader.take(9)?;
                info.channels = Some(reader.u8()?);
                // Opus always decodes to 48 kHz (RFC 7845 section 5.1).
                info.sample_rate_hz = Some(48_000);
            }
            _ => {}
        }
        Ok(info)
    }
}

impl fmt::Display for TrackInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.codec.label())?;
        if let Some((width, height)) = self.picture {
            write!(f, " {width}x{height}")?;
        }
        if let Some(hz) = self.sample_rate_hz {
            write!(f, " {hz} Hz")?;
        }
        match self.channels {
            None => Ok(()),
            Some(1) => f.write_str(" mono"),
            Some(2) => f.write_str(" stereo"),
            Some(channels) => write!(f, " {channels} channels"),
        }
    }
}

#[cfg(test)]
mod tests;
