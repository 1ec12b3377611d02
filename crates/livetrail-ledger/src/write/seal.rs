//! From a tree in the stage to a published checkpoint. **The order is the design**: each step's
//! comment says what a crash right there means.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    sync::Arc,
    thread,
};

use livetrail_tlog::{
    Checkpoint, Note, NoteSignature, TreeHead, VerifiedCheckpoint, new_bundles, new_tiles,
    partial_bundle, partial_tiles,
};

use crate::{
    Clock,
    error::{Fatal, LedgerError},
    identity::{Identity, OwnVerifier},
    layout,
    manifest::Intent,
    passing::Blocked,
    store::{Access, SharedStore, Store, parent, replace},
    write::integrate::TreeCut,
    write::reread::reread,
    write::wal::list_segments,
};

/// Takes part in signing: the entry point for witnesses.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// use livetrail_ledger::{
///     CheckpointHook, Class, Identity, Ledger, MemStore, SharedStore, generate_seed,
/// };
/// use livetrail_tlog::VerifiedCheckpoint;
///
/// /// Shows the newest size to other threads.
/// struct Newest(Arc<AtomicU64>);
///
/// impl CheckpointHook for Newest {
///     fn published(&mut self, checkpoint: &VerifiedCheckpoint) {
///         self.0.store(checkpoint.head().size, Ordering::Relaxed);
///     }
/// }
///
/// let store: SharedStore = Arc::new(MemStore::new());
/// let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
/// Ledger::create(&store, &identity)?;
/// let size = Arc::new(AtomicU64::new(0));
/// let (ledger, _) = Ledger::builder(store, identity).hook(Newest(size.clone())).open()?;
/// ledger.append(Class::Strict, &["a record"])?;
/// ledger.close()?;
/// assert_eq!(size.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CheckpointHook: Send {
    /// Called with each checkpoint after it is signed and before it is published. The returned
    /// lines are published with it.
    ///
    /// It runs on the sealing thread, so a slow hook delays every checkpoint. Ask witnesses
    /// elsewhere, and pass their answers to
    /// [`Ledger::add_cosignatures`](crate::Handle::add_cosignatures). After a crash the hook may
    /// get the same checkpoint again, with the same bytes.
    fn signed(&mut self, checkpoint: &VerifiedCheckpoint) -> Vec<NoteSignature> {
        let _ = checkpoint;
        Vec::new()
    }

    /// Called after a checkpoint is published, also when it was published again with further
    /// cosignatures.
    fn published(&mut self, checkpoint: &VerifiedCheckpoint) {
        let _ = checkpoint;
    }
}

/// The cache of directories that are known to exist is emptied when it has this many.
const KNOWN_DIRS: usize = 256;

pub(crate) struct Sealer {
    store: SharedStore,
    identity: Arc<Identity>,
    verifier: OwnVerifier,
    clock: Arc<dyn Clock>,
    hooks: Vec<Box<dyn CheckpointHook>>,
    published: VerifiedCheckpoint,
    /// The largest intended size, with its root.
    intended: Intent,
    known_dirs: HashSet<String>,
}

/// A tree for which a checkpoint is being made. It is kept while the sealer waits for space.
pub(crate) struct Sealing {
    cut: TreeCut,
    step: Step,
}

enum Step {
    /// Files are in the stage. `again`: a sync of them failed, with a temporary error.
    Staged { again: bool },
    /// Files are durable and were read back; this many of them have their names. `again`: the step
    /// was tried before, and met a temporary error.
    Checked {
        paths: Vec<String>,
        named: usize,
        again: bool,
    },
    /// All files of the size are durable under their names.
    Named,
    /// The intent is durable.
    Intended(Intent),
}

impl Sealing {
    pub(crate) const fn new(cut: TreeCut) -> Self {
        Self {
            cut,
            step: Step::Staged { again: false },
        }
    }

    /// The number of entries under the future checkpoint.
    pub(crate) const fn size(&self) -> u64 {
        self.cut.head.size
    }
}

impl Sealer {
    pub(crate) fn new(
        store: SharedStore,
        identity: Arc<Identity>,
        clock: Arc<dyn Clock>,
        hooks: Vec<Box<dyn CheckpointHook>>,
        published: VerifiedCheckpoint,
        intended: Intent,
    ) -> Result<Self, LedgerError> {
        Ok(Self {
            verifier: identity.verifier()?,
            store,
            identity,
            clock,
            hooks,
            published,
            intended,
            known_dirs: HashSet::new(),
        })
    }

