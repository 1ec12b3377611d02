//! What an authenticator granted a session: for how long, and within which limits.
//!
//! The engine's thread visits all sessions anyway, and ends those whose grant has expired. So a
//! grant needs no timer, and a renewal is one store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{auth::AdmissionLimits, egress::EgressCap};

/// A session's grant.
pub(crate) struct Grant {
    /// When it expires, in milliseconds of the engine's clock; `u64::MAX` is never.
    until_ms: AtomicU64,
    pub(crate) limits: AdmissionLimits,
    /// How much a viewer may be sent.
    pub(crate) cap: Option<EgressCap>,
    /// What a viewer needs, in bits per second, as it is counted.
    pub(crate) need_bps: AtomicU64,
}

impl Grant {
    pub(crate) fn new(until_ms: u64, limits: AdmissionLimits) -> Self {
        Self {
            until_ms: AtomicU64::new(until_ms),
            limits,
            cap: None,
            need_bps: AtomicU64::new(0),
        }
    }

    /// Sets how much a viewer may be sent.
    pub(crate) fn capped(mut self, cap: Option<EgressCap>) -> Self {
        self.cap = cap;
        self
    }

    pub(crate) fn has_expired(&self, now_ms: u64) -> bool {
        self.until_ms() <= now_ms
    }

    pub(crate) fn until_ms(&self) -> u64 {
        self.until_ms.load(Relaxed)
    }

    /// Replaces the time of expiry.
    pub(crate) fn renew(&self, until_ms: u64) {
        self.until_ms.store(until_ms, Relaxed);
    }
}
