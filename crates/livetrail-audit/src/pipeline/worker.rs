//! The thread that drains the queue to the sink.
//!
//! It polls: while records come, an offer never wakes it. Between looks it sleeps shortly after it found something and twice as long each time it
//! found nothing; how short and how long follows from what the queue can hold ([`Sleep`]). Whoever waits for an answer wakes it.
//!
//! After a second without a record it sleeps until something is due, and the next offer wakes it ([`Asleep`](super::asleep::Asleep)): one futex
//! call after a silence. A slow sink cannot bring that about under load, because only a worker with nothing left to account for sleeps so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use livetrail_engine::StreamEventKind;
use livetrail_record::{
    AuditAction, AuditRecord, LossCounts, OpenSession, Outcome, Reason, SessionKind, Value,
};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::account::Account;
use super::convert;
use super::intake::{KIND_LABELS, Offered, What};
use super::loss::{Harvester, KINDS, Loss};
use super::nonce::Nonces;
use super::sessions::Sessions;
use super::shared::{Ask, HUNG_AFTER, Shared};
use super::sync::Ordering;
use super::{CloseReport, Config, Sheds};
use crate::error::SinkError;
use crate::sink::PanickedWrites;

/// The most records that a sink gets at once.
const MAX_BATCH: usize = 1_024;

/// How often it is looked for sessions whose end was dropped when there are no heartbeats.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How often what was left out for want of room is reported: a report a record would take the room that is saved.
const SHED_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a producer may stand between taking a number and using it when the pipeline closes.
const STRAGGLER_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Worker {
    shared: Arc<Shared>,
    config: Config,
    boot: Uuid,
    runtime: Runtime,
    account: Account,
    harvester: Harvester,
    nonces: Nonces,
    sessions: Sessions,
    /// Numbers after the last offer's, once the pipeline is closed.
    after_seal: u64,
    popped: Vec<Offered>,
    batch: Vec<AuditRecord>,
    /// The sink took something since the last sync.
    unsynced: bool,
    /// The last batch panicked in the sink.
    panicked: bool,
    next_heartbeat: Option<Duration>,
    next_sweep: Duration,
    next_sync: Option<Duration>,
    /// The sink was short of room when it was asked last.
    shedding: bool,
    next_loss_report: Duration,
}

