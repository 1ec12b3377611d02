//! I1 to I6, one test each; I5 and I6 are also tested where they are computed.

use std::sync::Arc;

use livetrail_tlog::{Bundle, Tile};

use super::harness::{Core, Ended, Seen, check_whole, created, entry};
use crate::{
    error::{Fatal, LedgerError},
    layout,
    read::reader::Reader,
    store::{Access, FaultStore, MemStore, Op, SharedStore, Store},
    write::wal::list_segments,
};

fn opened(mem: &MemStore) -> Core {
    let store: SharedStore = Arc::new(mem.clone());
    Core::open(&store, &Seen::default()).unwrap()
}

#[test]
fn i1_nothing_is_published_before_it_is_durable() {
    let mem = created();
    let mut core = opened(&mem);
    core.append(300);
    core.integrate().unwrap();
    core.seal().unwrap();
    assert_eq!(core.acked, 0);
    assert!(!mem.paths().iter().any(|path| path.starts_with("tile/")));
    core.commit().unwrap();
    core.integrate().unwrap();
    core.seal().unwrap();
    assert_eq!(check_whole(&mem, &Seen::default(), 300), 300);
}

#[test]
fn i2_writing_again_gives_the_same_bytes() {
    let mem = created();
    let mut core = opened(&mem);
    core.append(700);
    core.commit().unwrap();
    let before_sealing = mem.copy();
    core.close().unwrap();
    let mut again = opened(&before_sealing);
    again.seal().unwrap();
    drop(again);
    for path in mem.paths() {
        if path.starts_with("tile/") || path == layout::CHECKPOINT {
            assert_eq!(
                mem.read(&path).unwrap(),
                before_sealing.read(&path).unwrap(),
                "{path}"
            );
        }
    }
}

#[test]
fn i2_a_file_with_other_bytes_stops_the_log() {
    for path in ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"] {
        let mem = created();
        let mut core = opened(&mem);
        core.append(256);
        core.commit().unwrap();
        core.integrate().unwrap();
        mem.create_dir(crate::store::parent(path)).unwrap();
        mem.write(path, b"somebody else's", Access::Tile).unwrap();
        match core.seal() {
            Err(Ended::Fatal(fatal)) => assert!(
                matches!(fatal, Fatal::FileDiffers { .. }),
                "{path}: {fatal}"
            ),
            other => panic!("{path}: {other:?}"),
        }
        assert_eq!(mem.read(path).unwrap(), b"somebody else's");
    }
}

#[test]
fn i3_no_signature_before_files_and_intent_are_durable() {
    // Cut the power whenever something was signed: all files of that size and the intent must
    // exist.
    #[derive(Clone)]
    struct AtSigning(MemStore);
    impl crate::CheckpointHook for AtSigning {
        fn signed(
            &mut self,
            checkpoint: &livetrail_tlog::VerifiedCheckpoint,
        ) -> Vec<livetrail_tlog::NoteSignature> {
            let after = self.0.power_cut(crate::PowerCut::Synced);
            let intent = crate::manifest::Intent::read(&after).unwrap();
            assert_eq!(intent.head, checkpoint.head());
            let size = checkpoint.head().size;
            for tile in livetrail_tlog::tree_tiles(size) {
                assert!(after.exists(&tile.to_string()).unwrap(), "{tile} at {size}");
                let length = after.read(&tile.to_string()).unwrap().len();
                assert_eq!(length, tile.byte_len(), "{tile} at {size}");
            }
            for bundle in livetrail_tlog::tree_bundles(size) {
                let bytes = after.read(&bundle.to_string()).unwrap();
                assert!(
                    livetrail_tlog::parse_bundle(bundle, &bytes).is_ok(),
                    "{bundle}"
                );
            }
            Vec::new()
        }
    }
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let (ledger, _) = crate::Ledger::builder(store, super::harness::identity())
        .options(super::harness::small())
        .hook(AtSigning(mem))
        .open()
        .unwrap();
    for count in [3, 500, 1, 300] {
        let entries: Vec<_> = (0..count).map(entry).collect();
        let next = ledger.append(crate::Class::Strict, &entries).unwrap().next;
        ledger
            .wait_sealed(next, std::time::Duration::from_secs(30))
            .unwrap();
    }
    ledger.close().unwrap();
}

#[test]
fn i3_the_same_size_is_never_signed_with_another_root() {
    let mem = created();
    let mut core = opened(&mem);
    core.append(10);
    core.commit().unwrap();
    core.close().unwrap();
    // Another tree of a larger size was intended.
    let other = crate::manifest::Intent {
        head: livetrail_tlog::TreeHead {
            size: 12,
            root: livetrail_tlog::leaf_hash(b"other"),
        },
        unix_s: 1,
    };
    let mut core = opened(&mem);
    core.append(5);
    core.commit().unwrap();
    drop(core);
    other.write(&mem).unwrap();
    let store: SharedStore = Arc::new(mem.clone());
    let seen = Seen::default();
    let error = Core::open(&store, &seen).map(|_| ()).unwrap_err();
    assert!(
        matches!(error, LedgerError::IntentRoot { size: 12, .. }),
        "{error}"
    );
    assert!(seen.0.lock().unwrap().is_empty(), "nothing was signed");
}

