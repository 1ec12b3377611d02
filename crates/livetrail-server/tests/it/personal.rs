//! Commands on personal data.

use std::{path::Path, sync::Arc};

use livetrail_engine::SystemClock;
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
