//! One memory budget for all streams of an engine.
//!
//! A stream's ring counts its bytes, and reports them to the budget in steps of [`STEP_BYTES`], so
//! that most frames do not touch shared state. While the streams hold more than the limit:
//!
//! - publishers are refused (`memory_limit`),
//! - a stream that holds more than an equal share drops its oldest frames until it has that share,
//!   and the others do not grow,
//! - each stream may still hold [`FLOOR_BYTES`], and its newest frame of any size.
//!
//! Publishers are also refused if there are too many streams for these floors. So all streams
//! together hold at most the limit, plus a step, a floor and a frame per stream.
//!
//! [`HeldBytes`] count as well: what is held for one viewer, outside of any stream's ring.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The bytes that a stream may hold in any case.
pub(crate) const FLOOR_BYTES: u64 = 1 << 20;

/// The budget lags behind a stream by at most this many bytes.
pub(crate) const STEP_BYTES: u64 = 64 << 10;

/// The bytes that all streams of an engine hold, and their limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: AtomicU64,
    used_bytes: AtomicU64,
    streams: AtomicU64,
}

/// One stream's part of a budget. It is returned when it is dropped, with the last handle on the
/// stream's frames.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    /// The bytes that the budget has counted. Only the stream's writer changes this.
    charged_bytes: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes: AtomicU64::new(limit_bytes),
            used_bytes: AtomicU64::new(0),
            streams: AtomicU64::new(0),
        })
    }

    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Relaxed);
    }

    /// The bytes that the streams hold.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// Whether a stream with an open share may start.
    pub(crate) fn has_room(&self) -> bool {
        let limit = self.limit_bytes.load(Relaxed);
        let floors = self.streams.load(Relaxed).saturating_mul(FLOOR_BYTES);
        self.used_bytes() < limit && floors <= limit
    }

    /// Opens a share for a stream that holds nothing yet.
    pub(crate) fn open(self: &Arc<Self>) -> Share {
        self.streams.fetch_add(1, Relaxed);
        Share {
            budget: self.clone(),
            charged_bytes: AtomicU64::new(0),
        }
    }
}

impl Share {
    /// Whether the stream's bytes differ by a step from the budget's count.
    pub(crate) fn is_due(&self, held_bytes: u64) -> bool {
        held_bytes.abs_diff(self.charged_bytes.load(Relaxed)) >= STEP_BYTES
    }

    /// Reports the stream's bytes to the budget, and returns how many it may hold.
    pub(crate) fn tell(&self, held_bytes: u64) -> u64 {
        let before = self.charged_bytes.load(Relaxed);
        self.charged_bytes.store(held_bytes, Relaxed);
        let budget = &*self.budget;
        // Modulo 2^64: a smaller value is a negative difference.
        let change = held_bytes.wrapping_sub(before);
        let used = budget
            .used_bytes
            .fetch_add(change, Relaxed)
            .wrapping_add(change);
        let limit = budget.limit_bytes.load(Relaxed);
        if used <= limit {
            return u64::MAX;
        }
        let equal = limit / budget.streams.load(Relaxed).max(1);
        equal.min(held_bytes).max(FLOOR_BYTES)
    }
}

/// Bytes that are held for one viewer and that the memory budget counts
/// ([`Limits::stream_memory`](crate::Limits::stream_memory)). Nothing is counted any more
/// when it is dropped.
#[derive(Debug)]
pub struct HeldBytes {
    budget: Arc<Budget>,
    bytes: u64,
}

impl HeldBytes {
    /// Sets how many bytes are held now.
    pub fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        // Modulo 2^64: a smaller value is a negative difference.
        let change = bytes.wrapping_sub(self.bytes);
        if change != 0 {
            self.budget.used_bytes.fetch_add(change, Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Share {
    /// An account of the same budget for what is held outside of the stream.
    pub(crate) fn held_bytes(&self) -> HeldBytes {
        HeldBytes {
            budget: self.budget.clone(),
            bytes: 0,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let charged = self.charged_bytes.load(Relaxed);
        self.budget.used_bytes.fetch_sub(charged, Relaxed);
        self.budget.streams.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_viewers_hold_counts_until_it_is_gone() {
        let budget = Budget::new(2 * MIB);
        let share = budget.open();
        let (mut one, mut other) = (share.held_bytes(), share.held_bytes());
        one.set(1_000);
        other.set(500);
        one.set(200);
        assert_eq!(budget.used_bytes(), 700);
        drop(other);
        one.set(2 << 20);
        assert!(!budget.has_room());
        drop((one, share));
        assert_eq!(budget.used_bytes(), 0);
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_stream_over_its_equal_share_shrinks_and_the_others_do_not_grow() {
        let budget = Budget::new(16 * MIB);
        let (large, small) = (budget.open(), budget.open());
        assert_eq!(large.tell(12 * MIB), u64::MAX);
        assert_eq!(small.tell(4 * MIB), u64::MAX);
        assert!(!budget.has_room(), "all of it is used");
        assert_eq!(small.tell(5 * MIB), 5 * MIB, "it may stay as it is");
        assert_eq!(large.tell(13 * MIB), 8 * MIB);
        assert_eq!(large.tell(8 * MIB), u64::MAX);
        assert!(budget.has_room());
        drop(large);
        assert_eq!(budget.used_bytes(), 5 * MIB);
        drop(small);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn each_stream_has_its_floor_and_no_more_streams_begin_than_have_one() {
        let budget = Budget::new(3 * MIB);
        let shares: Vec<_> = (0..3).map(|_| budget.open()).collect();
        assert!(budget.has_room());
        assert_eq!(shares[0].tell(9 * MIB), FLOOR_BYTES);
        assert_eq!(shares[1].tell(1), FLOOR_BYTES);
        shares[0].tell(0);
        assert!(budget.has_room());
        let _fourth = budget.open();
        assert!(!budget.has_room());
        budget.set_limit(u64::MAX);
        assert!(budget.has_room());
    }
}
