//! The ring: segments of frames, each cell filled once, a head that only the writer moves, and a
//! tail that bounds the kept frames.

use std::{array, collections::VecDeque, sync::Arc};

use super::{
    budget::{HeldBytes, Share},
    wire::SharedFrame,
};
use crate::sync::{AtomicU64, Cell, Loaded, Ordering, SEGMENT_FRAMES, Slot};

const SEGMENT: u64 = SEGMENT_FRAMES as u64;

/// Approximate bytes of a frame in addition to its payload: the frame itself, and its headers in
/// each protocol.
const FRAME_BYTES: u64 = 512;

/// Frames by sequence number.
///
/// ```text
///        tail            replay start            head
///  ─ ─ ─ ─┬──────────────────┬────────────────────┬─ ─ ─
///  gone   │ for slow readers │  the current GOP   │ next frame
/// ─ ─ ─ ─ ┼──────────────┬───┴──────────┬─────────┴────┬─
///         │   segment    │   segment    │   segment    │
/// ```
///
/// Publishing a frame fills a cell of the newest segment, which costs writer and readers only the
/// frame's own count. Only the start and the removal of a segment replace a slot that readers may
/// be reading.
pub(super) struct Ring {
    /// Segments by their number, modulo the number of slots.
    slots: Box<[Slot<Segment>]>,
    /// The maximum number of kept frames, in addition to those that share the oldest one's segment.
    capacity: u64,
    /// Sequence number of the next frame. Everything below is published.
    head: AtomicU64,
    /// The oldest frame that is still here.
    tail: AtomicU64,
    /// The kept bytes count until the last reader is gone.
    share: Share,
}

/// Consecutive frames.
struct Segment {
    /// Number of the frame in the first cell.
    first: u64,
    cells: [Cell<SharedFrame>; SEGMENT_FRAMES],
}

impl Segment {
    fn new(first: u64) -> Self {
        Self {
            first,
            cells: array::from_fn(|_| Cell::default()),
        }
    }

    /// The same frames from this one on.
    fn from(&self, seq: u64) -> Self {
        let rest = Self::new(self.first);
        for (at, cell) in self.cells.iter().enumerate() {
            if self.first + at as u64 >= seq
                && let Some(frame) = cell.get()
            {
                // A new cell is empty.
                let _ = rest.cells[at].set(frame.clone());
            }
        }
        rest
    }

    fn cell(&self, seq: u64) -> &Cell<SharedFrame> {
        // The remainder keeps the index in bounds.
        &self.cells[(seq % SEGMENT) as usize]
    }
}

/// Number of the first frame of the segment that this frame is in.
fn first_of(seq: u64) -> u64 {
    seq - seq % SEGMENT
}

impl Ring {
    /// An account of the memory budget for what is held for one viewer.
    pub(super) fn held_bytes(&self) -> HeldBytes {
        self.share.held_bytes()
    }

    /// A ring of at least `capacity` frames (rounded up to a power of two).
    pub(super) fn new(capacity: usize, share: Share) -> Self {
        let capacity = capacity.max(2).next_power_of_two();
        // The oldest and the newest segment may be partly in use.
        let slots = (capacity / SEGMENT_FRAMES + 2).next_power_of_two();
        Self {
            slots: (0..slots).map(|_| Slot::empty()).collect(),
            capacity: capacity as u64,
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            share,
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// The frames that are published now, to be read one by one.
    pub(super) fn read(&self) -> Published<'_> {
        Published {
            head: self.head(),
            segment: None,
            ring: self,
        }
    }

    fn slot(&self, seq: u64) -> &Slot<Segment> {
        // The number of slots is a power of two, so the mask keeps the index in bounds; truncation
        // keeps the low bits.
        &self.slots[(seq / SEGMENT) as usize & (self.slots.len() - 1)]
    }
}

/// The frames below the head of one moment, as far as they still exist when they are read.
pub(super) struct Published<'a> {
    head: u64,
    /// The segment that was read last. It was loaded after the head, so each frame below the head
    /// is in it, or is below the tail.
    segment: Option<Loaded<Segment>>,
    ring: &'a Ring,
}

impl Published<'_> {
    /// Number of the first frame after them.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The frame with this number, or `None` if it is gone or was not published yet.
    pub(super) fn get(&mut self, seq: u64) -> Option<&Arc<SharedFrame>> {
        if seq >= self.head {
            return None;
        }
        let first = first_of(seq);
        let known = self.segment.as_ref().and_then(|loaded| loaded.as_ref());
        if known.is_none_or(|segment| segment.first != first) {
            self.segment = Some(self.ring.slot(seq).load());
        }
        let segment = self.segment.as_ref()?.as_ref()?;
        // Another segment may be in its slot by now.
        (segment.first == first)
            .then(|| segment.cell(seq).get())
            .flatten()
    }
}

