//! One rendition: frames with their durations become parts, and parts become segments.
//!
//! A frame is added when its duration is known, that is when the next frame of its track has come.
//! So no limit rests on a guess: a part or a segment is closed *before* the frame that would exceed
//! its limit. A part is also closed as soon as no further frame can fit, so that nothing waits for
//! that frame.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    event::{Event, Irregularity, Part, Rendition, Segment, Track},
    format::Format,
    limits::Ticks,
    measure::Meter,
    mp4,
    time::{rescale, span},
    ts,
};

/// The maximum number of frames of a part: 0.5 s at 1,000 frames a second, and then some.
const MAX_FRAMES: usize = 1_024;
/// The maximum number of cuts of the leading track that wait for a track that is behind it.
const MAX_CUTS: usize = 8;

/// A frame with its times in ticks of its rendition.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) track: Track,
    /// Decode time.
    pub(crate) at: i64,
    /// At least 1.
    pub(crate) duration: u32,
    /// From decoding to presentation.
    pub(crate) composition: i32,
    pub(crate) key: bool,
    pub(crate) payload: Bytes,
}

impl Sample {
    fn end(&self) -> i64 {
        self.at.saturating_add(i64::from(self.duration))
    }
}

/// The writer of a container's bytes.
#[derive(Debug)]
pub(crate) enum Writer {
    /// The number of the last fragment.
    Mp4(u32),
    /// The writer of packets.
    Ts(Box<ts::Writer>),
}

impl Writer {
    fn write(&mut self, samples: &mut [Sample], payload_bytes: usize) -> Bytes {
        match self {
            Self::Mp4(number) => {
                *number = number.wrapping_add(1);
                mp4::fragment(*number, samples, payload_bytes)
            }
            Self::Ts(writer) => {
                // A frame is added when its successor has come, so tracks are out of step.
                samples.sort_unstable_by_key(|sample| sample.at);
                writer.write(samples, payload_bytes)
            }
        }
    }

    fn start_segment(&mut self) {
        if let Self::Ts(writer) = self {
            writer.start_segment();
        }
    }

    fn discontinue(&mut self) {
        if let Self::Ts(writer) = self {
            writer.discontinue();
        }
    }
}

/// What does not change between two calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) ticks: Ticks,
    pub(crate) max_part_bytes: usize,
    pub(crate) max_segment_bytes: usize,
    pub(crate) discontinuity_sequence: u64,
}

/// A rendition's open part and open segment.
#[derive(Debug)]
pub(crate) struct Lane {
    rendition: Rendition,
    pub(crate) hz: u32,
    /// The track whose durations are those of parts and segments.
    timing: Track,
    writer: Writer,
    meter: Meter,
    sequence: u64,
    /// The frames of the open part, and the sums over them.
    samples: Vec<Sample>,
    part_bytes: usize,
    part_duration: i64,
    /// The closed parts of the open segment, and the sums over them.
    parts: Vec<Part>,
    closed_bytes: usize,
    closed_duration: i64,
    /// The start of the open segment, if it has a frame of the timing track.
    start: Option<i64>,
    starts_with_key: bool,
    /// The end of the last closed part.
    end: i64,
    /// Cuts since the last discontinuity.
    cuts: u64,
    /// Cuts of the leading track that this one has not reached: their times and numbers.
    due: VecDeque<(i64, u64)>,
    /// Whether the open segment ends after the next frame.
    ends_after_next: bool,
}

impl Lane {
    pub(crate) fn new(rendition: Rendition, timing: Track, writer: Writer, sequence: u64) -> Self {
        Self {
            rendition,
            hz: crate::time::LINE_HZ,
            timing,
            writer,
            meter: Meter::default(),
            sequence,
            samples: Vec::new(),
            part_bytes: 0,
            part_duration: 0,
            parts: Vec::new(),
            closed_bytes: 0,
            closed_duration: 0,
            start: None,
            starts_with_key: false,
            end: 0,
            cuts: 0,
            due: VecDeque::new(),
            ends_after_next: false,
        }
    }

