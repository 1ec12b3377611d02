//! Admission: what an attempt says of itself, and who may refuse it.

use std::{fmt, net::SocketAddr, sync::Arc};

use async_trait::async_trait;

use crate::{
    event::{Reason, Role, SessionContext},
    identity::{SessionId, StreamKey},
};

/// Longest user agent that is kept, in bytes.
const MAX_USER_AGENT_BYTES: usize = 255;

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
    /// What the client calls itself; cut to 255 bytes, control characters replaced.
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
        let mut end = text.len().min(MAX_USER_AGENT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let clean: String = text[..end]
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.user_agent = Some(clean.into());
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
}

impl Denied {
    pub(crate) fn of(context: &SessionContext, reason: Reason) -> Self {
        Self {
            reason,
            session: context.session,
            role: context.role,
            key: context.key.clone(),
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
    /// Lets the session go on, or ends it with a reason. May take its time, within a deadline of its own.
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason>;
}

#[async_trait]
impl<G: Gate + ?Sized> Gate for Arc<G> {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        (**self).confirm(session).await
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
            .user_agent(&"å".repeat(200))
            .user_agent
            .unwrap();
        assert_eq!(long.len(), 254);
        assert_eq!(&*attempt.user_agent("a\tb\n").user_agent.unwrap(), "a b ");
    }
}
