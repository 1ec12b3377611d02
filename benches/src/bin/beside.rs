//! Our server with a stream that plays, permanent and short-lived viewers, without sinks and with
//! all of them, alternately in one run.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use livetrail_benches::{
    self as bench,
    viewers::{
        beside::{self, SinkServers},
        client::{Client, Plan},
        clip,
        load::{self, Report},
        server::{self, Kind, STDOUT_SINK, Server},
    },
};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Part>,
    #[command(flatten)]
    compare: Compare,
}

#[derive(Subcommand)]
enum Part {
    /// Attach viewers to a server that runs
    Load(load::Options),
}

#[derive(clap::Args)]
struct Compare {
    /// Viewers who stay
    #[arg(long, default_value_t = 200)]
    viewers: usize,
    /// Viewers per second who join and leave again: two records each
    #[arg(long, default_value_t = 100.0)]
    passing: f64,
    /// Seconds that are measured, in each turn
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Our server's `send_interval`, in milliseconds
    #[arg(long, default_value_t = 10)]
    send_interval: u64,
    /// Our server's program; built from the workspace unless given
    #[arg(long)]
    livetrail: Option<PathBuf>,
    /// What starts the sinks' servers; built from the workspace unless given
    #[arg(long)]
    servers: Option<PathBuf>,
    /// The FLV file to publish; made with ffmpeg unless given
    #[arg(long)]
    clip: Option<PathBuf>,
    /// A short run: 3 s, twice
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    load::start_clock();
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Part::Load(options)) => load::run(options),
        None => compare(arguments.compare),
    }
}

/// The result of one turn. Processor times are milliseconds of a second.
#[derive(Default)]
struct Sample {
    report: Report,
    media: f64,
    trail: f64,
    replicas: f64,
    others: f64,
    whole: f64,
    servers: f64,
}

/// Threads on the path of frames, from the publisher's connection to the viewers' sockets. The
/// runtime's workers carry all connections, also those of joining viewers.
fn is_media(name: &str) -> bool {
    name.contains("-egress-") || name.starts_with("tokio-")
}

/// The threads that make records durable: the pipeline's worker and the ledger's threads.
fn is_trail(name: &str) -> bool {
    name.starts_with("ledger") || name.starts_with("livetrail-audit") || name.starts_with("trail")
}

/// A sink's own thread, its reads of the ledger, librdkafka's, and the thread that writes to
/// standard output.
fn is_replica(name: &str) -> bool {
    ["replica", "kafka", "rdk:", "stdout"]
        .iter()
        .any(|own| name.starts_with(own))
}

fn compare(mut options: Compare) -> Result<()> {
    if options.quick {
        (options.seconds, options.rounds) = (3.0, 2);
    }
    let clip = options.clip.clone().map_or_else(clip::at_hand, Ok)?;
    let program = options.livetrail.clone();
    let program = program.map_or_else(|| server::build("kafka"), Ok)?;
    let servers = options.servers.clone().map_or_else(beside::build, Ok)?;
    println!(
        "{} viewers who stay, {} a second who come and go, {} s in each turn, {} rounds; the sinks' servers run at nice 19",
        options.viewers, options.passing, options.seconds, options.rounds
    );
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        for turn in 0..2 {
            // A different one goes first in each round.
            if (turn + round) % 2 == 0 {
                without.push(measure(&program, None, &clip, &options)?);
            } else {
                with.push(measure(&program, Some(&servers), &clip, &options)?);
            }
        }
    }
    print(&without, &with);
    Ok(())
}

fn measure(
    program: &Path,
    servers: Option<&PathBuf>,
    clip: &Path,
    options: &Compare,
) -> Result<Sample> {
    let mut servers = servers.map(|path| SinkServers::start(path)).transpose()?;
    let sinks = servers
        .as_ref()
        .map(|servers| servers.config.clone() + STDOUT_SINK)
        .unwrap_or_default();
    let kind = Kind::Livetrail {
        interval_ms: options.send_interval,
        threads: 0,
        io_uring: true,
        http: false,
        tls: false,
    };
    let server = Server::start_with(&kind, program, clip, &sinks)?;
    // The start is not measured: each sink must first have everything.
    beside::await_following(server.http())?;
    let plan = Plan {
        viewers: options.viewers,
        seconds: options.seconds,
        streams: 1,
        storm: 0,
        storm_seconds: 1.0,
        passing: options.passing,
        clip,
    };
    let mut client = Client::start(&server, &plan)?;
    client.join()?;
    client.await_joined()?;
    let cpu_of = |servers: &Option<SinkServers>| {
        let used = servers.as_ref().map(SinkServers::cpu_seconds);
        used.transpose().map(|used| used.unwrap_or(0.0))
    };
    let sinks_before = beside::sinks(server.http())?;
    let (before, servers_before) = (server.usage()?, cpu_of(&servers)?);
    let report = client.report()?;
    let (after, servers_after) = (server.usage()?, cpu_of(&servers)?);
    let used = after.since(&before);
    let seconds = used.seconds;
    let share = |cpu_seconds: f64| cpu_seconds * 1e3 / seconds;
    let of = |named: &dyn Fn(&str) -> bool| share(after.of_threads(&before, named));
    let sample = Sample {
        media: of(&is_media),
        trail: of(&is_trail),
        replicas: of(&is_replica),
        others: of(&|name| !is_media(name) && !is_trail(name) && !is_replica(name)),
        whole: share(used.whole_cpu_seconds),
        servers: share(servers_after - servers_before),
        report,
    };
    let sinks = beside::sinks(server.http())?;
    ensure!(
        servers.is_none() || !sinks.is_empty(),
        "the server has no sinks"
    );
    let mut told = String::new();
    for (name, sink) in &sinks {
        let before = sinks_before.get(name).copied().unwrap_or_default();
        ensure!(
            sink.records > before.records,
            "sink {name} got nothing: {sink:?}"
        );
        ensure!(
            sink.errors == before.errors,
            "sink {name} had errors: {sink:?}"
        );
        told += &format!(" {name} {}+{}", sink.records, sink.lag_records);
    }
    tell(servers.is_some(), &sample, &told);
    drop(client);
    if let Some(servers) = &mut servers {
        check_all_is_there(server, servers, sinks.len())?;
    }
    Ok(sample)
}

