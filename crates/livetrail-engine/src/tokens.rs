//! What the engine remembers of viewers' tokens until they expire: those that must open no session
//! any more, and the session that each one opened last.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::{event::Reason, identity::SessionId, requests::ViewerToken};

/// The maximum number of tokens of each table. Beyond that, the one that expires first is
/// forgotten.
const MAX_TOKENS: usize = 65_536;

#[derive(Default)]
pub(crate) struct Tokens(Mutex<State>);

#[derive(Default)]
struct State {
    revoked: UntilExpiry<Reason>,
    last: UntilExpiry<SessionId>,
}

impl Tokens {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No session starts with this token, or with one that was exchanged for this share link. Times
    /// are in milliseconds since 1970.
    pub(crate) fn revoke(&self, id: Uuid, expires_ms: u64, reason: Reason, now_ms: u64) {
        self.state().revoked.put(id, expires_ms, reason, now_ms);
    }

    /// Why no session may start with this token, if so.
    pub(crate) fn revoked(&self, token: &ViewerToken) -> Option<Reason> {
        let state = self.state();
        let share = || token.share.and_then(|share| state.revoked.get(share));
        state.revoked.get(token.id).or_else(share).cloned()
    }

    /// The session that this token opened last.
    pub(crate) fn last(&self, token: &ViewerToken) -> Option<SessionId> {
        self.state().last.get(token.id).copied()
    }

    /// Notes the session that has started with this token.
    pub(crate) fn opened(&self, token: &ViewerToken, session: SessionId, now_ms: u64) {
        let mut state = self.state();
        state
            .last
            .put(token.id, token.expires_unix_ms, session, now_ms);
    }
}

/// A bounded map whose entries expire.
struct UntilExpiry<V> {
    by_id: HashMap<Uuid, (u64, V)>,
    by_expiry: BTreeSet<(u64, Uuid)>,
}

impl<V> Default for UntilExpiry<V> {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            by_expiry: BTreeSet::new(),
        }
    }
}

impl<V> UntilExpiry<V> {
    fn get(&self, id: Uuid) -> Option<&V> {
        self.by_id.get(&id).map(|(_, value)| value)
    }

    fn put(&mut self, id: Uuid, expires_ms: u64, value: V, now_ms: u64) {
        if let Some((expires_ms, _)) = self.by_id.insert(id, (expires_ms, value)) {
            self.by_expiry.remove(&(expires_ms, id));
        }
        self.by_expiry.insert((expires_ms, id));
        while let Some((expires_ms, id)) = self.by_expiry.first().copied() {
            if expires_ms > now_ms && self.by_expiry.len() <= MAX_TOKENS {
                break;
            }
            self.by_expiry.remove(&(expires_ms, id));
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_remembered_until_they_expire_and_never_more_than_the_bound() {
        let tokens = Tokens::default();
        let id = |n: usize| Uuid::from_u128(n as u128);
        let token = |n| ViewerToken::new(id(n), 1_000);
        tokens.revoke(id(1), 1_000, Reason::Kicked, 0);
        assert_eq!(tokens.revoked(&token(1)), Some(Reason::Kicked));
        assert_eq!(tokens.revoked(&token(2)), None);
        let shared = token(2).share(Some(id(1)));
        assert_eq!(tokens.revoked(&shared), Some(Reason::Kicked));
        let sessions = [1, 2].map(SessionId::at);
        assert_eq!(tokens.last(&token(1)), None);
        for session in sessions {
            tokens.opened(&token(1), session, 5);
            assert_eq!(tokens.last(&token(1)), Some(session));
        }
        for n in 0..3 * MAX_TOKENS {
            tokens.revoke(id(10 + n), 2_000 + n as u64, Reason::Kicked, 7);
        }
        assert_eq!(tokens.revoked(&token(1)), None, "it would expire first");
        let last = 9 + 3 * MAX_TOKENS;
        assert!(tokens.revoked(&token(last)).is_some());
        {
            let state = tokens.state();
            assert_eq!(state.revoked.by_id.len(), MAX_TOKENS);
            assert_eq!(state.revoked.by_expiry.len(), MAX_TOKENS);
        }
        tokens.revoke(id(1), 9_000_000, Reason::Kicked, 8_000_000);
        assert_eq!(
            tokens.state().revoked.by_id.len(),
            1,
            "the others have expired"
        );
    }
}
