//! What can go wrong with a trail.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use livetrail_record::RecordError;
use thiserror::Error;

/// Why a pipeline, a sink or a trail could not be opened, read or synced.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The torn last line that a crash left could not be cut off.
    #[error("cannot cut off the torn last line of {}", path.display())]
    Repair {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of a trail is no record.
    #[error("line {line} is no record")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// Why.
        source: RecordError,
    },
    /// A line of a trail is longer than any record's.
    #[error("line {line} is longer than {limit} bytes")]
    LineTooLong {
        /// Its number, from 1.
        line: u64,
        /// The longest that is read.
        limit: usize,
    },
    /// A ledger could not be read.
    #[cfg(feature = "ledger")]
    #[error("cannot read the ledger")]
    Ledger(#[source] livetrail_ledger::LedgerError),
    /// A ledger stopped, or did not close in time.
    #[cfg(feature = "ledger")]
    #[error("the ledger stopped")]
    Stopped(#[source] Arc<livetrail_ledger::Fatal>),
    /// An entry of a ledger is no record.
    #[error("entry {index} is no record")]
    Entry {
        /// Its place, from 0.
        index: u64,
        /// Why.
        source: RecordError,
    },
    /// The queue would be too long.
    #[error("a queue for {records} records is too long: at most {limit}")]
    Capacity {
        /// How many records it was to hold.
        records: usize,
        /// The most it can.
        limit: usize,
    },
    /// A thread could not be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes: {reason}")]
    Randomness {
        /// What it said.
        reason: String,
    },
    /// The sink could not make durable what it was given.
    #[error("the sink did not sync")]
    Sync(#[source] SinkError),
    /// The pipeline is closed.
    #[error("the pipeline is closed")]
    Closed,
    /// Too many wait for the sink already.
    #[error("{waiting} wait for the sink already")]
    Busy {
        /// How many.
        waiting: usize,
    },
}

/// Why a record of a host's was not taken: see [`AuditPipeline::record`](crate::AuditPipeline::record).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The queue has no slot. The record counts as dropped, and the trail reports it.
    #[error("the audit queue is full")]
    Full,
    /// The pipeline is closed. The record counts as dropped.
    #[error("the pipeline is closed")]
    Closed,
    /// The action begins, ends or refuses a session, and the record names none.
    #[error("a record of {action} names its session")]
    NoSession {
        /// The action.
        action: String,
    },
    /// The pipeline alone makes such records.
    #[error("{action} is recorded by the pipeline alone")]
    ReservedAction {
        /// The action.
        action: String,
    },
    /// The boot after a crash alone gives this reason.
    #[error("reason {reason} is given by the boot after a crash alone")]
    ReservedReason {
        /// The reason.
        reason: String,
    },
    /// The record cannot be written down: a number is 2^53 or more.
    #[error("the record has no canonical form")]
    NotCanonical(#[source] RecordError),
}

/// Why a sink could not make durable what it was given.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Writing failed; the sink keeps trying.
    #[error("writing failed")]
    Write(#[source] Arc<io::Error>),
    /// Syncing failed once, so nobody can know any more whether earlier writes are on the disk. The sink stays in this state.
    #[error("syncing failed, what was written before may be lost")]
    Sync(#[source] Arc<io::Error>),
    /// The sink is closed.
    #[error("the sink is closed")]
    Closed,
    /// The sink panicked.
    #[error("the sink panicked")]
    Panicked,
    /// The sink does not answer.
    #[error("the sink has not answered for {0:?}")]
    Hung(Duration),
    /// Anything else a sink wants to say.
    #[error("{0}")]
    Other(String),
}
