//! The question at a start: what has a sink seen of this log, whatever else is wrong with the sink?

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use livetrail_ledger::{LedgerError, Reader};
use livetrail_tlog::TreeHead;

/// Collects the checkpoints that a sink holds of one log, and keeps the largest that the log's own
/// keys signed.
///
/// A sink [offers](Self::offer) each note as it finds it. An offered note counts even if the sink
/// fails or runs out of time later. A note without a signature by a key of the log counts for
/// nothing, so nobody without such a key can block a log. A key that was given up counts up to its
/// hand-over.
///
/// Cheap to clone; all clones share one collection.
#[derive(Clone)]
pub struct Sightings {
    reader: Arc<Reader>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    largest: Option<TreeHead>,
    /// Why the ledger could not be read while a note was judged.
    failed: Option<LedgerError>,
}

impl Kept {
    fn see(&mut self, head: TreeHead) {
        if self.largest.is_none_or(|known| known.size < head.size) {
            self.largest = Some(head);
        }
    }
}

impl Sightings {
    /// Makes an empty collection for the log behind this reader.
    #[must_use]
    pub fn new(reader: Arc<Reader>) -> Self {
        Self {
            reader,
            kept: Arc::default(),
        }
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.reader.origin()
    }

    /// Takes a note. Returns the tree that it commits to, if the log's own keys signed it. Any
    /// bytes may be offered.
    pub fn offer(&self, note: &[u8]) -> Option<TreeHead> {
        let found = self.reader.verify_checkpoint(note);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(checkpoint) => {
                let head = checkpoint.head();
                kept.see(head);
                Some(head)
            }
            Err(error) => {
                if !is_no_signature(&error) {
                    kept.failed.get_or_insert(error);
                }
                None
            }
        }
    }

    /// The tree of the largest checkpoint that was offered and is signed by the log.
    #[must_use]
    pub fn largest(&self) -> Option<TreeHead> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.largest
    }

    /// Adds the notes of another collection of the same log: for a sink that answers after the
    /// caller has given up.
    pub fn merge(&self, other: &Self) {
        if Arc::ptr_eq(&self.kept, &other.kept) {
            return;
        }
        let (largest, failed) = (other.largest(), other.failure());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = largest {
            kept.see(head);
        }
        if let Some(error) = failed {
            kept.failed.get_or_insert(error);
        }
    }

    /// Why a note could not be judged, if that happened: the answer is then incomplete.
    pub(super) fn failure(&self) -> Option<LedgerError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.failed.take()
    }
}

/// Whether the note is to blame, and not the ledger's store.
const fn is_no_signature(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::CheckpointForeign { .. } | LedgerError::CheckpointRetired { .. }
    )
}

impl fmt::Debug for Sightings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sightings")
            .field("origin", &self.origin())
            .field("largest", &self.largest())
            .finish_non_exhaustive()
    }
}
