//! Admission: what an attempt states, and the gates that may refuse it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    address::{ClientAddress, PeerSource},
    auth::Admission,
    event::{Reason, Role, SessionContext, clean},
    hops::Hops,
    identity::{SessionId, StreamKey},
    requests::ViewerToken,
};

/// The maximum number of bytes of a user agent that are recorded.
pub(crate) const MAX_USER_AGENT_BYTES: usize = 255;

/// The maximum number of bytes of a user agent that are searched for secrets before it is cut.
const MAX_SEARCHED_BYTES: usize = 4_096;

/// A text that must never be shown. `Debug` hides it.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for a comparison; compare in constant time.
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

/// The name in a client's certificate, which the gateway has verified: a URI or a DNS name. It goes
/// on record as the principal. `Debug` hides it, because it may name a person.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CertificateName(Arc<str>);

impl CertificateName {
    /// The name in a certificate that was verified.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateName(…)")
    }
}

impl From<CertificateName> for Arc<str> {
    fn from(name: CertificateName) -> Self {
        name.0
    }
}

/// The credentials of a client.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Credentials {
    /// A stream key or a signed token, as the authenticators understand it.
    pub token: Option<Secret>,
    /// The name of a user.
    pub user: Option<Secret>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The query of the stream's address as the client sent it, with the secrets in it. For
    /// authenticators that ask a service with rules of its own.
    pub query: Option<Secret>,
    /// The name in the certificate that the client has shown, if a gateway has verified it.
    pub certificate: Option<CertificateName>,
}

impl Credentials {
    /// No credentials.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A stream key or token.
    #[must_use]
    pub fn token(text: impl Into<Box<str>>) -> Self {
        Self {
            token: Some(Secret::new(text)),
            ..Self::default()
        }
    }

    /// Sets the name of a user and the password.
    #[must_use]
    pub fn user(mut self, name: Secret, password: Option<Secret>) -> Self {
        self.user = Some(name);
        self.password = password;
        self
    }

    /// Sets the query of the stream's address.
    #[must_use]
    pub fn query(mut self, query: Secret) -> Self {
        self.query = Some(query);
        self
    }

    /// Sets the name in the client's verified certificate.
    #[must_use]
    pub fn certificate(mut self, name: Option<CertificateName>) -> Self {
        self.certificate = name;
        self
    }
}

/// A client's request to publish or to play, before it is decided.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// The stream.
    pub key: StreamKey,
    /// The client's credentials.
    pub credentials: Credentials,
    /// The gateway's protocol, such as `rtmp`.
    pub protocol: &'static str,
    /// The peer's address, if there is one.
    pub peer: Option<SocketAddr>,
    /// The proxy that connected to the server, if there is one.
    pub via: Option<IpAddr>,
    /// How `peer` is known.
    pub peer_source: PeerSource,
    /// The name of the client's program, up to 4,096 bytes, with control characters replaced. 255
    /// bytes of it are recorded.
    pub user_agent: Option<Arc<str>>,
    /// The session that the attempt becomes, or under which it is refused. The engine sets it
    /// before it asks the authenticators.
    pub session: Option<SessionId>,
    /// What the peer says, if it is another server that passes the stream on.
    pub hops: Option<Arc<Hops>>,
    /// The token in the address of a request, which the host has opened.
    pub token: Option<ViewerToken>,
    /// The host's own terms: see [`admitted`](Self::admitted).
    pub(crate) admission: Option<Admission>,
}

impl Attempt {
    /// An attempt with only a stream and a protocol.
    #[must_use]
    pub fn new(key: StreamKey, protocol: &'static str) -> Self {
        Self {
            key,
            credentials: Credentials::none(),
            protocol,
            peer: None,
            via: None,
            peer_source: PeerSource::Socket,
            user_agent: None,
            session: None,
            hops: None,
            token: None,
            admission: None,
        }
    }

