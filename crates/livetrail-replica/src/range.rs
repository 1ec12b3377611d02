//! A range of sealed entries that is sent to a sink.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use livetrail_ledger::HandOver;
use livetrail_tlog::{Hash, MAX_ENTRY_BYTES, VerifiedCheckpoint, leaf_hash};
use thiserror::Error;

use crate::personal::EntryOpening;

/// A range of entries in index order that a signed checkpoint covers, with their leaf hashes and
/// that checkpoint.
///
/// It is cheap to clone: the entries are shared, not copied. It has at least one entry; the
/// replicator's options bound the number.
#[derive(Clone)]
pub struct SealedRange {
    first: u64,
    next: u64,
    entries: Arc<[Bytes]>,
    leaves: Arc<[Hash]>,
    entry_bytes: usize,
    checkpoint: Arc<VerifiedCheckpoint>,
    note: Bytes,
    hand_overs: Arc<[HandOver]>,
    /// In order of their indexes.
    openings: Arc<[EntryOpening]>,
}

/// Why entries are not a range that a checkpoint covers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RangeError {
    /// There are no entries.
    #[error("a range has at least one entry")]
    Empty,
    /// The number of leaf hashes differs from the number of entries.
    #[error("{entries} entries and {leaves} leaf hashes")]
    Count {
        /// How many entries.
        entries: usize,
        /// How many leaf hashes.
        leaves: usize,
    },
    /// An entry is longer than the format allows.
    #[error("entry {index} has {bytes} bytes; at most {MAX_ENTRY_BYTES} are allowed")]
    TooLong {
        /// Its index.
        index: u64,
        /// Its length.
        bytes: usize,
    },
    /// An entry does not match its leaf hash.
    #[error("entry {index} has the leaf hash {found} instead of {wanted}")]
    Leaf {
        /// Its index.
        index: u64,
        /// The leaf hash that came with it.
        wanted: Hash,
        /// The leaf hash of the entry.
        found: Hash,
    },
    /// The checkpoint does not cover the whole range.
    #[error("the range ends before index {next} but the checkpoint covers {size} entries")]
    BeyondCheckpoint {
        /// The index after the last entry.
        next: u64,
        /// The checkpoint's size.
        size: u64,
    },
}

impl SealedRange {
    /// Makes a range from `first` on. Checks that each entry matches its leaf hash, and that the
    /// checkpoint covers all of them.
    ///
    /// Does not check that the leaf hashes belong to the checkpoint's tree. The reader of the
    /// ledger has checked that: [`Reader::sealed_bundle`](livetrail_ledger::Reader::sealed_bundle).
    ///
    /// # Errors
    /// [`RangeError`].
    pub fn new(
        first: u64,
        entries: Vec<Bytes>,
        leaves: Vec<Hash>,
        checkpoint: Arc<VerifiedCheckpoint>,
    ) -> Result<Self, RangeError> {
        if entries.is_empty() {
            return Err(RangeError::Empty);
        }
        if entries.len() != leaves.len() {
            return Err(RangeError::Count {
                entries: entries.len(),
                leaves: leaves.len(),
            });
        }
        let size = checkpoint.head().size;
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let next = first.saturating_add(count);
        if next > size {
            return Err(RangeError::BeyondCheckpoint { next, size });
        }
        let mut entry_bytes = 0_usize;
        for (index, (entry, leaf)) in (first..).zip(entries.iter().zip(&leaves)) {
            check_entry(index, entry, leaf)?;
            entry_bytes = entry_bytes.saturating_add(entry.len());
        }
        let note = Bytes::from(checkpoint.note().encode());
        Ok(Self {
            first,
            next,
            entries: entries.into(),
            leaves: leaves.into(),
            entry_bytes,
            checkpoint,
            note,
            hand_overs: Arc::default(),
            openings: Arc::default(),
        })
    }

    /// Adds the key hand-overs that the sink must keep with this range.
    #[must_use]
    pub fn with_hand_overs(mut self, hand_overs: Arc<[HandOver]>) -> Self {
        self.hand_overs = hand_overs;
        self
    }

