//! Erasures: which data is gone, and that it stays gone.

use std::{sync::Arc, time::Duration};

use livetrail_clock::ManualClock;
use livetrail_ledger::{MemStore, PowerCut, SharedStore, Store as _};

use super::{
    Made, NOW_MS, erase_sessions, insert, noting, open, present, request, session, sessions,
    try_open,
};
use crate::{
    NewRow, Query, Retention, Selection, Subject, Vault, VaultError, disk,
    format::{row, slots},
    key::Kind,
};

#[test]
fn an_erased_session_is_gone_with_its_key_and_tokens_and_takes_no_later_opening() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..6).unwrap();
    let erased = erase_sessions(&mut vault, [1, 5, 40]);
    assert_eq!(
        (erased.erased, erased.unknown, erased.already, erased.held),
        (2, 1, 0, 0)
    );
    assert_eq!(present(&vault, 6), [0, 2, 3, 4]);
    let name = Query::of(Subject::Principal("name1".into()));
    assert_eq!(vault.find(&name, None, 10).unwrap().rows.len(), 0);
    let again = erase_sessions(&mut vault, [1, 2]);
    assert_eq!((again.erased, again.already), (1, 1));
    // Also after a start, and for a session that the vault never had.
    drop(vault);
    let mut vault = open(&mem);
    assert_eq!(insert(&mut vault, [1, 5, 40, 41]).unwrap(), 1);
    assert_eq!(present(&vault, 50), [0, 3, 4, 41]);
    assert!(vault.is_erased(&session(40)).unwrap());
    for (file, rows) in [(0, vec![1_usize, 2]), (1, vec![1])] {
        let keys = mem.read(&disk::keys(file)).unwrap();
        let slots = slots::parse(&keys, file).unwrap();
        for row in rows {
            assert_eq!(slots[row], [0; 32]);
        }
    }
    assert!(vault.check().unwrap().is_good());
}

#[test]
fn others_use_the_vault_between_the_parts_of_an_erasure_and_a_start_finishes_it() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..10).unwrap();
    let erased = vault.begin_erasure(&sessions([1, 5, 9, 40])).unwrap();
    assert_eq!((erased, vault.is_erasing()), (3, true));
    // No opening of these sessions is accepted, and their rows go one part after the other.
    assert_eq!(insert(&mut vault, [1, 40, 41]).unwrap(), 1);
    assert!(vault.erase_part().unwrap() && vault.is_erasing());
    assert_eq!(present(&vault, 50), [0, 2, 3, 4, 5, 6, 7, 8, 9, 41]);
    drop(vault);
    let store: SharedStore = Arc::new(mem.clone());
    let (mut vault, opened) = try_open(&store, &ManualClock::at(NOW_MS)).unwrap();
    assert_eq!(opened.finished_erasures, 4);
    assert_eq!(present(&vault, 50), [0, 2, 3, 4, 6, 7, 8, 41]);
    // The next erasure finishes the one before it.
    vault.begin_erasure(&sessions([0])).unwrap();
    vault.begin_erasure(&sessions([8])).unwrap();
    assert_eq!(present(&vault, 50), [2, 3, 4, 6, 7, 8, 41]);
    while vault.erase_part().unwrap() {}
    assert_eq!(present(&vault, 50), [2, 3, 4, 6, 7, 41]);
    assert!(!vault.is_erasing() && vault.check().unwrap().is_good());
}

#[test]
fn parts_of_a_session_are_erased_with_it_and_none_is_kept_later() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    let owned = |number: u32, owner: u32| (Made::new(number), Some(session(owner)));
    let made: Vec<_> = (0..6).map(|number| (Made::new(number), None)).collect();
    let parts = [owned(100, 1), owned(101, 1), owned(102, 2), owned(103, 50)];
    for (made, owner) in made.iter().chain(&parts) {
        let owner = *owner;
        let row = NewRow {
            owner,
            ..made.row()
        };
        assert_eq!(vault.insert(&[row]).unwrap().kept, 1);
    }
    let of = |vault: &Vault, owners: &[u32]| {
        let owners: Vec<_> = owners.iter().map(|owner| session(*owner)).collect();
        vault.parts_of(&owners).unwrap()
    };
    assert_eq!(of(&vault, &[1]), sessions([100, 101]));
    let many: Vec<u32> = (0..100).collect();
    assert_eq!(of(&vault, &many), sessions([100, 101, 102, 103]));
    let mut noted = Vec::new();
    let request = request("r", Selection::Sessions(sessions([1, 50])));
    let done = vault.erase(&request, &mut |sessions| {
        noted.extend_from_slice(sessions);
        Ok(())
    });
    let done = done.unwrap();
    assert_eq!((done.erased, done.unknown), (2, 0));
    noted.sort_unstable();
    assert_eq!(noted, sessions([1, 50, 100, 101, 103]));
    assert_eq!(of(&vault, &many), sessions([102]));
    let late = Made::new(104);
    let owner = Some(session(50));
    let late = NewRow {
        owner,
        ..late.row()
    };
    assert_eq!(vault.insert(&[late]).unwrap().erased, 1);
    assert!(vault.check().unwrap().is_good());
}

