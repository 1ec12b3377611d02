//! The write path on one thread, step by step, and the check of all its output.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use livetrail_tlog::{
    Frontier, TilePath, TileReader as _, TreeHead, VerifiedCheckpoint, encode_bundle, leaf_hash,
    tree_bundles, tree_root, tree_tiles,
};

use crate::{
    Clock,
    error::{Fatal, LedgerError},
    identity::{Identity, Seed},
    options::Options,
    passing::{Blocked, Passing},
    read::tree_files::{Place, TreeFiles},
    store::{Access, MemStore, SharedStore, Store, replace},
    upkeep::prune::Pruned,
    upkeep::recover::{ExternalFloor, Recovered, RecoveryReport, create, recover},
    write::companion::{Companion, CompanionStore, Entry, Keeper},
    write::seal::{CheckpointHook, Sealing},
    write::wal::{Batch, Writer},
};

/// A clock that does not advance.
#[derive(Debug)]
pub(super) struct Still;

impl Clock for Still {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) fn identity() -> Identity {
    with_keys(1, 2)
}

pub(super) fn with_keys(signer: u8, cosigner: u8) -> Identity {
    let (signer, cosigner) = (Seed::new([signer; 32]), Seed::new([cosigner; 32]));
    Identity::from_seeds("example.com/audit", &signer, &cosigner).unwrap()
}

/// Small enough that a few hundred entries fill several segments.
pub(super) const SEGMENT_BYTES: u64 = 16 << 10;

pub(crate) fn small() -> Options {
    Options {
        queue_bytes: 128 << 10,
        segment_bytes: 256 << 10,
        ballast_bytes: 0,
        checkpoint_interval: Duration::from_millis(5),
        ..Options::default()
    }
}

pub(crate) fn created() -> MemStore {
    let store = MemStore::new();
    create(&store, &identity(), &Still).unwrap();
    store
}

/// Entry `index`: all different, some almost empty, some long enough to span sectors.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    let fill = usize::try_from(index * 7 % 61).unwrap();
    let mut bytes = format!("entry {index} ").into_bytes();
    bytes.resize(bytes.len() + fill, b'.');
    bytes
}

/// A new trail, and the directory of its [`Kept`] companions.
pub(super) fn created_with_companions() -> MemStore {
    let store = created();
    store.create_dir(KEPT).unwrap();
    store.sync_dir("private").unwrap();
    store
}

/// The companion of entry `index`: two of three entries have one.
pub(super) fn companion(index: u64) -> Vec<u8> {
    if index.is_multiple_of(3) {
        return Vec::new();
    }
    let mut bytes = entry(index);
    bytes.reverse();
    bytes
}

const KEPT: &str = "private/kept";

/// Keeps companions in files next to the log. So every fault and every power cut of the tests can
/// hit a step of it: each call is a write, a sync, a rename and a sync of the directory.
#[derive(Debug)]
pub(super) struct Kept(pub(super) SharedStore);

impl CompanionStore for Kept {
    fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
        let (Some(first), Some(last)) = (companions.first(), companions.last()) else {
            panic!("there is nothing to keep");
        };
        assert!(companions.is_sorted_by(|one, next| one.index < next.index));
        let mut bytes = Vec::new();
        for one in companions {
            bytes.extend_from_slice(&one.index.to_le_bytes());
            bytes.extend_from_slice(&one.bytes.len().to_le_bytes());
            bytes.extend_from_slice(one.bytes);
        }
        let path = format!("{KEPT}/{}-{}", first.index, last.index);
        replace(self.0.as_ref(), &path, &bytes, Access::Private)
    }
}

/// The companions that are kept, by index.
pub(super) fn kept(store: &dyn Store) -> BTreeMap<u64, Vec<u8>> {
    let mut all = BTreeMap::new();
    for listed in store.list(KEPT).unwrap() {
        if listed.name.ends_with(".new") {
            continue;
        }
        let bytes = store.read(&format!("{KEPT}/{}", listed.name)).unwrap();
        let mut rest = &bytes[..];
        while let Some((index, after)) = rest.split_first_chunk() {
            let (length, after) = after.split_first_chunk().unwrap();
            let (companion, after) = after.split_at(usize::from_le_bytes(*length));
            all.insert(u64::from_le_bytes(*index), companion.to_vec());
            rest = after;
        }
    }
    all
}

/// No sealed entry is without its companion, and no companion without its durable entry.
pub(super) fn check_companions(store: &dyn Store, sealed: u64, durable: u64) {
    let kept = kept(store);
    for index in (0..sealed).filter(|index| !companion(*index).is_empty()) {
        assert!(
            kept.contains_key(&index),
            "{index} of {sealed} was sealed first"
        );
    }
    for (index, bytes) in kept {
        assert!(index < durable, "{index} is beyond what is durable");
        assert_eq!(bytes, companion(index), "of entry {index}");
    }
}

/// Everything that was signed or published, over all lives of a trail.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(pub(super) Arc<Mutex<Vec<TreeHead>>>, pub(super) Companions);

