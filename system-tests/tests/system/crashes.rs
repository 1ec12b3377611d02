//! SIGKILL in the middle: of a publisher, of a viewer, of the server.

use std::net::SocketAddr;
use std::time::Duration;

use livetrail_record::Reason;
use system_tests::rtmp::{RawRtmp, amf_null, amf_number};
use system_tests::{Config, Packets, Server, Story, Trail, clip, tool};

const ENDS: Duration = Duration::from_secs(30);

#[test]
fn a_publisher_that_is_killed_is_on_record_and_its_viewers_end_with_all_that_it_sent() {
    let mut server = Server::start(Config::new());
    let (url, out) = (server.rtmp_url("live/cam"), server.file("out.flv"));
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_records("publish_started", 1);
    let viewer = tool::ffmpeg_play(&url, &out);
    server.await_frames("live/cam", 150);
    publisher.crash();
    viewer.wait(ENDS);

    tool::assert_decodes(&out);
    Packets::of(&out).assert_continue(&Packets::of(clip::small()), false);
    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published(&gone(&trail, "publish_ended", "rtmp")),
        Story::new("rtmp", "live/cam").played("stream_ended"),
    ]);
}

#[test]
fn a_viewer_that_is_killed_is_on_record_and_nobody_else_notices() {
    let mut server = Server::start(Config::new());
    let (url, sent) = (server.rtmp_url("live/cam"), server.file("sent.flv"));
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 40, Some(&sent));
    server.await_records("publish_started", 1);
    let killed = [
        tool::ffmpeg_play(&url, &server.file("killed-rtmp.flv")),
        tool::ffmpeg_play(&server.flv_url("live/cam"), &server.file("killed-http.flv")),
    ];
    let out = server.file("out.flv");
    let other = tool::ffmpeg_play(&url, &out);
    server.await_records("play_started", 3);
    server.await_frames("live/cam", 100);
    for viewer in killed {
        viewer.crash();
    }
    server.await_records("play_ended", 2);
    server.await_frames("live/cam", 250);
    tool::interrupt(publisher);
    other.wait(ENDS).success();

    tool::assert_decodes(&out);
    Packets::of(&out).assert_continue(&Packets::of(&sent), true);
    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("rtmp", "live/cam").played(&gone(&trail, "play_ended", "rtmp")),
        Story::new("http-flv", "live/cam").played(&gone(&trail, "play_ended", "http-flv")),
        Story::new("rtmp", "live/cam").played("stream_ended"),
    ]);
}

#[test]
fn a_server_that_is_killed_closes_at_its_next_start_what_it_left_open() {
    let mut server = Server::start(Config::new().key("studio-1", "opensesame-73-1150", "publish"));
    let url = server.rtmp_url("live/cam");
    let with_key = format!("{url}?token=opensesame-73-1150");
    let publisher = tool::ffmpeg_publish(clip::small(), &with_key, 30, None);
    server.await_frames("live/cam", 30);
    let viewers = [
        tool::ffmpeg_play(&url, &server.file("rtmp.flv")),
        tool::ffmpeg_play(&server.flv_url("live/cam"), &server.file("http.flv")),
    ];
    server.await_records("play_started", 2);
    server.crash();
    publisher.wait(ENDS);
    for viewer in viewers {
        viewer.wait(ENDS);
    }

    server.start_again();
    // At the start, not with the next session.
    server.await_records("publish_ended", 1);
    server.await_records("play_ended", 2);
    tool::ffmpeg_publish(clip::small(), &with_key, 1, None)
        .wait(ENDS)
        .success();

    let trail = server.stop();
    let crashed = |protocol| {
        Story::new(protocol, "live/cam")
            .then("play_started")
            .crashed("play_ended")
    };
    let studio = || Story::new("rtmp", "live/cam").by("studio-1");
    trail.assert_sessions(&[
        studio().then("publish_started").crashed("publish_ended"),
        crashed("rtmp"),
        crashed("http-flv"),
        studio().published("client_closed"),
    ]);
    trail.assert_server_records(&["server_started", "server_started", "server_stopped"]);
}