/// How many numbers the worker has given before the first offer: `server_started` and what a crash left open.
pub(crate) fn reserved(config: &Config) -> u64 {
    if !config.boot_records {
        return 0;
    }
    1 + u64::try_from(config.recovered.len()).unwrap_or(u64::MAX)
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, config: Config, boot: Uuid, runtime: Runtime) -> Self {
        let now = shared.clock.monotonic();
        Self {
            next_heartbeat: config.heartbeat.map(|interval| now + interval),
            next_sweep: now + SWEEP_INTERVAL,
            next_sync: config.sync_interval.map(|interval| now + interval),
            shared,
            config,
            boot,
            runtime,
            account: Account::default(),
            harvester: Harvester::default(),
            nonces: Nonces::new(),
            sessions: Sessions::default(),
            after_seal: 0,
            popped: Vec::with_capacity(MAX_BATCH),
            batch: Vec::with_capacity(MAX_BATCH),
            unsynced: false,
            panicked: false,
            shedding: false,
            next_loss_report: now,
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

    /// Sleeps until an offer or a question comes, or something is due. `false`: there is something to do, or soon will be.
    fn sleep_until_woken(&self) -> bool {
        let Some(settled) = self.account.all_settled() else {
            return false;
        };
        let due = [
            self.next_heartbeat,
            Some(self.next_sweep),
            self.next_sync.filter(|_| self.unsynced),
        ];
        let due = due.into_iter().flatten().min().unwrap_or_default();
        let time = due.saturating_sub(self.shared.clock.monotonic());
        if !self.shared.intake.lie_down(&self.shared.asleep, settled) {
            return false;
        }
        std::thread::park_timeout(time.min(LONGEST_SLEEP));
        self.shared.asleep.get_up();
        true
    }

    /// One look at everything: questions, the queue, losses, what is due. Gives how many offers it found.
    fn round(&mut self) -> usize {
        // Questions first: what their askers offered is in the queue by now.
        let asks: Vec<Ask> = (0..self.shared.asks.len())
            .map_while(|_| self.shared.asks.pop())
            .collect();
        let ahead = if asks.is_empty() {
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
        self.report_losses();
        self.what_is_due();
        self.write();
        if !asks.is_empty() {
            self.answer(asks);
        }
        found
    }

    // ---- Records ------------------------------------------------------------------------------------------------------

    /// `server_started`, and the last records of what a crash left open.
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
        self.push_own(0, started);
        for (seq, session) in (1..).zip(&recovered) {
            self.push_own(seq, crash_closure(session));
        }
        self.write();
    }

    fn pop_batch(&mut self) -> usize {
        debug_assert!(self.popped.is_empty(), "every popped offer was converted");
        while self.popped.len() < MAX_BATCH {
            let Some(offered) = self.shared.intake.pop() else {
                break;
            };
            self.popped.push(offered);
        }
        if !self.popped.is_empty() {
            let sheds = self.config.sheds;
            self.shedding = (sheds.publish || sheds.play) && self.shared.sink.short_of_room();
        }
        // Producers that number at the same moment may queue the other way round.
        self.popped.sort_unstable_by_key(|offered| offered.seq);
        let mut popped = std::mem::take(&mut self.popped);
        for offered in popped.drain(..) {
            self.take(offered);
        }
        self.popped = popped;
        self.batch.len()
    }

    fn take(&mut self, offered: Offered) {
        if self.shedding && self.config.sheds.covers(&offered.what) {
            // As if the queue had been full.
            self.shared.intake.lose(&offered);
            return;
        }
        self.account.arrived(offered.seq);
        let (record, context) = match offered.what {
            What::Transition {
                kind,
                session,
                context,
            } => {
                let mut record = convert::record_of(&kind, &context);
                record.session = Some(session.as_uuid());
                record.ts_ms = offered.ts_ms;
                record.mono_ms = Some(offered.mono_ms);
                (record, Some(context))
            }
            What::Record(record) => (self.shared.intake.unbox(record), None),
        };
        self.sessions.see(&record, context);
        self.push(offered.seq, record);
    }

    /// A record of the worker's own, under the boot's next number.
    fn push_next(&mut self, record: AuditRecord) {
        let seq = self
            .shared
            .intake
            .own_number()
            .unwrap_or_else(|| self.number_after_seal());
        self.push_own(seq, record);
    }

    fn push_own(&mut self, seq: u64, mut record: AuditRecord) {
        record.ts_ms = self.shared.clock.unix_ms();
        record.mono_ms = Some(self.shared.mono_ms());
        self.account.arrived(seq);
        self.push(seq, record);
    }

    fn push(&mut self, seq: u64, mut record: AuditRecord) {
        record.node.clone_from(&self.config.node);
        record.boot = Some(self.boot);
        record.seq = Some(seq);
        record.nonce = self.nonces.next();
        convert::bound(&mut record);
        self.batch.push(record);
    }

    fn number_after_seal(&mut self) -> u64 {
        let end = loop {
            match self.shared.intake.sealed_at() {
                Some(end) => break end,
                // The pipeline is just being closed: the next instruction of that thread says where.
                None => std::thread::yield_now(),
            }
        };
        let seq = end + self.after_seal;
        self.after_seal += 1;
        seq
    }

    /// Takes over what the full queue cost, and reports what can be reported.
    fn report_losses(&mut self) {
        if let Some(loss) = self.harvester.take(&self.shared.intake.losses) {
            self.account.lost(loss);
        }
        let now = self.shared.clock.monotonic();
        if self.shedding && now < self.next_loss_report {
            return;
        }
        let Some(loss) = self.account.report() else {
            return;
        };
        self.next_loss_report = now + SHED_REPORT_INTERVAL;
        self.sessions.ends_lost(loss.counts[1], loss.counts[4]);
        tracing::warn!(
            records = loss.total(),
            first_seq = loss.first_seq,
            last_seq = loss.last_seq,
            "the audit queue was full, or the disk nearly so: records were dropped"
        );
        self.push_next(loss_record(&loss));
    }

    fn what_is_due(&mut self) {
        let now = self.shared.clock.monotonic();
        if let Some(interval) = self.config.heartbeat
            && self.next_heartbeat.is_some_and(|due| due <= now)
        {
            self.next_heartbeat = Some(now + interval);
            let mut heartbeat = AuditRecord::new(AuditAction::Heartbeat, "");
            heartbeat.last_seq = self.account.settled();
            self.push_next(heartbeat);
        }
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP_INTERVAL;
            if self.config.boot_records {
                for ended in self.sessions.forsaken() {
                    self.push_next(ended);
                }
            }
        }
        if let Some(interval) = self.config.sync_interval
            && self.next_sync.is_some_and(|due| due <= now)
        {
            self.next_sync = Some(now + interval);
            if self.unsynced {
                self.write();
                let _ = self.sync();
            }
        }
    }

    // ---- The sink -----------------------------------------------------------------------------------------------------

    /// Hands the batch to the sink.
    fn write(&mut self) {
        if self.batch.is_empty() || self.shared.abort.load(Ordering::Acquire) {
            self.batch.clear();
            return;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(MAX_BATCH));
        let records = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let sink = Arc::clone(&self.shared.sink);
        let written = match self.call(async move { sink.write_batch(batch).await }) {
            Called::Done(()) => records,
            Called::GivenUp => 0,
            Called::Panicked(writes) => {
                self.shared.set_trouble(Some(SinkError::Panicked));
                self.panicked = true;
                writes.map_or(0, |PanickedWrites(panicked)| {
                    records.saturating_sub(panicked)
                })
            }
        };
        if written == records && std::mem::take(&mut self.panicked) {
            self.shared.set_trouble(None);
        }
        self.sessions.taken(written == records);
        self.unsynced |= written > 0;
        self.shared.written.fetch_add(written, Ordering::Relaxed);
    }

    /// Asks the sink whether all it took is durable.
    fn sync(&mut self) -> Result<(), SinkError> {
        let written = self.shared.written.load(Ordering::Relaxed);
        let sink = Arc::clone(&self.shared.sink);
        let result = match self.call(async move { sink.flush().await }) {
            Called::Done(result) => result,
            Called::GivenUp => Err(SinkError::Closed),
            Called::Panicked(_) => Err(SinkError::Panicked),
        };
        match &result {
            Ok(()) => {
                self.unsynced = false;
                self.shared.durable.store(written, Ordering::Relaxed);
                self.shared.set_trouble(None);
            }
            Err(error) => {
                self.shared.flush_errors.fetch_add(1, Ordering::Relaxed);
                self.shared.set_trouble(Some(error.clone()));
            }
        }
        result
    }

    /// One sync answers all that wait.
    fn answer(&mut self, asks: Vec<Ask>) {
        let synced = self.sync();
        for Ask { session, answer } in asks {
            let result = match (&synced, session) {
                (Err(error), _) => Err(error.clone()),
                (Ok(()), Some(session)) if !self.sessions.is_recorded(&session) => Err(
                    SinkError::Other("the session's first record was dropped".to_owned()),
                ),
                (Ok(()), _) => Ok(()),
            };
            // Who asked may have given up.
            let _ = answer.send(result);
        }
    }

    /// Runs a call of the sink to its end, or until the pipeline gives up. A panic is caught and counted.
    fn call<T>(&self, call: impl Future<Output = T>) -> Called<T> {
        if self.shared.abort.load(Ordering::Acquire) {
            return Called::GivenUp;
        }
        self.shared.set_busy(true);
        let shared = &self.shared;
        let run = AssertUnwindSafe(|| self.runtime.block_on(watched(shared, call)));
        let result = catch_unwind(run);
        self.shared.set_busy(false);
        match result {
            Ok(Some(value)) => Called::Done(value),
            Ok(None) => Called::GivenUp,
            Err(payload) => {
                let writes = payload
                    .downcast::<PanickedWrites>()
                    .ok()
                    .map(|writes| *writes);
                let panics = writes.map_or(1, |PanickedWrites(panicked)| panicked);
                self.shared.sink_panics.fetch_add(panics, Ordering::Relaxed);
                tracing::error!(panics, "the audit sink panicked");
                Called::Panicked(writes)
            }
        }
    }

    // ---- The end ------------------------------------------------------------------------------------------------------

    /// The pipeline is closed and the queue is empty: account for every number, close what is open, say that the boot ends.
    fn close(mut self) -> CloseReport {
        let end = loop {
            if let Some(end) = self.shared.intake.sealed_at() {
                break end;
            }
            std::thread::yield_now();
        };
        let patience = self.shared.clock.monotonic() + STRAGGLER_PATIENCE;
        loop {
            self.round();
            if self.account.unresolved(end) == 0 || self.shared.abort.load(Ordering::Acquire) {
                break;
            }
            if self.shared.clock.monotonic() >= patience {
                self.give_up_stragglers(end);
                break;
            }
            std::thread::park_timeout(Duration::from_micros(100));
        }
        self.shedding = false;
        self.report_losses();
        if self.config.boot_records {
            for ended in self.sessions.all() {
                self.push_next(ended);
            }
            self.push_next(AuditRecord::new(AuditAction::ServerStopped, ""));
        }
        self.write();
        let durable = self.sync().is_ok();
        // What a sink left running there must not hold up the end.
        self.runtime.shutdown_background();
        self.shared
            .account(durable, self.shared.abort.load(Ordering::Acquire))
    }

    /// Producers that took a number and were never seen again: their records are lost, of which action nobody knows.
    fn give_up_stragglers(&mut self, end: u64) {
        let unresolved = self.account.unresolved(end);
        tracing::error!(
            records = unresolved,
            "records were offered and never arrived"
        );
        let mut counts = [0; KINDS];
        counts[KINDS - 1] = unresolved;
        let now = self.shared.clock.unix_ms();
        let first_seq = self.account.first_missing(end);
        self.account.lost(Loss {
            counts,
            first_seq,
            last_seq: end - 1,
            first_ts_ms: now,
            last_ts_ms: now,
        });
    }
}

