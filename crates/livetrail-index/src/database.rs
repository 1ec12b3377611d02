//! The file: a SQLite database with three tables.
//!
//! ```sql
//! about   (origin, records, root, state)   one row, see below
//! posting (place, pairs)                   place = 256 · segment + part
//! span    (segment, times)
//! ```
//!
//! `about` names the log and has the number of its indexed records, the root of the tree of that
//! size, and the open sessions.
//!
//! See `segment.rs` for the bytes of `pairs` and `times`. One transaction adds all rows of a
//! segment and the new row of `about`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use livetrail_ledger::LedgerError;
use livetrail_tlog::Hash;
use rusqlite::{
    Connection, OptionalExtension as _, Transaction, TransactionBehavior, config::DbConfig,
};

use crate::{error::IndexError, sys};

/// The version of the tables and rows.
const FORMAT: i64 = 2;

/// Files of older formats, which had hashes of principals. They are removed: an emptied file could
/// keep old pages in its write-ahead log.
const OLD_FILES: [&str; 4] = [
    "records.sqlite",
    "records.sqlite-journal",
    "records.sqlite-shm",
    "records.sqlite-wal",
];

/// Marks the file as ours: "LTix".
const APPLICATION: i64 = 0x4c54_6978;

/// How long a writer waits for another one; each writes for a few milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE about (origin TEXT NOT NULL, records INTEGER NOT NULL, root BLOB NOT NULL, state BLOB NOT NULL) STRICT;
    CREATE TABLE posting (place INTEGER PRIMARY KEY, pairs BLOB NOT NULL) STRICT;
    CREATE TABLE span (segment INTEGER PRIMARY KEY, times BLOB NOT NULL) STRICT;
";

/// The extent of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// The log's origin.
    pub(crate) origin: String,
    /// The number of indexed records.
    pub(crate) records: u64,
    /// The root of the log's tree of that size.
    pub(crate) root: Hash,
}

/// A segment's rows.
pub(crate) struct Rows {
    pub(crate) segment: u64,
    pub(crate) postings: Vec<(u64, Vec<u8>)>,
    pub(crate) times: Vec<u8>,
}

/// The open file.
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens the file, or creates it: readable for its owner only. Removes files of older formats.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        remove_old_files(path)?;
        create_file(path)?;
        let opened = Connection::open(path);
        let connection = opened.map_err(|source| failed(path, source))?;
        let mut database = Self {
            connection,
            path: path.to_owned(),
        };
        match database.is_ours() {
            Ok(true) => return Ok(database),
            Ok(false) => {}
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
        database.recreate()?;
        Ok(database)
    }

    fn is_ours(&self) -> Result<bool, IndexError> {
        self.configure()?;
        Ok(self.mark("application_id")? == APPLICATION && self.mark("user_version")? == FORMAT)
    }

    fn configure(&self) -> Result<(), IndexError> {
        self.run(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // Reader and writer do not wait for each other. A crash may undo the last transactions,
            // but never part of one.
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "trusted_schema", false)
        })
    }

    fn mark(&self, name: &str) -> Result<i64, IndexError> {
        self.run(|connection| connection.pragma_query_value(None, name, |row| row.get(0)))
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.connection.is_readonly("main").unwrap_or(true)
    }

    /// Empties the file, whatever it contains. The file itself is never removed, so other processes
    /// that have it open see the new contents.
    pub(crate) fn recreate(&mut self) -> Result<(), IndexError> {
        if self.is_read_only() {
            return Err(IndexError::ReadOnly { behind: u64::MAX });
        }
        self.run(|connection| {
            let reset = DbConfig::SQLITE_DBCONFIG_RESET_DATABASE;
            connection.set_db_config(reset, true)?;
            let emptied = connection.execute_batch("VACUUM");
            connection.set_db_config(reset, false)?;
            emptied
        })?;
        self.configure()?;
        self.transaction(|transaction| {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)
        })
    }

    /// The extent of the index, or `None` when it is empty.
    pub(crate) fn about(&self) -> Result<Option<About>, IndexError> {
        self.run(about)?.transpose()
    }

    /// The checker's state after the last indexed record.
    pub(crate) fn state(&self) -> Result<Option<Vec<u8>>, IndexError> {
        self.run(|connection| {
            connection
                .query_row("SELECT state FROM about", [], |row| row.get(0))
                .optional()
        })
    }

    /// Adds a segment, if the file still ends where the segment begins. Returns `false` when
    /// another process was faster.
    pub(crate) fn add(
        &mut self,
        before: u64,
        rows: &Rows,
        about_it: &About,
        state: &[u8],
    ) -> Result<bool, IndexError> {
        self.transaction(|transaction| {
            let indexed: Option<i64> = transaction
                .query_row("SELECT records FROM about", [], |row| row.get(0))
                .optional()?;
            if indexed.unwrap_or(0) != number(before) {
                return Ok(false);
            }
            let mut insert = transaction.prepare("INSERT INTO posting VALUES (?, ?)")?;
            for (place, pairs) in &rows.postings {
                insert.execute((number(*place), pairs))?;
            }
            transaction.execute(
                "INSERT INTO span VALUES (?, ?)",
                (number(rows.segment), &rows.times),
            )?;
            transaction.execute("DELETE FROM about", [])?;
            transaction.execute(
                "INSERT INTO about VALUES (?, ?, ?, ?)",
                (
                    &about_it.origin,
                    number(about_it.records),
                    about_it.root.as_bytes(),
                    state,
                ),
            )?;
            Ok(true)
        })
    }

    /// Runs `look`, whose reads all see the same state of the file.
    pub(crate) fn with_snapshot<T>(
        &mut self,
        look: impl FnOnce(&Snapshot<'_>) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let path = self.path.clone();
        let began = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred);
        let transaction = began.map_err(|source| failed(&path, source))?;
        look(&Snapshot {
            transaction,
            path: &path,
        })
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let begin = TransactionBehavior::Immediate;
        let done = self
            .connection
            .transaction_with_behavior(begin)
            .and_then(|transaction| {
                let done = write(&transaction)?;
                transaction.commit()?;
                Ok(done)
            });
        done.map_err(|source| failed(&self.path, source))
    }

    fn run<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        ask(&self.connection).map_err(|source| failed(&self.path, source))
    }
}

