//! Events for observers: one [`StreamEvent`] for each transition of a session's life, and no other
//! events.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use livetrail_reason::{OtherReason, Reason, ReasonError};

use crate::{
    address::PeerSource,
    hops::{Hops, upstream},
    identity::{AppName, SessionId, StreamId, StreamKey},
    requests::{RequestTotals, ViewerToken},
};

/// The direction of a session's media.
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

/// The reason as a host, an authenticator or a gate may give it to a session of this role. A reason
/// that only the engine can know becomes `internal_error`, and so does a host's own whose label
/// breaks the rule. A gateway may know that a viewer is idle.
pub(crate) fn of_host(reason: Reason, role: Role) -> Reason {
    match reason {
        Reason::Idle if role == Role::Play => reason,
        Reason::Idle
        | Reason::Evicted
        | Reason::Replaced
        | Reason::StreamEnded
        | Reason::ServerCrash => {
            tracing::error!(%reason, "only the engine may give this reason; internal_error is recorded");
            Reason::InternalError
        }
        Reason::Other(other) if !other.is_valid() => {
            tracing::error!(
                max_bytes = Reason::MAX_LABEL_BYTES,
                "the label of a host's reason is invalid; internal_error is recorded"
            );
            Reason::InternalError
        }
        reason => reason,
    }
}

/// The totals of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SessionTotals {
    /// From its start to its end.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "duration_ms", serialize_with = "crate::serialize::millis")
    )]
    pub duration: Duration,
    /// Payload bytes, received (publish) or delivered (play).
    pub bytes: u64,
    /// Frames, received (publish) or delivered (play).
    pub frames: u64,
    /// Frames that were offered but not carried: over the rate limit (publish), or skipped for lag
    /// (play).
    pub dropped_frames: u64,
    /// Of a viewer that consists of many requests: these.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub requests: Option<RequestTotals>,
}

/// A short text that explains a [`Reason`], such as the exact fault of a message.
///
/// At most [`Detail::MAX_BYTES`] bytes, without control characters. Cloning costs one reference
/// count.
#[derive(Clone, PartialEq, Eq)]
// It is boxed twice, so that an event without a detail has only one word for it.
pub struct Detail(Arc<Box<str>>);

impl Detail {
    /// The maximum length of the text in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Keeps the text, cut at a character boundary; each control character becomes a space. `None`
    /// if the result is empty.
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

/// The first `max_bytes` bytes of a text, cut at a character boundary, with spaces instead of
/// control characters.
pub(crate) fn clean(text: &str, max_bytes: usize) -> String {
    let end = text.floor_char_boundary(max_bytes);
    let cut = text.get(..end).unwrap_or_default();
    cut.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The transition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "kind", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum StreamEventKind {
    /// A publish was admitted.
    PublishStarted,
    /// The publish ended.
    PublishEnded {
        /// The reason.
        reason: Reason,
        /// The totals of the session.
        totals: SessionTotals,
        /// More about the reason.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        detail: Option<Detail>,
    },
    /// A publish was refused: the only event of its session.
    PublishDenied {
        /// The reason.
        reason: Reason,
        /// More about the reason.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        detail: Option<Detail>,
    },
    /// A play was admitted.
    PlayStarted,
    /// The play ended.
    PlayEnded {
        /// The reason.
        reason: Reason,
        /// The totals of the session.
        totals: SessionTotals,
        /// More about the reason.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        detail: Option<Detail>,
    },
    /// A play was refused: the only event of its session.
    PlayDenied {
        /// The reason.
        reason: Reason,
        /// More about the reason.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        detail: Option<Detail>,
    },
    /// A viewer was too slow and skipped frames. At most one per second and session.
    SubscriberLagged {
        /// Frames skipped since the last such event of the session.
        skipped: u64,
    },
    /// A viewer was evicted for chronic lag; its `PlayEnded` follows.
    SubscriberEvicted {
        /// How many frames it was behind.
        lag: u64,
    },
    /// A publisher exceeded its ingress limit. At most one per second and session.
    RateLimited {
        /// Frames refused since the last such event of the session.
        count: u64,
    },
    /// A stream had no frame for the idle timeout; its `PublishEnded` follows.
    StreamReaped {
        /// How long there was no frame.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "idle_ms", serialize_with = "crate::serialize::millis")
        )]
        idle: Duration,
    },
    /// A GOP outgrew its cache: a viewer that joins now waits for the next keyframe. At most one
    /// per second and session.
    GopTruncated {
        /// Frames of the newest such GOP so far.
        frames: u64,
        /// Payload bytes of the newest such GOP so far.
        bytes: u64,
        /// GOPs since the last such event of the session, including this one.
        count: u64,
    },
    /// Requests of one viewer come from two addresses at the same time: somebody passed the token
    /// on, or the viewer has two ways into the network. At most once per session.
    TokenShared {
        /// From how many addresses they came so far.
        peers: u32,
    },
    /// The viewer's token opens no more sessions; the session's `PlayEnded` follows.
    TokenRevoked {
        /// When the token would have expired, in milliseconds since 1970 (UTC).
        expires_unix_ms: u64,
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

    /// The reason, if this is the last event of a session.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::PublishEnded { reason, .. }
            | Self::PlayEnded { reason, .. }
            | Self::PublishDenied { reason, .. }
            | Self::PlayDenied { reason, .. } => Some(reason.clone()),
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
            Self::TokenShared { .. } => "token_shared",
            Self::TokenRevoked { .. } => "token_revoked",
        }
    }
}

/// The identity of a session: fixed when it starts, and shared by all of its events.
///
/// It contains no secrets: a principal is a configured name, never a token or a key.
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
    /// The proxy that connected to the server, if there is one.
    pub via: Option<IpAddr>,
    /// How `peer` is known.
    pub peer_source: PeerSource,
    /// The name of the client's program: at most 255 bytes, no control characters.
    pub user_agent: Option<Arc<str>>,
    /// The principal, from the configuration or the token, or `None` if there was no
    /// authentication.
    pub principal: Option<Arc<str>>,
    /// What the peer says about the stream, if it is another server.
    pub hops: Option<Arc<Hops>>,
    /// What the viewer's requests have in common, if it consists of many.
    pub token: Option<Arc<ViewerToken>>,
}

impl SessionContext {
    /// A context with only the required parts; the other fields can be set afterwards.
    #[must_use]
    pub fn new(session: SessionId, role: Role, key: StreamKey) -> Self {
        Self {
            session,
            role,
            key,
            protocol: "internal",
            peer: None,
            via: None,
            peer_source: PeerSource::Socket,
            user_agent: None,
            principal: None,
            hops: None,
            token: None,
        }
    }

    /// Where the stream comes from, if this publish is from another server whose name is proven.
    #[must_use]
    pub fn upstream(&self) -> Option<&Hops> {
        upstream(self.role, self.hops.as_ref())
    }
}

/// One transition in a session's life. Each is reported exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StreamEvent {
    /// The application.
    // Serialized, the event has the application, the stream and the session in its context only.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub app: AppName,
    /// The stream.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub stream_id: StreamId,
    /// What happened.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub kind: StreamEventKind,
    /// The session.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub session: SessionId,
    /// The time, in milliseconds since 1970 (UTC).
    pub ts_ms: u64,
    /// The time, in milliseconds of the engine's monotonic clock.
    pub mono_ms: u64,
    /// The identity of the session. Cloning costs one reference count.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::context"))]
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
