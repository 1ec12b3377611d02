//! The state that the pipeline's handles and its worker share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use livetrail_clock::{Clock, SystemClock};
use livetrail_engine::{Role, StreamEvent};
use livetrail_record::AuditRecord;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::asleep::Asleep;
use super::counters::{Counters, Published};
use super::intake::{Intake, NotTaken};
use super::lock::lock;
use super::sync::{AtomicU64, Ordering};
use super::timer::Timer;
use super::{CloseReport, Policies, Status};
use crate::error::{AuditError, SinkError};
use crate::sink::AuditSink;

/// The maximum number of callers that wait for the sink at once. Further ones are refused.
const MAX_WAITING: usize = 4_096;

/// The time after which a silent sink counts as failing.
pub(crate) const HUNG_AFTER: Duration = Duration::from_secs(1);

/// The time in which a worker whose sink hangs must end after the abort.
const GIVE_UP_GRACE: Duration = Duration::from_millis(200);

/// The time after which another thread continues to wait for a sink that accepts nothing.
const STANDSTILL: Duration = Duration::from_millis(250);

/// The value of `busy_since_ms` while the worker does not wait.
const IDLE: u64 = u64::MAX;

/// A question to the worker.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Asks whether the first record of this session is durable. `None` asks about all earlier
    /// offers.
    pub(crate) session: Option<Uuid>,
    pub(crate) answer: oneshot::Sender<Result<(), SinkError>>,
}

pub(crate) struct Shared {
    pub(crate) intake: Intake,
    pub(crate) sink: Arc<dyn AuditSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) asks: ArrayQueue<Ask>,
    worker: OnceLock<Thread>,
    pub(crate) asleep: Asleep,
    /// Tells the worker to drain the queue and end.
    pub(crate) stop: AtomicBool,
    /// Tells the worker to give up the records that the sink does not accept.
    pub(crate) abort: AtomicBool,
    pub(crate) abort_signal: Notify,
    /// Whether the worker accepts no more questions.
    ended: AtomicBool,
    pub(crate) written: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) sink_panics: AtomicU64,
    pub(crate) flush_errors: AtomicU64,
    pub(crate) published: Published,
    /// The policies whose best-effort roles lose their start records if space is short.
    sheds: RwLock<Policies>,
    /// The timer of the gate's deadlines.
    pub(crate) timer: Timer,
    /// The time since when the worker waits for the sink, in monotonic milliseconds; [`IDLE`] if it
    /// does not.
    busy_since_ms: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
    report: Mutex<Option<CloseReport>>,
    reported: Condvar,
}

#[derive(Debug, Clone)]
struct Trouble {
    since_ms: u64,
    error: SinkError,
}

impl Shared {
    pub(crate) fn new(
        intake: Intake,
        sink: Arc<dyn AuditSink>,
        clock: Arc<dyn Clock>,
        sheds: Policies,
    ) -> Self {
        Self {
            intake,
            sink,
            clock,
            asks: ArrayQueue::new(MAX_WAITING),
            worker: OnceLock::new(),
            asleep: Asleep::new(),
            stop: AtomicBool::new(false),
            abort: AtomicBool::new(false),
            abort_signal: Notify::new(),
            ended: AtomicBool::new(false),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            sink_panics: AtomicU64::new(0),
            flush_errors: AtomicU64::new(0),
            published: Published::default(),
            sheds: RwLock::new(sheds),
            timer: Timer::new(),
            busy_since_ms: AtomicU64::new(IDLE),
            trouble: Mutex::new(None),
            report: Mutex::new(None),
            reported: Condvar::new(),
        }
    }

    pub(crate) fn mono_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    // ---- Offering ----

    /// Offers a transition. A dropped one is counted.
    pub(crate) fn offer(&self, event: &StreamEvent) {
        let _ = self.intake.offer(event);
        self.wake_if_asleep();
    }

    /// Offers a record of a host, with its time set.
    pub(crate) fn offer_record(&self, record: AuditRecord) -> Result<(), NotTaken> {
        let accepted = self.intake.offer_record(record);
        self.wake_if_asleep();
        accepted
    }

    /// Whether the start records of such sessions are dropped if space is short.
    pub(crate) fn sheds(&self, role: Role, app: &str) -> bool {
        let sheds = self.sheds.read().unwrap_or_else(PoisonError::into_inner);
        sheds.sheds(role, app)
    }

    pub(crate) fn set_sheds(&self, policies: Policies) {
        let sheds = self.sheds.write();
        *sheds.unwrap_or_else(PoisonError::into_inner) = policies;
    }

    /// Wakes the worker if it sleeps because nothing came. That is one load, except for the first
    /// offer after a silence.
    fn wake_if_asleep(&self) {
        if self.asleep.wake() {
            self.wake();
        }
    }

    // ---- Asking the worker ----

    pub(crate) fn set_worker(&self, thread: Thread) {
        let _ = self.worker.set(thread);
    }

    /// Wakes the worker. This is a system call if the worker sleeps. The media path does it only
    /// once per silence.
    pub(crate) fn wake(&self) {
        if let Some(worker) = self.worker.get() {
            worker.unpark();
        }
    }

    /// Asks whether the earlier offers are durable. The caller handles its own deadline.
    pub(crate) async fn ask(&self, session: Option<Uuid>) -> Result<(), AuditError> {
        let (answer, answered) = oneshot::channel();
        if self.asks.push(Ask { session, answer }).is_err() {
            return Err(AuditError::Busy {
                waiting: MAX_WAITING,
            });
        }
        // The worker sets `ended` before it takes the last questions. So no question remains
        // without an answer.
        if self.ended.load(Ordering::SeqCst) {
            self.drop_asks();
        }
        self.wake();
        match answered.await {
            Ok(answer) => answer.map_err(AuditError::Sync),
            Err(_) => Err(AuditError::Closed),
        }
    }

