//! The thread that drains the queue to the sink.
//!
//! It polls: while records come, an offer never wakes it. Between two rounds it sleeps. The pause
//! is short after it found something, and doubles each time it found nothing. The queue's capacity
//! determines the shortest and the longest pause ([`Sleep`]). A thread that waits for an answer
//! wakes the worker.
//!
//! After a second without a record it sleeps until something is due, and the next offer wakes it
//! ([`Asleep`](super::asleep::Asleep)): that is one futex call after a silence. A slow sink cannot
//! cause this under load, because the worker sleeps so only if it has accounted for everything.

mod call;
mod parked;
mod records;
mod send;
mod sleep;
mod take;
mod timers;
mod wall;

use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::{Clock as _, SystemClock};
use livetrail_record::{AuditAction, AuditRecord, LossKind};
use tokio::runtime::Runtime;
use uuid::Uuid;

use self::call::SinkCall;
use self::parked::Parked;
use self::records::{crash_closure, loss_record};
use self::send::{Batch, Role};
use self::sleep::{LONGEST_SLEEP, Sleep};
use self::take::Space;
use self::timers::Timers;
use self::wall::Wall;
use super::account::Account;
use super::convert;
use super::intake::Offered;
use super::loss::{Harvester, Loss};
use super::nonce::Nonces;
use super::refusals::Refusals;
use super::sessions::Sessions;
use super::shared::{Ask, Shared};
use super::sync::Ordering;
use super::{CloseReport, Config};

/// The most records in one call of the sink.
const MAX_BATCH: usize = 1_024;

/// How often records that were dropped for want of space are reported. A report for each record
/// would take the saved space. A report also waits this long after the sink panicked at it.
const SHED_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the report of a loss may wait for held records. After that the held records are lost,
/// too.
const PARKED_AT_MOST: Duration = Duration::from_secs(10);

/// How long closing waits for a producer that has taken a number and not used it yet.
const STRAGGLER_PATIENCE: Duration = Duration::from_secs(1);

/// How long closing waits for space for held records. The wait is never longer than half the close
/// deadline.
const SPACE_PATIENCE: Duration = Duration::from_secs(5);

/// The first pause after the sink panicked at the first records of a boot. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// How often the end of a boot tries to report the records at which the sink panicked.
const LAST_REPORTS: usize = 8;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    config: Config,
    boot: Uuid,
    sink: SinkCall,
    timers: Timers,
    account: Account,
    harvester: Harvester,
    nonces: Nonces,
    sessions: Sessions,
    refusals: Refusals,
    /// The count of numbers that were given after the last offer's one, once the pipeline is
    /// closed.
    after_seal: u64,
    popped: Vec<Offered>,
    /// One past the highest number that was popped, or that a record of the worker got.
    seen: u64,
    /// Refusals that come before numbers that had not been popped yet.
    early: Vec<Offered>,
    batch: Batch,
    /// Whether the sink has accepted records since the last sync.
    unsynced: bool,
    /// Whether the sink panicked at the last batch.
    panicked: bool,
    /// The classes for which the sink had space at the last check.
    space: Space,
    parked: Parked,
    /// Questions about records that are held.
    held: Vec<Ask>,
    /// The count of numbers that are accounted for: popped, lost or the worker's own.
    accounted: u64,
    /// The losses among them that the worker itself counted. It had accounted for their numbers
    /// before.
    lost_again: u64,
    /// The positions of the boot's first records that the sink did not accept.
    not_first: Vec<usize>,
    /// The refusals that are accounted for.
    refusals_taken: u64,
    /// The attempts whose records were lost since the last report of losses.
    lost_attempts: u64,
    wall: Wall,
}

