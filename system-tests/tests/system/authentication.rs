//! Who may publish and play is decided by an authentication service for MediaMTX, which knows
//! nothing of this server.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use system_tests::{Config, Process, Server, Story, clip, clock, free_address, http, tool};

const ENDS: Duration = Duration::from_secs(30);
const PROGRAM: &str = include_str!("../../src/mediamtx-auth.py");

/// The service decides, by users and passwords. While it is down, new attempts are refused and what
/// flows continues.
#[test]
fn a_mediamtx_authentication_service_works_unmodified() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("service.py");
    std::fs::write(&program, PROGRAM).expect("a program");
    let address = free_address();
    let mut python = Command::new("python3");
    python.arg(&program).arg(address.to_string());
    let service = Process::spawn("the authentication service", &python);
    clock::wait_until("the service", ENDS, || TcpStream::connect(address).is_ok());

    let url = format!("http://{address}/auth");
    let mut server = Server::start(Config::new().auth_callback(&url, "cache = \"0s\""));
    let wrong = server.rtmp_url("live/cam?user=studio&pass=letmein-wrong-7001");
    let publisher = tool::ffmpeg_publish(clip::small(), &wrong, 3, None);
    publisher.wait(ENDS).failure();
    let right = server.rtmp_url("live/cam?user=studio&pass=letmein-44-7001");
    let publisher = tool::ffmpeg_publish(clip::small(), &right, 60, None);
    server.await_frames("live/cam", 30);
    let fan = "live/cam?user=fan&pass=iwatch-18-7001";
    let viewer = tool::ffmpeg_play(&server.flv_url(fan), &server.file("out.flv"));
    server.await_records("play_started", 1);
    let status = |path: &str| http::get(server.http(), path).status;
    assert_eq!(status("/live/cam.flv"), 401);

    let asked = service.crash().output();
    for part in [
        r#""action": "publish""#,
        r#""action": "read""#,
        r#""path": "live/cam""#,
        r#""protocol": "rtmp""#,
        r#""protocol": "http-flv""#,
        r#""ip": "127.0.0.1""#,
        r#""query": "user=fan&pass=iwatch-18-7001""#,
    ] {
        assert!(asked.contains(part), "{part}\n{asked}");
    }
    assert_eq!(status("/live/cam.flv?user=fan&pass=iwatch-18-7001"), 503);
    let refused = tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/other"), 3, None);
    refused.wait(ENDS).failure();
    let frames = server.frames("live/cam");
    server.await_frames("live/cam", frames + 30);
    tool::interrupt(publisher);
    viewer.wait(ENDS);

    let denied = |protocol, stream, role: &str, reason| {
        Story::new(protocol, stream).then_because(&format!("{role}_denied"), reason)
    };
    let trail = server.stop();
    trail.assert_sessions(&[
        denied("rtmp", "live/cam", "publish", "unauthorized"),
        Story::new("rtmp", "live/cam")
            .by("studio")
            .published("client_closed"),
        Story::new("http-flv", "live/cam")
            .by("fan")
            .played("stream_ended"),
        denied("http-flv", "live/cam", "play", "unauthorized"),
        denied("http-flv", "live/cam", "play", "auth_unavailable"),
        denied("rtmp", "live/other", "publish", "auth_unavailable"),
    ]);
    trail.assert_tells_nothing_of(&["letmein-44-7001", "iwatch-18-7001", "letmein-wrong-7001"]);
}

/// A viewer's session ends with its token, with the reason on record.
#[test]
fn a_session_ends_when_its_token_expires() {
    let secret = "thirty-two-bytes-of-a-token-key-7";
    let config = Config::new().auth("publish = \"open\"").token_key_with(
        "tokens",
        secret,
        "end_at_expiry = true",
    );
    let mut server = Server::start(config);
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, None);
    server.await_frames("live/cam", 30);
    let mut issue = tool::livetrail(&["token", "issue", "--valid-for", "1s", "--subject", "alice"]);
    issue.env("LIVETRAIL_TOKEN_KEY", secret);
    let token = issue.output().expect("a token").stdout;
    let token = String::from_utf8(token).expect("text");
    let viewer = format!("live/cam?token={}", token.trim());
    let viewer = tool::ffmpeg_play(&server.flv_url(&viewer), &server.file("out.flv"));
    server.await_records("play_ended", 1);
    viewer.wait(ENDS);
    tool::interrupt(publisher);
    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("http-flv", "live/cam")
            .by("alice")
            .played("token_expired"),
    ]);
}