    pub(crate) const fn published(&self) -> &VerifiedCheckpoint {
        &self.published
    }

    /// Takes a tree to its checkpoint. After [`Blocked::Passing`] the next call continues at the
    /// same step.
    pub(crate) fn seal(&mut self, sealing: &mut Sealing) -> Result<(), Blocked> {
        loop {
            match &mut sealing.step {
                Step::Staged { again } => {
                    let paths = self.make_durable(&sealing.cut, again)?;
                    sealing.step = Step::Checked {
                        paths,
                        named: 0,
                        again: false,
                    };
                }
                Step::Checked {
                    paths,
                    named,
                    again,
                } => {
                    let was_begun = std::mem::replace(again, true);
                    self.name_files(paths, named, was_begun)?;
                    if was_begun {
                        // The file may have got its name although the system reported an error.
                        reread(self.store.as_ref(), self.published.head(), sealing.cut.head)?;
                    }
                    sealing.step = Step::Named;
                }
                Step::Named => {
                    let intent = self.intend(sealing.cut.head)?;
                    sealing.step = Step::Intended(intent);
                }
                Step::Intended(intent) => {
                    let intent = *intent;
                    self.publish(intent)?;
                    self.tidy();
                    return Ok(());
                }
            }
        }
    }

    /// 1. Files in the stage become durable. *Crash: the stage is emptied, the write-ahead log has
    ///    the entries.*
    ///
    /// 2. They are read back and hashed again, up to the root; the last signed tree must be part of
    ///    it. *Crash: as before.* A flipped bit, in memory or on the disk, stops the log here,
    ///    before anyone has seen it.
    ///
    /// A failed sync is not repeated on the same files: the log stops, and the next start makes
    /// them again from the write-ahead log. If the error is one that passes, they are rebuilt here,
    /// from the written data; the data read back are checked as always.
    fn make_durable(&self, cut: &TreeCut, again: &mut bool) -> Result<Vec<String>, Blocked> {
        let old = self.published.head();
        let store = self.store.as_ref();
        let mut paths: Vec<_> = new_bundles(old.size, cut.head.size)
            .map(|bundle| bundle.to_string())
            .collect();
        let bundles = paths.len();
        paths.extend(new_tiles(old.size, cut.head.size).map(|tile| tile.to_string()));
        let staged: Vec<_> = paths.iter().map(|path| layout::staged(path)).collect();
        if *again {
            for (at, path) in staged.iter().enumerate() {
                let access = if at < bundles {
                    Access::Entries
                } else {
                    Access::Tile
                };
                write_again(store, path, access)
                    .map_err(|error| Blocked::store("write", path, error))?;
            }
        }
        *again = true;
        store
            .sync_files(&staged)
            .map_err(|error| Blocked::store("sync", layout::STAGE, error))?;
        *again = false;
        reread(store, old, cut.head)?;
        Ok(paths)
    }

    /// 3. Files get their names, directories are synced. *Crash: some have their names. The next
    ///    start makes all of them again from the write-ahead log and finds these in place, with the
    ///    same bytes (I2); nobody reads them before a checkpoint covers them.*
    ///
    /// `again`: the step was tried before. What that attempt created is unknown, so each directory
    /// above a file is synced.
    fn name_files(
        &mut self,
        paths: &[String],
        named: &mut usize,
        again: bool,
    ) -> Result<(), Blocked> {
        let store = self.store.as_ref();
        // In a fixed order, like all operations on the store, so that a failure at one step of a
        // run is reproducible.
        let mut dirs = BTreeSet::new();
        for path in paths {
            dirs.insert(parent(path));
        }
        for dir in &dirs {
            if self.known_dirs.contains(*dir) {
                continue;
            }
            let mut made = store
                .create_dir(dir)
                .map_err(|error| Blocked::store("make the directory", *dir, error))?;
            if again {
                made = with_those_above(dir);
            }
            for made in &made {
                store
                    .sync_dir(parent(made))
                    .map_err(|error| Blocked::store("sync the directory", made, error))?;
            }
            if self.known_dirs.len() >= KNOWN_DIRS {
                self.known_dirs.clear();
            }
            self.known_dirs.insert((*dir).to_owned());
        }
        for path in paths.iter().skip(*named) {
            name_file(store, path, again)?;
            *named = named.saturating_add(1);
            // As with re-reading: nothing waits for this thread.
            thread::yield_now();
        }
        for dir in dirs {
            store
                .sync_dir(dir)
                .map_err(|error| Blocked::store("sync the directory", dir, error))?;
        }
        Ok(())
    }

