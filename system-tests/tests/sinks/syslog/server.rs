//! A server with `[sink.syslog]`, restarted and killed in the middle.

use std::process::Command;
use std::time::Duration;

use system_tests::{Config, Server, clock, livetrail, run};

use super::receiver::{Kind, Receiver};

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
fn received(receiver: &Receiver, origin: &str) -> Vec<String> {
    let mut first = Vec::new();
    for (index, entry) in receiver.held(origin) {
        let entry = String::from_utf8(entry).unwrap();
        match first.get(usize::try_from(index).unwrap()) {
            Some(known) => assert_eq!(*known, entry),
            None => {
                assert_eq!(index, first.len() as u64, "an index is missing");
                first.push(entry);
            }
        }
    }
    first
}

#[test]
fn every_record_is_received_in_order_across_a_restart_and_a_kill() {
    let receiver = Receiver::start(Kind::Rsyslog);
    let mut server = Server::start(Config::new());
    server.stop();
    server.set_config(Config::new().sink(
        "siem",
        "syslog",
        &format!(
            "address = {:?}\nca_file = {:?}\n",
            receiver.address().to_string(),
            receiver.file("ca.pem")
        ),
    ));
    server.start_again();
    refuse(&server, 300);
    // The receiver is away for a while.
    receiver.kill();
    refuse(&server, 50);
    receiver.restart();
    server.stop();
    let origin = origin(&server);
    assert_eq!(received(&receiver, &origin), exported(&server));

    let before = received(&receiver, &origin).len();
    server.start_again();
    refuse(&server, 50);
    clock::wait_until("messages after the restart", SOON, || {
        received(&receiver, &origin).len() > before
    });
    let health = server.get("/health").json();
    assert_eq!(health["sinks"][0]["delivery"], "at_least_once", "{health}");
    refuse(&server, 50);
    server.crash();
    server.start_again();
    server.stop();
    let exported = exported(&server);
    assert_eq!(received(&receiver, &origin), exported);
    let starts = exported
        .iter()
        .filter(|record| record.contains("\"server_started\""));
    assert_eq!(starts.count(), 4);
}

fn origin(server: &Server) -> String {
    let checkpoint = std::fs::read_to_string(server.data().join("trail/checkpoint")).unwrap();
    checkpoint.lines().next().unwrap().to_owned()
}
