//! Viewers and publishers behind haproxy, nginx and stunnel: each has its own address on record,
//! and what they forge has no effect.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use livetrail_record::{AuditRecord, Field, FieldValue, Personal};
use system_tests::rtmp::RawRtmp;
use system_tests::socket::{connect_from, reset};
use system_tests::{
    Authority, Config, Front, Server, Signal, client_address, clip, clock, free_address, http, run,
    tool,
};

const ENDS: Duration = Duration::from_secs(10);
const KEY: &str = "the-studio-has-this-key";
const TOKEN: &str = "the-operators-own-token";

/// Where all proxies connect from.
const PROXY: &str = "127.0.0.1";

fn behind_proxies() -> Config {
    let trusted = format!("trusted_proxies = [\"{PROXY}\"]");
    Config::new()
        .rtmp(&trusted)
        .rtmp("require_proxy = true")
        .http(&trusted)
        .key("studio", KEY, "publish")
        .auth("play = \"open\"")
        .api_token("ops", TOKEN, "operator")
}

/// Publishes a stream through a front, from this address.
fn publish(from: Ipv4Addr, to: SocketAddr, stream: &str) -> RawRtmp {
    let stream_of = connect_from(from, to).expect("a connection");
    let mut publisher = RawRtmp::over(stream_of).expect("a handshake");
    publisher.open("live").expect("a connection");
    let answer = publisher.publish(&format!("{stream}?token={KEY}"));
    assert_eq!(answer.expect("an answer"), "NetStream.Publish.Start");
    publisher
}

/// Asks for a stream over HTTP from this address. The answer has begun when this returns.
fn play(from: Ipv4Addr, to: SocketAddr, stream: &str, headers: &[&str]) -> TcpStream {
    let mut viewer = connect_from(from, to).expect("a connection");
    let request = http::request_bytes(to, "GET", &format!("/live/{stream}.flv"), headers);
    viewer.write_all(&request).expect("a request");
    viewer.set_read_timeout(Some(ENDS)).expect("a time-out");
    let mut status = [0; 12];
    viewer.read_exact(&mut status).expect("an answer");
    assert_eq!(&status[8..], b" 200", "{status:?}");
    viewer
}

fn text(record: &AuditRecord, field: &str) -> Option<String> {
    match Field::named(field).expect("a field").get(record) {
        Some(FieldValue::Text(text)) => Some(text.to_owned()),
        _ => None,
    }
}

/// Stream, address, source and proxy of each session and refusal, sorted.
fn addresses<'a>(records: impl Iterator<Item = &'a AuditRecord>) -> Vec<String> {
    let line = |record: &AuditRecord| {
        let peer = record
            .peer
            .as_ref()
            .map(Personal::expose)
            .unwrap_or_default();
        // Nobody knows the port before the test.
        let ip = peer.rsplit_once(':').map_or(peer, |(ip, _)| ip);
        let field = |name| text(record, name).unwrap_or_else(|| "-".to_owned());
        let stream = record.stream.as_deref().unwrap_or_default();
        format!("{stream} {ip} {} {}", field("peer_source"), field("via"))
    };
    let mut lines: Vec<String> = records.map(line).collect();
    lines.sort();
    lines
}

fn metric(server: &Server, name: &str) -> u64 {
    let bearer = format!("authorization: Bearer {TOKEN}");
    let answer = http::request(server.http(), "GET", "/metrics", &[&bearer]).expect("metrics");
    let text = answer.text();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{name}:\n{text}"))
}

#[test]
fn tls_passes_through_haproxy_and_every_client_has_its_own_address_on_record() {
    let (authority, rtmps, https) = (Authority::new(), free_address(), free_address());
    authority.sign("server", &[rtmps, https], 2100);
    let config = behind_proxies()
        .rtmp(&format!("tls_listen = \"{rtmps}\""))
        .http(&format!("tls_listen = \"{https}\""))
        .lines(&authority.lines("server"));
    let mut server = Server::start(config);
    let front = Front::haproxy(2, |listen| {
        format!(
            "listen rtmps\n  mode tcp\n  bind {}\n  server s {rtmps} send-proxy-v2\n\
             listen https\n  mode tcp\n  bind {}\n  server s {https} send-proxy-v2\n",
            listen[0], listen[1]
        )
    });
    let url = format!("rtmps://{}/live/cam?token={KEY}", front.address(0));
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 40, None);
    server.await_records("publish_started", 1);
    let to = front.address(1);
    let mut curl = tool::tool("curl", "curl");
    curl.args(["--silent", "--http2", "--max-time", "2", "--cacert"]);
    curl.arg(authority.ca());
    curl.args(["--interface", &client_address(7).to_string()]);
    curl.args(["--resolve", &format!("localhost:{}:{}", to.port(), to.ip())]);
    curl.args([
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_version} %{http_code}",
    ]);
    curl.arg(format!("https://localhost:{}/live/cam.flv", to.port()));
    let played = run("curl", &curl, ENDS);
    assert_eq!(played.stdout, "2 200");
    server.await_records("play_ended", 1);
    tool::interrupt(publisher);
    let trail = server.stop();
    let records = trail.of("publish_started").chain(trail.of("play_started"));
    assert_eq!(
        addresses(records),
        [
            "cam 127.0.0.1 proxy_v2 127.0.0.1",
            "cam 127.210.0.7 proxy_v2 127.0.0.1"
        ]
    );
}

