//! The pipeline: an observer that records what it hears, and its worker.

mod account;
mod asleep;
mod builder;
mod convert;
mod intake;
mod loss;
mod nonce;
mod policy;
mod sessions;
mod shared;
mod worker;

/// The atomics of the hot path; a model checker puts its own in their place.
pub(crate) mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_engine::{MediaFrame, Observer, StreamEvent, StreamKey};
use livetrail_record::AuditRecord;
use uuid::Uuid;

pub use self::builder::AuditPipelineBuilder;
pub(crate) use self::builder::{Config, Sheds};
pub use self::policy::{AuditGate, Mode, Policy};
use self::shared::Shared;
use self::sync::Ordering;
use crate::error::{AuditError, SinkError};
use crate::sink::AuditSink;

/// Records every transition of an engine: install it with `Engine::builder().observer(…)`.
///
/// # Contract
///
/// - Offering a record (an observer's hook, or [`record`](Self::record)) never waits: it takes a number and tries a bounded
///   queue once. No allocation, no system call, no lock, and nobody is woken; but the first offer after a second or more without any
///   wakes the worker, with one system call, if it sleeps by then.
/// - When the queue is full the record is dropped, [`dropped`](Self::dropped) goes up by one, and a `records_dropped` record
///   says how many of which action, with the first and last number and time, as soon as everything up to there is
///   accounted for.
/// - Whatever was accepted goes to the sink, in batches, on a thread of the pipeline's own; [`close`](Self::close) returns
///   when that is done. Dropping the pipeline does the same, and blocks its thread for 5 s at most.
pub struct AuditPipeline {
    shared: Arc<Shared>,
    boot: Uuid,
    close_deadline: Duration,
    drop_deadline: Duration,
}

impl AuditPipeline {
    /// A pipeline with a queue for `capacity` records (0 means 1) and neither boot records nor heartbeats. May be called
    /// inside or outside of a tokio runtime.
    ///
    /// When the operating system gives it no thread, the pipeline is closed from the start: everything is dropped and
    /// counted, and [`status`](Self::status) says why. [`builder`](Self::builder) gives an error instead.
    #[must_use]
    pub fn new(sink: Arc<dyn AuditSink>, capacity: usize) -> Self {
        AuditPipelineBuilder::plain(sink)
            .capacity(capacity)
            .build_or_closed()
    }

    /// A pipeline with boot records and a heartbeat, and everything else to be set.
    #[must_use]
    pub fn builder(sink: Arc<dyn AuditSink>) -> AuditPipelineBuilder {
        AuditPipelineBuilder::new(sink)
    }

    /// Offers a record that the host made: a free-form event, or what an operator did. The pipeline sets its number, boot,
    /// node and nonce, and its time where that is 0. `false` when it was dropped.
    ///
    /// Not for the media path: it reads the clock, and it wakes the worker when the queue is half full.
    pub fn record(&self, mut record: AuditRecord) -> bool {
        if record.ts_ms == 0 {
            record.ts_ms = self.shared.clock.unix_ms();
        }
        if record.mono_ms.is_none() {
            record.mono_ms = Some(self.shared.mono_ms());
        }
        let accepted = self.shared.offer_record(record);
        if self.shared.intake.len() > self.shared.intake.capacity() / 2 {
            self.shared.wake();
        }
        accepted
    }

    /// The policy as a gate for the engine's builder.
    #[must_use]
    pub fn gate(&self, policy: Policy) -> AuditGate {
        AuditGate::new(Arc::clone(&self.shared), policy)
    }

    /// Returns when everything that was offered before is with the sink and durable.
    ///
    /// # Errors
    /// [`AuditError::Sync`] when the sink could not sync, [`AuditError::Closed`] after [`close`](Self::close),
    /// [`AuditError::Busy`] when 4,096 wait already. A sink that hangs keeps the caller waiting.
    pub async fn sync(&self) -> Result<(), AuditError> {
        self.shared.ask(None).await
    }

