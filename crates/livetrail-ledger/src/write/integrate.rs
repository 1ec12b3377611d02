//! From durable entries to tiles and bundles, which wait in the stage until a checkpoint is due.

use livetrail_tlog::{
    Bundle, Frontier, TILE_WIDTH, TileBuilder, TileReader as _, TreeHead, encode_entry_into,
    leaf_hash, parse_bundle,
};

use crate::{
    error::{Fatal, LedgerError},
    layout,
    passing::Blocked,
    read::tree_files::{Place, TreeFiles},
    store::{Access, SharedStore},
};

/// The tree to be signed. All of its files are in the stage, or published.
#[derive(Clone, Debug)]
pub(crate) struct TreeCut {
    pub(crate) head: TreeHead,
    pub(crate) frontier: Frontier,
}

/// The tree's right edge: the partial tiles' hashes and the partial bundle. At most 64 KiB and 16
/// MiB, for a tree of any size.
#[derive(Debug)]
pub(crate) struct Integrator {
    store: SharedStore,
    builder: TileBuilder,
    /// The entries of the partial bundle, encoded.
    bundle: Vec<u8>,
    /// Size of the last cut: files of that width exist.
    cut_size: u64,
    /// Files to be written, in order. Empty except within a call and after a [`Blocked::Passing`].
    pending: Vec<Pending>,
    /// Writing to the disk begins as soon as files are made.
    early: bool,
}

#[derive(Debug)]
struct Pending {
    path: String,
    bytes: Vec<u8>,
    access: Access,
}

impl Integrator {
    /// Continues from the published tree: reads its right edge, and refuses it unless it gives the
    /// signed root and the last bundle matches its tile (recovery, step 4). Reads at most one file
    /// per level and one bundle.
    pub(crate) fn resume(store: SharedStore, head: TreeHead) -> Result<Self, LedgerError> {
        let files = TreeFiles {
            store: store.as_ref(),
            place: Place::Published,
        };
        let builder = TileBuilder::resume(&files, head.size)?;
        let found = builder.head().root;
        if found != head.root {
            return Err(LedgerError::Root {
                size: head.size,
                signed: head.root,
                found,
            });
        }
        let bundle = last_bundle(&files, head.size)?;
        Ok(Self {
            builder,
            bundle,
            cut_size: head.size,
            pending: Vec::new(),
            early: false,
            store,
        })
    }

    /// The number of entries in the tree.
    pub(crate) const fn size(&self) -> u64 {
        self.builder.size()
    }

    /// The current frontier.
    pub(crate) fn frontier(&self) -> Frontier {
        self.builder.frontier()
    }

    /// Sets whether full files are written to the disk as soon as they are made, and not all at
    /// once with the checkpoint. Early writing spares concurrent syncs a wait, but costs more: use
    /// it when there is time.
    pub(crate) const fn write_early(&mut self, early: bool) {
        self.early = early;
    }

    /// Adds one entry to the tree. [`flush`](Self::flush) writes the files that it completes.
    pub(crate) fn append(&mut self, entry: &[u8]) -> Result<(), Fatal> {
        let tree = |source| Fatal::Tree { source };
        encode_entry_into(&mut self.bundle, entry).map_err(tree)?;
        let pending = &mut self.pending;
        let before = pending.len();
        let mut broken = Ok(());
        self.builder
            .append(leaf_hash(entry), |tile, hashes| match tile.encode(hashes) {
                Ok(bytes) => pending.push(Pending {
                    path: layout::staged(&tile.to_string()),
                    bytes,
                    access: Access::Tile,
                }),
                Err(source) => broken = Err(Fatal::Tree { source }),
            })
            .map_err(tree)?;
        broken?;
        if pending.len() > before {
            let last = self.builder.size().saturating_sub(1);
            let bundle = Bundle::new(bundle_of(last), TILE_WIDTH).map_err(tree)?;
            let room = Vec::with_capacity(self.bundle.len());
            pending.push(Pending {
                path: layout::staged(&bundle.to_string()),
                bytes: std::mem::replace(&mut self.bundle, room),
                access: Access::Entries,
            });
        }
        Ok(())
    }

