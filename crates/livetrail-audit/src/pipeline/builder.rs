//! Builds a pipeline.

use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::{Clock, SystemClock};
use livetrail_record::OpenSession;
use uuid::Uuid;

use super::AuditPipeline;
use super::intake::Intake;
use super::options::PipelineOptions;
use super::policy::{Mode, Policies, Policy};
use super::shared::Shared;
use super::worker::{self, Worker};
use crate::error::{AuditError, SinkError};
use crate::sink::AuditSink;

/// The longest queue, which has 1.8 GB of slots.
const MAX_CAPACITY: usize = 1 << 24;

/// The longest time for dropping.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// The state of the wall clock, as the host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockState {
    /// Whether it is synchronised.
    pub is_synced: bool,
    /// The most that it may be wrong, in microseconds.
    pub error_us: u64,
}

/// The settings of the worker.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) node: Option<String>,
    pub(crate) boot_records: bool,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) sync_interval: Option<Duration>,
    pub(crate) recovered: Vec<OpenSession>,
    pub(crate) started_detail: Option<String>,
    /// The maximum number of records of refused attempts per second.
    pub(crate) refusal_records_per_second: u32,
    pub(crate) close_deadline: Duration,
    /// Asks for the state of the wall clock.
    pub(crate) clock_state: Option<fn() -> Option<ClockState>>,
}

/// Sets up an [`AuditPipeline`]: see [`AuditPipeline::builder`].
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use livetrail_audit::{AuditPipeline, FileAuditSink};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("livetrail-builder-{}.tsv", std::process::id()));
/// let pipeline = AuditPipeline::builder(Arc::new(FileAuditSink::open(&path)?))
///     .node("host-1")
///     .capacity(10_000)
///     .heartbeat(Duration::from_secs(10))
///     .started_detail("version 1.2.3")
///     .build()?;
/// let report = pipeline.close().await;
/// assert!(report.durable && report.dropped == 0);
/// let lines = std::fs::read_to_string(&path)?;
/// assert!(lines.contains("server_started") && lines.contains("server_stopped"));
/// # std::fs::remove_file(&path)?;
/// # Ok(()) }
/// ```
pub struct AuditPipelineBuilder {
    sink: Arc<dyn AuditSink>,
    capacity: usize,
    clock: Option<Arc<dyn Clock>>,
    sheds: Policies,
    config: Config,
}

impl AuditPipelineBuilder {
    pub(crate) fn new(sink: Arc<dyn AuditSink>) -> Self {
        let config = Config {
            node: None,
            boot_records: true,
            heartbeat: None,
            sync_interval: None,
            recovered: Vec::new(),
            started_detail: None,
            refusal_records_per_second: 0,
            close_deadline: Duration::ZERO,
            clock_state: None,
        };
        let builder = Self {
            sink,
            capacity: 0,
            clock: None,
            sheds: Policies::new(Policy::of(Mode::Strict)),
            config,
        };
        builder.options(PipelineOptions::default())
    }

    /// A builder without the pipeline's own records and syncs, except reports of losses.
    pub(crate) fn plain(sink: Arc<dyn AuditSink>) -> Self {
        let mut builder = Self::new(sink).boot_records(false);
        builder.config.heartbeat = None;
        builder.config.sync_interval = None;
        builder
    }

    /// Sets all of these options.
    #[must_use]
    pub fn options(self, options: PipelineOptions) -> Self {
        let PipelineOptions {
            capacity,
            heartbeat,
            sync_interval,
            refusal_records_per_second,
            close_deadline,
        } = options;
        self.capacity(capacity)
            .heartbeat(heartbeat)
            .sync_interval(sync_interval)
            .refusal_records_per_second(refusal_records_per_second)
            .close_deadline(close_deadline)
    }

    /// Sets the number of records in the queue: 65,536 by default, at most 2^24; 0 means 1.
    ///
    /// Each slot takes 96 bytes. There are additional slots: an eighth of this number, only for
    /// ends and operators' records, and 64 to 8,192 for refused attempts.
    #[must_use]
    pub const fn capacity(mut self, records: usize) -> Self {
        self.capacity = records;
        self
    }

