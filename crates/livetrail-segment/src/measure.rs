//! The bit rates and the frame rate of a rendition.

use std::{collections::VecDeque, time::Duration};

use crate::event::Measured;

/// The maximum number of segments whose rate is taken together. More are only there if they are
/// much shorter than the target.
const MAX_TOGETHER: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The duration and size of the last segments, the newest first.
    last: VecDeque<(Duration, usize)>,
    peak_bps: u64,
    bytes: u128,
    duration: Duration,
    frames: u64,
}

impl Meter {
    /// Counts video frames of the open segment.
    pub(crate) fn frames(&mut self, count: usize) {
        self.frames = self.frames.saturating_add(count as u64);
    }

    /// Counts a segment, and returns the rates with it.
    pub(crate) fn segment(
        &mut self,
        duration: Duration,
        bytes: usize,
        target: Duration,
    ) -> Measured {
        self.bytes = self.bytes.saturating_add(bytes as u128);
        self.duration = self.duration.saturating_add(duration);
        self.last.truncate(MAX_TOGETHER.saturating_sub(1));
        self.last.push_front((duration, bytes));
        let (mut together, mut sum) = (Duration::ZERO, 0_u128);
        for (duration, bytes) in &self.last {
            together = together.saturating_add(*duration);
            sum = sum.saturating_add(*bytes as u128);
            let doubled = together.saturating_mul(2);
            if doubled > target.saturating_mul(3) {
                break;
            }
            if doubled >= target {
                self.peak_bps = self.peak_bps.max(rate(sum.saturating_mul(8), together));
            }
        }
        let average_bps = rate(self.bytes.saturating_mul(8), self.duration);
        let frames = u128::from(self.frames).saturating_mul(1_000);
        Measured {
            // Segments that are all too short or too long have no peak by that definition.
            peak_bps: self.peak_bps.max(average_bps),
            average_bps,
            frames_per_1000_s: rate(frames, self.duration),
        }
    }
}

/// How many a second.
fn rate(count: u128, duration: Duration) -> u64 {
    let nanos = count.saturating_mul(1_000_000_000);
    let rate = nanos.checked_div(duration.as_nanos()).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_segments_around_the_target() {
        let mut meter = Meter::default();
        let target = Duration::from_secs(2);
        let one = meter.segment(target, 250_000, target);
        assert_eq!((one.peak_bps, one.average_bps), (1_000_000, 1_000_000));
        // A segment of less than half a target counts together with others.
        let short = Duration::from_millis(500);
        let two = meter.segment(short, 250_000, target);
        assert_eq!((two.peak_bps, two.average_bps), (1_600_000, 1_600_000));
        meter.frames(75);
        let three = meter.segment(short, 0, target);
        assert_eq!(three.peak_bps, 2_000_000);
        assert_eq!(three.frames_per_1000_s, 25_000);
    }
}
