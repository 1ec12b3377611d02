//! The status codes that players and encoders understand, and the mapping from our reasons.

use livetrail_engine::{Reason, Role};
use livetrail_media::amf0::Value;

/// The `level` of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Status,
    Error,
}

/// The content of `onStatus` and `_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    level: Level,
    code: &'static str,
    description: String,
}

impl Status {
    pub(crate) fn new(level: Level, code: &'static str, description: impl Into<String>) -> Self {
        Self {
            level,
            code,
            description: description.into(),
        }
    }

    /// The status with which an attempt is refused.
    #[must_use]
    pub fn refused(role: Role, reason: &Reason) -> Self {
        let code = match (role, reason) {
            (_, Reason::AppNotFound) => "NetConnection.Connect.InvalidApp",
            (Role::Publish, Reason::Unauthorized | Reason::AlreadyPublishing | Reason::BadName) => {
                "NetStream.Publish.BadName"
            }
            (Role::Publish, _) => "NetStream.Publish.Rejected",
            (Role::Play, Reason::StreamNotFound | Reason::BadName) => {
                "NetStream.Play.StreamNotFound"
            }
            (Role::Play, _) => "NetStream.Play.Failed",
        };
        Self::new(Level::Error, code, describe(reason))
    }

    /// The status with which a running session is ended by the server.
    #[must_use]
    pub fn ended(role: Role, reason: &Reason) -> Self {
        let (level, code) = match (role, reason) {
            (Role::Play, Reason::StreamEnded) => (Level::Status, "NetStream.Play.UnpublishNotify"),
            (_, Reason::ServerShutdown) => (Level::Error, "NetConnection.Connect.AppShutdown"),
            (Role::Play, Reason::Evicted) => (Level::Error, "NetStream.Play.InsufficientBW"),
            (Role::Play, _) => (Level::Error, "NetStream.Play.Failed"),
            (Role::Publish, Reason::Replaced) => (Level::Error, "NetStream.Publish.BadName"),
            (Role::Publish, Reason::Idle) => (Level::Error, "NetStream.Publish.Idle"),
            (Role::Publish, _) => (Level::Error, "NetStream.Publish.Rejected"),
        };
        Self::new(level, code, describe(reason))
    }

    /// The same status with this detail instead of the reason's usual description.
    #[must_use]
    pub fn because(mut self, detail: impl std::fmt::Display) -> Self {
        let label = self.description.split(':').next().unwrap_or_default();
        self.description = format!("{label}: {detail}");
        self
    }

    /// Whether it says that media follows.
    pub(crate) fn is_about_media(&self) -> bool {
        matches!(
            self.code,
            "NetStream.Play.Start" | "NetStream.Play.PublishNotify"
        )
    }

    /// The code, such as `NetStream.Publish.BadName`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.code
    }

    /// The description for people: the reason's stable label and its meaning.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn to_value(&self) -> Value {
        let level = match self.level {
            Level::Status => "status",
            Level::Error => "error",
        };
        Value::object([
            ("level", Value::from(level)),
            ("code", Value::from(self.code)),
            ("description", Value::from(self.description.as_str())),
        ])
    }
}

fn describe(reason: &Reason) -> String {
    let meaning = match reason {
        Reason::ClientClosed => "the client closed the session",
        Reason::NetworkError => "the connection failed",
        Reason::ProtocolError => "the peer broke the protocol",
        Reason::Idle => "no frame for too long",
        Reason::Evicted => "too slow for too long",
        Reason::Kicked => "ended by an operator",
        Reason::Replaced => "another publisher took the stream over",
        Reason::StreamEnded => "the stream's publisher ended",
        Reason::ServerDraining => "the server takes no new sessions, because it is going to stop",
        Reason::ServerShutdown => "the server is stopping",
        Reason::ServerCrash => "the server died",
        Reason::Unauthorized => "wrong or missing key",
        Reason::AlreadyPublishing => "the stream has a publisher",
        Reason::StreamNotFound => "nobody publishes this stream",
        Reason::AppNotFound => "there is no such application",
        Reason::LimitReached => "a limit on sessions was reached",
        Reason::RateLimited => "more than the ingress limit",
        Reason::AuditUnavailable => "the audit trail cannot record the session",
        Reason::BadName => {
            "a name has 1 to 255 bytes, no control or invisible characters, no white space at its ends, and is not . or .."
        }
        Reason::MemoryLimit => "the memory for streams is used up",
        Reason::CredentialsRevoked => "the key is no longer valid",
        Reason::AuthUnavailable => "the authorisation service does not answer",
        Reason::AddressDenied => "this address is not allowed",
        Reason::TokenExpired => "the token has expired",
        Reason::Other(_) => "a rule of this server",
        _ => "a fault of the server",
    };
    format!("{reason}: {meaning}")
}
