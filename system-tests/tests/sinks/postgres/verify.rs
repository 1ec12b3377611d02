//! The verifier's results for the table alone: sound when unchanged, and every change by somebody
//! with all rights is found and named.

use std::time::Duration;

use livetrail_replica::ReplicaSink as _;
use livetrail_replica::conformance::{Place as _, TestLog};
use livetrail_verify::{
    Class, Options, Policy, PostgresTrail, Report, Verdict, VerifyError, keys_in, verify,
};
use system_tests::{Postgres, clock};

use super::Table;

const ORIGIN: &str = "example.com/a";

/// The verifier's report of what is in the table.
fn report(server: &Postgres, log: &TestLog) -> Report {
    let mut policy = Policy::default();
    for key in log.reader().verifier_keys() {
        for key in keys_in(&key.to_string()).unwrap() {
            policy.add(key).unwrap();
        }
    }
    let options = Options {
        policy,
        boot_records: false,
        ..Options::default()
    };
    let trail = PostgresTrail::open(&server.url(), Some(log.origin()), None).unwrap();
    verify(&trail, &options, &mut |_, _| {}).unwrap()
}

pub(crate) fn assert_sound(server: &Postgres, log: &TestLog) {
    // The database's client has a runtime of its own, which must not be within this one.
    let report = std::thread::scope(|scope| {
        let verified = scope.spawn(|| report(server, log));
        verified.join().expect("the verifier does not panic")
    });
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert_eq!(report.figures.entries, log.size(), "{report}");
}

/// Changes a copy of the table in a way that only its owner can, who removes the triggers first.
fn with_change(table: &Table, change: &str) {
    let without = "ALTER TABLE livetrail.records DISABLE TRIGGER ALL; ALTER TABLE livetrail.checkpoints DISABLE TRIGGER ALL; \
        ALTER TABLE livetrail.commits DISABLE TRIGGER ALL;";
    table.server.sql(&format!("{without} {change}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_table_is_sound_and_each_change_is_found_and_named() {
    let log = TestLog::with(ORIGIN, 1_500);
    let table = Table::fresh().await;
    table.direct().append(&log.range(0, 700)).await.unwrap();
    table.direct().append(&log.range(700, 800)).await.unwrap();
    tokio::task::block_in_place(|| assert_sound(&table.server, &log));
    let other = TestLog::with("example.com/b", 3);
    table.direct().append(&other.range(0, 3)).await.unwrap();
    let url = table.server.url();
    let origins = |most| {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| PostgresTrail::origins(&url, None, most).unwrap());
            asked.join().expect("the verifier does not panic")
        })
    };
    assert_eq!(origins(9), [ORIGIN, other.origin()]);
    assert_eq!(origins(1), [ORIGIN]);
    let swap = "UPDATE livetrail.records a SET entry = b.entry, leaf = b.leaf FROM livetrail.records b \
        WHERE a.index IN (10, 11) AND b.index = 21 - a.index";
    let keep = "CREATE TABLE kept AS SELECT * FROM livetrail.records; CREATE TABLE notes AS SELECT * FROM livetrail.checkpoints; \
        CREATE TABLE ends AS SELECT * FROM livetrail.commits";
    let restore = "DELETE FROM livetrail.records; INSERT INTO livetrail.records SELECT * FROM kept; \
        DELETE FROM livetrail.checkpoints; INSERT INTO livetrail.checkpoints SELECT * FROM notes; \
        DELETE FROM livetrail.commits; INSERT INTO livetrail.commits SELECT * FROM ends";
    with_change(&table, keep);
    for (what, change, where_) in [
        (
            "a changed byte",
            "UPDATE livetrail.records SET entry = set_byte(entry, 20, 65) WHERE index = 300",
            Some(300),
        ),
        (
            "a changed leaf",
            "UPDATE livetrail.records SET leaf = set_byte(leaf, 3, 0) WHERE index = 1400",
            Some(1_400),
        ),
        (
            "entry and leaf changed to fit",
            "UPDATE livetrail.records SET entry = '{}', leaf = sha256('\\x00'::bytea || '{}'::bytea) WHERE index = 5",
            Some(5),
        ),
        (
            "a removed row",
            "DELETE FROM livetrail.records WHERE index = 777",
            Some(777),
        ),
        (
            "a doubled row",
            "INSERT INTO livetrail.records SELECT log_id, index, ts + interval '1 second', action, label, app, stream, session, outcome, reason, protocol, principal, peer, user_agent, duration_ms, bytes, frames, dropped_frames, inferred, count, first_seq, last_seq, detail, node, boot, seq, mono_ms, leaf, entry FROM livetrail.records WHERE index = 40",
            Some(40),
        ),
        ("two rows swapped", swap, Some(10)),
        (
            "the beginning cut off",
            "DELETE FROM livetrail.records WHERE index < 256",
            Some(0),
        ),
        (
            "the end cut off",
            "DELETE FROM livetrail.records WHERE index >= 1280",
            Some(1_280),
        ),
        (
            "an entry of 50 MB",
            "UPDATE livetrail.records SET entry = convert_to(repeat('0123456789', 5000000), 'UTF8') WHERE index = 300",
            Some(300),
        ),
        (
            "a changed checkpoint",
            "UPDATE livetrail.checkpoints SET note = set_byte(note, 40, 65)",
            None,
        ),
    ] {
        with_change(&table, change);
        let report = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| scope.spawn(|| report(&table.server, &log)).join().unwrap())
        });
        assert_eq!(report.verdict, Verdict::NotSound, "{what}: {report}");
        if let Some(index) = where_ {
            let first = report.first_index;
            // Where rows are missing or double, the bundle that contains them is named.
            assert!(
                first.is_some_and(|first| first / 256 == index / 256),
                "{what}: {first:?}: {report}"
            );
        }
        with_change(&table, restore);
    }
    tokio::task::block_in_place(|| assert_sound(&table.server, &log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_tail_is_found_by_the_remaining_checkpoints() {
    let log = TestLog::new(ORIGIN);
    let table = Table::fresh().await;
    log.add(700);
    table.direct().append(&log.range(0, 700)).await.unwrap();
    log.add(800);
    table.direct().append(&log.range(700, 800)).await.unwrap();
    let counted = table
        .server
        .sql("SELECT string_agg(size::text, ' ' ORDER BY size) FROM livetrail.checkpoints");
    assert_eq!(counted, "700 1500");
    let report_of = || {
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| scope.spawn(|| report(&table.server, &log)).join().unwrap())
        })
    };
    // A note of 50 MB is not taken.
    let large = "CREATE TABLE notes AS SELECT * FROM livetrail.checkpoints; \
        UPDATE livetrail.checkpoints SET note = convert_to(repeat('0123456789', 5000000), 'UTF8') WHERE size = 1500";
    with_change(&table, large);
    let report = report_of();
    assert_ne!(report.verdict, Verdict::Sound, "{report}");
    let restore =
        "DELETE FROM livetrail.checkpoints; INSERT INTO livetrail.checkpoints SELECT * FROM notes";
    with_change(&table, restore);
    let cut = "DELETE FROM livetrail.records WHERE index >= 700; DELETE FROM livetrail.commits WHERE next_index > 700";
    with_change(&table, cut);
    let report = report_of();
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    let said = report
        .findings
        .iter()
        .any(|finding| finding.class == Class::Older && finding.text.contains("cut off"));
    assert!(said, "{report}");
}

