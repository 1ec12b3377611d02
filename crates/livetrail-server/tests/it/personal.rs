//! Commands on personal data.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use livetrail_engine::SystemClock;
use livetrail_ledger::Class;
use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Uuid, encode_canonical, encode_entry, name_token,
};
use livetrail_vault::{NewRow, Options, RowKind, Vault};

use crate::commands::{path, run};

/// Puts openings of sessions of alice into the vault of a trail that nobody has open.
fn insert_openings(data: &Path, sessions: u8) {
    let options = Options::new(data.join("personal"));
    let clock = Arc::new(SystemClock::new());
    let (mut vault, _) = Vault::open(&options, clock).unwrap();
    for number in 0..sessions {
        let row = NewRow {
            session: [number; 16],
            kind: RowKind::Session,
            app: "live",
            time_ms: 1,
            principal: Some("alice-canary"),
            peer: Some("192.0.2.7".parse().unwrap()),
            user_agent: None,
            stream: None,
            owner: None,
            opening: b"{}",
        };
        vault.insert(&[row]).unwrap();
    }
}

#[test]
fn personal_data_are_erased_and_held_by_commands_and_no_record_names_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert_eq!(run(&["trail", "init", path(data)]).0, 0);
    insert_openings(data, 3);
    let trail = |words: &[&str]| {
        let mut all = vec!["trail", words[0], path(data)];
        all.extend(&words[1..]);
        run(&all)
    };
    let who = ["--principal", "alice-canary"];
    let of_alice = |more: &[&str]| trail(&[&["erase"], &who[..], more].concat());
    let dry = of_alice(&["--dry-run", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&dry.1).unwrap();
    assert_eq!((dry.0, &json["erased"]), (0, &3.into()));
    assert_eq!(of_alice(&[]).0, 2, "a request has a number and a basis");
    let (code, _, error) = of_alice(&["--request", "alice-canary", "--basis", "art17"]);
    assert!(code == 2 && error.contains("names nobody"), "{error}");

    let held = trail(&["hold", "case-17", "--principal", "alice-canary"]);
    assert!(held.0 == 0 && held.1.contains("3 sessions"), "{held:?}");
    let (_, list, _) = trail(&["hold"]);
    assert!(list.contains("the openings of a principal"), "{list}");
    let request = ["--request", "2026-17", "--basis", "art17"];
    let (code, out, _) = of_alice(&request);
    assert!(code == 1 && out.contains("hold case-17"), "{out}");
    assert_eq!(of_alice(&["--dry-run"]).1.matches("3 openings").count(), 1);
    let (code, out, error) = trail(&["hold", "case-17", "--release"]);
    assert!(
        code == 0 && out.contains("3 openings are erased"),
        "{out}{error}"
    );
    assert!(of_alice(&["--dry-run"]).1.contains("would erase 0"));

    let (_, records, _) = trail(&["query", "--format", "json"]);
    for action in [
        "admin_held",
        "admin_erasure_waits",
        "admin_erased",
        "admin_erasure_completed",
    ] {
        assert!(
            records.contains(&format!("\"action\":\"{action}\"")),
            "{action}\n{records}"
        );
    }
    assert!(!records.contains("canary"), "{records}");
    let (code, out, _) = run(&["trail", "verify", path(data)]);
    assert_eq!(code, 0, "{out}");
    let export = data.join("alice");
    let subject = [&["subject"], &who[..], &["--export", path(&export)]].concat();
    assert_eq!(trail(&subject).0, 1, "nothing is left of alice");
    assert!(!export.exists());
}

#[test]
fn a_stream_with_a_personal_name_is_found_by_the_name_where_the_vault_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert_eq!(run(&["trail", "init", path(data)]).0, 0);
    let options = Options::new(data.join("personal"));
    let (vault, _) = Vault::open(&options, Arc::new(SystemClock::new())).unwrap();
    let secret = *vault.secret(b"names of\0rooms");
    drop(vault);
    let record = AuditRecord::new(AuditAction::PlayStarted, "rooms")
        .with_ts_ms(1_763_805_600_000)
        .with_session(Uuid::from_u128(7))
        .with_stream("canary-of-a-doctor");
    let context = EntryContext::new([1; 16]).with_name_secret(&secret);
    let entry = encode_entry(&record, &context).unwrap().bytes;
    let ledger = crate::query::ledger_of(data);
    ledger.append(Class::Strict, &[entry]).unwrap();
    ledger.close().unwrap();
    let config = data.join("rooms.toml");
    fs::write(
        &config,
        "[[application]]\nname = \"rooms\"\nnames = \"personal\"\n",
    )
    .unwrap();
    let query = |more: &[&str]| {
        let stream = ["--stream", "canary-of-a-doctor", "--format", "json"];
        run(&[&["trail", "query", path(data)], &stream[..], more].concat())
    };
    let (code, found, error) = query(&["--config", path(&config)]);
    assert_eq!((code, found.lines().count()), (0, 1), "{found}{error}");
    assert!(!found.contains("canary"), "{found}");
    assert!(found.contains(&name_token(&secret, "canary-of-a-doctor")));
    // No application has personal names without the configuration.
    assert_eq!(query(&[]).1, "");
}

