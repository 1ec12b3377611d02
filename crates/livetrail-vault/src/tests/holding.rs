//! Holds, and the requests that wait for them.

use std::{sync::Arc, time::Duration};

use livetrail_clock::ManualClock;
use livetrail_ledger::{MemStore, SharedStore, Store as _};

use super::{Made, NOW_MS, insert, noting, open, present, request, session, sessions, try_open};
use crate::{
    HoldScope, MAX_LISTED_SESSIONS, NewRow, Retention, Selection, Subject, VaultError, disk,
};

#[test]
fn a_held_session_stays_and_the_request_runs_when_the_hold_is_lifted() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..10).unwrap();
    vault
        .set_hold("case 7", &HoldScope::Sessions(sessions([2])))
        .unwrap();
    vault.add_to_hold("case 7", &sessions([7])).unwrap();
    let by_name = Selection::Subject(Subject::Principal("name2".into()));
    let done = vault
        .erase(&request("art17-1", by_name.clone()), &mut |_| {
            panic!("all are held")
        })
        .unwrap();
    assert_eq!((done.held, done.erased), (2, 0));
    assert_eq!(
        done.holds.iter().map(String::as_str).collect::<Vec<_>>(),
        ["case 7"]
    );
    let twice = vault.erase(&request("art17-1", by_name), &mut |_| Ok(()));
    assert!(matches!(twice, Err(VaultError::Exists { .. })), "{twice:?}");
    assert_eq!(
        vault.held_by(&session(7)).unwrap().as_deref(),
        Some("case 7")
    );
    // A later session of the same person is not part of the request.
    insert(&mut vault, [12]).unwrap();
    drop(vault);
    let state = mem.read(disk::STATE).unwrap();
    for word in [&b"name2"[..], b"case 7", b"art17"] {
        assert!(!state.windows(word.len()).any(|window| window == word));
    }
    let mut vault = open(&mem);
    assert_eq!(
        (vault.holds(), vault.waiting()),
        (vec!["case 7"], vec!["art17-1"])
    );
    assert_eq!(present(&vault, 13).len(), 11);
    let mut log = Vec::new();
    let ran = vault.lift_hold("case 7", &mut noting(&mut log)).unwrap();
    assert_eq!(
        (ran.len(), ran[0].0.as_str(), ran[0].1.erased),
        (1, "art17-1", 2)
    );
    assert_eq!(log, sessions([2, 7]));
    assert_eq!(present(&vault, 13), [0, 1, 3, 4, 5, 6, 8, 9, 12]);
    assert!(vault.waiting().is_empty() && vault.holds().is_empty());
    let unknown = vault.lift_hold("case 7", &mut |_| Ok(()));
    assert!(matches!(unknown, Err(VaultError::UnknownHold { .. })));
}

#[test]
fn every_scope_holds_what_it_names_and_only_that() {
    let held = |scope: HoldScope| {
        let mut vault = open(&MemStore::new());
        vault.set_hold("h", &scope).unwrap();
        insert(&mut vault, 0..20).unwrap();
        let everything = Selection::Subject(Subject::Anyone);
        let done = vault
            .erase(&request("all", everything), &mut |_| Ok(()))
            .unwrap();
        let left = present(&vault, 20);
        assert_eq!(done.held, left.len() as u64);
        assert_eq!(done.erased, 20 - left.len() as u64);
        left
    };
    assert_eq!(held(HoldScope::Sessions(sessions([3, 50]))), [3]);
    assert_eq!(held(HoldScope::Principal("name4".into())), [4, 9, 14, 19]);
    assert_eq!(held(HoldScope::Application("app1".into())).len(), 10);
    let times = HoldScope::Times {
        from_ms: NOW_MS + 5,
        until_ms: NOW_MS + 8,
    };
    assert_eq!(held(times), [5, 6, 7]);
    assert_eq!(held(HoldScope::Everything).len(), 20);
}

