//! The refusals of a start, whose texts give the remedy, with nothing changed.

use std::{io, sync::Arc};

use livetrail_tlog::{TreeHead, leaf_hash};

use super::harness::{Core, Seen, Still, created, identity};
use crate::{
    error::LedgerError,
    identity::{Identity, Seed},
    layout,
    store::{Access, Fault, FaultPlan, FaultStore, MemStore, Op, SharedStore, Store},
    upkeep::recover::{ExternalFloor, Floor, SeenTree, create, recover},
};

/// A trail of 700 sealed entries, and 40 that are only durable.
fn trail() -> MemStore {
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    core.append(700);
    core.commit().unwrap();
    core.integrate().unwrap();
    core.seal().unwrap();
    core.append(40);
    core.commit().unwrap();
    mem
}

fn refused(mem: &MemStore, floors: &mut [Box<dyn ExternalFloor>]) -> LedgerError {
    let contents = |mem: &MemStore| {
        mem.paths()
            .into_iter()
            .map(|path| (path.clone(), mem.read(&path).unwrap()))
            .collect::<Vec<_>>()
    };
    let before = contents(mem);
    let store: SharedStore = Arc::new(mem.clone());
    let seen = Seen::default();
    let error = Core::open_above(&store, &seen, floors)
        .map(|_| ())
        .unwrap_err();
    assert!(contents(mem) == before, "{error}: something was changed");
    assert!(
        seen.0.lock().unwrap().is_empty(),
        "{error}: something was signed"
    );
    error
}

fn refused_after(damage: impl FnOnce(&MemStore)) -> LedgerError {
    let mem = trail();
    damage(&mem);
    refused(&mem, &mut [])
}

#[test]
fn a_directory_without_a_trail_does_not_become_one() {
    let mem = MemStore::new();
    let error = refused(&mem, &mut []);
    assert!(matches!(error, LedgerError::NoTrail { .. }), "{error}");
    assert!(mem.paths().is_empty());
}

#[test]
fn a_trail_is_not_made_over_another() {
    let mem = trail();
    let error = create(&mem, &identity(), &Still).unwrap_err();
    assert!(matches!(error, LedgerError::Exists { .. }), "{error}");
    mem.remove(layout::MANIFEST).unwrap();
    let error = create(&mem, &identity(), &Still).unwrap_err();
    assert!(matches!(error, LedgerError::Exists { .. }), "{error}");
}

#[test]
fn an_interrupted_creation_can_be_done_again() {
    let mem = created();
    mem.remove(layout::MANIFEST).unwrap();
    create(&mem, &identity(), &Still).unwrap();
    let store: SharedStore = Arc::new(mem);
    assert!(Core::open(&store, &Seen::default()).is_ok());
}

#[test]
fn another_origin_or_key_is_refused() {
    let (one, two, three) = ([1; 32], [2; 32], [3; 32]);
    let with = |origin: &str, signer: [u8; 32], cosigner: [u8; 32]| {
        let identity = Identity::from_seeds(origin, &Seed::new(signer), &Seed::new(cosigner));
        let store: SharedStore = Arc::new(trail());
        let clock: Arc<dyn crate::Clock> = Arc::new(Still);
        recover(
            &store,
            &Arc::new(identity.unwrap()),
            &clock,
            Vec::new(),
            &mut [],
            None,
        )
        .map(|_| ())
    };
    assert!(with("example.com/audit", one, two).is_ok());
    let error = with("example.com/other", one, two).unwrap_err();
    assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
    let error = with("example.com/audit", three, two).unwrap_err();
    assert!(error.to_string().contains("signing key"), "{error}");
    let error = with("example.com/audit", one, three).unwrap_err();
    assert!(error.to_string().contains("cosigning key"), "{error}");
}

#[test]
fn a_second_writer_is_refused() {
    let mem = trail();
    let store: SharedStore = Arc::new(mem.clone());
    let first = Core::open(&store, &Seen::default()).unwrap();
    let error = refused(&mem, &mut []);
    assert!(matches!(error, LedgerError::Locked { .. }), "{error}");
    drop(first);
    assert!(Core::open(&store, &Seen::default()).is_ok());
}

#[test]
fn a_read_only_directory_is_refused_in_words() {
    let faulty = FaultStore::over_memory(trail());
    faulty.arm(FaultPlan {
        op: Op::Lock,
        nth: 0,
        fault: Fault::Error(io::ErrorKind::ReadOnlyFilesystem),
    });
    let store: SharedStore = Arc::new(faulty);
    let error = Core::open(&store, &Seen::default())
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, LedgerError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("writable"), "{error}");
}

#[test]
fn a_missing_or_foreign_checkpoint_is_refused() {
    let error = refused_after(|mem| mem.remove(layout::CHECKPOINT).unwrap());
    assert!(matches!(error, LedgerError::CheckpointMissing), "{error}");
    let error = refused_after(|mem| mem.flip_bit(layout::CHECKPOINT, 20, 0).unwrap());
    assert!(
        matches!(error, LedgerError::CheckpointInvalid { .. }),
        "{error}"
    );
}

#[test]
fn an_intent_that_is_missing_or_does_not_fit_the_checkpoint_is_refused() {
    let error = refused_after(|mem| mem.remove(layout::INTENT).unwrap());
    assert!(matches!(error, LedgerError::Intent { .. }), "{error}");
    let old = created().read(layout::INTENT).unwrap();
    let error = refused_after(|mem| mem.write(layout::INTENT, &old, Access::Private).unwrap());
    assert!(
        matches!(
            error,
            LedgerError::IntentBehind {
                intent: 0,
                checkpoint: 700
            }
        ),
        "{error}"
    );
    let error = refused_after(|mem| {
        let intent = crate::manifest::Intent {
            head: TreeHead {
                size: 700,
                root: leaf_hash(b"other"),
            },
            unix_s: 1,
        };
        intent.write(mem).unwrap();
    });
    assert!(matches!(error, LedgerError::IntentRoot { .. }), "{error}");
}

