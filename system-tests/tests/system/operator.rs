//! An operator kicks sessions, stops and reloads the server. The record of each names the operator.

use std::io::Write as _;
use std::time::Duration;

use livetrail_record::Value;
use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Server, Signal, Story, clip, clock, http, socket, tool};

const ENDS: Duration = Duration::from_secs(30);

#[test]
fn an_operator_kicks_a_viewer_and_a_publisher_by_session() {
    let config = Config::new().operator("night-shift", "letmekick-55-6120");
    let mut server = Server::start(config);
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_records("publish_started", 1);
    let viewer = tool::ffmpeg_play(&server.flv_url("live/cam"), &server.file("out.flv"));
    let trail = server.await_records("play_started", 1);
    let session = |action: &str| {
        let started = trail.of(action).next().and_then(|started| started.session);
        started.expect("a session").to_string()
    };
    let delete = |session: &str, header: &str| {
        let path = format!("/api/v1/sessions/{session}");
        let answer = http::request(server.http(), "DELETE", &path, &[header]);
        answer.expect("an answer").status
    };
    let allowed = "authorization: Bearer letmekick-55-6120";

    let (watching, sending) = (session("play_started"), session("publish_started"));
    assert_eq!(
        delete(&watching, "authorization: Bearer wrong-77-6120-888"),
        401
    );
    assert!((200..300).contains(&delete(&watching, allowed)));
    viewer.wait(ENDS);
    assert!((200..300).contains(&delete(&sending, allowed)));
    publisher.wait(ENDS).failure();
    assert_eq!(delete(&sending, allowed), 404);
    assert!((400..=404).contains(&delete("no-session-at-all", allowed)));

    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("kicked"),
        Story::new("http-flv", "live/cam").played("kicked"),
    ]);
    trail.assert_server_records(&[
        "server_started",
        "admin_denied",
        "admin_session_kicked",
        "admin_session_kicked",
        "server_stopped",
    ]);
    for (kicked, session) in trail.of("admin_session_kicked").zip([watching, sending]) {
        assert_eq!(kicked.by.as_deref(), Some("night-shift"), "\n{trail}");
        assert!(
            kicked.peer.is_some(),
            "the opening has the address\n{trail}"
        );
        let whom = kicked.session.map(|session| session.to_string());
        assert_eq!(whom, Some(session), "\n{trail}");
    }
    trail.assert_tells_nothing_of(&["letmekick-55-6120", "wrong-77-6120-888"]);
}

#[test]
fn sigterm_and_sigint_end_every_session_and_then_the_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(Config::new());
        let url = server.rtmp_url("live/cam");
        let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
        server.await_frames("live/cam", 30);
        let viewers = [
            tool::ffmpeg_play(&url, &server.file("rtmp.flv")),
            tool::ffmpeg_play(&server.flv_url("live/cam"), &server.file("http.flv")),
        ];
        server.await_records("play_started", 2);
        let trail = server.stop_by(signal);
        publisher.wait(ENDS);
        for viewer in viewers {
            viewer.wait(ENDS);
        }
        trail.assert_sessions(&[
            Story::new("rtmp", "live/cam").published("server_shutdown"),
            Story::new("rtmp", "live/cam").played("server_shutdown"),
            Story::new("http-flv", "live/cam").played("server_shutdown"),
        ]);
        trail.assert_server_records(&["server_started", "server_stopped"]);
        let last = trail.records().last().map(|record| record.action.label());
        assert_eq!(last, Some("server_stopped"));
    }
}

#[test]
fn a_viewer_that_does_not_read_does_not_keep_the_server_from_stopping() {
    let mut server = Server::start(Config::new());
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::heavy(), &url, 12, None);
    server.await_frames("live/cam", 30);
    let mut over_rtmp =
        RawRtmp::over(socket::connect_narrow(server.rtmp(), 4 << 10)).expect("a handshake");
    over_rtmp.open("live").expect("a connection");
    assert_eq!(
        over_rtmp.play("cam").expect("an answer"),
        "NetStream.Play.Start"
    );
    let mut over_http = socket::connect_narrow(server.http(), 4 << 10);
    let get = http::request_bytes(server.http(), "GET", "/live/cam.flv", &[]);
    over_http.write_all(&get).expect("a request is taken");
    server.await_records("play_started", 2);
    let behind = |session: &serde_json::Value| session["lag_frames"].as_u64().unwrap_or(0) > 50;
    clock::wait_until("both viewers are behind", ENDS, || {
        server
            .sessions()
            .iter()
            .filter(|session| behind(session))
            .count()
            == 2
    });

    let trail = server.stop();
    publisher.wait(ENDS);
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("server_shutdown"),
        Story::new("rtmp", "live/cam").played("server_shutdown"),
        Story::new("http-flv", "live/cam").played("server_shutdown"),
    ]);
}

