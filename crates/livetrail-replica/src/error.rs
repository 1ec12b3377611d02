//! Errors of a sink, and what follows from each.

use std::io;
use std::time::Duration;

use livetrail_tlog::Hash;
use thiserror::Error;

use crate::range::RangeError;

/// Any error, used as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may pass by itself. The replicator tries again, with growing pauses.
    Passing,
    /// A person must fix it. The replicator logs it at once. It tries again only at long intervals,
    /// after a restart, or after a new configuration.
    Permanent,
    /// The sink holds another history than the ledger. The replicator raises an alarm, and the sink
    /// stops until the process restarts.
    Fork,
}

/// A replicator's thread or its runtime could not be started.
#[derive(Debug, Error)]
#[error("cannot start the thread {name}")]
#[non_exhaustive]
pub struct StartError {
    /// The thread's name.
    pub name: &'static str,
    /// The cause.
    pub source: io::Error,
}

/// Why a sink could not do what was requested. No message contains a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The destination cannot be reached, drops the connection, is overloaded or restarts. Passing.
    #[error("{what}")]
    Unavailable {
        /// What was tried, and what happened.
        what: String,
        /// The cause.
        source: Option<BoxError>,
    },
    /// No answer came within the deadline. Passing. The replicator does not know whether the
    /// operation was done.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The deadline of one attempt.
        after: Duration,
    },
    /// The cursor is not where the range begins: the range is repeated, or another process writes
    /// here too. Passing: the replicator reads the cursor again.
    #[error(
        "the sink's cursor is at {found}, not at {expected}: was this range sent before, or does another process write here?"
    )]
    CursorMoved {
        /// The index where the range begins.
        expected: u64,
        /// The index where the cursor is.
        found: u64,
    },
    /// The destination refuses our login or this operation. Permanent.
    #[error("{what}")]
    Denied {
        /// What was refused, and what to grant.
        what: String,
        /// The cause.
        source: Option<BoxError>,
    },
    /// The destination is not set up, or not set up as needed: a table, a topic's settings, a
    /// bucket's lock. Permanent.
    #[error("{what}")]
    Unsuitable {
        /// What is wrong with it, and how to set it up.
        what: String,
        /// The cause.
        source: Option<BoxError>,
    },
    /// The other side could not prove its identity. Permanent.
    #[error("{what}")]
    Certificate {
        /// Whose certificate, and what is wrong with it.
        what: String,
        /// The cause.
        source: Option<BoxError>,
    },
    /// The destination will never accept these entries because of their content. Permanent.
    #[error("{what}")]
    Rejected {
        /// Which entries, and why.
        what: String,
        /// The cause.
        source: Option<BoxError>,
    },
    /// Entries are missing in between, and the sink accepts no gap. Permanent.
    #[error(
        "entries {from} to {to} (exclusive) were pruned before this sink had them, and it accepts no gap: empty the sink, or restore the entries"
    )]
    GapRefused {
        /// The first missing index.
        from: u64,
        /// The first index after the gap that is there.
        to: u64,
    },
    /// Erasures can no longer be read, and the sink may hold openings that they name. Permanent.
    #[error(
        "erasures in entries {from} to {to} (exclusive) were pruned before this sink had applied them: remove all openings of this log from it, with their cursor"
    )]
    ErasuresMissing {
        /// The first index that the sink has not applied.
        from: u64,
        /// The first index after it that is there.
        to: u64,
    },
    /// The sink holds another entry at this index than the ledger. Fork.
    #[error("entry {index} differs: the ledger has the leaf hash {ours}, the sink {theirs}")]
    Fork {
        /// The first index at which they differ, as far as the sink knows it.
        index: u64,
        /// The ledger's leaf hash.
        ours: Hash,
        /// The sink's leaf hash.
        theirs: Hash,
    },
    /// The sink holds a checkpoint of another tree than the ledger. Fork.
    #[error(
        "the first {size} entries differ: the ledger's root is {ours}, the checkpoint in the sink says {theirs}"
    )]
    ForkedTree {
        /// The checkpoint's size.
        size: u64,
        /// The ledger's root at that size.
        ours: Hash,
        /// The checkpoint's root.
        theirs: Hash,
    },
    /// The sink holds more entries than the ledger ever published. Either the ledger is an older
    /// copy of itself, or another writer was here. Fork.
    #[error(
        "the sink holds {theirs} entries and the ledger has published {ours}: an older copy of the ledger was restored, or another process writes under the same origin"
    )]
    Ahead {
        /// How many entries the ledger has published.
        ours: u64,
        /// How many entries the sink holds.
        theirs: u64,
    },
    /// The sink holds something next to its entries that cannot be read, such as a damaged
    /// checkpoint. Fork: somebody changed it.
    #[error("the sink's content is damaged: {what}")]
    Damaged {
        /// What is damaged, and where.
        what: String,
        /// The cause.
        source: Option<BoxError>,
    },
    /// The openings could not be read. Passing.
    #[error("cannot read the openings of the trail")]
    Openings(#[source] BoxError),
    /// The ledger could not be read. Passing.
    #[error("cannot read the ledger")]
    Ledger(#[source] livetrail_ledger::LedgerError),
    /// The ledger returned entries that its checkpoint does not cover. Permanent: nothing of them
    /// is sent.
    #[error("the ledger's files do not match its checkpoint")]
    Range(#[from] RangeError),
    /// The sink panicked, which is a bug in it. Permanent.
    #[error("the sink panicked: {what}")]
    Panicked {
        /// The panic's message.
        what: String,
    },
}

impl ReplicaError {
    /// The class: what follows from this error.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. }
            | Self::TimedOut { .. }
            | Self::CursorMoved { .. }
            | Self::Openings(_)
            | Self::Ledger(_) => ErrorClass::Passing,
            Self::Denied { .. }
            | Self::Unsuitable { .. }
            | Self::Certificate { .. }
            | Self::Rejected { .. }
            | Self::GapRefused { .. }
            | Self::ErasuresMissing { .. }
            | Self::Range(_)
            | Self::Panicked { .. } => ErrorClass::Permanent,
            Self::Fork { .. }
            | Self::ForkedTree { .. }
            | Self::Ahead { .. }
            | Self::Damaged { .. } => ErrorClass::Fork,
        }
    }

    /// The destination cannot be reached: [`Unavailable`](Self::Unavailable).
    pub fn unavailable(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// The destination refuses us: [`Denied`](Self::Denied).
    pub fn denied(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Denied {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// The destination is not set up as needed: [`Unsuitable`](Self::Unsuitable).
    pub fn unsuitable(what: impl Into<String>) -> Self {
        Self::Unsuitable {
            what: what.into(),
            source: None,
        }
    }
}
