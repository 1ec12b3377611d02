//! A server on a real small disk that is full.

use std::time::Duration;

use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Server, SmallDisk, clip, clock, tool};

/// Segments, reserve and tiles of the tests' configuration, with room to spare.
const MIB: u64 = 96;

const SOON: Duration = Duration::from_secs(30);

/// Records that may wait: fewer than are offered while there is no room.
const CAPACITY: usize = 64;

#[test]
#[allow(clippy::print_stderr, reason = "it says aloud what it has not shown")]
fn on_a_full_disk_strict_is_refused_best_effort_is_counted_and_with_free_space_the_same_log_continues()
 {
    let Some(disk) = SmallDisk::new(MIB) else {
        eprintln!("NOT SHOWN: a server on a full disk; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    let config = Config::new()
        .audit("deadline = \"1s\"")
        .audit(&format!("capacity = {CAPACITY}"));
    let mut server = Server::start_in(config, &disk.path());
    let url = server.rtmp_url("live/running");
    let running = tool::ffmpeg_publish(clip::small(), &url, 60, None);
    server.await_records("publish_started", 1);

    disk.fill();
    // Free space is checked when there is something to write, and at most once a second.
    let failing = || {
        assert_eq!(server.get("/live/nothing.flv").status, 404);
        let health = server.get("/health");
        health.status == 503 && health.json()["trouble"] == "disk_full"
    };
    clock::wait_until("its health is red", SOON, failing);
    let mut refused = RawRtmp::connect(server.rtmp()).expect("a handshake");
    refused.open("live").expect("a connection");
    let answer = refused.publish("refused").expect("an answer");
    assert_eq!(answer, "NetStream.Publish.Rejected");
    // Refusals are the first that the disk does not take; that they are lost is counted.
    let lost = || {
        assert_eq!(server.get("/live/nothing.flv").status, 404);
        server.get("/health").json()["dropped"].as_u64() > Some(0)
    };
    clock::wait_until("a record of refusals is lost", SOON, lost);

    disk.free();
    clock::wait_until("its health is green again", SOON, || {
        server.get("/health").status == 200
    });
    let again = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/again"), 1, None);
    again.wait(SOON).success();
    tool::interrupt(running);
    let trail = server.stop_after_losses();
    assert!(trail.count("records_dropped") > 0);
    assert_eq!(trail.count("publish_ended"), trail.count("publish_started"));
}
