//! What can go wrong with an index.

use std::path::PathBuf;

use livetrail_ledger::LedgerError;
use livetrail_record::RecordError;

/// Why the index, or the trail behind it, did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The trail could not be read.
    #[error("cannot read the trail")]
    Ledger(#[from] LedgerError),
    /// An entry of the trail is no record.
    #[error("entry {index} is no record: livetrail-verify says more")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        source: RecordError,
    },
    /// An entry that fits the question is not the one in the signed tree.
    #[error(
        "entry {index} is not the one that the checkpoint covers: verify the trail with livetrail-verify"
    )]
    EntryChanged {
        /// Its index.
        index: u64,
    },
    /// The place for the index cannot be made or removed.
    #[error("cannot {op} {}", path.display())]
    Place {
        /// What was tried.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The database does not answer.
    #[error("the query index {} cannot be used: it is derived, and may be removed at any time", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The index contradicts itself.
    #[error("the query index is damaged ({what}): it is derived, and is made anew")]
    Damaged {
        /// How that was seen.
        what: &'static str,
    },
    /// It may be read and not written.
    #[error("the query index may only be read here, and is {behind} records behind")]
    ReadOnly {
        /// How many records it does not know of.
        behind: u64,
    },
}

impl IndexError {
    /// Whether making the index anew helps.
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
                // A table or column that is not there, or has another type, is a file that somebody else made.
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
