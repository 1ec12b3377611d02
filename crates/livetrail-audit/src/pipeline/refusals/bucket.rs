//! Limits the number of records per second.

use std::time::Duration;

/// Allows this many per second, and as many at once after a pause.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    /// The level in millionths of a record.
    level: u64,
    at: Duration,
}

/// One record in the unit of the level.
const ONE: u64 = 1_000_000;

impl Bucket {
    pub(super) fn new(per_second: u32, now: Duration) -> Self {
        let per_second = u64::from(per_second);
        Self {
            per_second,
            level: per_second * ONE,
            at: now,
        }
    }

    /// Takes one record from the bucket, if there is one.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        self.refill(now);
        let enough = self.level >= ONE;
        if enough {
            self.level -= ONE;
        }
        enough
    }

    /// Takes one record from the bucket, even if it is empty.
    pub(super) fn take_anyway(&mut self, now: Duration) {
        self.refill(now);
        self.level = self.level.saturating_sub(ONE);
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at);
        self.at = now.max(self.at);
        let us = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let most = self.per_second * ONE;
        self.level = self
            .level
            .saturating_add(us.saturating_mul(self.per_second))
            .min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_a_second_allows_and_none_where_none_are_allowed() {
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        let ms = Duration::from_millis;
        let mut bucket = Bucket::new(10, ms(5));
        assert_eq!(taken(&mut bucket, ms(5)), 10);
        assert_eq!(taken(&mut bucket, ms(104)), 0);
        assert_eq!(taken(&mut bucket, ms(105)), 1);
        assert_eq!(taken(&mut bucket, ms(505)), 4);
        assert_eq!(
            taken(&mut bucket, ms(100)),
            0,
            "the clock of a test went back"
        );
        assert_eq!(taken(&mut bucket, Duration::MAX), 10);
        assert_eq!(taken(&mut Bucket::new(0, ms(0)), Duration::MAX), 0);
    }
}
