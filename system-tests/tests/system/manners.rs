//! Real clients: addresses with instances, keys that clients truncate, denied networks, and an
//! operator who investigates.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Process, Server, Story, clip, clock, http, tool};

const ENDS: Duration = Duration::from_secs(30);

#[test]
fn each_instance_has_its_own_stream_and_its_own_viewers() {
    let mut server = Server::start(Config::new());
    let (a, b) = ("live/tenantA/cam", "live/tenantB/cam");
    let publishers = [a, b].map(|stream| {
        let url = server.rtmp_url(stream);
        tool::ffmpeg_publish(clip::small(), &url, 20, None)
    });
    server.await_records("publish_started", 2);
    server.await_frames(a, 50);
    let out = server.file("out.flv");
    let over_http = tool::ffmpeg_play(&server.flv_url(a), &out);
    let over_rtmp = tool::ffmpeg_play(&server.rtmp_url(b), &server.file("out2.flv"));
    server.await_records("play_started", 2);
    assert_eq!(http::get(server.http(), "/live/cam.flv").status, 404);
    for publisher in publishers {
        tool::interrupt(publisher);
    }
    over_http.wait(ENDS);
    over_rtmp.wait(ENDS);
    tool::assert_decodes(&out);
    server.stop().assert_sessions(&[
        Story::new("rtmp", a).published("client_closed"),
        Story::new("rtmp", b).published("client_closed"),
        Story::new("http-flv", a).played("stream_ended"),
        Story::new("rtmp", b).played("stream_ended"),
        Story::new("http-flv", "live/cam").then_because("play_denied", "stream_not_found"),
    ]);
}

#[test]
fn a_key_that_ffmpeg_cuts_at_a_slash_lets_in_and_no_half_of_it_is_on_record() {
    let (secret, wrong) = (
        "opensesame+91/hunter-2041==",
        "opensesame+91/closesesame-17",
    );
    let mut server = Server::start(Config::new().key("studio", secret, "both"));
    let url = |key: &str| server.rtmp_url(&format!("live/cam?token={key}"));
    let refused = tool::ffmpeg_publish(clip::small(), &url(wrong), 1, None);
    refused.wait(ENDS).failure();
    let publisher = tool::ffmpeg_publish(clip::small(), &url(secret), 20, None);
    server.await_records("publish_started", 1);
    server.await_frames("live/cam", 20);
    let target = format!("/live/cam.flv?token={secret}");
    let answer = http::request(server.http(), "HEAD", &target, &[]);
    assert_eq!(answer.expect("an answer").status, 200);
    tool::interrupt(publisher);
    let log = server.log();
    let studio = |protocol| Story::new(protocol, "live/cam").by("studio");
    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").then_because("publish_denied", "unauthorized"),
        studio("rtmp").published("client_closed"),
        studio("http-flv").played("client_closed"),
    ]);
    trail.assert_tells_nothing_of(&["hunter-2041", "closesesame-17", "opensesame+91"]);
    assert!(
        !log.contains("hunter-2041") && !log.contains("closesesame-17"),
        "{log}"
    );
}

#[test]
fn an_operator_finds_who_was_refused_and_why_a_session_ended() {
    let mut server = Server::start(Config::new().log_personal());
    let mut scanner = RawRtmp::connect(server.rtmp()).expect("a handshake");
    scanner.open("live").expect("a connection");
    let code = scanner.publish("../\u{202e}cam").expect("an answer");
    assert_eq!(code, "NetStream.Publish.BadName");
    let mut broken = RawRtmp::connect(server.rtmp()).expect("a handshake");
    broken.open("live").expect("a connection");
    broken.publish("cam").expect("an answer");
    // A chunk size of 0.
    let no_size = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    broken.send_bytes(&no_size).expect("bytes are taken");
    let trail = server.await_records("publish_ended", 1).with_names();
    let ended = trail.of("publish_ended").next();
    let detail = ended.and_then(|record| record.detail.as_ref());
    assert_eq!(
        detail.map(|detail| detail.expose()),
        Some("chunk size 0x0 is not allowed")
    );
    let refused = "refused address=127.0.0.1 action=\"publish_denied\" reason=\"bad_name\" app=\"live\" stream=\"__/_cam\"";
    clock::wait_until("the refusal is in the log", ENDS, || {
        server.log().contains(refused)
    });
    let log = server.log();
    let line = log.lines().find(|line| line.contains(refused));
    let line = line.expect("the line about the refusal");
    let (time, rest) = line.split_once(' ').expect("a time and the rest");
    assert!(time.ends_with('Z'), "{line}");
    // As it is, and as fail2ban leaves it when it has taken the time out.
    for line in [line, &format!(" {rest}")] {
        assert_eq!(address_for_fail2ban(line), "127.0.0.1", "{line}");
    }
    let of_another = "INFO other: refused address=127.0.0.1 action=\"x\" reason=\"bad_name\"";
    assert_eq!(address_for_fail2ban(of_another), "");
    let ended = log
        .lines()
        .find(|line| line.contains("an error ended a session"));
    assert!(
        ended.is_some_and(|line| line.contains("chunk size 0x0")),
        "{log}"
    );
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/__/_cam").then_because("publish_denied", "bad_name"),
        Story::new("rtmp", "live/cam").published("protocol_error"),
    ]);
}

/// The address that the filter in the operator's guide finds in a line, or nothing. fail2ban uses
/// Python's expressions.
fn address_for_fail2ban(line: &str) -> String {
    const GUIDE: &str = include_str!("../../../docs/operator.md");
    let mut filters = GUIDE
        .lines()
        .filter_map(|line| line.strip_prefix("failregex = "));
    let filter = filters.next().expect("a filter in docs/operator.md");
    assert_eq!(filters.next(), None);
    let filter = filter.replace("<ADDR>", r"(?P<address>[0-9a-f:.]+)");
    let script = "import re, sys\nfound = re.search(sys.argv[1], sys.argv[2])\nprint(found.group('address') if found else '')";
    let output = Command::new("python3")
        .args(["-c", script, &filter, line])
        .output()
        .expect("python3 is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn health_answers_although_silent_connections_hold_every_slot() {
    let server = Server::start(Config::new().http("max_connections = 5"));
    let held: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(server.http()).expect("the system takes it"))
        .collect();
    for _ in 0..20 {
        assert_eq!(server.get("/health").status, 200);
        assert_eq!(server.get("/live/cam.flv").status, 429);
    }
    assert!(server.log().contains("turning connections away"));
    drop(held);
}

#[test]
fn a_network_that_is_denied_is_closed_at_once_and_on_record_by_number() {
    let mut server = Server::start(Config::new().auth("deny_ips = [\"127.0.0.2/32\"]"));
    let from = |address: &str| {
        let mut curl = Command::new("curl");
        let url = format!("http://{}/live/cam.flv", server.http());
        curl.args(["--silent", "--max-time", "10", "--interface", address, &url]);
        Process::spawn("curl", &curl).wait(ENDS)
    };
    for _ in 0..30 {
        from("127.0.0.2").failure();
    }
    from("127.0.0.1").success();
    let trail = server.stop();
    let denied: Vec<_> = trail
        .of("play_denied")
        .filter(|r| {
            r.reason
                .as_ref()
                .is_some_and(|r| r.label() == "address_denied")
        })
        .collect();
    let attempts: u64 = denied.iter().map(|record| record.count.unwrap_or(1)).sum();
    assert_eq!(attempts, 30, "{trail}");
    assert!(
        denied.len() <= 5,
        "{} records for 30 connections",
        denied.len()
    );
}