/// An entry of a session of alice. The vault has its opening, as before a checkpoint covers the
/// entry.
fn add_session(data: &Path, number: u128) {
    let options = Options::new(data.join("personal"));
    let clock = Arc::new(SystemClock::new());
    let (mut vault, _) = Vault::open(&options, clock).unwrap();
    let session = Uuid::from_u128(number);
    let row = NewRow {
        session: session.into_bytes(),
        kind: RowKind::Session,
        app: "live",
        time_ms: 1,
        principal: Some("alice-canary"),
        peer: None,
        user_agent: None,
        stream: None,
        owner: None,
        opening: b"{}",
    };
    vault.insert(&[row]).unwrap();
    drop(vault);
    let record = AuditRecord::new(AuditAction::PlayStarted, "live")
        .with_ts_ms(1_763_805_600_000)
        .with_session(session)
        .with_principal("alice-canary");
    let entry = encode_entry(&record, &EntryContext::new([1; 16])).unwrap();
    add_entries(data, vec![entry.bytes]);
}

fn add_entries(data: &Path, entries: Vec<Vec<u8>>) {
    let ledger = crate::query::ledger_of(data);
    ledger.append(Class::Strict, &entries).unwrap();
    ledger.close().unwrap();
}

const WHO: [&str; 4] = ["--principal", "alice-canary", "--format", "json"];

#[test]
fn every_command_finds_a_person_through_the_vault_or_says_that_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert_eq!(run(&["trail", "init", path(data)]).0, 0);
    add_session(data, 7);
    let find = |command: &str| run(&[&["trail", command, path(data)], &WHO[..]].concat());
    for command in ["query", "tail", "export"] {
        let (code, found, error) = find(command);
        assert_eq!((code, found.lines().count()), (0, 1), "{command}: {found}");
        assert!(error.is_empty() && !found.contains("canary"), "{error}");
    }
    fs::rename(data.join("personal"), data.join("elsewhere")).unwrap();
    for command in ["query", "tail", "export"] {
        let (code, found, error) = find(command);
        assert_eq!((code, found.as_str()), (0, ""), "{command}");
        assert!(error.contains("only sessions of schema 1"), "{error}");
    }
}

#[test]
fn a_tail_that_follows_a_person_shows_sessions_that_begin_later() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert_eq!(run(&["trail", "init", path(data)]).0, 0);
    add_session(data, 7);
    let arguments = [&["trail", "tail", path(data), "-f"], &WHO[..]].concat();
    let mut tail = crate::query::livetrail(&arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().contains(&Uuid::from_u128(7).to_string()));
    add_session(data, 8);
    assert!(next().contains(&Uuid::from_u128(8).to_string()));
    tail.kill().unwrap();
    tail.wait().unwrap();
}

/// A session of schema 1 has its name in clear. The record that closes it after a crash is of
/// schema 2 if the server was upgraded in between.
#[test]
fn the_end_of_a_session_of_schema_1_is_found_by_its_principal_also_in_schema_2() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert_eq!(run(&["trail", "init", path(data)]).0, 0);
    let record = |action, seq| {
        AuditRecord::new(action, "live")
            .with_ts_ms(1_763_805_600_000 + seq)
            .with_boot(Uuid::from_u128(1))
            .with_seq(seq)
            .with_session(Uuid::from_u128(9))
            .with_principal("alice-canary")
    };
    let start = encode_canonical(&record(AuditAction::PlayStarted, 1)).unwrap();
    let end = record(AuditAction::PlayEnded, 2);
    let end = encode_entry(&end, &EntryContext::new([1; 16]))
        .unwrap()
        .bytes;
    add_entries(data, vec![start, end]);
    for command in ["query", "tail", "export"] {
        let (code, found, _) = run(&[&["trail", command, path(data)], &WHO[..]].concat());
        assert_eq!((code, found.lines().count()), (0, 2), "{command}: {found}");
    }
    let export = dir.path().join("for-alice");
    let subject = [
        "trail",
        "subject",
        path(data),
        "--principal",
        WHO[1],
        "--export",
    ];
    let (code, out, error) = run(&[&subject[..], &[path(&export)]].concat());
    assert!(
        code == 0 && out.contains("2 records of 1 sessions"),
        "{out}{error}"
    );
}
