//! What a host sets, and what holds for a stream from then on.

use std::time::Duration;

/// The container of the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Container {
    /// Fragmented MP4 (CMAF, ISO/IEC 23000-19): a rendition for video and one for audio, each with
    /// an init segment. H.264, H.265, AV1; AAC, Opus, MP3.
    #[default]
    Cmaf,
    /// MPEG-2 transport stream: one rendition with both tracks, without init segments. H.264,
    /// H.265; AAC, MP3.
    MpegTs,
}

/// Settings of a [`Segmenter`](crate::Segmenter).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The container.
    pub container: Container,
    /// The wanted duration of a segment: 500 ms to 60 s; by default 2 s. Segments are cut at the
    /// keyframes that come closest to it.
    pub segment: Duration,
    /// The duration that a segment may have because the first GOP is longer than `segment`: up to
    /// 60 s; by default 10 s. Segments of longer GOPs are cut without a keyframe.
    pub longest_segment: Duration,
    /// The wanted maximum duration of a part: 100 ms up to `segment`; by default 500 ms.
    pub part: Duration,
    /// The number of the first segment of each rendition; by default 0.
    pub first_sequence: u64,
    /// The discontinuity sequence number of the first segments; by default 0.
    pub first_discontinuity: u64,
    /// The maximum size of a frame, and of the frames of a part, in bytes: 64 KiB to 1 GiB; by
    /// default 32 MiB. The memory of a segmenter is a few times this, and `max_segment_bytes`.
    pub max_part_bytes: usize,
    /// The maximum size of a segment in bytes, up to one part more: `max_part_bytes` to 2 GiB; by
    /// default 128 MiB.
    pub max_segment_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            container: Container::Cmaf,
            segment: Duration::from_secs(2),
            longest_segment: Duration::from_secs(10),
            part: Duration::from_millis(500),
            first_sequence: 0,
            first_discontinuity: 0,
            max_part_bytes: 32 << 20,
            max_segment_bytes: 128 << 20,
        }
    }
}

impl Options {
    /// The defaults for a container.
    #[must_use]
    pub fn new(container: Container) -> Self {
        Self {
            container,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let longest = Duration::from_secs(60);
        if self.segment < Duration::from_millis(500) || self.segment > longest {
            return Err(OptionsError::Segment);
        }
        if self.longest_segment < self.segment || self.longest_segment > longest {
            return Err(OptionsError::LongestSegment);
        }
        if self.part < Duration::from_millis(100) || self.part > self.segment {
            return Err(OptionsError::Part);
        }
        if !(64 << 10..=1 << 30).contains(&self.max_part_bytes) {
            return Err(OptionsError::PartBytes);
        }
        if !(self.max_part_bytes..=2 << 30).contains(&self.max_segment_bytes) {
            return Err(OptionsError::SegmentBytes);
        }
        Ok(())
    }
}

/// An option outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// [`Options::segment`].
    #[error("a segment's duration must be between 500 ms and 60 s")]
    Segment,
    /// [`Options::longest_segment`].
    #[error("the longest segment must be between the wanted duration of a segment and 60 s")]
    LongestSegment,
    /// [`Options::part`].
    #[error("a part's duration must be between 100 ms and the duration of a segment")]
    Part,
    /// [`Options::max_part_bytes`].
    #[error("the maximum size of a part must be between 64 KiB and 1 GiB")]
    PartBytes,
    /// [`Options::max_segment_bytes`].
    #[error("the maximum size of a segment must be between that of a part and 2 GiB")]
    SegmentBytes,
}

/// The numbers that every playlist of a stream repeats, and that never change (RFC 8216bis sections
/// 4.4.3.1, 4.4.3.7 and 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Targets {
    /// `EXT-X-TARGETDURATION` in seconds: no segment's duration, rounded to the nearest second, is
    /// larger.
    pub target_duration_s: u32,
    /// `PART-TARGET`: no part is longer.
    pub part_target: Duration,
}