    /// Adds the openings of entries in this range. Others are dropped.
    #[must_use]
    pub fn with_openings(mut self, openings: impl IntoIterator<Item = EntryOpening>) -> Self {
        let indexes = self.first..self.next;
        let mut openings: Vec<_> = openings.into_iter().collect();
        openings.retain(|one| indexes.contains(&one.index));
        openings.sort_by_key(|one| one.index);
        self.openings = openings.into();
        self
    }

    /// The openings of these entries, in order of their indexes. Empty unless the sink's
    /// [`personal`](crate::ReplicaSink::personal) asks for them. An entry whose opening is erased
    /// has none.
    #[must_use]
    pub fn openings(&self) -> &[EntryOpening] {
        &self.openings
    }

    /// The opening of the entry at this index.
    #[must_use]
    pub fn opening(&self, index: u64) -> Option<&EntryOpening> {
        let at = self.openings.binary_search_by_key(&index, |one| one.index);
        self.openings.get(at.ok()?)
    }

    /// Key hand-overs, by size. They belong next to the sink's checkpoints and were not in an
    /// earlier range. There are usually none.
    ///
    /// A sink keeps them as long as its entries: they let a verifier that has only an earlier key
    /// and the sink follow the changes of keys to today's key.
    #[must_use]
    pub fn hand_overs(&self) -> &[HandOver] {
        &self.hand_overs
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.checkpoint.checkpoint().origin()
    }

    /// The index of the first entry.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The index after the last entry: the cursor once it is committed.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// How many entries, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all entries.
    #[must_use]
    pub const fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    /// The entries' bytes, in index order.
    #[must_use]
    pub fn entries(&self) -> &[Bytes] {
        &self.entries
    }

    /// Their leaf hashes, in the same order.
    #[must_use]
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    /// Iterates over the index, entry and leaf hash of each entry, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &Bytes, &Hash)> {
        let first = self.first;
        self.entries
            .iter()
            .zip(self.leaves.iter())
            .enumerate()
            .map(move |(at, (entry, leaf))| (first.saturating_add(at as u64), entry, leaf))
    }

    /// The part from `index` on; it shares the entries. This is the rest of a range whose beginning
    /// a sink already has. `None` if nothing is left, or if `index` is before the first index.
    #[must_use]
    pub fn starting_at(&self, index: u64) -> Option<Self> {
        let skip = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let entries = self.entries.get(skip..).filter(|left| !left.is_empty())?;
        let leaves = self.leaves.get(skip..)?;
        let openings = self.openings.partition_point(|one| one.index < index);
        let openings = self.openings.get(openings..).unwrap_or_default();
        Some(Self {
            first: index,
            next: self.next,
            entry_bytes: entries.iter().map(Bytes::len).sum(),
            entries: entries.into(),
            leaves: leaves.into(),
            checkpoint: Arc::clone(&self.checkpoint),
            note: self.note.clone(),
            hand_overs: Arc::clone(&self.hand_overs),
            openings: openings.into(),
        })
    }

    /// The part before `next`, without hand-overs and openings. `None` if nothing of it is in the
    /// range.
    pub(super) fn ending_at(&self, next: u64) -> Option<Self> {
        let count = usize::try_from(next.min(self.next).checked_sub(self.first)?).ok()?;
        let entries = self.entries.get(..count).filter(|left| !left.is_empty())?;
        Some(Self {
            first: self.first,
            next: next.min(self.next),
            entry_bytes: entries.iter().map(Bytes::len).sum(),
            entries: entries.into(),
            leaves: self.leaves.get(..count)?.into(),
            checkpoint: Arc::clone(&self.checkpoint),
            note: self.note.clone(),
            hand_overs: Arc::default(),
            openings: Arc::default(),
        })
    }

    /// The checkpoint that covers the range. It may cover more.
    #[must_use]
    pub const fn checkpoint(&self) -> &Arc<VerifiedCheckpoint> {
        &self.checkpoint
    }

    /// The bytes of that checkpoint: a signed note.
    #[must_use]
    pub const fn note(&self) -> &Bytes {
        &self.note
    }
}

