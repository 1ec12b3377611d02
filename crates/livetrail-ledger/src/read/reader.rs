//! Reading a trail, also one that another process writes. Returns nothing beyond the published
//! checkpoint (I4).

use std::{fmt, io, ops::Range, sync::Arc};

use livetrail_tlog::{
    Bundle, Hash, KeyId, ProofFile, RetiredKey, TILE_WIDTH, Tile, TilePath, TileReader as _,
    TileTree, TreeHead, VerifiedCheckpoint, VerifierKey, parse_bundle,
};

use crate::{
    error::LedgerError,
    identity::OwnVerifier,
    layout,
    manifest::Manifest,
    own_keys::{self, HandOver},
    read::tree_files::{Place, TreeFiles},
    store::SharedStore,
    upkeep::cursor::{Cursor, read_cursors},
    upkeep::prune::Pruned,
    witness::MAX_WITNESSES,
};

/// Reads a trail. It needs no key, takes no lock and writes nothing.
///
/// Every call uses the checkpoint that is published at that time; [`checkpoint`](Self::checkpoint)
/// verifies it with the public keys in `private/log.json`. Proofs are checked before they are
/// returned; the holder of a proof checks the entry.
pub struct Reader {
    store: SharedStore,
    origin: String,
    keys: [VerifierKey; 2],
    verifier: OwnVerifier,
    /// The keys are from `private/log.json`: if that file changes, its new keys count.
    trusts_manifest: bool,
}

impl Reader {
    /// A reader of the trail in this store.
    ///
    /// # Errors
    /// [`LedgerError::NoTrail`], [`LedgerError::Manifest`], [`LedgerError::Format`], or an error of
    /// the store.
    pub fn open(store: SharedStore) -> Result<Self, LedgerError> {
        let store = store.for_reading().unwrap_or(store);
        let manifest = Manifest::read(store.as_ref())?;
        let keys = [manifest.signer_key()?, manifest.cosigner_key()?];
        let mut reader = Self::with_keys(store, manifest.origin, keys)?;
        reader.trusts_manifest = true;
        Ok(reader)
    }

    /// A reader of a trail's published part, such as a copy of its site. That has no
    /// `private/log.json`, so the caller gives origin and public keys: first the signing key
    /// (0x01), then the key of the self-cosignatures (0x04).
    ///
    /// # Errors
    /// [`LedgerError::Log`] when the keys are not of these types.
    pub fn with_keys(
        store: SharedStore,
        origin: impl Into<String>,
        keys: [VerifierKey; 2],
    ) -> Result<Self, LedgerError> {
        let origin = origin.into();
        let [signer, cosigner] = &keys;
        Ok(Self {
            verifier: OwnVerifier::new(&origin, signer, cosigner)?,
            store,
            origin,
            keys,
            trusts_manifest: false,
        })
    }