    /// 4. The intent becomes durable: size, root, time. *Crash: the next start finds an intent
    ///    ahead of the checkpoint, derives that root again and signs the same bytes.* From here on
    ///    this size can have no other root.
    ///
    /// I3 is enforced here: never a size below the last intent, never the same size with another
    /// root.
    fn intend(&mut self, head: TreeHead) -> Result<Intent, Blocked> {
        let last = self.intended.head;
        if head.size < last.size || (head.size == last.size && head.root != last.root) {
            return Err(Blocked::Fatal(Fatal::SignBehind {
                size: head.size,
                intent: last.size,
            }));
        }
        if head == last {
            return Ok(self.intended);
        }
        let intent = Intent::now(head, self.clock.as_ref());
        intent
            .write(self.store.as_ref())
            .map_err(|error| Blocked::store("write", layout::INTENT, error))?;
        self.intended = intent;
        Ok(intent)
    }

    /// 5. Sign and cosign. *Crash: nobody has seen the signature, or a witness has; the next start
    ///    makes the same one.*
    ///
    /// 6. Hooks may add cosignatures.
    ///
    /// 7. Publish: one rename. *Crash before it: as in 5. After it: done.*
    fn publish(&mut self, intent: Intent) -> Result<(), Blocked> {
        let sign = |source| Blocked::Fatal(Fatal::Sign { source });
        let text = Checkpoint::new(self.identity.origin(), intent.head)
            .map_err(sign)?
            .encode();
        let note = self.identity.sign(&text, intent.unix_s).map_err(sign)?;
        let signed = self.verifier.verify_note(note).map_err(sign)?;
        let mut note = signed.note().clone();
        for hook in &mut self.hooks {
            for line in hook.signed(&signed) {
                // The lines are too many or too long: the checkpoint is valid without them.
                let _ = note.push(line);
            }
        }
        self.replace_checkpoint(note)
    }

    /// Permanently keeps a checkpoint with further lines, and publishes it with them if it is the
    /// published one. Ignores a checkpoint of another log.
    pub(crate) fn add_cosignatures(
        &mut self,
        checkpoint: &VerifiedCheckpoint,
        lines: &[NoteSignature],
    ) -> Result<(), Blocked> {
        let ours = self.verifier.verify_note(checkpoint.note().clone());
        if ours.is_err() || checkpoint.head().size > self.published.head().size {
            return Ok(());
        }
        if let Some(kept) = self.archive(checkpoint, lines)? {
            self.publish_cosigned(&kept)?;
        }
        let mut note = self.published.note().clone();
        if self.published.head() != checkpoint.head() || !push_all(&mut note, lines) {
            return Ok(());
        }
        self.replace_checkpoint(note)
    }

    /// Writes a checkpoint into the archive, with both the archived and the further lines. Returns
    /// the written note, if anything was written.
    fn archive(
        &self,
        checkpoint: &VerifiedCheckpoint,
        lines: &[NoteSignature],
    ) -> Result<Option<Note>, Blocked> {
        let path = layout::archived(checkpoint.head().size);
        let kept = match self.store.read(&path) {
            Ok(bytes) => Note::parse(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Blocked::store("read", path.as_str(), error)),
        };
        let is_new = kept.is_none();
        let mut note = kept.unwrap_or_else(|| checkpoint.note().clone());
        if note.text() != checkpoint.note().text() {
            // Never overwrites an archived checkpoint: it is somebody's evidence.
            return Ok(None);
        }
        if !push_all(&mut note, lines) && !is_new {
            return Ok(None);
        }
        let bytes = note.encode();
        self.store
            .create_dir(layout::CHECKPOINTS)
            .and_then(|_| {
                replace(
                    self.store.as_ref(),
                    &path,
                    bytes.as_bytes(),
                    Access::Private,
                )
            })
            .map_err(|error| Blocked::store("write", path.as_str(), error))?;
        Ok(Some(note))
    }

