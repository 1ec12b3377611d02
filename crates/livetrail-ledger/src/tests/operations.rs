//! Any sequence of operations on a ledger whose store fails, is killed and loses its power, and the
//! invariants after each. A fuzz body, and a short form of it as a test.

use std::{io, sync::Arc};

use livetrail_tlog::{Checkpoint, Note, leaf_hash, tree_root};

use super::harness::{
    Core, Ended, Seen, Still, check_names, check_whole, created_with_companions, entry, with_keys,
};
use crate::{
    Clock,
    error::LedgerError,
    identity::Identity,
    manifest::{Intent, Manifest},
    read::reader::Reader,
    store::{Fault, FaultPlan, FaultStore, MemStore, Op, PowerCut, SharedStore, Store as _},
    upkeep::cursor::{Cursor, prunable_below, read_cursors, write_cursor},
    upkeep::prune::{Pruned, bound, prune},
    upkeep::rotate::rotate,
    write::wal::list_segments,
};

/// Every check computes the whole tree again, so this many entries are enough.
const MOST_ENTRIES: u64 = 1_500;

/// The maximum number of operations.
const MOST_OPERATIONS: usize = 64;

const FAULTS: [Fault; 6] = [
    Fault::Error(io::ErrorKind::Other),
    Fault::Error(io::ErrorKind::StorageFull),
    Fault::ErrorButDone(io::ErrorKind::Other),
    Fault::Short,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

const NAMES: [&str; 3] = ["replica", "follower", "case-1"];

/// A trail, the process that may have it open, and the promises made.
struct Life {
    mem: MemStore,
    faulty: FaultStore,
    seen: Seen,
    core: Option<Core>,
    /// The number of entries that were reported as durable.
    acked: u64,
    /// The number of entries that were ever appended: never more may be found.
    appended: u64,
    keys: Keys,
}

/// Each pair of seeds: of the signing key and of the cosigning key.
struct Keys {
    now: (u8, u8),
    /// The keys of a change that was begun and not completed; it may have happened.
    next: Option<(u8, u8)>,
    /// The last seed that was ever used.
    last: u8,
    /// The pairs of keys before and after each change.
    changes: Vec<[(u8, u8); 2]>,
}

impl Keys {
    fn of((signer, cosigner): (u8, u8)) -> Arc<Identity> {
        Arc::new(with_keys(signer, cosigner))
    }

    /// The trail's current identity.
    fn settle(&mut self, store: &MemStore) -> Arc<Identity> {
        let manifest = Manifest::read(store).unwrap();
        let now = Self::of(self.now);
        let Some(next) = self.next else {
            assert!(manifest.check(&now).is_ok(), "the keys have gone");
            return now;
        };
        if manifest.check(&now).is_ok() {
            return now;
        }
        let identity = Self::of(next);
        assert!(manifest.check(&identity).is_ok(), "neither has the keys");
        self.changed(next);
        identity
    }

    fn changed(&mut self, next: (u8, u8)) {
        self.changes.push([self.now, next]);
        (self.now, self.next) = (next, None);
    }
}

/// Carries out the operations in `bytes`, checks all invariants on the way, and at the end that the
/// trail opens.
pub(crate) fn run(bytes: &[u8]) {
    live(bytes);
}

/// Returns the final contents of the disk.
fn live(bytes: &[u8]) -> MemStore {
    let mem = created_with_companions();
    let mut life = Life {
        faulty: FaultStore::over_memory(mem.clone()),
        mem,
        seen: Seen::with_companions(),
        core: None,
        acked: 0,
        appended: 0,
        keys: Keys {
            now: (1, 2),
            next: None,
            last: 2,
            changes: Vec::new(),
        },
    };
    let mut bytes = bytes.iter().copied();
    for _ in 0..MOST_OPERATIONS {
        let Some(operation) = bytes.next() else { break };
        life.act(operation, &mut bytes);
    }
    life.restart(None);
    life.open();
    life.check_invariants();
    life.mem
}

impl Life {
    fn act(&mut self, operation: u8, bytes: &mut impl Iterator<Item = u8>) {
        let mut next = || bytes.next().unwrap_or(0);
        match operation % 16 {
            0 | 1 => self.append(u64::from(next() % 40) + 1),
            2 => self.append(u64::from(next()) + 200),
            3 | 4 => self.step(Core::commit),
            5 => self.step(Core::integrate),
            6 | 7 => self.seal(),
            8 => self.close(),
            9 => self.restart(None),
            10 => {
                let seed = u64::from(next());
                let cuts = [
                    PowerCut::Synced,
                    PowerCut::Prefix(seed),
                    PowerCut::Subset(seed),
                ];
                self.restart(Some(cuts[usize::from(next()) % cuts.len()]));
            }
            11 => self.faulty.arm(FaultPlan {
                op: Op::ALL[usize::from(next()) % Op::ALL.len()],
                nth: u64::from(next() % 16),
                fault: FAULTS[usize::from(next()) % FAULTS.len()],
            }),
            12 => self.cursor(next(), next()),
            13 => self.read(next()),
            14 => self.prune(next()),
            _ => self.rotate(next()),
        }
    }

    /// The open trail, or `None` when a fault prevents opening.
    fn open(&mut self) -> Option<&mut Core> {
        if self.core.is_none() {
            let store: SharedStore = Arc::new(self.faulty.clone());
            let identity = self.keys.settle(&self.mem);
            if self.end_change(&identity) {
                return self.open();
            }
            match Core::open_as(&store, &self.seen, &identity, &mut []) {
                Ok(core) => {
                    assert!(core.acked >= self.acked, "lost what was durable");
                    assert!(core.acked <= self.appended, "more than was appended");
                    // Entries that were not durable may be lost: their indexes are used again.
                    (self.acked, self.appended) = (core.acked, core.acked);
                    self.core = Some(core);
                    self.check_invariants();
                }
                Err(error) => {
                    assert!(self.faulty.fired(), "{error}");
                    self.restart(None);
                }
            }
        }
        self.core.as_mut()
    }

    /// Completes a change of keys whose hand-over was made. Returns whether there was one, so that
    /// the trail must be opened with other keys.
    fn end_change(&mut self, old: &Arc<Identity>) -> bool {
        let Some(next) = self.keys.next else {
            return false;
        };
        let published = self.mem.read("checkpoint").unwrap();
        let made = [old.signer_key(), old.cosigner_key()].iter().any(|key| {
            let note = self.mem.read(&format!("handover/{}", key.id()));
            let text = |bytes: &[u8]| Note::parse(bytes).unwrap().text().to_owned();
            note.is_ok_and(|note| text(&note) == text(&published))
        });
        if !made {
            return false;
        }
        let store: SharedStore = Arc::new(self.faulty.clone());
        let refused = Core::open_as(&store, &self.seen, old, &mut []).map(|_| ());
        assert!(
            matches!(refused, Err(LedgerError::KeyGivenUp { .. })) || self.faulty.fired(),
            "{refused:?}"
        );
        self.restart(None);
        let store: SharedStore = Arc::new(self.mem.clone());
        let clock: Arc<dyn Clock> = Arc::new(Still);
        let keeper = self.seen.keeper(&store);
        let handed_over = rotate(&store, old, &Keys::of(next), &clock, &mut [], keeper).unwrap();
        self.seen.0.lock().unwrap().push(handed_over.head());
        self.keys.changed(next);
        true
    }

    /// The process ends, and perhaps the power. The next one has a working store.
    fn restart(&mut self, cut: Option<PowerCut>) {
        self.core = None;
        if let Some(cut) = cut {
            self.mem = self.mem.power_cut(cut);
        }
        self.faulty = FaultStore::over_memory(self.mem.clone());
    }

    fn append(&mut self, count: u64) {
        let room = MOST_ENTRIES.saturating_sub(self.appended);
        let Some(core) = self.open() else { return };
        core.append(count.min(room));
        let appended = core.appended;
        self.appended = self.appended.max(appended);
    }

    fn step(&mut self, act: impl FnOnce(&mut Core) -> Result<(), Ended>) {
        let Some(core) = self.open() else { return };
        let ended = act(core);
        let acked = core.acked;
        self.acked = self.acked.max(acked);
        self.survive(ended);
    }

    /// A life ends with a fault, and only with a fault.
    fn survive(&mut self, ended: Result<(), Ended>) {
        if let Err(ended) = ended {
            assert!(self.faulty.fired(), "{ended:?}");
            self.restart(None);
        }
    }

    fn seal(&mut self) {
        self.step(Core::seal);
        if self.core.is_some() {
            self.check_invariants();
        }
    }

    fn close(&mut self) {
        if self.open().is_none() {
            return;
        }
        let Some(core) = self.core.take() else { return };
        let appended = core.appended;
        let ended = core.close();
        if ended.is_ok() {
            self.acked = appended;
        }
        self.survive(ended);
        self.restart(None);
    }

    /// A cursor moves, or is removed. A replica never has more than is sealed.
    fn cursor(&mut self, which: u8, to: u8) {
        let index = u64::from(to).saturating_mul(4).min(self.sealed());
        let cursor = match which % 4 {
            0 => Some(Cursor::Required(index)),
            1 => Some(Cursor::Optional(index)),
            2 => Some(Cursor::Hold(index)),
            _ => None,
        };
        let name = NAMES[usize::from(which / 4) % NAMES.len()];
        if let Err(error) = write_cursor(&self.faulty, name, cursor) {
            assert!(self.faulty.fired(), "{error}");
            self.restart(None);
        }
    }

    /// A policy prunes entries. The last sealed one stands for the record of it. Nothing that
    /// somebody needs is removed.
    fn prune(&mut self, to: u8) {
        if self.open().is_none() {
            return;
        }
        let sealed = self.sealed();
        let Some(record) = sealed.checked_sub(1) else {
            return;
        };
        let store = &self.faulty;
        let pruned = bound(store, u64::from(to).saturating_mul(6), sealed)
            .and_then(|below| prune(store, below, record, sealed).map(|_| below));
        match pruned {
            Ok(below) => {
                assert_eq!(Pruned::read(&self.mem).unwrap().below, below);
                self.check_invariants();
            }
            Err(error) => {
                assert!(self.faulty.fired(), "{error}");
                self.restart(None);
            }
        }
    }

    /// The trail gets new keys, after the process that had it open has ended. An incomplete change
    /// is repeated, or another one is tried.
    fn rotate(&mut self, how: u8) {
        self.core = None;
        let old = self.keys.settle(&self.mem);
        let (signer, cosigner) = self.keys.now;
        let fresh = self.keys.last + 1;
        let next = match (self.keys.next, how % 4) {
            (Some(next), 0 | 1) => next,
            (_, 0 | 2) => (fresh, cosigner),
            (_, 1) => (signer, fresh),
            _ => (fresh, fresh + 1),
        };
        self.keys.last = self.keys.last.max(next.0).max(next.1);
        let store: SharedStore = Arc::new(self.faulty.clone());
        let clock: Arc<dyn Clock> = Arc::new(Still);
        let keeper = self.seen.keeper(&store);
        match rotate(&store, &old, &Keys::of(next), &clock, &mut [], keeper) {
            Ok(handed_over) => {
                self.seen.0.lock().unwrap().push(handed_over.head());
                self.keys.changed(next);
            }
            Err(LedgerError::RotationUnrecorded) => {}
            // A change to other keys was begun, and must be completed.
            Err(LedgerError::KeyGivenUp { .. }) => assert!(self.keys.next != Some(next)),
            Err(error) => {
                assert!(self.faulty.fired(), "{error}");
                self.keys.next = Some(next);
                self.restart(None);
            }
        }
        if self.open().is_some() {
            self.check_invariants();
        }
    }

    fn sealed(&self) -> u64 {
        let reader = Reader::open(Arc::new(self.mem.clone())).unwrap();
        reader.checkpoint().unwrap().head().size
    }

    /// Reads while the ledger is working: everything published exists, with its proof, and nothing
    /// else is returned.
    fn read(&self, at: u8) {
        let reader = Reader::open(Arc::new(self.mem.clone())).unwrap();
        let head = reader.checkpoint().unwrap().head();
        let beyond = reader.entry(head.size).unwrap_err();
        assert!(
            matches!(beyond, LedgerError::BeyondPublished { .. }),
            "{beyond}"
        );
        let Some(index) = u64::from(at).saturating_mul(6).checked_rem(head.size) else {
            return;
        };
        match reader.entry(index) {
            Err(LedgerError::Pruned { index: at, below }) => {
                assert!(at == index && index < below);
            }
            read => assert_eq!(read.unwrap(), entry(index)),
        }
        reader.inclusion_proof(index).unwrap();
        let (old, proof) = reader.consistency_proof(index, head.size).unwrap();
        head.verify_consistency(&old, &proof).unwrap();
    }

    /// I1 to I6, from the files alone.
    fn check_invariants(&self) {
        // I1, I2, I4: every served file is a function of the durable entries; it contradicts no
        // head that was ever seen.
        let sealed = check_whole(&self.mem, &self.seen, self.acked);
        check_names(&self.mem, self.acked);
        self.check_kept(sealed);
        // I3: nothing was signed that was not intended before.
        let intent = Intent::read(&self.mem).unwrap().head;
        assert!(
            intent.size >= sealed && intent.size <= self.acked,
            "intent {}, sealed {sealed}, durable {}",
            intent.size,
            self.acked
        );
        // I5: records that are not yet in full published bundles are in the write-ahead log.
        if let Some(first) = list_segments(&self.mem).unwrap().first() {
            assert!(*first <= sealed - sealed % 256, "a segment went too early");
        } else {
            assert_eq!(self.acked, 0, "no segment");
        }
        // I6: whatever a policy wants, the entries that somebody still needs stay.
        let cursors: Vec<_> = read_cursors(&self.mem)
            .unwrap()
            .into_iter()
            .map(|(_, cursor)| cursor)
            .collect();
        let below = prunable_below(u64::MAX, sealed, &cursors);
        assert!(below <= sealed && below.is_multiple_of(256));
        for cursor in cursors {
            if let Cursor::Required(index) | Cursor::Hold(index) = cursor {
                assert!(below <= index, "{below} is past {index}");
            }
        }
    }

    /// Permanently kept files belong to this tree, and are signed with keys that were the trail's;
    /// the id of each retired key has its hand-over.
    fn check_kept(&self, sealed: u64) {
        let leaves: Vec<_> = (0..sealed).map(|index| leaf_hash(&entry(index))).collect();
        let changes = &self.keys.changes;
        let ever = changes.iter().flatten().chain(&self.keys.next);
        let ever: Vec<_> = ever
            .chain([&self.keys.now])
            .map(|keys| Keys::of(*keys))
            .collect();
        for path in self.mem.paths() {
            let is_kept = path.starts_with("private/checkpoints/") && path.ends_with(".note");
            if !is_kept && !path.starts_with("handover/") {
                continue;
            }
            let note = Note::parse(&self.mem.read(&path).unwrap()).unwrap();
            let head = Checkpoint::parse(note.text()).unwrap().head();
            assert!(head.size <= sealed, "{path} is of {} entries", head.size);
            let before = &leaves[..usize::try_from(head.size).unwrap()];
            assert_eq!(head.root, tree_root(before), "{path}");
            let is_signed =
                |keys: &Arc<Identity>| keys.verifier().unwrap().verify_note(note.clone()).is_ok();
            assert!(ever.iter().any(is_signed), "{path}");
        }
        for [old, new] in changes {
            let (old, new) = (Keys::of(*old), Keys::of(*new));
            for (key, next) in [
                (old.signer_key(), new.signer_key()),
                (old.cosigner_key(), new.cosigner_key()),
            ] {
                if key == next {
                    continue;
                }
                let note = self.mem.read(&format!("handover/{}", key.id())).unwrap();
                let note = Note::parse(&note).unwrap();
                for keys in [&old, &new] {
                    keys.verifier().unwrap().verify_note(note.clone()).unwrap();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::changes;
    use super::{Op, Pruned, live, run};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn all_invariants_hold_after_any_operations(bytes in prop::collection::vec(any::<u8>(), 1..160)) {
            run(&bytes);
        }
    }

    #[test]
    fn entries_are_pruned_up_to_a_hold_and_beyond_it_when_it_is_lifted() {
        // Five full bundles and a partial one, sealed; a hold at 300; prune up to 256; lift it; a
        // killed prune, the next start; prune; read both.
        let mem = live(&[
            2, 255, 2, 255, 2, 255, 3, 5, 6, 12, 2, 75, 14, 255, 12, 3, 0, 11, 10, 0, 4, 14, 200,
            14, 200, 13, 10, 13, 170, 9, 14, 255, 8,
        ]);
        assert_eq!(Pruned::read(&mem).unwrap().below, 1_280);
        let bundles = mem.paths();
        let bundles = bundles
            .iter()
            .filter(|path| path.starts_with("tile/entries/"));
        assert_eq!(
            bundles.count(),
            1,
            "of 1,365 entries the last, which are no full bundle"
        );
    }

    #[test]
    fn keys_are_changed_whatever_fails_and_what_the_new_ones_sign_is_not_lost_to_a_power_cut() {
        // Append, commit, integrate, seal; a fault; a change of both keys, which the next opening
        // meets in any state; append and seal; a power cut; the change again, and one of the second
        // key; append, close.
        for op in (0..)
            .zip(Op::ALL)
            .filter(|(_, op)| changes(*op))
            .map(|(at, _)| at)
        {
            for nth in 0..8 {
                for fault in [2, 4] {
                    for cut in 0..3 {
                        run(&[
                            0, 30, 3, 5, 6, 11, op, nth, fault, 15, 3, 0, 9, 3, 5, 6, 10, nth, cut,
                            15, 1, 15, 1, 0, 4, 8,
                        ]);
                    }
                }
            }
        }
    }

    #[test]
    fn an_intent_whose_sync_failed_is_durable_before_it_is_signed() {
        // Append; the sync of a directory fails at each position in turn; close; the next start; a
        // power cut that keeps the synced data.
        for nth in 0..16 {
            run(&[0, 0, 11, 5, nth, 0, 8, 3, 10, 0, 0]);
        }
    }

    #[test]
    fn a_day_with_everything_in_it() {
        // Append, commit, integrate, seal; a hold; a full bundle and a seal; a failing sync; a
        // power cut; read; close.
        run(&[
            0, 30, 3, 5, 6, 12, 2, 5, 2, 255, 3, 5, 6, 13, 9, 11, 16, 0, 2, 0, 20, 3, 10, 7, 2, 0,
            9, 3, 6, 13, 40, 8,
        ]);
    }
}