/// Records and their checkpoint are there, and the row that commits them is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_removed_alone_is_found() {
    let log = TestLog::new(ORIGIN);
    let table = Table::fresh().await;
    for count in [700, 800] {
        let first = log.size();
        log.add(count);
        let range = log.range(first, usize::try_from(count).unwrap());
        table.direct().append(&range).await.unwrap();
    }
    with_change(
        &table,
        "DELETE FROM livetrail.commits WHERE next_index = 1500",
    );
    let report = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| scope.spawn(|| report(&table.server, &log)).join().unwrap())
    });
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    for (class, words) in [
        (Class::Older, "cut off"),
        (Class::Altered, "rows of livetrail.commits were removed"),
    ] {
        let said = report
            .findings
            .iter()
            .any(|finding| finding.class == class && finding.text.contains(words));
        assert!(said, "{class:?}: {report}");
    }
}

/// The owner of the database can replace the table by a view that never returns a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_never_ends_is_given_up_and_accuses_nobody() {
    let log = TestLog::with(ORIGIN, 300);
    let table = Table::fresh().await;
    table.direct().append(&log.range(0, 300)).await.unwrap();
    with_change(
        &table,
        "ALTER TABLE livetrail.records RENAME TO kept; \
         CREATE VIEW livetrail.records AS SELECT * FROM livetrail.kept WHERE pg_sleep(86400) IS NULL",
    );
    let url = table.server.url();
    let watch = clock::Stopwatch::start();
    let opened = tokio::task::spawn_blocking(move || PostgresTrail::open(&url, None, None));
    let error = opened.await.unwrap().unwrap_err();
    assert!(matches!(error, VerifyError::Database { .. }), "{error}");
    assert!(error.to_string().contains("timed out"), "{error}");
    // A query may take a minute.
    assert!(watch.elapsed() < Duration::from_secs(90));
}

#[test]
fn a_database_that_cannot_be_read_is_no_finding() {
    let server = Postgres::start();
    let error = PostgresTrail::open(&server.url(), None, None).unwrap_err();
    assert!(matches!(error, VerifyError::Database { .. }), "{error}");
    let secret = "postgres://a:hunter2@127.0.0.1:port/x";
    let error = PostgresTrail::open(secret, None, None).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}