#[test]
fn i3_after_a_crash_between_intent_and_checkpoint_the_same_bytes_are_signed() {
    let mem = created();
    let mut core = opened(&mem);
    core.append(300);
    core.commit().unwrap();
    core.integrate().unwrap();
    let faulty = mem.copy();
    core.seal().unwrap();
    let signed = mem.read(layout::CHECKPOINT).unwrap();
    drop(core);
    // The same life, killed before the checkpoint's rename: the next one has another clock.
    let intent = mem.read(layout::INTENT).unwrap();
    faulty
        .write(layout::INTENT, &intent, Access::Private)
        .unwrap();
    let core = opened(&faulty);
    assert_eq!(core.report().completed, Some(300));
    assert_eq!(faulty.read(layout::CHECKPOINT).unwrap(), signed);
}

#[test]
fn i4_nothing_beyond_the_published_size_is_served() {
    let mem = created();
    let mut core = opened(&mem);
    core.append(300);
    core.close().unwrap();
    let old = mem.read(layout::CHECKPOINT).unwrap();
    let mut core = opened(&mem);
    core.append(400);
    core.close().unwrap();
    // All files of 700 entries exist, and the checkpoint of 300 is published.
    mem.write(layout::CHECKPOINT, &old, Access::Checkpoint)
        .unwrap();
    let reader = Reader::open(Arc::new(mem)).unwrap();
    assert_eq!(reader.checkpoint().unwrap().head().size, 300);
    let beyond = |error: LedgerError| matches!(error, LedgerError::BeyondPublished { .. });
    assert_eq!(reader.entry(299).unwrap(), entry(299));
    assert!(beyond(reader.entry(300).unwrap_err()));
    assert!(
        reader.bundle(Bundle::new(1, 44).unwrap()).is_ok(),
        "from the full one"
    );
    assert!(beyond(
        reader.bundle(Bundle::new(1, 45).unwrap()).unwrap_err()
    ));
    assert!(beyond(
        reader.bundle(Bundle::new(1, 256).unwrap()).unwrap_err()
    ));
    assert!(reader.tile(Tile::new(0, 1, 44).unwrap()).is_ok());
    assert!(beyond(
        reader.tile(Tile::new(0, 1, 256).unwrap()).unwrap_err()
    ));
    assert!(reader.tile(Tile::new(1, 0, 1).unwrap()).is_ok());
    assert!(beyond(
        reader.tile(Tile::new(1, 0, 2).unwrap()).unwrap_err()
    ));
    assert!(beyond(reader.inclusion_proof(300).unwrap_err()));
    assert!(beyond(reader.consistency_proof(3, 301).unwrap_err()));
    assert_eq!(reader.entries(290..700).unwrap().count(), 10);
}

#[test]
fn i5_segments_stay_until_their_records_are_in_full_published_bundles() {
    let mem = created();
    let mut core = opened(&mem);
    let mut largest = 0;
    for _ in 0..40 {
        core.append(100);
        core.commit().unwrap();
        core.integrate().unwrap();
        core.seal().unwrap();
        let segments = list_segments(&mem).unwrap();
        let full = core.acked - core.acked % 256;
        assert!(
            segments[0] <= full,
            "records from {full} on are only in a partial bundle"
        );
        if let Some(second) = segments.get(1) {
            assert!(*second > full, "the first has had its time");
        }
        largest = largest.max(segments.len());
    }
    assert!(largest < 6, "they do go");
}

#[test]
fn a_flipped_bit_between_integrating_and_signing_is_caught() {
    let staged = |mem: &MemStore| {
        let mut paths = mem.paths();
        paths.retain(|path| path.starts_with(layout::STAGE));
        paths
    };
    let mem = created();
    let mut core = opened(&mem);
    core.append(600);
    core.commit().unwrap();
    core.integrate().unwrap();
    let paths = staged(&mem);
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let length = mem.read(&path).unwrap().len();
        for byte in (0..length).step_by(length / 7 + 1) {
            mem.flip_bit(&path, byte, 3).unwrap();
            match core.seal() {
                Err(Ended::Fatal(fatal)) => assert!(
                    matches!(fatal, Fatal::Reread { .. } | Fatal::RereadRoot { .. }),
                    "{path} byte {byte}: {fatal}"
                ),
                other => panic!("{path} byte {byte}: {other:?}"),
            }
            assert!(!mem.paths().iter().any(|path| path.starts_with("tile/")));
            mem.flip_bit(&path, byte, 3).unwrap();
            // The cut staged partial files; the next cut of the same size writes none.
        }
    }
    core.seal().unwrap();
    assert_eq!(check_whole(&mem, &Seen::default(), 600), 600);
}

#[test]
fn a_flipped_bit_in_the_tree_that_was_signed_before_is_caught_when_it_is_built_upon() {
    let mem = created();
    let mut core = opened(&mem);
    core.append(300);
    core.commit().unwrap();
    core.integrate().unwrap();
    core.seal().unwrap();
    core.append(1);
    core.commit().unwrap();
    core.integrate().unwrap();
    mem.flip_bit("tile/1/000.p/1", 5, 0).unwrap();
    assert!(matches!(core.seal(), Err(Ended::Fatal(_))));
}

#[test]
fn a_clean_start_changes_nothing_and_the_cut_writes_few_files() {
    let mem = created();
    let mut core = opened(&mem);
    core.append(1000);
    core.close().unwrap();
    let before = mem.paths();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let core = Core::open(&store, &Seen::default()).unwrap();
    assert!(core.report().is_clean());
    assert_eq!(mem.paths(), before);
    let counts = faulty.counts();
    for op in [
        Op::Write,
        Op::WriteAt,
        Op::Rename,
        Op::RenameNew,
        Op::Preallocate,
        Op::SyncFiles,
        Op::Sync,
    ] {
        assert_eq!(counts.get(&op), None, "{op:?}");
    }
    assert!(
        counts[&Op::Read] <= 12,
        "{counts:?}: the right edge and no more"
    );
}
