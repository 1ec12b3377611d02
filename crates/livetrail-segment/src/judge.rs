//! What holds for the events of every stream, whatever its frames are: for fuzzing and tests.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a judge panics where a rule is violated"
)]

use std::time::Duration;

use crate::{Event, Irregularity, Options, Part, Rendition, Segment, Targets};

/// Overhead of a container per frame, and per part, in bytes.
const PER_FRAME: usize = 1_024;

/// Checks events in their order, and keeps the segments.
#[derive(Debug)]
pub struct Judge {
    options: Options,
    targets: Option<Targets>,
    renditions: [Checked; 3],
    /// The last discontinuity sequence number.
    discontinuity_sequence: u64,
    has_long_frames: bool,
    /// Parts shorter than 85 % of the part target: those that were reported, and those that came.
    short_reported: usize,
    short_parts: usize,
}

#[derive(Debug, Default)]
struct Checked {
    segments: Vec<Segment>,
    open: Vec<Part>,
    has_init: bool,
    end: Duration,
}

impl Judge {
    /// A judge of the events of one segmenter.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            discontinuity_sequence: options.first_discontinuity,
            options,
            targets: None,
            renditions: Default::default(),
            has_long_frames: false,
            short_reported: 0,
            short_parts: 0,
        }
    }

    /// Checks the events of some calls, and removes them.
    ///
    /// # Panics
    /// When a rule is violated.
    pub fn check(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            match event {
                Event::Init(init) => {
                    assert_eq!(init.discontinuity_sequence, self.discontinuity_sequence);
                    self.of(init.rendition).has_init = true;
                }
                Event::Part(part) => self.part(part),
                Event::Segment(segment) => self.segment(segment),
                Event::Targets(targets) => {
                    assert!(self.targets.is_none(), "the targets changed");
                    self.targets = Some(targets);
                    let renditions = self.renditions.iter();
                    let earlier = renditions.flat_map(|of_one| of_one.segments.clone());
                    let earlier: Vec<_> = earlier.collect();
                    earlier.iter().for_each(|segment| self.durations(segment));
                }
                Event::Discontinuity { sequence, .. } => {
                    assert_eq!(sequence, self.discontinuity_sequence.saturating_add(1));
                    self.discontinuity_sequence = sequence;
                    let mut renditions = self.renditions.iter();
                    assert!(
                        renditions.all(|of_one| of_one.open.is_empty()),
                        "an open segment"
                    );
                }
                Event::Irregular(irregularity) => {
                    assert!(!irregularity.label().is_empty());
                    match irregularity {
                        Irregularity::LongFrame { .. } => self.has_long_frames = true,
                        Irregularity::ShortPart { .. } | Irregularity::FullPart { .. } => {
                            self.short_reported += 1;
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// The segments of a rendition.
    #[must_use]
    pub fn segments(&self, rendition: Rendition) -> &[Segment] {
        let [video, audio, muxed] = &self.renditions;
        match rendition {
            Rendition::Video => &video.segments,
            Rendition::Audio => &audio.segments,
            Rendition::Muxed => &muxed.segments,
        }
    }

    /// The targets, if they came.
    #[must_use]
    pub fn targets(&self) -> Option<Targets> {
        self.targets
    }

    fn of(&mut self, rendition: Rendition) -> &mut Checked {
        let [video, audio, muxed] = &mut self.renditions;
        match rendition {
            Rendition::Video => video,
            Rendition::Audio => audio,
            Rendition::Muxed => muxed,
        }
    }

    fn part(&mut self, part: Part) {
        let first = self.options.first_sequence;
        // Start codes are longer than lengths.
        let most = self.options.max_part_bytes * 5 + part.frames as usize * PER_FRAME;
        assert!(
            part.bytes.len() <= most,
            "a part of {} bytes",
            part.bytes.len()
        );
        assert!(!part.bytes.is_empty() && part.frames > 0);
        let of_one = self.of(part.rendition);
        assert!(of_one.has_init, "a part without an init");
        assert_eq!(
            part.sequence,
            first.saturating_add(of_one.segments.len() as u64)
        );
        assert_eq!(part.index as usize, of_one.open.len());
        // Times are rounded down to nanoseconds.
        let rounded = Duration::from_nanos(2);
        assert!(
            part.start.saturating_add(rounded) >= of_one.end,
            "time went back"
        );
        of_one.end = part.start.saturating_add(part.duration);
        of_one.open.push(part);
    }

    fn segment(&mut self, segment: Segment) {
        assert_eq!(segment.discontinuity_sequence, self.discontinuity_sequence);
        self.durations(&segment);
        let of_one = self.of(segment.rendition);
        assert_eq!(segment.parts, std::mem::take(&mut of_one.open));
        assert_eq!(segment.start, segment.parts[0].start);
        assert_eq!(segment.parts[0].sequence, segment.sequence);
        let sum: Duration = segment.parts.iter().map(|part| part.duration).sum();
        let off = segment.duration.abs_diff(sum);
        assert!(
            off < Duration::from_micros(1),
            "the parts are not the segment"
        );
        assert!(!segment.independent || segment.parts[0].independent);
        let rates = segment.measured;
        assert!(rates.peak_bps >= rates.average_bps && rates.average_bps > 0);
        of_one.segments.push(segment);
    }

    /// Sections 4.4.3.1, 4.4.3.7 and 4.4.4.9.
    fn durations(&mut self, segment: &Segment) {
        let Some(targets) = self.targets else { return };
        if self.has_long_frames {
            return;
        }
        let rounded = segment.duration.as_millis().saturating_add(500) / 1_000;
        let target = u128::from(targets.target_duration_s);
        assert!(rounded <= target, "a segment of {:?}", segment.duration);
        for part in &segment.parts {
            assert!(
                part.duration <= targets.part_target,
                "a part of {:?}",
                part.duration
            );
        }
        let least = targets.part_target.mul_f64(0.849_999);
        let but_last = segment.parts.iter().rev().skip(1);
        self.short_parts += but_last.filter(|part| part.duration < least).count();
        assert!(
            self.short_parts <= self.short_reported,
            "a short part was not reported"
        );
    }
}
