//! PostgreSQL only: the connection, and names from a server to the table and away again.

use std::time::Duration;

use livetrail_replica::ReplicaSink as _;
use livetrail_replica::conformance::Place as _;
use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Server, clock, run, tool};

use super::Table;
use crate::beside::await_state;

const PATIENCE: Duration = Duration::from_secs(60);

const ORIGIN: &str = "example.com/a";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// At a start a sink is asked in a runtime of its own, which is gone when it begins to follow.
#[test]
fn a_connection_that_has_ended_is_opened_again_without_an_error() {
    let following = runtime();
    let table = following.block_on(Table::fresh());
    let sink = table.direct();
    {
        let asking = runtime();
        let next = asking.block_on(sink.cursor(ORIGIN)).unwrap().next();
        assert_eq!(next, 0);
    }
    following.block_on(sink.cursor(ORIGIN)).unwrap();
}

/// The names of a server's publishers are in the table with their records. An erasure is complete
/// when the table has none any more, also if the table was away meanwhile.
#[test]
fn a_server_brings_names_to_the_table_and_an_erasure_is_complete_when_they_are_gone_there() {
    let runtime = runtime();
    let table = runtime.block_on(Table::fresh());
    let url = format!("url = \"{}\"\n", table.server.url_of("names"));
    let config = Config::new()
        .key("alice", "the-secret-of-alice", "publish")
        .key("bob", "the-secret-of-bob", "publish")
        .sink_with_openings("postgres", "postgres", &url);
    let mut server = Server::start(config);
    for name in ["alice", "bob"] {
        let mut raw = RawRtmp::connect(server.rtmp()).expect("a handshake");
        raw.open("live").expect("a connection");
        let stream = format!("{name}-cam?token=the-secret-of-{name}");
        let answer = raw.publish(&stream).expect("an answer");
        assert_eq!(answer, "NetStream.Publish.Start");
    }
    server.await_records("publish_ended", 2);
    let names = || {
        table
            .server
            .sql("SELECT principal FROM livetrail.openings WHERE principal IS NOT NULL ORDER BY 1")
    };
    clock::wait_until("the names are in the table", PATIENCE, || {
        names() == "alice\nbob"
    });

    table.server.kill();
    let erased = run(
        "livetrail trail erase",
        tool::livetrail(&["trail", "erase"])
            .arg(server.data())
            .args(["--principal", "alice", "--request", "2026-17"])
            .args(["--basis", "art17"]),
        PATIENCE,
    )
    .success();
    assert!(
        erased.stdout.contains("it is not complete"),
        "{}",
        erased.output()
    );
    let waits = server.await_records("admin_erased", 1);
    assert_eq!(waits.count("admin_erasure_completed"), 0, "{waits}");
    table.server.restart();
    server.await_records("admin_erasure_completed", 1);
    assert_eq!(names(), "bob");
    await_state(&server, "postgres", "following");
    let trail = server.stop();
    let records = trail.records().len().to_string();
    let left = "SELECT count(*) FROM livetrail.records";
    assert_eq!(table.server.sql(left), records, "the entries stay");
}