/// Whether the entries of a trail have companions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Companions {
    #[default]
    None,
    Some,
}

impl Seen {
    pub(super) fn with_companions() -> Self {
        Self(Arc::default(), Companions::Some)
    }

    /// The same, on its own from now on.
    pub(super) fn copy(&self) -> Self {
        let heads = self.0.lock().unwrap().clone();
        Self(Arc::new(Mutex::new(heads)), self.1)
    }

    pub(super) fn keeper(&self, store: &SharedStore) -> Option<Keeper> {
        let store = Arc::clone(store);
        (self.1 == Companions::Some).then(|| Keeper::new(Box::new(Kept(store))))
    }
}

impl CheckpointHook for Seen {
    fn signed(&mut self, checkpoint: &VerifiedCheckpoint) -> Vec<livetrail_tlog::NoteSignature> {
        self.0.lock().unwrap().push(checkpoint.head());
        Vec::new()
    }
    fn published(&mut self, checkpoint: &VerifiedCheckpoint) {
        self.0.lock().unwrap().push(checkpoint.head());
    }
}

/// The write path of one process life.
pub(super) struct Core {
    recovered: Recovered,
    writer: Writer,
    open: Batch,
    frontier: Frontier,
    /// Entries that were appended, durable or not.
    pub(super) appended: u64,
    /// Entries whose durability was reported.
    pub(super) acked: u64,
    unintegrated: Vec<Batch>,
}

/// Why a step of the harness ended a life.
#[derive(Debug)]
#[expect(dead_code, reason = "shown when a test fails")]
pub(super) enum Ended {
    Fatal(Fatal),
    Passing(Passing),
}

impl Core {
    pub(super) fn open(store: &SharedStore, seen: &Seen) -> Result<Self, LedgerError> {
        Self::open_above(store, seen, &mut [])
    }

    pub(super) fn open_above(
        store: &SharedStore,
        seen: &Seen,
        floors: &mut [Box<dyn ExternalFloor>],
    ) -> Result<Self, LedgerError> {
        Self::open_as(store, seen, &Arc::new(identity()), floors)
    }

    pub(super) fn open_as(
        store: &SharedStore,
        seen: &Seen,
        identity: &Arc<Identity>,
        floors: &mut [Box<dyn ExternalFloor>],
    ) -> Result<Self, LedgerError> {
        let clock: Arc<dyn Clock> = Arc::new(Still);
        let hooks: Vec<Box<dyn CheckpointHook>> = vec![Box::new(seen.clone())];
        let keeper = seen.keeper(store);
        let recovered = recover(store, identity, &clock, hooks, floors, keeper)?;
        let size = recovered.integrator.size();
        Ok(Self {
            writer: Writer::new(
                Arc::clone(store),
                recovered.log_id,
                recovered.keeper.is_some(),
            ),
            open: Batch::new(size, Vec::new()),
            frontier: recovered.integrator.frontier(),
            appended: size,
            acked: size,
            unintegrated: Vec::new(),
            recovered,
        })
    }

    pub(super) fn report(&self) -> &RecoveryReport {
        &self.recovered.report
    }

    pub(super) fn append(&mut self, count: u64) {
        for _ in 0..count {
            let mut companion = companion(self.appended);
            if self.recovered.keeper.is_none() {
                companion.clear();
            }
            self.open.push(Entry {
                bytes: &entry(self.appended),
                companion: &companion,
            });
            self.appended += 1;
        }
    }

    pub(super) fn commit(&mut self) -> Result<(), Ended> {
        if self.open.is_empty() {
            return Ok(());
        }
        for attempt in 0.. {
            match self
                .writer
                .commit(&self.open, &self.frontier, || SEGMENT_BYTES)
            {
                Ok(()) => break,
                Err(Blocked::Passing(_)) if attempt < 2 => {}
                Err(Blocked::Passing(passing)) => return Err(Ended::Passing(passing)),
                Err(Blocked::Fatal(fatal)) => return Err(Ended::Fatal(fatal)),
            }
        }
        self.acked = self.open.next_index();
        let next = Batch::new(self.acked, Vec::new());
        self.unintegrated
            .push(std::mem::replace(&mut self.open, next));
        Ok(())
    }

    pub(super) fn integrate(&mut self) -> Result<(), Ended> {
        for batch in std::mem::take(&mut self.unintegrated) {
            for entry in batch.entries() {
                let integrator = &mut self.recovered.integrator;
                if let Some(keeper) = &mut self.recovered.keeper {
                    keeper.collect(integrator.size(), entry.companion);
                }
                integrator.append(entry.bytes).map_err(Ended::Fatal)?;
                again(|| integrator.flush())?;
            }
        }
        Ok(())
    }

