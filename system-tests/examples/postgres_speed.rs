//! How many records a second a PostgreSQL on this machine takes from the ledger, through the replicator as it is in the server, with the
//! database's defaults for durability: `cargo run --release -p system-tests --example postgres_speed [RECORDS]`.

#![allow(clippy::print_stdout, reason = "its result is for whoever runs it")]

use std::sync::Arc;
use std::time::Duration;

use livetrail_audit::replica::conformance::TestLog;
use livetrail_audit::replica::{ReplicaOptions, Replicas, Replicator};
use livetrail_engine::SystemClock;
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget, set_up};
use system_tests::Postgres;
use system_tests::clock::{Stopwatch, wait_until};

const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let records = std::env::args().nth(1).map_or(1_000_000, |records| {
        records.parse().expect("a number of records")
    });
    let server = Postgres::start();
    let target = PostgresTarget::parse(&server.url()).expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(set_up(&target)).expect("a schema");
    let log = TestLog::with("example.com/speed", records);
    let bytes: usize = log.entries().iter().map(|entry| entry.len()).sum();
    let sink = Arc::new(PostgresSink::new("postgres", target).expect("a sink"));
    let clock = Arc::new(SystemClock::new());
    let options = ReplicaOptions::default();
    let replicator =
        Replicator::new(log.handle(), log.reader(), sink, options, clock).expect("a replicator");
    let watch = replicator.watch();
    let mut replicas = Replicas::new();
    let stopwatch = Stopwatch::start();
    replicas.start(replicator).expect("a thread");
    wait_until("the sink has everything", PATIENCE, || {
        watch.status().cursor == Some(records)
    });
    let took = stopwatch.elapsed();
    replicas.close(Duration::from_secs(5));
    let held = server.sql("SELECT count(*) FROM livetrail.records");
    assert_eq!(held, records.to_string(), "all are there");
    let rate = u128::from(records) * 1_000 / took.as_millis().max(1);
    println!(
        "{records} records of {} bytes on average in {:.1} s: {rate} records a second",
        bytes as u64 / records.max(1),
        took.as_secs_f64()
    );
}
