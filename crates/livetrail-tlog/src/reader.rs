//! Reading a tree through its tiles: leaf hashes and proofs without the entries.

use crate::error::Error;
use crate::hash::{Hash, tree_root};
use crate::proof::{Subtrees, consistency_path, inclusion_path, range_root};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH_U64, Tile, hashes_at};
use crate::tree::TreeHead;

/// A source of tiles: a directory, a web site, a map in a test.
///
/// ```
/// use std::collections::BTreeMap;
/// use livetrail_tlog::{Tile, TileBuilder, TileReader, TileTree, leaf_hash};
///
/// struct Memory(BTreeMap<Tile, Vec<u8>>);
///
/// impl TileReader for Memory {
///     type Error = Box<dyn std::error::Error>;
///
///     fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error> {
///         let contents = self.0.get(&tile).ok_or_else(|| format!("{tile} is missing"))?;
///         Ok(contents.clone())
///     }
/// }
///
/// let mut builder = TileBuilder::new();
/// let mut tiles = Vec::new();
/// for n in 0..300_u32 {
///     let leaf = leaf_hash(&n.to_be_bytes());
///     builder.append(leaf, |tile, hashes| tiles.push((tile, hashes.to_vec())))?;
/// }
/// tiles.extend(builder.partial_tiles().map(|(tile, hashes)| (tile, hashes.to_vec())));
/// let mut memory = Memory(BTreeMap::new());
/// for (tile, hashes) in tiles {
///     memory.0.insert(tile, tile.encode(&hashes)?);
/// }
///
/// let head = builder.head();
/// let (leaf, proof) = TileTree::new(memory, head).inclusion_proof(7)?;
/// assert_eq!(leaf, leaf_hash(&7_u32.to_be_bytes()));
/// head.verify_inclusion(7, &leaf, &proof)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TileReader {
    /// Why a tile cannot be read. It includes this crate's errors, so that a caller has one type.
    type Error: From<Error>;

    /// The contents of `tile`: exactly [`Tile::byte_len`] bytes. If a partial tile no longer
    /// exists, these are the first bytes of the full one.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error>;
}

impl<R: TileReader + ?Sized> TileReader for &R {
    type Error = R::Error;

    fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, R::Error> {
        (**self).read_tile(tile)
    }
}

/// A tree of known head, read through its tiles.
///
/// Tiles are not trusted: every proof and every hash is checked against the head's root before it
/// is returned. So a flipped bit in a tile gives an error here and not an invalid proof elsewhere.
/// Each call reads each tile that it needs once, at most 17 in all.
#[derive(Clone, Debug)]
pub struct TileTree<R> {
    reader: R,
    head: TreeHead,
}

impl<R: TileReader> TileTree<R> {
    /// The tree with this head, behind this reader.
    pub const fn new(reader: R, head: TreeHead) -> Self {
        Self { reader, head }
    }

    /// The head against which everything is checked.
    #[must_use]
    pub const fn head(&self) -> TreeHead {
        self.head
    }

    /// The root computed from the tiles on the right edge. It equals the head's in a sound tree.
    ///
    /// # Errors
    /// The reader's, and [`Error::TileLength`].
    pub fn computed_root(&self) -> Result<Hash, R::Error> {
        range_root(0..self.head.size, &mut self.tiles())
    }

    /// The hash of the leaf at `index`, and the proof that it is there.
    ///
    /// # Errors
    /// The reader's, [`Error::TileLength`], [`Error::IndexBeyondTree`], and
    /// [`Error::InclusionRoot`] when the tiles do not belong to this head.
    pub fn inclusion_proof(&self, index: u64) -> Result<(Hash, Vec<Hash>), R::Error> {
        let path = inclusion_path(index, self.head.size)?;
        let mut tiles = self.tiles();
        let leaf = tiles.subtree(0, index)?;
        let proof = path.resolve(&mut tiles)?;
        self.head.verify_inclusion(index, &leaf, &proof)?;
        Ok((leaf, proof))
    }

    /// The head that this tree had at `old_size`, and the proof that it grew out of that tree.
    ///
    /// # Errors
    /// The reader's, [`Error::TileLength`], [`Error::OldSizeBeyondTree`], and
    /// [`Error::ConsistencyRoot`] or [`Error::ConsistencyOldRoot`] when the tiles do not belong to
    /// this head.
    pub fn consistency_proof(&self, old_size: u64) -> Result<(TreeHead, Vec<Hash>), R::Error> {
        let path = consistency_path(old_size, self.head.size)?;
        let mut tiles = self.tiles();
        let old = TreeHead {
            size: old_size,
            root: range_root(0..old_size, &mut tiles)?,
        };
        let proof = path.resolve(&mut tiles)?;
        self.head.verify_consistency(&old, &proof)?;
        Ok((old, proof))
    }

    fn tiles(&self) -> Tiles<'_, R> {
        Tiles {
            reader: &self.reader,
            size: self.head.size,
            read: Vec::new(),
        }
    }
}

/// The tiles that one call has read. A path down touches two tiles per level, or three with the old
/// root's.
struct Tiles<'a, R> {
    reader: &'a R,
    size: u64,
    read: Vec<(Tile, Vec<Hash>)>,
}

