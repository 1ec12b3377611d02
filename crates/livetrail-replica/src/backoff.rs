//! Pauses between attempts: exponential, with full jitter. The jitter keeps replicators that lost
//! the same server from coming back all at once.

use std::time::Duration;

/// Doublings after which the pause has reached its bound in any case.
const MAX_DOUBLINGS: u32 = 20;

/// Computes the pause after each error in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    errors: u32,
}

impl Backoff {
    pub(super) const fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            errors: 0,
        }
    }

    /// Notes a success: the next error counts as the first again.
    pub(super) const fn reset(&mut self) {
        self.errors = 0;
    }

    /// Returns the pause after one more error. It is evenly distributed from zero to the bound, and
    /// the bound doubles with each error.
    pub(super) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.errors = self.errors.saturating_add(1);
        let pause = bound.as_secs_f64() * fraction();
        Duration::try_from_secs_f64(pause).unwrap_or(bound)
    }

    fn bound(&self) -> Duration {
        let doublings = self.errors.min(MAX_DOUBLINGS);
        let bound = self.first.saturating_mul(1 << doublings);
        bound.min(self.max)
    }
}

/// A random fraction, evenly distributed from 0 to 1. Without a source of randomness it is 1: the
/// pause is then not spread.
fn fraction() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_without_end_is_a_long_pause() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert!((0..100).any(|_| backoff.next() > Duration::from_hours(1)));
    }

    #[test]
    fn the_bound_doubles_up_to_the_longest_and_success_resets_it() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        for bound_ms in [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600] {
            assert_eq!(backoff.bound(), Duration::from_millis(bound_ms));
            assert!(backoff.next() <= Duration::from_millis(bound_ms));
        }
        for _ in 0..100 {
            assert_eq!(backoff.bound(), Duration::from_secs(30));
            assert!(backoff.next() <= Duration::from_secs(30));
        }
        backoff.reset();
        assert_eq!(backoff.bound(), Duration::from_millis(100));
    }

    #[test]
    fn pauses_are_spread_over_the_whole_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let pauses: Vec<_> = (0..1_000).map(|_| backoff.next()).collect();
        let short = pauses.iter().filter(|pause| pause.as_millis() < 500);
        // With 1,000 fair coins, the sum is outside these bounds once in 10^20 times.
        assert!((350..650).contains(&short.count()));
    }
}
