//! What a segmenter makes.

use std::time::Duration;

use bytes::Bytes;
use livetrail_engine::CodecId;

use crate::options::Targets;

/// A track of the stream: the first of its kind. Other tracks are not segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Track {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl Track {
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Video => 0,
            Self::Audio => 1,
        }
    }
}

/// What belongs to one media playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rendition {
    /// Video alone (CMAF).
    Video,
    /// Audio alone (CMAF).
    Audio,
    /// All tracks (MPEG-TS).
    Muxed,
}

/// A result of [`Segmenter::push`](crate::Segmenter::push), in the order in which playlists need
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A rendition starts, or its decoder configuration has changed. It applies to the rendition's
    /// parts after it.
    Init(Init),
    /// A part is complete.
    Part(Part),
    /// A segment is complete. All of its parts came before it as [`Event::Part`].
    Segment(Segment),
    /// The numbers that never change. They come once, before the first segment that is not cut
    /// short by a discontinuity; before them no playlist can be rendered.
    Targets(Targets),
    /// The stream continues with other timestamps, another configuration, or after a loss. The next
    /// segment of each rendition has this discontinuity sequence number.
    Discontinuity {
        /// The discontinuity sequence number of what follows.
        sequence: u64,
        /// Why.
        cause: Cause,
    },
    /// Something unusual in the input, and what the segmenter did.
    Irregular(Irregularity),
}

/// The initialisation of a rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Init {
    /// The rendition.
    pub rendition: Rendition,
    /// The discontinuity sequence number of the segments that it is for.
    pub discontinuity_sequence: u64,
    /// The init segment (`EXT-X-MAP`). Empty for MPEG-TS, whose segments contain their tables.
    pub bytes: Bytes,
    /// Codecs for `CODECS` (RFC 6381), separated by commas: `avc1.4d401f` or `mp4a.40.2`.
    pub codecs: String,
    /// Width and height of the picture in pixels, if they are known.
    pub picture: Option<(u32, u32)>,
    /// Samples per second of the audio.
    pub sample_rate_hz: Option<u32>,
    /// Audio channels, for `CHANNELS`, if they are known.
    pub channels: Option<u8>,
}

/// A part of a segment (`EXT-X-PART`): one CMAF chunk, or packets of MPEG-TS.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// The rendition.
    pub rendition: Rendition,
    /// The number of its segment.
    pub sequence: u64,
    /// Its position in the segment, from 0.
    pub index: u32,
    /// The decode time of its first frame, on the time line that all renditions share. It never
    /// decreases, but it may have holes.
    pub start: Duration,
    /// From its first frame to the end of its last.
    pub duration: Duration,
    /// Whether it has a frame that decoding can start at (`INDEPENDENT=YES`, section 4.4.4.9).
    pub independent: bool,
    /// The number of frames.
    pub frames: u32,
    /// The content.
    pub bytes: Bytes,
}

/// A complete segment. Its content is that of its parts, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// The rendition.
    pub rendition: Rendition,
    /// Its number; the next segment of the rendition has the next number.
    pub sequence: u64,
    /// Its discontinuity sequence number. It is the same for all renditions at a time, and it is
    /// larger than that of the segment before if there is a discontinuity between them.
    pub discontinuity_sequence: u64,
    /// The decode time of its first frame; see [`Part::start`].
    pub start: Duration,
    /// The sum of its parts' durations.
    pub duration: Duration,
    /// Whether decoding can start at its first frame.
    pub independent: bool,
    /// Its parts; at least one.
    pub parts: Vec<Part>,
    /// The rates of the rendition, up to this segment.
    pub measured: Measured,
}

impl Segment {
    /// Its size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        let sizes = self.parts.iter().map(|part| part.bytes.len());
        sizes.fold(0, usize::saturating_add)
    }

    /// Whether it has no bytes; never, for a segment of a segmenter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its content in pieces: the bytes of its parts, not copied.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter().map(|part| &part.bytes)
    }
}

/// Rates of a rendition, for the multivariant playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Measured {
    /// `BANDWIDTH` (section 4.4.6.2): the highest rate of any adjacent segments that last between
    /// half a target duration and one and a half, in bits per second.
    pub peak_bps: u64,
    /// `AVERAGE-BANDWIDTH`: the rate of all segments, in bits per second.
    pub average_bps: u64,
    /// `FRAME-RATE`: video frames in 1,000 s, over all segments; 0 without video.
    pub frames_per_1000_s: u64,
}

