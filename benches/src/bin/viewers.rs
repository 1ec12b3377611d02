//! Processor time per viewer of our server and of others, with thousands of viewers, alternately in
//! one run.
//!
//! `viewers load URL` is the load client alone, for any RTMP or HTTP-FLV server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use livetrail_benches::{
    self as bench,
    viewers::{
        bare,
        client::{Client, Plan},
        clip, gateway, instructions,
        load::{self, Report},
        server::{self, Kind, Server, Usage},
        share,
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
    /// Send the clip's messages to every client, with bare `writev`
    Bare(bare::Options),
    /// Our RTMP gateway alone, on an engine with a trail or without
    Gateway(gateway::Options),
    /// The cost of the trail: two gateways at once, one with a trail and one without
    Share(share::Options),
    /// Instructions a frame and viewer, with a trail and without, counted by valgrind
    Instructions(instructions::Options),
}

#[derive(clap::Args)]
struct Compare {
    /// Numbers of viewers, one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    viewers: Vec<usize>,
    /// Seconds that are measured, in each turn
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Our server's `send_interval`, in milliseconds; each is a server of its own in the table
    #[arg(long, value_delimiter = ',', default_value = "0,10,350")]
    send_interval: Vec<u64>,
    /// Sender threads of our server, 0 for one per processor; each number is a separate server in
    /// the table
    #[arg(long, value_delimiter = ',', default_value = "0")]
    egress_threads: Vec<usize>,
    /// How our server writes: `auto`, the default, uses io_uring, `off` does not; each is a
    /// separate server in the table
    #[arg(long, value_delimiter = ',', default_value = "auto", value_parser = ["auto", "off"])]
    io_uring: Vec<String>,
    /// The protocol of our server's viewers: `rtmp`, `http-flv`, `rtmps`, `https-flv` (the
    /// publisher stays with RTMP), or `rtmp-unaudited` (our gateway without a trail or any
    /// observer)
    #[arg(long, value_delimiter = ',', default_value = "rtmp,http-flv")]
    protocol: Vec<String>,
    /// Other servers: `nginx`, `bare` (a loop of `writev`), `bare-uring` (one of io_uring), or
    /// `none`
    #[arg(long, value_delimiter = ',', default_value = "nginx,bare,bare-uring")]
    peers: Vec<String>,
    /// Streams over which the viewers are spread
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// This many more viewers join during the measurement, within `--storm-seconds`
    #[arg(long, default_value_t = 0)]
    storm: usize,
    #[arg(long, default_value_t = 2.0)]
    storm_seconds: f64,
    /// Our server's program; built from the workspace unless given
    #[arg(long)]
    livetrail: Vec<PathBuf>,
    /// The FLV file to publish; made with ffmpeg unless given
    #[arg(long)]
    clip: Option<PathBuf>,
    /// The clip of a low rate, about 100 kbit/s
    #[arg(long, conflicts_with = "clip")]
    light: bool,
    /// A short run: 2 s, once
    #[arg(long)]
    quick: bool,
}

impl Compare {
    /// How ours sends: intervals, and numbers of threads.
    fn sendings(&self) -> impl Iterator<Item = (u64, usize)> {
        let threads = |&interval_ms| self.egress_threads.iter().map(move |&n| (interval_ms, n));
        self.send_interval.iter().flat_map(threads)
    }
}

fn main() -> Result<()> {
    load::start_clock();
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Part::Load(options)) => load::run(options),
        Some(Part::Bare(options)) => bare::run(options),
        Some(Part::Gateway(options)) => gateway::run(options),
        Some(Part::Share(options)) => share::run(options),
        Some(Part::Instructions(options)) => instructions::run(options),
        None => compare(arguments.compare),
    }
}

/// One server in the table.
struct Candidate {
    kind: Kind,
    program: PathBuf,
    name: String,
    samples: Vec<Sample>,
}

