//! Files that a server rotates itself, and files that Debian's logrotate moves away while the
//! server runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::{Config, Server, Signal, clock, livetrail_verify, run};

use super::server::{SOON, exported, records, refuse, text};

/// The files that the server rotated, in the order of their names, and then the current one.
fn rotated(server: &Server, name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = beside(server, name);
    files.retain(|path| {
        let suffix = path.extension().unwrap_or_default().as_encoded_bytes();
        suffix.len() == 20 && suffix.iter().all(u8::is_ascii_digit)
    });
    files.sort();
    assert!(files.len() >= 2, "it was not rotated: {files:?}");
    files.push(server.file(name));
    files
}

fn together(server: &Server, name: &str) -> String {
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    rotated(server, name).iter().map(read).collect()
}

/// Files whose name begins with this, and is longer.
fn beside(server: &Server, name: &str) -> Vec<PathBuf> {
    let folder = server.file(name);
    let listed = std::fs::read_dir(folder.parent().unwrap()).unwrap();
    let paths = listed.map(|entry| entry.unwrap().path());
    let prefix = format!("{name}.");
    paths
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&prefix)
        })
        .collect()
}

#[test]
fn the_files_that_a_server_rotates_are_the_trail_together_across_kills() {
    let mut server = Server::start(Config::new());
    server.stop();
    let settings = |name: &str, format: &str| {
        let path = server.file(name);
        format!("path = {path:?}\nformat = {format:?}\nrotate_bytes = \"64KiB\"\n")
    };
    let config = Config::new()
        .sink("lines", "file", &settings("trail.tsv", "lines"))
        .sink("json", "file", &settings("trail.json", "json"));
    server.set_config(config);
    server.start_again();
    for _ in 0..3 {
        refuse(&server, 200);
        clock::wait_until("the sinks follow", SOON, || {
            text(&server, "trail.json.cursor").contains("\nbytes ")
        });
        server.crash();
        server.start_again();
    }
    refuse(&server, 100);
    server.stop();
    assert_eq!(together(&server, "trail.tsv"), exported(&server, "tsv"));
    let json = together(&server, "trail.json");
    assert_eq!(records(&json), exported(&server, "entries"));
    let mut verify = Command::new(livetrail_verify());
    verify.arg("--lines").args(rotated(&server, "trail.json"));
    verify.arg("--vkey").arg(server.data().join("trail.vkey"));
    let verified = run("livetrail-verify --lines", &verify, SOON).success();
    assert!(
        verified.stdout.starts_with("SOUND  "),
        "{}",
        verified.stdout
    );
    assert_the_rest_is_proven(&server, &rotated(&server, "trail.json")[1..]);
}

/// Without the files before these: reported as missing, and on request the rest is proven.
fn assert_the_rest_is_proven(server: &Server, files: &[PathBuf]) {
    let verify = |more: &[&str]| {
        let mut verify = Command::new(livetrail_verify());
        verify.arg("--lines").args(files).args(more);
        verify.arg("--vkey").arg(server.data().join("trail.vkey"));
        run("livetrail-verify --lines", &verify, SOON)
    };
    let missing = verify(&[]);
    assert_eq!(missing.status.code(), Some(1), "{}", missing.output());
    assert!(
        missing.stdout.contains("--without-head"),
        "{}",
        missing.output()
    );
    let from = files[0].extension().unwrap().to_str().unwrap();
    let from: u64 = from.parse().unwrap();
    let proven = verify(&["--without-head"]).success();
    let said = format!("SOUND from entry {from} on  ");
    assert!(proven.stdout.starts_with(&said), "{}", proven.stdout);

    // With another tree before them, the files do not match it.
    let text = std::fs::read_to_string(&files[0]).unwrap();
    let (tree, rest) = text.split_once('\n').unwrap();
    let at = tree.find("[\"").unwrap() + 2;
    let other = if tree.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    let forged = format!("{}{other}{}\n{rest}", &tree[..at], &tree[at + 1..]);
    std::fs::write(&files[0], forged).unwrap();
    let found = verify(&["--without-head"]);
    std::fs::write(&files[0], text).unwrap();
    assert_eq!(found.status.code(), Some(1), "{}", found.output());
    assert!(found.stdout.contains("the root"), "{}", found.output());
}

