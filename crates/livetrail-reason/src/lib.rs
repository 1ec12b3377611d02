//! Why a session ended or an attempt was refused: one list for the engine, the records, and all
//! readers of both.
//!
//! A host adds reasons of its own with [`Reason::host`]. Like the others, they reach the client,
//! the observers and the trail.
//!
//! ```
//! use livetrail_reason::Reason;
//!
//! let unpaid = Reason::host("subscription_expired")?;
//! assert_eq!(unpaid.label(), "subscription_expired");
//! assert_eq!(Reason::from_label("kicked"), Reason::Kicked);
//! assert!(Reason::host("kicked").is_err(), "this label has its meaning already");
//! # Ok::<(), livetrail_reason::ReasonError>(())
//! ```

use std::{fmt, sync::Arc};

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

/// The label of a reason that is not in the table: a host's own, or one of a later version.
/// Cloning costs one reference count.
#[derive(Clone, PartialEq, Eq, Hash)]
// It is boxed twice, so that it takes only one machine word of a reason.
pub struct OtherReason(Arc<Box<str>>);

impl OtherReason {
    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the label follows the rule: see [`Reason::host`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_valid_label(self.as_str())
    }
}

impl fmt::Debug for OtherReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The reason why a text cannot be a host's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReasonError {
    /// The text breaks the rule for labels.
    #[error(
        "reason {label:?}: expected 1 to {} bytes of a-z, 0-9 and _, the first a letter",
        Reason::MAX_LABEL_BYTES
    )]
    BadLabel {
        /// The text, at most [`Reason::MAX_LABEL_BYTES`] bytes of it.
        label: String,
    },
    /// The label is in the table and has its meaning there.
    #[error("reason {label:?} has a meaning of its own; use Reason::from_label for it")]
    Taken {
        /// The label.
        label: &'static str,
    },
}

/// Makes all of these from one table: the enum, its labels in both directions, the reasons that are
/// failures, and [`Reason::TABLE`].
macro_rules! reasons {
    ($($(#[doc = $description:literal])+ $variant:ident = $label:literal, $end:ident;)+) => {
        /// Why a session ended or an attempt was refused. The labels are stable: records, metrics
        /// and the API contain them.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $description])+ $variant,)+
            /// A reason of a host ([`Reason::host`]) or of a later version, by its label.
            Other(OtherReason),
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
                    Self::Other(other) => other.as_str(),
                }
            }

            /// The reason with this label. An unknown label gives [`Other`](Self::Other), whatever
            /// it contains, so that a reader keeps it.
            #[must_use]
            pub fn from_label(label: &str) -> Self {
                match label {
                    $($label => Self::$variant,)+
                    other => Self::Other(OtherReason(Arc::new(other.into()))),
                }
            }

            /// Whether it is a failure, so that a session that ends for it has the outcome
            /// `failed`. A reason that is not in the table is not a failure.
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
    /// An authenticator, or the service that it asks, did not answer in time
    /// (`limits.admission_timeout`).
    AuthUnavailable = "auth_unavailable", failed;
    /// The client's address is not allowed (`auth.deny_ips`, `auth.allow_ips`).
    AddressDenied = "address_denied", ordinary;
    /// The role of the API token does not allow the request.
    RoleNotAllowed = "role_not_allowed", ordinary;
    /// The grant that let it in has expired, or the token of the attempt had expired.
    TokenExpired = "token_expired", ordinary;
    /// The server takes no new sessions, because it is going to stop.
    ServerDraining = "server_draining", ordinary;
}

impl Reason {
    /// The maximum length of a host's label in bytes.
    pub const MAX_LABEL_BYTES: usize = 64;

    /// A reason of a host, by a label of its own: 1 to 64 bytes of `a-z`, `0-9` and `_`, the first
    /// a letter. Create a few reasons once, at the start, because metrics count by label. Text that
    /// differs from case to case belongs in the detail of a reason.
    ///
    /// # Errors
    /// [`ReasonError`]: the label breaks the rule, or the table has it.
    pub fn host(label: &str) -> Result<Self, ReasonError> {
        if !is_valid_label(label) {
            let end = label.floor_char_boundary(Self::MAX_LABEL_BYTES);
            let label = label.get(..end).unwrap_or_default().to_owned();
            return Err(ReasonError::BadLabel { label });
        }
        match Self::labels().find(|known| *known == label) {
            Some(label) => Err(ReasonError::Taken { label }),
            None => Ok(Self::from_label(label)),
        }
    }

    /// Every label that this version knows.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        Self::TABLE.iter().map(|row| row.label)
    }
}

fn is_valid_label(label: &str) -> bool {
    label.len() <= Reason::MAX_LABEL_BYTES
        && label.starts_with(|first: char| first.is_ascii_lowercase())
        && label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
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
            assert!(is_valid_label(row.label), "{}", row.label);
            let taken = Reason::host(row.label);
            assert_eq!(taken, Err(ReasonError::Taken { label: row.label }));
        }
        assert_eq!(Reason::from_label("moon_phase").label(), "moon_phase");
    }

    #[test]
    fn a_label_of_a_host_is_short_and_plain() {
        let longest = "x".repeat(Reason::MAX_LABEL_BYTES);
        for label in ["a", "moon_phase", "quota_2", &longest] {
            let reason = Reason::host(label).unwrap();
            assert_eq!(reason, Reason::from_label(label));
            assert!(matches!(reason, Reason::Other(other) if other.is_valid()));
        }
        let too_long = "å".repeat(Reason::MAX_LABEL_BYTES);
        for label in ["", "_a", "2a", "A", "a b", "a\n", "å", "a=b", &too_long] {
            let Err(ReasonError::BadLabel { label: shown }) = Reason::host(label) else {
                panic!("{label:?}");
            };
            assert!(shown.len() <= Reason::MAX_LABEL_BYTES && label.starts_with(&shown));
            assert!(matches!(Reason::from_label(label), Reason::Other(other) if !other.is_valid()));
        }
    }

    #[test]
    fn a_reason_is_two_words() {
        assert_eq!(size_of::<Option<Reason>>(), 2 * size_of::<usize>());
    }
}
