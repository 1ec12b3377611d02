//! Turns offers into records of the batch. Decides which of them are written, held or lost.

use livetrail_engine::SessionId;
use livetrail_record::{AuditRecord, LossKind};

use super::send::Role;
use super::{MAX_BATCH, Worker};
use crate::pipeline::convert;
use crate::pipeline::intake::{Offered, Part, What};
use crate::pipeline::refusals::{Aggregate, Refused, peer_of};
use crate::pipeline::sync::Ordering;
use crate::sink::{AuditSink, RecordClass};

/// The classes for which the sink has space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    refusals: bool,
    best_effort: bool,
    strict: bool,
}

impl Space {
    pub(super) const ALL: Self = Self {
        refusals: true,
        best_effort: true,
        strict: true,
    };

    fn of(sink: &dyn AuditSink) -> Self {
        Self {
            refusals: sink.takes(RecordClass::Refusal),
            best_effort: sink.takes(RecordClass::BestEffort),
            strict: sink.takes(RecordClass::Strict),
        }
    }
}

/// The fate of an offer.
enum Fate {
    Write,
    /// The record waits for space.
    Park,
    Lose,
}

impl Worker {
    pub(super) fn check_space(&mut self) {
        self.space = Space::of(&*self.shared.sink);
    }

    /// Takes records from the queue, and all refusals. So it has all refusals that happened before
    /// a success in this batch.
    ///
    /// If a refusal comes after numbers that were not seen yet, it stays for the next round, which
    /// finds them. Returns the number of offers that it found.
    pub(super) fn pop_batch(&mut self) -> usize {
        debug_assert!(self.popped.is_empty(), "every popped offer was taken");
        let intake = &self.shared.intake;
        while self.popped.len() < MAX_BATCH
            && let Some(offered) = intake.pop()
        {
            self.popped.push(offered);
        }
        self.accounted += self.popped.len() as u64;
        intake.drained(self.accounted);
        let highest = self.popped.iter().map(|offered| offered.seq + 1).max();
        self.seen = self.seen.max(highest.unwrap_or_default());
        // The offers before these have been popped by now.
        self.popped.append(&mut self.early);
        for _ in 0..intake.refusals.len() {
            let Some(refusal) = intake.refusals.pop() else {
                break;
            };
            self.refusals_taken += 1;
            if refusal.seq <= self.seen {
                self.popped.push(refusal);
            } else {
                self.early.push(refusal);
            }
        }
        let overflow = intake.refusals.overflow();
        if let Some(overflow) = &overflow {
            let now = self.shared.clock.monotonic();
            self.refusals.overflowed(overflow, now);
            self.refusals_taken += overflow.attempts.iter().sum::<u64>();
        }
        let found = self.popped.len() + self.early.len() + usize::from(overflow.is_some());
        if !self.popped.is_empty() {
            self.check_space();
        }
        self.take_popped();
        found
    }

    /// Takes the ends that found no slot in the queue.
    pub(super) fn take_waiting(&mut self, waiting: Vec<Offered>) {
        if waiting.is_empty() {
            return;
        }
        self.accounted += waiting.len() as u64;
        self.popped.extend(waiting);
        self.take_popped();
        self.write();
    }

    fn take_popped(&mut self) {
        // If two producers take numbers at the same time, their records may be queued in the other
        // order. A refusal comes before the number that was next when it happened.
        self.popped.sort_by_key(|offered| {
            (
                offered.seq,
                !matches!(offered.what.part(), Part::Refusal(_)),
            )
        });
        let mut popped = std::mem::take(&mut self.popped);
        for offered in popped.drain(..) {
            self.take(offered);
        }
        self.popped = popped;
    }

    fn take(&mut self, offered: Offered) {
        let part = offered.what.part();
        if let Part::Refusal(_) = part {
            self.refuse(offered);
            return;
        }
        match self.fate(part, &offered) {
            Fate::Write => self.take_for_sink(part, offered),
            Fate::Park => {
                let now = self.shared.clock.monotonic();
                if let Err(offered) = self.parked.push(offered, now) {
                    self.lose(&offered);
                }
                self.publish_held();
            }
            Fate::Lose => self.lose(&offered),
        }
    }

    /// The fate of an offer, by its class and by the state of its session. A record never comes
    /// after its session's last record, and a last record never comes before the first one.
    fn fate(&self, part: Part, offered: &Offered) -> Fate {
        let session = offered.what.session();
        if session
            .is_some_and(|session| self.parked.has(&session) && !self.sessions.is_open(&session))
        {
            return Fate::Park;
        }
        let is_open = session.is_some_and(|session| self.sessions.is_open(&session));
        let written_or = |space: bool, otherwise| if space { Fate::Write } else { otherwise };
        match part {
            Part::Operator => Fate::Write,
            Part::End | Part::Cause if is_open => Fate::Write,
            // The session is not on record. So this record is as important as the session's first
            // record was.
            Part::End | Part::Cause => written_or(self.space.strict, Fate::Lose),
            // The policy is asked only if it matters.
            Part::Begin { .. } if self.space.strict && self.space.best_effort => Fate::Write,
            Part::Begin { role } if self.shared.sheds(role, offered.what.app()) => {
                written_or(self.space.best_effort, Fate::Lose)
            }
            Part::Remark => written_or(self.space.best_effort, Fate::Lose),
            Part::Begin { .. } | Part::Other | Part::Refusal(_) => {
                written_or(self.space.strict, Fate::Park)
            }
        }
    }