impl fmt::Debug for SealedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedRange")
            .field("origin", &self.origin())
            .field("indexes", &(self.first..self.next))
            .field("entry_bytes", &self.entry_bytes)
            .field("openings", &self.openings.len())
            .field("checkpoint_size", &self.checkpoint.head().size)
            .finish()
    }
}

fn check_entry(index: u64, entry: &Bytes, leaf: &Hash) -> Result<(), RangeError> {
    if entry.len() > MAX_ENTRY_BYTES {
        return Err(RangeError::TooLong {
            index,
            bytes: entry.len(),
        });
    }
    let found = leaf_hash(entry);
    if found != *leaf {
        return Err(RangeError::Leaf {
            index,
            wanted: *leaf,
            found,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use livetrail_ledger::{Class, Identity, Ledger, MemStore, SharedStore};

    use super::*;

    /// Entries `entry-0` up to, but without, `entry-{count}`, and the checkpoint over them.
    fn sealed(count: usize) -> (Vec<Bytes>, Vec<Hash>, Arc<VerifiedCheckpoint>) {
        let store: SharedStore = Arc::new(MemStore::new());
        let identity =
            Identity::from_seeds("example.com/audit", &[1; 32].into(), &[2; 32].into()).unwrap();
        Ledger::create(&store, &identity).unwrap();
        let (ledger, _) = Ledger::builder(store, identity).open().unwrap();
        let entries: Vec<_> = (0..count)
            .map(|at| Bytes::from(format!("entry-{at}")))
            .collect();
        let appended = ledger.append(Class::Strict, &entries).unwrap();
        ledger
            .wait_durable(appended.next, Duration::from_secs(20))
            .unwrap();
        let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
        (entries, leaves, Arc::new(ledger.close().unwrap()))
    }

    #[test]
    fn a_range_is_what_its_checkpoint_covers() {
        let (entries, leaves, checkpoint) = sealed(5);
        let range = SealedRange::new(
            1,
            entries[1..4].to_vec(),
            leaves[1..4].to_vec(),
            Arc::clone(&checkpoint),
        )
        .unwrap();
        assert_eq!((range.first(), range.next(), range.len()), (1, 4, 3));
        assert_eq!(range.origin(), "example.com/audit");
        assert_eq!(range.entry_bytes(), 21);
        assert!(range.note().starts_with(b"example.com/audit\n5\n"));
        let indexes: Vec<_> = range.iter().map(|(index, ..)| index).collect();
        assert_eq!(indexes, [1, 2, 3]);

        let rest = range.starting_at(3).unwrap();
        assert_eq!((rest.first(), rest.next(), rest.entry_bytes()), (3, 4, 7));
        assert_eq!(rest.iter().next().unwrap(), (3, &entries[3], &leaves[3]));
        for index in [0, 4, 9] {
            assert!(range.starting_at(index).is_none(), "{index}");
        }
    }

    #[test]
    fn what_is_not_covered_or_not_whole_is_no_range() {
        let (entries, leaves, checkpoint) = sealed(3);
        let range = |first, entries: &[Bytes], leaves: &[Hash]| {
            SealedRange::new(
                first,
                entries.to_vec(),
                leaves.to_vec(),
                Arc::clone(&checkpoint),
            )
            .unwrap_err()
        };
        assert_eq!(range(0, &[], &[]), RangeError::Empty);
        assert_eq!(
            range(0, &entries, &leaves[1..]),
            RangeError::Count {
                entries: 3,
                leaves: 2
            }
        );
        assert_eq!(
            range(1, &entries, &leaves),
            RangeError::BeyondCheckpoint { next: 4, size: 3 }
        );
        let mut swapped = leaves.clone();
        swapped.swap(1, 2);
        assert_eq!(
            range(0, &entries, &swapped),
            RangeError::Leaf {
                index: 1,
                wanted: leaves[2],
                found: leaves[1]
            }
        );
    }
}
