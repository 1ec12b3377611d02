//! The errors of a trail.

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
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The torn last line of a crash could not be removed.
    #[error("cannot cut off the torn last line of {}", path.display())]
    Repair {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line of a trail is not a record.
    #[error("line {line} is not a record")]
    Line {
        /// The number of the line, from 1.
        line: u64,
        /// The cause.
        source: RecordError,
    },
    /// A line of a trail is longer than any record's line.
    #[error("line {line} is longer than {limit} bytes")]
    LineTooLong {
        /// The number of the line, from 1.
        line: u64,
        /// The length of the longest line that is read.
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
    /// An entry of a ledger is not a record.
    #[error("entry {index} is not a record")]
    Entry {
        /// The index of the entry, from 0.
        index: u64,
        /// The cause.
        source: RecordError,
    },
    /// The queue would be too long.
    #[error("a queue for {records} records is too long: at most {limit}")]
    Capacity {
        /// The requested number of records.
        records: usize,
        /// The largest number of records.
        limit: usize,
    },
    /// A thread could not be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// The name of the thread.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes: {reason}")]
    Randomness {
        /// The system's message.
        reason: String,
    },
    /// The sink could not make the records durable.
    #[error("the sink did not sync")]
    Sync(#[source] SinkError),
    /// The pipeline is closed.
    #[error("the pipeline is closed")]
    Closed,
    /// Too many callers already wait for the sink.
    #[error("{waiting} wait for the sink already")]
    Busy {
        /// The number of waiting callers.
        waiting: usize,
    },
}

/// Why the pipeline refused a record of a host: see
/// [`AuditPipeline::record`](crate::AuditPipeline::record).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The queue has no slot. The record counts as dropped, and the trail reports it.
    #[error("the audit queue is full")]
    Full,
    /// The pipeline is closed. The record counts as dropped.
    #[error("the pipeline is closed")]
    Closed,
    /// The action begins, ends or refuses a session, and the record names no session.
    #[error("a record of {action} names its session")]
    NoSession {
        /// The action.
        action: String,
    },
    /// Only the pipeline itself makes records with this action.
    #[error("{action} is recorded by the pipeline alone")]
    ReservedAction {
        /// The action.
        action: String,
    },
    /// Only the boot after a crash uses this reason.
    #[error("reason {reason} is given by the boot after a crash alone")]
    ReservedReason {
        /// The reason.
        reason: String,
    },
    /// The record has no canonical form: a number is 2^53 or more.
    #[error("the record has no canonical form")]
    NotCanonical(#[source] RecordError),
}

/// Why a sink could not make records durable.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A write failed; the sink continues to try.
    #[error("writing failed")]
    Write(#[source] Arc<io::Error>),
    /// A sync failed once. Nobody can know any more whether earlier writes are on disk, so the sink
    /// stays in this state.
    #[error("syncing failed, what was written before may be lost")]
    Sync(#[source] Arc<io::Error>),
    /// The sink is closed.
    #[error("the sink is closed")]
    Closed,
    /// The sink panicked.
    #[error("the sink panicked")]
    Panicked,
    /// The sink has not answered for this long.
    #[error("the sink has not answered for {0:?}")]
    Hung(Duration),
    /// Another error of a sink.
    #[error("{0}")]
    Other(String),
}
