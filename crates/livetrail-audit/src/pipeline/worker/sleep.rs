//! The worker's pause between two rounds.

use std::time::Duration;

/// The next pause.
///
/// It is 0.5 to 2 ms after the worker found something, and doubles up to 10 ms. Small queues have
/// shorter pauses, down to queues of 256. So a burst of 250,000 records per second fits into the
/// queue during a pause.
pub(super) struct Sleep {
    shortest: Duration,
    longest: Duration,
    now: Duration,
    /// The time since the worker last found something.
    silent: Duration,
}

/// After this long without a record the worker sleeps until an offer wakes it.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// The longest such sleep. A host's clock may move forward during it, so that something is due
/// earlier.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(5);

impl Sleep {
    pub(super) fn for_capacity(records: usize) -> Self {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        let shortest = Duration::from_micros(records.clamp(500, 2_000));
        let longest = Duration::from_micros(records.saturating_mul(4).clamp(1_000, 10_000));
        Self {
            shortest,
            longest,
            now: shortest,
            silent: Duration::ZERO,
        }
    }

    pub(super) fn after(&mut self, found: usize) -> Duration {
        if found > 0 {
            self.now = self.shortest;
            self.silent = Duration::ZERO;
            return self.now;
        }
        self.now = (self.now * 2).min(self.longest);
        self.silent = self.silent.saturating_add(self.now);
        self.now
    }

    /// Whether nothing has come for a long time.
    pub(super) fn is_silent(&self) -> bool {
        self.silent >= IDLE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_grow_while_nothing_comes_and_are_shorter_for_small_queues() {
        let ms = Duration::from_millis;
        let mut sleep = Sleep::for_capacity(65_536);
        let idle: Vec<_> = (0..4).map(|_| sleep.after(0)).collect();
        assert_eq!(idle, [ms(4), ms(8), ms(10), ms(10)]);
        let mut silent = ms(32);
        while silent < IDLE_AFTER {
            assert!(!sleep.is_silent());
            silent += sleep.after(0);
        }
        assert!(sleep.is_silent());
        assert_eq!(sleep.after(1), ms(2));
        assert!(!sleep.is_silent());
        assert_eq!(
            [0; 3].map(|found| sleep.after(found)),
            [ms(4), ms(8), ms(10)]
        );
        let mut small = Sleep::for_capacity(1);
        assert_eq!(
            (small.after(0), small.after(0), small.after(1)),
            (ms(1), ms(1), Duration::from_micros(500))
        );
    }
}
