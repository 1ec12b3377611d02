//! The hot path: numbering a transition and putting it into the bounded queue.
//!
//! Every offer takes the boot's next number, then tries the queue once. What the queue cannot take is counted in the loss
//! banks under its number. So each number ends in exactly one of three places: the queue, a loss bank, or (the worker's own
//! records) the worker's hand. Nothing here allocates, waits, makes a system call or wakes anybody; whoever offers sees to a worker that
//! sleeps afterwards (see `asleep`).
//!
//! The number's top bit says that the pipeline is closed: closing and numbering are one atomic variable, so that there is no
//! moment in which an offer is neither refused nor accounted for.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use livetrail_engine::{SessionContext, SessionId, StreamEvent, StreamEventKind};
use livetrail_record::{AuditAction, AuditRecord};

use super::asleep::Asleep;
use super::loss::{KINDS, LossBanks};
use super::sync::{AtomicU64, Ordering};

/// Set in `next` when the pipeline is closed.
const CLOSED: u64 = 1 << 63;

/// `sealed_at` before the pipeline is closed.
const NOT_SEALED: u64 = u64::MAX;

/// Boxes for hosts' records that are kept for being used again.
const SPARE_BOXES: usize = 256;

/// The labels that losses are told apart by; a kind of loss is an index into it.
pub(crate) const KIND_LABELS: [&str; KINDS] = [
    "publish_started",
    "publish_ended",
    "publish_denied",
    "play_started",
    "play_ended",
    "play_denied",
    "subscriber_evicted",
    "rate_limited",
    "stream_reaped",
    "recording_started",
    "recording_ended",
    "server_started",
    "server_stopped",
    "records_dropped",
    "heartbeat",
    "admin_session_kicked",
    "admin_config_changed",
    "admin_exported",
    "admin_pruned",
    "admin_held",
    "event",
    "other",
];

const EVENT_KIND: usize = 20;
const OTHER_KIND: usize = 21;

/// What waits in the queue.
#[derive(Debug)]
pub(crate) struct Offered {
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
        session: SessionId,
        context: Arc<SessionContext>,
    },
    Record(Box<AuditRecord>),
}

