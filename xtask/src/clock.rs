//! The one place of this program that reads the clock: durations that a person reads.

use std::time::{Duration, Instant};

/// A running stopwatch.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command-line tool that tells how long its steps took; this is its clock module"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// `7.3 s` below a minute, `4 min 05 s` above.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_in_seconds_below_a_minute_and_in_minutes_above() {
        assert_eq!(human(Duration::from_millis(7_340)), "7.3 s");
        assert_eq!(human(Duration::from_secs(245)), "4 min 05 s");
    }
}
