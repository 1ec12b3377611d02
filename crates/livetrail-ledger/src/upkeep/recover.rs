//! Creating and opening a trail. Recovery **is** the start-up code: after a clean end it has
//! nothing to do (ledger-format §3).

use std::{collections::BTreeSet, io, sync::Arc};

use livetrail_tlog::{Checkpoint, Note, TileTree, TreeHead, VerifiedCheckpoint};

use crate::{
    Clock,
    error::LedgerError,
    identity::Identity,
    layout,
    manifest::{Intent, Manifest},
    read::tree_files::{Place, TreeFiles},
    store::{Access, Lock, SharedStore, Store, replace},
    upkeep::given_up::refuse_given_up,
    upkeep::held,
    upkeep::prune::Pruned,
    write::companion::Keeper,
    write::integrate::Integrator,
    write::seal::{CheckpointHook, Sealer, Sealing, drop_stale_partials},
    write::wal::{LogId, Scan, Tail, replay, scan_log},
};

/// The tree of this log that an outside party has seen: a witness, a replica, an auditor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The name of the party, for messages.
    pub source_name: String,
    /// The largest tree that it has seen.
    pub seen: SeenTree,
}

/// The largest tree that an outside party has seen, as far as it reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeenTree {
    /// Size and root.
    Tree(TreeHead),
    /// The size only; the party does not report the root.
    Size(u64),
    /// The party refuses the published checkpoint, because it does not continue the tree of this
    /// size that the party has seen.
    Another {
        /// The size of the party's tree.
        size: u64,
    },
}

/// Asked once at every start, before anything is written or signed. Unreachable parties are
/// omitted.
///
/// ```
/// use std::sync::Arc;
/// use livetrail_ledger::{
///     ExternalFloor, Floor, Identity, Ledger, LedgerError, MemStore, SeenTree, SharedStore,
///     generate_seed,
/// };
///
/// /// An auditor's note of the largest size that it has seen.
/// struct Auditor(u64);
///
/// impl ExternalFloor for Auditor {
///     fn largest_seen(&mut self) -> Vec<Floor> {
///         let seen = SeenTree::Size(self.0);
///         vec![Floor { source_name: "the auditor".to_owned(), seen }]
///     }
/// }
///
/// let store: SharedStore = Arc::new(MemStore::new());
/// let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
/// Ledger::create(&store, &identity)?;
/// // This log is empty, and the auditor has seen 7 entries of it: it is an old copy.
/// let refused = Ledger::builder(store.clone(), identity.clone()).floor(Auditor(7)).open();
/// assert!(matches!(refused, Err(LedgerError::FloorAhead { theirs: 7, .. })));
/// let (_ledger, report) = Ledger::builder(store, identity).floor(Auditor(0)).open()?;
/// assert_eq!(report.floors, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ExternalFloor {
    /// The tree that each party has seen. It must have its own deadline: the start waits for it.
    fn largest_seen(&mut self) -> Vec<Floor>;

    /// The parties that must answer and did not, by the names that their floors would have. Called
    /// after [`largest_seen`](Self::largest_seen). While there are any, the log accepts entries and
    /// makes them durable, but signs nothing new: see
    /// [`Handle::answered`](crate::Handle::answered).
    fn unanswered(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the log need no longer wait for this party, for which an earlier start held signing
    /// back: the operator decided so.
    fn dismisses(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

impl ExternalFloor for Box<dyn ExternalFloor> {
    fn largest_seen(&mut self) -> Vec<Floor> {
        self.as_mut().largest_seen()
    }

    fn unanswered(&self) -> Vec<String> {
        self.as_ref().unanswered()
    }

    fn dismisses(&self, name: &str) -> bool {
        self.as_ref().dismisses(name)
    }
}

/// The findings and actions of a start.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Size of the checkpoint that was found.
    pub sealed: u64,
    /// Entries in the log now, all of them sealed.
    pub entries: u64,
    /// A torn batch was truncated at this byte of the last segment. Its entries were never
    /// reported as durable.
    pub torn_at: Option<u64>,
    /// A checkpoint was intended and not published: its size. The same bytes were signed again.
    pub completed: Option<u64>,
    /// The number of outside sources that answered what they have seen.
    pub floors: usize,
}

impl RecoveryReport {
    /// Whether the last run ended cleanly, so that nothing was left to do.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.sealed == self.entries && self.torn_at.is_none() && self.completed.is_none()
    }
}

