//! Admission: what an attempt says of itself, and who may refuse it.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    event::{Reason, Role, SessionContext, clean},
    identity::{SessionId, StreamKey},
};

/// Longest user agent that is recorded, in bytes.
pub(crate) const MAX_USER_AGENT_BYTES: usize = 255;

/// Longest user agent that is searched for secrets before it is cut, in bytes.
const MAX_SEARCHED_BYTES: usize = 4_096;

/// Something that must never be shown. `Debug` hides it.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for comparing; compare in constant time.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a client shows to be let in.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Credentials {
    /// A stream key or a signed token, whichever the authenticators understand.
    pub token: Option<Secret>,
}

impl Credentials {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A stream key or token.
    #[must_use]
    pub fn token(text: impl Into<Box<str>>) -> Self {
        Self {
            token: Some(Secret::new(text)),
        }
    }
}

/// A client's wish to publish or to play, before anybody has judged it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// Which stream.
    pub key: StreamKey,
    /// What the client shows to be let in.
    pub credentials: Credentials,
    /// The gateway's protocol, such as `rtmp`.
    pub protocol: &'static str,
    /// The peer's address, if there is one.
    pub peer: Option<SocketAddr>,
    /// What the client calls itself, up to 4,096 bytes, control characters replaced. 255 bytes of it are recorded.
    pub user_agent: Option<Arc<str>>,
}

impl Attempt {
    /// An attempt with nothing but a stream and a protocol.
    #[must_use]
    pub fn new(key: StreamKey, protocol: &'static str) -> Self {
        Self {
            key,
            credentials: Credentials::none(),
            protocol,
            peer: None,
            user_agent: None,
        }
    }

    /// Says where the client is.
    #[must_use]
    pub fn peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Says what the client calls itself.
    #[must_use]
    pub fn user_agent(mut self, text: &str) -> Self {
        self.user_agent = Some(clean(text, MAX_SEARCHED_BYTES).into());
        self
    }

    /// Says what the client shows to be let in.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }
}

/// An attempt was refused. Already recorded: whoever gets this has only to tell the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of {key} refused: {reason}", role.label())]
#[non_exhaustive]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// The session under which the refusal was reported.
    pub session: SessionId,
    /// Publish or play.
    pub role: Role,
    /// Which stream.
    pub key: StreamKey,
    /// When it makes sense to try again, if the engine knows; at least a second.
    pub retry_after: Option<Duration>,
}

impl Denied {
    pub(crate) fn of(context: &SessionContext, reason: Reason) -> Self {
        Self {
            reason,
            session: context.session,
            role: context.role,
            key: context.key.clone(),
            retry_after: None,
        }
    }
}

/// The last word before media flows: asked after the session's `*_started` event has gone to every observer, before the
/// gateway gets its handle.
///
/// A gate that refuses ends the session with the reason it gives. The strict policy of an audit trail is a gate: it
/// waits until the session's first record is durable.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Lets the session go on, or ends it with a reason. May take its time: the engine stops waiting at
    /// [`Limits::admission_timeout`](crate::Limits::admission_timeout), and when the session ends, its client leaves or the
    /// engine stops. The future is then dropped.
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason>;

    /// The reason with which a session ends that this gate kept waiting for too long (`audit_unavailable`).
    fn overdue(&self) -> Reason {
        Reason::AuditUnavailable
    }
}

#[async_trait]
impl<G: Gate + ?Sized> Gate for Arc<G> {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        (**self).confirm(session).await
    }
    fn overdue(&self) -> Reason {
        (**self).overdue()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let attempt = Attempt::new(StreamKey::parse("live", "cam").unwrap(), "rtmp")
            .credentials(Credentials::token("hunter2"));
        assert!(!format!("{attempt:?}").contains("hunter2"));
    }

    #[test]
    fn a_user_agent_is_cut_at_a_character_and_cleaned() {
        let attempt = Attempt::new(StreamKey::parse("live", "cam").unwrap(), "rtmp");
        let long = attempt
            .clone()
            .user_agent(&format!("x{}", "å".repeat(4_000)))
            .user_agent
            .unwrap();
        assert_eq!(long.len(), 4_095);
        assert_eq!(&*attempt.user_agent("a\tb\n").user_agent.unwrap(), "a b ");
    }
}