/// The queue, the numbers, and the account of what was offered.
#[derive(Debug)]
pub(crate) struct Intake {
    next: AtomicU64,
    queue: ArrayQueue<Offered>,
    pub(crate) losses: LossBanks,
    /// Empty boxes for hosts' records: taken on an offer, given back by the worker.
    boxes: ArrayQueue<Box<AuditRecord>>,
    /// Offers after closing. They have no number and no place in the trail.
    refused: AtomicU64,
    /// Numbers below `next` that the worker gave to records of its own.
    own: AtomicU64,
    /// `next` without its top bit at the moment of closing.
    sealed_at: AtomicU64,
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
            queue: ArrayQueue::new(capacity),
            losses: LossBanks::new(),
            boxes,
            refused: AtomicU64::new(0),
            own: AtomicU64::new(reserved),
            sealed_at: AtomicU64::new(NOT_SEALED),
        }
    }

    /// Offers a transition; `false` when it was dropped.
    pub(crate) fn offer(&self, event: &StreamEvent) -> bool {
        let Some(seq) = self.number() else {
            return false;
        };
        let what = What::Transition {
            kind: event.kind.clone(),
            session: event.session,
            context: Arc::clone(&event.context),
        };
        self.push(Offered {
            seq,
            ts_ms: event.ts_ms,
            mono_ms: event.mono_ms,
            what,
        })
    }

    /// Offers a record that a host made, with its time set; `false` when it was dropped.
    pub(crate) fn offer_record(&self, record: AuditRecord) -> bool {
        let Some(seq) = self.number() else {
            return false;
        };
        let (ts_ms, mono_ms) = (record.ts_ms, record.mono_ms.unwrap_or_default());
        let record = match self.boxes.pop() {
            Some(mut spare) => {
                *spare = record;
                spare
            }
            // More than the spare ones are in the queue.
            None => Box::new(record),
        };
        self.push(Offered {
            seq,
            ts_ms,
            mono_ms,
            what: What::Record(record),
        })
    }

    fn number(&self) -> Option<u64> {
        let seq = Asleep::number(&self.next);
        if seq & CLOSED != 0 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(seq)
    }

    fn push(&self, offered: Offered) -> bool {
        let Err(offered) = self.queue.push(offered) else {
            return true;
        };
        self.lose(&offered);
        if let What::Record(record) = offered.what {
            self.take_back(record);
        }
        false
    }

    /// Counts one that goes to nobody.
    pub(crate) fn lose(&self, offered: &Offered) {
        self.losses
            .lose(kind_of(&offered.what), offered.seq, offered.ts_ms);
    }

    // ---- The worker's side --------------------------------------------------------------------------------------------

    /// The next in the queue.
    pub(crate) fn pop(&self) -> Option<Offered> {
        self.queue.pop()
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

    /// A number for a record of the worker's own; `None` once the pipeline is closed, when the numbers after
    /// [`sealed_at`](Self::sealed_at) are the worker's alone.
    pub(crate) fn own_number(&self) -> Option<u64> {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        if seq & CLOSED != 0 {
            return None;
        }
        self.own.fetch_add(1, Ordering::Relaxed);
        Some(seq)
    }

    /// The worker is about to sleep, with every number below `settled` accounted for. `false`: there are more, it must not.
    pub(crate) fn lie_down(&self, asleep: &Asleep, settled: u64) -> bool {
        asleep.lie_down(&self.next, settled)
    }

    /// Refuses every further offer.
    pub(crate) fn seal(&self) {
        let before = self.next.fetch_or(CLOSED, Ordering::AcqRel);
        if before & CLOSED == 0 {
            self.sealed_at.store(before, Ordering::Release);
        }
    }

    /// How many numbers were given before the pipeline was closed.
    pub(crate) fn sealed_at(&self) -> Option<u64> {
        let at = self.sealed_at.load(Ordering::Acquire);
        (at != NOT_SEALED).then_some(at)
    }

    // ---- The account --------------------------------------------------------------------------------------------------

    /// How many records were offered, refused ones included.
    pub(crate) fn offered(&self) -> u64 {
        self.numbered() + self.refused.load(Ordering::Relaxed)
    }

    /// How many records got into the queue.
    pub(crate) fn accepted(&self) -> u64 {
        self.numbered().saturating_sub(self.losses.total())
    }

    /// How many records did not.
    pub(crate) fn dropped(&self) -> u64 {
        self.losses.total() + self.refused.load(Ordering::Relaxed)
    }

    /// How many records are in the queue now.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many it can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity()
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

fn empty() -> AuditRecord {
    AuditRecord::new(AuditAction::Heartbeat, String::new())
}

fn kind_of(what: &What) -> usize {
    match what {
        What::Transition { kind, .. } => match kind {
            StreamEventKind::PublishStarted => 0,
            StreamEventKind::PublishEnded { .. } => 1,
            StreamEventKind::PublishDenied { .. } => 2,
            StreamEventKind::PlayStarted => 3,
            StreamEventKind::PlayEnded { .. } => 4,
            StreamEventKind::PlayDenied { .. } => 5,
            StreamEventKind::SubscriberEvicted { .. } => 6,
            StreamEventKind::RateLimited { .. } => 7,
            StreamEventKind::StreamReaped { .. } => 8,
            // What has no action of its own is recorded as a free-form event.
            _ => EVENT_KIND,
        },
        What::Record(record) => {
            let label = record.action.label();
            KIND_LABELS
                .iter()
                .position(|kind| *kind == label)
                .unwrap_or(OTHER_KIND)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_queue_costs_what_the_builder_says() {
        // The queue adds a counter to each.
        assert_eq!(size_of::<Offered>() + size_of::<usize>(), 112);
    }

    #[test]
    fn the_kinds_bear_the_labels_of_their_actions() {
        for label in &KIND_LABELS[..OTHER_KIND] {
            assert!(
                !matches!(AuditAction::from_label(label), AuditAction::Other(_)),
                "{label}"
            );
        }
        assert_eq!(KIND_LABELS[EVENT_KIND], "event");
    }

    #[test]
    fn a_full_queue_drops_and_the_account_adds_up() {
        let intake = Intake::new(0, 3);
        assert_eq!(intake.capacity(), 1);
        assert!(intake.offer_record(empty()));
        assert!(!intake.offer_record(empty()));
        assert_eq!(
            (intake.offered(), intake.accepted(), intake.dropped()),
            (2, 1, 1)
        );
        assert_eq!(intake.pop().map(|offered| offered.seq), Some(3));
        intake.seal();
        intake.seal();
        assert!(!intake.offer_record(empty()));
        assert_eq!(intake.own_number(), None);
        assert_eq!(intake.sealed_at(), Some(5));
        assert_eq!(
            (intake.offered(), intake.accepted(), intake.dropped()),
            (3, 1, 2)
        );
    }
}
