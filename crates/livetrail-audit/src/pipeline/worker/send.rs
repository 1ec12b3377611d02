//! Passes records to the sink, and evaluates the sink's answer.

use livetrail_engine::AppName;
use livetrail_record::{AuditAction, AuditRecord, LossKind};
use uuid::Uuid;

use super::call::Called;
use super::timers::SHED_REPORT_INTERVAL;
use super::{MAX_BATCH, Worker};
use crate::error::SinkError;
use crate::pipeline::convert;
use crate::pipeline::loss::Loss;
use crate::pipeline::shared::Ask;
use crate::pipeline::sync::Ordering;
use crate::sink::PanickedWrites;

/// Records for the sink, and what the worker does after the sink accepted them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<AuditRecord>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    ts_ms: u64,
    kind: LossKind,
    role: Role,
    /// Whether the worker itself made the record.
    own: bool,
}

/// The role that a record has in the worker's own account.
#[derive(Debug)]
pub(super) enum Role {
    Plain,
    /// One of the boot's first records, with its position among them.
    First(usize),
    /// The first record of a session.
    Begin(Uuid),
    /// The last record of a session.
    End(Uuid),
    /// The report of a loss, with the number of refused attempts that it counts.
    Loss(Box<Loss>, u64),
    /// A record that stands for this many refused attempts, which came in this many offers.
    Refusal {
        attempts: u64,
        offers: u64,
    },
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record without other fields. The caller fills it in place, and completes it with
    /// [`Worker::complete`].
    pub(super) fn add(&mut self, action: AuditAction, app: &AppName) -> &mut AuditRecord {
        self.append(AuditRecord::new(action, app.as_str()))
    }

    /// Adds a record, which the caller completes with [`Worker::complete`].
    pub(super) fn append(&mut self, record: AuditRecord) -> &mut AuditRecord {
        self.records.push_mut(record)
    }

    fn clear(&mut self) {
        self.records.clear();
        self.entries.clear();
    }
}

/// The records of a batch that the sink did not accept.
enum NotTaken {
    None,
    Some(Vec<usize>),
    All,
}

impl NotTaken {
    fn has(&self, at: usize) -> bool {
        match self {
            Self::None => false,
            Self::Some(places) => places.contains(&at),
            Self::All => true,
        }
    }
}

impl Worker {
    /// Makes sure that the batch has space for a record.
    pub(super) fn make_room(&mut self) {
        if self.batch.len() >= MAX_BATCH {
            self.write();
        }
    }

    /// Adds to the last record of the batch the fields that every record has, and what the worker
    /// does after the sink accepted it.
    pub(super) fn complete(&mut self, seq: u64, role: Role, own: bool) {
        let Some(record) = self.batch.records.last_mut() else {
            debug_assert!(false, "the record was added before");
            return;
        };
        record.node.clone_from(&self.config.node);
        record.boot = Some(self.boot);
        record.seq = Some(seq);
        record.nonce = self.nonces.next();
        convert::bound(record);
        self.batch.entries.push(Entry {
            seq,
            ts_ms: record.ts_ms,
            kind: LossKind::of(&record.action),
            role,
            own,
        });
    }

    /// Passes the batch to the sink.
    pub(super) fn write(&mut self) {
        if self.batch.records.is_empty() || self.shared.abort.load(Ordering::Acquire) {
            self.batch.clear();
            return;
        }
        let records = Vec::with_capacity(MAX_BATCH);
        let records = std::mem::replace(&mut self.batch.records, records);
        let not_taken = match self.sink.write_batch(records) {
            Called::Done(()) => NotTaken::None,
            // It is not known which records the sink has accepted, and nobody needs to know any
            // longer.
            Called::GivenUp => {
                self.batch.clear();
                return;
            }
            Called::Panicked(writes) => {
                self.shared.set_trouble(Some(SinkError::Panicked));
                self.panicked = true;
                writes.map_or(NotTaken::All, |PanickedWrites(places)| {
                    NotTaken::Some(places)
                })
            }
        };
        if matches!(not_taken, NotTaken::None) && std::mem::take(&mut self.panicked) {
            self.shared.set_trouble(None);
        }
        let mut entries = std::mem::take(&mut self.batch.entries);
        let (mut written, mut offers) = (0, 0);
        for (at, entry) in entries.drain(..).enumerate() {
            if not_taken.has(at) {
                self.not_taken(entry);
            } else {
                written += 1;
                offers += u64::from(!entry.own);
                self.taken(entry);
            }
        }
        debug_assert!(self.batch.entries.is_empty(), "nothing was added meanwhile");
        // It keeps its capacity.
        self.batch.entries = entries;
        self.unsynced |= written > 0;
        self.shared.written.fetch_add(written, Ordering::Relaxed);
        let taken = &self.shared.published.taken_offers;
        taken.fetch_add(offers, Ordering::Relaxed);
    }

