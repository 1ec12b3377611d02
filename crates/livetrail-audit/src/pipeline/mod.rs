//! The pipeline: an observer that records the engine's events, and its worker.

mod account;
mod asleep;
mod builder;
mod convert;
mod counters;
mod intake;
mod lanes;
mod lock;
mod loss;
mod nonce;
mod options;
mod policy;
mod refusals;
mod sessions;
mod shared;
mod timer;
mod transition;
mod worker;

/// The atomics of the hot path. A model checker replaces them with its own.
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

pub(crate) use self::builder::Config;
pub use self::builder::{AuditPipelineBuilder, ClockState};
pub use self::counters::Counters;
use self::intake::{NotTaken, Part};
pub use self::options::PipelineOptions;
pub use self::policy::{AuditGate, Mode, Policies, Policy};
use self::shared::Shared;
use self::sync::Ordering;
use crate::error::{AuditError, Refused, SinkError};
use crate::sink::AuditSink;

/// Records every transition of an engine: install it with `Engine::builder().observer(…)`.
///
/// # Contract
///
/// - Offering a record (an observer's hook, or [`record`](Self::record)) never waits. It takes a
///   number and tries a bounded queue once. It does not allocate, makes no system call, takes no
///   lock and wakes no thread. There is one exception: after a second or more without offers, the
///   worker may sleep, and the next offer wakes it with one system call.
/// - If the queue is full, the record is dropped, and [`dropped`](Self::dropped) increases by one.
///   A `records_dropped` record reports the count for each action, with the first and the last
///   number and time. It comes as soon as everything up to there is accounted for. If the sink
///   panics at a record, that record is reported in the same way.
/// - The last record of a session is never dropped while the process runs, unless the session's
///   first record was dropped. If the queue has no slot for it, it waits next to the queue, and is
///   written as soon as there is space. At most one record for each such session waits there. That
///   allocates, and takes a lock while first records are being dropped. An eighth of the queue is
///   only for ends and operators' records.
/// - Refused attempts have a lane of their own and take no number. The first one of its kind
///   (address, action, application, reason) is recorded in full. Further ones within ten seconds
///   are one record with a count. See
///   [`refusal_records_per_second`](AuditPipelineBuilder::refusal_records_per_second).
/// - The sink gets all accepted records in batches, on a thread of the pipeline.
///   [`close`](Self::close) returns when that is done. Dropping the pipeline does the same, and
///   blocks its thread for at most 5 s.
/// - If the pipeline is dropped inside a current-thread runtime, the sink may need that runtime.
///   Then dropping blocks only while the sink accepts records. If the sink has accepted none for
///   250 ms, another thread does the rest. A [`Monitor`] reports the result afterwards.
pub struct AuditPipeline {
    shared: Arc<Shared>,
    boot: Uuid,
    close_deadline: Duration,
    drop_deadline: Duration,
}

impl AuditPipeline {
    /// Creates a pipeline with a queue for `capacity` records (0 means 1), and without boot records
    /// and heartbeats. The caller may be inside or outside a tokio runtime.
    ///
    /// If the operating system provides no thread, the pipeline is closed from the start. It drops
    /// and counts everything, and [`status`](Self::status) has the reason.
    /// [`builder`](Self::builder) returns an error instead.
    #[must_use]
    pub fn new(sink: Arc<dyn AuditSink>, capacity: usize) -> Self {
        AuditPipelineBuilder::plain(sink)
            .capacity(capacity)
            .build_or_closed()
    }

    /// A builder for a pipeline with boot records, a heartbeat and all other settings.
    #[must_use]
    pub fn builder(sink: Arc<dyn AuditSink>) -> AuditPipelineBuilder {
        AuditPipelineBuilder::new(sink)
    }