/// The result of one turn.
#[derive(Clone)]
struct Sample {
    cpu_ms: f64,
    voluntary: f64,
    involuntary: f64,
    rss_kib: f64,
    report: Report,
}

fn compare(mut options: Compare) -> Result<()> {
    if options.quick {
        (options.seconds, options.rounds) = (2.0, 1);
    }
    let made = if options.light {
        clip::light
    } else {
        clip::at_hand
    };
    let clip = options.clip.clone().map_or_else(made, Ok)?;
    if options.livetrail.is_empty() {
        options.livetrail = vec![server::build("")?];
    }
    println!(
        "{} stream(s), {} s in each turn, median of {} turns; processor time of the server's process from the system",
        options.streams, options.seconds, options.rounds
    );
    for &viewers in &options.viewers {
        let mut candidates = candidates(&options);
        for round in 0..options.rounds {
            for turn in 0..candidates.len() {
                // A different one goes first in each round.
                let at = (turn + round) % candidates.len();
                let candidate = &mut candidates[at];
                let sample = measure(candidate, viewers, &clip, &options)
                    .with_context(|| candidate.name.clone())?;
                eprintln!(
                    "  {}: {:.4} ms | {}",
                    candidate.name,
                    sample.cpu_ms,
                    sample.report.clone().line()
                );
                candidate.samples.push(sample);
            }
        }
        println!("\n### {viewers} viewers\n");
        print(&candidates);
    }
    Ok(())
}

fn candidates(options: &Compare) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut add = |kind: Kind, program: &Path, mark: String| {
        if let Some(missing) = kind.missing() {
            println!("{} is left out: it is in {missing}", kind.name());
            return;
        }
        candidates.push(Candidate {
            name: kind.name() + &mark,
            kind,
            program: program.to_owned(),
            samples: Vec::new(),
        });
    };
    let speaks = |protocol: &str| options.protocol.iter().any(|p| p == protocol);
    let wants = |peer: &str| options.peers.iter().any(|p| p == peer);
    let several = options.livetrail.len() > 1;
    if wants("nginx") {
        add(Kind::Nginx, Path::new(""), String::new());
    }
    for (at, program) in options.livetrail.iter().enumerate() {
        let mark = || {
            if several {
                format!(" ({})", at + 1)
            } else {
                String::new()
            }
        };
        for (interval_ms, threads) in options.sendings() {
            for (protocol, http, tls) in [
                ("rtmp", false, false),
                ("rtmps", false, true),
                ("http-flv", true, false),
                ("https-flv", true, true),
            ] {
                for way in &options.io_uring {
                    if speaks(protocol) {
                        let kind = Kind::Livetrail {
                            interval_ms,
                            threads,
                            http,
                            tls,
                            io_uring: way == "auto",
                        };
                        add(kind, program, mark());
                    }
                }
            }
        }
    }
    if speaks("rtmp-unaudited") {
        for (interval_ms, threads) in options.sendings() {
            let kind = Kind::Gateway {
                interval_ms,
                threads,
                audited: false,
            };
            add(kind, Path::new(""), String::new());
        }
    }
    for (peer, io_uring) in [("bare", false), ("bare-uring", true)] {
        for &interval_ms in &options.send_interval {
            if wants(peer) {
                let kind = Kind::Bare {
                    interval_ms,
                    io_uring,
                };
                add(kind, Path::new(""), String::new());
            }
        }
    }
    candidates
}

fn measure(
    candidate: &Candidate,
    viewers: usize,
    clip: &Path,
    options: &Compare,
) -> Result<Sample> {
    let server = Server::start(&candidate.kind, &candidate.program, clip)?;
    let plan = Plan {
        viewers,
        seconds: options.seconds,
        streams: options.streams,
        storm: options.storm,
        storm_seconds: options.storm_seconds,
        passing: 0.0,
        clip,
    };
    let mut load = Client::start(&server, &plan)?;
    let empty = server.usage()?;
    load.join()?;
    load.await_joined()?;
    let before = server.usage()?;
    let report = load.report()?;
    let after = server.usage()?;
    Ok(sample(viewers, &empty, &before, &after, report))
}

