//! Whether the worker sleeps until somebody wakes it: how the first offer after a long silence knows, at no cost to the others.
//!
//! Two variables, `asleep` and a counter (the boot's next number, or the refusals' next ticket); each side changes or reads both, in
//! opposite orders. The worker reads both counters, each producer changes one of them: the proof is
//! the same for each.
//!
//! ```text
//! producer   takes a number (RMW) ─▶ offers its record ─▶ reads `asleep`; if set, clears it and wakes the worker
//! worker     sets `asleep` ─▶ looks at the next number (RMW) ─▶ sleeps, if no number was given that is not accounted for
//! ```
//!
//! **No wake-up is lost.** All changes of the next number come in one order. If the producer's comes before the worker's look, the worker sees a
//! number that it has not accounted for, and stays up. If it comes after it, it reads what the look wrote (or a later number's change, which
//! continues the same release sequence): so the producer sees `asleep` set, unless somebody has cleared it since. That was the worker, which is up,
//! or another producer, which wakes it; and whoever is up looks at the queue until every number is accounted for, before it sleeps again.
//!
//! The worker swaps rather than stores, so that all changes of `asleep` come in one order as well, and no producer's swap can fall back behind them.
//!
//! The module is self-contained (its atomics come from `super::sync`), so that the model checker runs exactly this code.

use super::sync::{AtomicBool, AtomicU64, Ordering};

/// Read with each offer and written once in a silence: on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Asleep(AtomicBool);

impl Asleep {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Takes a number, for an offer after which [`rouse`](Self::rouse) is called.
    pub(crate) fn number(next: &AtomicU64) -> u64 {
        // Acquire: what the worker set before its look is seen after this.
        next.fetch_add(1, Ordering::Acquire)
    }

    /// The worker is about to sleep, with every number below the settled one accounted for, of each counter. `false`: more were
    /// given since, it must not.
    pub(crate) fn lie_down<const N: usize>(&self, counters: [(&AtomicU64, u64); N]) -> bool {
        self.0.swap(true, Ordering::AcqRel);
        // Changes nothing, and yet is a change: it stands before or behind each producer's. Release: with it goes the store above.
        let settled = counters
            .iter()
            .all(|(next, settled)| next.fetch_add(0, Ordering::AcqRel) == *settled);
        if settled {
            return true;
        }
        self.get_up();
        false
    }

    /// The worker is up, whoever woke it.
    pub(crate) fn get_up(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// Whether the worker sleeps and it is this caller who must wake it.
    pub(crate) fn rouse(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
