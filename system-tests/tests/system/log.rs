//! The server's own log: nobody's name and address is in it, unless the operator wants them.

use std::process::Command;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Process, Server, clock};

const ENDS: Duration = Duration::from_secs(30);

/// What clients bring: the name of a key, a program, an address.
const PRINCIPAL: &str = "canary-alice";
const AGENT: &str = "CanaryPlayer/4711";
const ADDRESS: &str = "127.0.0.99";

#[test]
fn a_log_at_trace_names_sessions_and_nobody() {
    let config = Config::new()
        .log_filter("trace")
        .key(PRINCIPAL, "opensesame-hunter", "both")
        .http("max_connections_per_ip = 1")
        .auth("deny_ips = [\"127.0.0.98/32\"]")
        .operator("ops", "a-token-of-operators");
    let mut server = Server::start(config);
    let curl = |from: &str, path: &str, more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "10", "--interface", from])
            .args(["--user-agent", AGENT])
            .args(more)
            .arg(format!("http://{}{path}", server.http()));
        Process::spawn("curl", &curl).wait(ENDS);
    };
    // A session of RTMP that an error ends, a refused one, and messages that cannot be read.
    let mut broken = RawRtmp::connect(server.rtmp()).expect("a handshake");
    broken.open("live").expect("a connection");
    let code = broken.publish("cam?token=opensesame-hunter");
    assert_eq!(code.expect("an answer"), "NetStream.Publish.Start");
    broken
        .send_bytes(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0])
        .expect("bytes are taken");
    let mut refused = RawRtmp::connect(server.rtmp()).expect("a handshake");
    refused.open("live").expect("a connection");
    refused
        .publish("cam?token=wrong-secret-17")
        .expect("an answer");
    let ports = [&broken, &refused].map(|client| {
        let address = client.stream().local_addr().expect("an address");
        address.to_string()
    });
    // Refusals over HTTP, wrong tokens of the API, and a denied network.
    curl(ADDRESS, "/live/cam.flv?token=wrong-secret-17", &[]);
    curl(ADDRESS, "/live/cam.flv?token=opensesame-hunter", &[]);
    curl(
        ADDRESS,
        "/api/v1/sessions",
        &["--header", "Authorization: Bearer wrong-secret-17"],
    );
    curl("127.0.0.98", "/live/cam.flv", &[]);
    server.await_records("publish_ended", 1);
    clock::wait_until("the refusals are in the log", ENDS, || {
        let log = server.log();
        log.contains("action=\"publish_denied\"") && log.contains("action=\"play_denied\"")
    });
    let log = server.log();
    let trail = server.stop();
    let ended = trail.of("publish_ended").next().expect("the session's end");
    let session = ended.session.expect("its id").to_string();
    let line = log
        .lines()
        .find(|line| line.contains("an error ended a session"));
    assert!(line.is_some_and(|line| line.contains(&session)), "{log}");
    for canary in [PRINCIPAL, AGENT, ADDRESS, "127.0.0.98"] {
        for form in forms(canary) {
            assert!(!log.contains(&form), "{canary} is in the log as {form}");
        }
    }
    for port in ports {
        assert!(!log.contains(&port), "{port} is in the log");
    }
}

/// A text in clear, in base64, in hexadecimal, and in UTF-16 as a log would show it.
fn forms(text: &str) -> [String; 4] {
    let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let wide = text.chars().flat_map(|c| [c, '\0']).collect();
    // The last characters depend on what follows.
    let whole = &text.as_bytes()[..text.len() / 3 * 3];
    [text.to_owned(), BASE64.encode(whole), hex, wide]
}
