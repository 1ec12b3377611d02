//! The servers for sinks, for a benchmark that runs `livetrail serve` next to them: prints the
//! lines of its configuration and `# ready`. For each trail's name on its standard input it prints
//! how many of that trail's records each sink's destination holds without a gap, and `# counted`.
//! It ends with its standard input.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use livetrail_replica::ReplicaSink;
use livetrail_s3::CredentialSource;
use livetrail_sinks::kafka::{self, KafkaSink, KafkaTarget};
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget, set_up};
use livetrail_sinks::s3::{S3Options, S3Sink};
use system_tests::syslog::{Kind, Receiver};
use system_tests::{CommandLine, KafkaBroker, OtlpCollector, Postgres, S3Server, clock};
use tokio::runtime::Runtime;

const USAGE: &str = "\
The servers that sinks write to: prints the `[[sink]]` tables for `livetrail serve` and `# ready`, and ends with its
standard input. A trail's name on a line of it asks how many of its records each place holds.

Usage: sink_servers

  -h, --help  Print this";

const BUCKET: &str = "beside";

fn main() {
    CommandLine::of_process(USAGE).end();
    let servers = Servers::start();
    println!("# ready");
    for origin in std::io::stdin().lines().map_while(Result::ok) {
        for (name, held) in servers.held(&origin) {
            println!("{name} {held}");
        }
        println!("# counted");
    }
}

/// What runs until it is dropped.
struct Servers {
    runtime: Runtime,
    /// Sinks whose destination can report what it holds.
    asked: Vec<Arc<dyn ReplicaSink>>,
    files: Vec<(&'static str, PathBuf)>,
    syslog: Receiver,
    otlp: OtlpCollector,
    _postgres: Postgres,
    _kafka: KafkaBroker,
    _dir: tempfile::TempDir,
}

impl Servers {
    /// Starts all, and prints how to write to them.
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (postgres, table) = start_postgres(&runtime);
        let bucket = start_s3(dir.path());
        let (kafka, topic) = start_kafka();
        let files = ["lines", "json"].map(|format| {
            let path = dir.path().join(format);
            println!("[[sink]]\nname = {format:?}\n[sink.file]");
            println!("path = {path:?}\nformat = {format:?}");
            (format, path)
        });
        Self {
            runtime,
            asked: vec![table, bucket, topic],
            files: files.into(),
            syslog: start_syslog(),
            otlp: start_otlp(),
            _postgres: postgres,
            _kafka: kafka,
            _dir: dir,
        }
    }

    /// How many records of this trail each holds, from its first one on without a hole.
    fn held(&self, origin: &str) -> Vec<(String, u64)> {
        let mut held = Vec::new();
        for sink in &self.asked {
            let cursor = self.runtime.block_on(sink.cursor(origin));
            held.push((sink.name().to_owned(), cursor.expect("a cursor").next()));
        }
        for (name, path) in &self.files {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            held.push(((*name).to_owned(), text.lines().count() as u64));
        }
        let messages = self.syslog.held(origin);
        let indexes = messages.iter().map(|(index, _)| *index);
        held.push(("syslog".to_owned(), without_a_hole(indexes)));
        let records = self.otlp.received();
        let of_log = |record: &&serde_json::Value| record["resource"]["livetrail.origin"] == origin;
        let indexes = records
            .iter()
            .filter(of_log)
            .filter_map(|record| record["attributes"]["livetrail.index"].as_u64());
        held.push(("otlp".to_owned(), without_a_hole(indexes)));
        held
    }
}

/// How many there are from 0 on in this order; what is there again is there once.
fn without_a_hole(indexes: impl Iterator<Item = u64>) -> u64 {
    indexes.fold(0, |next, index| if index == next { next + 1 } else { next })
}

fn start_postgres(runtime: &Runtime) -> (Postgres, Arc<dyn ReplicaSink>) {
    let postgres = Postgres::start();
    let target = PostgresTarget::parse(&postgres.url()).expect("an address");
    runtime.block_on(set_up(&target)).expect("a schema");
    println!("[[sink]]\nname = \"postgres\"\n[sink.postgres]");
    println!("url = {:?}", postgres.url());
    let sink = PostgresSink::new("postgres", target).expect("a sink");
    (postgres, Arc::new(sink))
}

fn start_s3(dir: &Path) -> Arc<dyn ReplicaSink> {
    let s3 = S3Server::shared();
    let bucket = s3.create_bucket(BUCKET, true);
    let credentials = dir.join("credentials");
    let profile = "[default]\naws_access_key_id = trail\naws_secret_access_key = a-secret\n";
    std::fs::write(&credentials, profile).expect("credentials");
    println!("[[sink]]\nname = \"s3\"\n[sink.s3]\nbucket = {BUCKET:?}\nregion = \"us-east-1\"");
    println!(
        "endpoint = \"http://{}\"\ncredentials_file = {credentials:?}",
        s3.address()
    );
    println!("lock = \"compliance\"\nkeep_entries = \"1d\"\nkeep_tiles = \"1d\"");
    println!("keep_checkpoints = \"1d\"\nbatch_interval = \"2s\"");
    let mut options = S3Options::new(bucket, None);
    options.credentials = CredentialSource::Profile {
        path: credentials,
        profile: "default".to_owned(),
    };
    let now_s = Arc::new(|| clock::wall_ms() / 1_000);
    Arc::new(S3Sink::new("s3", options, now_s).expect("a sink"))
}

fn start_kafka() -> (KafkaBroker, Arc<dyn ReplicaSink>) {
    let address = KafkaBroker::free_address();
    let broker = KafkaBroker::start(address, address);
    let target = format!("kafka://{address}/audit?accept=one-replica");
    let target = KafkaTarget::parse(&target).expect("an address");
    kafka::set_up(&target, 1, 1).expect("a topic");
    println!("[[sink]]\nname = \"kafka\"\n[sink.kafka]\ntopic = \"audit\"");
    println!("brokers = [\"{}\"]", broker.clients_address());
    println!("accept = [\"one-replica\"]");
    let sink = KafkaSink::new("kafka", target).expect("a sink");
    (broker, Arc::new(sink))
}

/// rsyslog over TLS.
fn start_syslog() -> Receiver {
    let receiver = Receiver::start(Kind::Rsyslog);
    println!("[[sink]]\nname = \"syslog\"\n[sink.syslog]");
    println!("address = \"{}\"", receiver.address());
    println!("ca_file = {:?}", receiver.file("ca.pem"));
    receiver
}

fn start_otlp() -> OtlpCollector {
    let collector = OtlpCollector::start();
    println!("[[sink]]\nname = \"otlp\"\n[sink.otlp]");
    println!("endpoint = \"http://{}\"", collector.address());
    collector
}
