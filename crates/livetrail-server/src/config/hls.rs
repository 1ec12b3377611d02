//! The section `[hls]`. Its defaults are those of the gateway.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use livetrail_engine::AppPattern;
use livetrail_http::{HlsCdn, HlsOptions, HlsStart};
use livetrail_settings::{Bounds, ByteSize, Span, beside};
use serde::Deserialize;

use super::{
    section::{DAY_S, Section, Wrong},
    types,
};

/// When a stream is segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    /// While somebody watches.
    Demand,
    /// While it is published.
    Publish,
}

/// What caches in front may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cdn {
    /// Nothing.
    None,
    /// Media, but no playlists.
    Segments,
}

/// HLS and low-latency HLS.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hls {
    pub(crate) enabled: bool,
    #[serde(with = "types::app_patterns")]
    pub(crate) applications: Vec<AppPattern>,
    #[serde(with = "types::app_patterns")]
    pub(crate) mpegts_applications: Vec<AppPattern>,
    pub(crate) start: Start,
    pub(crate) cdn: Cdn,
    pub(crate) segment: Span,
    pub(crate) longest_segment: Span,
    pub(crate) low_latency: bool,
    pub(crate) part: Span,
    pub(crate) window: Span,
    pub(crate) idle_timeout: Span,
    pub(crate) token_lifetime: Span,
    /// The keys that seal tokens. Without one it is `private/hls.keys` in the trail's directory.
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) key_lifetime: Span,
    pub(crate) max_streams: usize,
    pub(crate) max_viewers: usize,
    pub(crate) max_held: usize,
    pub(crate) max_held_per_stream: usize,
    pub(crate) stream_memory: ByteSize,
    pub(crate) memory: ByteSize,
}

impl Default for Hls {
    fn default() -> Self {
        let of = HlsOptions::default();
        Self {
            enabled: true,
            applications: of.applications,
            mpegts_applications: of.mpegts,
            start: match of.start {
                HlsStart::Publish => Start::Publish,
                _ => Start::Demand,
            },
            cdn: match of.cdn {
                HlsCdn::Segments => Cdn::Segments,
                _ => Cdn::None,
            },
            segment: Span(of.segment),
            longest_segment: Span(of.longest_segment),
            low_latency: of.low_latency,
            part: Span(of.part),
            window: Span(of.window),
            idle_timeout: Span(of.idle),
            token_lifetime: Span(of.token_lifetime),
            key_file: None,
            key_lifetime: Span::secs(30 * DAY_S),
            max_streams: of.max_streams,
            max_viewers: of.max_viewers,
            max_held: of.max_held,
            max_held_per_stream: of.max_held_per_stream,
            stream_memory: ByteSize(of.max_stream_bytes),
            memory: ByteSize(of.max_bytes),
        }
    }
}

/// The longest `token_lifetime`.
pub(crate) const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * DAY_S);

/// How many keys before the one that seals a file of keys has room for.
const OLDER_KEYS: u32 = 7;

impl Hls {
    /// Resolves paths relative to the directory of the configuration file.
    pub(super) fn resolve(&mut self, base: &Path) {
        beside(base, [&mut self.key_file]);
    }

    /// The file with the keys that seal tokens, of a server whose trail is in this directory.
    pub(crate) fn key_file(&self, trail: &Path) -> PathBuf {
        let own = || trail.join("private").join("hls.keys");
        self.key_file.clone().unwrap_or_else(own)
    }

    /// The settings in the form that the gateway takes.
    pub(crate) fn options(&self) -> HlsOptions {
        let mut options = HlsOptions::default();
        options.applications = self.applications.clone();
        options.mpegts = self.mpegts_applications.clone();
        options.start = match self.start {
            Start::Demand => HlsStart::Demand,
            Start::Publish => HlsStart::Publish,
        };
        options.cdn = match self.cdn {
            Cdn::None => HlsCdn::None,
            Cdn::Segments => HlsCdn::Segments,
        };
        options.segment = self.segment.0;
        options.longest_segment = self.longest_segment.0;
        options.low_latency = self.low_latency;
        options.part = self.part.0;
        options.window = self.window.0;
        options.idle = self.idle_timeout.0;
        options.token_lifetime = self.token_lifetime.0;
        options.max_streams = self.max_streams;
        options.max_viewers = self.max_viewers;
        options.max_held = self.max_held;
        options.max_held_per_stream = self.max_held_per_stream;
        options.max_stream_bytes = self.stream_memory.0;
        options.max_bytes = self.memory.0;
        options
    }
}

impl Section for Hls {
    fn bounds(&self, list: &mut Bounds) {
        list.span("segment", self.segment, 500, 60);
        list.span("longest_segment", self.longest_segment, 500, 60);
        list.span("part", self.part, 100, 60);
        list.span("window", self.window, 1_000, DAY_S);
        list.span("idle_timeout", self.idle_timeout, 12_000, 3_600);
        let longest_s = MAX_TOKEN_LIFETIME.as_secs();
        list.span("token_lifetime", self.token_lifetime, 60_000, longest_s);
        list.span("key_lifetime", self.key_lifetime, 0, 366 * DAY_S);
        list.number("max_streams", self.max_streams, 1, 100_000, "");
        list.number("max_viewers", self.max_viewers, 1, 10_000_000, "");
        list.number("max_held", self.max_held, 1, 10_000_000, "");
        let held = self.max_held_per_stream;
        list.number("max_held_per_stream", held, 1, 10_000_000, "");
        list.bytes("stream_memory", self.stream_memory, 1 << 20, 1 << 40);
        list.bytes("memory", self.memory, 1 << 20, 1 << 40);
    }

    fn check(&self) -> Result<(), Wrong> {
        if self.longest_segment.0 < self.segment.0 {
            let problem = "is shorter than hls.segment";
            return Err(Wrong::new("longest_segment", problem));
        }
        if self.part.0 > self.segment.0 {
            return Err(Wrong::new("part", "is longer than hls.segment"));
        }
        let shortest = Span(self.token_lifetime.0 / OLDER_KEYS).max(Span::secs(3_600));
        if !self.key_lifetime.0.is_zero() && self.key_lifetime < shortest {
            let problem = format!(
                "is too short: allowed are 0s, and at least 1h and a seventh of hls.token_lifetime, which is {shortest}"
            );
            return Err(Wrong::new("key_lifetime", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_reach_the_gateway_unchanged() {
        assert_eq!(Hls::default().options(), HlsOptions::default());
    }

    #[test]
    fn a_key_lives_so_long_that_the_file_has_room_for_all_keys_of_valid_tokens() {
        let checked = |key: &str, token: &str| {
            let hls = Hls {
                key_lifetime: key.parse().unwrap(),
                token_lifetime: token.parse().unwrap(),
                ..Hls::default()
            };
            hls.check().map_err(|wrong| wrong.key)
        };
        for (key, token) in [("0s", "30d"), ("1h", "7h"), ("30d", "30d"), ("5d", "30d")] {
            assert_eq!(checked(key, token), Ok(()), "{key} {token}");
        }
        for (key, token) in [("59m", "1h"), ("1h", "8h"), ("4d", "30d")] {
            assert_eq!(checked(key, token), Err("key_lifetime".to_owned()));
        }
    }
}