/// The count of numbers that the worker gives before the first offer. They are for `server_started`
/// and the sessions that a crash left open.
pub(crate) fn reserved(config: &Config) -> u64 {
    if !config.boot_records {
        return 0;
    }
    1 + u64::try_from(config.recovered.len()).unwrap_or(u64::MAX)
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, config: Config, boot: Uuid, runtime: Runtime) -> Self {
        let now = shared.clock.monotonic();
        let wall = Wall::new(&shared.clock);
        let reserved = reserved(&config);
        Self {
            timers: Timers::new(config.heartbeat, config.sync_interval, now),
            sink: SinkCall::new(Arc::clone(&shared), runtime),
            refusals: Refusals::new(config.refusal_records_per_second, now),
            parked: Parked::with_capacity(shared.intake.capacity()),
            accounted: reserved,
            shared,
            config,
            boot,
            account: Account::default(),
            harvester: Harvester::default(),
            nonces: Nonces::new(),
            sessions: Sessions::default(),
            after_seal: 0,
            popped: Vec::with_capacity(MAX_BATCH),
            seen: reserved,
            early: Vec::new(),
            batch: Batch::default(),
            unsynced: false,
            panicked: false,
            space: Space::ALL,
            held: Vec::new(),
            lost_again: 0,
            not_first: Vec::new(),
            refusals_taken: 0,
            lost_attempts: 0,
            wall,
        }
    }

    pub(crate) fn run(mut self) -> CloseReport {
        self.begin();
        let mut sleep = Sleep::for_capacity(self.shared.intake.capacity());
        loop {
            let stopping = self.shared.stop.load(Ordering::Acquire);
            let found = self.round();
            if stopping && found == 0 {
                return self.close();
            }
            if found >= MAX_BATCH / 2 {
                continue;
            }
            let pause = sleep.after(found);
            if !(sleep.is_silent() && self.sleep_until_woken()) {
                std::thread::park_timeout(pause);
            }
        }
    }

    /// Sleeps until an offer or a question comes, or something is due. `false` if there is
    /// something to do, now or soon.
    fn sleep_until_woken(&self) -> bool {
        let Some(settled) = self.account.all_settled() else {
            return false;
        };
        let due = [
            self.timers.next_due(self.unsynced),
            self.refusals.next_due(),
        ];
        let due = due.into_iter().flatten().min().unwrap_or_default();
        let time = due.saturating_sub(self.shared.clock.monotonic());
        let intake = &self.shared.intake;
        if !intake.park(&self.shared.asleep, settled, self.refusals_taken) {
            return false;
        }
        std::thread::park_timeout(time.min(LONGEST_SLEEP));
        self.shared.asleep.get_up();
        true
    }

    /// Does one round: questions, the queue, losses, and due work. Returns the number of offers
    /// that it found.
    fn round(&mut self) -> usize {
        // Questions come first, because the earlier offers of their callers are in the queue by
        // now.
        let asks = self.questions();
        self.check_space();
        self.unpark();
        // The waiting ends are taken before the queue is read. The other records of their sessions
        // are in the queue by now, or were there before.
        let waiting: Vec<Offered> = (0..MAX_BATCH)
            .map_while(|_| self.shared.intake.pop_waiting())
            .collect();
        let ahead = if asks.is_empty() && waiting.is_empty() {
            1
        } else {
            self.shared.intake.len().max(1)
        };
        let mut found = 0;
        while found < ahead {
            let more = self.pop_batch();
            if more == 0 {
                break;
            }
            found += more;
            self.write();
        }
        found += waiting.len();
        self.take_waiting(waiting);
        self.report_losses();
        self.what_is_due();
        self.write();
        self.shared.intake.drained(self.accounted);
        self.shared.published.refusals(self.refusals.counts());
        if !asks.is_empty() {
            self.answer(asks);
        }
        found
    }

    // ---- Records of its own ----

    /// Writes `server_started`, and the last records of the sessions that a crash left open.
    fn begin(&mut self) {
        if !self.config.boot_records {
            return;
        }
        let recovered = std::mem::take(&mut self.config.recovered);
        let mut started = AuditRecord::new(AuditAction::ServerStarted, "");
        started.count = u64::try_from(recovered.len())
            .ok()
            .filter(|count| *count > 0);
        started.detail = self.config.started_detail.take().map(Into::into);
        self.wall.tell(&mut started, self.config.clock_state);
        // No record may come before these. So if the sink panics at them, the worker writes them
        // again.
        self.first(0, &[started]);
        let closures: Vec<AuditRecord> = recovered.iter().map(crash_closure).collect();
        self.first(1, &closures);
    }

    /// Writes records that come before all others. The first attempt uses the numbers from `seq`
    /// on.
    ///
    /// It repeats the attempt until the sink has accepted all of them. After the pipeline is
    /// closed, the number of attempts is bounded.
    fn first(&mut self, seq: u64, records: &[AuditRecord]) {
        let mut left: Vec<(u64, usize)> = (seq..).zip(0..records.len()).collect();
        let mut pause = FIRST_PAUSE;
        for tries in 1.. {
            for (seq, at) in left {
                self.push_own(seq, records[at].clone(), Role::First(at));
            }
            self.write();
            let stops = self.shared.stop.load(Ordering::Acquire) && tries >= LAST_REPORTS;
            let again = std::mem::take(&mut self.not_first);
            if again.is_empty() || stops || self.shared.abort.load(Ordering::Acquire) {
                return;
            }
            let number = |at| (self.next_number(), at);
            left = again.into_iter().map(number).collect();
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(LONGEST_SLEEP);
        }
    }

    /// The boot's next number, for a record of the worker.
    fn next_number(&mut self) -> u64 {
        if let Some(seq) = self.shared.intake.own_number() {
            self.accounted += 1;
            self.seen = self.seen.max(seq + 1);
            return seq;
        }
        self.number_after_seal()
    }

    /// Adds a record of the worker with the boot's next number.
    fn push_next(&mut self, record: AuditRecord, role: Role) {
        let seq = self.next_number();
        self.push_own(seq, record, role);
    }

    fn push_own(&mut self, seq: u64, mut record: AuditRecord, role: Role) {
        if record.ts_ms == 0 {
            record.ts_ms = self.shared.clock.unix_ms();
            record.mono_ms = Some(self.shared.mono_ms());
        }
        self.push(seq, record, role, true);
    }

    fn push(&mut self, seq: u64, mut record: AuditRecord, role: Role, own: bool) {
        if self.batch.len() >= MAX_BATCH {
            self.write();
        }
        record.node.clone_from(&self.config.node);
        record.boot = Some(self.boot);
        record.seq = Some(seq);
        record.nonce = self.nonces.next();
        convert::bound(&mut record);
        self.batch.push(seq, record, role, own);
    }

    fn number_after_seal(&mut self) -> u64 {
        let end = loop {
            match self.shared.intake.sealed_at() {
                Some(end) => break end,
                // Another thread is closing the pipeline now, and its next instruction sets this
                // number.
                None => std::thread::yield_now(),
            }
        };
        let seq = end + self.after_seal;
        self.after_seal += 1;
        seq
    }

    /// Takes the counted losses over from the banks.
    fn harvest_losses(&mut self) {
        if let Some(loss) = self.harvester.take(&self.shared.intake.losses) {
            // The worker accounted for its own losses when it popped them.
            let again = self.lost_again.min(loss.total());
            self.lost_again -= again;
            self.accounted += loss.total() - again;
            self.sessions.ends_lost(
                loss.count(LossKind::PublishEnded),
                loss.count(LossKind::PlayEnded),
            );
            let now = self.shared.clock.unix_ms();
            let last = &self.shared.published.last_loss_ms;
            last.store(now.max(1), Ordering::Relaxed);
            self.account.lost(loss);
        }
    }

    /// Takes the counted losses over from the banks, and reports what can be reported.
    fn report_losses(&mut self) {
        self.harvest_losses();
        if !self.account.is_pending() {
            return;
        }
        let now = self.shared.clock.monotonic();
        if !self.timers.may_report_loss(now) {
            return;
        }
        let Some(loss) = self.account.report() else {
            if self.parked.is_held_longer_than(PARKED_AT_MOST, now) {
                self.lose_parked();
            }
            return;
        };
        if self.space != Space::ALL {
            self.timers.pause_loss_reports(now, SHED_REPORT_INTERVAL);
        }
        self.push_loss(loss);
    }

    fn push_loss(&mut self, loss: Loss) {
        tracing::warn!(
            records = loss.total(),
            first_seq = loss.first_seq,
            last_seq = loss.last_seq,
            "the audit queue was full, the disk nearly so, or the sink panicked: records were dropped"
        );
        let attempts = std::mem::take(&mut self.lost_attempts);
        let record = loss_record(&loss, attempts);
        self.push_next(record, Role::Loss(Box::new(loss), attempts));
    }

    fn what_is_due(&mut self) {
        let now = self.shared.clock.monotonic();
        for aggregate in self.refusals.due(now) {
            self.push_refusal(aggregate);
        }
        let due = self.timers.due(now);
        if due.heartbeat {
            // After this write, all records that the sink has accepted are accounted for.
            self.write();
            let mut heartbeat = AuditRecord::new(AuditAction::Heartbeat, "");
            heartbeat.last_seq = self.account.settled();
            self.wall.tell(&mut heartbeat, self.config.clock_state);
            self.wall.tell_step(&mut heartbeat, &self.shared.clock);
            self.push_next(heartbeat, Role::Plain);
        }
        if due.sweep && self.config.boot_records {
            for ended in self.sessions.abandoned() {
                self.push_end(ended);
            }
        } else if due.sweep {
            self.sessions.forget();
        }
        if due.sync && self.unsynced {
            self.write();
            let _ = self.sync();
        }
    }

    fn push_end(&mut self, ended: AuditRecord) {
        let role = ended.session.map_or(Role::Plain, Role::End);
        self.push_next(ended, role);
    }

    // ---- The end ----

    /// The pipeline is closed and the queue is empty. This accounts for every number, ends the open
    /// sessions, and ends the boot.
    fn close(mut self) -> CloseReport {
        let end = loop {
            if let Some(end) = self.shared.intake.sealed_at() {
                break end;
            }
            std::thread::yield_now();
        };
        // A host's clock may stand still, so this uses the system's clock.
        let real = SystemClock::new();
        let mut began = real.monotonic();
        let for_space = SPACE_PATIENCE.min(self.config.close_deadline / 2);
        loop {
            self.round();
            if self.shared.abort.load(Ordering::Acquire) {
                break;
            }
            let waited = real.monotonic().saturating_sub(began);
            if !self.parked.is_empty() {
                if waited < for_space {
                    std::thread::park_timeout(Duration::from_millis(1));
                    continue;
                }
                self.lose_parked();
                self.harvest_losses();
                began = real.monotonic();
                continue;
            }
            let refusals = self.shared.intake.refusals.offered() - self.refusals_taken;
            if self.account.unresolved(end) == 0 && refusals == 0 {
                break;
            }
            if waited >= STRAGGLER_PATIENCE {
                self.give_up_stragglers(end, refusals);
                break;
            }
            std::thread::park_timeout(Duration::from_micros(100));
        }
        let now = self.shared.clock.monotonic();
        for aggregate in self.refusals.flush(now) {
            self.push_refusal(aggregate);
        }
        if self.config.boot_records {
            self.write();
            for ended in self.sessions.all() {
                self.push_end(ended);
            }
        }
        self.write();
        self.report_last_losses();
        if self.config.boot_records {
            self.push_next(
                AuditRecord::new(AuditAction::ServerStopped, ""),
                Role::Plain,
            );
        }
        self.write();
        let durable = self.sync().is_ok();
        self.sink.shutdown();
        self.shared
            .account(durable, self.shared.abort.load(Ordering::Acquire))
    }

    /// Reports all losses, because they must be on record before the boot ends. The sink may panic
    /// at a report, too.
    fn report_last_losses(&mut self) {
        for _ in 0..LAST_REPORTS {
            self.harvest_losses();
            let Some(loss) = self.account.report() else {
                return;
            };
            self.push_loss(loss);
            self.write();
        }
    }

    /// Counts the numbers of producers that never used them. Their records are lost, and nobody
    /// knows their actions.
    fn give_up_stragglers(&mut self, end: u64, refusals: u64) {
        let unresolved = self.account.unresolved(end);
        tracing::error!(
            records = unresolved,
            refusals,
            "records were offered and never arrived"
        );
        self.shared.intake.lose_refusals(refusals);
        if unresolved == 0 {
            return;
        }
        let now = self.shared.clock.unix_ms();
        let numbers = (self.account.first_missing(end), end - 1);
        let loss = Loss::of_kind(LossKind::Other, unresolved, numbers, (now, now));
        self.account.lost(loss);
    }
}
