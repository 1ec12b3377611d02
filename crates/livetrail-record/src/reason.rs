//! How an attempt or a session came out, and why.

use std::fmt;

/// How it came out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Denied,
    /// It was allowed and went wrong.
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

    /// The outcome with this label; an unknown one gives [`Other`](Self::Other).
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

/// Defines the enum, `label` and `from_label` from one list, so that they cannot drift apart.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// Why a session ended or an attempt was refused.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
            /// A reason of a later version, by its label.
            Other(String),
        }

        impl Reason {
            /// The stable name.
            #[must_use]
            pub fn label(&self) -> &str {
                match self {
                    $(Self::$variant => $label,)*
                    Self::Other(label) => label,
                }
            }

            /// The reason with this label; an unknown one gives [`Other`](Self::Other).
            #[must_use]
            pub fn from_label(label: &str) -> Self {
                match label {
                    $($label => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }

            /// Every label that this version knows.
            pub fn labels() -> impl Iterator<Item = &'static str> {
                [$($label,)*].into_iter()
            }

            /// Every reason that this version knows.
            #[cfg(test)]
            pub(crate) const KNOWN: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}

reasons! {
    /// The client closed it.
    ClientClosed = "client_closed",
    /// The connection failed.
    NetworkError = "network_error",
    /// The peer broke its protocol.
    ProtocolError = "protocol_error",
    /// No frames for the idle timeout.
    Idle = "idle",
    /// A viewer lagged beyond its budget.
    Evicted = "evicted",
    /// An operator ended it.
    Kicked = "kicked",
    /// Another publisher took the stream over.
    Replaced = "replaced",
    /// The publisher of the stream that was watched ended.
    StreamEnded = "stream_ended",
    /// The server shut down.
    ServerShutdown = "server_shutdown",
    /// The server crashed; inferred at the next start.
    ServerCrash = "server_crash",
    /// Credentials were missing or wrong.
    Unauthorized = "unauthorized",
    /// The stream has a publisher already.
    AlreadyPublishing = "already_publishing",
    /// No such stream.
    StreamNotFound = "stream_not_found",
    /// No such application.
    AppNotFound = "app_not_found",
    /// A limit on publishers or subscribers is reached.
    LimitReached = "limit_reached",
    /// Too much, too fast.
    RateLimited = "rate_limited",
    /// Strict policy, and the trail could not record it in time.
    AuditUnavailable = "audit_unavailable",
    /// Our bug.
    InternalError = "internal_error",
    /// The application's or stream's name is not a name.
    BadName = "bad_name",
    /// The budget of memory for streams is used up.
    MemoryLimit = "memory_limit",
    /// The key or token that let it in is no longer valid.
    CredentialsRevoked = "credentials_revoked",
    /// An authenticator did not answer before the admission deadline.
    AuthUnavailable = "auth_unavailable",
    /// The client's address is not allowed.
    AddressDenied = "address_denied",
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
        for reason in Reason::KNOWN {
            assert_eq!(&Reason::from_label(reason.label()), reason);
            assert!(!matches!(
                Reason::from_label(reason.label()),
                Reason::Other(_)
            ));
        }
        assert_eq!(Reason::from_label("moon_phase").label(), "moon_phase");
        for outcome in [Outcome::Success, Outcome::Denied, Outcome::Failed] {
            assert_eq!(Outcome::from_label(outcome.label()), outcome);
        }
    }
}
