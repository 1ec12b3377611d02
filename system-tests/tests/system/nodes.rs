//! Several nodes on this machine: pulls on demand, pushes, loops, and trails that join.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use livetrail_record::{AuditRecord, Value};
use rustix::process::Signal;
use system_tests::{Authority, Config, Server, Trail, clip, clock, free_address, http, run, tool};

const ENDS: Duration = Duration::from_secs(30);

/// The viewers of an edge.
const AUDIENCE: usize = 50;

/// 1.5 s are promised. This bound is for a debug build on a busy machine.
const SWITCHED_WITHIN: Duration = Duration::from_secs(15);

const KEY: &str = "a-secret-of-the-nodes";

/// A viewer that has been admitted, and has the beginning of the stream.
fn join(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(ENDS))?;
    stream.write_all(&http::request_bytes(to, "GET", "/live/cam.flv", &[]))?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4 << 10]);
    while !answer.windows(3).any(|three| three == b"FLV") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other("turned away")),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(stream)
}

/// The session's principals, of those with a role.
fn principals(server: &Server, role: &str) -> Vec<String> {
    let sessions = server.sessions();
    let of_role = sessions.iter().filter(|session| session["role"] == role);
    let named = of_role.filter_map(|session| session["principal"].as_str());
    named.map(str::to_owned).collect()
}

/// The records of an action by this principal.
fn by<'a>(trail: &'a Trail, action: &'a str, principal: &'a str) -> Vec<&'a AuditRecord> {
    let of = trail.of(action);
    let by = of.filter(|record| {
        let name = record.principal.as_ref().map(|name| name.expose());
        name == Some(principal)
    });
    by.collect()
}

fn text(record: &AuditRecord, field: &str) -> String {
    match record.extra.get(field) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{field}: {other:?} in {record:?}"),
    }
}

/// An edge has one session at its origin for all of its viewers. When the origin is killed, all of
/// them continue from the second one. The trails say which session is whose.
#[test]
fn an_edge_serves_its_viewers_from_one_origin_and_then_from_another() {
    let origin = |name: &str| {
        let config = Config::new().node(name).auth("publish = \"open\"");
        Server::start(config.key("edge", KEY, "play"))
    };
    let (mut first, mut second) = (origin("origin-a"), origin("origin-b"));
    let publish =
        |to: &Server| tool::ffmpeg_publish(clip::small(), &to.rtmp_url("live/cam"), 90, None);
    let publishers = [publish(&first), publish(&second)];
    first.await_frames("live/cam", 30);
    second.await_frames("live/cam", 30);
    let origins = [("origin-a", first.rtmp()), ("origin-b", second.rtmp())];
    let mut edge = Server::start(Config::new().node("edge").pull(&origins, KEY));
    let audience = (0..AUDIENCE).map(|_| join(edge.http()));
    let audience: Vec<TcpStream> = audience.collect::<Result<_, _>>().expect("all are let in");
    assert_eq!(principals(&first, "play"), ["edge"]);
    assert_eq!(principals(&edge, "publish"), ["node:origin-a"]);

    first.crash();
    let watch = clock::Stopwatch::start();
    clock::wait_until("the second origin", ENDS, || {
        principals(&edge, "publish") == ["node:origin-b"] && edge.frames("live/cam") > 0
    });
    let took = watch.elapsed();
    assert!(took < SWITCHED_WITHIN, "{took:?}");
    let viewers = edge
        .sessions()
        .iter()
        .filter(|one| one["role"] == "play")
        .count();
    assert_eq!(viewers, AUDIENCE, "none has ended");
    assert_eq!(principals(&second, "play"), ["edge"]);

    drop(audience);
    clock::wait_until("the pull ends", ENDS, || {
        principals(&second, "play").is_empty()
    });
    let [of_first, of_second] = publishers;
    drop(of_first);
    tool::interrupt(of_second);
    let (edge, second) = (edge.stop().with_names(), second.stop().with_names());
    let [at_origin] = by(&second, "play_started", "edge")[..] else {
        panic!("one session at the origin\n{second}");
    };
    let at_edge = by(&edge, "publish_started", "node:origin-b");
    let [at_edge] = at_edge[..] else {
        panic!("one publish at the edge\n{edge}");
    };
    assert_eq!(text(at_edge, "upstream_node"), "origin-b");
    let session = at_origin.session.expect("a session").to_string();
    assert_eq!(text(at_edge, "upstream_session"), session);
    assert_eq!(at_edge.extra.get("epoch"), Some(&Value::Integer(0)));
    assert_eq!(edge.count("play_started"), AUDIENCE);
    for (trail, node) in [(&edge, "edge"), (&second, "origin-b")] {
        assert!(
            trail
                .records()
                .iter()
                .all(|record| record.node.as_deref() == Some(node))
        );
    }
    edge.assert_tells_nothing_of(&[KEY]);
}