    /// The log's name in its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public keys for this trail's checkpoints: first the signing key (0x01), then the key of
    /// the self-cosignatures (0x04).
    #[must_use]
    pub fn verifier_keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Public keys of both kinds that signed this trail's checkpoints before its keys were changed,
    /// oldest first.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn retired_keys(&self) -> Result<Vec<VerifierKey>, LedgerError> {
        Manifest::read(self.store.as_ref())?.retired_keys()
    }

    /// The checkpoint under which this key was retired, as it was published: signed with it and
    /// with its successor. `None` for a key that was not retired, or was retired before these files
    /// existed.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn hand_over(&self, key: KeyId) -> Result<Option<Vec<u8>>, LedgerError> {
        let path = layout::hand_over(key);
        match self.store.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LedgerError::io("read", path, error)),
        }
    }

    /// The newest checkpoint that at least `witnesses` of the log's witnesses have cosigned, as it
    /// was published, or `None` if there is none yet.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn cosigned(&self, witnesses: usize) -> Result<Option<Vec<u8>>, LedgerError> {
        let path = layout::cosigned(witnesses);
        match self.store.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LedgerError::io("read", path, error)),
        }
    }

    /// The checkpoint for a receipt of an entry: of those that cover it, the one that most
    /// witnesses have cosigned; otherwise the published one.
    fn checkpoint_over(&self, index: u64) -> Result<VerifiedCheckpoint, LedgerError> {
        let published = self.checkpoint()?;
        let mut best = None;
        for witnesses in 1..=MAX_WITNESSES {
            let Some(note) = self.cosigned(witnesses)? else {
                break;
            };
            // A checkpoint that cannot be verified is from earlier keys: the published one is as
            // good for a receipt.
            if let Ok(cosigned) = self.verifier.verify(&note)
                && (index < cosigned.head().size && cosigned.head().size <= published.head().size)
            {
                best = Some(cosigned);
            }
        }
        Ok(best.unwrap_or(published))
    }

    /// The published checkpoint, verified.
    ///
    /// # Errors
    /// [`LedgerError::CheckpointMissing`], [`LedgerError::CheckpointInvalid`], or an error of the
    /// store.
    pub fn checkpoint(&self) -> Result<VerifiedCheckpoint, LedgerError> {
        let bytes = self.checkpoint_bytes()?;
        match self.verifier.verify(&bytes) {
            Ok(checkpoint) => Ok(checkpoint),
            // The log may have changed its keys since.
            Err(_) if self.trusts_manifest => Self::open(Arc::clone(&self.store))?
                .verifier
                .verify(&bytes)
                .map_err(|source| LedgerError::CheckpointInvalid { source }),
            Err(source) => Err(LedgerError::CheckpointInvalid { source }),
        }
    }

    /// The retired keys, oldest first, each with the tree of its hand-over. A key counts for that
    /// tree and smaller ones, and for no other. A key without a hand-over is omitted, because
    /// nothing says up to which tree it counts.
    ///
    /// # Errors
    /// As for [`open`](Self::open); [`LedgerError::HandOver`] for a hand-over that the key and its
    /// successor have not both signed.
    pub fn retired(&self) -> Result<Vec<RetiredKey>, LedgerError> {
        own_keys::retired(&self.store, &Manifest::read(self.store.as_ref())?)
    }

    /// Every checkpoint under which keys of this trail were retired, by size.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`LedgerError::Log`] for a file that is not a checkpoint.
    pub fn hand_overs(&self) -> Result<Vec<HandOver>, LedgerError> {
        own_keys::hand_overs(&self.store, &Manifest::read(self.store.as_ref())?)
    }

    /// Verifies a checkpoint of this log from another source: a replica, an archive, an auditor.
    /// Retired keys count only up to their hand-over.
    ///
    /// # Errors
    /// [`LedgerError::CheckpointForeign`], [`LedgerError::CheckpointRetired`], or an error of the
    /// store.
    pub fn verify_checkpoint(&self, note: &[u8]) -> Result<VerifiedCheckpoint, LedgerError> {
        if self.trusts_manifest {
            // The log may have changed its keys since this reader was created.
            return own_keys::verify(&self.store, &Manifest::read(self.store.as_ref())?, note);
        }
        let verified = self.verifier.verify(note);
        verified.map_err(|source| LedgerError::CheckpointForeign { source })
    }

    fn checkpoint_bytes(&self) -> Result<Vec<u8>, LedgerError> {
        self.store
            .read(layout::CHECKPOINT)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => LedgerError::CheckpointMissing,
                _ => LedgerError::io("read", layout::CHECKPOINT, error),
            })
    }

    /// The bytes of a tile or bundle, as a site serves them. A partial one that no longer exists is
    /// made from the full one.
    ///
    /// # Errors
    /// [`LedgerError::BeyondPublished`] when the published checkpoint does not cover all of it
    /// (I4), [`LedgerError::FileMissing`] when it does and the file does not exist.
    pub fn file(&self, path: TilePath) -> Result<Vec<u8>, LedgerError> {
        match path {
            TilePath::Hashes(tile) => self.tile(tile),
            TilePath::Entries(bundle) => self.bundle(bundle),
        }
    }

    /// The bytes of a hash tile.
    ///
    /// # Errors
    /// As for [`file`](Self::file).
    pub fn tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        let size = self.checkpoint()?.head().size;
        if !tile.is_within(size) {
            let span = 1_u64.checked_shl(u32::from(tile.level()).saturating_mul(8));
            let first = tile.index().saturating_mul(u64::from(TILE_WIDTH));
            return Err(LedgerError::BeyondPublished {
                index: first.saturating_mul(span.unwrap_or(u64::MAX)),
                size,
            });
        }
        self.files().read_tile(tile)
    }

    /// The bytes of an entry bundle.
    ///
    /// # Errors
    /// As for [`file`](Self::file).
    pub fn bundle(&self, bundle: Bundle) -> Result<Vec<u8>, LedgerError> {
        let size = self.checkpoint()?.head().size;
        if !bundle.is_within(size) {
            return Err(LedgerError::BeyondPublished {
                index: bundle.first_entry().unwrap_or(u64::MAX),
                size,
            });
        }
        self.files().bundle(bundle)
    }

    /// One entry.
    ///
    /// # Errors
    /// [`LedgerError::BeyondPublished`], [`LedgerError::Pruned`], [`LedgerError::FileMissing`],
    /// [`LedgerError::FileCorrupt`].
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LedgerError> {
        let size = self.checkpoint()?.head().size;
        let beyond = || LedgerError::BeyondPublished { index, size };
        self.entries(index..index.saturating_add(1))?
            .next()
            .ok_or_else(beyond)?
    }

    /// The entries of a range, in order, as far as the currently published checkpoint covers them.
    /// One bundle is in memory at a time.
    ///
    /// # Errors
    /// Those of [`checkpoint`](Self::checkpoint).
    pub fn entries(&self, range: Range<u64>) -> Result<Entries<'_>, LedgerError> {
        let size = self.checkpoint()?.head().size;
        Ok(Entries {
            files: self.files(),
            next: range.start,
            end: range.end.min(size),
            size,
            bundle: Vec::new().into_iter(),
        })
    }

    /// How far [`Handle::prune`](crate::Handle::prune) may go now when a policy is to remove
    /// everything below `wanted`.
    ///
    /// # Errors
    /// As for [`Handle::prunable_below`](crate::Handle::prunable_below).
    pub fn prunable_below(&self, wanted: u64) -> Result<u64, LedgerError> {
        let sealed = self.checkpoint()?.head().size;
        crate::upkeep::prune::bound(self.store.as_ref(), wanted, sealed)
    }

    /// The first entry that was not pruned by policy.
    ///
    /// # Errors
    /// [`LedgerError::PrunedFile`], or an error of the store.
    pub fn first_index(&self) -> Result<u64, LedgerError> {
        Ok(Pruned::read(self.store.as_ref())?.below)
    }

    /// A self-contained receipt for one entry: a `.tlog-proof` file. It contains the published
    /// checkpoint or, if witnesses have cosigned one that covers the entry, that one.
    ///
    /// # Errors
    /// [`LedgerError::BeyondPublished`], and [`LedgerError::Log`] when the tiles do not lead to the
    /// signed root.
    pub fn inclusion_proof(&self, index: u64) -> Result<String, LedgerError> {
        let checkpoint = self.checkpoint_over(index)?;
        let size = checkpoint.head().size;
        if index >= size {
            return Err(LedgerError::BeyondPublished { index, size });
        }
        let tree = TileTree::new(self.files(), checkpoint.head());
        let (_, proof) = tree.inclusion_proof(index)?;
        Ok(ProofFile::new(index, proof, checkpoint.note().clone())?.encode())
    }

    /// The tree that the log had at `old_size`, and the proof that the tree of `size` grew out of
    /// it.
    ///
    /// # Errors
    /// [`LedgerError::BeyondPublished`] when `size` is not published, and [`LedgerError::Log`] when
    /// `old_size` is larger than `size` or the tiles do not lead to the signed root.
    pub fn consistency_proof(
        &self,
        old_size: u64,
        size: u64,
    ) -> Result<(TreeHead, Vec<Hash>), LedgerError> {
        let published = self.checkpoint()?.head();
        if size > published.size {
            return Err(LedgerError::BeyondPublished {
                index: size,
                size: published.size,
            });
        }
        let (head, _) = TileTree::new(self.files(), published).consistency_proof(size)?;
        TileTree::new(self.files(), head).consistency_proof(old_size)
    }

    /// All cursors and holds, by name.
    ///
    /// # Errors
    /// [`LedgerError::Cursor`] when one has an unknown format, or an error of the store.
    pub fn cursors(&self) -> Result<Vec<(String, Cursor)>, LedgerError> {
        read_cursors(self.store.as_ref())
    }

    pub(crate) fn files(&self) -> TreeFiles<'_> {
        TreeFiles {
            store: self.store.as_ref(),
            place: Place::Published,
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("store", &self.store)
            .field("verifier", &self.verifier)
            .finish()
    }
}