/// A trail that is ready for use.
pub(crate) struct Recovered {
    pub(crate) lock: Box<dyn Lock>,
    pub(crate) log_id: LogId,
    pub(crate) integrator: Integrator,
    pub(crate) sealer: Sealer,
    /// If companions are possible. It has none of sealed entries.
    pub(crate) keeper: Option<Keeper>,
    pub(crate) report: RecoveryReport,
    /// The parties for whose answers signing waits from now on.
    pub(crate) held: BTreeSet<String>,
}

/// Creates a trail: directories, an intent and a checkpoint of size 0, and last the manifest, which
/// makes it a trail. A crash before that leaves a directory in which creation can be repeated.
pub(crate) fn create(
    store: &dyn Store,
    identity: &Identity,
    clock: &dyn Clock,
) -> Result<(), LedgerError> {
    refuse_existing(store)?;
    let failed = |path: &'static str| move |error| LedgerError::io("make", path, error);
    for dir in [
        layout::WAL,
        layout::STAGE,
        layout::CURSORS,
        layout::CHECKPOINTS,
        layout::TILES,
    ] {
        store.create_dir(dir).map_err(failed(dir))?;
    }
    let _lock = lock(store)?;
    store
        .sync_dir(layout::PRIVATE)
        .map_err(failed(layout::PRIVATE))?;
    store.sync_dir("").map_err(failed("the directory"))?;
    let intent = Intent::now(TreeHead::EMPTY, clock);
    intent.write(store).map_err(failed(layout::INTENT))?;
    let text = Checkpoint::new(identity.origin(), intent.head)?.encode();
    let note = identity.sign(&text, intent.unix_s)?.encode();
    replace(
        store,
        layout::CHECKPOINT,
        note.as_bytes(),
        Access::Checkpoint,
    )
    .map_err(failed(layout::CHECKPOINT))?;
    let mut log_id = LogId::default();
    getrandom::fill(&mut log_id).map_err(|error| {
        LedgerError::io("get randomness for", "a log id", io::Error::other(error))
    })?;
    let manifest = Manifest::new(identity, log_id).encode()?;
    replace(store, layout::MANIFEST, &manifest, Access::Private).map_err(failed(layout::MANIFEST))
}

fn refuse_existing(store: &dyn Store) -> Result<(), LedgerError> {
    let failed = |error| LedgerError::io("look into", store.place(), error);
    let exists = |found: &str| {
        Err(LedgerError::Exists {
            place: store.place(),
            found: found.to_owned(),
        })
    };
    if store.exists(layout::MANIFEST).map_err(failed)? {
        return exists(layout::MANIFEST);
    }
    for dir in [layout::TILES, layout::WAL] {
        if !store.list(dir).map_err(failed)?.is_empty() {
            return exists(dir);
        }
    }
    if store.exists(layout::CHECKPOINT).map_err(failed)? {
        // An interrupted creation leaves a checkpoint of size 0; any other checkpoint is of an
        // existing log.
        let bytes = store.read(layout::CHECKPOINT).map_err(failed)?;
        let note = Note::parse(&bytes).and_then(|note| Checkpoint::parse(note.text()));
        if note.map_or(1, |checkpoint| checkpoint.head().size) != 0 {
            return exists(layout::CHECKPOINT);
        }
    }
    Ok(())
}

fn lock(store: &dyn Store) -> Result<Box<dyn Lock>, LedgerError> {
    store
        .lock(layout::LOCK)
        .map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => LedgerError::Locked {
                place: store.place(),
            },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                LedgerError::ReadOnly {
                    place: store.place(),
                    source,
                }
            }
            _ => LedgerError::io("lock", layout::LOCK, source),
        })
}

