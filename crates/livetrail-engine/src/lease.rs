//! How long a viewing continues without a call from the gateway that serves it.
//!
//! Renewal and expiry exclude each other: a renewed lease does not expire before its new time, and
//! an expired lease is never renewed. `tests/models/thread.rs` checks this in every order of steps.
//! A renewal is one atomic operation, so nothing is queued per viewing: the engine's thread, which
//! visits all sessions anyway, expires leases.

use crate::sync::{AtomicU64, Ordering};

/// The lease has expired.
const EXPIRED: u64 = u64::MAX;

/// The lease has not started.
const NOT_BEGUN: u64 = u64::MAX - 1;

/// When a viewing ends unless it is renewed, in milliseconds of the engine's clock.
pub(crate) struct Lease {
    length_ms: u64,
    until_ms: AtomicU64,
    /// When it was renewed last: the newest time, whichever thread stored it.
    renewed_ms: AtomicU64,
    /// How many requests hold it.
    held: AtomicU64,
}

impl Lease {
    /// A lease that starts with the first [`renew`](Self::renew).
    pub(crate) fn new(length_ms: u64) -> Self {
        Self {
            length_ms,
            until_ms: AtomicU64::new(NOT_BEGUN),
            renewed_ms: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    /// Renews the lease for its length from now. False if it has expired.
    pub(crate) fn renew(&self, now_ms: u64) -> bool {
        let until = now_ms.saturating_add(self.length_ms).min(NOT_BEGUN - 1);
        let renewed = |seen: u64| (seen != EXPIRED).then_some(until);
        let is_renewed = self
            .until_ms
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, renewed)
            .is_ok();
        if is_renewed {
            self.renewed_ms.fetch_max(now_ms, Ordering::Relaxed);
        }
        is_renewed
    }

    /// When it was renewed last.
    pub(crate) fn renewed_ms(&self) -> u64 {
        self.renewed_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn length_ms(&self) -> u64 {
        self.length_ms
    }

    /// Another request holds it. The caller renews it next: that fails if it has expired.
    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::AcqRel);
    }

    /// A request no longer holds it. The caller has renewed it.
    pub(crate) fn release(&self) {
        self.held.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a request holds it.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0
    }

    /// Expires the lease if its time is over. Returns true once: the caller then ends the session.
    pub(crate) fn expire(&self, now_ms: u64) -> bool {
        let seen = self.until_ms.load(Ordering::Acquire);
        if seen > now_ms {
            return false;
        }
        self.until_ms
            .compare_exchange(seen, EXPIRED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