#[test]
fn behind_haproxy_every_client_has_its_own_address_on_record() {
    let mut server = Server::start(behind_proxies());
    let (rtmp, http) = (server.rtmp(), server.http());
    let front = Front::haproxy(4, |listen| {
        format!(
            "listen v1\n  mode tcp\n  bind {}\n  server s {rtmp} send-proxy check inter 100ms\n\
             listen v2\n  mode tcp\n  bind {}\n  server s {rtmp} send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 100ms\n\
             listen xff\n  mode http\n  bind {}\n  option forwardfor\n  server s {http} check inter 100ms\n\
             listen forwarded\n  mode http\n  bind {}\n  http-request set-header Forwarded for=%[src];proto=http\n  \
             server s {http}\n\
             backend check\n  mode http\n  option httpchk GET /live/one.flv\n  \
             server s {http} send-proxy-v2 check-send-proxy check inter 100ms\n",
            listen[0], listen[1], listen[2], listen[3]
        )
    });
    let from = client_address;
    let one = publish(from(1), front.address(0), "one");
    let two = publish(from(2), front.address(1), "two");
    let three = play(from(3), front.address(2), "one", &[]);
    let forged = ["X-Forwarded-For: 203.0.113.99"];
    let four = play(from(4), front.address(2), "two", &forged);
    let five = play(
        from(5),
        front.address(3),
        "one",
        &["Forwarded: for=203.0.113.99"],
    );
    // haproxy passes on what it does not set itself. The contradiction is refused.
    let both = http::request(
        front.address(2),
        "GET",
        "/live/one.flv",
        &["Forwarded: for=203.0.113.99"],
    );
    assert_eq!(both.expect("an answer").status, 400);
    clock::wait_until("health checks of all kinds have come", ENDS, || {
        metric(&server, "livetrail_rtmp_connections_of_proxies_total") >= 4
            && metric(&server, "livetrail_http_connections_of_proxies_total") >= 2
    });
    drop((one, two, three, four, five));
    server.await_records("publish_ended", 2);
    server.await_records("play_ended", 3);
    let trail = server.stop();
    assert_eq!(
        addresses(trail.of("publish_started").chain(trail.of("play_started"))),
        [
            "one 127.210.0.1 proxy_v1 127.0.0.1",
            "one 127.210.0.3 forwarded 127.0.0.1",
            "one 127.210.0.5 forwarded 127.0.0.1",
            "two 127.210.0.2 proxy_v2 127.0.0.1",
            "two 127.210.0.4 forwarded 127.0.0.1",
        ]
    );
    // A health check that asks for a stream leaves no record.
    assert_eq!(
        trail.count("play_denied") + trail.count("publish_denied"),
        0
    );
}

