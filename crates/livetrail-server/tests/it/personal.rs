//! Commands on personal data.

use std::{fs, path::Path, sync::Arc};

use livetrail_engine::SystemClock;
use livetrail_ledger::Class;
use livetrail_record::{AuditAction, AuditRecord, EntryContext, Uuid, encode_entry, name_token};
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
