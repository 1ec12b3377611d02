//! Tokens in the addresses of viewers: made at the entry, opened with each request.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use livetrail_engine::{Admission, AdmissionLimits, SessionId, StreamKey, ViewerToken};
use livetrail_hls::token::{Claims, Keys, Kind, SealError, TokenError};

/// Seals and opens tokens.
pub(super) struct Tokens {
    keys: RwLock<Arc<Keys>>,
    node: Arc<str>,
    lifetime: Duration,
}

impl Tokens {
    pub(super) fn new(keys: Keys, node: Arc<str>, lifetime: Duration) -> Self {
        Self {
            keys: RwLock::new(Arc::new(keys)),
            node,
            lifetime,
        }
    }

    pub(super) fn set_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<Keys> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// The claims of a client that may watch on these terms.
    pub(super) fn claims(
        &self,
        key: &StreamKey,
        admission: &Admission,
        now_unix_ms: u64,
    ) -> Claims {
        let lifetime = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let expires = now_unix_ms.saturating_add(lifetime);
        let expires = admission
            .expires_unix_ms
            .map_or(expires, |at| at.min(expires));
        let id = *SessionId::at(now_unix_ms).as_uuid().as_bytes();
        let mut claims = Claims::new(id, key.app.as_str(), key.stream_id.as_str(), expires);
        claims.node = self.node.clone();
        claims.principal = admission.principal.clone();
        claims.ends_at_expiry = admission.end_at_expiry && admission.expires_unix_ms.is_some();
        let limits = &admission.limits;
        let sessions = limits.max_sessions;
        claims.max_sessions = sessions.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
        claims.viewer_bits_per_second = limits.viewer_bits_per_second;
        claims
    }

    pub(super) fn seal(&self, claims: &Claims) -> Result<String, SealError> {
        self.keys().seal(Kind::Viewing, claims)
    }

    pub(super) fn open(
        &self,
        token: &str,
        key: &StreamKey,
        now_unix_ms: u64,
    ) -> Result<Claims, TokenError> {
        let (app, stream) = (key.app.as_str(), key.stream_id.as_str());
        self.keys()
            .open(Kind::Viewing, token, app, stream, now_unix_ms)
    }
}

/// What the engine knows of a token.
pub(super) fn viewer_token(claims: &Claims) -> ViewerToken {
    ViewerToken::of_bytes(claims.id, claims.share, claims.expires_unix_ms)
}

/// The terms on which the client of a token was admitted.
pub(super) fn admission(claims: &Claims) -> Admission {
    let mut limits = AdmissionLimits::none();
    limits.max_sessions = claims
        .max_sessions
        .map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    limits.viewer_bits_per_second = claims.viewer_bits_per_second;
    let admission = match &claims.principal {
        Some(principal) => Admission::of(principal.clone()),
        None => Admission::anyone(),
    };
    admission
        .expires_unix_ms(claims.expires_unix_ms)
        .end_at_expiry(claims.ends_at_expiry)
        .limits(limits)
}