    /// Writes the full files into the stage, without a sync. A crash here leaves only files in the
    /// stage, which the next start removes: the entries are in the write-ahead log.
    pub(crate) fn flush(&mut self) -> Result<(), Blocked> {
        let mut written = 0_usize;
        let mut result = Ok(());
        for pending in &self.pending {
            let Pending {
                path,
                bytes,
                access,
            } = pending;
            let done = if self.early {
                self.store.write_early(path, bytes, *access)
            } else {
                self.store.write(path, bytes, *access)
            };
            if let Err(error) = done {
                // The partly written file is removed, so that writing it again begins with an empty
                // file.
                let _ = self.store.remove(path);
                result = Err(Blocked::store("write", path.as_str(), error));
                break;
            }
            written = written.saturating_add(1);
        }
        self.pending.drain(..written);
        result
    }

    /// The current tree, to be signed. Also writes its partial files into the stage.
    pub(crate) fn cut(&mut self) -> Result<TreeCut, Blocked> {
        self.flush()?;
        let tree = |source| Blocked::Fatal(Fatal::Tree { source });
        let frontier = self.builder.frontier();
        let cut = TreeCut {
            head: frontier.head(),
            frontier,
        };
        let old = self.cut_size;
        let grown = |tile: &livetrail_tlog::Tile| !tile.is_within(old);
        let tiles = self.builder.partial_tiles();
        for (tile, hashes) in tiles.filter(|(tile, _)| grown(tile)) {
            self.pending.push(Pending {
                path: layout::staged(&tile.to_string()),
                bytes: tile.encode(hashes).map_err(tree)?,
                access: Access::Tile,
            });
        }
        let bundle = livetrail_tlog::partial_bundle(cut.head.size);
        if let Some(bundle) = bundle.filter(|bundle| !bundle.is_within(old)) {
            self.pending.push(Pending {
                path: layout::staged(&bundle.to_string()),
                bytes: self.bundle.clone(),
                access: Access::Entries,
            });
        }
        match self.flush() {
            Ok(()) => {
                self.cut_size = cut.head.size;
                Ok(cut)
            }
            Err(blocked) => {
                // Partial files depend on the size, so the next attempt makes new ones. Those
                // already written are removed, because a file in the stage may not be writable.
                self.pending.clear();
                for tile in livetrail_tlog::partial_tiles(cut.head.size) {
                    let _ = self.store.remove(&layout::staged(&tile.to_string()));
                }
                if let Some(bundle) = bundle {
                    let _ = self.store.remove(&layout::staged(&bundle.to_string()));
                }
                Err(blocked)
            }
        }
    }
}

/// The number of the bundle that contains an entry.
fn bundle_of(entry: u64) -> u64 {
    entry.checked_div(u64::from(TILE_WIDTH)).unwrap_or(0)
}

/// The entries of the last bundle, checked against their tile; kept if it is partial.
fn last_bundle(files: &TreeFiles<'_>, size: u64) -> Result<Vec<u8>, LedgerError> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(Vec::new());
    };
    let Some(bundle) = Bundle::in_tree(bundle_of(last), size) else {
        return Ok(Vec::new());
    };
    let bytes = files.bundle(bundle)?;
    let corrupt = |what: String| LedgerError::FileCorrupt {
        path: bundle.to_string(),
        what,
    };
    let entries = parse_bundle(bundle, &bytes).map_err(|error| corrupt(error.to_string()))?;
    let hashes = bundle.tile().parse(&files.read_tile(bundle.tile())?)?;
    if let Some(at) = entries
        .iter()
        .zip(&hashes)
        .position(|(entry, hash)| leaf_hash(entry) != *hash)
    {
        let index = bundle
            .first_entry()
            .unwrap_or_default()
            .saturating_add(at as u64);
        return Err(corrupt(format!("entry {index} is not the one in the tree")));
    }
    Ok(if bundle.is_full() { Vec::new() } else { bytes })
}