/// The only writer. It keeps the state that only the writer needs, so that readers never share its
/// cache lines.
pub(super) struct RingWriter {
    ring: Arc<Ring>,
    /// The ring's head, which only this writer changes.
    head: u64,
    tail: u64,
    /// The maximum number of payload bytes, and the current bound.
    max_bytes: usize,
    bound_bytes: usize,
    pub(super) kept_bytes: usize,
    /// Bytes that the stream holds in addition to its frames.
    pub(super) other_bytes: u64,
    /// The segment that is being filled.
    newest: Arc<Segment>,
    /// Bytes in each segment, the oldest first.
    bytes: VecDeque<usize>,
}

impl RingWriter {
    /// The writer of a new ring.
    pub(super) fn new(ring: Arc<Ring>, max_bytes: usize) -> Self {
        Self {
            head: 0,
            tail: 0,
            max_bytes,
            bound_bytes: max_bytes,
            kept_bytes: 0,
            other_bytes: 0,
            newest: Arc::new(Segment::new(0)),
            bytes: VecDeque::with_capacity(ring.slots.len()),
            ring,
        }
    }

    /// Number of the next frame.
    pub(super) fn next_seq(&self) -> u64 {
        self.head
    }

    /// Publishes the next frame; its number must be [`next_seq`](Self::next_seq). Frees the oldest
    /// frames as the bounds demand, and the segments before the segment of the newest `keep`: no
    /// reader may be further behind, and a frame that is freed late is no longer in the cache.
    pub(super) fn push(&mut self, frame: Arc<SharedFrame>, keep: u64) {
        let seq = self.head;
        debug_assert_eq!(frame.seq(), seq);
        if seq.is_multiple_of(SEGMENT) {
            self.newest = Arc::new(Segment::new(seq));
            self.bytes.push_back(0);
            let before = self.ring.slot(seq).swap(Some(self.newest.clone()));
            debug_assert!(before.is_none());
        }
        let bytes = frame.payload.len();
        self.kept_bytes += bytes;
        if let Some(newest) = self.bytes.back_mut() {
            *newest += bytes;
        }
        let filled = self.newest.cell(seq).set(frame);
        debug_assert!(filled.is_ok());
        self.free(seq, keep.min(self.ring.capacity));
        self.head = seq + 1;
        self.account();
        self.ring.head.store(self.head, Ordering::Release);
    }

    /// Reports the held bytes to the budget if they have changed by a step, and once per segment
    /// reads the limit.
    fn account(&mut self) {
        let payload = self.kept_bytes as u64;
        let slots = size_of_val(&*self.ring.slots) as u64;
        let held = payload + (self.head - self.tail) * FRAME_BYTES + slots + self.other_bytes;
        if !self.head.is_multiple_of(SEGMENT) && !self.ring.share.is_due(held) {
            return;
        }
        let may = self.ring.share.tell(held).saturating_sub(held - payload);
        self.bound_bytes =
            usize::try_from(may).map_or(self.max_bytes, |may| may.min(self.max_bytes));
    }

    /// Frees frames beyond the bounds, but never frame `seq`, the newest.
    fn free(&mut self, seq: u64, keep: u64) {
        loop {
            let second = first_of(self.tail) + SEGMENT;
            let many = second <= seq && seq - second + 1 >= keep;
            let heavy = self.kept_bytes > self.bound_bytes;
            // The newest frames keep at least half of the allowed bytes: the replayed GOP is among
            // them.
            let oldest = self.bytes.front().copied().unwrap_or(0);
            if many || heavy && second <= seq && oldest <= self.bound_bytes / 2 {
                self.drop_oldest(second);
            } else if heavy && self.tail < seq {
                self.trim_oldest(second.min(seq));
            } else {
                return;
            }
        }
    }

    /// Drops the oldest segment; `second` is the first frame of the next one.
    fn drop_oldest(&mut self, second: u64) {
        self.move_tail(second);
        self.ring.slot(second - SEGMENT).swap(None);
        self.kept_bytes -= self.bytes.pop_front().unwrap_or(0);
    }

    /// Drops the oldest frames below `until`, until the rest is within its bound. For a few frames
    /// that are so large that a segment must not be dropped or kept as a whole.
    fn trim_oldest(&mut self, until: u64) {
        let Some(oldest) = self.ring.slot(self.tail).load_full() else {
            debug_assert!(false, "the segment of the tail is in its slot");
            return;
        };
        let (mut from, mut freed) = (self.tail, 0);
        while from < until && self.kept_bytes - freed > self.bound_bytes {
            freed += oldest.cell(from).get().map_or(0, |f| f.payload.len());
            from += 1;
        }
        if from == oldest.first + SEGMENT {
            return self.drop_oldest(from);
        }
        let rest = Arc::new(oldest.from(from));
        if self.newest.first == rest.first {
            self.newest = rest.clone();
        }
        self.move_tail(from);
        self.ring.slot(from).swap(Some(rest));
        self.kept_bytes -= freed;
        if let Some(bytes) = self.bytes.front_mut() {
            *bytes -= freed;
        }
    }

    /// The tail moves before a slot changes: a reader that finds its frame gone also finds that it
    /// is behind.
    fn move_tail(&mut self, to: u64) {
        self.tail = to;
        self.ring.tail.store(to, Ordering::Release);
    }
}