#[test]
fn behind_nginx_and_stunnel_every_client_has_its_own_address_on_record() {
    let mut server = Server::start(behind_proxies());
    let (rtmp, http) = (server.rtmp(), server.http());
    let front = Front::nginx(3, |listen| {
        format!(
            "stream {{ server {{ listen {}; proxy_pass {rtmp}; proxy_protocol on; }} }}\n\
             http {{ access_log off; proxy_buffering off; proxy_http_version 1.1;\n\
             server {{ listen {}; location / {{ proxy_pass http://{http};\n\
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Forwarded \"\"; }} }}\n\
             server {{ listen {}; location / {{ proxy_pass http://{http};\n\
               proxy_set_header Forwarded \"for=$remote_addr\"; proxy_set_header X-Forwarded-For \"\"; }} }} }}",
            listen[0], listen[1], listen[2]
        )
    });
    let issued =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let tls = Front::stunnel(
        http,
        &issued.cert.pem(),
        &issued.signing_key.serialize_pem(),
    );
    let from = client_address;
    let one = publish(from(11), front.address(0), "one");
    let forged = [
        "X-Forwarded-For: 203.0.113.99, 203.0.113.98",
        "Forwarded: for=203.0.113.99",
    ];
    let two = play(from(12), front.address(1), "one", &forged);
    let three = play(from(13), front.address(2), "one", &forged);
    let url = format!("https://localhost:{}/live/one.flv", tls.address(0).port());
    let mut curl = tool::tool("curl", "curl");
    let to = format!(
        "localhost:{}:{}",
        tls.address(0).port(),
        tls.address(0).ip()
    );
    curl.args([
        "--silent",
        "--insecure",
        "--interface",
        "127.210.0.14",
        "--max-time",
        "2",
    ])
    .args(["--resolve", &to, "--output", "/dev/null", &url]);
    let curl = system_tests::Process::spawn("curl", &curl);
    server.await_records("play_started", 3);
    drop((one, two, three, curl));
    server.await_records("play_ended", 3);
    let trail = server.stop();
    assert_eq!(
        addresses(trail.of("publish_started").chain(trail.of("play_started"))),
        [
            "one 127.210.0.11 proxy_v1 127.0.0.1",
            "one 127.210.0.12 forwarded 127.0.0.1",
            "one 127.210.0.13 forwarded 127.0.0.1",
            "one 127.210.0.14 proxy_v1 127.0.0.1",
        ]
    );
}

#[test]
fn what_anyone_else_forges_has_no_effect() {
    let mut server = Server::start(behind_proxies());
    let (rtmp, http) = (server.rtmp(), server.http());
    let IpAddr::V4(own) = rtmp.ip() else {
        panic!("the tests use IPv4")
    };
    let publisher = publish(own, rtmp, "one");
    let line = b"PROXY TCP4 203.0.113.99 192.0.2.1 1 1935\r\n";
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x63\xc0\0\x02\x01\0\x01\x07\x8f";
    for to in [rtmp, http] {
        for forged in [&line[..], v2] {
            let mut stranger = connect_from(own, to).expect("a connection");
            stranger.write_all(forged).expect("bytes");
            assert!(
                system_tests::rtmp::closes_within(&mut stranger, ENDS),
                "{forged:?}"
            );
        }
    }
    let forged = [
        "X-Forwarded-For: 203.0.113.99",
        "Forwarded: for=203.0.113.99",
    ];
    let viewer = play(own, http, "one", &forged);
    assert_eq!(
        metric(&server, "livetrail_rtmp_connections_proxy_refused_total"),
        2
    );
    assert_eq!(
        metric(&server, "livetrail_http_connections_proxy_refused_total"),
        2
    );
    let ignored = "livetrail_forwarded_headers_ignored_total{gateway=\"http\"}";
    assert_eq!(metric(&server, ignored), 1);
    drop((publisher, viewer));
    server.await_records("play_ended", 1);
    let trail = server.stop();
    let started = trail.of("publish_started").chain(trail.of("play_started"));
    let expected = format!("one {own} - -");
    assert_eq!(addresses(started), [expected.clone(), expected]);
}

/// The log names the client that a request is of, not the proxy that its connection is of.
#[test]
fn the_log_has_the_address_of_a_client_behind_a_proxy() {
    let mut server = Server::start(behind_proxies().log_personal());
    let (rtmp, http) = (server.rtmp(), server.http());
    let IpAddr::V4(own) = rtmp.ip() else {
        panic!("the tests use IPv4")
    };
    let publisher = publish(own, rtmp, "one");
    let viewer = play(
        Ipv4Addr::LOCALHOST,
        http,
        "one",
        &["X-Forwarded-For: 203.0.113.7"],
    );
    reset(viewer);
    server.await_records("play_ended", 1);
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("an error ended a session"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("peer=203.0.113.7:0 via=127.0.0.1"), "{line}");
    drop(publisher);
    server.stop();
}