    /// Offers a record of the host: a free-form event or an operator's action. The pipeline sets
    /// its number, boot, node and nonce, and its time if that is 0.
    ///
    /// A refused attempt (`*_denied`) is counted with others of its kind. Its `count` is the number
    /// of attempts that it stands for.
    ///
    /// This is not for the media path: it reads the clock, and it wakes the worker if the queue is
    /// half full.
    ///
    /// # Errors
    /// [`Refused`] if there is no slot, or if the record would make the trail unsound:
    ///
    /// - It begins, ends or refuses a session and names no session.
    /// - Only the pipeline records its action or its reason.
    /// - It has a number of 2^53 or more.
    pub fn record(&self, mut record: AuditRecord) -> Result<(), Refused> {
        if let AuditAction::Other(label) = &record.action {
            // The record is written with this label, so the checks use the label's own action.
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

    /// Creates a gate with this policy, or with one for each application, for the engine's builder.
    #[must_use]
    pub fn gate(&self, policies: impl Into<Policies>) -> AuditGate {
        AuditGate::new(Arc::clone(&self.shared), policies.into())
    }

    /// Returns when the sink has all earlier records and they are durable.
    ///
    /// Cancel safe: records stay accepted, and the next sync covers them. Needs no runtime.
    ///
    /// # Errors
    /// [`AuditError::Sync`] if the sink could not sync, [`AuditError::Closed`] after
    /// [`close`](Self::close), and [`AuditError::Busy`] if 4,096 callers already wait. If the sink
    /// hangs, the caller waits.
    pub async fn sync(&self) -> Result<(), AuditError> {
        self.shared.ask(None).await
    }

    /// Closes the pipeline:
    ///
    /// - It refuses further offers.
    /// - It passes all accepted records to the sink and accounts for all losses.
    /// - With boot records, it ends the open sessions and the boot.
    /// - It syncs, and returns a report.
    ///
    /// This takes as long as the sink needs, but no longer than the close deadline (30 s). Every
    /// call returns the same report.
    ///
    /// Needs no runtime. If the future is dropped after its first poll, closing continues; a
    /// further call returns the report. If the operating system provides no thread for the wait,
    /// the call blocks its thread instead.
    pub async fn close(&self) -> CloseReport {
        let shared = Arc::clone(&self.shared);
        let deadline = self.close_deadline;
        // A thread of its own waits. So this works in every runtime, and with a sink that blocks
        // its thread.
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

    /// The number of offered records, whatever happened to them.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.shared.intake.offered()
    }

    /// The number of accepted records. They are on their way to the sink, are in it, or a record in
    /// it counts them.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.intake.accepted()
    }

    /// The number of offered records that are not on record: the queue was full, the disk was
    /// nearly full, the sink panicked, or the pipeline was closed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.intake.dropped()
    }

    /// The number of records that the sink accepted, including the pipeline's own.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// The number of records that the sink reported as durable, including the pipeline's own.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Relaxed)
    }

    /// The number of records on their way: in the queue, next to it, and in the refusals' lane.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.shared.intake.len()
    }

    /// The number of records that fit into the queue.
    #[must_use]
    pub fn queue_capacity(&self) -> usize {
        self.shared.intake.capacity()
    }

    /// The number of writes that panicked in the sink.
    #[must_use]
    pub fn sink_panics(&self) -> u64 {
        self.shared.sink_panics.load(Ordering::Relaxed)
    }

    /// The number of failed syncs.
    #[must_use]
    pub fn sync_errors(&self) -> u64 {
        self.shared.flush_errors.load(Ordering::Relaxed)
    }

    /// Whether records reach the sink.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// All counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// A handle that reports the pipeline's state, even after the pipeline was closed or dropped.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The pipeline's clock, for all parts that must have the same time, such as the engine and the
    /// ledger.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// Drops the start records of sessions of best-effort roles while the sink is short of space.
    pub(crate) fn shed(&self, policies: Policies) {
        self.shared.set_sheds(policies);
    }

    /// The id of this boot, a UUIDv7, which is in every record of the pipeline.
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

/// Reports the state of a pipeline, even after its end: from [`AuditPipeline::monitor`].
#[derive(Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// All counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Whether records reach the sink.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// The report of the pipeline's end. `None` while its worker runs.
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

/// Refuses records that only the pipeline may make, and records that no trail can hold.
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

/// The default `on_event` calls the hook for the event, so a call of either one records the
/// transition once.
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
    fn on_token_shared(&self, event: &StreamEvent) {
        self.shared.offer(event);
    }
    fn on_token_revoked(&self, event: &StreamEvent) {
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

/// The report of a pipeline's end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CloseReport {
    /// The offered records.
    pub offered: u64,
    /// The accepted records.
    pub accepted: u64,
    /// The offered records that were not recorded, as far as the trail could still report them.
    pub dropped: u64,
    /// The accepted records whose result is not in the trail: the sink did not accept them before
    /// the deadline.
    pub unwritten: u64,
    /// The records that the sink accepted, including the pipeline's own.
    pub written: u64,
    /// The writes that panicked in the sink.
    pub sink_panics: u64,
    /// Whether the sink reported that everything it accepted is durable.
    pub durable: bool,
    /// Whether the sink did not accept everything before the deadline.
    pub timed_out: bool,
}

/// Whether records reach the sink.
#[derive(Debug, Clone)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "state", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Status {
    /// Records reach the sink.
    Healthy,
    /// Records do not reach the sink.
    Failing {
        /// The start of the failure, in milliseconds since 1970 UTC, as far as it was noticed.
        since_ms: u64,
        /// The cause.
        #[cfg_attr(feature = "serde", serde(serialize_with = "with_causes"))]
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

/// The text of an error and of its causes.
#[cfg(feature = "serde")]
fn with_causes<S: serde::Serializer>(error: &SinkError, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    serializer.serialize_str(&text)
}