    /// Adds a frame. `next` is the expected duration of the next frame of its track.
    pub(crate) fn add(
        &mut self,
        sample: Sample,
        next: i64,
        rules: &Rules,
        events: &mut Vec<Event>,
    ) {
        let is_timing = sample.track == self.timing;
        let duration = i64::from(sample.duration);
        let rendition = self.rendition;
        if is_timing && duration > rules.ticks.part {
            let track = sample.track;
            events.push(Event::Irregular(Irregularity::LongFrame { track }));
        }
        if is_timing && self.start.is_some() {
            if self.duration().saturating_add(duration) > rules.ticks.longest {
                if sample.track == Track::Video && !sample.key {
                    events.push(Event::Irregular(Irregularity::LongGop));
                }
                self.close_segment(rules, events);
            } else if self.part_duration.saturating_add(duration) > rules.ticks.part {
                self.close_part(rules, events);
            }
        }
        let bytes = self.part_bytes.saturating_add(sample.payload.len());
        let is_full = bytes > rules.max_part_bytes || self.samples.len() >= MAX_FRAMES;
        if is_full && !self.samples.is_empty() {
            events.push(Event::Irregular(Irregularity::FullPart { rendition }));
            self.write_part(rules, events);
        }
        if self.closed_bytes > rules.max_segment_bytes {
            events.push(Event::Irregular(Irregularity::FullSegment { rendition }));
            self.close_segment(rules, events);
        }
        self.take(sample);
        if self.ends_after_next && is_timing {
            return self.close_segment(rules, events);
        }
        let full = self
            .part_duration
            .saturating_add(next)
            .saturating_sub(rules.ticks.slack);
        if is_timing && self.part_duration >= rules.ticks.part_min && full > rules.ticks.part {
            self.close_part(rules, events);
        }
    }

    fn take(&mut self, sample: Sample) {
        if sample.track == self.timing {
            if self.start.is_none() {
                self.start = Some(sample.at.max(self.end));
                self.starts_with_key = sample.key;
            }
            self.part_duration = self
                .part_duration
                .saturating_add(i64::from(sample.duration));
        }
        self.part_bytes = self.part_bytes.saturating_add(sample.payload.len());
        self.samples.push(sample);
    }

    /// Sets the track whose durations count, when nothing is open.
    pub(crate) fn set_timing(&mut self, track: Track) {
        self.timing = track;
        if let Writer::Ts(writer) = &mut self.writer {
            writer.set_clock(track);
        }
    }

    /// A track has a new format.
    pub(crate) fn set_format(&mut self, format: &Format) {
        match &mut self.writer {
            Writer::Mp4(_) => {
                self.end = rescale(self.end, self.hz, format.hz);
                self.hz = format.hz;
            }
            Writer::Ts(writer) => writer.set_format(format.clone()),
        }
    }

    /// Another track leads from here on.
    pub(crate) fn forget_cuts(&mut self) {
        self.cuts = 0;
        self.due.clear();
    }

    /// Whether a frame of this track makes the open segment too long.
    pub(crate) fn exceeds(&self, track: Track, duration: i64, ticks: &Ticks) -> bool {
        track == self.timing && self.duration().saturating_add(duration) > ticks.longest
    }

    /// The duration of the open segment.
    pub(crate) fn duration(&self) -> i64 {
        self.closed_duration.saturating_add(self.part_duration)
    }

    /// The time from the start of the open segment, if there is one.
    pub(crate) fn elapsed(&self, at: i64) -> Option<i64> {
        self.start.map(|start| at.saturating_sub(start))
    }

    /// Cuts here, at a keyframe of the leading track. Returns the number of the cut.
    pub(crate) fn cut(&mut self, rules: &Rules, events: &mut Vec<Event>) -> u64 {
        self.close_segment(rules, events);
        self.cuts
    }

    /// The leading track was cut at a time: this one is cut there, now if it is already beyond.
    /// `reached` is the time of its newest frame.
    pub(crate) fn follow_cut(
        &mut self,
        cut: (i64, u64),
        reached: Option<i64>,
        rules: &Rules,
        events: &mut Vec<Event>,
    ) {
        if self.due.len() >= MAX_CUTS {
            self.due.pop_front();
        }
        self.due.push_back(cut);
        if let Some(reached) = reached {
            self.reach(reached, rules, events);
        }
    }

    /// The next frame of this track is at a time: cuts that are due by then are made.
    pub(crate) fn reach(&mut self, at: i64, rules: &Rules, events: &mut Vec<Event>) {
        while let Some((cut, number)) = self.due.front().copied() {
            if cut > at {
                break;
            }
            self.due.pop_front();
            // A segment that was closed because of its length counts.
            if self.cuts < number {
                self.cut_at(cut, rules, events);
                self.cuts = number;
            }
        }
    }