    fn drop_asks(&self) {
        while self.asks.pop().is_some() {}
    }

    // ---- Health ----

    /// Sets whether the worker waits for the sink.
    pub(crate) fn set_busy(&self, busy: bool) {
        let since = if busy { self.mono_ms() } else { IDLE };
        self.busy_since_ms.store(since, Ordering::Relaxed);
    }

    pub(crate) fn set_trouble(&self, error: Option<SinkError>) {
        let mut trouble = lock(&self.trouble);
        match (error, &mut *trouble) {
            (Some(error), Some(trouble)) => trouble.error = error,
            (Some(error), none) => {
                tracing::error!(%error, "the audit trail's sink fails");
                *none = Some(Trouble {
                    since_ms: self.clock.unix_ms(),
                    error,
                });
            }
            (None, some) => {
                if some.take().is_some() {
                    tracing::info!("the audit trail's sink works again");
                }
            }
        }
    }

    pub(crate) fn status(&self) -> Status {
        if let Some(Trouble { since_ms, error }) = lock(&self.trouble).clone() {
            return Status::Failing { since_ms, error };
        }
        let waited = match self.busy_since_ms.load(Ordering::Relaxed) {
            IDLE => Duration::ZERO,
            since => Duration::from_millis(self.mono_ms().saturating_sub(since)),
        };
        // A sink that reports its own error says more than a timeout does.
        let hung = (waited >= HUNG_AFTER).then_some(SinkError::Hung(waited));
        if let Some(error) = self.sink.failing().or(hung) {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            let since_ms = self.clock.unix_ms().saturating_sub(waited_ms);
            return Status::Failing { since_ms, error };
        }
        if self.intake.sealed_at().is_some() {
            Status::Closed
        } else {
            Status::Healthy
        }
    }

    // ---- Ending ----

    /// The last step of the worker.
    pub(crate) fn end(&self, report: CloseReport) {
        self.set_busy(false);
        self.ended.store(true, Ordering::SeqCst);
        self.drop_asks();
        *lock(&self.report) = Some(report);
        self.reported.notify_all();
    }

    /// Refuses further offers, lets the worker drain the queue, and waits for it. This waits for at
    /// most `deadline`, and a moment longer for a worker that must give up. Blocks the thread.
    pub(crate) fn finish(&self, deadline: Duration) -> CloseReport {
        self.intake.seal();
        self.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(report) = self.wait(deadline) {
            return report;
        }
        tracing::error!(
            ?deadline,
            "the audit trail's sink did not take everything in time"
        );
        self.abort.store(true, Ordering::Release);
        self.abort_signal.notify_one();
        self.wake();
        if let Some(report) = self.wait(GIVE_UP_GRACE) {
            return report;
        }
        let mut report = lock(&self.report);
        report
            .get_or_insert_with(|| self.account(false, true))
            .clone()
    }

    /// Does the same as [`finish`](Self::finish), on a thread whose runtime the sink may need. It
    /// waits while the sink accepts records. If the sink has accepted none for a moment, another
    /// thread continues.
    pub(crate) fn finish_while_it_moves(self: &Arc<Self>, deadline: Duration) {
        self.intake.seal();
        self.stop.store(true, Ordering::Release);
        self.wake();
        let clock = SystemClock::new();
        let moved = || {
            let taken = self.published.taken_offers.load(Ordering::Relaxed);
            (self.written.load(Ordering::Relaxed), taken)
        };
        let mut before = moved();
        while clock.monotonic() < deadline {
            if self.wait(STANDSTILL.min(deadline)).is_some() {
                return;
            }
            let now = moved();
            if now == before {
                break;
            }
            before = now;
        }
        let left = deadline.saturating_sub(clock.monotonic());
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("audit-close".to_owned())
            .spawn(move || shared.finish(left));
        if thread.is_err() {
            self.finish(left);
        }
    }

    fn wait(&self, at_most: Duration) -> Option<CloseReport> {
        let report = lock(&self.report);
        let (report, _) = self
            .reported
            .wait_timeout_while(report, at_most, |report| report.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        report.clone()
    }

    /// The counters.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = Counters {
            offered: self.intake.offered(),
            accepted: self.intake.accepted(),
            dropped: self.intake.dropped(),
            written: self.written.load(Ordering::Relaxed),
            durable: self.durable.load(Ordering::Relaxed),
            queue_depth: self.intake.len(),
            queue_capacity: self.intake.capacity(),
            waiting_ends: self.intake.waiting(),
            sink_panics: self.sink_panics.load(Ordering::Relaxed),
            sync_errors: self.flush_errors.load(Ordering::Relaxed),
            ..Counters::default()
        };
        self.published.read(&mut counters);
        counters
    }

    /// The report of the pipeline's end, if it has ended.
    pub(crate) fn report(&self) -> Option<CloseReport> {
        lock(&self.report).clone()
    }

    /// A report of the current state.
    pub(crate) fn account(&self, durable: bool, timed_out: bool) -> CloseReport {
        let accepted = self.intake.accepted();
        let taken = self.published.taken_offers.load(Ordering::Relaxed);
        CloseReport {
            offered: self.intake.offered(),
            accepted,
            unwritten: accepted.saturating_sub(taken),
            dropped: self.intake.dropped(),
            written: self.written.load(Ordering::Relaxed),
            sink_panics: self.sink_panics.load(Ordering::Relaxed),
            durable,
            timed_out,
        }
    }
}
