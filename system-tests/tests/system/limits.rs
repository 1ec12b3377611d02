//! Sessions over a limit end for that reason, and affect nobody else: slow viewers, silent
//! publishers, floods.

use std::net::TcpStream;
use std::time::Duration;

use std::io::Write as _;
use system_tests::rtmp::{RawRtmp, closes_within, flv_messages};
use system_tests::{Config, Packets, Process, Server, Story, clip, clock, http, socket, tool};

const ENDS: Duration = Duration::from_secs(30);

/// What a viewer's side buffers that does not read: little, so that the server's side fills soon.
const NARROW_BYTES: usize = 4 << 10;

#[test]
fn a_viewer_that_stops_reading_is_evicted_and_its_socket_closed_and_another_loses_nothing() {
    let config = Config::new()
        .application("max_lag_frames = 150")
        .application("stall_timeout = \"1s\"");
    let mut server = Server::start(config);
    let (url, sent) = (server.rtmp_url("live/cam"), server.file("sent.flv"));
    let publisher = tool::ffmpeg_publish(clip::heavy(), &url, 12, Some(&sent));
    server.await_records("publish_started", 1);

    let narrow = socket::connect_narrow(server.rtmp(), NARROW_BYTES);
    let mut over_rtmp = RawRtmp::over(narrow).expect("a handshake");
    over_rtmp.open("live").expect("a connection");
    assert_eq!(
        over_rtmp.play("cam").expect("an answer"),
        "NetStream.Play.Start"
    );
    let mut over_http: TcpStream = socket::connect_narrow(server.http(), NARROW_BYTES);
    let get = http::request_bytes(server.http(), "GET", "/live/cam.flv", &[]);
    over_http.write_all(&get).expect("a request is taken");
    let out = server.file("out.flv");
    let reader = tool::ffmpeg_play(&url, &out);

    server.await_records("subscriber_evicted", 2);
    assert!(
        over_rtmp.closes_within(Duration::from_secs(5)),
        "evicted, and not closed"
    );
    assert!(
        closes_within(&mut over_http, Duration::from_secs(5)),
        "evicted, and not closed"
    );
    assert_eq!(
        server.trail().count("publish_ended"),
        0,
        "the stream goes on"
    );
    publisher.wait(ENDS).success();
    reader.wait(ENDS).success();

    tool::assert_decodes(&out);
    Packets::of(&out).assert_continue(&Packets::of(&sent), true);
    let evicted = |protocol| {
        let story = Story::new(protocol, "live/cam").then("play_started");
        story
            .then("subscriber_evicted")
            .then_because("play_ended", "evicted")
    };
    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        evicted("rtmp"),
        evicted("http-flv"),
        Story::new("rtmp", "live/cam").played("stream_ended"),
    ]);
}

#[test]
fn publishers_that_send_nothing_or_nothing_more_are_reaped() {
    let mut server = Server::start(Config::new().limits("idle_timeout = \"2s\""));
    let publish = |name: &str| {
        let mut publisher = RawRtmp::connect(server.rtmp()).expect("a handshake");
        publisher.open("live").expect("a connection");
        assert_eq!(
            publisher.publish(name).expect("an answer"),
            "NetStream.Publish.Start"
        );
        publisher
    };
    let (mut silent, mut fell_silent) = (publish("silent"), publish("fell-silent"));
    for message in flv_messages(clip::small()).iter().take(100) {
        fell_silent.send(1, message).expect("media is taken");
    }
    server.await_frames("live/fell-silent", 90);
    let viewer = tool::ffmpeg_play(&server.flv_url("live/fell-silent"), &server.file("out.flv"));
    server.await_records("play_started", 1);
    for publisher in [&mut silent, &mut fell_silent] {
        let code = publisher
            .status_of("NetStream")
            .expect("the server reports it");
        assert_eq!(code, "NetStream.Publish.Idle");
        assert!(
            publisher.closes_within(Duration::from_secs(5)),
            "reaped, and not closed"
        );
    }
    viewer.wait(ENDS);

    let reaped = |stream| {
        let story = Story::new("rtmp", stream).then("publish_started");
        story
            .then("stream_reaped")
            .then_because("publish_ended", "idle")
    };
    server.stop().assert_sessions(&[
        reaped("live/silent"),
        reaped("live/fell-silent"),
        Story::new("http-flv", "live/fell-silent").played("stream_ended"),
    ]);
}

#[test]
fn a_flood_is_dropped_reported_at_most_once_a_second_and_then_ended() {
    let config = Config::new()
        .ingress("frames_per_second = 100")
        .ingress("burst = \"1s\"")
        .ingress("patience = \"3s\"");
    let mut server = Server::start(config);
    let mut flood = tool::ffmpeg();
    // Without `-re`, ffmpeg sends as fast as it can.
    flood.args(["-stream_loop", "-1", "-i"]).arg(clip::small());
    flood.args([
        "-map",
        "0",
        "-c",
        "copy",
        "-f",
        "flv",
        &server.rtmp_url("live/cam"),
    ]);
    let watch = clock::Stopwatch::start();
    Process::spawn("ffmpeg that floods", &flood)
        .wait(ENDS)
        .failure();
    assert!(
        watch.elapsed() >= Duration::from_secs(3),
        "it was ended before its time"
    );

    let trail = server.stop();
    let story = Story::new("rtmp", "live/cam").then("publish_started");
    trail.assert_sessions(&[story
        .then("rate_limited")
        .then_because("publish_ended", "rate_limited")]);
    let limited: Vec<_> = trail.of("rate_limited").collect();
    assert!(
        (3..=5).contains(&limited.len()),
        "{} in 3 s\n{trail}",
        limited.len()
    );
    for pair in limited.windows(2) {
        let apart = pair[1].mono_ms.unwrap_or(0) - pair[0].mono_ms.unwrap_or(0);
        assert!(apart >= 999, "two within {apart} ms\n{trail}");
    }
    let told: u64 = limited.iter().filter_map(|record| record.count).sum();
    let ended = trail.of("publish_ended").next().expect("one");
    let dropped = ended.dropped_frames.unwrap_or(0);
    assert!(
        told > 0 && told <= dropped,
        "{told} reported, {dropped} dropped\n{trail}"
    );
    // A burst of 100, then 100 per second, for 3 to 4 s; fewer when the flood itself stutters.
    let taken = ended.frames.unwrap_or(0);
    assert!(
        (200..=600).contains(&taken),
        "{taken} frames were taken\n{trail}"
    );
}
