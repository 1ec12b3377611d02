//! Making a pipeline.

use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::{Clock, SystemClock};
use livetrail_record::OpenSession;
use uuid::Uuid;

use super::AuditPipeline;
use super::intake::Intake;
use super::policy::{Mode, Policy};
use super::shared::Shared;
use super::worker::{self, Worker};
use crate::error::{AuditError, SinkError};
use crate::sink::AuditSink;

/// Records that the queue holds unless told otherwise.
const DEFAULT_CAPACITY: usize = 65_536;

/// The longest queue: 1.8 GB of slots.
const MAX_CAPACITY: usize = 1 << 24;

/// Records of refused attempts in a second by default.
const REFUSAL_RECORDS_PER_SECOND: u32 = 10;

/// How often the trail says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How often the sink is asked to sync while records come in and nobody waits for it.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long closing may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// How long dropping may take.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// What the worker is to do.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) node: Option<String>,
    pub(crate) boot_records: bool,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) sync_interval: Option<Duration>,
    pub(crate) recovered: Vec<OpenSession>,
    pub(crate) started_detail: Option<String>,
    /// Records of refused attempts in a second, at most.
    pub(crate) refusal_records_per_second: u32,
    pub(crate) close_deadline: Duration,
}

/// Roles whose sessions' first records may be left out when the sink is short of room.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sheds {
    publish: bool,
    play: bool,
}

impl Sheds {
    pub(crate) fn of(policy: Policy) -> Self {
        Self {
            publish: policy.publish == Mode::BestEffort,
            play: policy.play == Mode::BestEffort,
        }
    }

    pub(crate) const fn covers(self, publish: bool) -> bool {
        if publish { self.publish } else { self.play }
    }

    pub(crate) const fn bits(self) -> u8 {
        self.publish as u8 | (self.play as u8) << 1
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self {
            publish: bits & 1 != 0,
            play: bits & 2 != 0,
        }
    }
}

/// Sets up an [`AuditPipeline`]: from [`AuditPipeline::builder`].
pub struct AuditPipelineBuilder {
    sink: Arc<dyn AuditSink>,
    capacity: usize,
    clock: Option<Arc<dyn Clock>>,
    sheds: Sheds,
    config: Config,
}

impl AuditPipelineBuilder {
    pub(crate) fn new(sink: Arc<dyn AuditSink>) -> Self {
        let config = Config {
            node: None,
            boot_records: true,
            heartbeat: Some(HEARTBEAT),
            sync_interval: Some(SYNC_INTERVAL),
            recovered: Vec::new(),
            started_detail: None,
            refusal_records_per_second: REFUSAL_RECORDS_PER_SECOND,
            close_deadline: CLOSE_DEADLINE,
        };
        Self {
            sink,
            capacity: DEFAULT_CAPACITY,
            clock: None,
            sheds: Sheds::default(),
            config,
        }
    }

    /// Without records and syncs of the pipeline's own, losses excepted.
    pub(crate) fn plain(sink: Arc<dyn AuditSink>) -> Self {
        let mut builder = Self::new(sink).boot_records(false);
        builder.config.heartbeat = None;
        builder.config.sync_interval = None;
        builder
    }

    /// How many records the queue holds; 0 means 1, and at most 2^24. 65,536 unless set. Each slot takes 96 bytes, and there are more: an
    /// eighth of them for ends and operators' records alone, and 64 to 8,192 for refused attempts.
    #[must_use]
    pub const fn capacity(mut self, records: usize) -> Self {
        self.capacity = records;
        self
    }

    /// The server's name, in every record.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.config.node = Some(name.into());
        self
    }

    /// Whether the boot begins with `server_started`, ends with `server_stopped`, and leaves no session open: where the last
    /// record of a session was dropped, one is inferred. Yes unless set.
    #[must_use]
    pub const fn boot_records(mut self, yes: bool) -> Self {
        self.config.boot_records = yes;
        self
    }

    /// How often a `heartbeat` is recorded, with the last number up to which everything is accounted for. Every 60 s unless
    /// set; zero is never, and so is what no clock can reach.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.heartbeat = (!interval.is_zero()).then_some(interval);
        self
    }

    /// How often the sink is asked to sync while records come in and nobody waits for it. Every second unless set; zero is
    /// never, and so is what no clock can reach.
    #[must_use]
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.config.sync_interval = (!interval.is_zero()).then_some(interval);
        self
    }

    /// Where the time comes from: the [sink's](AuditSink::clock) unless set, or else the operating system. The engine must have the same,
    /// so that `mono_ms` of all records has one origin: [`Audited::audit`](crate::Audited::audit) sees to that.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long [`AuditPipeline::close`] may take. 30 s unless set. Dropping takes 5 s or this, whichever is less.
    #[must_use]
    pub const fn close_deadline(mut self, deadline: Duration) -> Self {
        self.config.close_deadline = deadline;
        self
    }

    /// The sessions that a crash left open, from [`open_sessions`](crate::open_sessions). With boot records, each gets its last
    /// record right after `server_started`, in this order, with reason `server_crash` and `inferred`; that is where the
    /// checker wants them.
    #[must_use]
    pub fn recovered(mut self, sessions: Vec<OpenSession>) -> Self {
        self.config.recovered = sessions;
        self
    }

    /// What `server_started` says in its `detail`: the version, what recovery found.
    #[must_use]
    pub fn started_detail(mut self, detail: impl Into<String>) -> Self {
        self.config.started_detail = Some(detail.into());
        self
    }

    /// Whose sessions' first records are left out while the sink has [no room](AuditSink::takes) for best effort: those of a role that this
    /// policy calls best effort. Each such record counts as dropped and is reported as lost, once a second; ends are kept. Nobody's
    /// unless set here or by [`Audited::audit`](crate::Audited::audit). Refused attempts are left out first, whatever the policy.
    #[must_use]
    pub fn sheds(mut self, policy: Policy) -> Self {
        self.sheds = Sheds::of(policy);
        self
    }

    /// How many records of refused attempts are written in a second at most, over all addresses: the first of each kind and those
    /// that stand for many. 10 unless set. Half of them, rounded down, are for attempts that name a known principal. What is
    /// beyond is counted by a record of all others, at most one in ten seconds for each action, also when this is 0.
    #[must_use]
    pub const fn refusal_records_per_second(mut self, records: u32) -> Self {
        self.config.refusal_records_per_second = records;
        self
    }

    /// Starts the pipeline's thread. May be called inside or outside of a tokio runtime.
    ///
    /// # Errors
    /// [`AuditError::Capacity`] when the queue would be too long; [`AuditError::Thread`] or [`AuditError::Randomness`] when the
    /// operating system has none.
    pub fn build(self) -> Result<AuditPipeline, AuditError> {
        let (pipeline, started) = self.start();
        started.map(|()| pipeline)
    }

    /// The same, with a closed pipeline instead of an error.
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
            // Our bug. What is offered from now on is refused and counted, and the status says why.
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
