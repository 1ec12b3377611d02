//! Counts what a client has sent or received.

use std::time::Duration;

use livetrail_engine::{Clock, FrameFlags, MediaFrame, MediaKind, SystemClock};
use serde::Serialize;

use crate::output::bytes;

/// Counts frames as they come or go.
#[derive(Debug)]
pub(crate) struct Tally {
    clock: SystemClock,
    first_frame: Option<Duration>,
    first_dts_ms: Option<i64>,
    last_dts_ms: i64,
    video_frames: u64,
    audio_frames: u64,
    data_frames: u64,
    keyframes: u64,
    bytes: u64,
}

/// The reason for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// The stream or the file has ended.
    Complete,
    /// The requested time has passed.
    Time,
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The server ended the session, or the connection failed.
    Failed,
}

/// The final figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The address, without its token.
    pub(crate) url: String,
    pub(crate) ended: Ended,
    /// Video and audio frames, without configurations.
    pub(crate) frames: u64,
    pub(crate) video_frames: u64,
    pub(crate) audio_frames: u64,
    pub(crate) data_frames: u64,
    pub(crate) keyframes: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Wall time, from before the connection was made.
    pub(crate) seconds: f64,
    /// From the first frame's decode time to the last one's.
    pub(crate) media_seconds: f64,
    /// From before the connection was made to the first frame.
    pub(crate) first_frame_ms: Option<f64>,
}

impl Tally {
    /// Starts to count time now.
    pub(crate) fn new() -> Self {
        Self {
            clock: SystemClock::new(),
            first_frame: None,
            first_dts_ms: None,
            last_dts_ms: 0,
            video_frames: 0,
            audio_frames: 0,
            data_frames: 0,
            keyframes: 0,
            bytes: 0,
        }
    }

    pub(crate) fn count(&mut self, frame: &MediaFrame) {
        self.bytes = self.bytes.saturating_add(frame.payload.len() as u64);
        let is_end = frame.flags.contains(FrameFlags::END_OF_SEQUENCE);
        if frame.is_config() || is_end || frame.kind == MediaKind::Data {
            self.data_frames += u64::from(frame.kind == MediaKind::Data);
            return;
        }
        self.first_frame
            .get_or_insert_with(|| self.clock.monotonic());
        let dts_ms = frame.dts_ms();
        self.first_dts_ms.get_or_insert(dts_ms);
        self.last_dts_ms = self.last_dts_ms.max(dts_ms);
        self.keyframes += u64::from(frame.is_keyframe());
        match frame.kind {
            MediaKind::Video => self.video_frames += 1,
            MediaKind::Audio => self.audio_frames += 1,
            MediaKind::Data => {}
        }
    }

    /// Time since [`new`](Self::new).
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }

    /// A few words for a progress bar.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} video, {} audio frames, {}",
            self.video_frames,
            self.audio_frames,
            bytes(self.bytes)
        )
    }

    pub(crate) fn summary(&self, url: String, ended: Ended) -> Summary {
        let first = self.first_dts_ms.unwrap_or(self.last_dts_ms);
        Summary {
            url,
            ended,
            frames: self.video_frames.saturating_add(self.audio_frames),
            video_frames: self.video_frames,
            audio_frames: self.audio_frames,
            data_frames: self.data_frames,
            keyframes: self.keyframes,
            bytes: self.bytes,
            seconds: rounded(self.elapsed().as_secs_f64()),
            media_seconds: self.last_dts_ms.saturating_sub(first) as f64 / 1_000.0,
            first_frame_ms: self
                .first_frame
                .map(|at| rounded(at.as_secs_f64() * 1_000.0)),
        }
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

impl Summary {
    /// A line for people; `did` is `published` or `played`.
    pub(crate) fn text(&self, did: &str) -> String {
        let first = self
            .first_frame_ms
            .map_or_else(String::new, |ms| format!(", first frame after {ms:.0} ms"));
        let how = match self.ended {
            Ended::Complete => "to the end",
            Ended::Time => "for the time asked",
            Ended::Interrupted => "until interrupted",
            Ended::Failed => "until it failed",
        };
        format!(
            "{did} {} {how}: {} video and {} audio frames ({} keyframes), {}, {:.1} s of media in {:.1} s{first}",
            self.url,
            self.video_frames,
            self.audio_frames,
            self.keyframes,
            bytes(self.bytes),
            self.media_seconds,
            self.seconds,
        )
    }
}
