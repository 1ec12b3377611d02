//! The counters of a pipeline.

use super::sync::{AtomicU64, Ordering};

/// The counters of a pipeline: from [`AuditPipeline::counters`](crate::AuditPipeline::counters).
/// They are from about one moment, but are not read all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counters {
    /// The offered records, whatever happened to them.
    pub offered: u64,
    /// The offered records that were accepted.
    pub accepted: u64,
    /// The offered records that were not recorded: there was no slot or no space, the pipeline was
    /// closed, or the sink panicked.
    pub dropped: u64,
    /// The records that the sink accepted, including the pipeline's own.
    pub written: u64,
    /// The records that the sink reported as durable, including the pipeline's own.
    pub durable: u64,
    /// The records on their way to the sink.
    pub queue_depth: usize,
    /// The number of slots for records of sessions and events.
    pub queue_capacity: usize,
    /// The last records of sessions that wait because the queue has no slot for them.
    pub waiting_ends: usize,
    /// The records that are held until the sink has space for their class.
    pub held_records: usize,
    /// The refused attempts.
    pub refused_attempts: u64,
    /// The refused attempts that only a record of their kind counts.
    pub aggregated_attempts: u64,
    /// The refused attempts that only a record of all others counts, because of the cap, the table
    /// or the lane.
    pub suppressed_attempts: u64,
    /// The refused attempts whose record was dropped: there was no space, or the sink panicked.
    pub lost_attempts: u64,
    /// The records of refused attempts that the sink accepted.
    pub refusal_records: u64,
    /// The writes that panicked in the sink.
    pub sink_panics: u64,
    /// The failed syncs.
    pub sync_errors: u64,
    /// The time of the last noticed loss, in milliseconds since 1970 UTC.
    pub last_loss_ms: Option<u64>,
}

/// The worker's counts of refused attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RefusalCounts {
    pub(crate) attempts: u64,
    pub(crate) aggregated: u64,
    pub(crate) suppressed: u64,
}

/// The worker's numbers that other threads may read.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) held: AtomicU64,
    attempts: AtomicU64,
    aggregated: AtomicU64,
    suppressed: AtomicU64,
    pub(crate) lost_attempts: AtomicU64,
    pub(crate) refusal_records: AtomicU64,
    /// The time of the last loss; 0 before the first one.
    pub(crate) last_loss_ms: AtomicU64,
    /// The offers whose record the sink accepted.
    pub(crate) taken_offers: AtomicU64,
}

impl Published {
    pub(crate) fn refusals(&self, counts: RefusalCounts) {
        self.attempts.store(counts.attempts, Ordering::Relaxed);
        self.aggregated.store(counts.aggregated, Ordering::Relaxed);
        self.suppressed.store(counts.suppressed, Ordering::Relaxed);
    }

    /// Copies the published numbers into `counters`.
    pub(crate) fn read(&self, counters: &mut Counters) {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        counters.held_records = usize::try_from(load(&self.held)).unwrap_or(usize::MAX);
        counters.refused_attempts = load(&self.attempts);
        counters.aggregated_attempts = load(&self.aggregated);
        counters.suppressed_attempts = load(&self.suppressed);
        counters.lost_attempts = load(&self.lost_attempts);
        counters.refusal_records = load(&self.refusal_records);
        counters.last_loss_ms = Some(load(&self.last_loss_ms)).filter(|ms| *ms > 0);
    }
}
