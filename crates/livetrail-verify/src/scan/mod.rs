//! One bundle with its hash tile: the work of one worker, independent of the others and of their
//! order.

pub(crate) mod bundles;
pub(crate) mod entry;
pub(crate) mod hashes;
pub(crate) mod leftovers;
mod plain;
pub(crate) mod tree;
mod words;
#[cfg(feature = "host")]
mod workers;

use livetrail_tlog::{Bundle, Hash, MAX_ENTRY_BYTES, TILE_WIDTH, Tile, parse_bundle};

use crate::finding::{Class, Finding};
use crate::scan::entry::Records;
use crate::scan::hashes::{leaf_hashes, root};
use crate::sources::{Source, SourceError};

/// The bytes of the length before an entry in a bundle.
const LENGTH_BYTES: usize = 2;

/// The maximum number of bytes of a bundle: 256 entries with their lengths.
const MAX_BUNDLE_BYTES: usize = (MAX_ENTRY_BYTES + LENGTH_BYTES) * TILE_WIDTH as usize;

/// The bytes of a full tile.
pub(crate) const TILE_BYTES: usize = 32 * TILE_WIDTH as usize;

/// The result of scanning a bundle.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) bundle: Bundle,
    /// Its leaf hashes: as many as its width, or none when neither bundle nor tile gives them.
    pub(crate) hashes: Vec<Hash>,
    /// Their root, when the bundle is full.
    pub(crate) root: Option<Hash>,
    /// Its records; `None` for an entry that is not a record. Empty when the entries are missing.
    pub(crate) records: Records,
    /// The entries are missing, but their hashes exist.
    pub(crate) removed: bool,
    /// The hashes in the tile, and the position where they begin to differ from those of the
    /// entries, when it is unknown which are right.
    pub(crate) disputed: Option<(Vec<Hash>, usize)>,
    pub(crate) findings: Vec<Finding>,
    /// Why nothing is known of it.
    pub(crate) problem: Option<String>,
    /// Bytes that were read.
    pub(crate) bytes: usize,
}

/// A file, or the problem with it.
pub(crate) enum Fetched {
    Bytes(Vec<u8>),
    Missing,
    Bad(String),
    Problem(String),
}

pub(crate) fn get(source: &dyn Source, path: &str, most: usize) -> Fetched {
    get_into(source, path, most, Vec::new())
}

/// Reads into this memory, if there is such a file.
fn get_into(source: &dyn Source, path: &str, most: usize, mut memory: Vec<u8>) -> Fetched {
    match source.read_into(path, most, &mut memory) {
        Ok(true) => Fetched::Bytes(memory),
        Ok(false) => Fetched::Missing,
        Err(SourceError::Io(error)) => Fetched::Problem(format!("cannot read {path}: {error}")),
        Err(error) => Fetched::Bad(error.to_string()),
    }
}

/// The bytes of a tile in exactly this width: from its own file or, if that does not exist, from
/// the full one.
pub(crate) fn get_tile(source: &dyn Source, tile: Tile) -> Fetched {
    match get(source, &tile.to_string(), TILE_BYTES) {
        Fetched::Missing if !tile.is_full() => {
            match get(source, &tile.full().to_string(), TILE_BYTES) {
                Fetched::Bytes(mut bytes) if bytes.len() == TILE_BYTES => {
                    bytes.truncate(tile.byte_len());
                    Fetched::Bytes(bytes)
                }
                Fetched::Bytes(_) => Fetched::Missing,
                other => other,
            }
        }
        other => other,
    }
}

impl Scanned {
    fn new(bundle: Bundle, mut records: Records) -> Self {
        records.clear();
        Self {
            bundle,
            hashes: Vec::new(),
            root: None,
            records,
            removed: false,
            disputed: None,
            findings: Vec::new(),
            problem: None,
            bytes: 0,
        }
    }