    fn taken(&mut self, entry: Entry) {
        match entry.role {
            Role::Plain | Role::First(_) => {}
            Role::Begin(session) => self.sessions.begun(&session),
            Role::End(session) => self.sessions.ended(&session),
            Role::Loss(loss, _) => self.account.reported(&loss),
            Role::Refusal { offers, .. } => {
                let published = &self.shared.published;
                published.refusal_records.fetch_add(1, Ordering::Relaxed);
                published.taken_offers.fetch_add(offers, Ordering::Relaxed);
            }
        }
        self.account.arrived(entry.seq);
    }

    /// The sink panicked at the record. Its number is lost, as if the queue had been full.
    fn not_taken(&mut self, entry: Entry) {
        match entry.role {
            Role::Plain | Role::Begin(_) => {}
            Role::First(at) => self.not_first.push(at),
            Role::End(session) => self.sessions.not_ended(session),
            Role::Loss(loss, attempts) => {
                self.account.lost(*loss);
                self.lost_attempts = self.lost_attempts.saturating_add(attempts);
                // If the sink panics at each report, there is a pause between the reports.
                let now = self.shared.clock.monotonic();
                self.timers.pause_loss_reports(now, SHED_REPORT_INTERVAL);
            }
            Role::Refusal { attempts, offers } => self.lose_refusals(attempts, offers),
        }
        self.lose_taken(entry.kind, entry.seq, entry.ts_ms, entry.own);
    }

    /// Asks the sink whether everything that it accepted is durable.
    pub(super) fn sync(&mut self) -> Result<(), SinkError> {
        let written = self.shared.written.load(Ordering::Relaxed);
        let result = match self.sink.flush() {
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

    // ---- Questions ----

    /// The questions that can be answered now: new ones, and questions that waited for held
    /// records.
    pub(super) fn questions(&mut self) -> Vec<Ask> {
        let mut asks: Vec<Ask> = (0..self.shared.asks.len())
            .map_while(|_| self.shared.asks.pop())
            .collect();
        let held = std::mem::take(&mut self.held);
        for ask in held {
            if ask.answer.is_closed() {
                continue;
            }
            if self.is_held_back(&ask) {
                self.held.push(ask);
            } else {
                asks.push(ask);
            }
        }
        asks
    }

    /// Answers all waiting questions with one sync, except those whose records wait for space.
    pub(super) fn answer(&mut self, asks: Vec<Ask>) {
        let synced = self.sync();
        for ask in asks {
            if synced.is_ok() && self.is_held_back(&ask) {
                self.held.push(ask);
                continue;
            }
            let result = match (&synced, ask.session) {
                (Err(error), _) => Err(error.clone()),
                (Ok(()), Some(session)) if !self.sessions.is_recorded(&session) => Err(
                    SinkError::Other("the session's first record was dropped".to_owned()),
                ),
                (Ok(()), _) => Ok(()),
            };
            // The caller may have given up.
            let _ = ask.answer.send(result);
        }
    }

    fn is_held_back(&self, ask: &Ask) -> bool {
        match &ask.session {
            Some(session) => self.parked.has(session) && !self.sessions.is_open(session),
            None => !self.parked.is_empty(),
        }
    }
}
