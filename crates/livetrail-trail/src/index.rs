//! The query index next to the trail. A start asks it which sessions a crash left open. While the
//! server runs, it is kept up to date.
//!
//! The index is derived from the trail. Any error of it is logged, and never harms the trail.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use livetrail_audit::{AuditError, OpenSession, open_sessions_of_ledger};
use livetrail_index::{Index, IndexError, SEGMENT_RECORDS};
use livetrail_ledger::{Handle, Reader, WaitError};

use crate::chain;

/// The index waits this long for its next segment before it checks again.
const PATIENCE: Duration = Duration::from_secs(600);

/// After an error the index is tried again after this time.
const RETRY: Duration = Duration::from_secs(60);

/// The index of the trail in this directory.
#[must_use]
pub fn index_directory(trail: &Path) -> PathBuf {
    trail.join("private").join("index")
}

/// The sessions that the trail leaves open. This first updates the index. Without an index the
/// trail is replayed.
///
/// # Errors
/// The trail cannot be read, or an entry is not a record.
pub fn open_sessions(
    directory: Option<&Path>,
    reader: &Reader,
) -> Result<Vec<OpenSession>, AuditError> {
    let asked = directory.map(|directory| -> Result<_, IndexError> {
        let mut index = Index::open(&index_directory(directory), reader)?;
        index.catch_up(reader, &mut |progress| {
            let (indexed, published) = (progress.indexed, progress.published);
            tracing::info!(indexed, published, "the query index catches up");
            true
        })?;
        index.open_sessions(reader)
    });
    match asked {
        Some(Ok(open)) => return Ok(open),
        // The trail itself has the error, with or without an index.
        Some(Err(IndexError::Ledger(error))) => return Err(error.into()),
        Some(Err(IndexError::Entry { index, source })) => {
            return Err(AuditError::Entry { index, source });
        }
        Some(Err(error)) => log_error(&error),
        None => {}
    }
    open_sessions_of_ledger(reader)
}

/// Keeps the index up to date, on its own thread, for as long as the ledger is open. The thread
/// wakes when there is a whole segment to index.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn keep_up(
    directory: &Path,
    reader: Arc<Reader>,
    handle: Handle,
) -> io::Result<JoinHandle<()>> {
    let directory = index_directory(directory);
    Builder::new()
        .name("trail-index".to_owned())
        .spawn(move || {
            let mut index = None;
            loop {
                let (wanted, patience) = match step(&directory, &reader, &handle, &mut index) {
                    Ok(indexed) => (indexed.saturating_add(SEGMENT_RECORDS), PATIENCE),
                    Err(error) => {
                        log_error(&error);
                        index = None;
                        (u64::MAX, RETRY)
                    }
                };
                match handle.wait_sealed(wanted, patience) {
                    Ok(()) | Err(WaitError::TimedOut) => {}
                    Err(_) => return,
                }
            }
        })
}

fn step(
    directory: &Path,
    reader: &Reader,
    handle: &Handle,
    index: &mut Option<Index>,
) -> Result<u64, IndexError> {
    let index = match index {
        Some(index) => index,
        None => index.insert(Index::open(directory, reader)?),
    };
    let is_open = || {
        let wait = handle.wait_sealed(u64::MAX, Duration::ZERO);
        matches!(wait, Ok(()) | Err(WaitError::TimedOut))
    };
    Ok(index.catch_up(reader, &mut |_| is_open())?.indexed)
}

fn log_error(error: &IndexError) {
    let error = chain(error);
    tracing::warn!("the query index does not work; the trail continues without it: {error}");
}
