//! All sinks next to a stream that plays, while one after the other dies or hangs: media and trail
//! are not affected, and afterwards each sink has everything.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use livetrail_record::{Personal, Reason};
use livetrail_replica::conformance::{Place as _, Server as _};
use system_tests::rtmp::{Message, RawRtmp, assert_every_frame, flv_messages, play_to_the_end};
use system_tests::syslog::{Kind, Receiver};
use system_tests::{
    Canaries, Config, OtlpCollector, Server, Trail, clip, clock, livetrail_verify, run, tool,
};

use crate::file::server::{exported, records};
use crate::kafka::Topic;
use crate::postgres::Table;
use crate::received::{Receives as _, each_once};
use crate::s3::Place;
use crate::syslog::OfLog;

const PATIENCE: Duration = Duration::from_secs(60);

/// Viewers that watch from the beginning to the end.
const STAYING: usize = 12;

/// Viewers that join and leave each time a sink is away.
const PASSING: usize = 25;

/// The publisher's name and key.
const PUBLISHER: (&str, &str) = ("canary-of-a-publisher", "the-publisher-has-this-key");

/// Longer than the test: the connection hangs and does not break.
const HANGS: Duration = Duration::from_mins(10);

/// Longer than the test: the publisher is interrupted at the end.
const PUBLISHES_S: u32 = 600;

#[test]
fn with_sinks_that_die_and_hang_every_viewer_gets_every_frame_and_strict_joins_go_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (table, bucket, topic) = runtime.block_on(async {
        (
            Table::fresh().await,
            Place::fresh().await,
            Topic::fresh().await,
        )
    });
    let mut server = Server::start(Config::new());
    server.stop();
    let syslog = OfLog(Receiver::start(Kind::Rsyslog), origin(&server));
    let otlp = OtlpCollector::start();
    let config = config(&server, &table, &bucket, &topic)
        .key(PUBLISHER.0, PUBLISHER.1, "publish")
        .sink("siem", "syslog", &syslog.settings())
        .sink(
            "logs",
            "otlp",
            &format!("endpoint = \"http://{}\"\n", otlp.address()),
        );
    server.set_config(config);
    server.start_again();

    for sink in [
        "postgres", "bucket", "topic", "file", "stdout", "siem", "logs",
    ] {
        await_state(&server, sink, "following");
    }
    let (key, sent) = (PUBLISHER.1, server.file("sent.flv"));
    let url = server.rtmp_url(&format!("live/cam?token={key}"));
    let publisher = tool::ffmpeg_publish(clip::small(), &url, PUBLISHES_S, Some(&sent));
    server.await_frames("live/cam", 30);
    let rtmp = server.rtmp();
    let played: Vec<Vec<Message>> = std::thread::scope(|scope| {
        let viewers: Vec<ScopedJoinHandle<'_, _>> = (0..STAYING)
            .map(|_| scope.spawn(move || play_to_the_end(rtmp, "live", "cam")))
            .collect();
        server.await_records("play_started", STAYING);
        runtime.block_on(async {
            table.kill().await;
            topic.kill().await;
        });
        syslog.kill();
        otlp.kill();
        pass_through(&server, rtmp, 1);
        // Each sink notices the failure when there is something to send.
        for sink in ["postgres", "topic", "siem", "logs"] {
            await_state(&server, sink, "retrying");
        }
        // Connected, and without an answer from now on.
        bucket.proxy().slow_down(HANGS);
        pass_through(&server, rtmp, 2);
        assert_eq!(server.get("/health").status, 200, "the server is well");
        assert!(!publisher_ended(&server), "the stream still plays");
        tool::interrupt(publisher);
        viewers
            .into_iter()
            .map(|viewer| viewer.join().expect("a viewer"))
            .collect()
    });
    let published = flv_messages(&sent);
    for (viewer, messages) in played.iter().enumerate() {
        assert_every_frame(viewer, messages, &published);
    }

    runtime.block_on(async {
        table.restart().await;
        topic.restart().await;
    });
    syslog.restart();
    otlp.restart();
    bucket.proxy().slow_down(Duration::ZERO);
    // A sink that hangs is not awaited.
    bucket.proxy().cut();
    for sink in ["postgres", "bucket", "topic", "siem", "logs"] {
        await_state(&server, sink, "following");
    }
    let trail = server.stop();
    // A short-lived viewer leaves with unread frames. The kernel reports that as an end or as an
    // error.
    let ends = ["stream_ended", "client_closed", "network_error"].map(|reason| {
        let ended = trail.of("play_ended");
        let with = |reason_of: &Reason| reason_of.label() == reason;
        ended
            .filter(|record| record.reason.as_ref().is_some_and(with))
            .count()
    });
    assert_eq!(
        (ends[0], ends[1] + ends[2]),
        (STAYING, 2 * PASSING),
        "{trail}"
    );
    assert_eq!(trail.count("play_started"), STAYING + 2 * PASSING);
    let published = trail.of("publish_started").next().expect("a publisher");
    let principal = published.principal.as_ref().map(Personal::expose);
    assert_eq!(principal, Some(PUBLISHER.0), "the vault has the name");
    assert_all_have_all(&server, &trail, &table, &bucket);
    let origin = origin(&server);
    let held = runtime.block_on(topic.held(&origin));
    let indexes: Vec<_> = held.iter().map(|(index, _)| *index).collect();
    let wanted: Vec<_> = (0..trail.records().len() as u64).collect();
    assert_eq!(indexes, wanted, "the topic");
    let entries = exported(&server, "entries");
    assert_eq!(records(server.printed()), entries, "standard output");
    assert_eq!(each_once(&syslog), entries, "syslog");
    assert_eq!(each_once(&otlp), entries, "the collector");

    let names = Canaries::new(&[
        PUBLISHER.0,
        "FMLE/3.0 (compatible",
        "LNX 9,0,124,2",
        "127.0.0.1:",
    ]);
    let columns = table.server.sql("SELECT r::text FROM livetrail.records r");
    for (sink, bytes) in [
        ("the table", columns.into_bytes()),
        ("the bucket", bucket.everything()),
        ("the topic", runtime.block_on(topic.everything())),
        ("the file", contents(&server.file("trail.tsv"))),
        ("its cursor", contents(&server.file("trail.tsv.cursor"))),
        ("standard output", server.printed().as_bytes().to_vec()),
        ("syslog", contents(&syslog.0.file("received"))),
        ("the collector", contents(&otlp.file("received"))),
    ] {
        assert!(bytes.len() > 100, "{sink} has nothing");
        names.assert_not_in(sink, &bytes);
    }
}