/// A request that comes back to a node is refused there, on record, and the viewer at once.
#[test]
fn a_loop_is_refused() {
    let mut second = Server::start(Config::new().node("b"));
    let origins = [("b", second.rtmp())];
    let mut first = Server::start(Config::new().node("a").pull(&origins, KEY));
    // Under its own name the first would not even be asked. The rules come with a reload.
    let origins = [("other", first.rtmp())];
    second.set_config(Config::new().node("b").pull(&origins, KEY));
    second.signal(Signal::HUP);
    clock::wait_until("the rules", ENDS, || {
        second.log().contains("configuration read again")
    });
    let answer = http::get(first.http(), "/live/cam.flv");
    assert_eq!(answer.status, 404, "{}", answer.text());
    let trail = first.stop();
    let denied = trail.of("play_denied").next().expect("a refusal");
    let reason = denied.reason.as_ref().map(ToString::to_string);
    assert_eq!(reason.as_deref(), Some("relay_loop"));
    assert_eq!(second.stop().count("play_started"), 1);
}

/// A stream goes to each target. One that is not there disturbs nobody. The target records where
/// the stream comes from, because the key's name is the node's.
#[test]
fn a_stream_is_pushed_to_each_target() {
    let target = Config::new().node("east").auth("play = \"open\"");
    let mut east = Server::start(target.key("studio", KEY, "publish"));
    let targets = [("west", free_address()), ("east", east.rtmp())];
    let mut studio = Server::start(Config::new().node("studio").push(&targets, KEY));
    let url = studio.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 90, None);
    east.await_frames("live/cam", 30);
    tool::interrupt(publisher);
    east.await_records("publish_ended", 1);
    let (east, studio) = (east.stop().with_names(), studio.stop().with_names());
    let pushed = studio.of("publish_started").next().expect("a publish");
    let [at_east] = by(&east, "publish_started", "studio")[..] else {
        panic!("one publish\n{east}");
    };
    assert_eq!(text(at_east, "upstream_node"), "studio");
    let session = pushed.session.expect("a session").to_string();
    assert_eq!(text(at_east, "upstream_session"), session);
    studio.assert_tells_nothing_of(&[KEY]);
}

/// A node that `edge.example.org` may ask for this over TLS, if it shows its certificate.
fn behind_tls(config: Config, authority: &Authority, rtmps: SocketAddr, grant: &str) -> Config {
    authority.sign("server", &[rtmps], 2100);
    config
        .rtmp(&format!("tls_listen = \"{rtmps}\""))
        .rtmp("client_certificates = \"request\"")
        .lines(&format!("[tls]\nclient_ca = {:?}", authority.ca()))
        .lines(&authority.lines("server"))
        .lines(&format!(
            "[[auth.certificate]]\nname = \"edge.example.org\"\ngrant = {grant:?}"
        ))
}

/// The lines of another node, to which the certificate `edge` is shown.
fn over_tls(authority: &Authority, name: &str, rtmps: SocketAddr) -> String {
    let (ca, pair) = (authority.ca(), ["edge.pem", "edge.key"]);
    let [chain, key] = pair.map(|name| authority.path(name));
    format!(
        "name = {name:?}\nurl = \"rtmps://{rtmps}\"\nca_file = {ca:?}\ncert_file = {chain:?}\nkey_file = {key:?}"
    )
}

