//! The replicator's input: batches of the published tree, each proven against its checkpoint.

use std::sync::Arc;

use bytes::Bytes;
use livetrail_ledger::{Handle, LedgerError, Reader};
use livetrail_tlog::{TILE_WIDTH, VerifiedCheckpoint, parse_bundle};

use crate::call::blocking;
use crate::error::ReplicaError;
use crate::options::ReplicaOptions;
use crate::range::SealedRange;

const WIDTH: u64 = TILE_WIDTH as u64;

/// What the ledger has from an index on.
#[derive(Debug)]
pub(super) enum Batch {
    /// Entries.
    Range(SealedRange),
    /// Nothing before this index: the ledger has pruned it.
    PrunedBelow(u64),
}

/// What is sealed of a ledger: the input of both loops of a replicator.
#[derive(Clone)]
pub(super) struct SealedLog {
    pub(super) ledger: Handle,
    pub(super) reader: Arc<Reader>,
    batch_records: usize,
    batch_bytes: usize,
}

impl SealedLog {
    pub(super) fn new(ledger: Handle, reader: Arc<Reader>, options: &ReplicaOptions) -> Self {
        Self {
            ledger,
            reader,
            batch_records: options.batch_records,
            batch_bytes: options.batch_bytes,
        }
    }

    /// The number of sealed entries.
    pub(super) fn size(&self) -> u64 {
        self.ledger.checkpoint().head().size
    }

    pub(super) fn origin(&self) -> String {
        let checkpoint = self.ledger.checkpoint();
        checkpoint.checkpoint().origin().to_owned()
    }

    /// Reads the entries from `first` on, up to the bounds of a batch, on a thread that may block.
    /// `first` must be below the size.
    pub(super) async fn read(&self, first: u64) -> Result<Batch, ReplicaError> {
        let log = self.clone();
        let checkpoint = Arc::new(self.ledger.checkpoint());
        blocking(move || log.read_at(&checkpoint, first)).await?
    }

    /// Reads the entries that this checkpoint covers.
    pub(super) fn read_at(
        &self,
        checkpoint: &Arc<VerifiedCheckpoint>,
        first: u64,
    ) -> Result<Batch, ReplicaError> {
        let reader = &self.reader;
        let size = checkpoint.head().size;
        let mut entries = Vec::new();
        let mut leaves = Vec::new();
        let mut bytes = 0_usize;
        let mut next = first;
        while next < size && entries.len() < self.batch_records && bytes < self.batch_bytes {
            let number = next / WIDTH;
            let sealed = match reader.sealed_bundle(checkpoint, number) {
                Ok(sealed) => sealed,
                // Entries that were read already go out first.
                Err(error) if error.is_absence() && !entries.is_empty() => break,
                Err(error) if error.is_absence() => {
                    return pruned_below(reader, checkpoint, number)?
                        .map(Batch::PrunedBelow)
                        .ok_or(ReplicaError::Ledger(error));
                }
                Err(error) => return Err(ReplicaError::Ledger(error)),
            };
            // Entries are slices of their bundle; nothing is copied.
            let whole = Bytes::from(sealed.bytes);
            let parsed = parse_bundle(sealed.bundle, &whole).map_err(|error| {
                ReplicaError::Ledger(LedgerError::FileCorrupt {
                    path: sealed.bundle.to_string(),
                    what: error.to_string(),
                })
            })?;
            let skip = usize::try_from(next % WIDTH).unwrap_or(0);
            for (entry, leaf) in parsed.into_iter().zip(sealed.leaves).skip(skip) {
                if entries.len() >= self.batch_records || bytes >= self.batch_bytes {
                    break;
                }
                entries.push(whole.slice_ref(entry));
                leaves.push(leaf);
                bytes = bytes.saturating_add(entry.len());
                next = next.saturating_add(1);
            }
        }
        SealedRange::new(first, entries, leaves, Arc::clone(checkpoint))
            .map(Batch::Range)
            .map_err(ReplicaError::Range)
    }
}

/// The first index after bundle `missing` whose bundle exists: pruning always removes a beginning.
/// `None` if no later bundle exists either.
fn pruned_below(
    reader: &Reader,
    checkpoint: &VerifiedCheckpoint,
    missing: u64,
) -> Result<Option<u64>, ReplicaError> {
    let is_there = |number| match reader.sealed_bundle(checkpoint, number) {
        Ok(_) => Ok(true),
        Err(error) if error.is_absence() => Ok(false),
        Err(error) => Err(ReplicaError::Ledger(error)),
    };
    let last = checkpoint.head().size.saturating_sub(1) / WIDTH;
    if !is_there(last)? {
        return Ok(None);
    }
    let (mut gone, mut there) = (missing, last);
    while there.saturating_sub(gone) > 1 {
        let middle = gone.midpoint(there);
        if is_there(middle)? {
            there = middle;
        } else {
            gone = middle;
        }
    }
    Ok(Some(there.saturating_mul(WIDTH)))
}
