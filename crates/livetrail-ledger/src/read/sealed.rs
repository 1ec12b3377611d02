//! Reading for replicas: entries with their leaf hashes in a checkpoint's tree.

use livetrail_tlog::{
    Bundle, Hash, TILE_WIDTH, Tile, TileReader, TileTree, TreeHead, VerifiedCheckpoint,
};

use crate::{error::LedgerError, read::reader::Reader, read::tree_files::TreeFiles};

/// A bundle of a checkpoint's tree, and the leaf hashes of its entries; see
/// [`Reader::sealed_bundle`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedBundle {
    /// The bundle, with its width in the checkpoint's tree.
    pub bundle: Bundle,
    /// The bundle's bytes. The caller, who hashes the entries anyway, must check that they have
    /// these leaf hashes.
    pub bytes: Vec<u8>,
    /// The leaf hashes, one per entry. They were proven to be those of the checkpoint's tree.
    pub leaves: Vec<Hash>,
}

impl Reader {
    /// The bundle with this number in a checkpoint's tree, with its width there, and its bytes as
    /// they are on disk. For searching through many entries; before showing or relying on an entry,
    /// prove it with [`sealed_bundle`](Self::sealed_bundle).
    ///
    /// # Errors
    /// [`LedgerError::BeyondPublished`] when the tree has no such bundle,
    /// [`LedgerError::FileMissing`] when it was pruned or is missing.
    pub fn bundle_of(
        &self,
        checkpoint: &VerifiedCheckpoint,
        number: u64,
    ) -> Result<(Bundle, Vec<u8>), LedgerError> {
        let size = checkpoint.head().size;
        let bundle = Bundle::in_tree(number, size).ok_or_else(|| beyond(number, size))?;
        Ok((bundle, self.files().bundle(bundle)?))
    }

    /// The bundle with this number in a checkpoint's tree, and its leaf hashes, proven up to the
    /// checkpoint's root: a changed tile gives an error.
    ///
    /// # Errors
    /// [`LedgerError::BeyondPublished`] when the tree has no such bundle,
    /// [`LedgerError::FileMissing`] when it was pruned or is missing, [`LedgerError::Log`] when the
    /// tiles do not lead to the signed root.
    pub fn sealed_bundle(
        &self,
        checkpoint: &VerifiedCheckpoint,
        number: u64,
    ) -> Result<SealedBundle, LedgerError> {
        let leaves = self.sealed_leaves(checkpoint, number)?;
        let (bundle, bytes) = self.bundle_of(checkpoint, number)?;
        Ok(SealedBundle {
            bundle,
            bytes,
            leaves,
        })
    }

    /// Only the leaf hashes of that bundle, proven in the same way. They exist even when the bundle
    /// was pruned.
    ///
    /// # Errors
    /// As for [`sealed_bundle`](Self::sealed_bundle).
    pub fn sealed_leaves(
        &self,
        checkpoint: &VerifiedCheckpoint,
        number: u64,
    ) -> Result<Vec<Hash>, LedgerError> {
        let head = checkpoint.head();
        let tile = Tile::in_tree(0, number, head.size).ok_or_else(|| beyond(number, head.size))?;
        proven_hashes(self.files(), tile, first_entry(number), head)
    }
}

/// The hashes of a tile in the tree with this head; `first` is the first entry below the tile. The
/// proof for that entry contains all of them, except the first one if the tile is above level 0.
pub(crate) fn proven_hashes(
    files: TreeFiles<'_>,
    tile: Tile,
    first: u64,
    head: TreeHead,
) -> Result<Vec<Hash>, LedgerError> {
    let once = ReadOnce {
        tile,
        bytes: files.read_tile(tile)?,
        others: files,
    };
    let hashes = tile.parse(&once.bytes)?;
    TileTree::new(&once, head).inclusion_proof(first)?;
    Ok(hashes)
}

pub(crate) const fn first_entry(number: u64) -> u64 {
    number.saturating_mul(TILE_WIDTH as u64)
}

pub(crate) const fn beyond(number: u64, size: u64) -> LedgerError {
    LedgerError::BeyondPublished {
        index: first_entry(number),
        size,
    }
}

/// Returns one tile as it was read, even if the file changes afterwards: the proven bytes are the
/// returned ones.
struct ReadOnce<'a> {
    tile: Tile,
    bytes: Vec<u8>,
    others: TreeFiles<'a>,
}

impl TileReader for ReadOnce<'_> {
    type Error = LedgerError;

    fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        if tile == self.tile {
            return Ok(self.bytes.clone());
        }
        self.others.read_tile(tile)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{sync::Arc, time::Duration};

    use livetrail_tlog::{leaf_hash, parse_bundle};

    use super::*;
    use crate::{Access, Class, Identity, Ledger, MemStore, SharedStore};

    pub(crate) fn trail(entries: usize) -> (SharedStore, VerifiedCheckpoint) {
        let store: SharedStore = Arc::new(MemStore::new());
        let identity =
            Identity::from_seeds("example.com/audit", &[1; 32].into(), &[2; 32].into()).unwrap();
        Ledger::create(&store, &identity).unwrap();
        let (ledger, _) = Ledger::builder(Arc::clone(&store), identity)
            .open()
            .unwrap();
        let entries: Vec<_> = (0..entries).map(|at| format!("entry-{at}")).collect();
        let appended = ledger.append(Class::Strict, &entries).unwrap();
        ledger
            .wait_durable(appended.next, Duration::from_secs(20))
            .unwrap();
        (store, ledger.close().unwrap())
    }

    #[test]
    fn bundles_come_with_the_leaf_hashes_of_the_tree() {
        let (store, checkpoint) = trail(600);
        let reader = Reader::open(store).unwrap();
        let mut index = 0;
        for number in 0..3 {
            let sealed = reader.sealed_bundle(&checkpoint, number).unwrap();
            let entries = parse_bundle(sealed.bundle, &sealed.bytes).unwrap();
            assert_eq!(entries.len(), sealed.leaves.len());
            for (entry, leaf) in entries.iter().zip(&sealed.leaves) {
                assert_eq!(*entry, format!("entry-{index}").as_bytes());
                assert_eq!(leaf_hash(entry), *leaf);
                index += 1;
            }
        }
        assert_eq!(index, 600);
        assert!(matches!(
            reader.sealed_bundle(&checkpoint, 3),
            Err(LedgerError::BeyondPublished { index: 768, .. })
        ));
    }

    #[test]
    fn any_flipped_byte_of_a_tile_is_found_before_anything_is_given_out() {
        let (store, checkpoint) = trail(300);
        let reader = Reader::open(Arc::clone(&store)).unwrap();
        let path = Tile::new(0, 0, 256).unwrap().to_string();
        let sound = store.read(&path).unwrap();
        for at in (0..sound.len()).step_by(97) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            store.remove(&path).unwrap();
            store.write(&path, &bytes, Access::Tile).unwrap();
            let answer = reader.sealed_bundle(&checkpoint, 0);
            assert!(
                matches!(answer, Err(LedgerError::Log(_))),
                "byte {at}: {answer:?}"
            );
        }
    }
}