/// Opens a trail. Steps 1 to 5 only check and refuse; nothing changes before all of them pass.
pub(crate) fn recover(
    store: &SharedStore,
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
    hooks: Vec<Box<dyn CheckpointHook>>,
    floors: &mut [Box<dyn ExternalFloor>],
    keeper: Option<Keeper>,
) -> Result<Recovered, LedgerError> {
    let check = |published: &_| refuse_given_up(store.as_ref(), identity, published);
    open(store, identity, clock, hooks, floors, keeper, &check)
}

/// The same for a change of keys, which may have been interrupted before.
pub(crate) fn recover_to_rotate(
    store: &SharedStore,
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
    floors: &mut [Box<dyn ExternalFloor>],
    keeper: Option<Keeper>,
) -> Result<Recovered, LedgerError> {
    let hooks = Vec::new();
    open(store, identity, clock, hooks, floors, keeper, &|_| Ok(()))
}

fn open(
    store: &SharedStore,
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
    hooks: Vec<Box<dyn CheckpointHook>>,
    floors: &mut [Box<dyn ExternalFloor>],
    keeper: Option<Keeper>,
    check_keys: &dyn Fn(&VerifiedCheckpoint) -> Result<(), LedgerError>,
) -> Result<Recovered, LedgerError> {
    // 1. Whose trail is it, and do we hold it exclusively?
    let manifest = Manifest::read(store.as_ref())?;
    let lock = lock(store.as_ref())?;
    manifest.check(identity)?;
    let log_id = manifest.log_id()?;
    // 2. What was published, and what was intended?
    let published = read_checkpoint(store.as_ref(), identity)?;
    check_keys(&published)?;
    let sealed = published.head();
    let intent = read_intent(store.as_ref(), sealed)?;
    // 3. What is durable?
    let full = sealed.size & !0xff;
    let scan = scan_log(store.as_ref(), &log_id, full)?;
    check_scan(&scan, sealed, intent)?;
    check_companions(&scan, sealed, keeper.is_some())?;
    // 4. Do the tiles give the signed root, and does the last bundle match them? Is it the tree
    //    that the log continues?
    let integrator = Integrator::resume(Arc::clone(store), sealed)?;
    check_known(store.as_ref(), &scan, sealed)?;
    let pruned = Pruned::read(store.as_ref())?;
    // 5. Has any outside party seen more, or something else?
    let mut asked = 0_usize;
    let mut waited_for = held::read(store.as_ref())?;
    let mut unanswered = BTreeSet::new();
    for floor in floors {
        let seen = floor.largest_seen();
        unanswered.extend(floor.unanswered());
        for floor in seen {
            check_floor(store.as_ref(), sealed, intent, &floor)?;
            // A partial answer does not count as an answer.
            if !unanswered.contains(&floor.source_name) {
                waited_for.remove(&floor.source_name);
            }
            asked = asked.saturating_add(1);
        }
        waited_for.retain(|name| !floor.dismisses(name));
    }
    // Entries recorded while signing was held must not be sealed now.
    if !waited_for.is_empty() && scan.next_index > sealed.size {
        return Err(LedgerError::SigningHeld {
            names: waited_for.into_iter().collect(),
        });
    }
    let sealer = Sealer::new(
        Arc::clone(store),
        Arc::clone(identity),
        Arc::clone(clock),
        hooks,
        published,
        intent,
    )?;
    let mut recovered = Recovered {
        lock,
        log_id,
        integrator,
        sealer,
        keeper,
        report: RecoveryReport {
            sealed: sealed.size,
            entries: scan.next_index,
            torn_at: None,
            completed: (intent.head.size > sealed.size).then_some(intent.head.size),
            floors: asked,
        },
        held: unanswered,
    };
    recovered.repair(store.as_ref(), &scan, intent)?;
    pruned.finish(store.as_ref())?;
    // A crash before this is harmless: nothing was recorded since, so nothing must wait.
    held::write(store.as_ref(), &recovered.held)?;
    Ok(recovered)
}

