//! A disk that fails for good under a running server: media continues, and the next start records
//! what is missing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use livetrail_record::{AuditRecord, Value};
use livetrail_verify::{Class, Options, Policy, Report, Verdict, keys_in, verify};
use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Packets, Server, SmallDisk, Trail, clip, clock, run, tool};

/// Segments, reserve and tiles of the tests' configuration, with room to spare.
const MIB: u64 = 96;

const SOON: Duration = Duration::from_secs(30);

/// What is lost can be counted from outside.
fn without_heartbeats() -> Config {
    Config::new()
        .audit("deadline = \"1s\"")
        .audit("heartbeat = \"1h\"")
}

/// A server whose trail is on a disk of its own. The note of missing records is on another one.
fn with_its_trail_on(disk: &SmallDisk) -> Server {
    let mut server = Server::start(without_heartbeats());
    server.stop();
    let (here, there) = (server.data().join("trail"), disk.path().join("trail"));
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&here).arg(&there);
    run("cp", &copy, SOON).success();
    disk.sync();
    std::fs::remove_dir_all(&here).expect("the trail's directory");
    std::os::unix::fs::symlink(&there, &here).expect("a link to the disk");
    server.start_again();
    server
}

/// The lines of the note that the next start will read.
fn note(data: &Path) -> String {
    let bytes = std::fs::read(data.join("trail.loss")).expect("the note");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All notes that are kept in memory: other tests may have some, with other counts.
fn in_memory() -> String {
    let files = std::fs::read_dir("/dev/shm").expect("a file system in memory");
    let notes = files.flatten().filter(|file| {
        let name = file.file_name();
        name.to_string_lossy().starts_with("livetrail-loss-")
    });
    let texts = notes.filter_map(|file| std::fs::read(file.path()).ok());
    texts
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect()
}

/// Breaks the disk, and lets two attempts happen that the log does not take.
fn break_under(server: &Server, disk: &SmallDisk) {
    disk.break_down();
    let refused = || {
        let mut refused = RawRtmp::connect(server.rtmp()).expect("a handshake");
        refused.open("live").expect("a connection");
        refused.publish("refused").expect("an answer")
    };
    assert_eq!(refused(), "NetStream.Publish.Rejected");
    clock::wait_until("the server says that its log stopped", SOON, || {
        let health = server.get("/health");
        health.status == 503 && health.json()["trouble"] == "log_stopped"
    });
    assert!(server.log().contains("ERROR"), "it is not loud");
    assert_eq!(refused(), "NetStream.Publish.Rejected", "strict is strict");
}

#[track_caller]
fn only<'a>(mut records: impl Iterator<Item = &'a AuditRecord>) -> &'a AuditRecord {
    let first = records.next().expect("a record");
    assert_eq!(records.next(), None, "one record");
    first
}

/// The loss on record has these counts of each action.
#[track_caller]
fn assert_loss(trail: &Trail, counts: &str, total: u64) {
    let loss = only(trail.of("records_dropped"));
    assert_eq!(loss.count, Some(total), "{trail}");
    let detail = loss.detail.as_ref().expect("counts").expose();
    assert_eq!(detail, counts, "{trail}");
    let Some(Value::Text(why)) = loss.extra.get("log_stopped_why") else {
        panic!("it does not say why: {trail}");
    };
    // EROFS, or EIO of a call that was under way.
    assert!(why.contains("os error"), "{why}");
}

#[track_caller]
fn verified(data: &Path) -> Report {
    let keys = std::fs::read_to_string(data.join("trail.vkey")).expect("the verifier keys");
    let mut policy = Policy::default();
    for key in keys_in(&keys).expect("verifier keys") {
        policy.add(key).expect("a key of a log");
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    let directory = livetrail_verify::Directory::new(data.join("trail"));
    let report = verify(&directory, &options, &mut |_, _| {}).expect("a trail to verify");
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    report
}

/// All of the data is on the disk that fails, so that it takes no note.
#[test]
#[allow(clippy::print_stderr, reason = "it says aloud what it has not shown")]
fn a_disk_that_fails_stops_the_log_not_the_media_and_after_a_kill_the_loss_is_on_record() {
    let Some(disk) = SmallDisk::new(MIB) else {
        eprintln!("NOT SHOWN: a disk that fails; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    let mut server = Server::start_in(without_heartbeats(), &disk.path());
    // The configuration, which nobody else syncs.
    disk.sync();
    let files = tempfile::tempdir().expect("a folder on a disk that works");
    let (url, sent, out) = (
        server.rtmp_url("live/running"),
        files.path().join("sent.flv"),
        files.path().join("out.flv"),
    );
    let running = tool::ffmpeg_publish(clip::small(), &url, 40, Some(&sent));
    server.await_records("publish_started", 1);
    break_under(&server, &disk);

    // Best effort continues: a viewer is admitted, and has every frame until the publisher ends.
    let viewer = tool::ffmpeg_play(&url, &out);
    clock::wait_until("a viewer is let in", SOON, || {
        server
            .sessions()
            .iter()
            .any(|session| session["role"] == "play")
    });
    tool::interrupt(running);
    viewer.wait(SOON).success();
    Packets::of(&out).assert_continue(&Packets::of(&sent), true);

    // Two attempts that were refused have both records; then the viewer and the publisher.
    let counts = "play_ended:1,play_started:1,publish_ended:3,publish_started:2";
    clock::wait_until("the note in memory has them", SOON, || {
        in_memory().contains(&format!("counts {counts}\n"))
    });
    server.crash();
    disk.repair();
    assert!(note(&server.data()).contains("state running\n"));
    server.start_again();
    let trail = server.stop_after_losses();
    assert_loss(&trail, counts, 7);
    let unknown = only(trail.of("log_stopped"));
    let words = unknown.detail.as_ref().expect("words").expose();
    assert!(words.contains("more records may be missing"), "{words}");

    let report = verified(&server.data());
    assert_eq!(
        (report.sessions.dropped, report.remarks),
        (7, 1),
        "{report}"
    );
    let remark = report.findings.first().expect("a remark");
    let record = trail.records().iter().position(|record| record == unknown);
    assert_eq!(remark.class, Class::Sessions, "{report}");
    assert_eq!(remark.index, record.map(|at| at as u64), "{report}");
}

#[test]
#[allow(clippy::print_stderr, reason = "it says aloud what it has not shown")]
fn a_server_that_ends_in_order_after_its_disk_failed_leaves_the_exact_loss_and_nothing_unknown() {
    let Some(disk) = SmallDisk::new(MIB) else {
        eprintln!("NOT SHOWN: a disk that fails; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    let mut server = with_its_trail_on(&disk);
    break_under(&server, &disk);
    let status = server.stop_within(SOON);
    assert_eq!(status.code(), Some(1), "what is not recorded is no success");
    assert!(note(&server.data()).contains("state final\n"));
    disk.repair();
    server.start_again();
    let trail = server.stop_after_losses();
    let counts = "publish_ended:2,publish_started:2,server_stopped:1";
    assert_loss(&trail, counts, 5);
    assert_eq!(trail.count("log_stopped"), 0, "{trail}");
    let report = verified(&server.data());
    assert_eq!((report.sessions.dropped, report.remarks), (5, 0));
}