    pub(super) fn seal(&mut self) -> Result<(), Ended> {
        let Recovered {
            integrator,
            sealer,
            keeper,
            ..
        } = &mut self.recovered;
        if integrator.size() == sealer.published().head().size {
            return Ok(());
        }
        if let Some(keeper) = keeper {
            again(|| keeper.keep())?;
        }
        let cut = again(|| integrator.cut())?;
        let frontier = cut.frontier.clone();
        let mut sealing = Sealing::new(cut);
        again(|| sealer.seal(&mut sealing))?;
        self.frontier = frontier;
        Ok(())
    }

    pub(super) fn close(mut self) -> Result<(), Ended> {
        self.commit()?;
        self.integrate()?;
        self.seal()?;
        self.writer
            .trim()
            .map_err(|error| Ended::Fatal(Fatal::store("trim", "", error)))
    }
}

/// Tries a step that fails with a temporary error twice more.
fn again<T>(mut act: impl FnMut() -> Result<T, Blocked>) -> Result<T, Ended> {
    for attempt in 0.. {
        match act() {
            Ok(done) => return Ok(done),
            Err(Blocked::Fatal(fatal)) => return Err(Ended::Fatal(fatal)),
            Err(Blocked::Passing(_)) if attempt < 2 => {}
            Err(Blocked::Passing(passing)) => return Err(Ended::Passing(passing)),
        }
    }
    unreachable!("it is tried until it is done or fails")
}

/// Recomputes the whole tree from the model and compares every served file with it.
///
/// Works for any trail whose entries are `entry(0)`, `entry(1)`, … Returns the published size.
pub(super) fn check_whole(store: &dyn Store, seen: &Seen, durable: u64) -> u64 {
    let reader = crate::Reader::open(copy_of(store)).unwrap();
    let head = reader.checkpoint().unwrap().head();
    assert!(head.size <= durable, "sealed beyond the durable entries");
    let entries: Vec<_> = (0..durable).map(entry).collect();
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let root_at = |size: u64| tree_root(&leaves[..usize::try_from(size).unwrap()]);
    assert_eq!(head.root, root_at(head.size), "root of {}", head.size);
    // Every checkpoint that anyone has ever seen is one of this tree.
    for seen in seen.0.lock().unwrap().iter() {
        assert!(seen.size <= head.size, "{} was published once", seen.size);
        assert_eq!(seen.root, root_at(seen.size), "fork at {}", seen.size);
    }
    let files = TreeFiles {
        store,
        place: Place::Published,
    };
    let pruned = Pruned::read(store).unwrap().below;
    for bundle in tree_bundles(head.size) {
        if bundle.first_entry().unwrap() < pruned {
            // Missing, or about to be removed; never another one.
            match files.bundle(bundle) {
                Err(LedgerError::Pruned { below, .. }) => assert_eq!(below, pruned),
                there => assert!(there.is_ok(), "{bundle}"),
            }
            continue;
        }
        let first = usize::try_from(bundle.first_entry().unwrap()).unwrap();
        let wanted = encode_bundle(&entries[first..first + usize::from(bundle.width())]).unwrap();
        assert_eq!(files.bundle(bundle).unwrap(), wanted, "{bundle}");
    }
    for tile in tree_tiles(head.size) {
        let span = 256_u64.pow(u32::from(tile.level()));
        let mut wanted = Vec::new();
        for at in 0..u64::from(tile.width()) {
            let first = (tile.index() * 256 + at) * span;
            let first = usize::try_from(first).unwrap();
            let hashes = &leaves[first..first + usize::try_from(span).unwrap()];
            wanted.extend_from_slice(tree_root(hashes).as_bytes());
        }
        assert_eq!(files.read_tile(tile).unwrap(), wanted, "{tile}");
    }
    if seen.1 == Companions::Some {
        check_companions(store, head.size, durable);
    }
    head.size
}

/// I2: every served name has contents that are a function of the durable entries, even if no
/// checkpoint covers them.
pub(super) fn check_names(store: &MemStore, durable: u64) {
    for path in store.paths() {
        let bytes = store.read(&path).unwrap();
        match path.parse() {
            Ok(TilePath::Entries(bundle)) => {
                assert!(
                    bundle.is_within(durable),
                    "{path} is beyond what is durable"
                );
                let first = bundle.first_entry().unwrap();
                let entries: Vec<_> = (first..first + u64::from(bundle.width()))
                    .map(entry)
                    .collect();
                assert_eq!(bytes, encode_bundle(&entries).unwrap(), "{path}");
            }
            Ok(TilePath::Hashes(tile)) => {
                assert!(tile.is_within(durable), "{path} is beyond what is durable");
            }
            Err(_) => assert!(!path.starts_with("tile/"), "{path} is no tile"),
        }
    }
}

fn copy_of(store: &dyn Store) -> SharedStore {
    // A reader needs a shared store; only the files that it reads are copied.
    let copy = MemStore::new();
    for path in ["private/log.json", "checkpoint"] {
        copy.create_dir("private").unwrap();
        let bytes = store.read(path).unwrap();
        copy.write(path, &bytes, Access::Private).unwrap();
    }
    Arc::new(copy)
}