    /// The memory of its records, for another bundle. That of a large bundle is not used again, so
    /// that hostile texts do not add up.
    pub(crate) fn into_records(self) -> Records {
        if self.bytes <= MAX_KEPT_BYTES {
            self.records
        } else {
            Records::default()
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.bundle.first_entry().unwrap_or(u64::MAX)
    }
}

/// The maximum number of bytes of a bundle whose memory is used again. A bundle of usual records
/// has a quarter.
const MAX_KEPT_BYTES: usize = 512 << 10;

/// Scans a bundle. Its records go into the memory of an earlier one's.
pub(crate) fn scan(source: &dyn Source, bundle: Bundle, size: u64, records: Records) -> Scanned {
    let mut scanned = Scanned::new(bundle, records);
    let from_tile = tile_hashes(source, bundle.tile(), &mut scanned);
    let from_entries = entry_hashes(source, bundle, &mut scanned);
    if scanned.problem.is_some() {
        return scanned;
    }
    let first = scanned.first();
    let (hashes, root) = match (from_entries, from_tile) {
        (Some(entries), Some(tile)) => {
            let root = entries.full_root();
            match entries.hashes.iter().zip(&tile).position(|(a, b)| a != b) {
                None => (entries.hashes, root),
                Some(at) => disagreement(source, size, (entries.hashes, tile), at, &mut scanned),
            }
        }
        (Some(entries), None) => {
            let root = entries.full_root();
            (entries.hashes, root)
        }
        (None, Some(tile)) => {
            let root = bundle.is_full().then(|| root(&tile));
            (tile, root)
        }
        (None, None) => {
            let text = "both the entries and their hash tile are missing or unusable: the rest of the tree cannot be computed";
            scanned.findings.push(
                Finding::failure(Class::Missing, text)
                    .at(first)
                    .path(bundle),
            );
            return scanned;
        }
    };
    scanned.hashes = hashes;
    scanned.root = root;
    scanned
}

struct Entries {
    hashes: Vec<Hash>,
}

impl Entries {
    fn full_root(&self) -> Option<Hash> {
        (self.hashes.len() == usize::from(TILE_WIDTH)).then(|| root(&self.hashes))
    }
}

fn tile_hashes(source: &dyn Source, tile: Tile, scanned: &mut Scanned) -> Option<Vec<Hash>> {
    let first = scanned.first();
    let mut wrong = |class, text: String| {
        scanned
            .findings
            .push(Finding::failure(class, text).at(first).path(tile));
        None
    };
    match get_tile(source, tile) {
        Fetched::Bytes(bytes) => match tile.parse(&bytes) {
            Ok(hashes) => {
                scanned.bytes = scanned.bytes.saturating_add(bytes.len());
                Some(hashes)
            }
            Err(error) => wrong(Class::Tile, error.to_string()),
        },
        Fetched::Missing => wrong(Class::Missing, "the hash tile is missing".to_owned()),
        Fetched::Bad(text) => wrong(Class::Tile, format!("the hash tile {text}")),
        Fetched::Problem(problem) => {
            scanned.problem = Some(problem);
            None
        }
    }
}

fn entry_hashes(source: &dyn Source, bundle: Bundle, scanned: &mut Scanned) -> Option<Entries> {
    let mut at = bundle;
    let memory = scanned.records.take_bytes();
    let mut got = get_into(source, &bundle.to_string(), MAX_BUNDLE_BYTES, memory);
    if matches!(got, Fetched::Missing) && !bundle.is_full() {
        at = bundle.full();
        got = get(source, &at.to_string(), MAX_BUNDLE_BYTES);
    }
    let first = scanned.first();
    let bad = |text: String| Finding::failure(Class::Bundle, text).at(first).path(at);
    let bytes = match got {
        Fetched::Bytes(bytes) => bytes,
        Fetched::Missing => {
            scanned.removed = true;
            return None;
        }
        Fetched::Bad(text) => {
            scanned.findings.push(bad(format!("the bundle {text}")));
            return None;
        }
        Fetched::Problem(problem) => {
            scanned.problem = Some(problem);
            return None;
        }
    };
    scanned.bytes = scanned.bytes.saturating_add(bytes.len());
    let mut entries = match parse_bundle(at, &bytes) {
        Ok(entries) => entries,
        Err(error) => {
            scanned.findings.push(bad(error.to_string()));
            return None;
        }
    };
    entries.truncate(usize::from(bundle.width()));
    let hashes = leaf_hashes(&entries);
    let mut end = 0_usize;
    for (index, entry) in (first..).zip(&entries) {
        let start = end.saturating_add(LENGTH_BYTES);
        end = start.saturating_add(entry.len());
        if let Err(error) = scanned.records.push(start, entry) {
            scanned.findings.push(
                Finding::failure(Class::Record, format!("not a record: {error}"))
                    .at(index)
                    .path(at),
            );
        }
    }
    scanned.records.set_bytes(bytes);
    Some(Entries { hashes })
}

/// Entries and tile differ. The level above, if there is one, shows which of them was signed.
fn disagreement(
    source: &dyn Source,
    size: u64,
    (entries, tile): (Vec<Hash>, Vec<Hash>),
    at: usize,
    scanned: &mut Scanned,
) -> (Vec<Hash>, Option<Hash>) {
    if !scanned.bundle.is_full() {
        // The last tile: the signed root decides.
        scanned.disputed = Some((tile, at));
        return (entries, None);
    }
    let above = hash_above(source, scanned.bundle, size);
    let (of_entries, of_tile) = (root(&entries), root(&tile));
    let finding = scanned.disagreement(at, above == Some(of_entries));
    scanned.findings.push(finding);
    if above == Some(of_tile) {
        (tile, Some(of_tile))
    } else {
        (entries, Some(of_entries))
    }
}

impl Scanned {
    /// The finding that entries and tile differ from hash `at` on.
    pub(crate) fn disagreement(&self, at: usize, entries_are_right: bool) -> Finding {
        let finding = if entries_are_right {
            let text = "the hash tile differs from the hashes of its entries";
            Finding::failure(Class::Tile, text).path(self.bundle.tile())
        } else {
            let text = "the entry does not have the hash in its tile";
            Finding::failure(Class::EntryChanged, text).path(self.bundle)
        };
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        finding.at(self.first().saturating_add(at))
    }
}

/// The hash of a full bundle in the tile of level 1.
fn hash_above(source: &dyn Source, bundle: Bundle, size: u64) -> Option<Hash> {
    let width = u64::from(TILE_WIDTH);
    let tile = Tile::in_tree(1, bundle.index().checked_div(width)?, size)?;
    let Fetched::Bytes(bytes) = get_tile(source, tile) else {
        return None;
    };
    let at = usize::try_from(bundle.index().checked_rem(width)?).ok()?;
    tile.parse(&bytes).ok()?.get(at).copied()
}
