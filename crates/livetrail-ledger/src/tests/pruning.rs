//! Retention: what is removed, what stays, what prevents it, and a crash at every step.

use std::{io, sync::Arc, time::Duration};

use livetrail_tlog::{ProofFile, leaf_hash};

use super::faults::changes;
use super::harness::{Core, Seen, created, entry, identity, small};
use crate::{
    Class, Cursor, Fault, FaultPlan, FaultStore, Ledger, LedgerError, MemStore, PowerCut, Reader,
    SharedStore, Store as _,
    upkeep::prune::{Pruned, prune},
};

const LONG: Duration = Duration::from_secs(60);

fn open(mem: &MemStore) -> Ledger {
    let store: SharedStore = Arc::new(mem.clone());
    let builder = Ledger::builder(store, identity()).options(small());
    builder.open().unwrap().0
}

fn append(ledger: &Ledger, count: u64) -> u64 {
    let first = ledger.status().appended;
    let entries: Vec<_> = (first..first + count).map(entry).collect();
    let next = ledger.append(Class::Strict, &entries).unwrap().next;
    ledger.wait_sealed(next, LONG).unwrap();
    next
}

fn trail(entries: u64) -> MemStore {
    let mem = created();
    let ledger = open(&mem);
    append(&ledger, entries);
    ledger.close().unwrap();
    mem
}

fn bundles(mem: &MemStore) -> Vec<String> {
    let mut paths = mem.paths();
    paths.retain(|path| path.starts_with("tile/entries/"));
    paths
}

#[test]
fn entries_go_and_their_hashes_and_proofs_stay() {
    let mem = trail(1_000);
    let tiles = |mem: &MemStore| {
        let mut paths = mem.paths();
        paths.retain(|path| path.starts_with("tile/") && !path.contains("entries"));
        paths
    };
    let hashes = tiles(&mem);
    let ledger = open(&mem);
    let below = ledger.prunable_below(700).unwrap();
    assert_eq!(below, 512);
    let record = append(&ledger, 1) - 1;
    assert_eq!(ledger.prune(below, record).unwrap(), 2);
    assert_eq!(ledger.prune(below, record).unwrap(), 0, "it is done");
    let reader = Reader::open(Arc::new(mem.clone())).unwrap();
    assert_eq!(reader.first_index().unwrap(), 512);
    for index in [0, 511] {
        let error = reader.entry(index).unwrap_err();
        assert!(
            matches!(error, LedgerError::Pruned { index: at, below: 512 } if at == index),
            "{error}"
        );
        assert_eq!(
            error.to_string(),
            format!("entry {index} was pruned: the trail has its hash, and entries from 512 on")
        );
        let proof = reader.inclusion_proof(index).unwrap();
        let proof = ProofFile::parse(proof.as_bytes()).unwrap();
        let leaf = leaf_hash(&entry(index));
        let head = reader.checkpoint().unwrap().head();
        head.verify_inclusion(index, &leaf, proof.proof()).unwrap();
    }
    assert_eq!(reader.entry(512).unwrap(), entry(512));
    let (old, proof) = reader.consistency_proof(100, 1_001).unwrap();
    let head = reader.checkpoint().unwrap().head();
    head.verify_consistency(&old, &proof).unwrap();
    // The log continues.
    append(&ledger, 300);
    ledger.close().unwrap();
    let ledger = open(&mem);
    assert_eq!(ledger.status().sealed.size, 1_301);
    assert_eq!(reader.entries(512..2_000).unwrap().count(), 789);
    assert!(
        hashes
            .iter()
            .all(|path| tiles(&mem).contains(path) || path.contains(".p/"))
    );
}

