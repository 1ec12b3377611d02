//! What observers hear: one [`StreamEvent`] for each transition of a session's life, and nothing else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::identity::{AppName, SessionId, StreamId, StreamKey};

/// Whether a session sends media in or takes it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends a stream in.
    Publish,
    /// Watches a stream.
    Play,
}

impl Role {
    /// `publish` or `play`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// Why a session ended or was refused. The labels are stable: records, metrics and the API carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The client said that it is done, or its owner dropped the session.
    ClientClosed,
    /// The connection failed.
    NetworkError,
    /// The peer broke the protocol.
    ProtocolError,
    /// No frame for the idle timeout.
    Idle,
    /// The viewer was too slow for too long.
    Evicted,
    /// An operator ended it.
    Kicked,
    /// Another publisher took the stream over.
    Replaced,
    /// The publisher of the stream that was watched ended.
    StreamEnded,
    /// The server is stopping.
    ServerShutdown,
    /// Inferred at the next start: the server died.
    ServerCrash,
    /// Who asked may not do this.
    Unauthorized,
    /// The stream has a publisher.
    AlreadyPublishing,
    /// Nobody publishes this stream.
    StreamNotFound,
    /// There is no such application.
    AppNotFound,
    /// A limit on sessions was reached.
    LimitReached,
    /// More than the ingress limit, for too long.
    RateLimited,
    /// The audit trail could not take the session's first record in time.
    AuditUnavailable,
    /// A fault of ours.
    InternalError,
    /// The application's or stream's name is not a name.
    BadName,
    /// The budget of memory for streams is used up.
    MemoryLimit,
    /// The key or token that let the session in is no longer valid.
    CredentialsRevoked,
    /// An authenticator did not answer before the admission deadline.
    AuthUnavailable,
    /// The client's address is not allowed.
    AddressDenied,
}

impl Reason {
    /// The stable label, such as `client_closed`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::NetworkError => "network_error",
            Self::ProtocolError => "protocol_error",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Kicked => "kicked",
            Self::Replaced => "replaced",
            Self::StreamEnded => "stream_ended",
            Self::ServerShutdown => "server_shutdown",
            Self::ServerCrash => "server_crash",
            Self::Unauthorized => "unauthorized",
            Self::AlreadyPublishing => "already_publishing",
            Self::StreamNotFound => "stream_not_found",
            Self::AppNotFound => "app_not_found",
            Self::LimitReached => "limit_reached",
            Self::RateLimited => "rate_limited",
            Self::AuditUnavailable => "audit_unavailable",
            Self::InternalError => "internal_error",
            Self::BadName => "bad_name",
            Self::MemoryLimit => "memory_limit",
            Self::CredentialsRevoked => "credentials_revoked",
            Self::AuthUnavailable => "auth_unavailable",
            Self::AddressDenied => "address_denied",
        }
    }
}

