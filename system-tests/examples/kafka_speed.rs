//! How many records per second a Kafka broker on this machine takes, and the cost of each part of
//! the sink: `cargo run --release -p system-tests --example kafka_speed [RECORDS [ROUNDS]]`.
//!
//! In turns, to one broker: librdkafka's bare producer; with the sink's headers; with these in
//! transactions as long as the sink's batches; the sink itself, through the replicator as in the
//! server. The records are in memory. The broker is Tansu, whose records are in an object store in
//! this process's memory, so the numbers are not those of Apache Kafka. Prints medians, and the
//! ratio to bare of each round.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::SystemClock;
use livetrail_replica::conformance::TestLog;
use livetrail_replica::{ReplicaOptions, Replicas, Replicator};
use livetrail_sinks::kafka::{KafkaSink, KafkaTarget, set_up};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use system_tests::clock::{Stopwatch, wait_until};
use system_tests::resources::cpu_seconds;
use system_tests::{CommandLine, KafkaBroker};

const USAGE: &str = "\
How many records per second a Kafka broker on this machine takes, and the cost of each part of the sink.

Usage: kafka_speed [RECORDS [ROUNDS]]

  RECORDS     in each turn [default: 400000]
  ROUNDS      over which medians are taken [default: 3]
  -h, --help  Print this";

const PATIENCE: Duration = Duration::from_secs(600);

const ORIGIN: &str = "example.com/speed";

/// The measurements, in this order and in reverse.
const KINDS: [(&str, Kind); 4] = [
    ("bare producer", Kind::Bare),
    ("with headers", Kind::Headers),
    ("in transactions", Kind::Transactions),
    ("the sink", Kind::Sink),
];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bare,
    Headers,
    Transactions,
    Sink,
}

fn main() {
    let mut given = CommandLine::of_process(USAGE);
    let mut number = |of, or| {
        let text = given.take();
        text.map_or(or, |text| given.number(of, &text, 1))
    };
    let (records, rounds) = (number("RECORDS", 400_000), number("ROUNDS", 3));
    given.end();
    let log = TestLog::with(ORIGIN, records);
    let address = KafkaBroker::free_address();
    let broker = KafkaBroker::start(address, address);
    let mut rates = [const { Vec::new() }; KINDS.len()];
    let mut spent = [const { [0.0; 3] }; KINDS.len()];
    for round in 0..rounds {
        let mut order: Vec<_> = KINDS.iter().zip(&mut rates).zip(&mut spent).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (((name, kind), rates), spent) in order {
            // Each a topic of its own, so that none is behind what another wrote.
            let topic = format!("{}-{round}", name.replace(' ', "-"));
            let url = format!("kafka://{address}/{topic}?accept=one-replica");
            let target = KafkaTarget::parse(&url).expect("an address");
            set_up(&target, 1, 1).expect("a topic");
            let before = processors(&broker);
            let stopwatch = Stopwatch::start();
            match kind {
                Kind::Sink => follow(&log, target),
                kind => produce(&log, &broker, &topic, *kind),
            }
            rates.push(records as f64 / stopwatch.elapsed().as_secs_f64());
            let after = processors(&broker);
            for (spent, (before, after)) in spent.iter_mut().zip(before.into_iter().zip(after)) {
                *spent += (after - before) * 1e6 / (records * rounds) as f64;
            }
        }
    }
    let bytes: usize = log.entries().iter().map(|entry| entry.len()).sum();
    println!(
        "{records} records of {} bytes on average, {rounds} rounds",
        bytes as u64 / records.max(1)
    );
    let [bare, ..] = &rates;
    let bare = bare.clone();
    for (((name, _), rates), [client, broker, store]) in KINDS.iter().zip(rates).zip(spent) {
        let ratios = rates.iter().zip(&bare).map(|(rate, bare)| rate / bare);
        let ratios: Vec<_> = ratios.map(|ratio| format!("{ratio:.2}")).collect();
        println!(
            "{name:>16}: {:>9.0} records a second; of bare: {}; microseconds of processor a record: {client:.1} here, {broker:.1} broker, {store:.1} its store",
            median(rates),
            ratios.join(" ")
        );
    }
}

/// Seconds of processor time so far: this process, the broker, the store below that.
fn processors(broker: &KafkaBroker) -> [f64; 3] {
    let all = cpu_seconds(rustix::process::getpid());
    let (broker, store) = broker.cpu_seconds();
    [all - store, broker, store]
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// The sink, until it has everything.
fn follow(log: &TestLog, target: KafkaTarget) {
    let sink = Arc::new(KafkaSink::new("kafka", target).expect("a sink"));
    let clock = Arc::new(SystemClock::new());
    let options = ReplicaOptions::default();
    let replicator =
        Replicator::new(log.handle(), log.reader(), sink, options, clock).expect("a replicator");
    let watch = replicator.watch();
    let mut replicas = Replicas::new();
    replicas.start(replicator).expect("a thread");
    wait_until("the sink has everything", PATIENCE, || {
        watch.status().cursor == Some(log.size())
    });
    replicas.close(Duration::from_secs(5));
}

/// The same records to the same broker, without any of us.
fn produce(log: &TestLog, broker: &KafkaBroker, topic: &str, kind: Kind) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.clients_address().to_string())
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5");
    if kind == Kind::Transactions {
        config.set("transactional.id", topic);
    }
    let producer: BaseProducer = config.create().expect("a producer");
    if kind == Kind::Transactions {
        producer.init_transactions(PATIENCE).expect("an epoch");
    }
    let entries = log.entries();
    let mut index = 0_u64;
    for batch in entries.chunks(ReplicaOptions::default().batch_records) {
        if kind == Kind::Transactions {
            producer.begin_transaction().expect("a transaction");
        }
        for entry in batch {
            let mut record = BaseRecord::to(topic)
                .partition(0)
                .key(ORIGIN)
                .payload(&entry[..]);
            if kind != Kind::Bare {
                record = record.headers(headers(index));
            }
            index += 1;
            while let Err((error, again)) = producer.send(record) {
                let full = KafkaError::MessageProduction(Code::QueueFull);
                assert_eq!(error, full, "a record is not taken");
                producer.poll(Duration::from_millis(1));
                record = again;
            }
        }
        if kind == Kind::Transactions {
            flush(&producer);
            producer.commit_transaction(PATIENCE).expect("a commit");
        }
    }
    flush(&producer);
}

/// Several short calls, because other events are handled only at the end of a call.
fn flush(producer: &BaseProducer) {
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
}

/// As many bytes as the sink's.
fn headers(index: u64) -> OwnedHeaders {
    let index = index.to_string();
    let leaf = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let headers = OwnedHeaders::new_with_capacity(2);
    [("index", index.as_str()), ("leaf", leaf)]
        .into_iter()
        .fold(headers, |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
}
