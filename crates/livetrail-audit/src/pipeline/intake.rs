//! The hot path: numbers a transition and puts it into the bounded queue.
//!
//! Every offer except a refusal takes the boot's next number and then tries the queue once. If the
//! queue has no slot, the loss banks count the record under its number. So each number ends in
//! exactly one of these: the queue, the waiting ends, a loss bank, or (for the worker's own
//! records) the worker itself. Nothing here allocates, waits, makes a system call or wakes a
//! thread. The thread that offers wakes a sleeping worker afterwards (see `asleep`).
//!
//! The rules if there is no slot:
//!
//! | record | slot |
//! |---|---|
//! | a refused attempt | a lane of its own; if that is full, the record of all others counts it |
//! | a session's start or other event, a host's event | the queue except its last eighth, or it is dropped |
//! | an operator's action | any slot of the queue, or it is dropped |
//! | a session's end | any slot of the queue, or it waits next to the queue, which allocates |
//!
//! Each dropped record is counted. An end is dropped only if its session's start was dropped.
//!
//! So at most one record per session waits next to the queue. Its session was live when the queue
//! became full, or its start is in the queue.
//!
//! The top bit of the number says that the pipeline is closed. Closing and numbering use one atomic
//! variable, so at every moment an offer is either refused or accounted for.

use std::sync::Arc;

use crossbeam_queue::{ArrayQueue, SegQueue};
use livetrail_engine::{Role, SessionContext, StreamEvent};
use livetrail_record::{AuditAction, AuditRecord, LossKind};
use uuid::Uuid;

use super::asleep::Asleep;
use super::convert;
pub(crate) use super::lanes::Overflow;
use super::lanes::{RefusalLane, Unrecorded};
use super::loss::LossBanks;
use super::refusals::Refused;
use super::sync::{AtomicU64, Ordering};
use super::transition::Transition;

/// The bit in `next` that says that the pipeline is closed.
pub(crate) const CLOSED: u64 = 1 << 63;

/// The value of `sealed_at` before the pipeline is closed.
pub(crate) const NOT_SEALED: u64 = u64::MAX;

/// The number of boxes for hosts' records that are kept for reuse.
const SPARE_BOXES: usize = 256;

/// The additional part of the queue that only ends and operators' records may use: an eighth of the
/// capacity.
const RESERVED_PART: usize = 8;

/// An entry of the queue.
#[derive(Debug)]
pub(crate) struct Offered {
    /// The boot's number. For a refusal it is the number that was next.
    pub(crate) seq: u64,
    pub(crate) ts_ms: u64,
    pub(crate) mono_ms: u64,
    pub(crate) what: What,
}

/// A transition of the engine, or a record of a host.
#[derive(Debug)]
pub(crate) enum What {
    Transition {
        kind: Transition,
        context: Arc<SessionContext>,
    },
    Record(Box<AuditRecord>),
}

impl What {
    /// The session, if the record names one.
    pub(crate) fn session(&self) -> Option<Uuid> {
        match self {
            Self::Transition { context, .. } => Some(context.session.as_uuid()),
            Self::Record(record) => record.session,
        }
    }

    /// The application. Empty if the record names none.
    pub(crate) fn app(&self) -> &str {
        match self {
            Self::Transition { context, .. } => context.key.app.as_str(),
            Self::Record(record) => &record.app,
        }
    }

    /// The part that the record has in its session or for the server.
    pub(crate) fn part(&self) -> Part {
        match self {
            Self::Transition { kind, .. } => kind.part(),
            Self::Record(record) => convert::part_of(&record.action),
        }
    }
}

/// The part that a record has in its session or for the server. It decides which slots the record
/// may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The start of a session.
    Begin { role: Role },
    /// The end of a session.
    End,
    /// The cause of an end, which follows.
    Cause,
    /// Another event in a session, of low importance: it may be repeated.
    Remark,
    /// A refused attempt.
    Refusal(Refused),
    /// An operator's action.
    Operator,
    /// Any other record.
    Other,
}

/// The count of numbers that the worker has accounted for. Each offer reads it, and the worker
/// writes it once per batch. It has a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Drained(AtomicU64);

