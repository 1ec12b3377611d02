//! The findings of the checker.

use std::fmt;

use thiserror::Error;
use uuid::Uuid;

use crate::reason::Reason;

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// The index, from 0, of the record that shows it. At the trail's end it is the number of
    /// records.
    pub index: u64,
    /// The boot concerned.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::serialize::optional_text")
    )]
    pub boot: Option<Uuid>,
    /// The session concerned.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::serialize::optional_text")
    )]
    pub session: Option<Uuid>,
    /// The rule.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
    pub rule: Rule,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.index, self.rule)?;
        if let Some(session) = self.session {
            write!(f, " (session {session})")?;
        }
        if let Some(boot) = self.boot {
            write!(f, " (boot {boot})")?;
        }
        Ok(())
    }
}

/// The rules of the audit contract. Each is worded as its violation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rule {
    /// A record that is part of a session does not name it.
    #[error("the record names no session")]
    NoSession,
    /// A session has a second first record.
    #[error("the session is started a second time")]
    StartedTwice,
    /// A session that has ended is started or denied again.
    #[error("the session is over and is opened again")]
    OpenedAgain,
    /// A denial, which is a session's only record, comes in a session that was started.
    #[error("the session is denied after it was started")]
    DeniedWhileOpen,
    /// A record comes after the last one of its session.
    #[error("a record after the session's last one")]
    AfterLast,
    /// A record comes before its session's first one, and no reported loss explains the missing
    /// record.
    #[error("the session's first record is missing and no reported loss explains it")]
    BeforeFirst,
    /// A publisher's session has a viewer's record, or a viewer's session has a publisher's.
    #[error("publish and play records in one session")]
    WrongKind,
    /// A session's record names another application or stream than the record that opened it.
    #[error("the record is of {found}, and the session was opened on {opened}")]
    WrongStream {
        /// Application and stream of the session's first record.
        opened: String,
        /// Application and stream of this record.
        found: String,
    },
    /// A record says that a session was opened and refused, or that it was refused and succeeded.
    #[error("the record's outcome contradicts its action")]
    WrongOutcome,
    /// More records are missing at a crash than any queue holds.
    #[error("{missing} records are missing at the crash, and no queue holds more than {most}")]
    TooManyUnsettled {
        /// How many numbers are missing.
        missing: u64,
        /// The maximum number of records that a queue holds.
        most: u64,
    },
    /// A session continues in another boot than the one that opened it.
    #[error("the session belongs to another boot")]
    WrongBoot,
    /// The counts and times of an aggregated record contradict each other, or a record has them
    /// although it is not aggregated.
    #[error("what the record says of refused attempts contradicts itself")]
    RefusalMalformed,
    /// An eviction or a reaping is followed by an end with another reason.
    #[error("the session must end with reason {expected}")]
    WrongEnd {
        /// The reason that its last record must give.
        expected: Reason,
    },
    /// `server_crash` is the reason in the boot that opened the session, or the record lacks
    /// `inferred`.
    #[error("server_crash is inferred, and by a later boot")]
    CrashClosure,
    /// A boot continued without closing a session that the boot before it left open.
    #[error("the crash before this boot left the session open and the boot did not close it first")]
    CrashLeftOpen,
    /// A session was open when its boot stopped, and no reported loss explains the missing last
    /// record.
    #[error(
        "the session's last record is missing at the end of its boot and no reported loss explains it"
    )]
    OpenAtStop,
    /// The first record of a boot is not `server_started`.
    #[error("the boot does not begin with server_started")]
    BootNotBegun,
    /// A boot has a second `server_started` record.
    #[error("the boot begins a second time")]
    BootBegunTwice,
    /// A record comes after its boot's `server_stopped`, or after the next boot of its node began.
    #[error("a record after its boot's end")]
    AfterBootEnd,
    /// A record with a boot has no `seq`.
    #[error("the record has no seq")]
    NoSeq,
    /// Two records have the same `seq`, or a record has one that was reported as dropped.
    #[error("seq {seq} is there already or was reported as dropped")]
    SeqTwice {
        /// The number.
        seq: u64,
    },
    /// Numbers of a boot are missing and not reported as dropped.
    #[error("seq {first} to {last} are neither there nor reported as dropped")]
    SeqMissing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A `records_dropped` record lacks `count`, `first_seq`, `last_seq` or a readable `detail`, or
    /// these contradict each other.
    #[error(
        "a loss is reported without its count, range or actions, or they contradict each other"
    )]
    LossMalformed,
    /// Two reports of loss overlap, or they are out of order.
    #[error("the reported loss overlaps one reported before")]
    LossOverlap,
    /// A report's `count` differs from the number of records missing in its range.
    #[error("{said} records are reported as dropped where {missing} are missing")]
    LossCount {
        /// The number in the report.
        said: u64,
        /// The number of missing records.
        missing: u64,
    },
}
