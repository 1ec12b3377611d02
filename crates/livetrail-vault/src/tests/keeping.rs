//! Rows are kept, whichever way the vault was closed.

use std::sync::Arc;

use livetrail_clock::ManualClock;
use livetrail_ledger::{MemStore, PowerCut, SharedStore, Store as _};

use super::{Made, NOW_MS, SMALL, insert, key, open, present, session, try_open};
use crate::{Limits, MAX_OPENING_BYTES, RowKind, Vault, VaultError, disk};

#[test]
fn rows_are_found_before_and_after_a_start_and_a_power_cut() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    assert_eq!(insert(&mut vault, 0..3).unwrap(), 3);
    assert_eq!(insert(&mut vault, 3..14).unwrap(), 11);
    let all: Vec<u32> = (0..14).collect();
    assert_eq!(present(&vault, 20), all);
    let status = vault.status();
    assert_eq!((status.rows, status.segments), (14, 4));
    drop(vault);
    for cut in [PowerCut::Synced, PowerCut::Prefix(3), PowerCut::Subset(4)] {
        let mut vault = open(&mem.power_cut(cut));
        assert_eq!(present(&vault, 20), all);
        assert!(vault.check().unwrap().is_good());
        assert_eq!(
            insert(&mut vault, 10..20).unwrap(),
            6,
            "what it has is not taken again"
        );
        assert_eq!(vault.status().rows, 20);
    }
}

#[test]
fn only_one_process_has_it_open_and_only_with_its_key() {
    let mem = MemStore::new();
    let vault = open(&mem);
    let store: SharedStore = Arc::new(mem.clone());
    let clock = ManualClock::at(NOW_MS);
    let again = try_open(&store, &clock);
    assert!(matches!(again, Err(VaultError::InUse { .. })), "{again:?}");
    drop(vault);
    let other = Vault::open_store(Arc::clone(&store), &key(2), SMALL, Arc::new(clock.clone()));
    assert!(
        matches!(other, Err(VaultError::WrongKey { .. })),
        "{other:?}"
    );
    mem.remove(disk::VAULT).unwrap();
    let unknown = try_open(&store, &clock);
    assert!(
        matches!(unknown, Err(VaultError::NotAVault { .. })),
        "{unknown:?}"
    );
}

#[test]
fn openings_of_any_allowed_size_are_kept_and_larger_ones_refused_whole() {
    let mut vault = open(&MemStore::new());
    let largest = vec![b'x'; MAX_OPENING_BYTES];
    let (made, other) = (Made::new(1), Made::new(2));
    let row = crate::NewRow {
        opening: &largest,
        ..made.row()
    };
    let empty = crate::NewRow {
        opening: &[],
        app: "",
        principal: None,
        peer: None,
        user_agent: None,
        ..other.row()
    };
    assert_eq!(vault.insert(&[row, empty]).unwrap().kept, 2);
    assert_eq!(*vault.get(&session(1)).unwrap().unwrap().opening, largest);
    let found = vault.get(&session(2)).unwrap().unwrap();
    assert_eq!(
        (found.opening.len(), found.app.as_str(), found.kind),
        (0, "", RowKind::Session)
    );
    let too_large = vec![b'x'; MAX_OPENING_BYTES + 1];
    let (first, second) = (Made::new(3), Made::new(4));
    let row = crate::NewRow {
        opening: &too_large,
        ..second.row()
    };
    let refused = vault.insert(&[first.row(), row]);
    assert!(
        matches!(refused, Err(VaultError::TooLarge { .. })),
        "{refused:?}"
    );
    assert!(
        vault.get(&session(3)).unwrap().is_none(),
        "nothing of the batch"
    );
}

#[test]
fn a_segment_ends_at_its_bytes_too() {
    let mem = MemStore::new();
    let store: SharedStore = Arc::new(mem.clone());
    let limits = Limits {
        segment_rows: 1_000,
        segment_bytes: 4_096,
        ..SMALL
    };
    let clock = ManualClock::at(NOW_MS);
    let (mut vault, _) = Vault::open_store(store, &key(1), limits, Arc::new(clock)).unwrap();
    insert(&mut vault, 0..50).unwrap();
    assert!(vault.status().segments >= 3);
    for name in mem.paths().iter().filter(|name| name.ends_with(".rows")) {
        assert!(mem.read(name).unwrap().len() <= 4_096, "{name}");
    }
    assert_eq!(present(&vault, 60).len(), 50);
}

