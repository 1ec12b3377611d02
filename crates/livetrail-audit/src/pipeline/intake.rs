//! The hot path: numbering a transition and putting it into the bounded queue.
//!
//! Every offer but a refusal takes the boot's next number, then tries the queue once. What the
//! queue cannot take is counted in the loss banks under its number. So each number ends in exactly
//! one of these: the queue, the ends that wait, a loss bank, or (the worker's own records) the
//! worker's hand. Nothing here allocates, waits, makes a system call or wakes anybody; the thread
//! that offers wakes a sleeping worker afterwards (see `asleep`).
//!
//! What displaces what when there is no slot:
//!
//! | record | slot |
//! |---|---|
//! | a refused attempt | a lane of its own; else counted alone, for the record of all others |
//! | how a session begins, what happens in it, a host's event | the queue, but not its last eighth; else dropped and counted |
//! | what an operator did | any slot of the queue; else dropped and counted |
//! | how a session ends | any slot of the queue; else it waits next to it, which allocates; dropped only where its begin was |
//!
//! So at most one record for each session waits next to the queue, of sessions that were live when
//! it became full or whose begin is in it.
//!
//! The number's top bit says that the pipeline is closed: closing and numbering are one atomic
//! variable, so that there is no moment in which an offer is neither refused nor accounted for.

use std::sync::Arc;

use crossbeam_queue::{ArrayQueue, SegQueue};
use livetrail_engine::{SessionContext, StreamEvent, StreamEventKind};
use livetrail_record::{AuditAction, AuditRecord, LossKind};
use uuid::Uuid;

use super::asleep::Asleep;
use super::convert;
pub(crate) use super::lanes::Overflow;
use super::lanes::{RefusalLane, Unrecorded};
use super::loss::LossBanks;
use super::refusals::Refused;
use super::sync::{AtomicU64, Ordering};

/// Set in `next` when the pipeline is closed.
pub(crate) const CLOSED: u64 = 1 << 63;

/// `sealed_at` before the pipeline is closed.
pub(crate) const NOT_SEALED: u64 = u64::MAX;

/// Boxes for hosts' records that are kept for being used again.
const SPARE_BOXES: usize = 256;

/// The part of the queue that only ends and operators' records may use, on top of the capacity: an
/// eighth of it.
const RESERVED_PART: usize = 8;

/// What waits in the queue.
#[derive(Debug)]
pub(crate) struct Offered {
    /// The boot's number; of a refusal, the number that was next.
    pub(crate) seq: u64,
    pub(crate) ts_ms: u64,
    pub(crate) mono_ms: u64,
    pub(crate) what: What,
}

/// A transition of the engine, or a record that a host made.
#[derive(Debug)]
pub(crate) enum What {
    Transition {
        kind: StreamEventKind,
        context: Arc<SessionContext>,
    },
    Record(Box<AuditRecord>),
}

impl What {
    /// The session, if it names one.
    pub(crate) fn session(&self) -> Option<Uuid> {
        match self {
            Self::Transition { context, .. } => Some(context.session.as_uuid()),
            Self::Record(record) => record.session,
        }
    }

    /// What it is to its session or to the server.
    pub(crate) fn part(&self) -> Part {
        match self {
            Self::Transition { kind, .. } => convert::part_of_event(kind),
            Self::Record(record) => convert::part_of(&record.action),
        }
    }
}

/// What a record is to its session or to the server: this decides what it may displace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// How a session begins.
    Begin { publish: bool },
    /// How it ends.
    End,
    /// The cause of an end: the end follows.
    Cause,
    /// What else happens in a session, of little weight: it may be repeated.
    Remark,
    /// A refused attempt.
    Refusal(Refused),
    /// What an operator did.
    Operator,
    /// Anything else.
    Other,
}

/// Numbers that the worker has accounted for. It is read with each offer and written once a batch:
/// on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Drained(AtomicU64);

/// The queue, the numbers, and the account of what was offered.
#[derive(Debug)]
pub(crate) struct Intake {
    next: AtomicU64,
    queue: ArrayQueue<Offered>,
    capacity: usize,
    drained: Drained,
    /// Ends that the queue had no slot for.
    waiting: SegQueue<Offered>,
    unrecorded: Unrecorded,
    pub(crate) refusals: RefusalLane,
    pub(crate) losses: LossBanks,
    /// Empty boxes for hosts' records: taken on an offer, given back by the worker.
    boxes: ArrayQueue<Box<AuditRecord>>,
    /// Offers after closing. They have no number and no place in the trail.
    refused: AtomicU64,
    /// Numbers below `next` that the worker gave to records of its own.
    own: AtomicU64,
    /// Losses among these.
    own_lost: AtomicU64,
    /// Offers of refusals whose record was lost.
    lost_refusals: AtomicU64,
    /// `next` without its top bit at the moment of closing.
    sealed_at: AtomicU64,
}

/// Why an offer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// There is no slot.
    Full,
    /// The pipeline is closed.
    Closed,
}