/// The flood of one client behind a proxy uses up its own budget, and nobody else's.
#[test]
fn behind_a_proxy_a_flood_uses_up_the_budget_of_its_own_address() {
    let mut server = Server::start(behind_proxies().default_budgets());
    let rtmp = server.rtmp();
    let front = Front::haproxy(1, |listen| {
        format!(
            "listen v2\n  mode tcp\n  bind {}\n  server s {rtmp} send-proxy-v2\n",
            listen[0]
        )
    });
    let attempt = |from: Ipv4Addr| {
        let stream = connect_from(from, front.address(0)).expect("a connection");
        let mut stranger = RawRtmp::over(stream).expect("a handshake");
        stranger.open("live").expect("a connection");
        stranger
            .publish("one?token=wrong-key-of-a-stranger")
            .expect("an answer")
    };
    let (flood, other) = (client_address(21), client_address(22));
    clock::wait_until("its budget is used up", 3 * ENDS, || {
        attempt(flood);
        let trail = server.trail();
        let limited = |record: &AuditRecord| {
            record
                .reason
                .as_ref()
                .is_some_and(|r| r.label() == "rate_limited")
        };
        trail.of("publish_denied").any(limited)
    });
    attempt(other);
    let publisher = publish(other, front.address(0), "one");
    drop(publisher);
    server.await_records("publish_ended", 1);
    let trail = server.stop();
    let mut reasons: Vec<(String, String)> = Vec::new();
    for record in trail
        .of("publish_denied")
        .filter(|record| record.count.is_none())
    {
        let reason = record.reason.as_ref().map_or("", |reason| reason.label());
        let ip = addresses(std::iter::once(record)).remove(0);
        reasons.push((ip, reason.to_owned()));
    }
    let has = |ip: Ipv4Addr, reason: &str| {
        let line = format!("one {ip} proxy_v2 127.0.0.1");
        reasons.contains(&(line, reason.to_owned()))
    };
    assert!(
        has(flood, "unauthorized") && has(flood, "rate_limited"),
        "{reasons:?}"
    );
    assert!(
        has(other, "unauthorized") && !has(other, "rate_limited"),
        "{reasons:?}"
    );
    let started = trail.of("publish_started").next().expect("the publisher");
    assert_eq!(started.refused_before, Some(1), "those of its own address");
}

/// A proxy becomes trusted, and loses that again, without a restart. The API says who came through
/// it.
#[test]
fn a_reload_changes_whom_the_server_trusts() {
    let config = |trusted: &str| {
        Config::new()
            .http(&format!("trusted_proxies = [{trusted}]"))
            .key("studio", KEY, "publish")
            .auth("play = \"open\"")
            .api_token("ops", TOKEN, "operator")
    };
    let mut server = Server::start(config(""));
    let http = server.http();
    let publisher = publish(client_address(31), server.rtmp(), "one");
    let front = Front::haproxy(1, |listen| {
        format!(
            "listen xff\n  mode http\n  bind {}\n  option forwardfor\n  server s {http}\n",
            listen[0]
        )
    });
    let mut viewers = Vec::new();
    for (trusted, changes) in [("", 0), ("\"127.0.0.1\"", 1), ("", 2)] {
        if changes > 0 {
            server.set_config(config(trusted));
            server.signal(Signal::HUP);
            server.await_records("admin_config_changed", changes);
        }
        let viewer = client_address(32 + u8::try_from(changes).expect("few"));
        viewers.push(play(viewer, front.address(0), "one", &[]));
    }
    let bearer = format!("authorization: Bearer {TOKEN}");
    let listed = http::request(http, "GET", "/api/v1/sessions?role=play", &[&bearer]);
    let listed = listed.expect("the sessions").json();
    let sessions = listed["sessions"].as_array().expect("a list");
    let mut seen: Vec<String> = sessions
        .iter()
        .map(|session| {
            let peer = session["peer"].as_str().unwrap_or_default();
            let ip = peer.rsplit_once(':').map_or(peer, |(ip, _)| ip);
            format!("{ip} {} {}", session["peer_source"], session["via"])
        })
        .collect();
    seen.sort();
    let direct = "127.0.0.1 null null";
    let proxied = "127.210.0.33 \"forwarded\" \"127.0.0.1\"";
    assert_eq!(seen, [direct, direct, proxied], "{listed}");
    drop((publisher, viewers));
    server.await_records("play_ended", 3);
    server.stop();
}

/// The blocks of settings in the page, by the program whose section they are in; and the commands.
#[test]
fn the_settings_and_commands_in_the_page_of_proxies_work() {
    let server = Server::start(behind_proxies());
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/proxies.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let block = |program: &str| {
        let (_, section) = page
            .split_once(&format!("\n## {program}\n"))
            .expect("a section");
        let (_, block) = section.split_once("```text\n").expect("a block");
        block.split_once("\n```").expect("its end").0.to_owned() + "\n"
    };
    let folder = server.file("");
    for (program, file) in [("haproxy", "haproxy.cfg"), ("nginx", "nginx.conf")] {
        drop(tool::tool(program, program));
        std::fs::write(folder.join(file), block(program)).expect("a file");
    }
    let commands: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let command = command.replace("10.0.0.20:8080", &server.http().to_string());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &command]).current_dir(&folder);
        let finished = run(&command, &shell, ENDS).success();
        if command.starts_with("curl") {
            assert!(
                finished.stdout.contains("\"status\":\"ok\""),
                "{}",
                finished.output()
            );
        }
    }
    assert!(metric(&server, "livetrail_http_connections_proxied_total") >= 1);
}
