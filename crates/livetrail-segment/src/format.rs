//! A track's format: what its decoder configuration says, as far as containers and playlists need
//! it.

use std::fmt::Write as _;

use bytes::Bytes;
use livetrail_engine::{CodecId, MediaFrame};
use livetrail_media::{
    Error, Result, annexb,
    config::{
        AudioSpecificConfig, Av1Config, AvcConfig, HevcConfig, Mp3Header, OPUS_HZ, OpusConfig,
    },
};

use crate::{event::Track, options::Container, time::LINE_HZ};

/// The maximum size of a decoder configuration in bytes.
const MAX_CONFIG: usize = 64 << 10;

/// The maximum size of an AAC frame in bytes, which is that of ADTS.
const MAX_AAC: usize = 8_184;

/// The sampling rates of AAC that players support.
const AAC_HZ: std::ops::RangeInclusive<u32> = 7_350..=192_000;

/// How the frames of a track are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coding {
    /// H.264, with the parameter sets with start codes, and the bytes of a NAL unit's length.
    Avc(Bytes, u8),
    /// H.265, likewise.
    Hevc(Bytes, u8),
    Av1,
    Aac(AudioSpecificConfig),
    Opus(OpusConfig),
    Mp3(Mp3Header),
}

/// A track's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) codec: CodecId,
    /// The configuration as it came; empty for MP3.
    pub(crate) config: Bytes,
    pub(crate) coding: Coding,
    /// Ticks per second of the track: of audio its sampling rate.
    pub(crate) hz: u32,
    /// For `CODECS` (RFC 6381).
    pub(crate) codecs: String,
    pub(crate) picture: Option<(u32, u32)>,
    pub(crate) channels: Option<u8>,
}

/// Whether the container has a form for the codec.
pub(crate) fn supports(container: Container, codec: CodecId) -> bool {
    match codec {
        CodecId::H264 | CodecId::H265 | CodecId::Aac | CodecId::Mp3 => true,
        CodecId::Av1 | CodecId::Opus => container == Container::Cmaf,
        _ => false,
    }
}

impl Format {
    /// The format of a configuration, or of a frame of MP3.
    pub(crate) fn of(frame: &MediaFrame, container: Container) -> Result<Self> {
        let bytes = &frame.payload;
        if frame.is_config() && bytes.len() > MAX_CONFIG {
            return Err(refused("more than 64 KiB"));
        }
        match frame.codec {
            CodecId::H264 => Self::avc(frame),
            CodecId::H265 => Self::hevc(frame),
            CodecId::Av1 => {
                let config = Av1Config::parse(bytes)?;
                let tier = if config.high_tier { 'H' } else { 'M' };
                let (profile, level, depth) = (config.profile, config.level, config.depth);
                let codecs = format!("av01.{profile}.{level:02}{tier}.{depth:02}");
                Ok(Self::video(frame, Coding::Av1, codecs, config.picture))
            }
            CodecId::Aac => {
                let config = AudioSpecificConfig::parse(bytes)?;
                if !AAC_HZ.contains(&config.sample_rate_hz) {
                    return Err(refused("a sampling rate that no player supports"));
                }
                if container == Container::MpegTs && config.adts(0).is_none() {
                    return Err(refused("AAC that has no form in MPEG-TS"));
                }
                let codecs = format!("mp4a.40.{}", config.object_type);
                let (hz, channels) = (config.sample_rate_hz, config.channels);
                Ok(Self::audio(
                    frame,
                    Coding::Aac(config),
                    codecs,
                    hz,
                    channels,
                ))
            }
            CodecId::Opus => {
                let config = OpusConfig::parse(bytes)?;
                let channels = config.channels;
                let coding = Coding::Opus(config);
                Ok(Self::audio(frame, coding, "opus".into(), OPUS_HZ, channels))
            }
            CodecId::Mp3 => {
                let header = Mp3Header::parse(bytes)?;
                let (hz, channels) = (header.sample_rate_hz, header.channels);
                let codecs = "mp4a.40.34".into();
                let format = Self::audio(frame, Coding::Mp3(header), codecs, hz, channels);
                Ok(Self {
                    config: Bytes::new(),
                    ..format
                })
            }
            _ => Err(refused("a codec without a form in the container")),
        }
    }