impl Recovered {
    /// 6. Truncate the torn tail and integrate unsealed entries. Their companions are kept before
    ///    they are sealed. If a checkpoint was intended, first up to that size, so that the same
    ///    bytes are signed. A crash in here leaves the same state as a crash in normal operation,
    ///    for the next start.
    fn repair(
        &mut self,
        store: &dyn Store,
        scan: &Scan,
        intent: Intent,
    ) -> Result<(), LedgerError> {
        let sealed = self.report.sealed;
        if let Some(cut) = scan
            .cut
            .filter(|cut| cut.is_needed(scan.next_index, sealed))
        {
            cut.apply(store)?;
            self.report.torn_at = (cut.tail == Tail::Torn).then_some(cut.offset);
        }
        if intent.head.size > sealed {
            // It may be only in the page cache, if its sync failed before the crash. Nothing is
            // signed by it before it is durable.
            intent
                .write(store)
                .map_err(|error| LedgerError::io("write", layout::INTENT, error))?;
        }
        wipe(store, sealed).map_err(|error| LedgerError::io("tidy", store.place(), error))?;
        let (integrator, sealer) = (&mut self.integrator, &mut self.sealer);
        let keeper = &mut self.keeper;
        replay(store, scan, sealed, |batch| {
            for entry in batch.entries() {
                if let Some(keeper) = keeper {
                    keeper.collect(integrator.size(), entry.companion);
                }
                integrator.append(entry.bytes)?;
                integrator.flush()?;
                let size = integrator.size();
                let unsealed = size.saturating_sub(sealer.published().head().size);
                let intended = size == intent.head.size && unsealed > 0;
                let step = unsealed >= RECOVERY_STEP && size > intent.head.size;
                if intended || step || keeper.as_ref().is_some_and(Keeper::is_full) {
                    keep(keeper)?;
                }
                if intended {
                    seal_intended(integrator, sealer, intent)?;
                } else if step {
                    seal(integrator, sealer)?;
                }
            }
            Ok::<_, LedgerError>(())
        })?;
        keep(keeper)?;
        if integrator.size() > sealer.published().head().size {
            seal(integrator, sealer)?;
        }
        Ok(())
    }
}

/// A start seals the integrated entries in steps of this many. So a start that is itself killed
/// again and again still makes progress.
const RECOVERY_STEP: u64 = 1 << 15;

/// The maximum number of entries that may be integrated and not yet sealed. It bounds the number of
/// files in the stage (a little over 8,192).
pub(crate) const MAX_UNSEALED: u64 = 1 << 20;

/// The companions of all integrated entries become durable elsewhere. *Crash before: the next start
/// gives them again. After: the entries may be sealed.*
fn keep(keeper: &mut Option<Keeper>) -> Result<(), LedgerError> {
    Ok(keeper.as_mut().map_or(Ok(()), Keeper::keep)?)
}

fn seal_intended(
    integrator: &mut Integrator,
    sealer: &mut Sealer,
    intent: Intent,
) -> Result<(), LedgerError> {
    let cut = integrator.cut()?;
    if cut.head != intent.head {
        return Err(LedgerError::IntentRoot {
            size: intent.head.size,
            intent: intent.head.root,
            found: cut.head.root,
        });
    }
    Ok(sealer.seal(&mut Sealing::new(cut))?)
}

fn seal(integrator: &mut Integrator, sealer: &mut Sealer) -> Result<(), LedgerError> {
    let cut = integrator.cut()?;
    Ok(sealer.seal(&mut Sealing::new(cut))?)
}

/// Removes temporary files that the last process left.
fn wipe(store: &dyn Store, sealed: u64) -> io::Result<()> {
    if !store.list(layout::STAGE)?.is_empty() {
        store.remove_dir(layout::STAGE)?;
    }
    store.create_dir(layout::STAGE)?;
    store.remove(layout::WAL_NEW)?;
    store.remove(layout::WAL_SPARE_NEW)?;
    drop_stale_partials(store, sealed)
}