/// The file at one moment.
pub(crate) struct Snapshot<'a> {
    transaction: Transaction<'a>,
    path: &'a Path,
}

impl Snapshot<'_> {
    pub(crate) fn about(&self) -> Result<Option<About>, IndexError> {
        let about = about(&self.transaction).map_err(|source| failed(self.path, source))?;
        about.transpose()
    }

    /// A function that returns the postings of a row.
    pub(crate) fn postings(
        &self,
    ) -> Result<impl FnMut(u64) -> Result<Vec<u8>, IndexError> + '_, IndexError> {
        self.rows("SELECT pairs FROM posting WHERE place = ?")
    }

    /// A function that returns the times of a segment.
    pub(crate) fn times(
        &self,
    ) -> Result<impl FnMut(u64) -> Result<Vec<u8>, IndexError> + '_, IndexError> {
        self.rows("SELECT times FROM span WHERE segment = ?")
    }

    fn rows(
        &self,
        sql: &str,
    ) -> Result<impl FnMut(u64) -> Result<Vec<u8>, IndexError> + '_, IndexError> {
        let prepared = self.transaction.prepare(sql);
        let mut statement = prepared.map_err(|source| failed(self.path, source))?;
        Ok(move |at| {
            let row = statement
                .query_row([number(at)], |row| row.get(0))
                .optional();
            row.map_err(|source| failed(self.path, source))?
                .ok_or(IndexError::Damaged {
                    what: "a row is missing",
                })
        })
    }
}

fn about(connection: &Connection) -> rusqlite::Result<Option<Result<About, IndexError>>> {
    let row = connection
        .query_row("SELECT origin, records, root FROM about", [], |row| {
            let root: [u8; 32] = row.get(2)?;
            Ok((row.get(0)?, row.get::<_, i64>(1)?, root))
        })
        .optional()?;
    Ok(row.map(|(origin, records, root)| {
        let damaged = |_| IndexError::Damaged {
            what: "a number of records is negative",
        };
        Ok(About {
            origin,
            records: u64::try_from(records).map_err(damaged)?,
            root: Hash::new(root),
        })
    }))
}

/// SQLite's integers are signed; no log reaches that length.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn failed(path: &Path, source: rusqlite::Error) -> IndexError {
    IndexError::Database {
        path: path.to_owned(),
        source,
    }
}

fn file_failed(op: &'static str, path: &Path, source: io::Error) -> IndexError {
    IndexError::File {
        op,
        path: path.to_owned(),
        source,
    }
}

fn remove_old_files(path: &Path) -> Result<(), IndexError> {
    for old in OLD_FILES.map(|name| path.with_file_name(name)) {
        use io::ErrorKind::{NotADirectory, NotFound};
        match fs::remove_file(&old) {
            Err(error) if !matches!(error.kind(), NotFound | NotADirectory) => {
                return Err(file_failed("remove", &old, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn create_file(path: &Path) -> Result<(), IndexError> {
    if path.exists() {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        sys::create_dirs(dir).map_err(|error| file_failed("create", dir, error))?;
    }
    sys::create_file(path).map_err(|error| file_failed("create", path, error))
}

impl From<livetrail_tlog::Error> for IndexError {
    fn from(error: livetrail_tlog::Error) -> Self {
        Self::Ledger(LedgerError::Log(error))
    }
}