/// The queue, the numbers, and the account of the offers.
#[derive(Debug)]
pub(crate) struct Intake {
    next: AtomicU64,
    queue: ArrayQueue<Offered>,
    capacity: usize,
    drained: Drained,
    /// The ends that found no slot in the queue.
    waiting: SegQueue<Offered>,
    unrecorded: Unrecorded,
    pub(crate) refusals: RefusalLane,
    pub(crate) losses: LossBanks,
    /// Empty boxes for hosts' records. An offer takes one, and the worker returns it.
    boxes: ArrayQueue<Box<AuditRecord>>,
    /// The offers after closing. They have no number and are not in the trail.
    refused: AtomicU64,
    /// The numbers below `next` that the worker gave to its own records.
    own: AtomicU64,
    /// The lost records among them.
    own_lost: AtomicU64,
    /// The offers of refusals whose record was lost.
    lost_refusals: AtomicU64,
    /// The value of `next` without its top bit at the moment of closing.
    sealed_at: AtomicU64,
}

/// Why an offer was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// There is no slot.
    Full,
    /// The pipeline is closed.
    Closed,
}

impl Intake {
    /// An intake with a queue for `capacity` records, but at least one. The first `reserved`
    /// numbers are the worker's.
    pub(crate) fn new(capacity: usize, reserved: u64) -> Self {
        let capacity = capacity.max(1);
        let spare = capacity.min(SPARE_BOXES);
        let boxes = ArrayQueue::new(spare);
        for _ in 0..spare {
            let _ = boxes.push(Box::new(empty()));
        }
        Self {
            next: AtomicU64::new(reserved),
            queue: ArrayQueue::new(capacity + capacity / RESERVED_PART),
            capacity,
            drained: Drained(AtomicU64::new(reserved)),
            waiting: SegQueue::new(),
            unrecorded: Unrecorded::new(),
            refusals: RefusalLane::for_capacity(capacity),
            losses: LossBanks::new(),
            boxes,
            refused: AtomicU64::new(0),
            own: AtomicU64::new(reserved),
            own_lost: AtomicU64::new(0),
            lost_refusals: AtomicU64::new(0),
            sealed_at: AtomicU64::new(NOT_SEALED),
        }
    }

    /// Offers a transition.
    #[inline]
    pub(crate) fn offer(&self, event: &StreamEvent) -> Result<(), NotTaken> {
        let part = convert::part_of_event(&event.kind);
        if let Part::Refusal(refused) = part {
            return self.offer_refusal(refused, transition(self.position(), event));
        }
        let Some(seq) = self.number() else {
            return Err(NotTaken::Closed);
        };
        // The rare case is out of line, because to move a record costs more than everything else
        // here.
        if !self.may_enter(part, seq) {
            return self.turn_away(part, transition(seq, event));
        }
        match self.queue.push(transition(seq, event)) {
            Ok(()) => Ok(()),
            Err(offered) => self.no_slot(part, offered),
        }
    }

    /// Offers a record of a host, with its time set.
    pub(crate) fn offer_record(&self, record: AuditRecord) -> Result<(), NotTaken> {
        let part = convert::part_of(&record.action);
        let (ts_ms, mono_ms) = (record.ts_ms, record.mono_ms.unwrap_or_default());
        let boxed = |record| match self.boxes.pop() {
            Some(mut spare) => {
                *spare = record;
                spare
            }
            // All spare boxes are in the queue.
            None => Box::new(record),
        };
        let offered = |seq, record| Offered {
            seq,
            ts_ms,
            mono_ms,
            what: What::Record(boxed(record)),
        };
        if let Part::Refusal(refused) = part {
            return self.offer_refusal(refused, offered(self.position(), record));
        }
        let seq = self.number().ok_or(NotTaken::Closed)?;
        let offered = offered(seq, record);
        if !self.may_enter(part, seq) {
            return self.turn_away(part, offered);
        }
        match self.queue.push(offered) {
            Ok(()) => Ok(()),
            Err(offered) => self.no_slot(part, offered),
        }
    }

    #[inline]
    fn number(&self) -> Option<u64> {
        let seq = Asleep::number(&self.next);
        if seq & CLOSED != 0 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(seq)
    }

    /// The number that is next. A refusal that happens before a success has a position of at most
    /// the success's number.
    fn position(&self) -> u64 {
        self.next.load(Ordering::Relaxed) & !CLOSED
    }