impl<R: TileReader> Tiles<'_, R> {
    fn tile(&mut self, tile: Tile) -> Result<&[Hash], R::Error> {
        let at = match self.read.iter().position(|(read, _)| *read == tile) {
            Some(at) => at,
            None => {
                let hashes = tile.parse(&self.reader.read_tile(tile)?)?;
                self.read.push((tile, hashes));
                self.read.len().saturating_sub(1)
            }
        };
        Ok(self.read.get(at).map_or(&[], |(_, hashes)| hashes))
    }
}

impl<R: TileReader> Subtrees for Tiles<'_, R> {
    type Error = R::Error;

    /// A full subtree of height `8·level + h` is 2^h adjacent hashes in one tile of that level.
    fn subtree(&mut self, height: u32, index: u64) -> Result<Hash, R::Error> {
        let beyond = Error::IndexBeyondTree {
            index,
            size: self.size,
        };
        let Some(position) = Position::of(height, index, self.size) else {
            return Err(beyond.into());
        };
        let hashes = self.tile(position.tile)?;
        match hashes.get(position.hashes) {
            Some(below) => Ok(tree_root(below)),
            None => Err(beyond.into()),
        }
    }
}

/// The position of a full subtree's hashes in the tiles.
struct Position {
    tile: Tile,
    hashes: std::ops::Range<usize>,
}

impl Position {
    fn of(height: u32, index: u64, size: u64) -> Option<Self> {
        let level = u8::try_from(height / TILE_HEIGHT).ok()?;
        let width = 1_u64.checked_shl(height % TILE_HEIGHT)?;
        let first = index.checked_mul(width)?;
        let end = first.checked_add(width)?;
        if end > hashes_at(level, size) {
            return None;
        }
        let tile = Tile::in_tree(level, first / TILE_WIDTH_U64, size)?;
        let start = usize::try_from(first % TILE_WIDTH_U64).ok()?;
        let hashes = start..start.checked_add(usize::try_from(width).ok()?)?;
        Some(Self { tile, hashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TileBuilder;
    use crate::hash::leaf_hash;
    use std::cell::Cell;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Memory {
        tiles: BTreeMap<Tile, Vec<u8>>,
        reads: Cell<usize>,
    }

    impl TileReader for Memory {
        type Error = Error;

        fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
            self.reads.set(self.reads.get() + 1);
            Ok(self.tiles[&tile].clone())
        }
    }

    fn tree(size: u64) -> TileTree<Memory> {
        let mut memory = Memory::default();
        let mut builder = TileBuilder::new();
        for i in 0..size {
            let keep = |tile: Tile, hashes: &[Hash]| {
                memory.tiles.insert(tile, tile.encode(hashes).unwrap());
            };
            builder.append(leaf_hash(&i.to_be_bytes()), keep).unwrap();
        }
        for (tile, hashes) in builder.partial_tiles() {
            memory.tiles.insert(tile, tile.encode(hashes).unwrap());
        }
        TileTree::new(memory, builder.head())
    }

    #[test]
    fn a_proof_reads_few_tiles() {
        let tree = tree(70_000);
        for index in [0, 1, 255, 256, 65_535, 65_536, 69_999] {
            tree.reader.reads.set(0);
            tree.inclusion_proof(index).unwrap();
            tree.consistency_proof(index).unwrap();
            assert!(tree.reader.reads.get() <= 12, "{}", tree.reader.reads.get());
        }
        assert_eq!(tree.computed_root(), Ok(tree.head().root));
    }

    #[test]
    fn a_flipped_bit_in_any_tile_that_a_proof_needs_is_an_error_and_not_a_proof() {
        let mut tree = tree(600);
        let sound = tree.inclusion_proof(300).unwrap();
        let places: Vec<_> = tree
            .reader
            .tiles
            .iter()
            .flat_map(|(tile, bytes)| (0..bytes.len()).step_by(31).map(|at| (*tile, at)))
            .collect();
        let mut found = 0;
        for (tile, at) in places {
            tree.reader.tiles.get_mut(&tile).unwrap()[at] ^= 1;
            match tree.inclusion_proof(300) {
                Ok(proof) => assert_eq!(proof, sound, "{tile} byte {at} is not of this proof"),
                Err(error) => {
                    assert!(matches!(error, Error::InclusionRoot { .. }), "{error}");
                    found += 1;
                }
            }
            tree.reader.tiles.get_mut(&tile).unwrap()[at] ^= 1;
        }
        assert!(found > 300, "{found}");
    }

    #[test]
    fn a_tile_of_another_length_is_an_error() {
        let mut tree = tree(3);
        let tile = Tile::new(0, 0, 3).unwrap();
        for length in [0, 31, 64, 95, 97, 128] {
            tree.reader.tiles.insert(tile, vec![0; length]);
            let error = tree.inclusion_proof(1).unwrap_err();
            assert!(
                matches!(error, Error::TileLength { wanted: 96, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_head_of_the_largest_size_does_not_overflow() {
        struct Zeros;
        impl TileReader for Zeros {
            type Error = Error;
            fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
                Ok(vec![0; tile.byte_len()])
            }
        }
        let head = TreeHead {
            size: u64::MAX,
            root: Hash::EMPTY_TREE,
        };
        let tree = TileTree::new(Zeros, head);
        for index in [0, 1 << 63, u64::MAX - 1] {
            assert!(tree.inclusion_proof(index).is_err());
            assert!(tree.consistency_proof(index + 1).is_err());
        }
    }
}
