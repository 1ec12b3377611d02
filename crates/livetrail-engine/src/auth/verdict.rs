//! What an authenticator decides: a verdict, and what an admitted session may do.

use std::sync::Arc;

use crate::{event::Reason, limit::IngressLimit};

/// An authenticator's verdict on an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Admit it, on these terms.
    Allow(Admission),
    /// Refuse it.
    Deny(Reason),
    /// This authenticator does not decide.
    Abstain,
}

/// The terms on which an authenticator admits a session: as whom, until when, within which limits.
///
/// ```
/// use livetrail_engine::{Admission, AdmissionLimits, Verdict};
///
/// let evening_unix_ms = 1_900_000_000_000;
/// let admission = Admission::of("alice")
///     .expires_unix_ms(evening_unix_ms)
///     .end_at_expiry(true)
///     .limits(AdmissionLimits::none().max_sessions(2));
/// let verdict = Verdict::Allow(admission);
/// # drop(verdict);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Admission {
    /// Who is admitted, if it is known. It is recorded, so it is never a secret.
    pub principal: Option<Arc<str>>,
    /// When the grant expires, in milliseconds since 1970 (UTC). `None` is never.
    pub expires_unix_ms: Option<u64>,
    /// Whether the session ends when the grant expires (`token_expired`), within 250 ms. Otherwise
    /// the expiry only says how long the same credentials admit further sessions.
    pub end_at_expiry: bool,
    /// Limits of this session, in addition to those of the engine.
    pub limits: AdmissionLimits,
}

impl Admission {
    /// Admits without a principal, without an expiry, and without limits of its own.
    #[must_use]
    pub fn anyone() -> Self {
        Self::default()
    }

    /// Admits this principal, without an expiry and without limits of its own.
    #[must_use]
    pub fn of(principal: impl Into<Arc<str>>) -> Self {
        Self {
            principal: Some(principal.into()),
            ..Self::default()
        }
    }

    /// Sets when the grant expires, in milliseconds since 1970 (UTC).
    #[must_use]
    pub fn expires_unix_ms(mut self, unix_ms: u64) -> Self {
        self.expires_unix_ms = Some(unix_ms);
        self
    }

    /// Sets whether the session ends when the grant expires (no).
    #[must_use]
    pub fn end_at_expiry(mut self, ends: bool) -> Self {
        self.end_at_expiry = ends;
        self
    }

    /// Sets limits of this session.
    #[must_use]
    pub fn limits(mut self, limits: AdmissionLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// Limits that an authenticator sets for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AdmissionLimits {
    /// How much a publisher may send, in place of the application's
    /// [`AppSpec::ingress_limit`](crate::AppSpec::ingress_limit).
    pub ingress: Option<IngressLimit>,
    /// The maximum number of sessions at once with this principal, publishers and viewers. Above it
    /// the attempt is refused (`limit_reached`). It has no effect without a principal.
    pub max_sessions: Option<usize>,
    /// How much a viewer may be sent, in bits per second, unless the engine's or the application's
    /// cap is smaller.
    pub viewer_bits_per_second: Option<u64>,
}

impl AdmissionLimits {
    /// No limits.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets how much a publisher may send.
    #[must_use]
    pub fn ingress(mut self, limit: IngressLimit) -> Self {
        self.ingress = Some(limit);
        self
    }

    /// Sets the maximum number of sessions at once with this principal.
    #[must_use]
    pub fn max_sessions(mut self, n: usize) -> Self {
        self.max_sessions = Some(n);
        self
    }

    /// Sets how much a viewer may be sent, in bits per second.
    #[must_use]
    pub fn viewer_bits_per_second(mut self, bits: u64) -> Self {
        self.viewer_bits_per_second = Some(bits);
        self
    }
}