    /// Cuts at the first frame from `at` on that is not in a closed part. If a part was closed just
    /// before, players already wait for the next part of this segment (section 6.2.6): it comes,
    /// and has one frame.
    fn cut_at(&mut self, at: i64, rules: &Rules, events: &mut Vec<Event>) {
        let keep = self.samples.iter().position(|sample| sample.at >= at);
        let rest = match keep {
            None if self.samples.is_empty() && !self.parts.is_empty() => {
                self.ends_after_next = true;
                return;
            }
            None => Vec::new(),
            Some(0) if self.parts.is_empty() => return,
            Some(0) if self.has_room(rules) => self.samples.split_off(1),
            Some(keep) => self.samples.split_off(keep),
        };
        self.part_bytes = 0;
        self.part_duration = 0;
        for sample in &self.samples {
            self.part_bytes = self.part_bytes.saturating_add(sample.payload.len());
            self.part_duration = self
                .part_duration
                .saturating_add(i64::from(sample.duration));
        }
        self.close_segment(rules, events);
        rest.into_iter().for_each(|sample| self.take(sample));
    }

    /// Whether the open segment may have the first open frame.
    fn has_room(&self, rules: &Rules) -> bool {
        let first = self.samples.first().map_or(0, |first| first.duration);
        self.closed_duration.saturating_add(i64::from(first)) <= rules.ticks.longest
    }

    /// Closes the open part in the middle of a segment.
    fn close_part(&mut self, rules: &Rules, events: &mut Vec<Event>) {
        if self.part_duration < rules.ticks.part_min && !self.samples.is_empty() {
            events.push(Event::Irregular(Irregularity::ShortPart {
                rendition: self.rendition,
                duration: span(self.part_duration, self.hz),
            }));
        }
        self.write_part(rules, events);
    }

    fn write_part(&mut self, rules: &Rules, events: &mut Vec<Event>) {
        let Some(first) = self.samples.first() else {
            return;
        };
        let timing = self
            .samples
            .iter()
            .find(|sample| sample.track == self.timing);
        if timing.is_none() {
            // Only frames of the other track, before a discontinuity: up to 3 s of audio after
            // the last picture, of which no more counts than a part may last.
            let end = self.samples.last().map_or(first.at, Sample::end);
            let most = rules.ticks.longest.saturating_sub(self.closed_duration);
            let most = most.min(rules.ticks.part).max(1);
            let lasts = end.saturating_sub(first.at.max(self.end));
            self.part_duration = lasts.clamp(1, most);
        }
        // Tracks that alternate in leading may overlap.
        let start = timing.unwrap_or(first).at.max(self.end);
        self.end = start.saturating_add(self.part_duration);
        if self.start.is_none() {
            self.start = Some(start);
            self.starts_with_key = self.timing == Track::Audio;
        }
        let independent = self
            .samples
            .iter()
            .any(|sample| sample.track == self.timing && sample.key);
        let bytes = self.writer.write(&mut self.samples, self.part_bytes);
        self.closed_bytes = self.closed_bytes.saturating_add(bytes.len());
        self.closed_duration = self.duration();
        let videos = self
            .samples
            .iter()
            .filter(|sample| sample.track == Track::Video);
        self.meter.frames(videos.count());
        let part = Part {
            rendition: self.rendition,
            sequence: self.sequence,
            index: u32::try_from(self.parts.len()).unwrap_or(u32::MAX),
            start: span(start, self.hz),
            duration: span(self.part_duration, self.hz),
            independent,
            frames: u32::try_from(self.samples.len()).unwrap_or(u32::MAX),
            bytes,
        };
        self.samples.clear();
        self.part_bytes = 0;
        self.part_duration = 0;
        events.push(Event::Part(part.clone()));
        self.parts.push(part);
    }

    /// Closes the open segment, if it has a frame.
    pub(crate) fn close_segment(&mut self, rules: &Rules, events: &mut Vec<Event>) {
        self.write_part(rules, events);
        let (Some(start), false) = (self.start.take(), self.parts.is_empty()) else {
            return;
        };
        let duration = self.closed_duration;
        let bytes = self.closed_bytes;
        let target = span(rules.ticks.segment, self.hz);
        let duration = span(duration, self.hz);
        events.push(Event::Segment(Segment {
            rendition: self.rendition,
            sequence: self.sequence,
            discontinuity_sequence: rules.discontinuity_sequence,
            start: span(start, self.hz),
            duration,
            independent: self.starts_with_key,
            parts: std::mem::take(&mut self.parts),
            measured: self.meter.segment(duration, bytes, target),
        }));
        self.writer.start_segment();
        self.sequence = self.sequence.saturating_add(1);
        // A cut that waited for a frame was counted when it was due.
        let was_counted = std::mem::take(&mut self.ends_after_next);
        self.cuts = self.cuts.saturating_add(u64::from(!was_counted));
        self.closed_bytes = 0;
        self.closed_duration = 0;
    }

    /// Closes the open segment at a discontinuity.
    pub(crate) fn discontinue(&mut self, rules: &Rules, events: &mut Vec<Event>) {
        self.close_segment(rules, events);
        self.writer.discontinue();
        self.forget_cuts();
    }
}
