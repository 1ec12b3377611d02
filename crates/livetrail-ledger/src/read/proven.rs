//! Leaf hashes of many bundles. Keeps the proven hashes of the tile above them.

use livetrail_tlog::{
    Hash, TILE_WIDTH, Tile, TileReader as _, TreeHead, VerifiedCheckpoint, tree_root,
};

use crate::{
    error::LedgerError,
    read::reader::Reader,
    read::sealed::{beyond, first_entry, proven_hashes},
    read::tree_files::TreeFiles,
};

/// The same width, for numbers.
const WIDTH: u64 = TILE_WIDTH as u64;

/// Leaf hashes of a checkpoint's tree, of one bundle after the other; see
/// [`Reader::proven_leaves`].
///
/// Keeps one tile of level 1, whose hashes were proven to be the bundles' roots: 8 KiB.
#[derive(Debug)]
pub struct ProvenLeaves<'a> {
    files: TreeFiles<'a>,
    head: TreeHead,
    above: Option<(Tile, Vec<Hash>)>,
}

impl Reader {
    /// The leaf hashes of a checkpoint's tree. For many bundles near each other this costs a third
    /// of [`sealed_leaves`](Self::sealed_leaves).
    #[must_use]
    pub fn proven_leaves(&self, checkpoint: &VerifiedCheckpoint) -> ProvenLeaves<'_> {
        ProvenLeaves {
            files: self.files(),
            head: checkpoint.head(),
            above: None,
        }
    }
}

impl ProvenLeaves<'_> {
    /// The leaf hashes of the bundle with this number, proven up to the checkpoint's root.
    ///
    /// # Errors
    /// [`LedgerError::BeyondPublished`] when the tree has no such bundle,
    /// [`LedgerError::FileMissing`], and [`LedgerError::Log`] or [`LedgerError::FileCorrupt`] when
    /// the tiles do not lead to the signed root.
    pub fn of_bundle(&mut self, number: u64) -> Result<Vec<Hash>, LedgerError> {
        let size = self.head.size;
        let tile = Tile::in_tree(0, number, size).ok_or_else(|| beyond(number, size))?;
        let place = usize::try_from(number.checked_rem(WIDTH).unwrap_or(0)).unwrap_or(0);
        // The first hash of the tile above is not proven.
        if !tile.is_full() || place == 0 {
            return proven_hashes(self.files, tile, first_entry(number), self.head);
        }
        let leaves = tile.parse(&self.files.read_tile(tile)?)?;
        let above = self.above(number.checked_div(WIDTH).unwrap_or(0))?;
        if above.get(place) == Some(&tree_root(&leaves)) {
            return Ok(leaves);
        }
        Err(LedgerError::FileCorrupt {
            path: tile.to_string(),
            what: "its hashes do not lead to the signed root".to_owned(),
        })
    }

    /// The tile of level 1 with this number: all its hashes except the first were proven.
    fn above(&mut self, number: u64) -> Result<&[Hash], LedgerError> {
        let (first, size) = (number.saturating_mul(WIDTH), self.head.size);
        let tile = Tile::in_tree(1, number, size).ok_or_else(|| beyond(first, size))?;
        let above = match self.above.take().filter(|(kept, _)| *kept == tile) {
            Some(above) => above,
            None => (
                tile,
                proven_hashes(self.files, tile, first_entry(first), self.head)?,
            ),
        };
        Ok(&self.above.insert(above).1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Access, read::sealed::tests::trail};

    #[test]
    fn they_are_those_of_the_tree_and_a_flipped_byte_is_found_in_either_level() {
        // A full tile of level 1 and a partial one.
        const SIZE: usize = 70_000;
        let (store, checkpoint) = trail(SIZE);
        let reader = Reader::open(Arc::clone(&store)).unwrap();
        let mut leaves = reader.proven_leaves(&checkpoint);
        for number in [0, 1, 255, 256, 257, 273, 2] {
            let sealed = reader.sealed_leaves(&checkpoint, number).unwrap();
            assert_eq!(leaves.of_bundle(number).unwrap(), sealed, "{number}");
        }
        let beyond = leaves.of_bundle(274);
        assert!(matches!(beyond, Err(LedgerError::BeyondPublished { .. })));
        let path = |level, number| {
            let tile = Tile::in_tree(level, number, SIZE as u64).unwrap();
            tile.to_string()
        };
        let flipped = |path: &str, at: usize, number: u64| {
            let sound = store.read(path).unwrap();
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            for (contents, is_sound) in [(&bytes, false), (&sound, true)] {
                store.remove(path).unwrap();
                store.write(path, contents, Access::Tile).unwrap();
                let answer = reader.proven_leaves(&checkpoint).of_bundle(number);
                assert_eq!(
                    answer.is_ok(),
                    is_sound,
                    "{path}, byte {at}, bundle {number}"
                );
            }
        };
        for number in [0, 7, 256, 260, 273] {
            for at in [0, 31, 1_000] {
                flipped(&path(0, number), at, number);
            }
        }
        for (above, number) in [(0, 7), (1, 260)] {
            let length = store.read(&path(1, above)).unwrap().len();
            for at in (32..length).step_by(131) {
                flipped(&path(1, above), at, number);
            }
        }
    }
}