impl Sheds {
    /// Whether this is how a session of a role that may be left out begins, or is refused.
    const fn covers(self, what: &What) -> bool {
        use StreamEventKind as Kind;
        match what {
            What::Transition { kind, .. } => match kind {
                Kind::PublishStarted | Kind::PublishDenied { .. } => self.publish,
                Kind::PlayStarted | Kind::PlayDenied { .. } => self.play,
                _ => false,
            },
            What::Record(_) => false,
        }
    }
}

/// How long the worker sleeps between two looks.
///
/// From 0.5 to 2 ms after it found something, doubling to 10 ms; for small queues to less, so that a burst of 250,000 records a
/// second finds room during a sleep, down to queues of 256.
struct Sleep {
    shortest: Duration,
    longest: Duration,
    now: Duration,
    /// For how long nothing was found.
    silent: Duration,
}

/// After so long without a record the worker sleeps until it is woken.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// But no longer than this at once: a host's clock may be ahead of what it was when something became due.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

impl Sleep {
    fn for_capacity(records: usize) -> Self {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        let shortest = Duration::from_micros(records.clamp(500, 2_000));
        let longest = Duration::from_micros(records.saturating_mul(4).clamp(1_000, 10_000));
        Self {
            shortest,
            longest,
            now: shortest,
            silent: Duration::ZERO,
        }
    }

