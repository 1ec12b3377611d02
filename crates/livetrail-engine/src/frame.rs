//! One frame of media, in the form that all protocols share.

use std::num::NonZeroU32;

use bytes::Bytes;

/// A codec that the engine carries. The engine never decodes; it names the codec so that gateways
/// agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodecId {
    /// ITU-T H.264; frames are length-prefixed NAL units, the configuration is an
    /// `AVCDecoderConfigurationRecord`.
    H264,
    /// ITU-T H.265; frames are length-prefixed NAL units, the configuration is an
    /// `HEVCDecoderConfigurationRecord`.
    H265,
    /// AOMedia AV1; frames are low-overhead OBU streams, the configuration is an
    /// `AV1CodecConfigurationRecord`.
    Av1,
    /// VP8.
    Vp8,
    /// VP9; the configuration is a `VPCodecConfigurationRecord`.
    Vp9,
    /// MPEG-4 AAC without ADTS; the configuration is an `AudioSpecificConfig`.
    Aac,
    /// Opus; the configuration is an `OpusHead`.
    Opus,
    /// MPEG-1/2 layer III.
    Mp3,
    /// ITU-T G.711 A-law.
    G711Alaw,
    /// ITU-T G.711 µ-law.
    G711Ulaw,
    /// Dolby AC-3 (ETSI TS 102 366).
    Ac3,
    /// Dolby E-AC-3 (ETSI TS 102 366).
    Eac3,
    /// FLAC; the configuration has the form that Enhanced RTMP defines.
    Flac,
    /// ITU-T H.266, forwarded as received.
    Vvc,
    /// Sorenson H.263, forwarded as received.
    H263,
    /// On2 VP6, forwarded as received.
    Vp6,
    /// Speex, forwarded as received.
    Speex,
    /// Nellymoser, forwarded as received.
    Nellymoser,
    /// Linear PCM, forwarded as received.
    Pcm,
    /// ADPCM, forwarded as received.
    Adpcm,
    /// A codec that Livetrail has no name for, forwarded as received.
    Other,
    /// Timed data whose format the gateway knows (AMF0 `onMetaData`).
    Amf0,
}

impl CodecId {
    /// A short lower-case name for people and metrics: `h264`, `aac`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Av1 => "av1",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Aac => "aac",
            Self::Opus => "opus",
            Self::Mp3 => "mp3",
            Self::G711Alaw => "g711a",
            Self::G711Ulaw => "g711u",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
            Self::Flac => "flac",
            Self::Vvc => "vvc",
            Self::H263 => "h263",
            Self::Vp6 => "vp6",
            Self::Speex => "speex",
            Self::Nellymoser => "nellymoser",
            Self::Pcm => "pcm",
            Self::Adpcm => "adpcm",
            Self::Other => "other",
            Self::Amf0 => "amf0",
        }
    }
}

/// The kind of media in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Timed or descriptive data.
    Data,
}

impl MediaKind {
    /// `video`, `audio` or `data`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Data => "data",
        }
    }
}

/// Ticks per second: the unit of a frame's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeBase(NonZeroU32);

impl TimeBase {
    /// 1,000 ticks per second (RTMP, FLV).
    pub const MILLIS: Self = Self(NonZeroU32::new(1_000).unwrap());
    /// 90,000 ticks per second (MPEG-TS, RTP video).
    pub const MPEG: Self = Self(NonZeroU32::new(90_000).unwrap());

    /// A base of `hz` ticks per second.
    #[must_use]
    pub const fn new(hz: NonZeroU32) -> Self {
        Self(hz)
    }

