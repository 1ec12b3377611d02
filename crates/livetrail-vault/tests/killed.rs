//! A process that is killed at each step of its writing. A program of its own: a process that is
//! being started holds the locks of all vaults of its parent for a moment.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use livetrail_clock::SystemClock;
use livetrail_ledger::{Fault, FaultPlan, FaultStore, Op, RealStore, SharedStore};
use livetrail_vault::{
    Limits, MasterKey, NewRow, Request, RowKind, Selection, SessionId, Vault, VaultError,
};

fn session(number: u32) -> SessionId {
    let mut session = [7; 16];
    session[12..].copy_from_slice(&number.to_be_bytes());
    session
}

fn row(number: u32, opening: &[u8]) -> NewRow<'_> {
    NewRow {
        session: session(number),
        kind: RowKind::Session,
        app: "live",
        time_ms: u64::from(number),
        principal: Some("zacharias.canary"),
        peer: Some("203.0.113.77".parse().unwrap()),
        user_agent: Some("CanaryPlayer/9.9"),
        stream: None,
        owner: None,
        opening,
    }
}

const CHILD: &str = "LIVETRAIL_VAULT_CHILD";

fn faulty(dir: &Path) -> (FaultStore, SharedStore) {
    let faulty = FaultStore::new(Arc::new(RealStore::new(dir)));
    let store: SharedStore = Arc::new(faulty.clone());
    (faulty, store)
}

fn open_small(store: SharedStore) -> Result<Vault, VaultError> {
    let mut limits = Limits::default();
    limits.segment_rows = 4;
    let key = MasterKey::new([5; 32].into());
    Vault::open_store(store, &key, limits, Arc::new(SystemClock::new())).map(|(vault, _)| vault)
}

/// The child's work. It reports each answer in a line: `kept N`, `log N` or `erased N`.
fn life(store: SharedStore, say: &mut dyn FnMut(String)) -> Result<(), VaultError> {
    let mut vault = open_small(store)?;
    for number in 0..10 {
        vault.insert(&[row(number, b"opening")])?;
        say(format!("kept {number}"));
    }
    for numbers in [vec![2, 9], vec![0, 1, 3]] {
        let request = Request {
            id: "r".into(),
            selection: Selection::Sessions(numbers.iter().map(|number| session(*number)).collect()),
        };
        vault.erase(&request, &mut |_| {
            numbers
                .iter()
                .for_each(|number| say(format!("log {number}")));
            Ok(())
        })?;
        numbers
            .iter()
            .for_each(|number| say(format!("erased {number}")));
    }
    Ok(())
}

/// Not a test by itself: the process that is killed.
#[test]
fn child() {
    let Ok(plan) = std::env::var(CHILD) else {
        return;
    };
    let mut words = plan.split(' ');
    let mut word = || words.next().unwrap();
    let (op, nth, dir) = (
        word().parse::<usize>().unwrap(),
        word().parse().unwrap(),
        word(),
    );
    let (faulty, store) = faulty(Path::new(dir));
    faulty.arm(FaultPlan {
        op: Op::ALL[op],
        nth,
        fault: Fault::Hang,
    });
    let say = |line: String| {
        let mut out = std::io::stderr().lock();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    thread::spawn(move || {
        while !faulty.fired() {
            thread::sleep(Duration::from_millis(1));
        }
        // The operation waits. The parent reads this and kills.
        say("here".to_owned());
    });
    life(store, &mut |line| say(line)).unwrap();
    say("end".to_owned());
}

fn kill_at(op: usize, nth: u64) {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("personal");
    fs::create_dir(&dir).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{op} {nth} {}", dir.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut kept, mut log, mut erased) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let what = words.next().unwrap();
        let number = words.next().map(|number| number.parse::<u32>().unwrap());
        match (what, number) {
            ("here" | "end", None) => break,
            ("kept", Some(number)) => drop(kept.insert(number)),
            ("log", Some(number)) => drop(log.insert(number)),
            ("erased", Some(number)) => drop(erased.insert(number)),
            _ => panic!("{line}"),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let what = format!("{:?} {nth}", Op::ALL[op]);
    let (_, store) = faulty(&dir);
    let mut vault = open_small(store).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(vault.check().unwrap().is_good(), "{what}");
    let has = |vault: &Vault| -> BTreeSet<u32> {
        (0..20)
            .filter(|n| vault.get(&session(*n)).unwrap().is_some())
            .collect()
    };
    assert!(has(&vault).is_disjoint(&erased), "{what}");
    assert!(
        kept.iter()
            .all(|n| has(&vault).contains(n) || log.contains(n)),
        "{what}"
    );
    let sessions: Vec<_> = log.iter().map(|number| session(*number)).collect();
    vault.replay(&sessions).unwrap();
    assert!(has(&vault).is_disjoint(&log), "{what}");
    let again: Vec<_> = (0..10).map(|number| row(number, b"opening")).collect();
    vault.insert_missing(&again).unwrap();
    let expected: BTreeSet<u32> = (0..10).filter(|number| !log.contains(number)).collect();
    assert_eq!(has(&vault), expected, "{what}");
}

#[test]
fn a_process_killed_at_any_step_loses_nothing_and_brings_nobody_back() {
    let place = tempfile::tempdir().unwrap();
    let (counted, store) = faulty(place.path());
    life(store, &mut |_| {}).unwrap();
    let steps = [
        Op::Write,
        Op::Preallocate,
        Op::SyncFiles,
        Op::SyncDir,
        Op::Rename,
        Op::Remove,
        Op::WriteAt,
        Op::Sync,
    ];
    let counts = counted.counts();
    let mut plans = Vec::new();
    for (number, op) in Op::ALL
        .iter()
        .enumerate()
        .filter(|(_, op)| steps.contains(op))
    {
        plans.extend((0..counts[op]).map(|nth| (number, nth)));
    }
    assert!(plans.len() > 80, "{}", plans.len());
    thread::scope(|scope| {
        for half in plans.chunks(plans.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(|(op, nth)| kill_at(*op, *nth)));
        }
    });
}