#[test]
fn sighup_takes_new_keys_and_limits_and_ends_the_sessions_of_keys_that_are_gone() {
    let mut server = Server::start(Config::new().key("old", "old-secret-1-9021", "publish"));
    let with = |stream: &str| server.rtmp_url(stream);
    let (old, new) = (
        with("live/a?token=old-secret-1-9021"),
        with("live/b?token=new-secret-2-9022"),
    );
    let running = tool::ffmpeg_publish(clip::small(), &old, 30, None);
    server.await_records("publish_started", 1);
    tool::ffmpeg_publish(clip::small(), &new, 2, None)
        .wait(ENDS)
        .failure();

    let changed = Config::new().key("new", "new-secret-2-9022", "publish");
    server.set_config(changed.limits("max_publishers = 2"));
    server.signal(Signal::HUP);
    server.await_records("admin_config_changed", 1);
    running.wait(ENDS);
    tool::ffmpeg_publish(clip::small(), &with_b(&server), 1, None)
        .wait(ENDS)
        .success();
    let refused = server.rtmp_url("live/c?token=old-secret-1-9021");
    tool::ffmpeg_publish(clip::small(), &refused, 2, None)
        .wait(ENDS)
        .failure();
    // A wrong configuration is not taken, and the earlier one stays.
    server.set_config(Config::new().limits("idle_timeout = \"sometimes\""));
    server.signal(Signal::HUP);
    clock::wait_until("the log tells of the wrong setting", ENDS, || {
        server.log().contains("idle_timeout")
    });
    tool::ffmpeg_publish(clip::small(), &with_b(&server), 1, None)
        .wait(ENDS)
        .success();

    let trail = server.stop();
    let denied = |stream| Story::new("rtmp", stream).then_because("publish_denied", "unauthorized");
    let new = || {
        Story::new("rtmp", "live/b")
            .by("new")
            .published("client_closed")
    };
    trail.assert_sessions(&[
        Story::new("rtmp", "live/a")
            .by("old")
            .published("credentials_revoked"),
        denied("live/b"),
        new(),
        denied("live/c"),
        new(),
    ]);
    trail.assert_server_records(&[
        "server_started",
        "admin_config_changed",
        "admin_credentials_changed",
        "admin_config_changed",
        "server_stopped",
    ]);
    let changed = trail.of("admin_credentials_changed").next();
    let names = |field: &str| changed.and_then(|record| record.extra.get(field)).cloned();
    let one = |name: &str| Some(Value::List(vec![Value::Text(name.to_owned())]));
    assert_eq!(names("keys_added"), one("new"), "\n{trail}");
    assert_eq!(names("keys_removed"), one("old"), "\n{trail}");
    let details = trail.of("admin_config_changed").map(|record| {
        let detail = record
            .detail
            .as_ref()
            .map(|detail| detail.expose().to_owned());
        detail.unwrap_or_default()
    });
    let [taken, refused] = details.collect::<Vec<_>>().try_into().expect("two of them");
    assert_eq!(
        taken,
        "changed: limits, auth; keys added: new; keys removed: old; sessions ended: 1; \
         limits.max_publishers: 1000 -> 2"
    );
    assert!(
        refused.starts_with("refused: ") && refused.ends_with("limits.idle_timeout"),
        "{refused}"
    );
    trail.assert_tells_nothing_of(&["old-secret-1-9021", "new-secret-2-9022"]);
}

fn with_b(server: &Server) -> String {
    server.rtmp_url("live/b?token=new-secret-2-9022")
}
