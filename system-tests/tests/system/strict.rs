//! A trail that cannot be written: strict sessions are refused, it is reported loudly, running
//! sessions continue, and it recovers by itself.

use std::time::Duration;

use livetrail_record::Value;
use system_tests::rtmp::RawRtmp;
use system_tests::{
    Config, Packets, Server, Signal, Story, Trail, clip, clock, http, resources, tool,
};

const ENDS: Duration = Duration::from_secs(30);

#[test]
fn with_a_full_disk_a_publish_is_refused_running_media_goes_on_and_all_is_on_record_with_free_space()
 {
    let mut server = Server::start(Config::new().audit("deadline = \"1s\""));
    let (url, sent, out) = (
        server.rtmp_url("live/running"),
        server.file("sent.flv"),
        server.file("out.flv"),
    );
    let running = tool::ffmpeg_publish(clip::small(), &url, 40, Some(&sent));
    server.await_records("publish_started", 1);

    let full = resources::no_space(server.pid());
    // Strict is the default for a publisher, best effort for a viewer.
    let watch = clock::Stopwatch::start();
    let mut refused = RawRtmp::connect(server.rtmp()).expect("a handshake");
    refused.open("live").expect("a connection");
    assert_eq!(
        refused.publish("refused").expect("an answer"),
        "NetStream.Publish.Rejected"
    );
    assert!(
        watch.elapsed() < Duration::from_secs(5),
        "refused late: {:?}",
        watch.elapsed()
    );
    clock::wait_until("the server's health is red", Duration::from_secs(5), || {
        server.get("/health").status == 503
    });
    assert!(
        server.log().to_lowercase().contains("error"),
        "it is not loud"
    );
    assert_eq!(server.get("/health").json()["trouble"], "disk_full");
    let viewer = tool::ffmpeg_play(&url, &out);
    clock::wait_until("a viewer is let in", ENDS, || {
        server
            .sessions()
            .iter()
            .any(|session| session["role"] == "play")
    });
    assert_eq!(server.trail().count("play_started"), 0, "it has no room");

    full.end_by(Signal::INT, ENDS);
    clock::wait_until("the server's health is green again", ENDS, || {
        server.get("/health").status == 200
    });
    let again = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/again"), 1, None);
    again.wait(ENDS).success();
    tool::interrupt(running);
    viewer.wait(ENDS).success();

    tool::assert_decodes(&out);
    Packets::of(&out).assert_continue(&Packets::of(&sent), true);
    let refused = Story::new("rtmp", "live/refused").then("publish_started");
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/running").published("client_closed"),
        refused.then_because("publish_ended", "audit_unavailable"),
        Story::new("rtmp", "live/running").played("stream_ended"),
        Story::new("rtmp", "live/again").published("client_closed"),
    ]);
}

#[test]
fn with_a_disk_that_hangs_a_publish_is_refused_after_the_deadline_and_running_media_goes_on() {
    let mut server = Server::start(Config::new().audit("deadline = \"1s\""));
    let (url, sent, out) = (
        server.rtmp_url("live/running"),
        server.file("sent.flv"),
        server.file("out.flv"),
    );
    let running = tool::ffmpeg_publish(clip::small(), &url, 40, Some(&sent));
    server.await_records("publish_started", 1);
    let viewer = tool::ffmpeg_play(&url, &out);
    server.await_records("play_started", 1);

    let hanging = resources::hanging_syncs(server.pid());
    let watch = clock::Stopwatch::start();
    let mut refused = RawRtmp::connect(server.rtmp()).expect("a handshake");
    refused.open("live").expect("a connection");
    assert_eq!(
        refused.publish("refused").expect("an answer"),
        "NetStream.Publish.Rejected"
    );
    let waited = watch.elapsed();
    assert!(
        waited >= Duration::from_millis(900) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
    clock::wait_until("the server's health is red", Duration::from_secs(5), || {
        server.get("/health").status == 503
    });
    hanging.end_by(Signal::INT, ENDS);

    clock::wait_until("the server's health is green again", ENDS, || {
        server.get("/health").status == 200
    });
    let again = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/again"), 1, None);
    again.wait(ENDS).success();
    tool::interrupt(running);
    viewer.wait(ENDS).success();

    Packets::of(&out).assert_continue(&Packets::of(&sent), true);
    let refused = Story::new("rtmp", "live/refused").then("publish_started");
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/running").published("client_closed"),
        Story::new("rtmp", "live/running").played("stream_ended"),
        refused.then_because("publish_ended", "audit_unavailable"),
        Story::new("rtmp", "live/again").published("client_closed"),
    ]);
}