    #[cold]
    fn offer_refusal(&self, refused: Refused, offered: Offered) -> Result<(), NotTaken> {
        self.refusals.offer(refused, offered).map_err(|offered| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.give_back(offered);
            NotTaken::Closed
        })
    }

    /// Whether the record with this number may use a slot without further checks. One load is
    /// enough until the queue may be full.
    #[inline]
    fn may_enter(&self, part: Part, seq: u64) -> bool {
        match part {
            Part::End => self.unrecorded.is_empty(),
            Part::Operator => true,
            _ => {
                let unaccounted = seq.saturating_sub(self.drained.0.load(Ordering::Relaxed));
                unaccounted < self.capacity as u64 || self.queue.len() < self.capacity
            }
        }
    }

    /// Handles an offer if the queue may be full or start records were dropped.
    #[cold]
    fn turn_away(&self, part: Part, offered: Offered) -> Result<(), NotTaken> {
        if part != Part::End {
            return self.drop(part, offered);
        }
        let session = offered.what.session();
        let unrecorded = session.is_some_and(|session| self.unrecorded.remove(&session));
        match self.queue.push(offered) {
            Ok(()) => Ok(()),
            Err(offered) if unrecorded => self.drop(part, offered),
            Err(offered) => self.no_slot(part, offered),
        }
    }

    /// Handles an offer if every slot is taken. The last record of a session waits, because the
    /// session's first one was not dropped.
    #[cold]
    fn no_slot(&self, part: Part, offered: Offered) -> Result<(), NotTaken> {
        // The number of a host's own ends is not bounded by live sessions of the engine. So the
        // capacity bounds it.
        let of_host = matches!(offered.what, What::Record(_));
        let unbounded = of_host && self.waiting.len() >= self.capacity;
        if part != Part::End || unbounded {
            return self.drop(part, offered);
        }
        self.waiting.push(offered);
        Ok(())
    }

    fn drop(&self, part: Part, offered: Offered) -> Result<(), NotTaken> {
        if let (Part::Begin { .. }, Some(session)) = (part, offered.what.session()) {
            self.unrecorded.add(session);
        }
        self.lose(&offered);
        self.give_back(offered);
        Err(NotTaken::Full)
    }

    /// Counts an accepted record as lost.
    pub(crate) fn lose(&self, offered: &Offered) {
        self.losses
            .lose(kind_of(&offered.what), offered.seq, offered.ts_ms);
    }

    fn give_back(&self, offered: Offered) {
        if let What::Record(record) = offered.what {
            self.take_back(record);
        }
    }

    // ---- The worker's side ----

    /// The next record of the queue.
    pub(crate) fn pop(&self) -> Option<Offered> {
        self.queue.pop()
    }

    /// The next of the ends that found no slot in the queue. The other records of their sessions
    /// are or were in the queue.
    pub(crate) fn pop_waiting(&self) -> Option<Offered> {
        self.waiting.pop()
    }

    /// The worker has accounted for this many numbers.
    pub(crate) fn drained(&self, numbers: u64) {
        self.drained.0.store(numbers, Ordering::Relaxed);
    }

    /// Counts a lost record that the worker had taken.
    pub(crate) fn lose_taken(&self, kind: LossKind, seq: u64, ts_ms: u64, own: bool) {
        self.own_lost.fetch_add(u64::from(own), Ordering::Relaxed);
        self.losses.lose(kind, seq, ts_ms);
    }

    /// A record was lost that stood for this many offers of refusals.
    pub(crate) fn lose_refusals(&self, offers: u64) {
        self.lost_refusals.fetch_add(offers, Ordering::Relaxed);
    }

    /// Takes the record out of its box and keeps the box.
    pub(crate) fn unbox(&self, mut record: Box<AuditRecord>) -> AuditRecord {
        let taken = std::mem::replace(&mut *record, empty());
        let _ = self.boxes.push(record);
        taken
    }

    fn take_back(&self, mut record: Box<AuditRecord>) {
        *record = empty();
        let _ = self.boxes.push(record);
    }

    /// A number for a record of the worker. `None` if the pipeline is closed. Then the worker alone
    /// gives the numbers from [`sealed_at`](Self::sealed_at) on.
    pub(crate) fn own_number(&self) -> Option<u64> {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        if seq & CLOSED != 0 {
            return None;
        }
        self.own.fetch_add(1, Ordering::Relaxed);
        Some(seq)
    }

    /// The worker is about to sleep. It has accounted for every number below `settled` and for this
    /// many refusals. `false` if there are more; then it must not sleep.
    pub(crate) fn fall_asleep(&self, asleep: &Asleep, settled: u64, refusals: u64) -> bool {
        asleep.fall_asleep([(&self.next, settled), (self.refusals.tickets(), refusals)])
    }

    /// Refuses every further offer.
    pub(crate) fn seal(&self) {
        let before = self.next.fetch_or(CLOSED, Ordering::AcqRel);
        if before & CLOSED == 0 {
            self.sealed_at.store(before, Ordering::Release);
        }
        self.refusals.seal();
    }

    /// The count of numbers that were given before the pipeline was closed.
    pub(crate) fn sealed_at(&self) -> Option<u64> {
        let at = self.sealed_at.load(Ordering::Acquire);
        (at != NOT_SEALED).then_some(at)
    }

    // ---- The account ----

    /// The number of offered records, including refused ones.
    pub(crate) fn offered(&self) -> u64 {
        self.numbered() + self.refusals.offered() + self.refused.load(Ordering::Relaxed)
    }

    /// The number of records that were accepted and not lost later.
    pub(crate) fn accepted(&self) -> u64 {
        (self.numbered() + self.refusals.offered()).saturating_sub(self.lost())
    }

    /// The number of records that were refused or lost.
    pub(crate) fn dropped(&self) -> u64 {
        self.lost() + self.refused.load(Ordering::Relaxed)
    }

    /// The number of records that were offered after closing.
    pub(crate) fn late(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn lost(&self) -> u64 {
        let own = self.own_lost.load(Ordering::Relaxed);
        let numbered = self.losses.total().saturating_sub(own);
        numbered + self.lost_refusals.load(Ordering::Relaxed)
    }

    /// The number of records that wait for the worker now.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.waiting.len() + self.refusals.len()
    }

    /// The number of ends that wait because the queue has no slot for them.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of slots for records of sessions and events.
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The count of numbers that were given to offers.
    fn numbered(&self) -> u64 {
        let own = self.own.load(Ordering::Relaxed);
        let next = self.next.load(Ordering::Relaxed);
        let given = if next & CLOSED == 0 {
            next
        } else {
            self.sealed_at().unwrap_or(next & !CLOSED)
        };
        given.saturating_sub(own)
    }
}

