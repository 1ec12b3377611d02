//! The ring itself: a fixed number of slots, a head that only the writer moves, and a tail that bounds what is kept.

use std::sync::Arc;

use super::wire::SharedFrame;
use crate::sync::{AtomicU64, Ordering, Slot};

/// Slots of frames by sequence number.
///
/// ```text
///        tail            replay start            head
///  ─ ─ ─ ─┬──────────────────┬────────────────────┬─ ─ ─
///  gone   │ for slow readers │  the current GOP   │ next frame
/// ```
pub(super) struct Ring {
    slots: Box<[Slot<SharedFrame>]>,
    /// Sequence number of the next frame. Everything below is published.
    head: AtomicU64,
    /// Oldest frame that is still here.
    tail: AtomicU64,
}

impl Ring {
    /// A ring of at least `capacity` slots (rounded up to a power of two).
    pub(super) fn new(capacity: usize) -> Self {
        let slots = capacity.max(2).next_power_of_two();
        Self {
            slots: (0..slots).map(|_| Slot::empty()).collect(),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// The frame with this number; `None` when it is gone or not yet here.
    pub(super) fn get(&self, seq: u64) -> Option<Arc<SharedFrame>> {
        self.slot(seq)
            .load_full()
            .filter(|frame| frame.seq() == seq)
    }

    fn slot(&self, seq: u64) -> &Slot<SharedFrame> {
        // The number of slots is a power of two, so the mask keeps the index in bounds; truncation keeps the low bits.
        &self.slots[seq as usize & (self.slots.len() - 1)]
    }
}

/// The one who may write. Keeps what only the writer needs, so that readers never share its cache lines.
pub(super) struct RingWriter {
    ring: Arc<Ring>,
    max_bytes: usize,
    pub(super) kept_bytes: usize,
}

impl RingWriter {
    pub(super) fn new(ring: Arc<Ring>, max_bytes: usize) -> Self {
        Self {
            ring,
            max_bytes,
            kept_bytes: 0,
        }
    }

    /// Number of the next frame.
    pub(super) fn next_seq(&self) -> u64 {
        self.ring.head.load(Ordering::Relaxed)
    }

    /// Publishes the next frame; its number must be [`next_seq`](Self::next_seq). Frees the oldest where a bound asks for it, and
    /// all but the newest `keep`: nobody may be further behind, and frames that are freed late are freed cold.
    pub(super) fn push(&mut self, frame: Arc<SharedFrame>, keep: u64) {
        let seq = self.next_seq();
        debug_assert_eq!(frame.seq(), seq);
        let slots = self.ring.slots.len() as u64;
        let mut tail = self.ring.tail.load(Ordering::Relaxed);
        self.kept_bytes += frame.payload.len();
        // The tail moves before its slot changes: a reader that finds its frame gone also finds itself behind.
        if seq - tail >= slots {
            tail += 1;
            self.ring.tail.store(tail, Ordering::Release);
        }
        let overwritten = self.ring.slot(seq).swap(Some(frame));
        self.kept_bytes -= overwritten.map_or(0, |old| old.payload.len());
        while tail < seq && (self.kept_bytes > self.max_bytes || seq - tail >= keep) {
            tail += 1;
            self.ring.tail.store(tail, Ordering::Release);
            let freed = self.ring.slot(tail - 1).swap(None);
            self.kept_bytes -= freed.map_or(0, |old| old.payload.len());
        }
        self.ring.head.store(seq + 1, Ordering::Release);
    }
}