fn sample(viewers: usize, empty: &Usage, before: &Usage, after: &Usage, report: Report) -> Sample {
    let used = after.since(before);
    Sample {
        cpu_ms: used.cpu_seconds * 1e3 / used.seconds / viewers as f64,
        voluntary: used.voluntary as f64 / used.seconds,
        involuntary: used.involuntary as f64 / used.seconds,
        rss_kib: before.rss_bytes.saturating_sub(empty.rss_bytes) as f64 / 1_024.0 / viewers as f64,
        report,
    }
}

const HEADINGS: [&str; 13] = [
    "server",
    "ms/viewer·s",
    "of plain",
    "of nginx",
    "of bare",
    "Mbit/s",
    "p50 ms",
    "p99 ms",
    "join p99 ms",
    "storm p50/p99 ms",
    "switches/s",
    "KiB/viewer",
    "lost/unplaced/gaps, frames",
];

fn print(candidates: &[Candidate]) {
    let median = |candidate: &Candidate, value: &dyn Fn(&Sample) -> f64| {
        let values: Vec<_> = candidate.samples.iter().map(value).collect();
        bench::median(&values)
    };
    // Ratios are taken within a round, because the machine varies less within a round than between
    // rounds.
    let share = |own: &Candidate, of: &Kind| {
        let of = candidates.iter().find(|c| c.kind == *of);
        of.map_or("–".to_owned(), |of| {
            let rounds = own.samples.iter().zip(&of.samples);
            let shares = rounds.map(|(own, of)| own.cpu_ms / of.cpu_ms);
            bench::spread(&shares.collect::<Vec<_>>(), 2)
        })
    };
    let lines: Vec<_> = candidates
        .iter()
        .map(|c| {
            let of = |value: &dyn Fn(&Sample) -> f64| median(c, value);
            let cpu: Vec<_> = c.samples.iter().map(|s| s.cpu_ms).collect();
            let interval_ms = match c.kind {
                Kind::Livetrail { interval_ms, .. }
                | Kind::Gateway { interval_ms, .. }
                | Kind::Bare { interval_ms, .. } => interval_ms,
                Kind::Nginx => 0,
            };
            let sum = |value: &dyn Fn(&Report) -> u64| {
                c.samples.iter().map(|s| value(&s.report)).sum::<u64>()
            };
            vec![
                c.name.clone(),
                bench::spread(&cpu, 3),
                c.kind
                    .plain()
                    .map_or("–".to_owned(), |plain| share(c, &plain)),
                share(c, &Kind::Nginx),
                share(
                    c,
                    &Kind::Bare {
                        interval_ms,
                        io_uring: false,
                    },
                ),
                format!(
                    "{:.0}",
                    of(&|s| s.report.bytes as f64 * 8e-6 / s.report.seconds)
                ),
                format!("{:.2}", of(&|s| s.report.p50_ms)),
                format!("{:.2}", of(&|s| s.report.p99_ms)),
                format!("{:.0}", of(&|s| s.report.join_p99_ms)),
                format!(
                    "{:.0}/{:.0}",
                    of(&|s| s.report.storm_p50_ms),
                    of(&|s| s.report.storm_p99_ms)
                ),
                format!("{:.0}+{:.0}", of(&|s| s.voluntary), of(&|s| s.involuntary)),
                format!("{:.1}", of(&|s| s.rss_kib)),
                format!(
                    "{}/{}/{}, {}–{}",
                    sum(&|r| r.lost as u64),
                    sum(&|r| r.unplaced as u64),
                    sum(&|r| r.gaps),
                    of(&|s| s.report.least_frames as f64),
                    of(&|s| s.report.most_frames as f64),
                ),
            ]
        })
        .collect();
    bench::table(&HEADINGS, &lines);
}