#[test]
fn a_hold_stops_expiry_and_one_of_two_holds_is_enough() {
    let clock = ManualClock::at(NOW_MS);
    let store: SharedStore = Arc::new(MemStore::new());
    let (mut vault, _) = try_open(&store, &clock).unwrap();
    insert(&mut vault, 0..5).unwrap();
    vault
        .set_hold("a", &HoldScope::Principal("name1".into()))
        .unwrap();
    vault
        .set_hold("b", &HoldScope::Sessions(sessions([1])))
        .unwrap();
    clock.advance(Duration::from_secs(100));
    let retention = Retention {
        default: Some(Duration::from_secs(1)),
        ..Retention::default()
    };
    let done = vault.expire(&retention, &mut |_| Ok(())).unwrap();
    assert_eq!((done.erased, done.held), (4, 1));
    let some = Selection::Sessions(sessions([1, 60]));
    assert_eq!(
        vault
            .erase(&request("r", some), &mut |_| Ok(()))
            .unwrap()
            .held,
        1
    );
    let ran = vault.lift_hold("a", &mut |_| Ok(())).unwrap();
    assert_eq!((ran[0].1.held, vault.waiting()), (1, vec!["r"]));
    assert_eq!(present(&vault, 5), [1]);
    let ran = vault.lift_hold("b", &mut |_| Ok(())).unwrap();
    assert_eq!((ran[0].1.erased, ran[0].1.already), (1, 1));
    assert_eq!(present(&vault, 5), Vec::<u32>::new());
}

#[test]
fn a_session_that_is_not_there_yet_can_be_held() {
    let mut vault = open(&MemStore::new());
    vault
        .set_hold("h", &HoldScope::Sessions(sessions([3])))
        .unwrap();
    let some = Selection::Sessions(sessions([3]));
    assert_eq!(
        vault
            .erase(&request("r", some), &mut |_| Ok(()))
            .unwrap()
            .held,
        1
    );
    assert_eq!(
        insert(&mut vault, [3]).unwrap(),
        1,
        "the hold wants it kept"
    );
    vault.lift_hold("h", &mut |_| Ok(())).unwrap();
    assert_eq!(present(&vault, 5), Vec::<u32>::new());
}

#[test]
fn lists_are_bounded_and_nothing_is_erased_of_a_request_that_cannot_wait() {
    let mut vault = open(&MemStore::new());
    insert(&mut vault, 0..5).unwrap();
    let count = u32::try_from(MAX_LISTED_SESSIONS).unwrap();
    vault
        .set_hold("h", &HoldScope::Sessions(sessions(100..100 + count)))
        .unwrap();
    let more = vault.add_to_hold("h", &sessions([1]));
    assert!(matches!(more, Err(VaultError::Full { .. })), "{more:?}");
    let some = Selection::Sessions(sessions([1, 100]));
    let refused = vault.erase(&request("r", some), &mut |_| Ok(()));
    assert!(
        matches!(refused, Err(VaultError::Full { .. })),
        "{refused:?}"
    );
    assert_eq!(present(&vault, 5).len(), 5);
    for name in [String::new(), "x".repeat(256)] {
        let refused = vault.set_hold(&name, &HoldScope::Everything);
        assert!(
            matches!(refused, Err(VaultError::Name { .. })),
            "{refused:?}"
        );
    }
    let twice = vault.set_hold("h", &HoldScope::Everything);
    assert!(matches!(twice, Err(VaultError::Exists { .. })), "{twice:?}");
}

/// A row that belongs to a later record of session `owner`.
fn detail<'a>(number: u32, owner: u32, made: &'a Made) -> NewRow<'a> {
    NewRow {
        session: session(number),
        owner: Some(session(owner)),
        principal: None,
        user_agent: None,
        peer: None,
        time_ms: NOW_MS + 50,
        ..made.row()
    }
}

#[test]
fn what_a_session_owns_is_erased_held_and_refused_together_with_it() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    insert(&mut vault, 0..6).unwrap();
    let made = Made::new(1);
    let owned = [detail(100, 1, &made), detail(101, 2, &made)];
    assert_eq!(vault.insert(&owned).unwrap().kept, 2);
    insert(&mut vault, 6..12).unwrap();
    assert_eq!(vault.parts_of(&sessions([1])).unwrap(), sessions([100]));
    let part = vault.get(&session(100)).unwrap().unwrap();
    assert_eq!(part.owner, Some(session(1)));

    // Each hold of a part keeps the whole, also against an erasure by age of the other part.
    let times = HoldScope::Times {
        from_ms: NOW_MS + 50,
        until_ms: NOW_MS + 51,
    };
    let by_name = Selection::Subject(Subject::Principal("name1".into()));
    for (id, scope) in [
        ("a", HoldScope::Sessions(sessions([1]))),
        ("b", HoldScope::Sessions(sessions([100]))),
        ("c", HoldScope::Principal("name1".into())),
        ("d", times),
    ] {
        vault.set_hold(id, &scope).unwrap();
        let done = vault.dry_run(&Selection::Sessions(sessions([1, 100])));
        assert_eq!(done.unwrap().held, 2, "{id}");
        assert!(vault.held_by(&session(100)).unwrap().is_some(), "{id}");
        let everything = Selection::OlderThan {
            app: None,
            time_ms: NOW_MS + 1_000,
        };
        assert!(vault.dry_run(&everything).unwrap().held >= 2, "{id}");
        vault.lift_hold(id, &mut |_| Ok(())).unwrap();
    }
    let mut log = Vec::new();
    let done = vault
        .erase(&request("r", by_name), &mut noting(&mut log))
        .unwrap();
    assert_eq!(log, sessions([100, 1, 6, 11]));
    assert_eq!((done.erased, done.held), (3, 0));
    assert!(vault.get(&session(100)).unwrap().is_none());
    assert!(vault.get(&session(101)).unwrap().is_some());
    let late = vault.insert(&[detail(102, 1, &made)]).unwrap();
    assert_eq!((late.kept, late.erased), (0, 1));
    assert_eq!(vault.replay(&sessions([2])).unwrap(), 1);
    assert!(vault.get(&session(101)).unwrap().is_none());
    assert!(vault.check().unwrap().is_good());
}