#[inline]
fn transition(seq: u64, event: &StreamEvent) -> Offered {
    Offered {
        seq,
        ts_ms: event.ts_ms,
        mono_ms: event.mono_ms,
        what: What::Transition {
            kind: Transition::of(&event.kind),
            context: Arc::clone(&event.context),
        },
    }
}

fn empty() -> AuditRecord {
    AuditRecord::new(AuditAction::Heartbeat, String::new())
}

fn kind_of(what: &What) -> LossKind {
    match what {
        // A transition without an action of its own becomes a free-form event.
        What::Transition { kind, .. } => {
            convert::own_action_of(kind).map_or(LossKind::Event, |action| LossKind::of(&action))
        }
        What::Record(record) => LossKind::of(&record.action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_queue_costs_what_the_builder_says() {
        // The queue adds a counter to each slot.
        assert_eq!(size_of::<Offered>() + size_of::<usize>(), 96);
    }

    #[test]
    fn a_full_queue_drops_and_the_account_adds_up() {
        let intake = Intake::new(0, 3);
        assert_eq!(intake.capacity(), 1);
        let event = || AuditRecord::new(AuditAction::Event(String::new()), "");
        assert_eq!(intake.offer_record(event()), Ok(()));
        assert_eq!(intake.offer_record(event()), Err(NotTaken::Full));
        assert_eq!(
            (intake.offered(), intake.accepted(), intake.dropped()),
            (2, 1, 1)
        );
        assert_eq!(intake.pop().map(|offered| offered.seq), Some(3));
        intake.seal();
        intake.seal();
        assert_eq!(intake.offer_record(event()), Err(NotTaken::Closed));
        assert_eq!(intake.own_number(), None);
        assert_eq!(intake.sealed_at(), Some(5));
        assert_eq!(
            (intake.offered(), intake.accepted(), intake.dropped()),
            (3, 1, 2)
        );
    }
}
