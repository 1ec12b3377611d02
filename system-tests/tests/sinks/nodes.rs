//! Three nodes on this machine, whose trails meet in one database, one bucket and one topic: they
//! are verified and queried as a whole, a viewer is followed to the origin over two hops, and a
//! node that is silent, or whose end was cut off, is found in each place.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use livetrail_replica::conformance::Place as _;
use livetrail_replica::conformance::Server as _;
use serde_json::Value;
use system_tests::rtmp::{Message, RawRtmp};
use system_tests::{Config, Finished, Server, clock, http, livetrail, livetrail_verify, run};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::beside::{await_state, origin};
use crate::fleet::type_page;
use crate::kafka::Topic;
use crate::postgres::Table;
use crate::s3::Place;

const PATIENCE: Duration = Duration::from_secs(120);

const KEY: &str = "a-secret-of-the-nodes";

/// Between two frames of a publisher.
const INTERVAL: Duration = Duration::from_millis(40);

/// How old the newest record of a trail may be: of one that is current at most three of the first.
const AGES: [&str; 4] = ["--heartbeat", "5", "--silent-after", "20"];

/// A publisher that sends a keyframe after the other, until it is ended.
struct Publisher(Arc<AtomicBool>, JoinHandle<io::Result<()>>);

impl Publisher {
    fn start(to: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let sending = std::thread::spawn(move || {
            let mut publisher = RawRtmp::connect(to)?;
            publisher.open("live")?;
            assert_eq!(publisher.publish("cam")?, "NetStream.Publish.Start");
            let mut timestamp = 0;
            while !is_over.load(Ordering::Relaxed) {
                // A keyframe of H.264 with one unit, whose content nobody reads.
                let body = vec![0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
                let message = Message {
                    type_id: 9,
                    timestamp,
                    body,
                };
                publisher.send(1, &message)?;
                timestamp += 40;
                sleep(INTERVAL);
            }
            Ok(())
        });
        Self(over, sending)
    }

    fn end(self) {
        self.0.store(true, Ordering::Relaxed);
        let sent = self.1.join().expect("a publisher");
        sent.expect("it is not interrupted");
    }
}

/// A viewer who has the beginning of the stream.
fn watch(at: SocketAddr) -> TcpStream {
    let mut viewer = TcpStream::connect(at).expect("a connection");
    let request = http::request_bytes(at, "GET", "/live/cam.flv", &[]);
    viewer.write_all(&request).expect("a request");
    viewer.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let (mut answer, mut buffer) = (Vec::new(), [0; 4 << 10]);
    while !answer.windows(3).any(|three| three == b"FLV") {
        let read = viewer.read(&mut buffer).expect("an answer");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    viewer
}

/// The places that all trails are in.
struct Places {
    table: Table,
    bucket: Place,
    topic: Topic,
    dir: TempDir,
    /// Proxies in front of the servers run here.
    _runtime: Runtime,
}

/// How a command names a place.
type Named = (&'static str, Vec<String>);

impl Places {
    fn new() -> Self {
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
        table
            .server
            .sql("CREATE ROLE auditor LOGIN IN ROLE livetrail_reader");
        Self {
            table,
            bucket,
            topic,
            dir: TempDir::new().expect("a folder"),
            _runtime: runtime,
        }
    }

    /// A node whose trail goes to all places. The topic has a partition for each node.
    fn node(&self, name: &str, partition: usize) -> Config {
        let names = format!("postgres://names@{}/postgres", self.table.proxy().address());
        let endpoint = format!("http://{}", self.bucket.proxy_address());
        let bucket = self.bucket.settings(&endpoint) + "prefix = \"some/where\"\n";
        let topic = format!("{}partition = {partition}\n", self.topic_settings());
        Config::new()
            .node(name)
            .application("wait_for_publisher = \"60s\"")
            .auth("publish = \"open\"\nplay = \"open\"")
            .audit("heartbeat = \"2s\"")
            .sink_with_openings("postgres", "postgres", &format!("url = \"{names}\"\n"))
            .sink("bucket", "s3", &bucket)
            .sink("topic", "kafka", &topic)
    }

    fn topic_settings(&self) -> String {
        format!(
            "brokers = [\"{}\"]\ntopic = \"audit\"\naccept = [\"one-replica\"]\n",
            self.topic.broker.clients_address()
        )
    }

    /// Each place as it is now. Of the topic this is a copy.
    fn named(&self) -> [Named; 3] {
        let auditor = self.table.server.url_of("auditor");
        let (endpoint, bucket) = self.bucket.address();
        let config = self.dir.path().join("audit.toml");
        let settings = format!(
            "[[sink]]\nname = \"topic\"\n[sink.kafka]\n{}",
            self.topic_settings()
        );
        std::fs::write(&config, settings).expect("a configuration");
        let copies = tempfile::tempdir_in(self.dir.path()).expect("a folder");
        let copies = copies.keep().join("copies");
        let mut read = Command::new(livetrail());
        read.args(["trail", "sinks", "read", "kafka", "--all", "--config"]);
        read.arg(config).arg("--to").arg(&copies);
        let read = run("sinks read kafka", &read, PATIENCE).success();
        assert!(read.stdout.contains(": 3 logs. Now: "), "{}", read.stdout);
        let copies = copies.to_str().expect("a path").to_owned();
        [
            ("database", vec!["--postgres".to_owned(), auditor]),
            ("bucket", vec![bucket, "--s3-endpoint".to_owned(), endpoint]),
            ("topic", vec![copies]),
        ]
    }
}

/// What an auditor runs.
struct Auditor {
    places: Places,
    keys: PathBuf,
}

impl Auditor {
    fn run(&self, program: &Path, first: &[&str], place: &Named, more: &[&str]) -> Finished {
        let mut command = Command::new(program);
        command.args(first).arg("--fleet").args(&place.1);
        command.arg("--vkey").arg(&self.keys).args(more);
        command.env("AWS_ACCESS_KEY_ID", "auditor");
        command.env("AWS_SECRET_ACCESS_KEY", "a-secret");
        run(place.0, &command, PATIENCE)
    }

    /// The state and the verdict of each node's trail, in the order of these origins, and the exit
    /// code.
    fn verdicts(&self, place: &Named, origins: &[String], more: &[&str]) -> (Vec<String>, i32) {
        let more = [&["--json"], &AGES[..], more].concat();
        let finished = self.run(livetrail_verify(), &[], place, &more);
        let report: Value = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|_| panic!("{}: {}", place.0, finished.output()));
        let of = |origin: &String| {
            let trails = report["trails"].as_array().expect("trails");
            let trail = trails.iter().find(|trail| trail["origin"] == **origin);
            let trail = trail.unwrap_or_else(|| panic!("{origin} in {report:#}"));
            let word = |name: &str| trail[name].as_str().unwrap_or_default();
            format!("{} {}", word("state"), word("verdict"))
        };
        let code = finished.status.code().unwrap_or(-1);
        (origins.iter().map(of).collect(), code)
    }

    fn query(&self, place: &Named, more: &[&str]) -> Finished {
        let more = [&AGES[..], more].concat();
        self.run(livetrail(), &["trail", "query"], place, &more)
    }

    /// Waits until each place has these verdicts.
    fn await_verdicts(&self, origins: &[String], wanted: [&str; 3], wanted_code: i32) {
        for at in 0..3 {
            clock::wait_until(&format!("{wanted:?} in place {at}"), PATIENCE, || {
                let place = &self.places.named()[at];
                let (found, code) = self.verdicts(place, origins, &[]);
                found == wanted && code == wanted_code
            });
        }
    }
}

/// The sessions of a chain, from the viewer on: kind, node and epoch, and what is above it.
fn shown(link: &Value) -> String {
    let word = |name: &str| link[name].as_str().unwrap_or("-").to_owned();
    let epoch = &link["upstream"][0]["epoch"];
    let epoch = epoch.as_u64().map_or_else(String::new, |n| format!(" {n}"));
    let from = link["from"].as_array().into_iter().flatten().map(shown);
    let from: Vec<_> = from.collect();
    let from = match from.is_empty() {
        true => String::new(),
        false => format!(" ({})", from.join(", ")),
    };
    format!("{} {}{epoch}{from}", word("kind"), word("node"))
}

/// Removes the newest entries of a trail from the database, and all that says that they were there.
fn cut(table: &Table, origin: &str) {
    let log = format!("log_id = (SELECT log_id FROM livetrail.logs WHERE origin = '{origin}')");
    let size = table.server.sql(&format!(
        "SELECT max(size) FROM livetrail.checkpoints JOIN livetrail.commits USING (log_id) \
         WHERE {log} AND size = next_index AND size < (SELECT max(next_index) FROM livetrail.commits WHERE {log})"
    ));
    let size: u64 = size.trim().parse().expect("an older checkpoint");
    assert!(size > 0);
    let mut statements = "SET session_replication_role = replica;".to_owned();
    for (name, gone) in [
        ("records", "index >= "),
        ("checkpoints", "size > "),
        ("commits", "next_index > "),
    ] {
        statements += &format!(
            "ALTER TABLE livetrail.{name} DISABLE TRIGGER ALL; \
             DELETE FROM livetrail.{name} WHERE {log} AND {gone}{size};"
        );
    }
    table.server.sql(&statements);
}

/// Types each command of the page that has the fleet in it. All of them find something.
fn type_all(auditor: &Auditor, watched: &str, viewer: IpAddr) {
    let viewer = viewer.to_string();
    let session = "0199a7b2-5c1e-7000-8000-00c04fd430c8";
    let [database, bucket, topic] = auditor.places.named();
    let of_database = [
        ("postgres://auditor@127.0.0.1:5432/trail", &*database.1[1]),
        (session, watched),
        ("192.0.2.7", &viewer),
    ];
    let of_bucket = [
        ("s3://bucket/trails", &*bucket.1[0]),
        ("http://127.0.0.1:9000", &bucket.1[2]),
    ];
    let of_topic = [("copies", &*topic.1[0])];
    for (word, replaced, commands) in [
        ("--postgres", &of_database[..], 4),
        ("s3://", &of_bucket, 2),
        ("--fleet copies", &of_topic, 2),
    ] {
        let typed = type_page(&auditor.keys, word, replaced);
        assert_eq!(typed.len(), commands, "{word}");
        for finished in typed {
            let finished = finished.success();
            let is_empty = finished.stdout.is_empty() || finished.stdout.starts_with("0 ");
            assert!(!is_empty, "{}", finished.output());
        }
    }
}

#[test]
fn three_nodes_in_one_database_bucket_and_topic_are_read_as_a_whole() {
    let places = Places::new();
    let mut first = Server::start(places.node("origin", 0).key("edge-1", KEY, "play"));
    let pull = |from: &str, at: SocketAddr| {
        format!(
            "[[relay.pull]]\napplication = \"live\"\nsilence = \"60s\"\ngrace = \"500ms\"\n\
             [[relay.pull.origin]]\nname = {from:?}\nurl = \"rtmp://{at}\"\nsecret = {KEY:?}"
        )
    };
    let middle = places
        .node("edge-1", 1)
        .key("edge-2", KEY, "play")
        .lines(&pull("origin", first.rtmp()));
    let mut middle = Server::start(middle);
    let last = places
        .node("edge-2", 2)
        .lines(&pull("edge-1", middle.rtmp()));
    let mut last = Server::start(last);

    let publisher = Publisher::start(first.rtmp());
    first.await_frames("live/cam", 5);
    let viewer = watch(last.http());
    let address = viewer.local_addr().expect("an address");
    last.await_frames("live/cam", 5);
    // Another publisher continues the stream: the next epoch on both edges.
    publisher.end();
    first.await_records("publish_ended", 1);
    let publisher = Publisher::start(first.rtmp());
    last.await_records("publish_started", 2);
    assert_eq!(http::get(last.http(), "/other/cam.flv").status, 404);
    drop(viewer);
    let trail = last.await_records("publish_ended", 2);
    let watched = trail.of("play_started").next().expect("a viewer").session;
    let watched = watched.expect("a session").to_string();
    first.await_records("play_ended", 1);
    publisher.end();
    first.await_records("publish_ended", 2);

    let nodes = [&first, &middle, &last];
    let origins = nodes.map(origin).to_vec();
    let keys = nodes.map(|node| std::fs::read_to_string(node.data().join("trail.vkey")));
    let keys = keys.map(|keys| keys.expect("keys")).concat();
    let auditor = Auditor {
        keys: places.dir.path().join("fleet.vkey"),
        places,
    };
    std::fs::write(&auditor.keys, keys).expect("a file");
    for node in nodes {
        let size = node.trail().records().len() as u64;
        for sink in ["postgres", "bucket", "topic"] {
            await_state(node, sink, "following");
        }
        clock::wait_until("the sinks have the story", PATIENCE, || {
            let health = node.get("/health").json();
            let sinks = health["sinks"].as_array().cloned().unwrap_or_default();
            let behind = sinks.iter().filter_map(|sink| sink["lag_records"].as_u64());
            let now = node.trail().records().len() as u64;
            behind.max().is_some_and(|lag| lag <= now - size)
        });
    }

    auditor.await_verdicts(&origins, ["current sound"; 3], 0);
    let at_origin = "play origin (publish origin, publish origin)";
    let at_middle =
        format!("play edge-1 (publish edge-1 0 ({at_origin}), publish edge-1 1 (play origin))");
    let chain =
        format!("play edge-2 (publish edge-2 0 ({at_middle}), publish edge-2 1 (play edge-1))");
    for place in auditor.places.named() {
        let more = ["--session", &watched, "--chain", "--format", "json"];
        let found = auditor.query(&place, &more).success();
        let link: Value = serde_json::from_str(&found.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", place.0, found.output()));
        assert_eq!(shown(&link), chain, "{}", place.0);
        let all = ["--stream", "cam", "--action", "publish_started"];
        let more = [&all[..], &["--format", "tsv"]].concat();
        let started = auditor.query(&place, &more).success();
        let of = |origin: &String| {
            let begin = format!("{origin}\t");
            let lines = started.stdout.lines();
            lines.filter(|line| line.starts_with(&begin)).count()
        };
        assert_eq!(
            origins.iter().map(of).collect::<Vec<_>>(),
            [2, 2, 2],
            "{}",
            place.0
        );
    }
    type_all(&auditor, &watched, address.ip());

    // A node that is killed says nothing more.
    last.crash();
    let silent = ["current sound", "current sound", "silent sound"];
    auditor.await_verdicts(&origins, silent, 1);
    for place in auditor.places.named() {
        let found = auditor.query(&place, &["--stream", "cam", "--format", "tsv"]);
        let said = format!("warning: {} is silent: ", origins[2]);
        assert!(found.success().stderr.contains(&said), "{}", place.0);
    }

    // The end of a trail is removed from the database. To the bucket and the topic it never comes.
    let before = middle.stop().records().len();
    middle.set_config(Config::new().node("edge-1"));
    middle.start_again();
    clock::wait_until("the trail has grown", PATIENCE, || {
        middle.trail().records().len() > before
    });
    let newer = auditor.places.dir.path().join("newer.checkpoint");
    std::fs::write(&newer, middle.trail().checkpoint()).expect("a file");
    cut(&auditor.places.table, &origins[1]);
    for place in auditor.places.named() {
        let against = ["--against", newer.to_str().expect("a path")];
        let (found, code) = auditor.verdicts(&place, &origins, &against);
        let verdicts = found
            .iter()
            .map(|of| of.split(' ').next_back().unwrap_or(""));
        let verdicts: Vec<_> = verdicts.collect();
        assert_eq!(verdicts, ["sound", "not_sound", "sound"], "{}", place.0);
        assert_eq!(code, 1, "{}", place.0);
        // Nobody else can know it: what is there is sound.
        let (found, _) = auditor.verdicts(&place, &origins, &[]);
        assert!(found[1].ends_with(" sound"), "{}: {found:?}", place.0);
    }
    middle.stop();
    first.stop();
}