/// Between nodes a stream may be encrypted. The edge shows a certificate, and has its name at the
/// origin.
#[test]
fn an_edge_pulls_over_tls_with_its_certificate() {
    let (authority, rtmps) = (Authority::new(), free_address());
    authority.sign_client("edge", "edge.example.org");
    let origin = Config::new().node("origin").auth("publish = \"open\"");
    let mut origin = Server::start(behind_tls(origin, &authority, rtmps, "play"));
    let edge = Config::new()
        .node("edge.example.org")
        .application("wait_for_publisher = \"30s\"")
        .lines("[[relay.pull]]\napplication = \"live\"\n[[relay.pull.origin]]")
        .lines(&over_tls(&authority, "origin", rtmps));
    let mut edge = Server::start(edge);
    let url = origin.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, None);
    origin.await_frames("live/cam", 30);
    let viewer = join(edge.http()).expect("it is let in");
    assert_eq!(principals(&origin, "play"), ["edge.example.org"]);
    drop(viewer);
    tool::interrupt(publisher);
    edge.stop();
    origin.stop();
}

/// A push shows the node's certificate as well. Its name is that of the node, so the target records
/// where the stream comes from. A target without a certificate of a known authority gets nothing.
#[test]
fn a_stream_is_pushed_over_tls_with_the_certificate_of_the_node() {
    let (authority, rtmps) = (Authority::new(), free_address());
    authority.sign_client("edge", "edge.example.org");
    let target = Config::new().node("east").auth("play = \"open\"");
    let mut east = Server::start(behind_tls(target, &authority, rtmps, "publish"));
    // The same, of an authority that the pushing node does not know.
    let (unknown, elsewhere) = (Authority::new(), free_address());
    let target = Config::new().node("west").auth("publish = \"open\"");
    let mut west = Server::start(behind_tls(target, &unknown, elsewhere, "publish"));
    let studio = Config::new()
        .node("edge.example.org")
        .lines("[[relay.push]]\napplication = \"live\"\n[[relay.push.target]]")
        .lines(&over_tls(&authority, "east", rtmps))
        .lines("[[relay.push.target]]")
        .lines(&over_tls(&authority, "west", elsewhere));
    let mut studio = Server::start(studio);
    let url = studio.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 90, None);
    east.await_frames("live/cam", 30);
    let pushes = studio.get("/api/v1/pushes").json();
    let list = pushes["pushes"].as_array().expect("a list");
    let states = list.iter().map(|push| {
        let is_carrying = push["link"]["state"] == "carrying";
        (push["target"].as_str().unwrap_or_default(), is_carrying)
    });
    let states: Vec<_> = states.collect();
    assert_eq!(states, [("east", true), ("west", false)]);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/nodes.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let asked = page.lines().filter(|line| line.starts_with("curl"));
    for (line, list) in asked.clone().zip(["pulls", "pushes"]) {
        let command = line.replace("127.0.0.1:8080", &studio.http().to_string());
        let mut shell = std::process::Command::new("sh");
        let answer = run(line, shell.args(["-c", &command]), ENDS)
            .success()
            .stdout;
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer[list].is_array(), "{line}: {answer}");
    }
    assert_eq!(asked.count(), 2);
    tool::interrupt(publisher);
    east.await_records("publish_ended", 1);
    let (east, studio) = (east.stop().with_names(), studio.stop().with_names());
    let [at_east] = by(&east, "publish_started", "edge.example.org")[..] else {
        panic!("one publish\n{east}");
    };
    let pushed = studio.of("publish_started").next().expect("a publish");
    let session = pushed.session.expect("a session").to_string();
    assert_eq!(text(at_east, "upstream_node"), "edge.example.org");
    assert_eq!(text(at_east, "upstream_session"), session);
    assert_eq!(west.stop().count("publish_started"), 0);
}