impl Reason {
    /// As a host, an authenticator or a gate may give it to a session of this role: what the engine alone can know becomes
    /// `internal_error`. That a viewer is idle, a gateway may know.
    pub(crate) fn of_host(self, role: Role) -> Self {
        match self {
            Self::Idle if role == Role::Play => self,
            Self::Idle | Self::Evicted | Self::Replaced | Self::StreamEnded | Self::ServerCrash => {
                tracing::error!(reason = %self, "only the engine may give this reason; internal_error is recorded");
                Self::InternalError
            }
            other => other,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// What a session did in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionTotals {
    /// From its start to its end.
    pub duration: Duration,
    /// Payload bytes, taken in (publish) or handed out (play).
    pub bytes: u64,
    /// Frames, likewise.
    pub frames: u64,
    /// Frames that were offered and not carried: over the rate limit (publish), skipped for lag (play).
    pub dropped_frames: u64,
}

/// A short text that says more than a [`Reason`]: what exactly was wrong with a message, for example.
///
/// At most [`Detail::MAX_BYTES`] bytes, without control characters. Cloning costs one reference count.
#[derive(Clone, PartialEq, Eq)]
// Twice boxed, so that an event that has none carries one word for it.
pub struct Detail(Arc<Box<str>>);

impl Detail {
    /// Longest text that is kept, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Keeps the text, cut at a character; a control character becomes a space. `None` when nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let clean = clean(text, Self::MAX_BYTES);
        (!clean.trim().is_empty()).then(|| Self(Arc::new(clean.into())))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first `max_bytes` bytes of a text, cut at a character, with spaces in place of control characters.
pub(crate) fn clean(text: &str, max_bytes: usize) -> String {
    let end = text.floor_char_boundary(max_bytes);
    let cut = text.get(..end).unwrap_or_default();
    cut.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEventKind {
    /// A publish was admitted.
    PublishStarted,
    /// It ended.
    PublishEnded {
        /// Why.
        reason: Reason,
        /// What it did in all.
        totals: SessionTotals,
        /// More about the reason.
        detail: Option<Detail>,
    },
    /// A publish was refused: the only event of its session.
    PublishDenied {
        /// Why.
        reason: Reason,
        /// More about the reason.
        detail: Option<Detail>,
    },
    /// A play was admitted.
    PlayStarted,
    /// It ended.
    PlayEnded {
        /// Why.
        reason: Reason,
        /// What it did in all.
        totals: SessionTotals,
        /// More about the reason.
        detail: Option<Detail>,
    },
    /// A play was refused: the only event of its session.
    PlayDenied {
        /// Why.
        reason: Reason,
        /// More about the reason.
        detail: Option<Detail>,
    },
    /// A viewer was too slow and skipped frames. At most one a second for a session.
    SubscriberLagged {
        /// Frames skipped since the last such event of the session.
        skipped: u64,
    },
    /// A viewer was cut off for chronic lag; its `PlayEnded` follows.
    SubscriberEvicted {
        /// Frames that it was behind.
        lag: u64,
    },
    /// A publisher hit its ingress limit. At most one a second for a session.
    RateLimited {
        /// Frames refused since the last such event of the session.
        count: u64,
    },
    /// A stream had no frame for the idle timeout; its `PublishEnded` follows.
    StreamReaped {
        /// For how long there was none.
        idle: Duration,
    },
    /// A GOP outgrew its cache: a viewer that joins now waits for the next keyframe. At most one a
    /// second for a session.
    GopTruncated {
        /// Frames of the newest such GOP so far.
        frames: u64,
        /// Payload bytes of the newest such GOP so far.
        bytes: u64,
        /// GOPs since the last such event of the session, this one included.
        count: u64,
    },
}

impl StreamEventKind {
    /// The end of a session of this role.
    #[must_use]
    pub fn ended(
        role: Role,
        reason: Reason,
        totals: SessionTotals,
        detail: Option<Detail>,
    ) -> Self {
        match role {
            Role::Publish => Self::PublishEnded {
                reason,
                totals,
                detail,
            },
            Role::Play => Self::PlayEnded {
                reason,
                totals,
                detail,
            },
        }
    }

    /// The refusal of an attempt of this role.
    #[must_use]
    pub fn denied(role: Role, reason: Reason, detail: Option<Detail>) -> Self {
        match role {
            Role::Publish => Self::PublishDenied { reason, detail },
            Role::Play => Self::PlayDenied { reason, detail },
        }
    }

    /// Why, if this is the last event of a session.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::PublishEnded { reason, .. }
            | Self::PlayEnded { reason, .. }
            | Self::PublishDenied { reason, .. }
            | Self::PlayDenied { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// The stable label, such as `publish_started`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::PublishStarted => "publish_started",
            Self::PublishEnded { .. } => "publish_ended",
            Self::PublishDenied { .. } => "publish_denied",
            Self::PlayStarted => "play_started",
            Self::PlayEnded { .. } => "play_ended",
            Self::PlayDenied { .. } => "play_denied",
            Self::SubscriberLagged { .. } => "subscriber_lagged",
            Self::SubscriberEvicted { .. } => "subscriber_evicted",
            Self::RateLimited { .. } => "rate_limited",
            Self::StreamReaped { .. } => "stream_reaped",
            Self::GopTruncated { .. } => "gop_truncated",
        }
    }
}

/// Who and what a session is: fixed when it starts, shared by all of its events.
///
/// Secrets never get here: a principal is a configured name, never a token or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionContext {
    /// The session.
    pub session: SessionId,
    /// Publish or play.
    pub role: Role,
    /// The stream.
    pub key: StreamKey,
    /// The gateway's protocol, such as `rtmp`.
    pub protocol: &'static str,
    /// The peer's address, if there is one.
    pub peer: Option<SocketAddr>,
    /// What the client calls itself: at most 255 bytes, no control characters.
    pub user_agent: Option<Arc<str>>,
    /// Who it is, as configured or as its token says; `None` when nobody asked.
    pub principal: Option<Arc<str>>,
}

impl SessionContext {
    /// A context with only what every session has; the other fields can be set afterwards.
    #[must_use]
    pub fn new(session: SessionId, role: Role, key: StreamKey) -> Self {
        Self {
            session,
            role,
            key,
            protocol: "internal",
            peer: None,
            user_agent: None,
            principal: None,
        }
    }
}

/// One transition in a session's life. Each is reported exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamEvent {
    /// The application.
    pub app: AppName,
    /// The stream.
    pub stream_id: StreamId,
    /// What happened.
    pub kind: StreamEventKind,
    /// To which session.
    pub session: SessionId,
    /// When, in milliseconds since 1970 (UTC).
    pub ts_ms: u64,
    /// When, in milliseconds of the engine's monotonic clock.
    pub mono_ms: u64,
    /// Who and what the session is. Cloning costs one reference count.
    pub context: Arc<SessionContext>,
}

impl StreamEvent {
    /// An event of `context`'s session at the given times.
    #[must_use]
    pub fn new(
        context: Arc<SessionContext>,
        kind: StreamEventKind,
        ts_ms: u64,
        mono_ms: u64,
    ) -> Self {
        Self {
            app: context.key.app.clone(),
            stream_id: context.key.stream_id.clone(),
            kind,
            session: context.session,
            ts_ms,
            mono_ms,
            context,
        }
    }

    /// The stream's key.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        &self.context.key
    }
}
