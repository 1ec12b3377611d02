//! The outcome of an attempt or a session, and the reason for it.

use std::fmt;

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// It was refused.
    Denied,
    /// It was allowed and failed.
    Failed,
    /// An outcome of a later version, by its label.
    Other(String),
}

impl Outcome {
    /// The stable name.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Other(label) => label,
        }
    }

    /// The outcome with this label. An unknown label gives [`Other`](Self::Other).
    #[must_use]
    pub fn from_label(label: &str) -> Self {
        match label {
            "success" => Self::Success,
            "denied" => Self::Denied,
            "failed" => Self::Failed,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// One row of the table of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReasonRow {
    /// The stable name.
    pub label: &'static str,
    /// Whether it is a failure, so that a session that ends for it has the outcome `failed`.
    pub is_failure: bool,
    /// Its meaning, in Markdown.
    pub description: &'static str,
}

/// Makes from one table: the enum, its labels in both directions, the reasons that are failures,
/// and [`Reason::TABLE`].
macro_rules! reasons {
    ($($(#[doc = $description:literal])+ $variant:ident = $label:literal, $end:ident;)+) => {
        /// Why a session ended or an attempt was refused.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $description])+ $variant,)+
            /// A reason of a later version, by its label.
            Other(String),
        }

        impl Reason {
            /// Every reason that this version knows.
            pub const TABLE: &'static [ReasonRow] = &[
                $(ReasonRow {
                    label: $label,
                    is_failure: is_failure!($end),
                    description: concat!($($description),+),
                },)+
            ];

            /// The stable name.
            #[must_use]
            pub fn label(&self) -> &str {
                match self {
                    $(Self::$variant => $label,)+
                    Self::Other(label) => label,
                }
            }

            /// The reason with this label. An unknown label gives [`Other`](Self::Other).
            #[must_use]
            pub fn from_label(label: &str) -> Self {
                match label {
                    $($label => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }

            /// Whether it is a failure, so that a session that ends for it has the outcome
            /// `failed`.
            #[must_use]
            pub const fn is_failure(&self) -> bool {
                match self {
                    $(Self::$variant => is_failure!($end),)+
                    Self::Other(_) => false,
                }
            }
        }
    };
}

macro_rules! is_failure {
    (failed) => {
        true
    };
    (ordinary) => {
        false
    };
}

// Each row has the variant, the label, and whether a session that ends for it failed.
reasons! {
    /// The client closed it.
    ClientClosed = "client_closed", ordinary;
    /// The connection failed.
    NetworkError = "network_error", failed;
    /// The peer broke its protocol; `detail` says how.
    ProtocolError = "protocol_error", failed;
    /// No frames for the idle timeout.
    Idle = "idle", failed;
    /// A viewer lagged beyond its budget.
    Evicted = "evicted", failed;
    /// An operator ended it.
    Kicked = "kicked", ordinary;
    /// Another publisher took the stream over.
    Replaced = "replaced", ordinary;
    /// The publisher of the stream that was watched ended.
    StreamEnded = "stream_ended", ordinary;
    /// The server shut down.
    ServerShutdown = "server_shutdown", ordinary;
    /// The server crashed: never seen, inferred at the next start.
    ServerCrash = "server_crash", failed;
    /// Credentials were missing or wrong.
    Unauthorized = "unauthorized", ordinary;
    /// The stream has a publisher already.
    AlreadyPublishing = "already_publishing", ordinary;
    /// No such stream.
    StreamNotFound = "stream_not_found", ordinary;
    /// No such application.
    AppNotFound = "app_not_found", ordinary;
    /// A limit on publishers or viewers is reached.
    LimitReached = "limit_reached", ordinary;
    /// Of a refusal: the address had used up its budget of attempts, or there were too many short
    /// sessions. Of an end: there was more media than the ingress limit.
    RateLimited = "rate_limited", failed;
    /// The policy is strict, and the trail could not record the session in time.
    AuditUnavailable = "audit_unavailable", failed;
    /// A fault of the server.
    InternalError = "internal_error", failed;
    /// The name of the application or stream is invalid.
    BadName = "bad_name", ordinary;
    /// The budget of memory for streams is used up (`limits.stream_memory`).
    MemoryLimit = "memory_limit", failed;
    /// The key or token that let it in is no longer valid.
    CredentialsRevoked = "credentials_revoked", ordinary;
    /// An authenticator did not answer in time (`limits.admission_timeout`).
    AuthUnavailable = "auth_unavailable", failed;
    /// The client's address is not allowed (`auth.deny_ips`, `auth.allow_ips`).
    AddressDenied = "address_denied", ordinary;
}

impl Reason {
    /// Every label that this version knows.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        Self::TABLE.iter().map(|row| row.label)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_leads_back_to_its_reason() {
        for row in Reason::TABLE {
            let reason = Reason::from_label(row.label);
            assert!(!matches!(reason, Reason::Other(_)), "{}", row.label);
            assert_eq!(reason.label(), row.label);
            assert_eq!(reason.is_failure(), row.is_failure, "{}", row.label);
        }
        assert_eq!(Reason::from_label("moon_phase").label(), "moon_phase");
        for outcome in [Outcome::Success, Outcome::Denied, Outcome::Failed] {
            assert_eq!(Outcome::from_label(outcome.label()), outcome);
        }
    }
}