#[test]
fn a_lost_or_damaged_index_is_made_again() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..10).unwrap();
    super::erase_sessions(&mut vault, [1]);
    drop(vault);
    mem.remove(&disk::index(0)).unwrap();
    mem.flip_bit(&disk::index(1), 9, 3).unwrap();
    let store: SharedStore = Arc::new(mem.clone());
    let (vault, opened) = try_open(&store, &ManualClock::at(NOW_MS)).unwrap();
    assert_eq!(opened.rebuilt_indexes, 2);
    assert_eq!(present(&vault, 10), [0, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(vault.check().unwrap().is_good());
}

#[test]
fn another_process_reads_what_there_is_and_changes_nothing() {
    let mem = MemStore::new();
    let store: SharedStore = Arc::new(mem.clone());
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let read = || Vault::open_store_read_only(Arc::clone(&store), &key(1), clock.clone());
    assert!(matches!(read(), Err(VaultError::Missing { .. })));
    let mut vault = open(&mem);
    insert(&mut vault, 0..10).unwrap();
    super::erase_sessions(&mut vault, [1, 9]);
    let names = mem.paths();
    let bytes: Vec<_> = names.iter().map(|name| mem.read(name).unwrap()).collect();
    let mut reader = read().unwrap();
    let left = [0, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(present(&reader, 20), left);
    assert!(reader.is_erased(&session(9)).unwrap() && reader.check().unwrap().is_good());
    let refused = insert(&mut reader, [11]);
    assert!(matches!(refused, Err(VaultError::ReadOnly)), "{refused:?}");
    assert!(matches!(
        reader.replay(&[session(2)]),
        Err(VaultError::ReadOnly)
    ));
    let some = crate::Selection::Sessions(vec![session(2)]);
    let erased = reader.erase(&super::request("r", some), &mut |_| panic!("on record"));
    assert!(matches!(erased, Err(VaultError::ReadOnly)), "{erased:?}");
    assert!(reader.set_replayed(1).is_err() && reader.destroy(&[session(2)]).is_err());
    assert_eq!(mem.paths(), names);
    for (name, bytes) in names.iter().zip(bytes) {
        assert_eq!(mem.read(name).unwrap(), bytes, "{name}");
    }
    // Rows that the other one erases disappear, with segments and without.
    super::erase_sessions(&mut vault, [2, 4, 5, 6, 7, 8]);
    assert_eq!(present(&reader, 20), [0, 3]);
    assert!(reader.get(&session(5)).unwrap().is_none());
    // What a crash left is read as well, and stays.
    insert(&mut vault, 20..22).unwrap();
    drop(vault);
    let torn = mem.copy();
    let mut rows = torn.open(&disk::rows(2), false).unwrap();
    let end = rows.byte_len().unwrap();
    rows.write_at(end - 40, &[7; 90]).unwrap();
    let store: SharedStore = Arc::new(torn.clone());
    let reader = Vault::open_store_read_only(store, &key(1), clock.clone()).unwrap();
    assert_eq!(present(&reader, 30), [0, 3, 20]);
    assert_eq!(rows.byte_len().unwrap(), end + 50);
}

#[test]
fn whatever_is_left_of_a_removed_segment_is_removed() {
    for newest in [false, true] {
        for left in 0..7 {
            let mem = MemStore::new();
            let mut vault = open(&mem);
            insert(&mut vault, 0..4).unwrap();
            if !newest {
                insert(&mut vault, 4..8).unwrap();
            }
            // An erasure leaves the files like this just before it removes them.
            super::erase_sessions(&mut vault, 0..3);
            let index = mem.read(&disk::index(0)).ok();
            let rows = (0..4).collect();
            if newest {
                vault.active.destroy(&rows).unwrap();
            } else {
                let places = crate::find::Places::from([(0, rows)]);
                let copy = mem.copy();
                vault.destroy_places(&places).unwrap();
                for path in [disk::rows(0), disk::keys(0)] {
                    let mut file = copy.read(&path).unwrap();
                    if path.ends_with(".keys") {
                        file[32..].fill(0);
                    } else {
                        let scan = crate::format::row::scan(&file, 0, 9).unwrap();
                        for (found, row) in scan.rows.iter().zip(0..) {
                            let bytes = crate::format::row::erased_frame(found.frame_bytes, row, 0);
                            let at = usize::try_from(found.offset).unwrap();
                            file[at..at + bytes.len()].copy_from_slice(&bytes);
                        }
                    }
                    mem.write(&path, &file, livetrail_ledger::Access::Private)
                        .unwrap();
                }
                mem.write(
                    &disk::index(0),
                    &index.unwrap(),
                    livetrail_ledger::Access::Private,
                )
                .unwrap();
            }
            drop(vault);
            for (path, bit) in [disk::rows(0), disk::keys(0), disk::index(0)]
                .iter()
                .zip(0..)
            {
                if left >> bit & 1 == 0 {
                    mem.remove(path).unwrap();
                }
            }
            let mut vault = open(&mem);
            let expected: &[u32] = if newest { &[] } else { &[4, 5, 6, 7] };
            assert_eq!(present(&vault, 20), expected, "{left}, {newest}");
            assert!(newest || !mem.paths().contains(&disk::index(0)), "{left}");
            insert(&mut vault, 10..13).unwrap();
            drop(vault);
            let vault = open(&mem);
            assert_eq!(present(&vault, 20).len(), expected.len() + 3);
            assert!(vault.check().unwrap().is_good());
        }
    }
}
