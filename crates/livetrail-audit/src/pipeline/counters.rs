//! What a pipeline has done so far, in numbers.

use super::sync::{AtomicU64, Ordering};

/// What a pipeline has done so far: from [`AuditPipeline::counters`](crate::AuditPipeline::counters). Numbers of one moment, but not
/// taken all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Records offered, whatever became of them.
    pub offered: u64,
    /// Records offered and accepted.
    pub accepted: u64,
    /// Records offered and not recorded: no slot, no room, the pipeline was closed, the sink panicked.
    pub dropped: u64,
    /// Records that the sink took, the pipeline's own among them.
    pub written: u64,
    /// Records that the sink has said are durable, the pipeline's own among them.
    pub durable: u64,
    /// Records on their way to the sink.
    pub queue_depth: usize,
    /// Records of sessions and events that the queue holds.
    pub queue_capacity: usize,
    /// Last records of sessions that wait because the queue has no slot for them.
    pub waiting_ends: usize,
    /// Records that are held until the sink has room for their class.
    pub held_records: usize,
    /// Refused attempts that were heard of.
    pub refused_attempts: u64,
    /// Of these, those that are only counted by a record of their kind.
    pub aggregated_attempts: u64,
    /// Of these, those that are only counted by a record of all others: beyond the cap, the table or the lane.
    pub suppressed_attempts: u64,
    /// Of these, those whose record was dropped: no room, or the sink panicked.
    pub lost_attempts: u64,
    /// Records of refused attempts that the sink took.
    pub refusal_records: u64,
    /// Writes that panicked in the sink.
    pub sink_panics: u64,
    /// Syncs that failed.
    pub sync_errors: u64,
    /// When a loss was last noticed, in milliseconds since 1970 UTC.
    pub last_loss_ms: Option<u64>,
}

/// What became of refused attempts, as the worker counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RefusalCounts {
    pub(crate) attempts: u64,
    pub(crate) aggregated: u64,
    pub(crate) suppressed: u64,
}

/// The worker's numbers for others to read.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) held: AtomicU64,
    attempts: AtomicU64,
    aggregated: AtomicU64,
    suppressed: AtomicU64,
    pub(crate) lost_attempts: AtomicU64,
    pub(crate) refusal_records: AtomicU64,
    /// 0 before the first loss.
    pub(crate) last_loss_ms: AtomicU64,
    /// Offers whose record the sink took.
    pub(crate) taken_offers: AtomicU64,
}

impl Published {
    pub(crate) fn refusals(&self, counts: RefusalCounts) {
        self.attempts.store(counts.attempts, Ordering::Relaxed);
        self.aggregated.store(counts.aggregated, Ordering::Relaxed);
        self.suppressed.store(counts.suppressed, Ordering::Relaxed);
    }

    /// Fills in what is published here.
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