/// Ends the server, and asserts that each of this many sinks then has the whole trail.
fn check_all_is_there(server: Server, servers: &mut SinkServers, sinks: usize) -> Result<()> {
    beside::await_caught_up(server.http())?;
    let ended = server.stop()?;
    let mut held = servers.held(&ended.origin)?;
    held.extend(ended.lines.map(|lines| ("stdout".to_owned(), lines)));
    ensure!(
        held.len() == sinks,
        "{sinks} sinks, of which were counted: {held:?}"
    );
    for (name, records) in &held {
        ensure!(
            *records == ended.records,
            "sink {name} holds {records} of {} records",
            ended.records
        );
    }
    eprintln!(
        "  each of {sinks} sinks holds all {} records",
        ended.records
    );
    Ok(())
}

/// One line for each turn.
fn tell(with_sinks: bool, sample: &Sample, told: &str) {
    let which = if with_sinks { "all sinks" } else { "no sinks" };
    eprintln!(
        "  {which}: media {:.0} trail {:.0} replicas {:.0} others {:.0} servers {:.0} ms/s;{told} | {}",
        sample.media,
        sample.trail,
        sample.replicas,
        sample.others,
        sample.servers,
        sample.report.clone().line()
    );
}

type Value = fn(&Sample) -> f64;

const ROWS: [(&str, Value); 14] = [
    ("frames of the viewer with the fewest", |s| {
        s.report.least_frames as f64
    }),
    ("frames of the viewer with the most", |s| {
        s.report.most_frames as f64
    }),
    ("Mbit/s to viewers", |s| {
        s.report.bytes as f64 * 8e-6 / s.report.seconds
    }),
    ("publisher to viewer, p50 ms", |s| s.report.p50_ms),
    ("publisher to viewer, p99 ms", |s| s.report.p99_ms),
    ("strict join, p50 ms", |s| s.report.let_in_p50_ms),
    ("strict join, p99 ms", |s| s.report.let_in_p99_ms),
    ("joins and leaves", |s| s.report.passed as f64),
    ("media threads, ms/s", |s| s.media),
    ("trail threads, ms/s", |s| s.trail),
    ("replica threads, ms/s", |s| s.replicas),
    ("other threads, ms/s", |s| s.others),
    ("the whole server, ms/s", |s| s.whole),
    ("sinks' servers, ms/s", |s| s.servers),
];

/// Medians, and their differences: per round, because a machine varies from minute to minute.
fn print(without: &[Sample], with: &[Sample]) {
    let median = |samples: &[Sample], value: Value| {
        bench::median(&samples.iter().map(value).collect::<Vec<_>>())
    };
    let lines: Vec<_> = ROWS
        .iter()
        .map(|(name, value)| {
            let (a, b) = (median(without, *value), median(with, *value));
            let ratios = without.iter().zip(with).map(|(a, b)| value(b) / value(a));
            let mut ratios: Vec<_> = ratios.filter(|ratio| ratio.is_finite()).collect();
            ratios.sort_by(f64::total_cmp);
            let spread = match (ratios.first(), ratios.last()) {
                (Some(least), Some(most)) => format!("{least:.2}–{most:.2}"),
                _ => "–".to_owned(),
            };
            let ratio = if ratios.is_empty() {
                "–".to_owned()
            } else {
                format!("{:.2}", bench::median(&ratios))
            };
            vec![
                (*name).to_owned(),
                format!("{a:.2}"),
                format!("{b:.2}"),
                ratio,
                spread,
            ]
        })
        .collect();
    bench::table(
        &["", "no sinks", "all sinks", "ratio", "in the rounds"],
        &lines,
    );
    let wrong = |samples: &[Sample]| {
        let of = |s: &Sample| s.report.lost as u64 + s.report.unplaced as u64 + s.report.gaps;
        samples.iter().map(of).sum::<u64>()
    };
    println!(
        "\nviewers lost, not in step, and gaps: {} without sinks, {} with all",
        wrong(without),
        wrong(with)
    );
}
