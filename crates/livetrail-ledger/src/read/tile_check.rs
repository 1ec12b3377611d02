//! Reading every full hash tile. A start does not do this: it reads the tree's right edge and
//! trusts the checks made before signing.

use livetrail_tlog::{Hash, TILE_WIDTH, Tile, TileReader as _, tree_root, tree_tiles};

use crate::{error::LedgerError, read::reader::Reader};

impl Reader {
    /// Reads each full hash tile under the published checkpoint, and compares it with the tile
    /// above, up to the right edge. Holds two tiles in memory. Calls `go_on` with the number of
    /// checked tiles; `false` ends the check early. Returns the number of checked tiles.
    ///
    /// # Errors
    /// [`LedgerError::FileMissing`] or [`LedgerError::FileCorrupt`] for the first tile that the
    /// checkpoint does not cover as it is, or an error of the store.
    pub fn check_tiles(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<u64, LedgerError> {
        let size = self.checkpoint()?.head().size;
        let files = self.files();
        let hashes_of = |tile: Tile| -> Result<Vec<Hash>, LedgerError> {
            let bytes = files.read_tile(tile)?;
            tile.parse(&bytes)
                .map_err(|error| corrupt(tile, error.to_string()))
        };
        let width = u64::from(TILE_WIDTH);
        let mut above: Option<(Tile, Vec<Hash>)> = None;
        let mut checked = 0_u64;
        for tile in tree_tiles(size).filter(|tile| tile.is_full()) {
            if !go_on(checked) {
                break;
            }
            let found = tree_root(&hashes_of(tile)?);
            let index = tile.index().checked_div(width).unwrap_or(0);
            let Some(parent) = Tile::in_tree(tile.level().saturating_add(1), index, size) else {
                continue;
            };
            let known = match above.take().filter(|(tile, _)| *tile == parent) {
                Some(known) => known,
                None => (parent, hashes_of(parent)?),
            };
            let at = usize::try_from(tile.index().checked_rem(width).unwrap_or(0));
            if known.1.get(at.unwrap_or(usize::MAX)) != Some(&found) {
                return Err(corrupt(tile, format!("{parent} has another hash of it")));
            }
            above = Some(known);
            checked = checked.saturating_add(1);
        }
        Ok(checked)
    }
}

fn corrupt(tile: Tile, what: String) -> LedgerError {
    LedgerError::FileCorrupt {
        path: tile.to_string(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        Access, Class, Ledger, LedgerError, Reader, Store as _,
        tests::harness::{created, identity, small},
    };

    #[test]
    fn a_full_tile_that_is_missing_or_flipped_is_found_and_named() {
        let mem = created();
        let builder = Ledger::builder(Arc::new(mem.clone()), identity()).options(small());
        let (ledger, _) = builder.open().unwrap();
        for _ in 0..9 {
            ledger.append(Class::Strict, &vec![b"x"; 100]).unwrap();
        }
        ledger.close().unwrap();
        let reader = Reader::open(Arc::new(mem.clone())).unwrap();
        assert_eq!(reader.check_tiles(&mut |_| true).unwrap(), 3);
        assert_eq!(reader.check_tiles(&mut |checked| checked < 2).unwrap(), 2);

        let good = mem.read("tile/0/001").unwrap();
        mem.remove("tile/0/001").unwrap();
        let missing = reader.check_tiles(&mut |_| true).unwrap_err();
        assert!(
            matches!(&missing, LedgerError::FileMissing { path } if path == "tile/0/001"),
            "{missing}"
        );
        let mut flipped = good;
        flipped[5_000] ^= 1;
        mem.write("tile/0/001", &flipped, Access::Tile).unwrap();
        let corrupt = reader.check_tiles(&mut |_| true).unwrap_err();
        assert!(
            matches!(&corrupt, LedgerError::FileCorrupt { path, .. } if path == "tile/0/001"),
            "{corrupt}"
        );
        // A start does not notice it; this check does.
        let builder = Ledger::builder(Arc::new(mem), identity()).options(small());
        builder.open().unwrap().0.close().unwrap();
    }
}
