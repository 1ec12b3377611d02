//! Quality of a stream, for people and metrics: rates, totals, time of the last frame. Plain
//! atomics that only the publisher writes. A reader gets each figure whole, and all figures from
//! about the same moment.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::frame::{MediaFrame, MediaKind};

/// Rates cover windows of at least this length.
const WINDOW: Duration = Duration::from_secs(1);

/// A stream without a frame for this long has rates of 0.
const STALE: Duration = Duration::from_secs(3);

/// The figures of one stream.
pub(crate) struct Qos {
    video: Track,
    audio: Track,
    keyframes: AtomicU64,
    fps_milli: AtomicU64,
    last_frame_ms: AtomicU64,
}

#[derive(Default)]
struct Track {
    frames: AtomicU64,
    bytes: AtomicU64,
    bitrate_bps: AtomicU64,
}

/// Quality of a stream at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QosSnapshot {
    /// Video payload in bits per second over the last window (1 s).
    pub video_bitrate_bps: u64,
    /// Audio payload in bits per second over the last window.
    pub audio_bitrate_bps: u64,
    /// Video frames per second over the last window.
    pub fps: f64,
    /// All video frames, without configurations.
    pub video_frames: u64,
    /// All audio frames, without configurations.
    pub audio_frames: u64,
    /// All keyframes.
    pub keyframes: u64,
    /// All payload bytes of video.
    pub video_bytes: u64,
    /// All payload bytes of audio.
    pub audio_bytes: u64,
    /// Time since the last frame, or since the stream started.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "since_last_frame_ms",
            serialize_with = "crate::serialize::millis"
        )
    )]
    pub since_last_frame: Duration,
}

impl Qos {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            video: Track::default(),
            audio: Track::default(),
            keyframes: AtomicU64::new(0),
            fps_milli: AtomicU64::new(0),
            last_frame_ms: AtomicU64::new(now_ms),
        }
    }

    /// Monotonic time of the last frame, or of the stream's start, in milliseconds.
    pub(crate) fn last_frame_ms(&self) -> u64 {
        self.last_frame_ms.load(Relaxed)
    }

    /// Notes that a publisher starts: silence counts from now.
    pub(crate) fn touch(&self, now_ms: u64) {
        self.last_frame_ms.store(now_ms, Relaxed);
    }

    pub(crate) fn snapshot(&self, now_ms: u64) -> QosSnapshot {
        let since_last_frame = Duration::from_millis(now_ms.saturating_sub(self.last_frame_ms()));
        let live = u64::from(since_last_frame < STALE);
        QosSnapshot {
            video_bitrate_bps: self.video.bitrate_bps.load(Relaxed) * live,
            audio_bitrate_bps: self.audio.bitrate_bps.load(Relaxed) * live,
            fps: (self.fps_milli.load(Relaxed) * live) as f64 / 1_000.0,
            video_frames: self.video.frames.load(Relaxed),
            audio_frames: self.audio.frames.load(Relaxed),
            keyframes: self.keyframes.load(Relaxed),
            video_bytes: self.video.bytes.load(Relaxed),
            audio_bytes: self.audio.bytes.load(Relaxed),
            since_last_frame,
        }
    }
}

/// The window that is being filled; it belongs to the publisher.
#[derive(Default)]
pub(crate) struct QosWriter {
    since_ms: Option<u64>,
    video_bytes: u64,
    audio_bytes: u64,
    video_frames: u64,
}

impl QosWriter {
    pub(crate) fn frame(&mut self, qos: &Qos, frame: &MediaFrame, now_ms: u64) {
        qos.last_frame_ms.store(now_ms, Relaxed);
        self.turn_window(qos, now_ms);
        let bytes = frame.payload.len() as u64;
        let counts = u64::from(!frame.is_config());
        let track = match frame.kind {
            MediaKind::Video => {
                self.video_bytes += bytes;
                self.video_frames += counts;
                &qos.video
            }
            MediaKind::Audio => {
                self.audio_bytes += bytes;
                &qos.audio
            }
            MediaKind::Data => return,
        };
        add(&track.bytes, bytes);
        add(&track.frames, counts);
        add(&qos.keyframes, u64::from(frame.is_keyframe()));
    }

    fn turn_window(&mut self, qos: &Qos, now_ms: u64) {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let elapsed_ms = now_ms.saturating_sub(since_ms);
        if elapsed_ms < WINDOW.as_millis() as u64 {
            return;
        }
        qos.video
            .bitrate_bps
            .store(self.video_bytes * 8_000 / elapsed_ms, Relaxed);
        qos.audio
            .bitrate_bps
            .store(self.audio_bytes * 8_000 / elapsed_ms, Relaxed);
        qos.fps_milli
            .store(self.video_frames * 1_000_000 / elapsed_ms, Relaxed);
        *self = Self {
            since_ms: Some(now_ms),
            ..Self::default()
        };
    }
}

/// Adds to a counter that only one thread writes: a load and a store, not a locked instruction.
fn add(to: &AtomicU64, n: u64) {
    to.store(to.load(Relaxed).wrapping_add(n), Relaxed);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::frame::{CodecId, FrameFlags};

    #[test]
    fn rates_and_totals_of_a_steady_stream() {
        let (qos, mut writer) = (Qos::new(0), QosWriter::default());
        for i in 0..=50u64 {
            let flags = if i % 25 == 0 {
                FrameFlags::KEYFRAME
            } else {
                FrameFlags::NONE
            };
            let payload = Bytes::from(vec![0; 1_000]);
            writer.frame(
                &qos,
                &MediaFrame::video(CodecId::H264, 0, 0, flags, payload),
                i * 40,
            );
        }
        let now = qos.snapshot(2_000);
        assert_eq!(
            (now.video_frames, now.keyframes, now.video_bytes),
            (51, 3, 51_000)
        );
        assert_eq!((now.video_bitrate_bps, now.fps), (200_000, 25.0));
        assert_eq!(now.since_last_frame, Duration::ZERO);
        let later = qos.snapshot(9_000);
        assert_eq!(
            (later.video_bitrate_bps, later.fps),
            (0, 0.0),
            "a stream that stopped has no rate"
        );
    }
}
