//! The tree's files: reading tiles and bundles that may exist in another width, or in the stage.

use std::io;

use livetrail_tlog::{Bundle, TILE_WIDTH, Tile, TileReader, parse_bundle};

use crate::{error::LedgerError, layout, store::Store, upkeep::prune::Pruned};

/// Where to read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the served files.
    Published,
    /// In the stage, otherwise among the served files.
    StagedFirst,
}

/// Reads tiles and bundles of a trail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeFiles<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) place: Place,
}

impl TreeFiles<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let staged = layout::staged(path);
        let places: &[&str] = match self.place {
            Place::Published => &[path],
            Place::StagedFirst => &[&staged, path],
        };
        for path in places {
            match self.store.read(path) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LedgerError::io("read", *path, error)),
            }
        }
        Ok(None)
    }

    /// The bytes of a bundle in exactly this width; from the full one if the file of this width no
    /// longer exists.
    pub(crate) fn bundle(&self, bundle: Bundle) -> Result<Vec<u8>, LedgerError> {
        if let Some(bytes) = self.read(&bundle.to_string())? {
            return Ok(bytes);
        }
        if bundle.is_full() {
            return Err(self.absent(bundle));
        }
        let full = bundle.full();
        let whole = self.read(&full.to_string())?;
        let mut bytes = whole.ok_or_else(|| self.absent(bundle))?;
        let kept = parse_bundle(full, &bytes)
            .map_err(|error| LedgerError::FileCorrupt {
                path: full.to_string(),
                what: error.to_string(),
            })?
            .iter()
            .take(usize::from(bundle.width()))
            .map(|entry| entry.len().saturating_add(2))
            .sum();
        bytes.truncate(kept);
        Ok(bytes)
    }
}

impl TreeFiles<'_> {
    /// Why a bundle does not exist.
    fn absent(&self, bundle: Bundle) -> LedgerError {
        let index = bundle.first_entry().unwrap_or(u64::MAX);
        match Pruned::read(self.store) {
            Ok(Pruned { below, .. }) if index < below => LedgerError::Pruned { index, below },
            Ok(_) => LedgerError::FileMissing {
                path: bundle.to_string(),
            },
            Err(error) => error,
        }
    }
}

impl TileReader for TreeFiles<'_> {
    type Error = LedgerError;

    fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        if let Some(bytes) = self.read(&tile.to_string())? {
            return Ok(bytes);
        }
        let full = tile.full();
        let wide = if tile.width() < TILE_WIDTH {
            self.read(&full.to_string())?
        } else {
            None
        };
        let mut bytes = wide.ok_or_else(|| LedgerError::FileMissing {
            path: tile.to_string(),
        })?;
        if bytes.len() != full.byte_len() {
            return Err(LedgerError::FileCorrupt {
                path: full.to_string(),
                what: format!("{} bytes instead of {}", bytes.len(), full.byte_len()),
            });
        }
        bytes.truncate(tile.byte_len());
        Ok(bytes)
    }
}
