//! Files under `tile/` that the current tree does not need: of earlier widths, of entries that are
//! not sealed yet, and foreign ones.

use livetrail_tlog::{Bundle, MAX_ENTRY_BYTES, Tile, TilePath, leaf_hash, parse_bundle};

use crate::finding::Outcome;
use crate::finding::{Class, Finding};
use crate::report::Figures;
use crate::scan::{Fetched, TILE_BYTES, get, get_tile};
use crate::sources::Source;

/// The maximum number of directories that wait to be read; a log has some thousand in each.
const MAX_DIRS: usize = 1 << 17;

/// The maximum number of files of a directory that are checked in the order of their names, so that
/// two reports of one trail are equal; a log has some thousand in each.
const MAX_SORTED: usize = 1 << 17;

/// Compares every file of an earlier width with the tree, and counts the others.
pub(crate) fn check(source: &dyn Source, size: u64, figures: &mut Figures, found: &mut Outcome) {
    if !source.lists() {
        found.notes.push(
            "a site cannot be listed: only the files of the current tree were read".to_owned(),
        );
        return;
    }
    let mut dirs = vec!["tile".to_owned()];
    while let Some(dir) = dirs.pop() {
        let mut too_many = false;
        let (mut files, waiting) = (Vec::new(), dirs.len());
        let listed = source.list(&dir, &mut |name, is_dir| {
            let path = format!("{dir}/{name}");
            if !is_dir && files.len() < MAX_SORTED {
                files.push(path);
            } else if !is_dir {
                one(source, &path, size, figures, found);
            } else if dirs.len() < MAX_DIRS {
                dirs.push(path);
            } else {
                too_many = true;
            }
        });
        files.sort_unstable();
        for path in files {
            one(source, &path, size, figures, found);
        }
        // The last one is read first.
        if let Some(new) = dirs.get_mut(waiting..) {
            new.sort_unstable_by(|a, b| b.cmp(a));
        }
        if let Err(error) = listed {
            found.problems.push(format!("cannot list {dir}: {error}"));
        }
        if too_many {
            found.notes.push(
                "tile/ has more directories than a log can have: some were not read".to_owned(),
            );
        }
    }
}

fn one(source: &dyn Source, path: &str, size: u64, figures: &mut Figures, found: &mut Outcome) {
    let count = match path.parse() {
        Ok(TilePath::Hashes(tile)) if !tile.is_within(size) => &mut figures.beyond,
        Ok(TilePath::Entries(bundle)) if !bundle.is_within(size) => &mut figures.beyond,
        Ok(TilePath::Hashes(tile)) => {
            let now = Tile::in_tree(tile.level(), tile.index(), size);
            match now.filter(|now| *now != tile) {
                Some(now) => {
                    old_tile(source, tile, now, found);
                    &mut figures.old_files
                }
                None => return,
            }
        }
        Ok(TilePath::Entries(bundle)) => {
            let now = Bundle::in_tree(bundle.index(), size);
            match now.filter(|now| *now != bundle) {
                Some(now) => {
                    old_bundle(source, bundle, now.tile(), found);
                    &mut figures.old_files
                }
                None => return,
            }
        }
        Err(_) => &mut figures.strays,
    };
    *count = count.saturating_add(1);
}

fn old_tile(source: &dyn Source, old: Tile, now: Tile, found: &mut Outcome) {
    let path = old.to_string();
    let Some(bytes) = bytes_of(get(source, &path, TILE_BYTES), &path, found) else {
        return;
    };
    // The tree's current tile at this position was compared before.
    let Fetched::Bytes(current) = get_tile(source, now) else {
        return;
    };
    if current.get(..old.byte_len()) != Some(bytes.as_slice()) {
        let text = "a hash tile of an earlier width differs from the tree";
        found
            .findings
            .add(Finding::failure(Class::Tile, text).path(path));
    }
}

fn old_bundle(source: &dyn Source, old: Bundle, now: Tile, found: &mut Outcome) {
    let path = old.to_string();
    let most = usize::from(old.width()).saturating_mul(MAX_ENTRY_BYTES.saturating_add(2));
    let Some(bytes) = bytes_of(get(source, &path, most), &path, found) else {
        return;
    };
    let Fetched::Bytes(tile) = get_tile(source, now) else {
        return;
    };
    let Ok(hashes) = now.parse(&tile) else { return };
    let first = old.first_entry().unwrap_or(0);
    match parse_bundle(old, &bytes) {
        Ok(entries) => {
            let differs = entries
                .iter()
                .zip(&hashes)
                .position(|(entry, hash)| leaf_hash(entry) != *hash);
            if let Some(at) = differs {
                let text = "an entry in a bundle of an earlier width is not the one in the tree";
                let index = first.saturating_add(u64::try_from(at).unwrap_or(0));
                found.findings.add(
                    Finding::failure(Class::EntryChanged, text)
                        .at(index)
                        .path(path),
                );
            }
        }
        Err(error) => found.findings.add(
            Finding::failure(Class::Bundle, error.to_string())
                .at(first)
                .path(path),
        ),
    }
}

fn bytes_of(got: Fetched, path: &str, found: &mut Outcome) -> Option<Vec<u8>> {
    match got {
        Fetched::Bytes(bytes) => return Some(bytes),
        // A file of an earlier width may disappear at any time.
        Fetched::Missing => {}
        Fetched::Bad(text) => found
            .findings
            .add(Finding::failure(Class::Tile, text).path(path)),
        Fetched::Problem(problem) => found.problems.push(problem),
    }
    None
}
