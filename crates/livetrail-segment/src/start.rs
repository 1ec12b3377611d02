//! The first frames of a stream, which are held until its tracks and its frame rate are known.

use std::time::Duration;

use livetrail_engine::{CodecId, MediaFrame};

use crate::{
    event::Track,
    time::{LINE_HZ, span, ticks, times},
};

/// The maximum number of held frames.
const MAX_HELD: usize = 512;
/// Video frames that give the frame rate, when both tracks are known.
const ENOUGH: usize = 4;
/// How long frames are held for a second track.
const SECOND_TRACK: Duration = Duration::from_secs(1);
/// How long they are held for a second video frame.
const SECOND_FRAME: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Start {
    held: Vec<(Track, MediaFrame)>,
    bytes: usize,
    /// The first and the last time, in ticks of the common line.
    times: Option<(i64, i64)>,
    /// Frames that are not configurations, of video and audio.
    coded: [usize; 2],
    has: [bool; 2],
}

impl Start {
    /// Holds a frame. Its payload is shared.
    pub(crate) fn hold(&mut self, track: Track, frame: MediaFrame) {
        self.bytes = self.bytes.saturating_add(frame.payload.len());
        if let Some(has) = self.has.get_mut(track.index()) {
            *has = true;
        }
        if !frame.is_config() {
            let (at, _) = times(&frame);
            let (first, last) = self.times.unwrap_or((at, at));
            self.times = Some((first.min(at), last.max(at)));
            if let Some(coded) = self.coded.get_mut(track.index()) {
                *coded = coded.saturating_add(1);
            }
        }
        self.held.push((track, frame));
    }

    /// Whether enough is known, or no more is held.
    pub(crate) fn is_complete(&self, max_bytes: usize) -> bool {
        let [videos, audios] = self.coded;
        let [has_video, _] = self.has;
        let (first, last) = self.times.unwrap_or_default();
        let held = last.saturating_sub(first);
        let is_measured = !has_video || videos > 1;
        self.held.len() >= MAX_HELD
            || self.bytes > max_bytes
            || (videos >= ENOUGH && audios > 0)
            || (held >= ticks(SECOND_TRACK, LINE_HZ) && is_measured)
            || held >= ticks(SECOND_FRAME, LINE_HZ)
    }

    pub(crate) fn frames(&self) -> &[(Track, MediaFrame)] {
        &self.held
    }

    /// The first configuration of a track, or its first frame.
    pub(crate) fn configuration(&self, track: Track) -> Option<&MediaFrame> {
        let of = || self.held.iter().filter(|(of, _)| *of == track);
        let config = of().find(|(_, frame)| frame.is_config());
        // A track without configurations is MP3, whose frames say what they are.
        let first = || of().find(|(_, frame)| frame.codec == CodecId::Mp3);
        config.or_else(first).map(|(_, frame)| frame)
    }

    /// Whether decoding can start in these frames.
    pub(crate) fn has_keyframe(&self) -> bool {
        self.held.iter().any(|(_, frame)| frame.is_keyframe())
    }

    /// The content of a track's first frame.
    pub(crate) fn first(&self, track: Track) -> Option<&[u8]> {
        let mut of = self.held.iter().filter(|(of, _)| *of == track);
        let first = of.find(|(_, frame)| !frame.is_config());
        first.map(|(_, frame)| &frame.payload[..])
    }

    /// The usual distance of two video frames, if there are two.
    pub(crate) fn video_frame(&self) -> Option<Duration> {
        let videos = self
            .held
            .iter()
            .filter(|(track, frame)| *track == Track::Video && !frame.is_config());
        let times: Vec<i64> = videos.map(|(_, frame)| times(frame).0).collect();
        let mut steps: Vec<i64> = times
            .windows(2)
            .filter_map(|pair| match pair {
                [one, next] => Some(next.saturating_sub(*one)),
                _ => None,
            })
            .filter(|step| *step > 0)
            .collect();
        steps.sort_unstable();
        let middle = steps.get(steps.len() / 2)?;
        Some(span(*middle, LINE_HZ))
    }
}
