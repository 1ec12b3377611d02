//! Making tiles while a tree grows.

use crate::coverage::partial_tiles;
use crate::error::Error;
use crate::frontier::Frontier;
use crate::hash::{Hash, tree_root};
use crate::reader::TileReader;
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, Tile};
use crate::tree::TreeHead;

/// The right edge of a tree's tiles: at most 255 hashes on each of eight levels (64 KiB), for a
/// tree of any size.
///
/// Appending hands out every tile that becomes full. [`partial_tiles`](Self::partial_tiles) gives
/// the partial tiles to write at the current size. Making the tiles and keeping the tree is one
/// computation: an entry costs its leaf hash and, on average, one more.
///
/// ```
/// use livetrail_tlog::{TileBuilder, leaf_hash};
///
/// let mut builder = TileBuilder::new();
/// let mut full = Vec::new();
/// for n in 0..300_u32 {
///     let leaf = leaf_hash(&n.to_be_bytes());
///     builder.append(leaf, |tile, _hashes| full.push(tile.to_string()))?;
/// }
/// let partial: Vec<_> = builder.partial_tiles().map(|(tile, _)| tile.to_string()).collect();
/// assert_eq!(full, ["tile/0/000"]);
/// assert_eq!(partial, ["tile/0/001.p/44", "tile/1/000.p/1"]);
/// assert_eq!(builder.head().size, 300);
/// # Ok::<(), livetrail_tlog::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileBuilder {
    size: u64,
    /// The hashes of the partial tile of each level, from the leaves up; never 256.
    levels: Vec<Vec<Hash>>,
}

impl TileBuilder {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `size` leaves, resumed from its partial tiles. Nothing here checks the tiles:
    /// compare [`head`](Self::head) with a trusted root.
    ///
    /// # Errors
    /// The reader's, and [`Error::TileLength`].
    pub fn resume<R: TileReader>(reader: &R, size: u64) -> Result<Self, R::Error> {
        let mut levels = Vec::new();
        for tile in partial_tiles(size) {
            let level = usize::from(tile.level());
            while levels.len() < level {
                levels.push(Vec::new());
            }
            levels.push(tile.parse(&reader.read_tile(tile)?)?);
        }
        Ok(Self { size, levels })
    }

    /// Appends a leaf's hash; its index is the size before. Calls `full` with each tile that this
    /// leaf completes, lowest level first: one tile for every 256th leaf, two for every 65,536th,
    /// and so on.
    ///
    /// # Errors
    /// [`Error::TreeFull`] at `u64::MAX` leaves; the builder is then unchanged.
    pub fn append(&mut self, leaf: Hash, mut full: impl FnMut(Tile, &[Hash])) -> Result<(), Error> {
        let size = self.size.checked_add(1).ok_or(Error::TreeFull)?;
        let mut hash = leaf;
        let mut index = self.size;
        for level in 0_u8.. {
            index = index.checked_shr(TILE_HEIGHT).unwrap_or(0);
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else {
                let mut hashes = Vec::with_capacity(usize::from(TILE_WIDTH));
                hashes.push(hash);
                self.levels.push(hashes);
                break;
            };
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            full(Tile::new(level, index, TILE_WIDTH)?, hashes);
            hash = tree_root(hashes);
            hashes.clear();
        }
        self.size = size;
        Ok(())
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The partial tiles at this size with their hashes, from the leaves up: at most one per level.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        partial_tiles(self.size).filter_map(|tile| {
            let hashes = self.levels.get(usize::from(tile.level()))?;
            Some((tile, hashes.as_slice()))
        })
    }

    /// The current size and root. Costs at most 255 hashes per level, 2 or 3 in a log of some
    /// millions.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.frontier().head()
    }

    /// The current frontier, at the cost of [`head`](Self::head).
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let mut peaks = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            // A level's hashes form one full subtree per 1 bit of their number, largest first.
            while let Some(height) = rest.len().checked_ilog2() {
                let (subtree, after) = rest.split_at(1_usize.checked_shl(height).unwrap_or(0));
                peaks.push(tree_root(subtree));
                rest = after;
            }
        }
        Frontier::from_peaks(self.size, peaks).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::{new_tiles, tree_tiles};
    use crate::hash::leaf_hash;
    use std::collections::BTreeMap;

    fn leaf(i: u64) -> Hash {
        leaf_hash(&i.to_be_bytes())
    }

    type Written = BTreeMap<Tile, Vec<Hash>>;

    /// Grows `builder` and writes every tile, full and partial, as a log would after each batch.
    fn grow(builder: &mut TileBuilder, written: &mut Written, size: u64) {
        let old = builder.size();
        let mut batch = Vec::new();
        for i in old..size {
            builder
                .append(leaf(i), |tile, hashes| batch.push((tile, hashes.to_vec())))
                .unwrap();
        }
        batch.extend(
            builder
                .partial_tiles()
                .map(|(tile, hashes)| (tile, hashes.to_vec())),
        );
        batch.retain(|(tile, _)| !written.contains_key(tile));
        let mut tiles: Vec<_> = batch.iter().map(|(tile, _)| *tile).collect();
        tiles.sort();
        assert_eq!(
            tiles,
            new_tiles(old, size).collect::<Vec<_>>(),
            "{old} to {size}"
        );
        written.extend(batch);
    }

    #[test]
    fn tiles_written_batch_by_batch_are_those_that_the_tree_has() {
        let (mut builder, mut written) = (TileBuilder::new(), Written::new());
        let mut frontier = Frontier::new();
        for size in [1, 2, 255, 256, 257, 600, 65_535, 65_536, 65_537, 70_000] {
            grow(&mut builder, &mut written, size);
            while frontier.size() < size {
                frontier.append(leaf(frontier.size())).unwrap();
            }
            assert_eq!(builder.frontier(), frontier, "size {size}");
            for tile in tree_tiles(size) {
                assert_eq!(written[&tile].len(), usize::from(tile.width()), "{tile}");
            }
        }
        let below = &written[&Tile::new(0, 7, 256).unwrap()];
        assert_eq!(written[&Tile::new(1, 0, 256).unwrap()][7], tree_root(below));
    }

    #[test]
    fn a_builder_resumed_from_tiles_is_the_one_that_was_left() {
        for size in [0, 1, 255, 256, 257, 65_536, 65_793] {
            let (mut builder, mut written) = (TileBuilder::new(), Written::new());
            grow(&mut builder, &mut written, size);
            let mut resumed = TileBuilder::resume(&written, size).unwrap();
            assert_eq!(resumed.head(), builder.head(), "size {size}");
            let mut again = written.clone();
            grow(&mut builder, &mut written, size + 300);
            grow(&mut resumed, &mut again, size + 300);
            assert_eq!(resumed.head(), builder.head(), "size {size}, 300 later");
            assert_eq!(again, written, "size {size}, 300 later");
        }
    }

    impl TileReader for Written {
        type Error = Error;

        fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
            tile.encode(&self[&tile])
        }
    }
}
