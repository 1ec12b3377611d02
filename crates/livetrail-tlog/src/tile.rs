//! Tiles and entry bundles: their positions, widths and contents (tlog-tiles, "Merkle Tree" and
//! "Log entries").

use std::fmt;

use crate::error::Error;
use crate::hash::{HASH_BYTES, Hash};
use crate::path::TilePath;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The same number, for indices.
pub(crate) const TILE_WIDTH_U64: u64 = TILE_WIDTH as u64;

/// The highest level that a path may name. (With fewer than 2^64 leaves no tile exists above level
/// 7.)
pub const MAX_LEVEL: u8 = 63;

/// Levels of nodes that one level of tiles spans: `TILE_WIDTH` is 2 to this power.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// The position and width of a hash tile: hash `i` of tile (`level`, `index`) is the tree hash of
/// the entries from `(256·index + i)·256^level` up to `(256·index + i + 1)·256^level`.
///
/// `Display` is its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// A tile at level 0 to 63 of 1 to 256 hashes; with fewer than 256 it is a partial one.
    ///
    /// # Errors
    /// [`Error::TileLevel`], [`Error::TileWidth`].
    pub const fn new(level: u8, index: u64, width: u16) -> Result<Self, Error> {
        if level > MAX_LEVEL {
            return Err(Error::TileLevel { level });
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(Error::TileWidth { width });
        }
        Ok(Self {
            level,
            index,
            width,
        })
    }

    /// The tile at this position in a tree of `size` leaves, with its width there, or `None` when
    /// the tree has no part of it.
    #[must_use]
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let width = width_at(index, hashes_at(level, size));
        Self::new(level, index, width).ok()
    }

    /// Its level: 0 holds leaf hashes.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its index within the level.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The number of its hashes, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all of its 256 hashes.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The tile at the same position, full.
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Whether a tree of `size` leaves has all of these hashes.
    #[must_use]
    pub fn is_within(self, size: u64) -> bool {
        width_at(self.index, hashes_at(self.level, size)) >= self.width
    }

    /// The length of its contents: 32 bytes per hash.
    #[must_use]
    pub fn byte_len(self) -> usize {
        usize::from(self.width).saturating_mul(HASH_BYTES)
    }

    /// Its hashes from its contents.
    ///
    /// # Errors
    /// [`Error::TileLength`] unless there are exactly [`byte_len`](Self::byte_len) bytes.
    pub fn parse(self, contents: &[u8]) -> Result<Vec<Hash>, Error> {
        let (hashes, rest) = contents.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() || contents.len() != self.byte_len() {
            return Err(Error::TileLength {
                path: self.to_string(),
                wanted: self.byte_len(),
                found: contents.len(),
            });
        }
        Ok(hashes.iter().copied().map(Hash::new).collect())
    }

    /// Its contents from its hashes.
    ///
    /// # Errors
    /// [`Error::TileLength`] unless there are exactly `width` hashes.
    pub fn encode(self, hashes: &[Hash]) -> Result<Vec<u8>, Error> {
        if hashes.len() != usize::from(self.width) {
            return Err(Error::TileLength {
                path: self.to_string(),
                wanted: self.byte_len(),
                found: hashes.len().saturating_mul(HASH_BYTES),
            });
        }
        Ok(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TilePath::Hashes(*self).fmt(f)
    }
}

/// The position and width of an entry bundle: entries `256·index` up to `256·index + width`.
///
/// `Display` is its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// A bundle of 1 to 256 entries; with fewer than 256 it is a partial one.
    ///
    /// # Errors
    /// [`Error::TileWidth`].
    pub const fn new(index: u64, width: u16) -> Result<Self, Error> {
        if width == 0 || width > TILE_WIDTH {
            return Err(Error::TileWidth { width });
        }
        Ok(Self { index, width })
    }

    /// The bundle at this index in a log of `size` entries, or `None` when the log has no part of
    /// it.
    #[must_use]
    pub fn in_tree(index: u64, size: u64) -> Option<Self> {
        Self::new(index, width_at(index, size)).ok()
    }

    /// Its index.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The number of its entries, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all of its 256 entries.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The bundle at the same position, full.
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Whether a log of `size` entries has all of these.
    #[must_use]
    pub fn is_within(self, size: u64) -> bool {
        width_at(self.index, size) >= self.width
    }

    /// The index of its first entry, or `None` when no log can have that many.
    #[must_use]
    pub fn first_entry(self) -> Option<u64> {
        self.index.checked_mul(TILE_WIDTH_U64)
    }

    /// The level 0 tile with the hashes of these entries.
    #[must_use]
    pub const fn tile(self) -> Tile {
        Tile {
            level: 0,
            index: self.index,
            width: self.width,
        }
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TilePath::Entries(*self).fmt(f)
    }
}

/// The number of hashes in the tiles of a level in a tree of `size` leaves: `floor(size /
/// 256^level)`.
pub(crate) fn hashes_at(level: u8, size: u64) -> u64 {
    u32::from(level)
        .checked_mul(TILE_HEIGHT)
        .and_then(|bits| size.checked_shr(bits))
        .unwrap_or(0)
}

/// The number of a level's hashes in the tile at `index`: 0 to 256.
fn width_at(index: u64, hashes: u64) -> u16 {
    let before = index.saturating_mul(TILE_WIDTH_U64);
    let width = hashes.saturating_sub(before).min(TILE_WIDTH_U64);
    u16::try_from(width).unwrap_or(TILE_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_specifications_example() {
        assert_eq!(Tile::in_tree(0, 272, 70_000).map(Tile::width), Some(256));
        assert_eq!(Tile::in_tree(0, 273, 70_000).map(Tile::width), Some(112));
        assert_eq!(Tile::in_tree(0, 274, 70_000), None);
        assert_eq!(Tile::in_tree(1, 0, 70_000).map(Tile::width), Some(256));
        assert_eq!(Tile::in_tree(1, 1, 70_000).map(Tile::width), Some(17));
        assert_eq!(Tile::in_tree(2, 0, 70_000).map(Tile::width), Some(1));
        assert_eq!(Tile::in_tree(3, 0, 70_000), None);
    }

    #[test]
    fn levels_above_the_largest_tree_are_empty_and_none_overflows() {
        for level in 0..=u8::MAX {
            let tile = Tile::in_tree(level, 0, u64::MAX);
            assert_eq!(tile.is_some(), level < 8, "level {level}");
            assert_eq!(Tile::in_tree(level, u64::MAX, u64::MAX), None);
        }
        let far = Bundle::new(u64::MAX, 1).unwrap();
        assert!(!far.is_within(u64::MAX) && far.first_entry().is_none());
    }

    #[test]
    fn a_place_is_checked_when_made() {
        assert_eq!(Tile::new(64, 0, 1), Err(Error::TileLevel { level: 64 }));
        assert_eq!(Tile::new(0, 0, 0), Err(Error::TileWidth { width: 0 }));
        assert_eq!(Bundle::new(0, 257), Err(Error::TileWidth { width: 257 }));
    }

    #[test]
    fn contents_have_exactly_the_tiles_length() {
        let tile = Tile::new(0, 0, 2).unwrap();
        let hashes = [Hash::EMPTY_TREE; 2];
        let contents = tile.encode(&hashes).unwrap();
        assert_eq!(tile.parse(&contents).unwrap(), hashes);
        for wrong in [0, 32, 63, 65, 96] {
            assert!(matches!(
                tile.parse(&[0; 96][..wrong]),
                Err(Error::TileLength { wanted: 64, found, .. }) if found == wrong
            ));
        }
        assert!(tile.encode(&hashes[..1]).is_err());
    }
}
