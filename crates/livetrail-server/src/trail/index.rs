//! The query index next to the trail: asked at a start for what a crash left open, and kept up
//! while the server runs.
//!
//! It is derived. Anything wrong with it is reported in the log, and never harms the trail.

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

use crate::chain::chain;

/// How long the index waits for its next segment before it looks around.
const PATIENCE: Duration = Duration::from_secs(600);

/// After trouble with the index: how long until it is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// The index of the trail in this directory.
pub(crate) fn index_directory(trail: &Path) -> PathBuf {
    trail.join("private").join("index")
}

/// The sessions that the trail leaves open. The index is caught up on the way; without it the trail is replayed.
///
/// # Errors
/// The trail cannot be read, or an entry is no record.
pub(crate) fn open_sessions(
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
        // The trail itself is at fault, with or without an index.
        Some(Err(IndexError::Ledger(error))) => return Err(error.into()),
        Some(Err(IndexError::Entry { index, source })) => {
            return Err(AuditError::Entry { index, source });
        }
        Some(Err(error)) => tell(&error),
        None => {}
    }
    open_sessions_of_ledger(reader)
}

/// Keeps the index up, on a thread of its own, for as long as the ledger is open. It wakes when there is a whole segment to index.
///
/// # Errors
/// No thread could be started.
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
                        tell(&error);
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

fn tell(error: &IndexError) {
    let error = chain(error);
    tracing::warn!("the query index does not work, the trail does without it: {error}");
}
