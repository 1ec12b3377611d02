//! A server whose required sink does not report at the start what it has seen: sessions continue,
//! and nothing is signed until it has reported.

use std::time::Duration;

use livetrail_replica::conformance::{Place as _, Server as _};
use serde_json::Value;
use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Server, clock, run};

use crate::beside::await_state;
use crate::postgres::Table;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn while_a_required_sink_has_not_answered_sessions_go_on_and_nothing_is_signed() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let table = runtime.block_on(Table::fresh());
    let required = Config::new().audit("publish = \"strict\"").sink(
        "archive",
        "postgres",
        &format!("url = \"{}\"\n", table.url()),
    );
    let mut server = Server::start(required);
    await_state(&server, "archive", "following");
    server.stop();

    runtime.block_on(table.kill());
    server.start_again();
    let signed = size(&server);
    let health = server.get("/health").json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert_eq!(
        health["signing_waits_for"],
        Value::from(vec!["sink archive"]),
        "{health}"
    );
    publish(&server);
    assert_eq!(size(&server), signed, "nothing is signed");
    assert_eq!(server.get("/health").status, 200);

    runtime.block_on(table.restart());
    await_state(&server, "archive", "following");
    clock::wait_until("it signs again", PATIENCE, || size(&server) > signed);
    let health = server.get("/health").json();
    assert!(health.get("signing_waits_for").is_none(), "{health}");
    server.stop().assert_verified(&[]);

    // Recorded under a hold, and ended: the next start needs the answer.
    runtime.block_on(table.kill());
    server.start_again();
    publish(&server);
    assert!(server.stop_within(PATIENCE).success());
    let output = run("livetrail serve", &server.command(), PATIENCE);
    assert_eq!(output.status.code(), Some(2), "{}", output.output());
    assert!(
        output
            .stderr
            .contains("signing waits since an earlier start for sink archive"),
        "{}",
        output.output()
    );
    runtime.block_on(table.restart());
    server.start_again();
    await_state(&server, "archive", "following");
    server.stop().assert_verified(&[]);
}

/// How many entries the published checkpoint covers.
fn size(server: &Server) -> u64 {
    let note = std::fs::read_to_string(server.data().join("trail/checkpoint"));
    let note = note.expect("a checkpoint");
    let size = note.lines().nth(1).expect("a size");
    size.parse().expect("a number")
}

/// A strict publication is admitted.
fn publish(server: &Server) {
    let mut raw = RawRtmp::connect(server.rtmp()).expect("a handshake");
    raw.open("live").expect("a connection");
    let answer = raw.publish("cam").expect("an answer");
    assert_eq!(answer, "NetStream.Publish.Start");
}
