//! Unauthorised attempts are refused in a way that clients understand, and the refusal is on
//! record; the secret never is.

use std::time::Duration;

use system_tests::rtmp::{RawRtmp, flv_messages};
use system_tests::{Config, Server, Story, clip, http, tool};

const ENDS: Duration = Duration::from_secs(30);

#[test]
fn a_publisher_with_a_wrong_key_and_one_with_none_are_refused_and_the_right_one_is_let_in_under_its_name()
 {
    let mut server = Server::start(Config::new().key("studio-1", "opensesame-91-2041", "publish"));
    for wrong in ["live/cam?token=closesesame-17-2041", "live/cam"] {
        let publisher = tool::ffmpeg_publish(clip::small(), &server.rtmp_url(wrong), 3, None);
        publisher.wait(ENDS).failure();
    }
    server.await_records("publish_denied", 1);
    let right = server.rtmp_url("live/cam?token=opensesame-91-2041");
    tool::ffmpeg_publish(clip::small(), &right, 1, None)
        .wait(ENDS)
        .success();

    let denied = || Story::new("rtmp", "live/cam").then_because("publish_denied", "unauthorized");
    let trail = server.stop();
    trail.assert_sessions(&[
        denied(),
        denied(),
        Story::new("rtmp", "live/cam")
            .by("studio-1")
            .published("client_closed"),
    ]);
    trail.assert_tells_nothing_of(&["opensesame-91-2041", "closesesame-17-2041"]);
}

#[test]
fn a_viewer_is_refused_for_a_wrong_key_a_missing_stream_and_a_missing_application() {
    let mut server = Server::start(Config::new().key("friend", "hunter-2-two-and-three", "play"));
    let publisher = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/cam"), 30, None);
    server.await_records("publish_started", 1);

    let out = server.file("out.flv");
    for stream in [
        "live/cam?token=wrong-3",
        "live/none?token=hunter-2-two-and-three",
    ] {
        for url in [server.rtmp_url(stream), server.flv_url(stream)] {
            tool::ffmpeg_play(&url, &out).wait(ENDS).failure();
        }
    }
    let status = |path: &str| http::get(server.http(), path).status;
    assert_eq!(status("/live/cam.flv"), 401);
    assert_eq!(status("/live/cam.flv?token=wrong-3"), 403);
    assert_eq!(status("/live/none.flv?token=hunter-2-two-and-three"), 404);
    assert_eq!(status("/vod/cam.flv?token=hunter-2-two-and-three"), 404);
    let mut raw = RawRtmp::connect(server.rtmp()).expect("a handshake");
    raw.open("live").expect("a connection");
    let code = raw.play("cam?token=wrong-3").expect("an answer");
    assert_eq!(code, "NetStream.Play.Failed");
    assert!(
        raw.closes_within(Duration::from_secs(5)),
        "refused, and not closed"
    );
    // The first of each kind: the others are counted.
    server.await_records("play_denied", 3);
    drop(publisher);
    server.await_records("publish_ended", 1);

    let denied =
        |protocol, stream, reason| Story::new(protocol, stream).then_because("play_denied", reason);
    let friend = |protocol, stream, reason| denied(protocol, stream, reason).by("friend");
    let trail = server.stop();
    let publisher = trail
        .of("publish_ended")
        .next()
        .and_then(|ended| ended.reason.clone());
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published(publisher.expect("a reason").label()),
        denied("rtmp", "live/cam", "unauthorized"),
        // One record for these, over both protocols.
        denied("no protocol", "live/cam", "unauthorized"),
        denied("no protocol", "live/cam", "unauthorized"),
        denied("no protocol", "live/cam", "unauthorized"),
        denied("no protocol", "live/cam", "unauthorized"),
        friend("rtmp", "live/none", "stream_not_found"),
        friend("http-flv", "live/none", "stream_not_found"),
        friend("http-flv", "live/none", "stream_not_found"),
        denied("http-flv", "vod/cam", "app_not_found"),
    ]);
    trail.assert_tells_nothing_of(&["hunter-2-two-and-three", "wrong-3"]);
}

