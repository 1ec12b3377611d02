//! A server with `[sink.file]`, restarted and killed in the middle.

use std::process::Command;
use std::time::Duration;

use system_tests::{Config, Server, clock, livetrail, run};

pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Publishers that leave at once: two records each, at least this many in all.
pub(crate) fn refuse(server: &Server, count: usize) {
    server.grow(count as u64);
}

pub(crate) fn text(server: &Server, name: &str) -> String {
    std::fs::read_to_string(server.file(name)).unwrap_or_default()
}

/// The trail as the server's own command writes it.
pub(crate) fn exported(server: &Server, format: &str) -> String {
    let mut export = Command::new(livetrail());
    export.args(["trail", "export"]).arg(server.data());
    export.args(["--format", format]);
    run("trail export", &export, SOON).success().stdout
}

/// The entries' exact bytes, one a line, from the file in JSON.
pub(crate) fn records(json: &str) -> String {
    // Rotated files begin with the tree before them.
    let lines = json.lines().filter(|line| !super::is_tree(line));
    let records = lines.map(|line| {
        let (_, record) = line.split_once(",\"record\":").expect("a record");
        record.strip_suffix('}').expect("its end").to_owned() + "\n"
    });
    records.collect()
}

#[test]
fn the_files_lines_are_the_trails_records_in_order_across_a_restart_and_a_kill() {
    let mut server = Server::start(Config::new());
    server.stop();
    let at = |name: &str| format!("path = {:?}\n", server.file(name));
    let config = Config::new().sink("lines", "file", &at("trail.tsv")).sink(
        "json",
        "file",
        &(at("trail.json") + "format = \"json\"\n"),
    );
    // What is on the trail already comes first.
    server.set_config(config);
    server.start_again();
    refuse(&server, 300);
    server.stop();
    let stopped = text(&server, "trail.tsv");
    assert_eq!(stopped, exported(&server, "tsv"), "after an orderly end");
    assert!(
        stopped.contains("\tpublish_ended\tlive\tgrow-"),
        "{stopped}"
    );

    server.start_again();
    refuse(&server, 50);
    clock::wait_until("lines after the restart", SOON, || {
        text(&server, "trail.tsv").lines().count() > stopped.lines().count()
    });
    refuse(&server, 50);
    server.crash();

    server.start_again();
    refuse(&server, 100);
    server.stop();
    let lines = text(&server, "trail.tsv");
    assert_eq!(lines.matches("\tserver_started\t").count(), 4, "{lines}");
    assert_eq!(lines, exported(&server, "tsv"));
    let json = text(&server, "trail.json");
    assert_eq!(records(&json), exported(&server, "entries"));
}
