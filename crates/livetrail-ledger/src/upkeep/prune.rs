//! Retention: removes bundles of entries, keeps hash tiles and checkpoints (ledger-format §6).
//! **The order is the design**: each step's comment says what a crash right there means.
//!
//! 1. The owner appends an entry that states which entries are removed and by which policy, and a
//!    checkpoint that covers it is published. *Crash: the entries still exist although the log says
//!    that they are removed; the next pruning appends such an entry again.*
//! 2. `private/pruned` states up to which index bundles are removed. *Crash: the next start removes
//!    them.*
//! 3. The bundles are removed. *Crash: some are removed; as in 2.*
//! 4. `private/pruned` states that they are removed.
//!
//! ```text
//! livetrail-pruned/v1 LF
//! below <index, decimal> LF      bundles of entries below this are no longer needed
//! gone <index, decimal> LF       bundles of entries below this no longer exist
//! ```

use livetrail_tlog::{Bundle, TILE_WIDTH};

use crate::{
    error::LedgerError,
    layout,
    store::{Access, Store, parent, replace},
    upkeep::cursor::{prunable_below, read_cursors},
};

const FIRST_LINE: &str = "livetrail-pruned/v1";

/// How far a trail has been pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// The first entry that is kept.
    pub(crate) below: u64,
    gone: u64,
}

impl Pruned {
    pub(crate) fn read(store: &dyn Store) -> Result<Self, LedgerError> {
        let bytes = match store.read(layout::PRUNED) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(LedgerError::io("read", layout::PRUNED, error)),
        };
        str::from_utf8(&bytes)
            .ok()
            .and_then(Self::parse)
            .ok_or(LedgerError::PrunedFile)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let pruned = Self {
            below: lines.next()?.strip_prefix("below ")?.parse().ok()?,
            gone: lines.next()?.strip_prefix("gone ")?.parse().ok()?,
        };
        let whole =
            pruned.gone <= pruned.below && is_border(pruned.below) && is_border(pruned.gone);
        (lines.next().is_none() && whole).then_some(pruned)
    }

    fn write(self, store: &dyn Store) -> Result<(), LedgerError> {
        let text = format!("{FIRST_LINE}\nbelow {}\ngone {}\n", self.below, self.gone);
        replace(store, layout::PRUNED, text.as_bytes(), Access::Private)
            .map_err(|error| LedgerError::io("write", layout::PRUNED, error))
    }

    /// Removes the bundles that a crash has left. Returns the number of removed bundles.
    pub(crate) fn finish(mut self, store: &dyn Store) -> Result<u64, LedgerError> {
        let mut removed = 0_u64;
        if self.gone == self.below {
            return Ok(removed);
        }
        let mut dir = String::new();
        for number in bundles_below(self.gone)..bundles_below(self.below) {
            let path = Bundle::new(number, TILE_WIDTH)?.to_string();
            if parent(&path) != dir {
                sync(store, &dir)?;
                parent(&path).clone_into(&mut dir);
            }
            let failed = |error| LedgerError::io("remove", path.as_str(), error);
            if store.exists(&path).map_err(failed)? {
                store.remove(&path).map_err(failed)?;
                removed = removed.saturating_add(1);
            }
        }
        // Before the file states that they are gone.
        sync(store, &dir)?;
        self.gone = self.below;
        self.write(store)?;
        Ok(removed)
    }
}

/// The index up to which entries may be pruned when a policy is to remove everything below
/// `wanted`: not beyond the needs of replicas and holds (I6), nor beyond the bundle of the last
/// sealed entry, and always the first entry of a bundle. At least the index that is pruned already.
pub(crate) fn bound(store: &dyn Store, wanted: u64, sealed: u64) -> Result<u64, LedgerError> {
    let cursors = read_cursors(store)?;
    let cursors: Vec<_> = cursors.into_iter().map(|(_, cursor)| cursor).collect();
    let bound = prunable_below(wanted, sealed.saturating_sub(1), &cursors);
    Ok(bound.max(Pruned::read(store)?.below))
}

/// Steps 2 to 4, with the entry of step 1 at index `record`. Returns the number of removed bundles.
pub(crate) fn prune(
    store: &dyn Store,
    below: u64,
    record: u64,
    sealed: u64,
) -> Result<u64, LedgerError> {
    if record < below || record >= sealed {
        return Err(LedgerError::PruneUnrecorded { record, sealed });
    }
    let before = Pruned::read(store)?;
    // Checked again: somebody may have set a hold since the pruning was planned.
    let bound = bound(store, below, sealed)?;
    if !is_border(below) || below > bound {
        return Err(LedgerError::PruneBeyond { below, bound });
    }
    if below <= before.below {
        return before.finish(store);
    }
    let pruned = Pruned {
        below,
        gone: before.gone,
    };
    pruned.write(store)?;
    pruned.finish(store)
}

fn sync(store: &dyn Store, dir: &str) -> Result<(), LedgerError> {
    if dir.is_empty() {
        return Ok(());
    }
    store
        .sync_dir(dir)
        .map_err(|error| LedgerError::io("sync the directory", dir, error))
}

fn is_border(index: u64) -> bool {
    index.is_multiple_of(u64::from(TILE_WIDTH))
}

fn bundles_below(index: u64) -> u64 {
    index.checked_div(u64::from(TILE_WIDTH)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemStore;

    #[test]
    fn what_was_pruned_is_read_back_and_rubbish_is_refused() {
        let store = MemStore::new();
        store.create_dir(layout::PRIVATE).unwrap();
        assert_eq!(Pruned::read(&store).unwrap(), Pruned::default());
        let pruned = Pruned {
            below: 1024,
            gone: 512,
        };
        pruned.write(&store).unwrap();
        assert_eq!(Pruned::read(&store).unwrap(), pruned);
        for rubbish in [
            "",
            "livetrail-pruned/v1\nbelow 256\n",
            "livetrail-pruned/v1\nbelow 256\ngone 512\n",
            "livetrail-pruned/v1\nbelow 255\ngone 0\n",
            "livetrail-pruned/v2\nbelow 256\ngone 0\n",
        ] {
            store
                .write(layout::PRUNED, rubbish.as_bytes(), Access::Private)
                .unwrap();
            let error = Pruned::read(&store).unwrap_err();
            assert!(matches!(error, LedgerError::PrunedFile), "{rubbish:?}");
        }
    }
}
