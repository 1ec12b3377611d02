//! Check and repair.

use std::collections::BTreeSet;

use livetrail_ledger::{MemStore, Store as _};

use super::{erase_sessions, insert, open, present};
use crate::{Problem, disk, format::slots};

fn damaged(what: impl FnOnce(&MemStore)) -> MemStore {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..10).unwrap();
    erase_sessions(&mut vault, [1]);
    assert!(vault.check().unwrap().is_good());
    drop(vault);
    what(&mem);
    mem
}

fn set_slot(mem: &MemStore, segment: u64, row: u32, byte: u8) {
    let mut file = mem.open(&disk::keys(segment), false).unwrap();
    file.write_at(slots::offset(row), &[byte; 32]).unwrap();
}

/// A name, the damage, the problem that it is, and the rows that are left.
type Case<'a> = (&'a str, &'a dyn Fn(&MemStore), Problem, &'a [u32]);

#[test]
fn each_problem_is_found_and_repaired() {
    let cases: [Case<'_>; 6] = [
        (
            "a row",
            &|mem| mem.flip_bit(&disk::rows(0), 80, 0).unwrap(),
            Problem::Row { segment: 0, row: 0 },
            &[2, 3, 4, 5, 6, 7, 8, 9],
        ),
        (
            "a key",
            &|mem| set_slot(mem, 1, 2, 7),
            Problem::Row { segment: 1, row: 2 },
            &[0, 2, 3, 4, 5, 7, 8, 9],
        ),
        (
            "a key without a row",
            &|mem| set_slot(mem, 0, 1, 7),
            Problem::OrphanKey { segment: 0, row: 1 },
            &[0, 2, 3, 4, 5, 6, 7, 8, 9],
        ),
        (
            "a row without a key",
            &|mem| set_slot(mem, 0, 2, 0),
            Problem::OrphanRow { segment: 0, row: 2 },
            &[0, 3, 4, 5, 6, 7, 8, 9],
        ),
        (
            "an index",
            &|mem| mem.flip_bit(&disk::index(1), 200, 0).unwrap(),
            Problem::Index { segment: 1 },
            &[0, 2, 3, 4, 5, 6, 7, 8, 9],
        ),
        (
            "a run",
            &|mem| mem.flip_bit(&disk::tombstones(0), 20, 0).unwrap(),
            Problem::Tombstones {
                file: disk::tombstones(0),
            },
            &[0, 2, 3, 4, 5, 6, 7, 8, 9],
        ),
    ];
    for (what, damage, problem, left) in cases {
        let mem = damaged(damage);
        let mut vault = open(&mem);
        let (before, after) = vault.repair().unwrap();
        assert!(before.problems.contains(&problem), "{what}: {before:?}");
        assert!(after.is_good(), "{what}: {after:?}");
        let left: BTreeSet<u32> = left.iter().copied().collect();
        assert_eq!(
            present(&vault, 10).into_iter().collect::<BTreeSet<_>>(),
            left,
            "{what}"
        );
        drop(vault);
        let mut vault = open(&mem);
        assert!(vault.check().unwrap().is_good(), "{what}");
        insert(&mut vault, 20..30).unwrap();
    }
}

#[test]
fn an_older_copy_of_some_files_is_found_and_repaired() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..10).unwrap();
    let old = mem.copy();
    erase_sessions(&mut vault, [2, 9]);
    drop(vault);
    for segment in [0, 2] {
        for name in [disk::keys(segment), disk::rows(segment)] {
            let bytes = old.read(&name).unwrap();
            mem.write(&name, &bytes, livetrail_ledger::Access::Private)
                .unwrap();
        }
    }
    let mut vault = open(&mem);
    let (before, after) = vault.repair().unwrap();
    let erased = before
        .problems
        .iter()
        .filter(|problem| matches!(problem, Problem::Erased { .. }));
    assert_eq!(erased.count(), 2, "{before:?}");
    assert!(after.is_good(), "{after:?}");
    assert_eq!(present(&vault, 10), [0, 1, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn damage_in_the_active_segment_loses_the_damaged_row_only() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, [0]).unwrap();
    insert(&mut vault, [1]).unwrap();
    insert(&mut vault, [2]).unwrap();
    drop(vault);
    // The header of the second row: the third one proves that it was synced.
    let bytes = mem.read(&disk::rows(0)).unwrap();
    let scan = crate::format::row::scan(&bytes, 0, 9).unwrap();
    mem.flip_bit(
        &disk::rows(0),
        usize::try_from(scan.rows[1].offset).unwrap() + 5,
        1,
    )
    .unwrap();
    let mut vault = open(&mem);
    assert!(vault.get(&super::session(0)).unwrap().is_some());
    assert!(vault.get(&super::session(1)).unwrap().is_none());
    assert!(vault.get(&super::session(2)).unwrap().is_some());
    let (before, after) = vault.repair().unwrap();
    assert!(
        before
            .problems
            .contains(&Problem::Row { segment: 0, row: 1 }),
        "{before:?}"
    );
    assert!(after.is_good(), "{after:?}");
    insert(&mut vault, 3..9).unwrap();
    assert_eq!(present(&vault, 9), [0, 2, 3, 4, 5, 6, 7, 8]);
}