impl Intake {
    /// A queue for `capacity` records, at least one; the first `reserved` numbers are the worker's.
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
        // The rare case is out of line: moving a record costs more than everything else here.
        if !self.may_enter(part, seq) {
            return self.turn_away(part, transition(seq, event));
        }
        match self.queue.push(transition(seq, event)) {
            Ok(()) => Ok(()),
            Err(offered) => self.no_slot(part, offered),
        }
    }

    /// Offers a record that a host made, with its time set.
    pub(crate) fn offer_record(&self, record: AuditRecord) -> Result<(), NotTaken> {
        let part = convert::part_of(&record.action);
        let (ts_ms, mono_ms) = (record.ts_ms, record.mono_ms.unwrap_or_default());
        let boxed = |record| match self.boxes.pop() {
            Some(mut spare) => {
                *spare = record;
                spare
            }
            // More than the spare ones are in the queue.
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

    /// The number that is next: a refusal that happens before a success has a position up to the
    /// success's number.
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

    /// Whether the record with this number may use the slots that there are, and nothing is to be
    /// seen to before. One load, until the queue may be full.
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

    /// The queue may be full, or first records were dropped.
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

    /// Every slot is taken. The last record of a session waits, as its first was not dropped.
    #[cold]
    fn no_slot(&self, part: Part, offered: Offered) -> Result<(), NotTaken> {
        // A host's own ends have no sessions of the engine behind them that would bound their
        // number.
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

    /// Counts one that goes to nobody.
    pub(crate) fn lose(&self, offered: &Offered) {
        self.losses
            .lose(kind_of(&offered.what), offered.seq, offered.ts_ms);
    }

    fn give_back(&self, offered: Offered) {
        if let What::Record(record) = offered.what {
            self.take_back(record);
        }
    }

    // ---- The worker's side --------------------------------------------------------------------------------------------

    /// The next in the queue.
    pub(crate) fn pop(&self) -> Option<Offered> {
        self.queue.pop()
    }

    /// The next of the ends that the queue had no slot for. Their sessions' other records are in
    /// the queue, or were.
    pub(crate) fn pop_waiting(&self) -> Option<Offered> {
        self.waiting.pop()
    }

    /// The worker has accounted for this many numbers.
    pub(crate) fn drained(&self, numbers: u64) {
        self.drained.0.store(numbers, Ordering::Relaxed);
    }

    /// Counts a record that was in the worker's hand.
    pub(crate) fn lose_taken(&self, kind: LossKind, seq: u64, ts_ms: u64, own: bool) {
        self.own_lost.fetch_add(u64::from(own), Ordering::Relaxed);
        self.losses.lose(kind, seq, ts_ms);
    }

    /// The record that stood for this many offers of refusals was lost.
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

    /// A number for a record of the worker's own; `None` once the pipeline is closed, when the
    /// numbers after [`sealed_at`](Self::sealed_at) are the worker's alone.
    pub(crate) fn own_number(&self) -> Option<u64> {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        if seq & CLOSED != 0 {
            return None;
        }
        self.own.fetch_add(1, Ordering::Relaxed);
        Some(seq)
    }

    /// The worker is about to sleep, with every number below `settled` and this many refusals
    /// accounted for. `false`: there are more, it must not.
    pub(crate) fn lie_down(&self, asleep: &Asleep, settled: u64, refusals: u64) -> bool {
        asleep.lie_down([(&self.next, settled), (self.refusals.tickets(), refusals)])
    }

    /// Refuses every further offer.
    pub(crate) fn seal(&self) {
        let before = self.next.fetch_or(CLOSED, Ordering::AcqRel);
        if before & CLOSED == 0 {
            self.sealed_at.store(before, Ordering::Release);
        }
        self.refusals.seal();
    }

    /// How many numbers were given before the pipeline was closed.
    pub(crate) fn sealed_at(&self) -> Option<u64> {
        let at = self.sealed_at.load(Ordering::Acquire);
        (at != NOT_SEALED).then_some(at)
    }

    // ---- The account --------------------------------------------------------------------------------------------------

    /// How many records were offered, refused ones included.
    pub(crate) fn offered(&self) -> u64 {
        self.numbered() + self.refusals.offered() + self.refused.load(Ordering::Relaxed)
    }

    /// How many records were taken and not lost since.
    pub(crate) fn accepted(&self) -> u64 {
        (self.numbered() + self.refusals.offered()).saturating_sub(self.lost())
    }

    /// How many records were not.
    pub(crate) fn dropped(&self) -> u64 {
        self.lost() + self.refused.load(Ordering::Relaxed)
    }

    /// How many were offered after closing.
    pub(crate) fn late(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn lost(&self) -> u64 {
        let own = self.own_lost.load(Ordering::Relaxed);
        let numbered = self.losses.total().saturating_sub(own);
        numbered + self.lost_refusals.load(Ordering::Relaxed)
    }

    /// How many records wait for the worker now.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.waiting.len() + self.refusals.len()
    }

    /// How many ends wait because the queue had no slot for them.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many records of sessions and events it can hold.
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Numbers that were given to offers.
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
            kind: event.kind.clone(),
            context: Arc::clone(&event.context),
        },
    }
}

fn empty() -> AuditRecord {
    AuditRecord::new(AuditAction::Heartbeat, String::new())
}

fn kind_of(what: &What) -> LossKind {
    match what {
        // What has no action of its own is recorded as a free-form event.
        What::Transition { kind, .. } => {
            convert::action_of(kind).map_or(LossKind::Event, |action| LossKind::of(&action))
        }
        What::Record(record) => LossKind::of(&record.action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_queue_costs_what_the_builder_says() {
        // The queue adds a counter to each.
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
