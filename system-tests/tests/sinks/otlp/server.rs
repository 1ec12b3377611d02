//! A server with `[sink.otlp]`, restarted and killed in the middle.

use std::process::Command;
use std::time::Duration;

use system_tests::{Config, OtlpCollector, Server, clock, livetrail, run};

use super::entry;

const SOON: Duration = Duration::from_secs(60);

/// Viewers that are refused: one record each.
fn refuse(server: &Server, count: usize) {
    for _ in 0..count {
        let answer = server.get("/live/nothing.flv");
        assert_eq!(answer.status, 404);
    }
}

/// The trail as the server's own command writes it, a record a line.
fn exported(server: &Server) -> Vec<String> {
    let mut export = Command::new(livetrail());
    export.args(["trail", "export"]).arg(server.data());
    export.args(["--format", "entries"]);
    let exported = run("trail export", &export, SOON).success().stdout;
    exported.lines().map(str::to_owned).collect()
}

/// What was received, each index once.
fn received(receiver: &OtlpCollector) -> Vec<String> {
    let mut first = Vec::new();
    for (index, bytes) in receiver.received().iter().map(entry) {
        let record = String::from_utf8(bytes).unwrap();
        match first.get(usize::try_from(index).unwrap()) {
            Some(known) => assert_eq!(*known, record),
            None => {
                assert_eq!(index, first.len() as u64, "an index is missing");
                first.push(record);
            }
        }
    }
    first
}

#[test]
fn every_record_is_received_in_order_across_a_restart_and_a_kill() {
    let receiver = OtlpCollector::start();
    let mut server = Server::start(Config::new());
    server.stop();
    std::fs::write(server.file("token"), "Bearer hunter2\n").unwrap();
    let lines = format!(
        "endpoint = \"http://{}\"\n[[sink.otlp.header]]\nname = \"authorization\"\nvalue_file = \"token\"\n",
        receiver.address()
    );
    server.set_config(Config::new().sink("observability", "otlp", &lines));
    server.start_again();
    refuse(&server, 300);
    // The collector is away for a while.
    receiver.kill();
    refuse(&server, 50);
    receiver.restart();
    server.stop();
    assert_eq!(received(&receiver), exported(&server));

    let before = received(&receiver).len();
    server.start_again();
    refuse(&server, 50);
    clock::wait_until("records after the restart", SOON, || {
        received(&receiver).len() > before
    });
    refuse(&server, 50);
    server.crash();
    server.start_again();
    server.stop();
    let exported = exported(&server);
    assert_eq!(received(&receiver), exported);
    let starts = exported
        .iter()
        .filter(|record| record.contains("\"server_started\""));
    assert_eq!(starts.count(), 4);
    for request in receiver.requests() {
        assert_eq!(request["headers"]["authorization"], "Bearer hunter2");
    }
}
