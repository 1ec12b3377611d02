//! The errors of an index.

use std::path::PathBuf;

use livetrail_ledger::LedgerError;
use livetrail_record::RecordError;

/// Why the index, or the trail behind it, could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The trail could not be read.
    #[error("cannot read the trail")]
    Ledger(#[from] LedgerError),
    /// An entry of the trail is not a record.
    #[error("entry {index} is not a record: run livetrail-verify for details")]
    Entry {
        /// The entry's index.
        index: u64,
        /// The violation.
        source: RecordError,
    },
    /// A matching entry is not the one in the signed tree.
    #[error(
        "entry {index} is not the one that the checkpoint covers: verify the trail with livetrail-verify"
    )]
    EntryChanged {
        /// The entry's index.
        index: u64,
    },
    /// The index's file or directory cannot be created.
    #[error("cannot {op} {}", path.display())]
    File {
        /// The operation.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The database failed.
    #[error(
        "cannot use the query index {}: it is derived, so you may delete it at any time",
        path.display()
    )]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A query named too many sessions at once.
    #[error(
        "more than {} sessions in one query: ask for them in pages",
        crate::sessions::MAX_SESSIONS
    )]
    TooManySessions,
    /// The index contradicts itself.
    #[error("the query index is damaged ({what}): it is derived and will be recreated")]
    Damaged {
        /// The damage found.
        what: &'static str,
    },
    /// The index is read-only.
    #[error("the query index is read-only here and {behind} records behind")]
    ReadOnly {
        /// The number of records that it lacks.
        behind: u64,
    },
}

impl IndexError {
    /// Whether recreating the index helps.
    pub(crate) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Damaged { .. } => true,
            Self::Database { source, .. } => match source {
                rusqlite::Error::SqliteFailure(error, _) => matches!(
                    error.code,
                    Code::DatabaseCorrupt
                        | Code::NotADatabase
                        | Code::SchemaChanged
                        | Code::Unknown
                ),
                // A missing table or column, or one of another type, means that something else made
                // the file.
                rusqlite::Error::SqlInputError { .. }
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::InvalidColumnIndex(_)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::QueryReturnedNoRows => true,
                _ => false,
            },
            _ => false,
        }
    }
}