    /// Sets the address of a client that connected itself.
    #[must_use]
    pub fn peer(self, peer: SocketAddr) -> Self {
        self.client(ClientAddress::of_socket(peer))
    }

    /// Sets the client's address, and how it is known.
    #[must_use]
    pub fn client(mut self, client: ClientAddress) -> Self {
        self.peer = Some(client.peer);
        self.via = client.via;
        self.peer_source = client.source;
        self
    }

    /// Sets the name of the client's program.
    #[must_use]
    pub fn user_agent(mut self, text: &str) -> Self {
        self.user_agent = Some(clean(text, MAX_SEARCHED_BYTES).into());
        self
    }

    /// Sets the client's credentials.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets what the peer says, which is another server.
    #[must_use]
    pub fn hops(mut self, hops: Arc<Hops>) -> Self {
        self.hops = Some(hops);
        self
    }

    /// Sets the token in the address of a request, which the host has opened and found valid. The
    /// engine refuses it if it was revoked, and finds the session that was opened with it before.
    #[must_use]
    pub fn token(mut self, token: ViewerToken) -> Self {
        self.token = Some(token);
        self
    }

    /// The host itself admits the session on these terms: no authenticator is asked. For sessions
    /// of the host's own, such as a stream that it takes from another server, and for a viewer that
    /// an authenticator admitted on these terms before ([`token`](Self::token)); never for any
    /// other client.
    #[must_use]
    pub fn admitted(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }
}

/// An attempt was refused. The refusal is on record already: the caller only has to report it to
/// the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of {key} refused: {reason}", role.label())]
#[non_exhaustive]
pub struct Denied {
    /// The reason.
    pub reason: Reason,
    /// The session under which the refusal was reported.
    pub session: SessionId,
    /// Publish or play.
    pub role: Role,
    /// The stream.
    pub key: StreamKey,
    /// When a new attempt makes sense, if the engine knows it; at least a second.
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

/// The last decision before media flows. The engine asks it after each observer has got the
/// session's `*_started` event, and before the gateway gets its handle.
///
/// A gate that refuses ends the session with its reason. The strict policy of an audit trail is a
/// gate: it waits until the session's first record is durable.
///
/// ```
/// use async_trait::async_trait;
/// use livetrail_engine::{AppSpec, Engine, Gate, Reason, SessionContext};
///
/// /// Admits nobody while the house is closed.
/// struct Closed(Reason);
///
/// #[async_trait]
/// impl Gate for Closed {
///     async fn confirm(&self, _session: &SessionContext) -> Result<(), Reason> {
///         Err(self.0.clone())
///     }
/// }
///
/// let closed = Closed(Reason::host("closed_for_maintenance")?);
/// let engine = Engine::builder().application(AppSpec::new("live")).gate(closed).build()?;
/// # drop(engine);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Admits the session, or ends it with a reason. It may take its time. The engine stops
    /// waiting, and drops the future, at
    /// [`Limits::admission_timeout`](crate::Limits::admission_timeout), if the session ends, if its
    /// client leaves, or if the engine stops.
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason>;

    /// Prepares a stream that has no publisher for a viewer who may watch it and has no session
    /// yet ([`Engine::authorize`](crate::Engine::authorize)), or refuses the viewer with a reason.
    /// The engine stops waiting as for [`confirm`](Self::confirm). By default nothing happens.
    async fn prepare(&self, viewer: &SessionContext) -> Result<(), Reason> {
        let _ = viewer;
        Ok(())
    }

    /// The reason with which a session ends if this gate exceeded the deadline
    /// (`audit_unavailable`).
    fn overdue(&self) -> Reason {
        Reason::AuditUnavailable
    }
}

#[async_trait]
impl<G: Gate + ?Sized> Gate for Arc<G> {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        (**self).confirm(session).await
    }
    async fn prepare(&self, viewer: &SessionContext) -> Result<(), Reason> {
        (**self).prepare(viewer).await
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
