//! Checks whether the content of a sink belongs to the ledger's own history. A start, a running
//! replicator and `trail sinks status` share this one check.

use std::sync::Arc;

use livetrail_ledger::{LedgerError, Reader};
use livetrail_tlog::{Hash, TILE_WIDTH, TreeHead, VerifiedCheckpoint};

use crate::error::ReplicaError;
use crate::sightings::Sightings;
use crate::sink::{ReplicaSink, SinkCursor};

const WIDTH: u64 = TILE_WIDTH as u64;

/// Something that a sink holds and the ledger contradicts, and whether it proves that the ledger
/// itself must stop.
#[derive(Debug)]
pub(super) struct Contradiction {
    pub(super) error: ReplicaError,
    /// A checkpoint with our own signature is the evidence: there is no other explanation.
    pub(super) proven: bool,
}

impl From<ReplicaError> for Contradiction {
    fn from(error: ReplicaError) -> Self {
        Self {
            error,
            proven: false,
        }
    }
}

/// Asks a sink everything that can be asked of it, for people: what it has seen, where its cursor
/// is, whether that fits the ledger, and whether it could take entries now. Writes nothing. The
/// answers are checked as a replicator checks them.
///
/// Cancel safe: nothing is written. Each answer takes as long as the sink needs, so set a deadline.
/// Needs the runtime that the sink needs.
///
/// # Errors
/// What is wrong with the sink; [`ReplicaError::class`] is
/// [`ErrorClass::Fork`](crate::ErrorClass::Fork) if it holds another history.
pub async fn examine(
    sink: &dyn ReplicaSink,
    reader: &Arc<Reader>,
) -> Result<SinkCursor, ReplicaError> {
    let seen = Sightings::new(Arc::clone(reader));
    let asked = sink.sightings(&seen).await;
    judge_sightings(reader, &seen).map_err(|contradiction| contradiction.error)?;
    asked?;
    let cursor = sink.cursor(reader.origin()).await?;
    // The checkpoint is read after the cursor: a server that runs next to this command seals more
    // entries, and its sinks follow.
    let checkpoint = reader.checkpoint().map_err(ReplicaError::Ledger)?;
    judge_cursor(reader, &checkpoint, &cursor).map_err(|contradiction| contradiction.error)?;
    sink.health().await?;
    Ok(cursor)
}

/// Compares the largest checkpoint that a sink has shown with the ledger. Each contradiction here
/// is proof.
pub(super) fn judge_sightings(reader: &Reader, seen: &Sightings) -> Result<(), Contradiction> {
    if let Some(error) = seen.failure() {
        return Err(ReplicaError::Ledger(error).into());
    }
    let Some(theirs) = seen.largest() else {
        return Ok(());
    };
    let checkpoint = reader.checkpoint().map_err(ReplicaError::Ledger)?;
    judge_tree(reader, checkpoint.head().size, theirs)
}

/// Compares what a sink reports about itself with the ledger.
pub(super) fn judge_cursor(
    reader: &Reader,
    checkpoint: &VerifiedCheckpoint,
    cursor: &SinkCursor,
) -> Result<(), Contradiction> {
    let ours = checkpoint.head().size;
    if let Some(note) = cursor.checkpoint() {
        match reader.verify_checkpoint(note) {
            Ok(theirs) => judge_tree(reader, ours, theirs.head())?,
            Err(
                error @ (LedgerError::CheckpointForeign { .. }
                | LedgerError::CheckpointRetired { .. }),
            ) => {
                return Err(ReplicaError::Damaged {
                    what: "its newest checkpoint belongs to another log".to_owned(),
                    source: Some(error.into()),
                }
                .into());
            }
            Err(error) => return Err(ReplicaError::Ledger(error).into()),
        }
    }
    if cursor.next() > ours {
        let theirs = cursor.next();
        return Err(ReplicaError::Ahead { ours, theirs }.into());
    }
    let last = cursor.next().checked_sub(1).zip(cursor.last_leaf());
    if let Some((index, theirs)) = last {
        judge_leaf(reader, checkpoint, index, theirs)?;
    }
    Ok(())
}

/// Compares a tree that our own key signed with the ledger's tree of `ours` entries.
fn judge_tree(reader: &Reader, ours: u64, theirs: TreeHead) -> Result<(), Contradiction> {
    let proven = |error| Contradiction {
        error,
        proven: true,
    };
    if theirs.size > ours {
        return Err(proven(ReplicaError::Ahead {
            ours,
            theirs: theirs.size,
        }));
    }
    let (then, _) = reader
        .consistency_proof(theirs.size, ours)
        .map_err(ReplicaError::Ledger)?;
    if then.root != theirs.root {
        return Err(proven(ReplicaError::ForkedTree {
            size: theirs.size,
            ours: then.root,
            theirs: theirs.root,
        }));
    }
    Ok(())
}

fn judge_leaf(
    reader: &Reader,
    checkpoint: &VerifiedCheckpoint,
    index: u64,
    theirs: &Hash,
) -> Result<(), ReplicaError> {
    let leaves = reader
        .sealed_leaves(checkpoint, index / WIDTH)
        .map_err(ReplicaError::Ledger)?;
    let at = usize::try_from(index % WIDTH).unwrap_or(0);
    match leaves.get(at) {
        Some(ours) if ours != theirs => Err(ReplicaError::Fork {
            index,
            ours: *ours,
            theirs: *theirs,
        }),
        _ => Ok(()),
    }
}