#[test]
fn a_server_that_is_killed_again_and_again_closes_each_session_exactly_once() {
    let mut server = Server::start(Config::new());
    let url = server.rtmp_url("live/cam");
    for boot in 1..=3 {
        let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
        server.await_records("publish_started", boot);
        server.crash();
        publisher.wait(ENDS);
        server.start_again();
    }
    let trail = server.stop();
    let crashed = || {
        Story::new("rtmp", "live/cam")
            .then("publish_started")
            .crashed("publish_ended")
    };
    trail.assert_sessions(&[crashed(), crashed(), crashed()]);
    assert_eq!(trail.count("server_started"), 4);
}

#[test]
fn a_server_that_is_killed_while_sessions_come_and_go_loses_none_that_was_let_in() {
    let mut server = Server::start(Config::new());
    for boot in 1..=3 {
        let rtmp = server.rtmp();
        // More may have been durable at the crash than the test had seen sealed.
        let ended = server.trail().count("publish_ended");
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|client| {
                    scope.spawn(move || come_and_go(rtmp, &format!("cam-{boot}-{client}")))
                })
                .collect();
            server.await_records("publish_ended", ended + 60);
            server.crash();
            for client in clients {
                let let_in = client.join().expect("a client");
                let name = format!("cam-{boot}-");
                assert!(let_in > 0, "{name} was never let in");
            }
        });
        server.start_again();
    }
    // This asserts that every session is closed exactly once, by its own end or by the next boot.
    let trail = server.stop();
    assert_eq!(trail.count("publish_started"), trail.count("publish_ended"));
    assert_eq!(trail.count("server_started"), 4);
}

/// Publishes again and again until the server is gone. Returns how often it was admitted.
fn come_and_go(to: SocketAddr, name: &str) -> usize {
    let mut let_in = 0;
    let mut once = || -> std::io::Result<()> {
        let mut publisher = RawRtmp::connect(to)?;
        publisher.open("live")?;
        assert_eq!(publisher.publish(name)?, "NetStream.Publish.Start");
        let_in += 1;
        publisher.command(0, "deleteStream", &[amf_null(), amf_number(1.0)])?;
        // So that the next one does not come before this one has ended.
        publisher.status_of("NetStream.Unpublish").map(drop)
    };
    while once().is_ok() {}
    let_in
}

#[test]
fn only_the_batch_that_a_crash_tore_is_dropped_and_the_next_boot_reports_it() {
    let mut server = Server::start(Config::new());
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_records("publish_started", 1);
    server.crash();
    publisher.wait(ENDS);
    let before = server.trail().with_names();
    let wal = server.data().join("trail/private/wal");
    let segments = std::fs::read_dir(wal).expect("a write-ahead log");
    let paths = segments.map(|entry| entry.expect("an entry").path());
    let last = paths
        .filter(|path| path.extension().is_some_and(|end| end == "wal"))
        .max()
        .expect("a segment");
    // The remains of an interrupted write: the beginning of a record, after the last one.
    let mut segment = std::fs::read(&last).expect("a segment");
    let end = segment
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("records")
        + 1;
    segment[end..end + 12].copy_from_slice(b"\x40\0\0\0torn off");
    std::fs::write(&last, segment).expect("a segment");

    server.start_again();
    let trail = server.stop();
    assert_eq!(
        &trail.records()[..before.records().len()],
        before.records(),
        "what was whole is kept"
    );
    let crashed = Story::new("rtmp", "live/cam").then("publish_started");
    trail.assert_sessions(&[crashed.crashed("publish_ended")]);
    let output = trail.of("server_started").nth(1);
    let output = output.and_then(|started| started.detail.as_ref());
    let output = output.expect("what recovery found").expose();
    assert!(output.contains("a torn batch was cut off"), "{output}");
}

/// The reason of the end of a killed client's session. Whether the kernel reports a close or a
/// reset depends on what the dead process had not read.
#[track_caller]
fn gone(trail: &Trail, action: &str, protocol: &str) -> String {
    let mut reasons = trail
        .of(action)
        .filter(|ended| ended.protocol.as_deref() == Some(protocol))
        .filter_map(|ended| ended.reason.clone());
    let reason = reasons.find(|reason| *reason != Reason::StreamEnded);
    assert!(
        matches!(reason, Some(Reason::ClientClosed | Reason::NetworkError)),
        "{reason:?}\n{trail}"
    );
    reason.map_or_else(String::new, |reason| reason.label().to_owned())
}