    /// Sets the server's name, which is in every record.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.config.node = Some(name.into());
        self
    }

    /// Sets whether the pipeline writes boot records; the default is yes. Then the boot begins with
    /// `server_started`, ends with `server_stopped`, and leaves no session open. If the last record
    /// of a session was dropped, the pipeline adds an inferred one.
    #[must_use]
    pub const fn boot_records(mut self, yes: bool) -> Self {
        self.config.boot_records = yes;
        self
    }

    /// Sets the interval of `heartbeat` records; the default is 60 s. A heartbeat has the last
    /// number up to which all are accounted for. Zero, or more than a clock can reach, means never.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.heartbeat = (!interval.is_zero()).then_some(interval);
        self
    }

    /// Sets the interval of syncs while records come in and nobody waits for a sync; the default is
    /// 1 s. Zero, or more than a clock can reach, means never.
    #[must_use]
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.config.sync_interval = (!interval.is_zero()).then_some(interval);
        self
    }

    /// Sets the clock. The default is the [sink's](AuditSink::clock), or else the operating
    /// system's. The engine must have the same clock, so that `mono_ms` of all records has one
    /// origin. [`Audited::audit`](crate::Audited::audit) ensures that.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets where the state of the wall clock comes from. `server_started` and each heartbeat have
    /// it as `clock_synced` and `clock_error_us`. The pipeline's thread asks, once for each of
    /// these records. By default they do not have it.
    #[must_use]
    pub const fn clock_state(mut self, ask: fn() -> Option<ClockState>) -> Self {
        self.config.clock_state = Some(ask);
        self
    }

    /// Sets the time that [`AuditPipeline::close`] may take; the default is 30 s. Dropping takes at
    /// most this time, and at most 5 s.
    #[must_use]
    pub const fn close_deadline(mut self, deadline: Duration) -> Self {
        self.config.close_deadline = deadline;
        self
    }

    /// Sets the sessions that a crash left open, from [`open_sessions`](crate::open_sessions). With
    /// boot records, each one gets its last record right after `server_started`, in this order.
    /// That record has the reason `server_crash` and `inferred`. The checker expects it at that
    /// position.
    #[must_use]
    pub fn recovered(mut self, sessions: Vec<OpenSession>) -> Self {
        self.config.recovered = sessions;
        self
    }

    /// Sets the `detail` of `server_started`, such as the version and the result of the recovery.
    #[must_use]
    pub fn started_detail(mut self, detail: impl Into<String>) -> Self {
        self.config.started_detail = Some(detail.into());
        self
    }

    /// Sets the roles whose sessions' start records are dropped while the sink has [no
    /// space](AuditSink::takes) for best effort. These are the roles that the policy of their
    /// application calls best effort.
    ///
    /// Each such record counts as dropped, and the pipeline reports the losses once per second. It
    /// keeps the end records. By default no role is set; [`Audited::audit`](crate::Audited::audit)
    /// sets them, too. Refused attempts are dropped first, whatever the policy.
    #[must_use]
    pub fn sheds(mut self, policies: impl Into<Policies>) -> Self {
        self.sheds = policies.into();
        self
    }

    /// Sets the most records of refused attempts per second, over all addresses; the default is 10.
    ///
    /// This covers the first record of each kind and the records that stand for many attempts. Half
    /// of the number, rounded down, is for attempts that name a known principal. A record of all
    /// others counts the attempts beyond it. There is at most one such record in ten seconds for
    /// each action, even if this is 0.
    #[must_use]
    pub const fn refusal_records_per_second(mut self, records: u32) -> Self {
        self.config.refusal_records_per_second = records;
        self
    }

    /// Starts the pipeline's thread. The caller may be inside or outside a tokio runtime.
    ///
    /// # Errors
    /// [`AuditError::Capacity`] if the queue would be too long; [`AuditError::Thread`] or
    /// [`AuditError::Randomness`] if the operating system provides no thread or no random bytes.
    pub fn build(self) -> Result<AuditPipeline, AuditError> {
        let (pipeline, started) = self.start();
        started.map(|()| pipeline)
    }

    /// Builds a pipeline. After an error the pipeline is closed from the start.
    pub(crate) fn build_or_closed(self) -> AuditPipeline {
        let (pipeline, started) = self.start();
        if let Err(error) = started {
            tracing::error!(%error, "the audit trail cannot record");
            pipeline
                .shared
                .set_trouble(Some(SinkError::Other(error.to_string())));
        }
        pipeline
    }

    fn start(self) -> (AuditPipeline, Result<(), AuditError>) {
        let too_long = self.capacity > MAX_CAPACITY;
        let capacity = if too_long { 1 } else { self.capacity };
        let intake = Intake::new(capacity, worker::reserved(&self.config));
        let clock = self.clock.or_else(|| self.sink.clock());
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let shared = Arc::new(Shared::new(intake, self.sink, clock, self.sheds));
        let boot = boot_id(shared.clock.unix_ms());
        let pipeline = AuditPipeline {
            shared: Arc::clone(&shared),
            boot: boot.as_ref().map_or(Uuid::nil(), |boot| *boot),
            close_deadline: self.config.close_deadline,
            drop_deadline: self.config.close_deadline.min(DROP_DEADLINE),
        };
        let started = if too_long {
            Err(AuditError::Capacity {
                records: self.capacity,
                limit: MAX_CAPACITY,
            })
        } else {
            boot.and_then(|boot| spawn(&shared, self.config, boot))
        };
        if started.is_err() {
            shared.intake.seal();
            shared.end(shared.account(false, false));
        }
        (pipeline, started)
    }
}

fn spawn(shared: &Arc<Shared>, config: Config, boot: Uuid) -> Result<(), AuditError> {
    const NAME: &str = "audit-worker";
    let failed = |source| AuditError::Thread { name: NAME, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let for_worker = Arc::clone(shared);
    let body = move || {
        let run = || Worker::new(Arc::clone(&for_worker), config, boot, runtime).run();
        let run = std::panic::AssertUnwindSafe(run);
        let report = std::panic::catch_unwind(run).unwrap_or_else(|_| {
            // This is a bug of ours. Further offers are refused and counted, and the status has the
            // reason.
            tracing::error!("the audit worker panicked: nothing is recorded any more");
            for_worker.intake.seal();
            for_worker.set_trouble(Some(SinkError::Other(
                "the audit worker panicked".to_owned(),
            )));
            for_worker.account(false, false)
        });
        for_worker.end(report);
    };
    let thread = std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(body)
        .map_err(failed)?;
    shared.set_worker(thread.thread().clone());
    Ok(())
}

fn boot_id(unix_ms: u64) -> Result<Uuid, AuditError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| AuditError::Randomness {
        reason: error.to_string(),
    })?;
    Ok(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
}

impl std::fmt::Debug for AuditPipelineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditPipelineBuilder")
            .field("capacity", &self.capacity)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
