//! Which tiles and bundles a tree has, and which ones its growth adds.
//!
//! The iterators are lazy: a tree of 10^12 leaves costs nothing until it is walked.

use crate::tile::{Bundle, TILE_WIDTH_U64, Tile, hashes_at};

/// Levels on which a tree with fewer than 2^64 leaves has tiles.
const LEVELS: u8 = 8;

/// All tiles of a tree of `size` leaves: level by level from the leaves up, by index within a
/// level. The last tile of a level is partial unless the number of the level's hashes is a multiple
/// of 256.
pub fn tree_tiles(size: u64) -> impl Iterator<Item = Tile> {
    new_tiles(0, size)
}

/// The tiles that a tree of `size` leaves has and a tree of `old_size` lacks, or has with another
/// width, in the order of [`tree_tiles`]. Empty when the tree did not grow.
pub fn new_tiles(old_size: u64, size: u64) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| {
        new_indices(hashes_at(level, old_size), hashes_at(level, size))
            .filter_map(move |index| Tile::in_tree(level, index, size))
    })
}

/// The partial tiles of a tree of `size` leaves, from the leaves up: at most one per level. Their
/// hashes are enough to continue appending.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..LEVELS).filter_map(move |level| {
        let index = hashes_at(level, size) / TILE_WIDTH_U64;
        Tile::in_tree(level, index, size)
    })
}

/// All bundles of a log of `size` entries, by index; the last is partial unless `size` is a
/// multiple of 256.
pub fn tree_bundles(size: u64) -> impl Iterator<Item = Bundle> {
    new_bundles(0, size)
}

/// The bundles that a log of `size` entries has and a log of `old_size` lacks, or has with another
/// width.
pub fn new_bundles(old_size: u64, size: u64) -> impl Iterator<Item = Bundle> {
    new_indices(old_size, size).filter_map(move |index| Bundle::in_tree(index, size))
}

/// The partial bundle of a log of `size` entries, if it has one.
#[must_use]
pub fn partial_bundle(size: u64) -> Option<Bundle> {
    Bundle::in_tree(size / TILE_WIDTH_U64, size)
}

/// The tiles of one level that gain hashes when their number grows from `old` to `hashes`.
fn new_indices(old: u64, hashes: u64) -> std::ops::Range<u64> {
    if hashes <= old {
        return 0..0;
    }
    old / TILE_WIDTH_U64..hashes.div_ceil(TILE_WIDTH_U64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn paths(tiles: impl Iterator<Item = Tile>) -> Vec<String> {
        tiles.map(|tile| tile.to_string()).collect()
    }

    #[test]
    fn small_trees() {
        assert_eq!(paths(tree_tiles(0)), [""; 0]);
        assert_eq!(paths(tree_tiles(1)), ["tile/0/000.p/1"]);
        assert_eq!(paths(tree_tiles(255)), ["tile/0/000.p/255"]);
        assert_eq!(paths(tree_tiles(256)), ["tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(
            paths(tree_tiles(257)),
            ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]
        );
        assert_eq!(paths(partial_tiles(256)), ["tile/1/000.p/1"]);
        assert_eq!(
            paths(partial_tiles(257)),
            ["tile/0/001.p/1", "tile/1/000.p/1"]
        );
        assert_eq!(partial_bundle(256), None);
        assert_eq!(partial_bundle(257), Bundle::new(1, 1).ok());
    }

    #[test]
    fn a_tree_of_70000_is_counted_as_in_the_specification() {
        let tiles: Vec<_> = tree_tiles(70_000).collect();
        let count = |level, full| {
            tiles
                .iter()
                .filter(|t| t.level() == level && t.is_full() == full)
                .count()
        };
        assert_eq!((count(0, true), count(0, false)), (273, 1));
        assert_eq!((count(1, true), count(1, false)), (1, 1));
        assert_eq!((count(2, true), count(2, false)), (0, 1));
        assert_eq!(tiles.len(), 277);
        assert_eq!(tree_bundles(70_000).count(), 274);
    }

    #[test]
    fn growth_brings_exactly_the_tiles_that_were_not_there() {
        let sizes = [
            0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_800, 70_000,
        ];
        for old in sizes {
            for size in sizes {
                let before: BTreeSet<_> = tree_tiles(old).collect();
                let after: BTreeSet<_> = tree_tiles(size).collect();
                let new: BTreeSet<_> = new_tiles(old, size).collect();
                if size > old {
                    assert_eq!(new, &after - &before, "{old} to {size}");
                } else {
                    assert!(new.is_empty(), "{old} to {size}");
                }
                assert_eq!(
                    new_bundles(old, size)
                        .map(Bundle::tile)
                        .collect::<BTreeSet<_>>(),
                    new.into_iter()
                        .filter(|tile| tile.level() == 0)
                        .collect::<BTreeSet<_>>()
                );
            }
        }
    }

    #[test]
    fn the_largest_tree_does_not_overflow() {
        assert_eq!(partial_tiles(u64::MAX).count(), 8);
        assert_eq!(
            new_tiles(u64::MAX - 1, u64::MAX).collect::<Vec<_>>(),
            [Tile::new(0, u64::MAX / 256, 255).unwrap()]
        );
        assert_eq!(tree_tiles(u64::MAX).take(3).count(), 3);
    }

    proptest! {
        #[test]
        fn what_was_there_and_what_is_new_is_the_tree(old in 0..300_000_u64, growth in 0..100_000_u64) {
            let size = old + growth;
            let before: BTreeSet<_> = tree_tiles(old).collect();
            let new: BTreeSet<_> = new_tiles(old, size).collect();
            prop_assert!(new.is_disjoint(&before));
            for tile in tree_tiles(size) {
                prop_assert!(new.contains(&tile) || before.contains(&tile), "{}", tile);
                prop_assert!(tile.is_within(size));
            }
            for tile in new {
                prop_assert!(tile.is_within(size) && !tile.is_within(old), "{}", tile);
            }
        }
    }
}