fn read_checkpoint(
    store: &dyn Store,
    identity: &Identity,
) -> Result<VerifiedCheckpoint, LedgerError> {
    let bytes = store
        .read(layout::CHECKPOINT)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LedgerError::CheckpointMissing,
            _ => LedgerError::io("read", layout::CHECKPOINT, error),
        })?;
    identity
        .verifier()?
        .verify(&bytes)
        .map_err(|source| LedgerError::CheckpointInvalid { source })
}

fn read_intent(store: &dyn Store, sealed: TreeHead) -> Result<Intent, LedgerError> {
    let intent = Intent::read(store)?;
    if intent.head.size < sealed.size {
        return Err(LedgerError::IntentBehind {
            intent: intent.head.size,
            checkpoint: sealed.size,
        });
    }
    if intent.head.size == sealed.size && intent.head.root != sealed.root {
        return Err(LedgerError::IntentRoot {
            size: sealed.size,
            intent: intent.head.root,
            found: sealed.root,
        });
    }
    Ok(intent)
}

fn check_scan(scan: &Scan, sealed: TreeHead, intent: Intent) -> Result<(), LedgerError> {
    let known = scan.published.size();
    if known > sealed.size {
        return Err(LedgerError::RolledBack {
            known,
            checkpoint: sealed.size,
        });
    }
    // The last segment is never removed (I5), so a trail with entries has one.
    if scan.cut.is_none() && sealed.size > 0 {
        return Err(LedgerError::WalMissing {
            sealed: sealed.size,
        });
    }
    // An intent is written after its entries are durable.
    if scan.next_index < intent.head.size {
        return Err(LedgerError::WalShort {
            end: scan.next_index,
            intent: intent.head.size,
        });
    }
    Ok(())
}

/// Without their store, companions of unsealed entries would be lost.
fn check_companions(scan: &Scan, sealed: TreeHead, store: bool) -> Result<(), LedgerError> {
    match scan.last_companion {
        Some(index) if index >= sealed.size && !store => {
            Err(LedgerError::CompanionsUnkept { index })
        }
        _ => Ok(()),
    }
}

fn check_known(store: &dyn Store, scan: &Scan, sealed: TreeHead) -> Result<(), LedgerError> {
    let known = scan.published.head();
    let found = root_at(store, sealed, known.size)?;
    if found != known {
        return Err(LedgerError::FloorRoot {
            source_name: "the write-ahead log".to_owned(),
            size: known.size,
            theirs: known.root,
            ours: found.root,
        });
    }
    Ok(())
}

/// The tree of an earlier size, from the tiles of the published one.
fn root_at(store: &dyn Store, sealed: TreeHead, size: u64) -> Result<TreeHead, LedgerError> {
    let files = TreeFiles {
        store,
        place: Place::Published,
    };
    let (head, _) = TileTree::new(files, sealed).consistency_proof(size)?;
    Ok(head)
}

fn check_floor(
    store: &dyn Store,
    sealed: TreeHead,
    intent: Intent,
    floor: &Floor,
) -> Result<(), LedgerError> {
    let source_name = || floor.source_name.clone();
    let (size, root) = match floor.seen {
        SeenTree::Tree(head) => (head.size, Some(head.root)),
        SeenTree::Size(size) => (size, None),
        SeenTree::Another { size } => {
            return Err(LedgerError::FloorFork {
                source_name: source_name(),
                size,
            });
        }
    };
    // Other than the published tree, only the intended one can have been signed.
    let ours = if size == intent.head.size {
        intent.head
    } else if size > sealed.size {
        return Err(LedgerError::FloorAhead {
            source_name: source_name(),
            theirs: size,
            ours: intent.head.size,
        });
    } else {
        root_at(store, sealed, size)?
    };
    match root.filter(|theirs| *theirs != ours.root) {
        None => Ok(()),
        Some(theirs) => Err(LedgerError::FloorRoot {
            source_name: source_name(),
            size,
            theirs,
            ours: ours.root,
        }),
    }
}
