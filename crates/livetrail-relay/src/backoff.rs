//! How long to wait before the next attempt.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// The first wait.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double from one failure to the next, each shortened at random by up to a half, so
/// that nodes which failed together do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `random` is any number.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(self.failures.min(16)).unwrap_or(1);
        let whole = FIRST.saturating_mul(factor).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let span_ms = u64::try_from(half.as_millis()).unwrap_or(0);
        let more_ms = random.checked_rem(span_ms.saturating_add(1)).unwrap_or(0);
        half.saturating_add(Duration::from_millis(more_ms))
    }

    /// Begins again with the first wait, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number that differs from call to call. It need not be secret.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let (mut least, mut most) = (Backoff::default(), Backoff::default());
        let mut before = Duration::ZERO;
        for _ in 0..100 {
            let (short, long) = (least.next(0), most.next(u64::MAX - 5));
            assert!(short >= FIRST / 2 && long <= LONGEST && short <= long);
            assert!(short >= before);
            before = short;
        }
        assert_eq!(before, LONGEST / 2);
        least.reset();
        assert_eq!(least.next(0), FIRST / 2);
        let first = |random| Backoff::default().next(random);
        assert_ne!(first(1), first(100));
    }
}