#[test]
fn no_token_and_no_seal_of_an_erased_session_is_in_any_file() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    let alone: Vec<_> = [1_u32, 9]
        .into_iter()
        .map(|number| Made {
            principal: format!("alone{number}"),
            user_agent: format!("alone{number}"),
            peer: format!("2001:db8:{number}::1").parse().unwrap(),
            ..Made::new(number)
        })
        .collect();
    for number in 0..10 {
        let made = Made::new(number);
        let own = alone.iter().find(|made| made.number == number);
        vault.insert(&[own.unwrap_or(&made).row()]).unwrap();
    }
    let mut traces: Vec<Vec<u8>> = Vec::new();
    for made in &alone {
        let keys = &vault.keys;
        let tokens = [
            keys.principal(&made.principal),
            keys.user_agent(&made.user_agent),
            keys.network(Kind::Near, made.peer),
            keys.network(Kind::Wide, made.peer),
            keys.token(Kind::Session, &session(made.number)),
        ];
        traces.extend(tokens.map(|token| token.to_vec()));
    }
    for (segment, row) in [(0, 1_usize), (2, 1)] {
        let bytes = mem.read(&disk::keys(segment)).unwrap();
        traces.push(slots::parse(&bytes, segment).unwrap()[row].to_vec());
        let bytes = mem.read(&disk::rows(segment)).unwrap();
        let found = row::scan(&bytes, segment, 4).unwrap().rows[row];
        let body = &bytes[usize::try_from(found.offset).unwrap()..][48..];
        // The sealed bytes begin behind the header and the session.
        let sealed = &body[..usize::try_from(found.header.unwrap().len).unwrap() - 16];
        traces.extend(sealed.chunks_exact(16).map(<[u8]>::to_vec));
    }
    let found = |mem: &MemStore| {
        let files: Vec<_> = mem
            .paths()
            .iter()
            .map(|name| mem.read(name).unwrap())
            .collect();
        let has = |trace: &&Vec<u8>| {
            let in_file = |file: &Vec<u8>| file.windows(trace.len()).any(|at| at == **trace);
            files.iter().any(in_file)
        };
        traces.iter().filter(has).count()
    };
    // All but the tokens of the active segment, which are in memory.
    assert_eq!(found(&mem), traces.len() - 5);
    erase_sessions(&mut vault, [1, 9]);
    assert_eq!(found(&mem), 0);
    assert_eq!(found(&mem.power_cut(PowerCut::Synced)), 0, "durably");
}

#[test]
fn a_segment_without_rows_is_removed() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..10).unwrap();
    erase_sessions(&mut vault, 0..4);
    assert!(
        !mem.paths()
            .iter()
            .any(|name| name.starts_with("0000000000000000.") && !name.ends_with(".gone"))
    );
    assert_eq!(present(&vault, 10), [4, 5, 6, 7, 8, 9]);
    erase_sessions(&mut vault, 4..10);
    assert_eq!(vault.status().rows, 0);
    insert(&mut vault, 10..20).unwrap();
    drop(vault);
    assert_eq!(present(&open(&mem), 20).len(), 10);
}

