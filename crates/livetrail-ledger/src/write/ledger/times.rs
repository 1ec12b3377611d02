//! The durations of commits: a fixed histogram, counted without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets, in microseconds; the last bucket has none.
const BOUNDS_US: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000,
];

/// The durations of commits since the ledger was opened. A commit is the write of a batch to the
/// write-ahead log and its sync.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitTimes {
    /// For each bucket its upper bound, and the number of commits in this bucket only; the last one
    /// has no bound.
    pub buckets: Vec<(Option<Duration>, u64)>,
    /// The sum of all commits, each in whole microseconds.
    pub sum: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Times {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Times {
    pub(super) fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(super) fn now(&self) -> CommitTimes {
        let bounds = BOUNDS_US.iter().map(|us| Some(Duration::from_micros(*us)));
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        CommitTimes {
            buckets: bounds.chain([None]).zip(counts).collect(),
            sum: Duration::from_micros(self.sum_us.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_holds_it() {
        let times = Times::default();
        for us in [0, 100, 101, 10_000_000, 10_000_001, u64::MAX / 4] {
            times.took(Duration::from_micros(us));
        }
        let seen = times.now();
        let counts: Vec<_> = seen.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert!(
            seen.buckets
                .last()
                .is_some_and(|(bound, _)| bound.is_none())
        );
        assert!(seen.sum > Duration::from_secs(20));
    }
}