#[test]
fn a_hold_by_stream_lists_its_sessions_also_those_that_come_later() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    let all: Vec<Made> = (0..12).map(Made::new).collect();
    let on = |number: usize, stream| NewRow {
        stream: Some(stream),
        ..all[number].row()
    };
    vault
        .insert(&[on(0, "cam"), on(1, "cam"), on(2, "other"), on(4, "cam")])
        .unwrap();
    let scope = HoldScope::Stream {
        app: "app0".into(),
        name: "cam".into(),
    };
    vault.set_hold("h", &scope).unwrap();
    let (first, next) = vault.held_sessions("h", 1).unwrap();
    assert_eq!(first, sessions([0]), "session 1 is of another application");
    vault.set_held_listed("h", next).unwrap();
    drop(vault);
    let mut vault = open(&mem);
    let (second, next) = vault.held_sessions("h", 10).unwrap();
    assert_eq!(second, sessions([4]));
    vault.set_held_listed("h", next).unwrap();
    assert_eq!(vault.held_sessions("h", 10).unwrap().0, sessions([]));
    vault.insert(&[on(6, "cam"), on(8, "other")]).unwrap();
    assert_eq!(vault.held_sessions("h", 10).unwrap().0, sessions([6]));
    let everyone = Selection::Subject(Subject::Anyone);
    assert_eq!(vault.dry_run(&everyone).unwrap().held, 3);
    let unknown = vault.held_sessions("x", 1);
    assert!(matches!(unknown, Err(VaultError::UnknownHold { .. })));
}

#[test]
fn each_waiting_request_can_be_run_on_its_own() {
    let mut vault = open(&MemStore::new());
    insert(&mut vault, 0..4).unwrap();
    vault.set_hold("h", &HoldScope::Everything).unwrap();
    for (id, number) in [("r1", 1), ("r2", 2)] {
        let one = Selection::Sessions(sessions([number]));
        vault.erase(&request(id, one), &mut |_| Ok(())).unwrap();
    }
    vault.remove_hold("h").unwrap();
    assert_eq!(present(&vault, 4).len(), 4, "nothing ran");
    let mut log = Vec::new();
    let done = vault.run_one("r2", &mut noting(&mut log)).unwrap();
    assert_eq!(done.map(|done| done.erased), Some(1));
    assert_eq!((log, vault.waiting()), (sessions([2]), vec!["r1"]));
    assert!(vault.run_one("r2", &mut |_| Ok(())).unwrap().is_none());
}

#[test]
fn notes_and_messages_survive_a_start_and_are_sealed() {
    let mem = MemStore::new();
    let mut vault = open(&mem);
    vault.set_note("erasure 7", Some("canary")).unwrap();
    vault.set_note("other", Some("x")).unwrap();
    vault.set_note("other", None).unwrap();
    let sealed = vault.seal_message(b"canary").unwrap();
    drop(vault);
    let state = mem.read(disk::STATE).unwrap();
    for bytes in [&state, &sealed] {
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }
    let mut vault = open(&mem);
    assert_eq!(vault.notes().collect::<Vec<_>>(), [("erasure 7", "canary")]);
    assert_eq!(vault.open_message(&sealed).unwrap().as_slice(), b"canary");
    assert!(open(&MemStore::new()).open_message(&sealed).is_err());
    let long = vault.set_note("a", Some(&"x".repeat(1_025)));
    assert!(matches!(long, Err(VaultError::Name { .. })), "{long:?}");
}