    /// Ticks per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.0.get()
    }

    /// `ticks` of this base in milliseconds, rounded towards minus infinity; saturates.
    #[must_use]
    pub fn to_millis(self, ticks: i64) -> i64 {
        if self.hz() == 1_000 {
            return ticks;
        }
        let ms = (i128::from(ticks) * 1_000).div_euclid(i128::from(self.hz()));
        i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Properties of a frame. Several may apply at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FrameFlags(u8);

impl FrameFlags {
    /// No properties.
    pub const NONE: Self = Self(0);
    /// Decoding can start here.
    pub const KEYFRAME: Self = Self(1);
    /// A decoder configuration, or a stream's metadata. The stream keeps it, and replays it to
    /// viewers that join later.
    pub const CONFIG: Self = Self(2);
    /// The codec's sequence ends here.
    pub const END_OF_SEQUENCE: Self = Self(4);
    /// The payload is the whole FLV tag body or RTMP message with its header, because Livetrail
    /// does not parse the codec or packet. Only the gateways for FLV and RTMP can send it.
    pub const AS_RECEIVED: Self = Self(8);
    /// Together with [`CONFIG`](Self::CONFIG): the frame describes a track in addition to its
    /// decoder configuration, such as colours for HDR or the layout of speakers. The stream keeps
    /// it next to the configuration and does not replace the configuration.
    pub const METADATA: Self = Self(16);

    /// Whether all properties of `other` apply.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The properties of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOr for FrameFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// One frame (an access unit, an audio frame, a configuration record) of one track.
///
/// The payload is the codec's data without any header of a container or protocol (except for
/// [`FrameFlags::AS_RECEIVED`]). It is never copied after ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFrame {
    /// The presentation time, in ticks of `time_base`.
    pub pts: i64,
    /// The decode time, in ticks of `time_base`; the same as `pts` without reordering.
    pub dts: i64,
    /// The display duration, in ticks of `time_base`; 0 if unknown.
    pub duration: u32,
    /// Nanoseconds to add to `pts`, 0 to 999,999: a sender's precision beyond milliseconds.
    pub pts_nanos: u32,
    /// The unit of the three above.
    pub time_base: TimeBase,
    /// The codec's data; see [`CodecId`] for its form.
    pub payload: Bytes,
    /// The codec.
    pub codec: CodecId,
    /// Video, audio or data.
    pub kind: MediaKind,
    /// Keyframe, configuration and the like.
    pub flags: FrameFlags,
    /// Track number within its kind; 0 for the first.
    pub track: u8,
}

impl MediaFrame {
    /// A video frame with times in milliseconds.
    #[must_use]
    pub fn video(
        codec: CodecId,
        dts_ms: i64,
        pts_ms: i64,
        flags: FrameFlags,
        payload: Bytes,
    ) -> Self {
        Self::new(MediaKind::Video, codec, dts_ms, pts_ms, flags, payload)
    }

    /// An audio frame with its time in milliseconds.
    #[must_use]
    pub fn audio(codec: CodecId, pts_ms: i64, flags: FrameFlags, payload: Bytes) -> Self {
        Self::new(MediaKind::Audio, codec, pts_ms, pts_ms, flags, payload)
    }

    /// A data frame with its time in milliseconds.
    #[must_use]
    pub fn data(codec: CodecId, pts_ms: i64, flags: FrameFlags, payload: Bytes) -> Self {
        Self::new(MediaKind::Data, codec, pts_ms, pts_ms, flags, payload)
    }

    fn new(
        kind: MediaKind,
        codec: CodecId,
        dts: i64,
        pts: i64,
        flags: FrameFlags,
        payload: Bytes,
    ) -> Self {
        Self {
            pts,
            dts,
            duration: 0,
            pts_nanos: 0,
            time_base: TimeBase::MILLIS,
            payload,
            codec,
            kind,
            flags,
            track: 0,
        }
    }

    /// Whether decoding can start here. Only a video frame can be a keyframe; a decoder can join
    /// sound anywhere.
    #[must_use]
    pub fn is_keyframe(&self) -> bool {
        self.kind == MediaKind::Video
            && self.flags.contains(FrameFlags::KEYFRAME)
            && !self.is_config()
    }

    /// Whether this is a decoder configuration or a stream's metadata.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.flags.contains(FrameFlags::CONFIG)
    }

    /// Whether this describes a track in addition to its decoder configuration.
    #[must_use]
    pub fn is_metadata(&self) -> bool {
        self.flags.contains(FrameFlags::METADATA)
    }

    /// Whether the payload includes the header that it came with.
    #[must_use]
    pub fn is_as_received(&self) -> bool {
        self.flags.contains(FrameFlags::AS_RECEIVED)
    }

    /// Decode time in milliseconds.
    #[must_use]
    pub fn dts_ms(&self) -> i64 {
        self.time_base.to_millis(self.dts)
    }

    /// Presentation time in milliseconds.
    #[must_use]
    pub fn pts_ms(&self) -> i64 {
        self.time_base.to_millis(self.pts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rescaled_without_overflow() {
        assert_eq!(TimeBase::MPEG.to_millis(90_000), 1_000);
        assert_eq!(TimeBase::MPEG.to_millis(-1), -1);
        assert_eq!(TimeBase::new(NonZeroU32::MIN).to_millis(i64::MAX), i64::MAX);
        assert_eq!(TimeBase::MILLIS.to_millis(i64::MIN), i64::MIN);
    }

    #[test]
    fn a_configuration_is_never_a_keyframe() {
        let both = FrameFlags::KEYFRAME | FrameFlags::CONFIG;
        assert!(!MediaFrame::video(CodecId::H264, 0, 0, both, Bytes::new()).is_keyframe());
        assert!(
            !MediaFrame::audio(CodecId::Aac, 0, FrameFlags::KEYFRAME, Bytes::new()).is_keyframe()
        );
        assert!(
            MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, Bytes::new())
                .is_keyframe()
        );
    }
}
