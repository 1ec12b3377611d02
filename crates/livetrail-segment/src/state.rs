//! A track's state: its format, and its clock.

use bytes::Bytes;
use livetrail_engine::{CodecId, MediaFrame};

use crate::{
    event::{Event, Irregularity, Track},
    format::Format,
    time::{LINE_HZ, rescale},
};

/// What a sender's clock may lose at once: 2^32 ms (RTMP, FLV) and 2^33 ticks (MPEG-TS).
const WRAPS: [i64; 2] = [90 << 32, 1 << 33];
/// How far a track may be from the other one, and still have the same clock.
const SAME_CLOCK: i64 = 10 * LINE_HZ as i64;
/// Times up to this are kept; later ones are counted from 0. About 3,000 years.
const MAX_KEPT: i64 = 1 << 53;

/// A frame whose duration is not known yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Decode time in ticks of the track.
    pub(crate) at: i64,
    pub(crate) composition: i32,
    pub(crate) key: bool,
    pub(crate) payload: Bytes,
}

/// Where a frame is that continues its track.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    offset: i64,
    has_wrapped: bool,
    at: i64,
}

#[derive(Debug)]
pub(crate) struct State {
    track: Track,
    pub(crate) format: Option<Format>,
    /// A configuration that applies from the next keyframe.
    pub(crate) next_format: Option<Format>,
    /// The last configuration cannot be read.
    pub(crate) is_broken: bool,
    pub(crate) waits_for_key: bool,
    /// Whether it may lead.
    pub(crate) is_running: bool,
    /// From input times to the common time line, in its ticks.
    pub(crate) offset: Option<i64>,
    /// The last frame's time since the last discontinuity.
    pub(crate) last: Option<i64>,
    pub(crate) last_key: Option<i64>,
    pub(crate) waiting: Option<Waiting>,
    /// The expected duration of a frame.
    pub(crate) nominal: i64,
    /// The end of the last frame that was completed.
    pub(crate) end: i64,
    pub(crate) has_extra: bool,
    pub(crate) unsupported: Option<CodecId>,
}

impl State {
    pub(crate) fn new(track: Track) -> Self {
        Self {
            track,
            format: None,
            next_format: None,
            is_broken: false,
            waits_for_key: track == Track::Video,
            is_running: false,
            offset: None,
            last: None,
            last_key: None,
            waiting: None,
            nominal: i64::from(LINE_HZ) / 30,
            end: 0,
            has_extra: false,
            unsupported: None,
        }
    }

    /// Ticks per second.
    pub(crate) fn hz(&self) -> u32 {
        self.format.as_ref().map_or(LINE_HZ, |format| format.hz)
    }

    /// Whether frames can be segmented.
    pub(crate) fn has_format(&self) -> bool {
        !self.is_broken && (self.format.is_some() || self.next_format.is_some())
    }

    /// Whether this configuration applies, or will apply.
    pub(crate) fn is_of(&self, frame: &MediaFrame) -> bool {
        let format = self.next_format.as_ref().or(self.format.as_ref());
        format.is_some_and(|format| format.is_of(frame))
    }

    /// Changes the format. No frame waits.
    pub(crate) fn set_format(&mut self, format: Format) {
        // Rounded up: time never goes back.
        let end = rescale(self.end, self.hz(), format.hz);
        self.end = end.saturating_add(i64::from(self.end > 0 && format.hz != self.hz()));
        self.nominal = rescale(self.nominal, self.hz(), format.hz);
        self.format = Some(format);
    }

    /// The duration of a frame, as far as the frame gives it. `None` if the frame is not what its
    /// format says.
    pub(crate) fn nominal_of(&self, payload: &[u8]) -> Option<i64> {
        match self.track {
            Track::Video => Some(self.nominal),
            Track::Audio => self.format.as_ref()?.samples(payload),
        }
    }

