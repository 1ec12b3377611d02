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

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    },
    /// A publish was refused: the only event of its session.
    PublishDenied {
        /// Why.
        reason: Reason,
    },
    /// A play was admitted.
    PlayStarted,
    /// It ended.
    PlayEnded {
        /// Why.
        reason: Reason,
        /// What it did in all.
        totals: SessionTotals,
    },
    /// A play was refused: the only event of its session.
    PlayDenied {
        /// Why.
        reason: Reason,
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
    /// A GOP outgrew its cache: who joins now waits for the next keyframe.
    GopTruncated {
        /// Frames of the GOP so far.
        frames: u64,
        /// Payload bytes of the GOP so far.
        bytes: u64,
    },
}

impl StreamEventKind {
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
