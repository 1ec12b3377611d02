//! `livetrail trail query` and a server's start on a long trail, with the query index and without
//! it.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_index::{FILE_NAME, SEGMENT_RECORDS};
use livetrail_ledger::{Class, Identity, Ledger, RealStore, SharedStore, read_seed};
use livetrail_record::{Uuid, encode_canonical};

pub(crate) fn livetrail(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livetrail"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LIVETRAIL_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// The standard output and the standard error of a command.
fn run(arguments: &[&str]) -> (String, String) {
    let output = livetrail(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

fn session(number: u64) -> Uuid {
    // The time in the id is that of the trail's first record.
    Uuid::from_u128(0x019a_ab01_9900_7000_8000_0000_0000_0000 | u128::from(number) << 4)
}

/// The log of a trail that nobody has open.
pub(crate) fn ledger_of(data: &Path) -> Ledger {
    let trail = data.join("trail");
    let key = |name: &str| read_seed(&trail.join("private/keys").join(name)).unwrap();
    let store: SharedStore = Arc::new(RealStore::new(&trail));
    let origin = livetrail_ledger::Reader::open(store.clone())
        .unwrap()
        .origin()
        .to_owned();
    let identity = Identity::from_seeds(&origin, &key("signer"), &key("cosigner")).unwrap();
    Ledger::builder(store, identity).open().unwrap().0
}

/// Writes a boot with more than a segment of sessions. Each 1,000th stays open, because the boot
/// crashed.
fn write_trail(data: &Path) {
    let ledger = ledger_of(data);
    let mut seq = 0..;
    let mut entry = |action, number: Option<u64>| {
        let seq = seq.next().unwrap();
        let mut record = AuditRecord::new(action, "live")
            .with_ts_ms(1_763_805_600_000 + seq)
            .with_boot(Uuid::from_u128(1))
            .with_node("n")
            .with_seq(seq);
        if let Some(number) = number {
            record = record
                .with_session(session(number))
                .with_stream(format!("cam-{}", number % 500))
                .with_principal(format!("viewer-{number}"));
        }
        encode_canonical(&record).unwrap()
    };
    let mut entries = vec![entry(AuditAction::ServerStarted, None)];
    let mut next = 0;
    for number in 0..SEGMENT_RECORDS / 2 + 3_000 {
        entries.push(entry(AuditAction::PlayStarted, Some(number)));
        if number % 1_000 != 0 {
            entries.push(entry(AuditAction::PlayEnded, Some(number)));
        }
        if entries.len() > 1_000 {
            next = ledger.append(Class::Strict, &entries).unwrap().next;
            entries.clear();
        }
    }
    ledger.wait_durable(next, Duration::from_secs(60)).unwrap();
    ledger.close().unwrap();
}

#[test]
fn a_long_trail_is_asked_by_its_index_and_a_start_closes_what_a_crash_left_open_far_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    run(&["trail", "init", data]);
    write_trail(dir.path());
    let index = dir.path().join("trail/private/index").join(FILE_NAME);
    let id = session(1_000).to_string();
    let questions: [&[&str]; 4] = [
        &["--session", &id],
        &["--session", &id[24..]],
        &["--principal", "viewer-17"],
        &["--stream", "live/cam-7", "--until", "2025-11-22T10:00:01Z"],
    ];
    let ask = |question: &[&str], more: &[&str]| {
        let arguments = [
            &["trail", "query", data, "--format", "json"],
            question,
            more,
        ]
        .concat();
        run(&arguments)
    };
    let wanted: Vec<String> = questions
        .map(|question| ask(question, &["--scan"]).0)
        .into();
    assert!(!index.exists(), "looking through everything needs no index");
    assert_eq!(wanted[0].lines().count(), 1);
    assert_eq!(wanted[2].lines().count(), 2);
    let check = |state: &str| {
        for (question, wanted) in questions.iter().zip(&wanted) {
            assert_eq!(&ask(question, &[]).0, wanted, "{state}: {question:?}");
        }
        assert!(fs::metadata(&index).unwrap().len() > 100_000, "{state}");
    };
    check("made by the first question");
    assert_eq!(
        fs::metadata(&index).unwrap().permissions().mode() & 0o777,
        0o600
    );
    check("used by others");
    fs::write(&index, "no database").unwrap();
    check("recreated");
    // A path at which nothing can be created.
    fs::remove_dir_all(index.parent().unwrap()).unwrap();
    fs::write(index.parent().unwrap(), "in the way").unwrap();
    let (found, errors) = ask(questions[0], &[]);
    assert_eq!(found, wanted[0]);
    assert!(errors.contains("without the query index"), "{errors}");
    fs::remove_file(index.parent().unwrap()).unwrap();

    let mut serve = livetrail(&[
        "serve",
        "--rtmp",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data",
        data,
    ]);
    let mut child = serve
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let serving = log.by_ref().map_while(Result::ok).any(|line| {
        said.push(line);
        said.last().is_some_and(|line| line.contains("serving"))
    });
    assert!(serving, "{said:#?}");
    assert!(index.exists(), "the start has made the index");
    let stop = Command::new("kill").arg(child.id().to_string()).status();
    assert!(stop.unwrap().success());
    log.for_each(drop);
    assert!(child.wait().unwrap().success());
    let closed = ask(&["--action", "play_ended", "--session", &id], &[]).0;
    assert!(closed.contains("server_crash"), "{closed}");
    let (report, _) = run(&["trail", "verify", data, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["verdict"], &report["sessions"]["open_total"]),
        (&"sound".into(), &0.into())
    );
}