/// Why there is a discontinuity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The host asked for it: [`Segmenter::discontinuity`](crate::Segmenter::discontinuity).
    Host,
    /// A track's decoder configuration has changed.
    Configuration,
    /// A track's timestamps jumped, or had a gap longer than a part.
    Timestamps,
    /// In MPEG-TS: a track appeared after the start, or video stopped.
    Tracks,
}

/// Something unusual in the input. The input is never refused: each is bounded, and says what the
/// segmenter does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Irregularity {
    /// The container has no form for the codec. Frames of this codec are dropped. Reported once
    /// until the track has another codec.
    UnsupportedCodec {
        /// The codec.
        codec: CodecId,
    },
    /// A track other than the first of its kind. Its frames are dropped. Reported once.
    ExtraTrack {
        /// The kind of track.
        track: Track,
    },
    /// A decoder configuration that cannot be read. Frames of the track are dropped until there is
    /// another.
    BadConfiguration {
        /// The track.
        track: Track,
        /// The contradiction.
        error: livetrail_media::Error,
    },
    /// A frame before the decoder configuration. It is dropped.
    NoConfiguration {
        /// The track.
        track: Track,
    },
    /// A video frame before the first keyframe, or between a new configuration and its first
    /// keyframe. It is dropped.
    BeforeKeyframe,
    /// A frame without content, or whose content is not what its configuration says. It is dropped.
    BadFrame {
        /// The track.
        track: Track,
    },
    /// A frame of more than [`Options::max_part_bytes`](crate::Options). It is dropped.
    FrameTooLarge {
        /// The track.
        track: Track,
        /// Its size in bytes.
        bytes: usize,
    },
    /// A timestamp that is not after the one before. The frame is one tick long, or as long as its
    /// samples.
    NotIncreasing {
        /// The track.
        track: Track,
    },
    /// A timestamp that has wrapped at 2^32 ms or 2^33 ticks. Time continues.
    ClockWrapped {
        /// The track.
        track: Track,
    },
    /// A timestamp too far from the one before. A discontinuity follows.
    ClockJumped {
        /// The track.
        track: Track,
        /// The step in milliseconds.
        by_ms: i64,
    },
    /// Audio timestamps have drifted from the count of samples by more than a frame. The audio's
    /// clock is set to the timestamp.
    AudioAdjusted {
        /// The step in milliseconds.
        by_ms: i64,
    },
    /// A frame longer than the part target. Its part is longer, too, which some players refuse.
    LongFrame {
        /// The track.
        track: Track,
    },
    /// No video for 3 s while audio continues. Segments are cut for audio alone until there is
    /// video again.
    VideoStopped,
    /// No keyframe within the longest duration that a segment may have. The next segment is cut
    /// without a keyframe, and not independent.
    LongGop,
    /// A part shorter than 85 % of the part target (section 4.4.4.9), because the next frame is too
    /// long for it.
    ShortPart {
        /// The rendition.
        rendition: Rendition,
        /// Its duration.
        duration: Duration,
    },
    /// A part that is closed early because it has the maximum number of bytes or frames.
    FullPart {
        /// The rendition.
        rendition: Rendition,
    },
    /// A segment that is closed early because it has the maximum number of bytes.
    FullSegment {
        /// The rendition.
        rendition: Rendition,
    },
}

/// The names, in the order of the variants.
const LABELS: [&str; 17] = [
    "unsupported_codec",
    "extra_track",
    "bad_configuration",
    "no_configuration",
    "before_keyframe",
    "bad_frame",
    "frame_too_large",
    "not_increasing",
    "clock_wrapped",
    "clock_jumped",
    "audio_adjusted",
    "long_frame",
    "video_stopped",
    "long_gop",
    "short_part",
    "full_part",
    "full_segment",
];

impl Irregularity {
    /// A short name for logs and metrics: `long_gop`, `clock_jumped`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        let index = match self {
            Self::UnsupportedCodec { .. } => 0,
            Self::ExtraTrack { .. } => 1,
            Self::BadConfiguration { .. } => 2,
            Self::NoConfiguration { .. } => 3,
            Self::BeforeKeyframe => 4,
            Self::BadFrame { .. } => 5,
            Self::FrameTooLarge { .. } => 6,
            Self::NotIncreasing { .. } => 7,
            Self::ClockWrapped { .. } => 8,
            Self::ClockJumped { .. } => 9,
            Self::AudioAdjusted { .. } => 10,
            Self::LongFrame { .. } => 11,
            Self::VideoStopped => 12,
            Self::LongGop => 13,
            Self::ShortPart { .. } => 14,
            Self::FullPart { .. } => 15,
            Self::FullSegment { .. } => 16,
        };
        LABELS.get(index).copied().unwrap_or_default()
    }

    /// All names.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        LABELS.into_iter()
    }
}
