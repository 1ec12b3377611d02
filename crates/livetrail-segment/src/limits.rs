//! The durations that hold for parts and segments, and the rule for a cut.

use std::time::Duration;

use crate::{
    options::{Options, Targets},
    time::{ticks, ticks_up},
};

/// Below half a second, so that a duration rounds down however a playlist prints it.
const ROUNDS_DOWN: Duration = Duration::from_millis(499);

/// What is added for jitter to a part target that a slow frame rate needs.
const JITTER: Duration = Duration::from_millis(5);

/// The durations of a stream: the target duration is open until the first segment is cut.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// What segments come close to.
    segment: Duration,
    /// What no segment is longer than.
    longest: Duration,
    part: Duration,
    target_duration_s: Option<u32>,
    /// The longest segment before the target duration is set.
    seen: Duration,
}

impl Limits {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            segment: options.segment,
            longest: longest(seconds_up(options.longest_segment)),
            part: options.part,
            target_duration_s: None,
            seen: Duration::ZERO,
        }
    }

    /// A segment lasts at least this long, and may be closed at any time.
    pub(crate) fn see(&mut self, segment: Duration) {
        self.seen = self.seen.max(segment);
    }

    /// Sets the part target for frames of this duration: the wanted one if enough of it can be
    /// filled, else the next multiple of a frame.
    pub(crate) fn fit_frames(&mut self, frame: Duration) {
        let (part, frame) = (self.part.as_nanos(), frame.as_nanos());
        if frame == 0 {
            return;
        }
        let whole = part.checked_div(frame).unwrap_or(0).saturating_mul(frame);
        if whole.saturating_mul(100) >= part.saturating_mul(85) {
            return;
        }
        let next = part.div_ceil(frame).saturating_mul(frame);
        let next = Duration::from_nanos(u64::try_from(next).unwrap_or(u64::MAX));
        self.part = next.saturating_add(JITTER).min(self.segment);
    }

    /// The target duration is that of a first segment of this length. Returns the targets if they
    /// are new.
    pub(crate) fn fix(&mut self, first: Duration) -> Option<Targets> {
        if self.target_duration_s.is_some() {
            return None;
        }
        let rounded = first
            .max(self.seen)
            .min(self.longest)
            .saturating_add(Duration::from_millis(500));
        let rounded = rounded.as_secs();
        let wanted = seconds_up(self.segment);
        let seconds = u32::try_from(rounded).unwrap_or(u32::MAX).max(wanted);
        self.target_duration_s = Some(seconds);
        self.longest = longest(seconds);
        if seconds > wanted {
            self.segment = Duration::from_secs(u64::from(seconds));
        }
        Some(Targets {
            target_duration_s: seconds,
            part_target: self.part,
        })
    }

    /// The limits in ticks.
    pub(crate) fn in_ticks(&self, hz: u32) -> Ticks {
        let least = self.part.saturating_mul(85).checked_div(100);
        Ticks {
            segment: ticks(self.segment, hz),
            longest: ticks(self.longest, hz),
            part: ticks(self.part, hz),
            part_min: ticks_up(least.unwrap_or(self.part), hz),
            slack: ticks(Duration::from_millis(2), hz),
        }
    }
}

fn seconds_up(span: Duration) -> u32 {
    let up = span.saturating_add(Duration::from_nanos(999_999_999));
    u32::try_from(up.as_secs()).unwrap_or(u32::MAX)
}

fn longest(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds)).saturating_add(ROUNDS_DOWN)
}

/// Limits in ticks of a rendition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    /// What segments come close to.
    pub(crate) segment: i64,
    /// What no segment is longer than.
    pub(crate) longest: i64,
    /// What no part is longer than.
    pub(crate) part: i64,
    /// What every part lasts, except the last of a segment.
    pub(crate) part_min: i64,
    /// By how much frames of a constant rate differ, because of timestamps in milliseconds.
    pub(crate) slack: i64,
}

impl Ticks {
    /// Whether to cut at a keyframe, `elapsed` after the segment's start and `gop` after the
    /// keyframe before: if the next one would come too late, or be farther from the wanted
    /// duration.
    pub(crate) fn cuts(&self, elapsed: i64, gop: i64) -> bool {
        let next = elapsed.saturating_add(gop);
        let off = |elapsed: i64| elapsed.saturating_sub(self.segment).saturating_abs();
        elapsed > 0 && (next > self.longest || off(elapsed) <= off(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::new(&Options::default())
    }

    #[test]
    fn a_cut_is_at_the_keyframe_nearest_to_the_wanted_duration() {
        let mut limits = limits();
        limits.fix(Duration::from_secs(2));
        let ticks = limits.in_ticks(1_000);
        assert!(!ticks.cuts(1_000, 1_000) && ticks.cuts(2_000, 1_000));
        // The next would be too late.
        assert!(ticks.cuts(1_500, 1_500));
        // All-intra.
        assert!(!ticks.cuts(1_960, 40) && ticks.cuts(2_000, 40));
        assert!(!ticks.cuts(0, 40));
    }

    #[test]
    fn the_target_duration_is_that_of_the_first_gop_and_never_changes() {
        let mut limits = limits();
        let targets = limits.fix(Duration::from_millis(4_010)).unwrap();
        assert_eq!(targets.target_duration_s, 4);
        assert_eq!(limits.in_ticks(1_000).longest, 4_499);
        assert_eq!(limits.fix(Duration::from_secs(6)), None);
    }

    #[test]
    fn the_least_of_a_part_is_rounded_up_at_any_rate() {
        for (hz, ticks) in [(90_000, 38_250), (44_100, 18_743), (11_025, 4_686)] {
            assert_eq!(limits().in_ticks(hz).part_min, ticks);
        }
    }

    #[test]
    fn the_part_target_fits_the_frame_rate() {
        let part = |frame_ms| {
            let mut limits = limits();
            limits.fit_frames(Duration::from_millis(frame_ms));
            limits.in_ticks(1_000).part
        };
        assert_eq!(
            (part(33), part(40), part(8), part(100)),
            (500, 500, 500, 500)
        );
        // Three frames a second: one would be 66 % of the target, two are more than it.
        assert_eq!(part(333), 671);
        assert_eq!(part(1_000), 1_005);
        assert_eq!(part(9_000), 2_000);
    }
}