    /// Where the track is on the common line: the end of the last complete frame, or the start of
    /// the one that waits.
    pub(crate) fn reached(&self) -> i64 {
        let waiting = self.waiting.as_ref().map_or(0, |waiting| waiting.at);
        rescale(self.end.max(waiting), self.hz(), LINE_HZ)
    }

    fn map(&self, raw: i64, offset: i64) -> i64 {
        rescale(raw.saturating_add(offset), LINE_HZ, self.hz())
    }

    /// The step from the last frame to this one, in ticks.
    pub(crate) fn step(&self, raw: i64) -> Option<i64> {
        let at = self.map(raw, self.offset?);
        Some(at.saturating_sub(self.last?))
    }

    /// The frame's time, if it is less than `most` ticks from the last frame by this track's
    /// clock, by this clock after a wrap, or by the clock of the other track.
    pub(crate) fn continues(&self, raw: i64, other: Option<i64>, most: i64) -> Option<Found> {
        let (last, offset) = (self.last?, self.offset?);
        let find = |offset: i64, has_wrapped| {
            let at = self.map(raw, offset);
            let step = at.saturating_sub(last);
            let found = Found {
                offset,
                has_wrapped,
                at,
            };
            (step <= most && step > most.saturating_neg()).then_some(found)
        };
        let wrapped = || {
            let wraps = WRAPS.iter().flat_map(|wrap| [*wrap, wrap.saturating_neg()]);
            wraps
                .into_iter()
                .find_map(|by| find(offset.saturating_add(by), true))
        };
        find(offset, false)
            .or_else(wrapped)
            .or_else(|| find(other?, false))
    }

    /// The time of a frame that continues the track. Video has the times of its frames, audio
    /// those of its samples, until they differ by more than a frame.
    pub(crate) fn follow(&mut self, found: Found, slack: i64, events: &mut Vec<Event>) -> i64 {
        let track = self.track;
        self.offset = Some(found.offset);
        if found.has_wrapped {
            events.push(Event::Irregular(Irregularity::ClockWrapped { track }));
        }
        let last = self.last.unwrap_or_default();
        // A frame that was completed early may end after it.
        let least = match self.waiting {
            Some(_) => last.saturating_add(1),
            None => self.end,
        };
        if track == Track::Video {
            if found.at <= last {
                events.push(Event::Irregular(Irregularity::NotIncreasing { track }));
            }
            return found.at.max(least);
        }
        let expected = last.saturating_add(self.nominal).max(least);
        let drift = found.at.saturating_sub(expected);
        if drift.saturating_abs() <= self.nominal.saturating_add(slack) {
            return expected;
        }
        let by_ms = rescale(drift, self.hz(), 1_000);
        events.push(Event::Irregular(Irregularity::AudioAdjusted { by_ms }));
        found.at.max(least)
    }

    /// The time of the first frame after a discontinuity, or of the track. `other` is the offset of
    /// the other track, and `horizon` the furthest end of both, in ticks of the common line; `part`
    /// is the longest that a frame may have been completed early.
    pub(crate) fn join(&mut self, raw: i64, other: Option<i64>, horizon: i64, part: i64) -> i64 {
        let earliest = match self.offset {
            Some(_) => self.reached().saturating_sub(part),
            None => horizon.saturating_sub(SAME_CLOCK),
        };
        let fits = |offset: &i64| {
            let at = raw.saturating_add(*offset);
            at >= earliest && at <= horizon.saturating_add(SAME_CLOCK)
        };
        let offset = if self.offset.is_none() && other.is_none() {
            // The stream's own times, unless they are unusable.
            if (0..=MAX_KEPT).contains(&raw) {
                0
            } else {
                raw.saturating_neg()
            }
        } else {
            let known = self.offset.into_iter().chain(other);
            known
                .into_iter()
                .find(fits)
                .unwrap_or(horizon.saturating_sub(raw))
        };
        self.offset = Some(offset);
        self.map(raw, offset).max(self.end)
    }
}