fn contents(file: &Path) -> Vec<u8> {
    std::fs::read(file).expect("a file of a sink")
}

/// The trail's name.
pub(crate) fn origin(server: &Server) -> String {
    let keys = std::fs::read_to_string(server.data().join("trail.vkey")).expect("the keys");
    keys.split('+').next().expect("a name").to_owned()
}

pub(crate) fn config(server: &Server, table: &Table, bucket: &Place, topic: &Topic) -> Config {
    let postgres = format!("url = \"{}\"\n", table.url());
    let s3 = bucket.settings(&format!("http://{}", bucket.proxy().address()));
    let kafka = format!(
        "brokers = [\"{}\"]\ntopic = \"audit\"\naccept = [\"one-replica\"]\n",
        topic.broker.clients_address()
    );
    let path = format!("path = {:?}\n", server.file("trail.tsv"));
    Config::new()
        .audit("play = \"strict\"")
        .sink("postgres", "postgres", &postgres)
        .sink("bucket", "s3", &s3)
        .sink("topic", "kafka", &kafka)
        .sink("file", "file", &path)
        .sink("stdout", "stdout", "")
}

/// Viewers who join, are admitted, and leave, and whose records are sealed while the sinks are
/// away.
fn pass_through(server: &Server, rtmp: SocketAddr, time: usize) {
    for _ in 0..PASSING {
        let mut raw = RawRtmp::connect(rtmp).expect("a handshake");
        raw.open("live").expect("a connection");
        let answer = raw.play("cam").expect("an answer");
        assert_eq!(answer, "NetStream.Play.Start", "a strict join");
    }
    server.await_records("play_ended", time * PASSING);
}

fn publisher_ended(server: &Server) -> bool {
    server.trail().count("publish_ended") > 0
}

pub(crate) fn await_state(server: &Server, sink: &str, state: &str) {
    clock::wait_until(&format!("{sink} is {state}"), PATIENCE, || {
        let health = server.get("/health").json();
        let sinks = health["sinks"].as_array().cloned().unwrap_or_default();
        let of_name = |one: &&serde_json::Value| one["name"] == sink;
        let found = sinks.iter().find(of_name);
        found.is_some_and(|one| one["state"] == state)
    });
}

/// Each as the auditor reads it.
fn assert_all_have_all(server: &Server, trail: &Trail, table: &Table, bucket: &Place) {
    let count = trail.records().len().to_string();
    let keys = server.data().join("trail.vkey");
    let sound = |arguments: &[&str]| {
        let mut verify = Command::new(livetrail_verify());
        verify.args(arguments).arg("--vkey").arg(&keys);
        verify.env("AWS_ACCESS_KEY_ID", "auditor");
        verify.env("AWS_SECRET_ACCESS_KEY", "a-secret");
        let output = run("livetrail-verify", &verify, PATIENCE).success();
        assert!(output.stdout.starts_with("SOUND"), "{}", output.output());
        assert!(output.stdout.contains(&count), "{}", output.output());
    };
    sound(&["--postgres", &table.server.url()]);
    let origin = std::fs::read_to_string(&keys).expect("the keys");
    let origin = origin
        .split('+')
        .next()
        .expect("a name")
        .replace('/', "_2F");
    let place = format!("s3://{}/{origin}", bucket.name());
    let endpoint = format!("http://{}", bucket.proxy().address());
    sound(&[
        &place,
        "--s3-endpoint",
        &endpoint,
        "--s3-region",
        "us-east-1",
    ]);
    let exported = exported(server, "tsv");
    let lines = std::fs::read_to_string(server.file("trail.tsv")).expect("the file");
    assert_eq!(lines, exported);
}