#[test]
fn beyond_the_limits_on_publishers_and_viewers_the_next_is_refused_and_a_free_slot_is_used() {
    let limits = Config::new()
        .limits("max_publishers = 1")
        .limits("max_subscribers_per_stream = 1");
    let mut server = Server::start(limits);
    let url = server.rtmp_url("live/one");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_records("publish_started", 1);
    let other = server.rtmp_url("live/other");
    tool::ffmpeg_publish(clip::small(), &other, 3, None)
        .wait(ENDS)
        .failure();

    let viewer = tool::ffmpeg_play(&url, &server.file("out.flv"));
    server.await_records("play_started", 1);
    let answer = server.get("/live/one.flv");
    assert_eq!(answer.status, 429);
    assert!(
        answer
            .header
            .iter()
            .any(|line| line.starts_with("retry-after:")),
        "{answer:?}"
    );
    drop(viewer);
    server.await_records("play_ended", 1);
    drop(publisher);
    server.await_records("publish_ended", 1);
    tool::ffmpeg_publish(clip::small(), &other, 1, None)
        .wait(ENDS)
        .success();

    let trail = server.stop();
    let reason = |action| {
        let ended = trail
            .of(action)
            .next()
            .and_then(|ended| ended.reason.clone());
        ended.map_or_else(String::new, |reason| reason.label().to_owned())
    };
    trail.assert_sessions(&[
        Story::new("rtmp", "live/one").published(&reason("publish_ended")),
        Story::new("rtmp", "live/one").played(&reason("play_ended")),
        Story::new("rtmp", "live/other").then_because("publish_denied", "limit_reached"),
        Story::new("http-flv", "live/one").then_because("play_denied", "limit_reached"),
        Story::new("rtmp", "live/other").published("client_closed"),
    ]);
}

#[test]
fn a_second_publisher_is_refused_with_bad_name_and_the_first_goes_on() {
    let mut server = Server::start(Config::new());
    let url = server.rtmp_url("live/cam");
    let first = tool::ffmpeg_publish(clip::small(), &url, 40, None);
    server.await_records("publish_started", 1);

    let mut raw = RawRtmp::connect(server.rtmp()).expect("a handshake");
    raw.open("live").expect("a connection");
    let code = raw.publish("cam").expect("an answer");
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(
        raw.closes_within(Duration::from_secs(5)),
        "refused, and not closed"
    );
    tool::ffmpeg_publish(clip::small(), &url, 3, None)
        .wait(ENDS)
        .failure();
    tool::interrupt(first);

    let denied =
        || Story::new("rtmp", "live/cam").then_because("publish_denied", "already_publishing");
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        denied(),
        denied(),
    ]);
}

#[test]
fn where_the_policy_is_to_replace_the_first_publisher_ends_and_its_viewers_with_it() {
    let config = Config::new().application("duplicate_publisher = \"replace\"");
    let mut server = Server::start(config);
    let mut first = RawRtmp::connect(server.rtmp()).expect("a handshake");
    first.open("live").expect("a connection");
    assert_eq!(
        first.publish("cam").expect("an answer"),
        "NetStream.Publish.Start"
    );
    for message in flv_messages(clip::small()).iter().take(100) {
        first.send(1, message).expect("media is taken");
    }
    server.await_frames("live/cam", 90);
    let viewer = tool::ffmpeg_play(&server.flv_url("live/cam"), &server.file("out.flv"));
    server.await_records("play_started", 1);

    let second = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/cam"), 2, None);
    assert_eq!(
        first
            .status_of("NetStream")
            .expect("the first gets an answer"),
        "NetStream.Publish.BadName"
    );
    assert!(
        first.closes_within(Duration::from_secs(5)),
        "replaced, and not closed"
    );
    second.wait(ENDS).success();
    viewer.wait(ENDS);

    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("replaced"),
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
    ]);
}