#[test]
fn the_write_ahead_log_lets_go_of_pruned_entries() {
    let mem = trail(10);
    let ledger = open(&mem);
    append(&ledger, 590);
    let segments = || {
        let mut names = mem.list("private/wal").unwrap();
        names.retain(|one| one.name.ends_with(".wal"));
        names.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    let before = segments();
    let record = append(&ledger, 1) - 1;
    ledger.prune(512, record).unwrap();
    // The new segment begins with the next entry. The old one is removed when all its entries are
    // in full bundles.
    append(&ledger, 300);
    append(&ledger, 1);
    ledger.close().unwrap();
    assert!(
        before.iter().all(|name| !segments().contains(name)),
        "{before:?} {:?}",
        segments()
    );
}

#[test]
fn what_a_replica_or_a_hold_needs_stays_and_so_does_what_is_not_on_record() {
    let mem = trail(1_024);
    let ledger = open(&mem);
    assert_eq!(
        ledger.prunable_below(u64::MAX).unwrap(),
        768,
        "the last bundle stays"
    );
    ledger
        .set_cursor("s3", Some(Cursor::Required(600)))
        .unwrap();
    ledger
        .set_cursor("kafka", Some(Cursor::Optional(3)))
        .unwrap();
    assert_eq!(ledger.prunable_below(u64::MAX).unwrap(), 512);
    ledger
        .set_cursor("case-17", Some(Cursor::Hold(300)))
        .unwrap();
    assert_eq!(ledger.prunable_below(u64::MAX).unwrap(), 256);
    for (below, record, sealed) in [(256, 200, 1_024), (256, 1_024, 1_024)] {
        let error = ledger.prune(below, record).unwrap_err();
        assert!(
            matches!(error, LedgerError::PruneUnrecorded { sealed: s, .. } if s == sealed),
            "{error}"
        );
    }
    for below in [512, 200] {
        let error = ledger.prune(below, 1_023).unwrap_err();
        assert!(matches!(error, LedgerError::PruneBeyond { .. }), "{error}");
    }
    assert_eq!(bundles(&mem).len(), 4);
    ledger.set_cursor("case-17", None).unwrap();
    assert_eq!(ledger.prune(512, 1_023).unwrap(), 2);
    // A hold that comes too late holds the remaining entries.
    ledger.set_cursor("case-18", Some(Cursor::Hold(0))).unwrap();
    assert_eq!(ledger.prunable_below(u64::MAX).unwrap(), 512);
    ledger.close().unwrap();
}

#[test]
fn a_crash_at_any_step_leaves_all_of_them_or_ends_with_none() {
    let fresh = trail(1_000);
    let act = |store: &FaultStore| prune(store, 512, 900, 1_000);
    let counting = FaultStore::over_memory(fresh.copy());
    act(&counting).unwrap();
    let mut crashes = 0;
    for (op, count) in counting.counts() {
        for nth in 0..count {
            for fault in [
                Fault::Error(io::ErrorKind::Other),
                Fault::ErrorButDone(io::ErrorKind::Other),
                Fault::Short,
                Fault::KilledBefore,
                Fault::KilledAfter,
            ] {
                if !changes(op) && !matches!(fault, Fault::Error(_)) {
                    continue;
                }
                let plan = FaultPlan { op, nth, fault };
                let mem = fresh.copy();
                let faulty = FaultStore::over_memory(mem.clone());
                faulty.arm(plan);
                let done = act(&faulty).is_ok();
                for cut in [
                    PowerCut::Synced,
                    PowerCut::Prefix(nth),
                    PowerCut::Subset(nth),
                ] {
                    crashes += 1;
                    comes_back(&mem.power_cut(cut), done, &format!("{plan:?}, {cut:?}"));
                }
                comes_back(&mem, done, &format!("{plan:?}, process killed"));
            }
        }
    }
    assert!(crashes > 100, "{crashes}");
}

fn comes_back(mem: &MemStore, done: bool, what: &str) {
    let store: SharedStore = Arc::new(mem.clone());
    let core =
        Core::open(&store, &Seen::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(core.report().is_clean(), "{what}");
    drop(core);
    let below = Pruned::read(mem).unwrap().below;
    let left = bundles(mem).len();
    assert!(
        matches!((below, left), (0, 4) | (512, 2)),
        "{what}: {below}, {left}"
    );
    assert!(!done || below == 512, "{what}: it was done");
    prune(mem, 512, 900, 1_000).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(bundles(mem).len(), 2, "{what}");
}
