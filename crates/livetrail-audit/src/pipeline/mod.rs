//! The pipeline: an observer that records what it hears, and its worker.

mod account;
mod asleep;
mod builder;
mod convert;
mod counters;
mod intake;
mod lanes;
mod loss;
mod nonce;
mod policy;
mod refusals;
mod sessions;
mod shared;
mod timer;
mod worker;

/// The atomics of the hot path; a model checker puts its own in their place.
pub(crate) mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::Clock;
use livetrail_engine::{MediaFrame, Observer, StreamEvent, StreamKey};
use livetrail_record::{ActionClass, AuditAction, AuditRecord, Reason};
use tokio::runtime::{Handle, RuntimeFlavor};
use uuid::Uuid;

pub use self::builder::AuditPipelineBuilder;
pub(crate) use self::builder::{Config, Sheds};
pub use self::counters::Counters;
use self::intake::{NotTaken, Part};
pub use self::policy::{AuditGate, Mode, Policy};
use self::shared::Shared;
use self::sync::Ordering;
use crate::error::{AuditError, Refused, SinkError};
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
///   accounted for. A record that the sink panicked at is reported likewise.
/// - The last record of a session whose first was not dropped is never dropped while the process lives: where the queue has no slot for
///   it, it waits next to the queue (at most one for each such session; that allocates, and takes a lock where first records
///   are being dropped), and is written as soon as there is room. An eighth of the queue is for ends and operators' records alone.
/// - Refused attempts have a lane of their own and take no number: the first of its kind (address, action, application, reason) is
///   recorded in full, further ones within ten seconds as one record with a count. See
///   [`refusal_records_per_second`](AuditPipelineBuilder::refusal_records_per_second).
/// - Whatever was accepted goes to the sink, in batches, on a thread of the pipeline's own; [`close`](Self::close) returns
///   when that is done. Dropping the pipeline does the same, and blocks its thread for 5 s at most. Dropped inside a current-thread runtime,
///   which the sink may need, it blocks only while the sink takes records, and leaves the rest to another thread when it has taken
///   none for 250 ms. A [`Monitor`] says afterwards what became of all of it.
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
    /// node and nonce, and its time where that is 0.
    ///
    /// A refused attempt (`*_denied`) is counted with others of its kind; its `count` is how many attempts it stands for.
    ///
    /// Not for the media path: it reads the clock, and it wakes the worker when the queue is half full.
    ///
    /// # Errors
    /// [`Refused`] when there is no slot, and for a record that would make the trail unsound: one that begins, ends or refuses a
    /// session and names none, an action or a reason that the pipeline alone records, or a number from 2^53 on.
    pub fn record(&self, mut record: AuditRecord) -> Result<(), Refused> {
        if let AuditAction::Other(label) = &record.action {
            // By whatever name: it is written as that.
            record.action = AuditAction::from_label(label);
        }
        check(&record)?;
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
        accepted.map_err(|why| match why {
            NotTaken::Full => Refused::Full,
            NotTaken::Closed => Refused::Closed,
        })
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

    /// How many records were accepted: they are on their way to the sink, with it, or counted by a record that is.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.intake.accepted()
    }

    /// How many records were offered and are not on record: the queue was full, the disk nearly so, the sink panicked, or the pipeline was
    /// closed.
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

    /// How many records are on their way: in the queue, next to it, and in the refusals' lane.
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

    /// All numbers at once.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// A handle that says how the pipeline is doing, also when the pipeline was closed or dropped.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Where the pipeline's time comes from: for whatever else must agree with it, such as the engine and the ledger.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// Leaves out how sessions of best-effort roles begin while the sink is short of room.
    pub(crate) fn shed(&self, policy: Policy) {
        self.shared.set_sheds(Sheds::of(policy));
    }

    /// This boot, a UUIDv7: in every record of the pipeline.
    #[must_use]
    pub const fn boot(&self) -> Uuid {
        self.boot
    }
}

impl Drop for AuditPipeline {
    fn drop(&mut self) {
        let late = self.shared.intake.late();
        if late > 0 {
            tracing::warn!(
                records = late,
                "records were offered after the audit pipeline was closed: they are not in the trail"
            );
        }
        let of_one_thread =
            |runtime: Handle| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        if Handle::try_current().is_ok_and(of_one_thread) {
            self.shared.finish_while_it_moves(self.drop_deadline);
        } else {
            self.shared.finish(self.drop_deadline);
        }
    }
}

/// How a pipeline is doing, for longer than it lives: from [`AuditPipeline::monitor`].
#[derive(Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// All numbers at once.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Whether records reach the sink.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// How the pipeline ended; `None` while its worker runs.
    #[must_use]
    pub fn report(&self) -> Option<CloseReport> {
        self.shared.report()
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Monitor").field(&self.counters()).finish()
    }
}

/// What only the pipeline may record, and what no trail can hold.
fn check(record: &AuditRecord) -> Result<(), Refused> {
    let label = record.action.label();
    let action = || label.to_owned();
    if record.action.class() == ActionClass::Own {
        return Err(Refused::ReservedAction { action: action() });
    }
    let of_session = match convert::part_of(&record.action) {
        Part::Begin { .. } | Part::End | Part::Cause => true,
        Part::Refusal(refused) => refused.has_session(),
        Part::Remark | Part::Operator | Part::Other => false,
    };
    if of_session && record.session.is_none() {
        return Err(Refused::NoSession { action: action() });
    }
    if record.reason.as_ref().map(Reason::label) == Some(Reason::ServerCrash.label()) {
        return Err(Refused::ReservedReason {
            reason: Reason::ServerCrash.label().to_owned(),
        });
    }
    record.check_numbers().map_err(Refused::NotCanonical)
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
    /// Records offered and not recorded, as far as the trail could still report it.
    pub dropped: u64,
    /// Accepted records whose fate the trail does not show: the sink did not take them within the
    /// deadline.
    pub unwritten: u64,
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