    /// Publishes a checkpoint under the numbers of witnesses that have cosigned it, where it is
    /// newer than the existing one. So a reader finds the newest checkpoint with enough
    /// cosignatures, although the published one has none yet. *Crash: some numbers have an older
    /// one; the next cosignature replaces it.*
    fn publish_cosigned(&self, note: &Note) -> Result<(), Blocked> {
        let own = [
            self.identity.signer_key().name(),
            self.identity.cosigner_key().name(),
        ];
        let witnesses: BTreeSet<_> = note
            .signatures()
            .iter()
            .filter(|line| !own.contains(&line.name()))
            .map(|line| (line.name().as_str(), line.key_id().0))
            .collect();
        let size = |note: &Note| Checkpoint::parse(note.text()).map(|stated| stated.head().size);
        let ours = size(note).unwrap_or(0);
        for number in 1..=witnesses.len().min(crate::witness::MAX_WITNESSES) {
            let path = layout::cosigned(number);
            let there = match self.store.read(&path) {
                Ok(bytes) => Note::parse(&bytes).ok().and_then(|note| size(&note).ok()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(Blocked::store("read", path.as_str(), error)),
            };
            if there.is_some_and(|there| there > ours) {
                continue;
            }
            let text = note.encode();
            let write = || -> io::Result<()> {
                for made in self.store.create_dir(layout::COSIGNED)? {
                    self.store.sync_dir(parent(&made))?;
                }
                replace(
                    self.store.as_ref(),
                    &path,
                    text.as_bytes(),
                    Access::Checkpoint,
                )
            };
            write().map_err(|error| Blocked::store("write", path.as_str(), error))?;
        }
        Ok(())
    }

    fn replace_checkpoint(&mut self, note: Note) -> Result<(), Blocked> {
        let text = note.encode();
        let published = self
            .verifier
            .verify_note(note)
            .map_err(|source| Fatal::Sign { source })?;
        replace(
            self.store.as_ref(),
            layout::CHECKPOINT,
            text.as_bytes(),
            Access::Checkpoint,
        )
        .map_err(|error| Blocked::store("publish", layout::CHECKPOINT, error))?;
        let old = std::mem::replace(&mut self.published, published);
        self.drop_partials(old.head().size);
        for hook in &mut self.hooks {
            hook.published(&self.published);
        }
        Ok(())
    }

    /// 8. Files that the checkpoint makes superfluous are removed: partial files whose full
    ///    versions exist now. *Crash: the next start removes them.*
    fn drop_partials(&self, old_size: u64) {
        let size = self.published.head().size;
        let tiles = partial_tiles(old_size).filter(|tile| tile.full().is_within(size));
        let bundle = partial_bundle(old_size).filter(|bundle| bundle.full().is_within(size));
        let full = tiles
            .map(|tile| tile.full().to_string())
            .chain(bundle.map(|bundle| bundle.full().to_string()));
        for path in full {
            // A leftover costs space, but is harmless.
            let _ = self.store.remove_dir(&format!("{path}.p"));
        }
    }

    /// 9. Segments are removed whose records are all in full bundles under the checkpoint (I5).
    ///    *Crash: the next checkpoint removes them.*
    fn tidy(&self) {
        let full = self.published.head().size & !0xff;
        let Ok(segments) = list_segments(self.store.as_ref()) else {
            return;
        };
        for first in removable_segments(&segments, full) {
            let _ = self.store.remove(&layout::segment(first));
        }
    }
}

/// The segments that I5 allows to remove: those whose successor begins at or before `full`, the end
/// of the last full bundle under the published checkpoint. The last segment is never removed.
pub(crate) fn removable_segments(segments: &[u64], full: u64) -> Vec<u64> {
    segments
        .windows(2)
        .filter_map(|pair| match pair {
            [first, successor] if *successor <= full => Some(*first),
            _ => None,
        })
        .collect()
}

/// Adds lines to a note, and returns whether it has changed. If lines are too many or too long, the
/// checkpoint is valid without them.
fn push_all(note: &mut Note, lines: &[NoteSignature]) -> bool {
    let before = note.signatures().len();
    for line in lines {
        let _ = note.push(line.clone());
    }
    note.signatures().len() > before
}

/// A directory and its parents, without the trail's own directory.
fn with_those_above(dir: &str) -> Vec<String> {
    let above = std::iter::successors(Some(dir), |dir| Some(parent(dir)));
    above
        .take_while(|dir| !dir.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Writes a file in the stage again, as a new file: a sync of the new file covers all of its data.
fn write_again(store: &dyn Store, staged: &str, access: Access) -> io::Result<()> {
    let bytes = store.read(staged)?;
    let unfinished = format!("{staged}.again");
    // Left by an earlier attempt: such a file may not be writable.
    store.remove(&unfinished)?;
    store.write(&unfinished, &bytes, access)?;
    store.rename(&unfinished, staged)
}

fn name_file(store: &dyn Store, path: &str, again: bool) -> Result<(), Blocked> {
    let staged = layout::staged(path);
    let read = |path: &str| {
        store
            .read(path)
            .map_err(|error| Blocked::store("read", path, error))
    };
    match store.rename_new(&staged, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let ours = match store.read(&staged) {
                // As below.
                Err(error) if error.kind() == io::ErrorKind::NotFound && again => return Ok(()),
                ours => ours.map_err(|error| Blocked::store("read", staged.as_str(), error))?,
            };
            if read(path)? != ours {
                return Err(Blocked::Fatal(Fatal::FileDiffers {
                    path: path.to_owned(),
                }));
            }
            // A file gets its name after its sync, so its contents are durable; the name becomes
            // durable with the directory.
            let _ = store.remove(&staged);
            Ok(())
        }
        // The rename was done although the system reported an error; the file's contents are
        // checked again.
        Err(error) if error.kind() == io::ErrorKind::NotFound && again => read(path).map(drop),
        Err(error) => Err(Blocked::store("name", path, error)),
    }
}

/// Removes partial files next to a full tile or bundle, which a crash between publishing and
/// removing has left.
pub(crate) fn drop_stale_partials(store: &dyn Store, size: u64) -> io::Result<()> {
    // Only the last full file of each level and the one before it can have been partial under a
    // recent earlier checkpoint. Older ones are in the same directory or the one before.
    let mut dirs = BTreeSet::new();
    let levels = (0_u32..8).zip((8..).step_by(8));
    let levels = levels.map(|(level, bits)| (format!("{}/{level}", layout::TILES), bits));
    let places = levels.chain([(format!("{}/entries", layout::TILES), 8)]);
    for (prefix, bits) in places {
        let tiles = size.checked_shr(bits).unwrap_or(0);
        for index in [tiles, tiles.saturating_sub(1)] {
            let Ok(tile) = livetrail_tlog::Tile::new(0, index, 256) else {
                continue;
            };
            let path = tile.to_string();
            let place = path.strip_prefix("tile/0").unwrap_or_default();
            dirs.insert(parent(&format!("{prefix}{place}")).to_owned());
        }
    }
    for dir in dirs {
        let listed = store.list(&dir)?;
        let files: HashSet<_> = listed
            .iter()
            .filter(|one| !one.is_dir)
            .map(|one| one.name.as_str())
            .collect();
        for one in listed.iter().filter(|one| one.is_dir) {
            let full = one.name.strip_suffix(".p");
            let Some(full) = full.filter(|full| files.contains(full)) else {
                continue;
            };
            let path = format!("{dir}/{full}").parse();
            let published = match path {
                Ok(livetrail_tlog::TilePath::Hashes(tile)) => tile.is_within(size),
                Ok(livetrail_tlog::TilePath::Entries(bundle)) => bundle.is_within(size),
                Err(_) => false,
            };
            if published {
                store.remove_dir(&format!("{dir}/{}", one.name))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_a_segment_goes_only_when_all_its_records_are_in_full_published_bundles() {
        let segments = [0, 100, 256, 300, 512];
        assert_eq!(removable_segments(&segments, 0), Vec::<u64>::new());
        assert_eq!(removable_segments(&segments, 256), [0, 100]);
        assert_eq!(removable_segments(&segments, 512), [0, 100, 256, 300]);
        assert_eq!(
            removable_segments(&[0], 1 << 20),
            Vec::<u64>::new(),
            "never the last"
        );
    }
}
