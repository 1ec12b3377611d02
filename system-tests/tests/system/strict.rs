//! A trail that cannot be written: what is strict is refused, it is loud, what runs goes on, and it recovers by itself.

use std::time::Duration;

use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Packets, Process, Server, Signal, Story, clip, clock, resources, tool};

const ENDS: Duration = Duration::from_secs(30);

#[test]
fn with_a_full_disk_a_publish_is_refused_running_media_goes_on_and_all_is_on_record_when_there_is_room_again()
 {
    let mut server = Server::start(Config::new().audit("deadline = \"1s\""));
    let (url, sent, out) = (
        server.rtmp_url("live/running"),
        server.file("sent.flv"),
        server.file("out.flv"),
    );
    let running = tool::ffmpeg_publish(clip::small(), &url, 12, Some(&sent));
    server.await_records("publish_started", 1);

    let full_at = std::fs::metadata(server.trail_file())
        .expect("a trail")
        .len();
    resources::allow_file_bytes(server.pid(), Some(full_at));
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
    let viewer = tool::ffmpeg_play(&url, &out);
    clock::wait_until("a viewer is let in", ENDS, || {
        server
            .sessions()
            .iter()
            .any(|session| session["role"] == "play")
    });
    assert_eq!(
        std::fs::metadata(server.trail_file())
            .expect("a trail")
            .len(),
        full_at
    );

    resources::allow_file_bytes(server.pid(), None);
    clock::wait_until("the server's health is green again", ENDS, || {
        server.get("/health").status == 200
    });
    let again = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/again"), 1, None);
    again.wait(ENDS).success();
    running.wait(ENDS).success();
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
    let running = tool::ffmpeg_publish(clip::small(), &url, 14, Some(&sent));
    server.await_records("publish_started", 1);
    let viewer = tool::ffmpeg_play(&url, &out);
    server.await_records("play_started", 1);

    // Every sync takes 30 s, or until strace goes.
    let mut strace = tool::tool("strace", "strace");
    strace.args(["-f", "-e", "trace=fsync,fdatasync"]);
    strace.args(["-e", "inject=fsync,fdatasync:delay_enter=30000000"]);
    strace.args(["-p", &server.pid().to_string()]);
    let hanging = Process::spawn("strace", &strace);
    clock::wait_until(
        "strace is attached; it must be allowed to (CAP_SYS_PTRACE)",
        ENDS,
        || hanging.said().contains("attached"),
    );
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
    running.wait(ENDS).success();
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
