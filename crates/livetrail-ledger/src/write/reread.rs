//! Reads back the files that are about to be signed, and hashes them again. This check would have
//! saved logs that signed a flipped bit.

use std::thread;

use livetrail_tlog::{
    Hash, Tile, TileReader as _, TileTree, TreeHead, leaf_hash, new_bundles, new_tiles,
    parse_bundle, tree_root,
};

use crate::{
    error::{Fatal, LedgerError},
    passing::Blocked,
    read::tree_files::{Place, TreeFiles},
    store::Store,
};

/// Reads every file that was added between the signed tree `old` and the tree `new` to be signed,
/// and derives the root from the entries up: each entry's hash is in its tile, each full tile's
/// hash is in the tile above, the right edge gives `new`'s root, and its tree of `old`'s size gives
/// `old`'s root. In memory are one file per level, and one hash per new full tile.
pub(crate) fn reread(store: &dyn Store, old: TreeHead, new: TreeHead) -> Result<(), Blocked> {
    let files = TreeFiles {
        store,
        place: Place::StagedFirst,
    };
    let mut below = reread_entries(&files, old.size, new.size)?;
    for level in 1_u8.. {
        if below.is_empty() {
            break;
        }
        below = reread_level(&files, level, old.size, new.size, &below)?;
    }
    let tree = TileTree::new(files, new);
    let found = tree.computed_root().map_err(blocked)?;
    if found != new.root {
        return Err(Blocked::Fatal(Fatal::RereadRoot {
            size: new.size,
            wanted: new.root,
            found,
        }));
    }
    let (before, _) = tree.consistency_proof(old.size).map_err(blocked)?;
    if before != old {
        return Err(Blocked::Fatal(Fatal::RereadRoot {
            size: old.size,
            wanted: old.root,
            found: before.root,
        }));
    }
    Ok(())
}

/// Compares bundles with level 0. Returns the hashes of the full tiles.
fn reread_entries(files: &TreeFiles<'_>, old: u64, new: u64) -> Result<Vec<(u64, Hash)>, Blocked> {
    let mut full = Vec::new();
    for bundle in new_bundles(old, new) {
        let bad = |what: String| {
            Blocked::Fatal(Fatal::Reread {
                path: bundle.to_string(),
                what,
            })
        };
        let bytes = files.bundle(bundle).map_err(blocked)?;
        let entries = parse_bundle(bundle, &bytes).map_err(|error| bad(error.to_string()))?;
        let hashes = read(files, bundle.tile())?;
        let differs = |(entry, hash): (&&[u8], &Hash)| leaf_hash(entry) != *hash;
        if let Some(at) = entries.iter().zip(&hashes).position(differs) {
            return Err(bad(format!("its entry {at} is not the one in the tile")));
        }
        // Nothing waits for this thread, and some kernels preempt it only every 4 ms. So it yields
        // to the committer after each file.
        thread::yield_now();
        if bundle.is_full() {
            full.push((bundle.index(), tree_root(&hashes)));
        }
    }
    Ok(full)
}

/// Compares a level above 0 with the full tiles below it.
fn reread_level(
    files: &TreeFiles<'_>,
    level: u8,
    old: u64,
    new: u64,
    below: &[(u64, Hash)],
) -> Result<Vec<(u64, Hash)>, Blocked> {
    let mut full = Vec::new();
    let mut below = below.iter().peekable();
    for tile in new_tiles(old, new).filter(|tile| tile.level() == level) {
        let hashes = read(files, tile)?;
        let first = tile.index().saturating_mul(256);
        let end = first.saturating_add(u64::from(tile.width()));
        while let Some((index, hash)) = below.next_if(|(index, _)| *index < end) {
            let at = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
            if hashes.get(at) != Some(hash) {
                return Err(Blocked::Fatal(Fatal::Reread {
                    path: tile.to_string(),
                    what: format!("its hash {at} is not that of the tile below"),
                }));
            }
        }
        if tile.is_full() {
            full.push((tile.index(), tree_root(&hashes)));
        }
    }
    Ok(full)
}

fn read(files: &TreeFiles<'_>, tile: Tile) -> Result<Vec<Hash>, Blocked> {
    let bytes = files.read_tile(tile).map_err(blocked)?;
    tile.parse(&bytes).map_err(|error| {
        Blocked::Fatal(Fatal::Reread {
            path: tile.to_string(),
            what: error.to_string(),
        })
    })
}

fn blocked(error: LedgerError) -> Blocked {
    Blocked::Fatal(match error {
        LedgerError::Io { op, path, source } => return Blocked::store(op, path, source),
        LedgerError::FileMissing { path } => Fatal::Reread {
            path,
            what: "it is missing".to_owned(),
        },
        LedgerError::FileCorrupt { path, what } => Fatal::Reread { path, what },
        other => Fatal::Reread {
            path: crate::layout::TILES.to_owned(),
            what: other.to_string(),
        },
    })
}
