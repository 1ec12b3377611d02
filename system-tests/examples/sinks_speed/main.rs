//! How many records per second each sink takes, next to a bare client that brings the same records
//! to the same server in the same run: `cargo xtask bench sinks`, or `cargo run --release -p
//! system-tests --example sinks_speed -- [--records N] [--rounds N] [SINK]...`.
//!
//! The records come from a ledger in memory through the replicator, as in the server and with its
//! default settings, from an empty sink until it has all.

#![allow(clippy::print_stdout, reason = "it prints its result")]

mod file;
mod kafka;
mod postgres;
mod s3;

use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::SystemClock;
use livetrail_replica::conformance::TestLog;
use livetrail_replica::{ReplicaOptions, ReplicaSink, Replicas, Replicator};
use system_tests::CommandLine;
use system_tests::clock::{Stopwatch, wait_until};

const USAGE: &str = "\
How many records per second each sink takes, next to a bare client that brings the same records to the same server.

Usage: sinks_speed [--records N] [--rounds N] [--quick] [SINK]...

  SINK         postgres, kafka, s3 or file; without one, all
  --records N  in each turn; s3 gets a quarter of them [default: 400000]
  --rounds N   over which medians are taken [default: 3]
  --quick      100,000 records, once
  -h, --help   Print this";

/// The minimum, so that the sink with the smallest share gets some.
const LEAST_RECORDS: u64 = 8;

/// For all records to arrive.
const PATIENCE: Duration = Duration::from_secs(600);

const ORIGIN: &str = "example.com/speed";

/// The result of a round: records per second of the sink, and of the bare client.
struct Round {
    sink: f64,
    bare: f64,
}

/// A kind of sink.
struct Kind {
    name: &'static str,
    /// The bare client's operation.
    bare: &'static str,
    /// The share of the records that it gets: for a slow sink, some seconds' worth are enough.
    share: u64,
    /// `sink_first` changes from round to round.
    run: fn(log: &TestLog, sink_first: bool) -> Round,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "postgres",
        bare: postgres::BARE,
        share: 1,
        run: postgres::round,
    },
    Kind {
        name: "kafka",
        bare: kafka::BARE,
        share: 1,
        run: kafka::round,
    },
    Kind {
        name: "s3",
        bare: s3::BARE,
        share: 4,
        run: s3::round,
    },
    Kind {
        name: "file",
        bare: file::BARE,
        share: 1,
        run: file::round,
    },
];

struct Arguments {
    records: u64,
    rounds: usize,
    names: Vec<String>,
}

fn main() {
    let arguments = arguments();
    println!(
        "| sink | records | records/s | bare, records/s | of bare | in each round | the bare client |"
    );
    println!(
        "|-----:|--------:|----------:|----------------:|--------:|--------------:|:----------------|"
    );
    for kind in &KINDS {
        let named = |name: &String| name == kind.name;
        if !arguments.names.is_empty() && !arguments.names.iter().any(named) {
            continue;
        }
        let log = TestLog::with(ORIGIN, arguments.records / kind.share);
        let rounds: Vec<_> = (0..arguments.rounds)
            .map(|round| (kind.run)(&log, round % 2 == 0))
            .collect();
        print(kind, log.size(), &rounds);
    }
}

fn arguments() -> Arguments {
    let mut arguments = Arguments {
        records: 400_000,
        rounds: 3,
        names: Vec::new(),
    };
    let mut given = CommandLine::of_process(USAGE);
    while let Some(argument) = given.take() {
        match argument.as_str() {
            "--records" => arguments.records = given.take_number("--records", LEAST_RECORDS),
            "--rounds" => arguments.rounds = given.take_number("--rounds", 1) as usize,
            "--quick" => (arguments.records, arguments.rounds) = (100_000, 1),
            name if KINDS.iter().any(|kind| kind.name == name) => {
                arguments.names.push(argument);
            }
            other => given.refuse(&format!(
                "there is no `{other}`; the sinks are postgres, kafka, s3 and file"
            )),
        }
    }
    arguments
}

/// Medians of the rounds, and the ratios of each.
fn print(kind: &Kind, records: u64, rounds: &[Round]) {
    let sinks: Vec<_> = rounds.iter().map(|round| round.sink).collect();
    let bares: Vec<_> = rounds.iter().map(|round| round.bare).collect();
    let ratios: Vec<_> = rounds
        .iter()
        .map(|round| format!("{:.2}", round.sink / round.bare))
        .collect();
    let (sink, bare) = (median(&sinks), median(&bares));
    println!(
        "| {} | {records} | {sink:.0} | {bare:.0} | {:.2} | {} | {} |",
        kind.name,
        sink / bare,
        ratios.join(" "),
        kind.bare
    );
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Lets a sink follow the log until it has everything; records per second.
fn follow(log: &TestLog, sink: Arc<dyn ReplicaSink>) -> f64 {
    let clock = Arc::new(SystemClock::new());
    let options = ReplicaOptions::default();
    let replicator =
        Replicator::new(log.handle(), log.reader(), sink, options, clock).expect("a replicator");
    let watch = replicator.watch();
    let mut replicas = Replicas::new();
    let rate = rate(log, || {
        replicas.start(replicator).expect("a thread");
        wait_until("the sink has everything", PATIENCE, || {
            watch.status().cursor == Some(log.size())
        });
    });
    replicas.close(Duration::from_secs(5));
    rate
}

/// The number of records of the log per second that this delivers.
fn rate(log: &TestLog, work: impl FnOnce()) -> f64 {
    let stopwatch = Stopwatch::start();
    work();
    log.size() as f64 / stopwatch.elapsed().as_secs_f64()
}

/// Both in this order or the other.
fn in_turns(sink_first: bool, sink: impl FnOnce() -> f64, bare: impl FnOnce() -> f64) -> Round {
    if sink_first {
        let sink = sink();
        Round { sink, bare: bare() }
    } else {
        let bare = bare();
        Round { sink: sink(), bare }
    }
}
