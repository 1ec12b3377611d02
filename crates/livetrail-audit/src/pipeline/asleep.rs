//! Whether the worker sleeps until an offer wakes it. By this flag the first offer after a long
//! silence knows that it must wake the worker. The other offers pay nothing for it.
//!
//! There are two variables: `asleep`, and a counter (the boot's next number, or the refusals' next
//! ticket). Each side accesses both, in opposite orders. The worker reads both counters, and each
//! producer changes one of them. The proof is the same for each counter.
//!
//! ```text
//! producer   takes a number (RMW) ─▶ offers its record ─▶ reads `asleep`
//! worker     sets `asleep` ─▶ reads the next number (RMW) ─▶ sleeps
//! ```
//!
//! If the producer finds `asleep` set, it clears it and wakes the worker. The worker sleeps only if
//! all numbers are accounted for.
//!
//! **No wake-up is lost.** All changes of the next number are in one total order.
//!
//! - The producer's change comes before the worker's read. Then the worker sees a number that it
//!   has not accounted for, and does not sleep.
//! - The producer's change comes after it. Then the producer reads the value that the worker's read
//!   wrote, or the value of a later change, which continues the same release sequence. So the
//!   producer sees `asleep` set, unless it was cleared since. Either the worker cleared it and is
//!   awake, or another producer cleared it and wakes the worker. A worker that is awake reads the
//!   queue until every number is accounted for, before it sleeps again.
//!
//! The worker swaps instead of storing. So all changes of `asleep` are in one total order, too, and
//! no producer's swap can fall behind them.
//!
//! The module is self-contained (its atomics come from `super::sync`), so the model checker runs
//! exactly this code.

use super::sync::{AtomicBool, AtomicU64, Ordering};

/// The flag. Each offer reads it, and it is written once per silence. It has a cache line of its
/// own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Asleep(AtomicBool);

impl Asleep {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Takes a number for an offer. After the offer, the caller wakes the worker if it sleeps.
    pub(crate) fn number(next: &AtomicU64) -> u64 {
        // Acquire: the code after this sees the flag that the worker set before its read.
        next.fetch_add(1, Ordering::Acquire)
    }

    /// The worker is about to sleep. For each counter it has accounted for every number below the
    /// settled one. `false` if more numbers were given since; then the worker must not sleep.
    pub(crate) fn fall_asleep<const N: usize>(&self, counters: [(&AtomicU64, u64); N]) -> bool {
        self.0.swap(true, Ordering::AcqRel);
        // This adds zero and is still a change, so it is before or after each producer's change.
        // Release: it publishes the store above.
        let settled = counters
            .iter()
            .all(|(next, settled)| next.fetch_add(0, Ordering::AcqRel) == *settled);
        if settled {
            return true;
        }
        self.resume();
        false
    }

    /// The worker is awake, whatever woke it.
    pub(crate) fn resume(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// Whether the worker sleeps and this caller must wake it.
    pub(crate) fn wake(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