    fn take_for_sink(&mut self, part: Part, offered: Offered) {
        let session = offered.what.session();
        if let (Part::End, Some(session)) = (part, session) {
            // After the end, the session's held records can no longer be written.
            for late in self.parked.remove(&session) {
                self.lose(&late);
            }
        }
        self.make_room();
        let (record, context) = match offered.what {
            What::Transition { kind, context } => {
                let record = self.batch.add(convert::action_of(&kind), &context.key.app);
                convert::fill(record, &kind, &context);
                record.ts_ms = offered.ts_ms;
                record.mono_ms = Some(offered.mono_ms);
                (record, Some(context))
            }
            What::Record(record) => (self.batch.append(self.shared.intake.unbox(record)), None),
        };
        let role = match (part, session) {
            (Part::Begin { .. }, Some(session)) => {
                let peer = match &context {
                    Some(context) => context.peer.map(|peer| peer.ip()),
                    None => peer_of(record),
                };
                let now = self.shared.clock.monotonic();
                record.refused_before = self.refusals.admitted(peer, now);
                self.sessions.begin(record, context);
                Role::Begin(session)
            }
            (Part::End, Some(session)) => Role::End(session),
            _ => Role::Plain,
        };
        self.complete(offered.seq, role, false);
    }

    // ---- Refusals ----

    fn refuse(&mut self, offered: Offered) {
        let now = self.shared.clock.monotonic();
        let in_full = || {
            let mut record = match &offered.what {
                What::Transition { kind, context } => convert::record_of(kind, context),
                What::Record(record) => AuditRecord::clone(record),
            };
            record.ts_ms = offered.ts_ms;
            record.mono_ms = Some(offered.mono_ms);
            record
        };
        if let Some(aggregate) = self.refusals.refused(&offered, now, in_full) {
            self.push_refusal(aggregate);
        }
        if let What::Record(record) = offered.what {
            let _ = self.shared.intake.unbox(record);
        }
    }

    /// Adds a record of refusals. If there is no space for such records, only takes a number, which
    /// is lost.
    pub(super) fn push_refusal(&mut self, aggregate: Aggregate) {
        let Aggregate {
            mut record,
            attempts,
            offers,
        } = aggregate;
        if self.space.refusals {
            if record.session.is_none() && Refused::opens_session(&record) {
                let id = SessionId::at(self.shared.clock.unix_ms());
                record.session = Some(id.as_uuid());
            }
            self.push_next(record, Role::Refusal { attempts, offers });
            return;
        }
        let seq = self.next_number();
        let ts_ms = self.shared.clock.unix_ms();
        let kind = LossKind::of(&record.action);
        self.lose_taken(kind, seq, ts_ms, true);
        self.lose_refusals(attempts, offers);
    }

    // ---- Losses ----

    /// Counts a record as lost, as if the queue had been full.
    fn lose(&mut self, offered: &Offered) {
        self.lost_again += 1;
        self.shared.intake.lose(offered);
    }

    pub(super) fn lose_taken(&mut self, kind: LossKind, seq: u64, ts_ms: u64, own: bool) {
        self.lost_again += 1;
        self.shared.intake.lose_taken(kind, seq, ts_ms, own);
    }

    pub(super) fn lose_refusals(&mut self, attempts: u64, offers: u64) {
        self.lost_attempts = self.lost_attempts.saturating_add(attempts);
        self.shared.intake.lose_refusals(offers);
        let lost = &self.shared.published.lost_attempts;
        lost.fetch_add(attempts, Ordering::Relaxed);
    }

    /// Writes the held records if there is space for them.
    pub(super) fn unpark(&mut self) {
        while self.space.strict && !self.parked.is_empty() {
            for _ in 0..MAX_BATCH {
                let Some(offered) = self.parked.pop() else {
                    break;
                };
                let part = offered.what.part();
                self.take_for_sink(part, offered);
            }
            self.write();
            self.check_space();
            self.publish_held();
        }
    }

    pub(super) fn lose_parked(&mut self) {
        while let Some(offered) = self.parked.pop() {
            self.lose(&offered);
        }
        self.publish_held();
    }

    fn publish_held(&self) {
        let held = &self.shared.published.held;
        held.store(self.parked.len() as u64, Ordering::Relaxed);
    }
}