    fn avc(frame: &MediaFrame) -> Result<Self> {
        let config = AvcConfig::parse(&frame.payload)?;
        let sets = annexb::parameter_sets(&frame.payload)?.into();
        let (profile, compatibility) = (config.profile, config.compatibility);
        let codecs = format!("avc1.{profile:02x}{compatibility:02x}{:02x}", config.level);
        let coding = Coding::Avc(sets, config.nal_length_bytes);
        Ok(Self::video(frame, coding, codecs, Some(config.picture)))
    }

    /// The codec string is that of ISO/IEC 14496-15 annex E.3.
    fn hevc(frame: &MediaFrame) -> Result<Self> {
        let config = HevcConfig::parse(&frame.payload)?;
        let sets = HevcConfig::parameter_sets(&frame.payload)?.into();
        let space = ["", "A", "B", "C"].get(usize::from(config.profile_space));
        let space = space.copied().unwrap_or_default();
        let tier = if config.high_tier { 'H' } else { 'L' };
        let compatibility = config.compatibility.reverse_bits();
        let mut codecs = format!(
            "hvc1.{space}{}.{compatibility:X}.{tier}{}",
            config.profile, config.level
        );
        let used = config.constraints.iter().rposition(|byte| *byte != 0);
        let used = used.map_or(0, |last| last.saturating_add(1));
        for byte in config.constraints.iter().take(used) {
            // Writing to a string cannot fail.
            let _ = write!(codecs, ".{byte:X}");
        }
        let coding = Coding::Hevc(sets, config.nal_length_bytes);
        Ok(Self::video(frame, coding, codecs, Some(config.picture)))
    }

    fn video(
        frame: &MediaFrame,
        coding: Coding,
        codecs: String,
        picture: Option<(u32, u32)>,
    ) -> Self {
        Self {
            codec: frame.codec,
            config: frame.payload.clone(),
            coding,
            hz: LINE_HZ,
            codecs,
            picture,
            channels: None,
        }
    }

    fn audio(frame: &MediaFrame, coding: Coding, codecs: String, hz: u32, channels: u8) -> Self {
        Self {
            codec: frame.codec,
            config: frame.payload.clone(),
            coding,
            hz,
            codecs,
            picture: None,
            channels: Some(channels).filter(|channels| *channels > 0),
        }
    }

    pub(crate) fn track(&self) -> Track {
        match self.coding {
            Coding::Avc(..) | Coding::Hevc(..) | Coding::Av1 => Track::Video,
            Coding::Aac(_) | Coding::Opus(_) | Coding::Mp3(_) => Track::Audio,
        }
    }

    /// Whether a configuration, or a frame of MP3, says the same.
    pub(crate) fn is_of(&self, frame: &MediaFrame) -> bool {
        self.codec == frame.codec
            && match &self.coding {
                Coding::Mp3(header) => Mp3Header::parse(&frame.payload).as_ref() == Ok(header),
                _ => self.config == frame.payload,
            }
    }

    /// The samples of an audio frame, at least 1. `None` for video, and for a frame that is not
    /// what it should be.
    pub(crate) fn samples(&self, payload: &[u8]) -> Option<i64> {
        match &self.coding {
            Coding::Avc(..) | Coding::Hevc(..) | Coding::Av1 => None,
            Coding::Aac(config) => {
                let is_frame = payload.len() <= MAX_AAC;
                is_frame.then_some(i64::from(config.samples_per_frame))
            }
            Coding::Mp3(header) => Some(i64::from(header.samples)),
            Coding::Opus(_) => OpusConfig::samples(payload).ok().map(i64::from),
        }
    }
}

fn refused(detail: &'static str) -> Error {
    Error::Config {
        what: "decoder configuration",
        detail,
    }
}
