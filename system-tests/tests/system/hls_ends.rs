//! Ends of many sessions of HLS: the server is killed, or all viewers leave at once. Each session
//! is closed once.

use std::time::Duration;

use livetrail_record::Value;
use system_tests::{Config, Server, Story, clip, clock, tool};

const VIEWERS: usize = 20;

/// Viewers who leave at once.
const CROWD: usize = 500;

/// After this time without a request a session ends. It is the least that is allowed.
const IDLE_MS: i64 = 12_000;

/// How much later than that it may end on a machine that is also busy.
const LATE_MS: i64 = 5_000;

#[test]
fn viewers_of_hls_are_closed_once_after_the_server_was_killed() {
    let mut server = Server::start(Config::new().lines("[hls]\nsegment = \"1s\""));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 120, None);
    server.await_frames("live/cam", 75);
    for _ in 0..VIEWERS {
        join(&server);
    }
    server.await_records("play_started", VIEWERS);
    server.crash();
    publisher.crash();

    server.start_again();
    let mut stories = vec![
        Story::new("hls", "live/cam")
            .then("play_started")
            .crashed("play_ended");
        VIEWERS
    ];
    stories.push(
        Story::new("rtmp", "live/cam")
            .then("publish_started")
            .crashed("publish_ended"),
    );
    server.stop().assert_sessions(&stories);
}

#[test]
fn a_crowd_that_leaves_at_once_ends_when_each_viewer_was_idle_for_long_enough() {
    let settings = format!("[hls]\nsegment = \"1s\"\nidle_timeout = \"{IDLE_MS}ms\"");
    let mut server = Server::start(Config::new().lines(&settings));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 120, None);
    server.await_frames("live/cam", 75);
    for _ in 0..CROWD {
        join(&server);
    }
    clock::wait_until("the end of all", Duration::from_secs(60), || {
        server.trail().count("play_ended") == CROWD
    });
    tool::interrupt(publisher);
    let trail = server.stop();
    for ended in trail.of("play_ended") {
        let Some(Value::Integer(last_seen_ms)) = ended.extra.get("last_seen_ms") else {
            panic!("when was it seen? {ended:?}");
        };
        let idle_ms = ended.ts_ms as i64 - last_seen_ms;
        // A lease counts whole milliseconds, and both times are cut to them.
        let expected = IDLE_MS - 1..=IDLE_MS + LATE_MS;
        assert!(expected.contains(&idle_ms), "{idle_ms} ms: {ended:?}");
    }
    let mut stories = vec![Story::new("hls", "live/cam").played("idle"); CROWD];
    stories.push(Story::new("rtmp", "live/cam").published("client_closed"));
    trail.assert_sessions(&stories);
}

/// A viewer of its own, which loads its media playlist.
#[track_caller]
fn join(server: &Server) {
    let entry = server.get("/live/cam/index.m3u8");
    assert_eq!(entry.status, 200, "{}", entry.text());
    let text = entry.text();
    let name = text.lines().find(|line| line.starts_with("s/"));
    let playlist = format!("/live/cam/{}", name.expect("a playlist for the viewer"));
    let answer = server.get(&playlist);
    assert_eq!(answer.status, 200, "{}", answer.text());
}
