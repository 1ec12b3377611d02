//! The servers that sinks write to, for a benchmark that runs `livetrail serve` beside them: prints the lines of its configuration
//! and `# ready`, and ends with its standard input.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::io::Read as _;

use livetrail_sinks::kafka::{self, KafkaTarget};
use livetrail_sinks::postgres::{PostgresTarget, set_up};
use system_tests::{KafkaBroker, Postgres, S3Server};

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let postgres = Postgres::start();
    let target = PostgresTarget::parse(&postgres.url()).expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(set_up(&target)).expect("a schema");
    println!("[[sink]]\nname = \"postgres\"\n[sink.postgres]");
    println!("url = {:?}", postgres.url());

    let s3 = S3Server::shared();
    s3.create_bucket("beside", true);
    let credentials = dir.path().join("credentials");
    let profile = "[default]\naws_access_key_id = trail\naws_secret_access_key = a-secret\n";
    std::fs::write(&credentials, profile).expect("credentials");
    println!("[[sink]]\nname = \"s3\"\n[sink.s3]\nbucket = \"beside\"\nregion = \"us-east-1\"");
    println!(
        "endpoint = \"http://{}\"\ncredentials_file = {credentials:?}",
        s3.address()
    );
    println!("lock = \"compliance\"\nkeep_entries = \"1d\"\nkeep_tiles = \"1d\"");
    println!("keep_checkpoints = \"1d\"\nbatch_interval = \"2s\"");

    let address = KafkaBroker::free_address();
    let broker = KafkaBroker::start(address, address);
    let target = format!("kafka://{address}/audit?accept=one-replica");
    let target = KafkaTarget::parse(&target).expect("an address");
    kafka::set_up(&target, 1, 1).expect("a topic");
    println!("[[sink]]\nname = \"kafka\"\n[sink.kafka]\ntopic = \"audit\"");
    println!("brokers = [\"{}\"]", broker.clients_address());
    println!("accept = [\"one-replica\"]");

    for (name, format) in [("lines", "lines"), ("json", "json")] {
        let path = dir.path().join(name);
        println!("[[sink]]\nname = {name:?}\n[sink.file]\npath = {path:?}\nformat = {format:?}");
    }
    println!("# ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
