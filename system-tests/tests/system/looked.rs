//! Who has read the trail is on record: reads over HTTP and by commands, exports, refusals and
//! reviews, few records however many they are.

use std::process::Command;
use std::time::Duration;

use livetrail_record::{Outcome, Value};
use system_tests::{Config, Finished, Server, http, livetrail, run};

const ENDS: Duration = Duration::from_secs(30);

const AUDITOR: &str = "authorization: Bearer secret-of-the-auditor-1";
const VIEWER: &str = "authorization: Bearer secret-of-the-viewer-22";

fn trail_command(server: &Server, command: &str, more: &[&str]) -> Finished {
    let mut all = Command::new(livetrail());
    all.args(["trail", command]).arg(server.data()).args(more);
    run(&format!("livetrail trail {command}"), &all, ENDS)
}

#[test]
fn commands_on_a_live_trail_are_on_record_with_the_user_and_a_hash_of_the_filter() {
    let mut server = Server::start(Config::new());
    server.await_records("server_started", 1);
    for filter in ["cam", "cam", "other"] {
        trail_command(&server, "query", &["--stream", filter]).success();
    }
    trail_command(&server, "export", &[]).success();
    trail_command(&server, "prove", &["0"]).success();
    trail_command(&server, "review", &["--to", "1", "--note", "the start"]).success();
    trail_command(&server, "review", &["--to", "90000", "--note", "too far"]).failure();
    server.await_records("admin_reviewed", 1);
    let trail = server.stop();
    let user = format!("local:{}", rustix::process::getuid().as_raw());
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let looked = |action: &str| -> Vec<(String, String, u64)> {
        let records = trail.of(action).map(|record| {
            assert_eq!(record.by.as_deref(), Some(user.as_str()), "\n{trail}");
            let of = |field: &str| record.extra.get(field).map(text).expect("a field");
            (of("what"), of("filter"), record.count.unwrap_or(1))
        });
        records.collect()
    };
    let reads = looked("admin_read");
    let filters: std::collections::BTreeSet<_> = reads.iter().map(|read| &read.1).collect();
    assert_eq!(filters.len(), 2, "{reads:?}");
    assert_eq!(reads.iter().map(|read| read.2).sum::<u64>(), 3, "{reads:?}");
    let exports = looked("admin_exported");
    let whats: Vec<_> = exports.iter().map(|export| export.0.as_str()).collect();
    assert_eq!(whats, ["export", "prove"]);
    let review = trail.of("admin_reviewed").next().expect("a review");
    assert_eq!(review.by.as_deref(), Some(user.as_str()));
    assert_eq!(review.extra.get("last_index"), Some(&Value::Integer(0)));
}

#[test]
fn what_was_read_while_no_server_ran_is_on_record_after_the_next_start() {
    let mut server = Server::start(Config::new());
    server.stop();
    for _ in 0..20 {
        trail_command(&server, "query", &[]).success();
    }
    trail_command(&server, "review", &["--note", "all of it"]).success();
    server.start_again();
    server.await_records("admin_read", 1);
    let trail = server.stop();
    let reads = trail.of("admin_read");
    let count: u64 = reads.map(|record| record.count.unwrap_or(1)).sum();
    assert_eq!(count, 20, "\n{trail}");
    assert_eq!(trail.count("admin_reviewed"), 1, "\n{trail}");
}

#[test]
fn ten_thousand_reads_and_refusals_over_http_are_few_records() {
    let config = Config::new()
        .api_token("auditor", "secret-of-the-auditor-1", "auditor")
        .api_token("viewer", "secret-of-the-viewer-22", "viewer");
    let mut server = Server::start(config);
    server.await_records("server_started", 1);
    let get = |header: &str| {
        let path = "/trail/tile/entries/000.p/1";
        let answer = http::request(server.http(), "GET", path, &[header]);
        answer.expect("an answer").status
    };
    for _ in 0..10_000 {
        assert_eq!(get(AUDITOR), 200);
    }
    for _ in 0..1_000 {
        assert_eq!(get(VIEWER), 403);
        assert_eq!(get("accept: */*"), 401);
    }
    let trail = server.stop();
    let sum = |action: &str| -> (u64, usize) {
        let records = trail.of(action);
        let counts: Vec<u64> = records.map(|record| record.count.unwrap_or(1)).collect();
        (counts.iter().sum(), counts.len())
    };
    let (reads, records) = sum("admin_read");
    assert_eq!(reads, 10_000, "\n{trail}");
    assert!(records < 20, "{records} records\n{trail}");
    let (refusals, records) = sum("admin_denied");
    assert_eq!(refusals, 2_000, "\n{trail}");
    assert!(records < 60, "{records} records\n{trail}");
    let by: std::collections::BTreeSet<_> = trail
        .of("admin_denied")
        .map(|record| record.by.as_deref())
        .collect();
    assert_eq!(by.into_iter().collect::<Vec<_>>(), [None, Some("viewer")]);
    trail.assert_sound();
    trail.assert_tells_nothing_of(&["secret-of-the-auditor-1", "secret-of-the-viewer-22"]);
}

#[test]
fn a_server_verifies_its_own_trail_while_it_writes_and_says_so() {
    let mut server = Server::start(Config::new().trail("verify_every = \"1s\""));
    let trail = server.await_records("trail_verified", 3);
    for verified in trail.of("trail_verified") {
        assert_eq!(verified.outcome, Some(Outcome::Success), "\n{trail}");
    }
    let health = server.get("/health").json();
    assert_eq!(health["status"], "ok", "{health}");
    let metrics = server.get("/metrics").text();
    let name = "livetrail_trail_verify_last_success_timestamp_seconds ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    let value: u64 = value.and_then(|value| value.parse().ok()).expect("a time");
    assert!(value > 1_700_000_000, "{value}");
    server.stop();
}