    fn after(&mut self, found: usize) -> Duration {
        if found > 0 {
            self.now = self.shortest;
            self.silent = Duration::ZERO;
            return self.now;
        }
        self.now = (self.now * 2).min(self.longest);
        self.silent = self.silent.saturating_add(self.now);
        self.now
    }

    /// Whether nothing has come for long.
    fn is_silent(&self) -> bool {
        self.silent >= IDLE_AFTER
    }
}

enum Called<T> {
    Done(T),
    GivenUp,
    Panicked(Option<PanickedWrites>),
}

/// Waits for the sink: says so when that takes long, and gives up when the pipeline does.
async fn watched<T>(shared: &Shared, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut slow = pin!(tokio::time::sleep(HUNG_AFTER));
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            value = &mut call => return Some(value),
            () = shared.abort_signal.notified() => return None,
            () = &mut slow, if !told => {
                told = true;
                tracing::error!("the audit sink has not answered for one second");
            }
        }
    }
}

fn loss_record(loss: &Loss) -> AuditRecord {
    let mut counts = LossCounts::new();
    for (label, count) in KIND_LABELS.iter().zip(loss.counts) {
        counts.add(label, count);
    }
    let mut record = AuditRecord::new(AuditAction::RecordsDropped, "")
        .with_count(loss.total())
        .with_first_seq(loss.first_seq)
        .with_last_seq(loss.last_seq)
        .with_detail(counts.to_detail());
    for (name, ts_ms) in [
        ("first_ts_ms", loss.first_ts_ms),
        ("last_ts_ms", loss.last_ts_ms),
    ] {
        if let Ok(ts_ms) = i64::try_from(ts_ms) {
            // Only a time beyond 2^53 ms is refused; the record does without it then.
            let _ = record.extra.insert(name, Value::Integer(ts_ms));
        }
    }
    record
}

fn crash_closure(session: &OpenSession) -> AuditRecord {
    let action = match session.kind {
        Some(SessionKind::Publish) => AuditAction::PublishEnded,
        _ => AuditAction::PlayEnded,
    };
    let mut record = AuditRecord::new(action, session.app.clone())
        .with_session(session.session)
        .with_outcome(Outcome::Failed)
        .with_reason(Reason::ServerCrash)
        .with_inferred(true);
    record.stream.clone_from(&session.stream);
    record.protocol.clone_from(&session.protocol);
    record.principal.clone_from(&session.principal);
    record.peer.clone_from(&session.peer);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_grow_while_nothing_comes_and_are_shorter_for_small_queues() {
        let ms = Duration::from_millis;
        let mut sleep = Sleep::for_capacity(65_536);
        let idle: Vec<_> = (0..4).map(|_| sleep.after(0)).collect();
        assert_eq!(idle, [ms(4), ms(8), ms(10), ms(10)]);
        let mut silent = ms(32);
        while silent < IDLE_AFTER {
            assert!(!sleep.is_silent());
            silent += sleep.after(0);
        }
        assert!(sleep.is_silent());
        assert_eq!(sleep.after(1), ms(2));
        assert!(!sleep.is_silent());
        assert_eq!(
            [0; 3].map(|found| sleep.after(found)),
            [ms(4), ms(8), ms(10)]
        );
        let mut small = Sleep::for_capacity(1);
        assert_eq!(
            (small.after(0), small.after(0), small.after(1)),
            (ms(1), ms(1), Duration::from_micros(500))
        );
    }
}