/// Debian's logrotate, with the lines of a block for the file, and its command after a rotation.
fn logrotate(server: &Server, lines: &str, afterwards: &str) {
    let path = server.file("trail.tsv");
    let settings = server.file("logrotate.conf");
    let block = format!(
        "{} {{\n  rotate 100\n  {lines}\n  postrotate\n    {afterwards}\n  endscript\n}}\n",
        path.display()
    );
    std::fs::write(&settings, block).unwrap();
    let mut permissions = std::fs::metadata(&settings).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&settings, permissions).unwrap();
    let mut command = Command::new("logrotate");
    let state = server.file("logrotate.state");
    command
        .arg("--force")
        .arg("--state")
        .arg(state)
        .arg(settings);
    // Debian keeps it where only root looks.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    run("logrotate", &command, SOON).success();
}

/// The command that an operator gives to logrotate.
fn hangup(server: &Server) -> String {
    format!("kill -HUP {}", server.pid().as_raw_nonzero())
}

/// The files that logrotate has moved away, the oldest first, and then the current one.
fn moved_and_going_on(server: &Server) -> String {
    let number = |path: &Path| path.extension()?.to_str()?.parse::<u32>().ok();
    let mut moved: Vec<_> = beside(server, "trail.tsv")
        .into_iter()
        .filter_map(|path| Some((number(&path)?, path)))
        .collect();
    moved.sort();
    let old: String = moved
        .iter()
        .rev()
        .map(|(_, path)| std::fs::read_to_string(path).unwrap())
        .collect();
    old + &text(server, "trail.tsv")
}

fn with_a_file() -> Server {
    let mut server = Server::start(Config::new());
    server.stop();
    let path = server.file("trail.tsv");
    server.set_config(Config::new().sink("lines", "file", &format!("path = {path:?}\n")));
    server.start_again();
    server
}

fn wait_for_lines(server: &Server, count: usize) {
    clock::wait_until("this many lines", SOON, || {
        text(server, "trail.tsv").lines().count() >= count
    });
}

fn times_said(server: &Server, words: &str) -> usize {
    server.log().matches(words).count()
}

#[test]
fn logrotate_takes_the_file_away_and_each_line_is_there_once() {
    for mode in ["create 0640", "nocreate"] {
        let mut server = with_a_file();
        let hangup = hangup(&server);
        for round in 1..=3 {
            refuse(&server, 20);
            wait_for_lines(&server, 1);
            logrotate(&server, mode, &hangup);
            clock::wait_until("a new file is begun", SOON, || {
                times_said(&server, "a new one is begun") == round
            });
            // The file that was moved away gets no more lines, and is complete.
            let moved = text(&server, "trail.tsv.1");
            assert!(moved.ends_with('\n'), "{mode}: {moved}");
            refuse(&server, 20);
            wait_for_lines(&server, 20);
            assert_eq!(text(&server, "trail.tsv.1"), moved, "{mode}");
        }
        // The file is moved while no server runs that could get the signal. The next server finds
        // it by itself.
        refuse(&server, 20);
        logrotate(&server, mode, "true");
        refuse(&server, 20);
        server.crash();
        server.start_again();
        refuse(&server, 20);
        server.stop();
        assert_eq!(beside(&server, "trail.tsv").len(), 4 + 2, "{mode}");
        assert_eq!(
            moved_and_going_on(&server),
            exported(&server, "tsv"),
            "{mode}"
        );
    }
}

#[test]
fn a_file_that_logrotate_truncates_is_refused_with_a_message_and_the_server_runs_on() {
    let server = with_a_file();
    refuse(&server, 20);
    // With the first start, its stop and this start: nothing is being sent any more.
    wait_for_lines(&server, 20 + 3);
    logrotate(&server, "copytruncate", &hangup(&server));
    refuse(&server, 5);
    clock::wait_until("it is refused", SOON, || {
        let health = server.get("/health").json();
        health["sinks"][0]["state"] == "blocked"
    });
    let log = server.log();
    assert!(log.contains("copytruncate"), "{log}");
    assert_eq!(server.get("/health").json()["status"], "degraded");
    assert_eq!(text(&server, "trail.tsv"), "", "nothing is written to it");
}

#[test]
fn a_hangup_without_any_file_ends_nothing_and_is_logged() {
    let mut server = Server::start(Config::new());
    server.signal(Signal::HUP);
    clock::wait_until("it is said", SOON, || {
        times_said(&server, "reopening the files of sinks") == 1
    });
    assert_eq!(server.get("/health").status, 200);
    server.stop();
}