    /// Refuses further offers, hands everything that was accepted to the sink, accounts for all losses, with boot records
    /// closes what is still open and says that the boot ends, syncs, and reports.
    ///
    /// Takes as long as the sink takes, but no longer than the close deadline (30 s). Every call gives the same report.
    pub async fn close(&self) -> CloseReport {
        let shared = Arc::clone(&self.shared);
        let deadline = self.close_deadline;
        // A thread of its own waits, so that this works in every runtime and with a sink that blocks its thread.
        let (done, report) = tokio::sync::oneshot::channel();
        let waiter = std::thread::Builder::new()
            .name("audit-close".to_owned())
            .spawn(move || {
                let _ = done.send(shared.finish(deadline));
            });
        match (waiter, report.await) {
            (Ok(_), Ok(report)) => report,
            _ => self.shared.finish(deadline),
        }
    }

    /// How many records were offered, whatever became of them.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.shared.intake.offered()
    }

    /// How many records were accepted: they are in the queue or with the sink.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.intake.accepted()
    }

    /// How many records were offered and not accepted: the queue was full, or the pipeline closed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.intake.dropped()
    }

    /// How many records the sink took, the pipeline's own among them.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// How many records the sink has said are durable, the pipeline's own among them.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Relaxed)
    }

    /// How many records are in the queue.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.shared.intake.len()
    }

    /// How many records the queue can hold.
    #[must_use]
    pub fn queue_capacity(&self) -> usize {
        self.shared.intake.capacity()
    }

    /// How many writes to the sink panicked.
    #[must_use]
    pub fn sink_panics(&self) -> u64 {
        self.shared.sink_panics.load(Ordering::Relaxed)
    }

    /// How many syncs failed.
    #[must_use]
    pub fn sync_errors(&self) -> u64 {
        self.shared.flush_errors.load(Ordering::Relaxed)
    }

    /// Whether records reach the sink.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// This boot, a UUIDv7: in every record of the pipeline.
    #[must_use]
    pub const fn boot(&self) -> Uuid {
        self.boot
    }
}

impl Drop for AuditPipeline {
    fn drop(&mut self) {
        self.shared.finish(self.drop_deadline);
    }
}

impl std::fmt::Debug for AuditPipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditPipeline")
            .field("boot", &self.boot)
            .field("offered", &self.offered())
            .field("dropped", &self.dropped())
            .field("queue_depth", &self.queue_depth())
            .finish_non_exhaustive()
    }
}

/// `on_event` stays as it is and forwards to the hook, so that calling either records the transition once.
#[async_trait]
impl Observer for AuditPipeline {
    fn on_publish_started(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_publish_ended(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_publish_denied(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_play_started(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_play_ended(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_play_denied(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_subscriber_lagged(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_subscriber_evicted(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_rate_limited(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_stream_reaped(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_gop_truncated(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }

    /// Frames are never audited.
    fn on_frame(&self, _key: &StreamKey, _frame: &MediaFrame) {}

    fn wants_frames(&self) -> bool {
        false
    }

    async fn flush(&self) {
        if let Err(error) = self.sync().await {
            tracing::error!(%error, "the audit trail could not be synced");
        }
    }
}

/// How a pipeline ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Records offered.
    pub offered: u64,
    /// Records accepted.
    pub accepted: u64,
    /// Records offered and not accepted.
    pub dropped: u64,
    /// Records the sink took, the pipeline's own among them.
    pub written: u64,
    /// Writes that panicked in the sink.
    pub sink_panics: u64,
    /// The sink said that all it took is durable.
    pub durable: bool,
    /// The sink did not take everything within the deadline.
    pub timed_out: bool,
}

/// Whether records reach the sink.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// They do.
    Healthy,
    /// They do not.
    Failing {
        /// Since when, in milliseconds since 1970 UTC, as far as it was noticed.
        since_ms: u64,
        /// Why.
        error: SinkError,
    },
    /// The pipeline is closed.
    Closed,
}

impl Status {
    /// Whether records reach the sink.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy)
    }
}
