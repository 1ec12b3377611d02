//! The settings of HLS.

use std::time::Duration;

use livetrail_engine::{AppName, AppPattern};
use livetrail_segment::Container;

/// When a stream is segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HlsStart {
    /// While it has viewers of HLS, from the first one's request on. A stream without them costs
    /// nothing. The first viewer waits for the end of the first segment.
    #[default]
    Demand,
    /// As long as it is published. Each viewer finds a whole window.
    Publish,
}

/// What caches in front may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HlsCdn {
    /// Nothing. Each viewer gets all media with its token, and its session's totals are exact.
    #[default]
    None,
    /// Segments, parts and init segments: their addresses have no token, but a secret of the
    /// stream, and anyone who knows one can fetch it. Playlists are for viewers with a token, so
    /// sessions are exact, and their totals are unknown.
    Segments,
}

/// The settings of [`Hls`](super::Hls). Each limit holds for the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HlsOptions {
    /// The applications whose streams are served; all if it is empty, which is the default.
    pub applications: Vec<AppPattern>,
    /// The applications whose segments are MPEG-TS, for players that know nothing else, instead of
    /// fragmented MP4. They have one playlist with both tracks, without parts. Default none.
    pub mpegts: Vec<AppPattern>,
    /// When a stream is segmented. Default [`HlsStart::Demand`].
    pub start: HlsStart,
    /// What caches in front may keep. Default [`HlsCdn::None`].
    pub cdn: HlsCdn,
    /// The wanted duration of a segment: 500 ms to 60 s. Default 2 s.
    pub segment: Duration,
    /// The duration that a segment may have because the encoder's GOPs are longer: `segment` to
    /// 60 s. Default 10 s.
    pub longest_segment: Duration,
    /// The wanted duration of a part: 100 ms to `segment`. Default 500 ms.
    pub part: Duration,
    /// Whether there are parts and preload hints for low latency. Default `true`.
    pub low_latency: bool,
    /// How much of a stream a playlist lists: 1 s to a day, at least three target durations.
    /// Default 30 s.
    pub window: Duration,
    /// A viewer's session ends when it has asked for nothing for this long, or for three target
    /// durations if that is longer. Default 12 s.
    pub idle: Duration,
    /// How long the token in a viewer's addresses is valid, unless its credentials expire earlier.
    /// Default 12 h.
    pub token_lifetime: Duration,
    /// The maximum number of streams that are segmented at once. Default 1,000.
    pub max_streams: usize,
    /// The maximum size of what is kept of one stream, in bytes: at least 1 MiB. Beyond it the
    /// window becomes shorter. Default 512 MiB.
    pub max_stream_bytes: usize,
    /// The maximum size of what is kept of all streams, in bytes. Beyond it no further stream is
    /// segmented, and the windows of those that keep more than their equal share become shorter.
    /// Default 2 GiB.
    pub max_bytes: usize,
    /// The maximum number of requests that are held until something comes. Default 20,000.
    pub max_held: usize,
    /// The same for the requests of one stream. Default 10,000.
    pub max_held_per_stream: usize,
    /// The maximum number of open sessions. Default 100,000.
    pub max_viewers: usize,
}

impl Default for HlsOptions {
    fn default() -> Self {
        Self {
            applications: Vec::new(),
            mpegts: Vec::new(),
            start: HlsStart::default(),
            cdn: HlsCdn::default(),
            segment: Duration::from_secs(2),
            longest_segment: Duration::from_secs(10),
            part: Duration::from_millis(500),
            low_latency: true,
            window: Duration::from_secs(30),
            idle: Duration::from_secs(12),
            token_lifetime: Duration::from_secs(12 * 3_600),
            max_streams: 1_000,
            max_stream_bytes: 512 << 20,
            max_bytes: 2 << 30,
            max_held: 20_000,
            max_held_per_stream: 10_000,
            max_viewers: 100_000,
        }
    }
}

impl HlsOptions {
    /// The container of an application's segments.
    pub(super) fn container(&self, app: &AppName) -> Container {
        let mut patterns = self.mpegts.iter();
        if patterns.any(|pattern| pattern.covers(app)) {
            Container::MpegTs
        } else {
            Container::Cmaf
        }
    }

    /// The settings of a stream's segmenter that starts with these numbers.
    pub(super) fn segmenter(
        &self,
        container: Container,
        sequence: u64,
        discontinuity: u64,
    ) -> livetrail_segment::Options {
        let mut options = livetrail_segment::Options::new(container);
        options.segment = self.segment;
        options.longest_segment = self.longest_segment;
        options.part = self.part;
        options.first_sequence = sequence;
        options.first_discontinuity = discontinuity;
        options
    }

    /// The settings of a stream's playlists, with what precedes the names of media in them.
    pub(super) fn playlists(
        &self,
        container: Container,
        media_prefix: String,
    ) -> livetrail_hls::Options {
        let mut options = livetrail_hls::Options::default();
        options.media_prefix = media_prefix;
        options.window = self.window;
        options.max_bytes = self.max_stream_bytes;
        // A part of MPEG-TS has no tables: a player could not start with it.
        options.low_latency = self.low_latency && container == Container::Cmaf;
        options
    }

    /// Whether the streams of an application are served.
    pub(super) fn serves(&self, app: &AppName) -> bool {
        let mut patterns = self.applications.iter();
        self.applications.is_empty() || patterns.any(|pattern| pattern.covers(app))
    }

    pub(super) fn check(&self) -> Result<(), HlsOptionsError> {
        for container in [Container::Cmaf, Container::MpegTs] {
            livetrail_segment::Segmenter::new(self.segmenter(container, 0, 0))?;
            livetrail_hls::Playlists::new(self.playlists(container, String::new()))?;
        }
        Ok(())
    }
}

/// A setting outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HlsOptionsError {
    /// A setting of segments and parts.
    #[error(transparent)]
    Segments(#[from] livetrail_segment::OptionsError),
    /// A setting of playlists.
    #[error(transparent)]
    Playlists(#[from] livetrail_hls::OptionsError),
}
