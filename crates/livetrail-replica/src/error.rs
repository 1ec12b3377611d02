//! What a sink can answer when it cannot do what it was asked, and what follows from it.

use std::io;
use std::time::Duration;

use livetrail_tlog::Hash;
use thiserror::Error;

use crate::range::RangeError;

/// Any error, as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may pass by itself: tried again, with growing pauses.
    Passing,
    /// A person must mend it: said at once, and looked at again only now and then, or after a restart or a new configuration.
    Permanent,
    /// The sink holds another history than the ledger: an alarm, and that sink stops until the process is started anew.
    Fork,
}

/// A replicator's thread or its runtime could not be started.
#[derive(Debug, Error)]
#[error("cannot start the thread {name}")]
pub struct StartError {
    /// The thread's name.
    pub name: &'static str,
    /// Why.
    pub source: io::Error,
}

/// Why a sink could not do what it was asked. No message holds a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The place cannot be reached, breaks off, is overloaded or restarts. Passing.
    #[error("{what}")]
    Unavailable {
        /// What was tried, and what came of it.
        what: String,
        /// Why.
        source: Option<BoxError>,
    },
    /// No answer within the deadline. Passing: it is not known whether it was done.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The deadline of one attempt.
        after: Duration,
    },
    /// The cursor stands elsewhere than the range begins: a repeated range, or another process writes here too. Passing: the
    /// cursor is asked again.
    #[error(
        "the sink's cursor is at {found}, not at {expected}: was this range sent before, or does another process write here?"
    )]
    CursorMoved {
        /// Where the range begins.
        expected: u64,
        /// Where the cursor is.
        found: u64,
    },
    /// The place does not let us in, or not do this. Permanent.
    #[error("{what}")]
    Denied {
        /// What was refused, and what to grant.
        what: String,
        /// Why.
        source: Option<BoxError>,
    },
    /// The place is not set up, or otherwise than needed: a table, a topic's settings, a bucket's lock. Permanent.
    #[error("{what}")]
    Unsuitable {
        /// What is wrong with it, and how to set it up.
        what: String,
        /// Why.
        source: Option<BoxError>,
    },
    /// The other side could not prove who it is. Permanent.
    #[error("{what}")]
    Certificate {
        /// Whose certificate, and what is wrong with it.
        what: String,
        /// Why.
        source: Option<BoxError>,
    },
    /// The place refuses these entries for what they are, now and for ever. Permanent.
    #[error("{what}")]
    Rejected {
        /// Which, and why.
        what: String,
        /// Why.
        source: Option<BoxError>,
    },
    /// Entries are missing in between and the sink does not take that. Permanent.
    #[error(
        "entries {from} to {to} (without that one) were pruned before this sink had them, and it takes no gap: empty it, or restore them"
    )]
    GapRefused {
        /// The first that is missing.
        from: u64,
        /// The first after it that is there.
        to: u64,
    },
    /// The sink holds another entry at this index than the ledger. Fork.
    #[error("entry {index} differs: the ledger has the leaf hash {ours}, the sink {theirs}")]
    Fork {
        /// The first index at which they differ, as far as that is known.
        index: u64,
        /// The ledger's.
        ours: Hash,
        /// The sink's.
        theirs: Hash,
    },
    /// The sink holds a checkpoint of another tree than the ledger. Fork.
    #[error(
        "the first {size} entries differ: the ledger's root is {ours}, the checkpoint in the sink says {theirs}"
    )]
    ForkedTree {
        /// The checkpoint's size.
        size: u64,
        /// The ledger's root of that size.
        ours: Hash,
        /// The checkpoint's.
        theirs: Hash,
    },
    /// The sink holds more than the ledger ever published: the ledger is an older copy of itself, or another writer was here. Fork.
    #[error(
        "the sink holds {theirs} entries and the ledger has published {ours}: an older copy of the ledger was restored, or another process writes under the same origin"
    )]
    Ahead {
        /// How many the ledger has published.
        ours: u64,
        /// How many the sink holds.
        theirs: u64,
    },
    /// What the sink holds beside its entries cannot be read: its checkpoint, say. Fork: somebody changed it.
    #[error("what the sink holds cannot be right: {what}")]
    Damaged {
        /// What, and where.
        what: String,
        /// Why.
        source: Option<BoxError>,
    },
    /// The ledger could not be read. Passing.
    #[error("cannot read the ledger")]
    Ledger(#[source] livetrail_ledger::LedgerError),
    /// What the ledger gave is not what its checkpoint covers. Permanent: nothing of it is sent.
    #[error("the ledger's files do not fit its checkpoint")]
    Range(#[from] RangeError),
    /// The sink panicked, which is a mistake in it. Permanent.
    #[error("the sink panicked: {what}")]
    Panicked {
        /// What it said.
        what: String,
    },
}

impl ReplicaError {
    /// What follows from it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. }
            | Self::TimedOut { .. }
            | Self::CursorMoved { .. }
            | Self::Ledger(_) => ErrorClass::Passing,
            Self::Denied { .. }
            | Self::Unsuitable { .. }
            | Self::Certificate { .. }
            | Self::Rejected { .. }
            | Self::GapRefused { .. }
            | Self::Range(_)
            | Self::Panicked { .. } => ErrorClass::Permanent,
            Self::Fork { .. }
            | Self::ForkedTree { .. }
            | Self::Ahead { .. }
            | Self::Damaged { .. } => ErrorClass::Fork,
        }
    }

    /// The place cannot be reached: [`Unavailable`](Self::Unavailable).
    pub fn unavailable(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// The place does not let us: [`Denied`](Self::Denied).
    pub fn denied(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Denied {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// The place is not as needed: [`Unsuitable`](Self::Unsuitable).
    pub fn unsuitable(what: impl Into<String>) -> Self {
        Self::Unsuitable {
            what: what.into(),
            source: None,
        }
    }
}