#[test]
fn a_cut_or_missing_log_is_refused() {
    let segments = |mem: &MemStore| {
        let mut paths = mem.paths();
        paths.retain(|path| path.ends_with(".wal"));
        paths
    };
    let error = refused_after(|mem| {
        for path in segments(mem) {
            mem.remove(&path).unwrap();
        }
    });
    assert!(matches!(error, LedgerError::WalMissing { .. }), "{error}");
    let error = refused_after(|mem| mem.remove(&segments(mem)[0]).unwrap());
    assert!(
        matches!(
            error,
            LedgerError::WalGap { .. } | LedgerError::WalMissing { .. }
        ),
        "{error}"
    );
    // The checkpoint covers 10 entries and the log ends before them.
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    core.append(10);
    core.close().unwrap();
    let mut file = mem.open(&segments(&mem)[0], false).unwrap();
    file.set_len(4096 + 200).unwrap();
    let error = refused(&mem, &mut []);
    assert!(
        matches!(error, LedgerError::WalShort { intent: 10, .. }),
        "{error}"
    );
}

#[test]
fn damage_in_the_log_is_named_with_its_place() {
    let error = refused_after(|mem| {
        let mut paths = mem.paths();
        paths.retain(|path| path.ends_with(".wal"));
        mem.flip_bit(&paths.pop().unwrap(), 5000, 0).unwrap();
    });
    let words = error.to_string();
    assert!(matches!(error, LedgerError::WalCorrupt { .. }), "{words}");
    assert!(
        words.contains("byte 4") || words.contains("byte 5"),
        "{words}"
    );
}

#[test]
fn damage_on_the_trees_right_edge_is_refused() {
    for path in [
        "tile/0/002.p/188",
        "tile/1/000.p/2",
        "tile/entries/002.p/188",
    ] {
        let error = refused_after(|mem| mem.flip_bit(path, 40, 0).unwrap());
        assert!(
            matches!(
                error,
                LedgerError::Root { .. } | LedgerError::FileCorrupt { .. }
            ),
            "{path}: {error}"
        );
        let error = refused_after(|mem| mem.remove(path).unwrap());
        assert!(
            matches!(error, LedgerError::FileMissing { .. }),
            "{path}: {error}"
        );
    }
}

#[test]
fn an_older_checkpoint_that_was_put_back_is_refused() {
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    core.append(10);
    core.close().unwrap();
    let old = (
        mem.read(layout::CHECKPOINT).unwrap(),
        mem.read(layout::INTENT).unwrap(),
    );
    for _ in 0..2 {
        let mut core = Core::open(&store, &Seen::default()).unwrap();
        core.append(5);
        core.close().unwrap();
    }
    mem.write(layout::CHECKPOINT, &old.0, Access::Checkpoint)
        .unwrap();
    mem.write(layout::INTENT, &old.1, Access::Private).unwrap();
    let error = refused(&mem, &mut []);
    assert!(
        matches!(
            error,
            LedgerError::RolledBack {
                known: 15,
                checkpoint: 10
            }
        ),
        "{error}"
    );
}

struct Witness(SeenTree);

impl ExternalFloor for Witness {
    fn largest_seen(&mut self) -> Vec<Floor> {
        vec![Floor {
            source_name: "witness.example".to_owned(),
            seen: self.0,
        }]
    }
}

#[test]
fn a_restored_old_copy_is_refused_when_somebody_has_seen_more() {
    let mem = trail();
    let yesterday = mem.copy();
    let store: SharedStore = Arc::new(mem.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    core.append(100);
    core.close().unwrap();
    let head = crate::Reader::open(store)
        .unwrap()
        .checkpoint()
        .unwrap()
        .head();
    assert_eq!(head.size, 840);
    let seen = |seen| -> Vec<Box<dyn ExternalFloor>> { vec![Box::new(Witness(seen))] };
    let floor = |size, root| seen(SeenTree::Tree(TreeHead { size, root }));
    let error = refused(&yesterday, &mut floor(840, head.root));
    assert!(
        matches!(error, LedgerError::FloorAhead { theirs: 840, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("witness.example"), "{error}");
    // Also when the party does not report which tree it was.
    let error = refused(&yesterday, &mut seen(SeenTree::Size(701)));
    assert!(
        matches!(error, LedgerError::FloorAhead { theirs: 701, .. }),
        "{error}"
    );
    let error = refused(&yesterday, &mut seen(SeenTree::Another { size: 300 }));
    assert!(
        matches!(error, LedgerError::FloorFork { size: 300, .. }),
        "{error}"
    );
    // A party that has seen less of this tree does not prevent the start; of another tree, it is a
    // fork.
    let signed = Seen::default();
    let old: SharedStore = Arc::new(yesterday.copy());
    let root = crate::Reader::open(Arc::clone(&old)).unwrap();
    let (at_500, _) = root.consistency_proof(500, 700).unwrap();
    assert!(Core::open_above(&old, &signed, &mut floor(500, at_500.root)).is_ok());
    let old: SharedStore = Arc::new(yesterday.copy());
    assert!(Core::open_above(&old, &signed, &mut seen(SeenTree::Size(700))).is_ok());
    let error = refused(&yesterday, &mut floor(500, leaf_hash(b"other")));
    assert!(
        matches!(error, LedgerError::FloorRoot { size: 500, .. }),
        "{error}"
    );
}
