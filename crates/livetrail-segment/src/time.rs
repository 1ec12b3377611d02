//! Units of time: everything is in ticks of a track, and 90,000 ticks a second are common to all.

use std::time::Duration;

use livetrail_engine::MediaFrame;

/// Ticks per second of the common time line, and of video.
pub(crate) const LINE_HZ: u32 = 90_000;

/// The largest input time, in ticks of the common time line: 1.6 million years.
const MAX_INPUT: i64 = 1 << 62;

/// Ticks of one rate in another, rounded to the nearest.
pub(crate) fn rescale(ticks: i64, from_hz: u32, to_hz: u32) -> i64 {
    if from_hz == to_hz {
        return ticks;
    }
    let from = i128::from(from_hz.max(1));
    let scaled = i128::from(ticks).saturating_mul(i128::from(to_hz));
    let scaled = scaled.saturating_add(from >> 1).div_euclid(from);
    i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
}

/// A span in ticks, rounded down; saturates.
pub(crate) fn ticks(span: Duration, hz: u32) -> i64 {
    let ticks = span.as_nanos().saturating_mul(u128::from(hz)) / 1_000_000_000;
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

/// A span in ticks, rounded up; saturates.
pub(crate) fn ticks_up(span: Duration, hz: u32) -> i64 {
    let ticks = span.as_nanos().saturating_mul(u128::from(hz));
    i64::try_from(ticks.div_ceil(1_000_000_000)).unwrap_or(i64::MAX)
}

/// Ticks as a span, rounded down to nanoseconds; a negative number is 0.
pub(crate) fn span(ticks: i64, hz: u32) -> Duration {
    let ticks = u128::from(ticks.max(0).unsigned_abs());
    let nanos = ticks.saturating_mul(1_000_000_000);
    let nanos = nanos.checked_div(u128::from(hz)).unwrap_or(0);
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanos % 1_000_000_000) as u32)
}

/// A frame's decode time, and the time from decoding to presentation, in ticks of the common line.
pub(crate) fn times(frame: &MediaFrame) -> (i64, i32) {
    let hz = frame.time_base.hz();
    let dts = rescale(frame.dts, hz, LINE_HZ).clamp(-MAX_INPUT, MAX_INPUT);
    let pts = rescale(frame.pts, hz, LINE_HZ).clamp(-MAX_INPUT, MAX_INPUT);
    let nanos = i64::from(frame.pts_nanos.min(999_999));
    let pts = pts.saturating_add(rescale(nanos, 1_000_000_000, LINE_HZ));
    let composition = pts.saturating_sub(dts);
    let bound = if composition < 0 { i32::MIN } else { i32::MAX };
    (dts, i32::try_from(composition).unwrap_or(bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rescaled_without_overflow() {
        assert_eq!(rescale(1, 1_000, LINE_HZ), 90);
        assert_eq!(rescale(-1, 1_000, LINE_HZ), -90);
        assert_eq!(rescale(i64::MAX, 1, u32::MAX), i64::MAX);
        assert_eq!(rescale(i64::MIN, 1, u32::MAX), i64::MIN);
        assert_eq!(ticks(Duration::MAX, u32::MAX), i64::MAX);
        assert_eq!(span(45_000, LINE_HZ), Duration::from_millis(500));
        assert_eq!(span(-1, 0), Duration::ZERO);
    }
}