/// Entries of a range; see [`Reader::entries`]. Ends after an error.
#[derive(Debug)]
pub struct Entries<'a> {
    files: TreeFiles<'a>,
    next: u64,
    end: u64,
    size: u64,
    bundle: std::vec::IntoIter<Vec<u8>>,
}

impl Entries<'_> {
    fn load(&mut self) -> Result<(), LedgerError> {
        let width = u64::from(TILE_WIDTH);
        let index = self.next.checked_div(width).unwrap_or(0);
        let Some(bundle) = Bundle::in_tree(index, self.size) else {
            return Err(LedgerError::BeyondPublished {
                index: self.next,
                size: self.size,
            });
        };
        let bytes = match self.files.bundle(bundle) {
            // A bundle is pruned as a whole: the requested entry is one of its entries.
            Err(LedgerError::Pruned { below, .. }) => {
                let index = self.next;
                return Err(LedgerError::Pruned { index, below });
            }
            read => read?,
        };
        let entries = parse_bundle(bundle, &bytes).map_err(|error| LedgerError::FileCorrupt {
            path: bundle.to_string(),
            what: error.to_string(),
        })?;
        let skip = self.next.checked_rem(width).unwrap_or(0);
        let entries: Vec<_> = entries
            .into_iter()
            .skip(usize::try_from(skip).unwrap_or(0))
            .map(<[u8]>::to_vec)
            .collect();
        self.bundle = entries.into_iter();
        Ok(())
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Vec<u8>, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        if self.bundle.as_slice().is_empty()
            && let Err(error) = self.load()
        {
            self.end = self.next;
            return Some(Err(error));
        }
        self.next = self.next.saturating_add(1);
        self.bundle.next().map(Ok)
    }
}