#[test]
fn erasing_by_subject_records_first_and_counts_what_a_dry_run_counts() {
    let mut vault = open(&MemStore::new());
    insert(&mut vault, 0..30).unwrap();
    let by_name = Selection::Subject(Subject::Principal("name2".into()));
    let dry = vault.dry_run(&by_name).unwrap();
    assert_eq!(present(&vault, 30).len(), 30);
    let refused = vault.erase(&request("r1", by_name.clone()), &mut |_| {
        Err("the log is full".into())
    });
    assert!(matches!(refused, Err(VaultError::Record(_))), "{refused:?}");
    assert_eq!(present(&vault, 30).len(), 30);
    let mut noted = Vec::new();
    let done = vault
        .erase(&request("r1", by_name), &mut noting(&mut noted))
        .unwrap();
    assert_eq!((done.erased, &done), (6, &dry));
    assert_eq!(noted, sessions([2, 7, 12, 17, 22, 27]));
    assert_eq!(present(&vault, 30).len(), 24);
    let network = Subject::Network {
        address: "192.0.3.0".parse().unwrap(),
        bits: 24,
    };
    assert_eq!(
        vault
            .erase(&request("r2", Selection::Subject(network)), &mut |_| Ok(()))
            .unwrap()
            .erased,
        3
    );
    let agent = Selection::Subject(Subject::UserAgent("agent0".into()));
    let left = present(&vault, 30).iter().filter(|n| **n % 3 == 0).count() as u64;
    assert_eq!(
        vault
            .erase(&request("r3", agent), &mut |_| Ok(()))
            .unwrap()
            .erased,
        left
    );
    let old = Selection::OlderThan {
        app: Some("app1".into()),
        time_ms: NOW_MS + 15,
    };
    vault.erase(&request("r4", old), &mut |_| Ok(())).unwrap();
    assert!(present(&vault, 30).iter().all(|n| *n >= 15 || n % 2 == 0));
    assert!(vault.check().unwrap().is_good());
}

#[test]
fn a_restored_vault_erases_again_what_the_log_names() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..12).unwrap();
    vault.set_replayed(100).unwrap();
    let backup = MemStore::new();
    vault
        .copy_to_store(&disk::Disk(Arc::new(backup.clone())))
        .unwrap();
    let mut log = Vec::new();
    let some = Selection::Sessions(sessions([2, 3, 11, 77]));
    vault
        .erase(&request("r", some), &mut noting(&mut log))
        .unwrap();
    vault.set_replayed(101).unwrap();
    drop(vault);
    let mut restored = open(&backup);
    assert_eq!(restored.replayed(), 100);
    assert_eq!(present(&restored, 12).len(), 12);
    assert_eq!(restored.replay(&log).unwrap(), 3);
    assert_eq!(present(&restored, 12), [0, 1, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(insert(&mut restored, [2, 77]).unwrap(), 0);
    assert_eq!(restored.replay(&log).unwrap(), 0);
    assert!(restored.check().unwrap().is_good());
    // The list of erased sessions is rebuilt from the log, too.
    drop(restored);
    for name in backup.paths().iter().filter(|name| name.ends_with(".gone")) {
        backup.remove(name).unwrap();
    }
    let mut vault = open(&backup);
    assert!(!vault.is_erased(&session(77)).unwrap());
    vault.replay(&log).unwrap();
    assert!(vault.is_erased(&session(77)).unwrap() && vault.is_erased(&session(2)).unwrap());
}

#[test]
fn openings_expire_by_the_age_of_their_application() {
    let clock = ManualClock::at(NOW_MS);
    let mem = MemStore::new();
    let store: SharedStore = Arc::new(mem);
    let (mut vault, _) = try_open(&store, &clock).unwrap();
    insert(&mut vault, 0..10).unwrap();
    let day = Duration::from_secs(86_400);
    let retention = Retention {
        default: Some(day * 180),
        apps: [("app1".to_owned(), None)].into(),
    };
    clock.advance(day * 180);
    assert_eq!(vault.expire(&retention, &mut |_| Ok(())).unwrap().erased, 0);
    clock.advance(Duration::from_millis(5));
    assert_eq!(vault.expire(&retention, &mut |_| Ok(())).unwrap().erased, 3);
    assert_eq!(present(&vault, 10), [1, 3, 5, 6, 7, 8, 9]);
    clock.advance(day * 10_000);
    let mut log = Vec::new();
    assert_eq!(
        vault
            .expire(&retention, &mut noting(&mut log))
            .unwrap()
            .erased,
        2
    );
    assert_eq!(log, sessions([6, 8]));
    assert_eq!(present(&vault, 10), [1, 3, 5, 7, 9]);
    let shorter = Retention {
        default: None,
        apps: [("app1".to_owned(), Some(day))].into(),
    };
    assert_eq!(vault.expire(&shorter, &mut |_| Ok(())).unwrap().erased, 5);
    assert_eq!(
        insert(&mut vault, 0..10).unwrap(),
        0,
        "an expired session does not come back"
    );
}
