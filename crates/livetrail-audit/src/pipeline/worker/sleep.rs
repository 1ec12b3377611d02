//! How long the worker sleeps between two looks.

use std::time::Duration;

/// The next pause.
///
/// From 0.5 to 2 ms after it found something, doubling to 10 ms; for small queues to less, so that a burst of 250,000 records a
/// second finds room during a sleep, down to queues of 256.
pub(super) struct Sleep {
    shortest: Duration,
    longest: Duration,
    now: Duration,
    /// For how long nothing was found.
    silent: Duration,
}

/// After this long without a record the worker sleeps until it is woken.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// But no longer than this at once: a host's clock may be ahead of what it was when something became due.
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

    /// Whether nothing has come for long.
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