#[test]
fn where_viewers_are_strict_too_they_are_refused_with_503_while_the_disk_is_full() {
    let config = Config::new()
        .audit("play = \"strict\"")
        .audit("deadline = \"1s\"");
    let mut server = Server::start(config.lines("[hls]\nsegment = \"1s\""));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_frames("live/cam", 75);
    // The entry of HLS is no session. The playlist behind it opens one.
    let entry = server.get("/live/cam/index.m3u8").text();
    let playlist = entry.lines().find(|line| line.starts_with("s/"));
    let playlist = format!("/live/cam/{}", playlist.expect("a playlist for the viewer"));
    let full = resources::no_space(server.pid());
    assert_eq!(server.get("/live/cam.flv").status, 503);
    assert_eq!(server.get(&playlist).status, 503);
    let mut refused = RawRtmp::connect(server.rtmp()).expect("a handshake");
    refused.open("live").expect("a connection");
    assert_eq!(
        refused.play("cam").expect("an answer"),
        "NetStream.Play.Failed"
    );
    full.end_by(Signal::INT, ENDS);
    server.await_records("play_ended", 3);

    let trail = server.stop();
    publisher.wait(ENDS);
    let refused = |protocol| {
        let story = Story::new(protocol, "live/cam").then("play_started");
        story.then_because("play_ended", "audit_unavailable")
    };
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("server_shutdown"),
        refused("http-flv"),
        refused("hls"),
        refused("rtmp"),
    ]);
}

#[test]
fn a_server_that_cannot_write_its_last_records_stops_all_the_same_and_its_next_start_writes_them() {
    let mut server = Server::start(Config::new());
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_records("publish_started", 1);
    let full = resources::no_space(server.pid());
    let status = server.stop_within(Duration::from_secs(25));
    assert_eq!(
        status.code(),
        Some(1),
        "what could not be recorded is no success"
    );
    publisher.wait(ENDS);
    full.wait(ENDS);

    server.start_again();
    let crashed = Story::new("rtmp", "live/cam").then("publish_started");
    server
        .stop()
        .assert_sessions(&[crashed.crashed("publish_ended")]);
}

#[test]
fn attempts_that_a_full_disk_and_a_full_lane_have_no_record_for_are_counted_on_record() {
    // More than the lane of refusals holds.
    const ATTEMPTS: u64 = 2_000;
    let mut server = Server::start(Config::new().audit("capacity = 16"));
    let full = resources::no_space(server.pid());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ATTEMPTS / 4 {
                    let answer = http::request(server.http(), "GET", "/live/none.flv", &[]);
                    assert_eq!(answer.expect("an answer").status, 404);
                }
            });
        }
    });
    clock::wait_until("the server's health is red", Duration::from_secs(5), || {
        server.get("/health").status == 503
    });
    full.end_by(Signal::INT, ENDS);
    let trail = server.stop_after_losses();
    let (counted, lost) = counted_and_lost(&trail);
    assert_eq!(counted + lost, ATTEMPTS, "each attempt is counted once");
}

/// Refused attempts that the trail counts, and those that its reports of losses count.
fn counted_and_lost(trail: &Trail) -> (u64, u64) {
    let lost = trail.of("records_dropped").filter_map(|record| {
        match record.extra.get("refused_attempts") {
            Some(Value::Integer(attempts)) => u64::try_from(*attempts).ok(),
            _ => None,
        }
    });
    (trail.refused("play_denied"), lost.sum())
}
