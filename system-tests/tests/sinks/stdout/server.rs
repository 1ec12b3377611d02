//! A server whose standard output is read by `jq`, by a reader that leaves, by a slow one, and by
//! nobody.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Config, Server, clock, run};

use crate::file::server::{exported, refuse};

const SOON: Duration = Duration::from_secs(60);

fn config() -> Config {
    Config::new().sink("out", "stdout", "")
}

/// A server that does not run yet.
fn prepared() -> Server {
    let mut server = Server::start(Config::new());
    server.stop();
    server.set_config(config());
    server
}

/// The server's process with an output of its own; it is killed when this is dropped.
struct Running(Child);

impl Running {
    fn start(server: &Server, output: Stdio) -> Self {
        let mut command = server.command();
        let log = std::fs::File::create(server.file("log")).unwrap();
        command.stdout(output).stderr(log);
        let running = Self(command.spawn().unwrap());
        clock::wait_until("the server is healthy", SOON, || {
            let answer = system_tests::http::request(server.http(), "GET", "/health", &[]);
            answer.is_ok_and(|answer| answer.status == 200)
        });
        running
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).unwrap();
    }

    /// Whether it ended by itself and in order.
    fn ends_well(mut self) -> bool {
        self.signal(Signal::TERM);
        let ended = clock::poll(SOON, || self.0.try_wait().unwrap());
        ended.expect("it ends in time").success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sink(server: &Server) -> serde_json::Value {
    server.get("/health").json()["sinks"][0].clone()
}

fn assert_logged(server: &Server, words: &str) {
    let log = std::fs::read_to_string(server.file("log")).unwrap();
    assert!(log.contains(words), "{log}");
}

/// The server's lines as `jq` reads them: index and action, each on a line.
fn told_by_jq(lines: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    std::fs::write(&path, lines).unwrap();
    let mut jq = Command::new("jq");
    jq.args(["-r", "[.index, .record.action] | @tsv"]).arg(path);
    run("jq", &jq, SOON).success().stdout
}

#[test]
fn jq_reads_each_record_in_order_and_across_a_kill_none_is_missing() {
    let server = prepared();
    let output = server.file("lines.json");
    let append = || {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&output);
        Stdio::from(file.unwrap())
    };
    let text = || std::fs::read_to_string(&output).unwrap_or_default();
    for round in 1..=2 {
        let mut running = Running::start(&server, append());
        refuse(&server, 150);
        clock::wait_until("lines", SOON, || text().lines().count() > 100 * round);
        running.0.kill().unwrap();
    }
    let running = Running::start(&server, append());
    refuse(&server, 50);
    assert!(running.ends_well());

    // Each once or more, the first of each in order, with its own bytes.
    let mut first = String::new();
    let mut next = 0;
    for line in text().lines() {
        let (index, entry) = crate::file::held_in(line);
        if index == next {
            first += &(String::from_utf8(entry).unwrap() + "\n");
            next += 1;
        } else {
            assert!(index < next, "{index} comes before {next}");
        }
    }
    assert_eq!(first, exported(&server, "entries"));
    let told = told_by_jq(&text());
    assert!(told.starts_with("0\tserver_started\n"), "{told}");
    assert_eq!(told.lines().count(), text().lines().count());
}

#[test]
fn a_reader_that_leaves_is_logged_and_the_server_runs_on() {
    let server = prepared();
    let (reader, writer) = std::io::pipe().unwrap();
    let running = Running::start(&server, Stdio::from(writer));
    let mut lines = BufReader::new(reader);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.contains("\"server_started\""), "{first}");
    assert_eq!(sink(&server)["delivery"], "at_least_once");
    drop(lines);
    refuse(&server, 5);
    clock::wait_until("the report", SOON, || sink(&server)["state"] == "blocked");
    assert_logged(&server, "nobody reads standard output");
    assert_eq!(server.get("/health").json()["status"], "degraded");
    assert!(running.ends_well());
}

#[test]
fn a_reader_that_takes_nothing_holds_up_neither_the_server_nor_its_end() {
    let server = prepared();
    let (reader, writer) = std::io::pipe().unwrap();
    let running = Running::start(&server, Stdio::from(writer));
    // More than a pipe takes.
    refuse(&server, 400);
    assert_eq!(server.get("/health").status, 200);
    assert!(running.ends_well(), "the trail is whole");
    drop(reader);
    let text = exported(&server, "entries");
    assert!(text.ends_with("\n") && text.contains("\"server_stopped\""));
}

#[test]
fn with_nowhere_to_write_it_reports_an_error() {
    let server = prepared();
    let running = Running::start(&server, Stdio::null());
    refuse(&server, 1);
    clock::wait_until("the report", SOON, || sink(&server)["state"] == "blocked");
    assert_logged(&server, "standard output is /dev/null");
    assert!(running.ends_well());
}
