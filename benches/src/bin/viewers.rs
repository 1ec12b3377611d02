//! Processor time per viewer of our server and of others, with viewers by the thousand, in turns and in one run.
//!
//! `viewers load URL` is the load client alone, for any RTMP or HTTP-FLV server.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use livetrail_benches::{
    self as bench,
    viewers::{
        bare, clip, gateway,
        load::{self, JOINING, MEASURING, Report},
        server::{self, Kind, Server, Usage},
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
    /// Send the clip's messages to whoever connects, with bare `writev`
    Bare(bare::Options),
    /// Our RTMP gateway on an engine that nobody observes
    Gateway(gateway::Options),
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
    #[arg(long, value_delimiter = ',', default_value = "0,15,350")]
    send_interval: Vec<u64>,
    /// What our server's viewers speak: `rtmp`, `http-flv`, or `rtmp-unaudited`: our gateway without a trail or any observer
    #[arg(long, value_delimiter = ',', default_value = "rtmp,http-flv")]
    protocol: Vec<String>,
    /// What else is measured: `nginx`, `bare`, or `none`
    #[arg(long, value_delimiter = ',', default_value = "nginx,bare")]
    peers: Vec<String>,
    /// Streams over which the viewers are spread
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// So many more viewers join while is measured, within `--storm-seconds`
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
    /// A short look: 2 s, once
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    load::start_clock();
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Part::Load(options)) => load::run(options),
        Some(Part::Bare(options)) => bare::run(options),
        Some(Part::Gateway(options)) => gateway::run(options),
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

/// What one turn showed.
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
        options.livetrail = vec![server::build()?];
    }
    println!(
        "{} stream(s), {} s in each turn, median of {} turns; processor time of the server's process from the system",
        options.streams, options.seconds, options.rounds
    );
    for &viewers in &options.viewers {
        let mut candidates = candidates(&options);
        for round in 0..options.rounds {
            for turn in 0..candidates.len() {
                // Another one goes first in each round.
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
        for &interval_ms in &options.send_interval {
            for (protocol, http) in [("rtmp", false), ("http-flv", true)] {
                if speaks(protocol) {
                    add(Kind::Livetrail { interval_ms, http }, program, mark());
                }
            }
        }
    }
    if speaks("rtmp-unaudited") {
        for &interval_ms in &options.send_interval {
            add(
                Kind::Unaudited { interval_ms },
                Path::new(""),
                String::new(),
            );
        }
    }
    if wants("bare") {
        for &interval_ms in &options.send_interval {
            add(Kind::Bare { interval_ms }, Path::new(""), String::new());
        }
    }
    candidates
}

/// The load client in a process of its own.
struct Load {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Load {
    fn start(server: &Server, viewers: usize, clip: &Path, options: &Compare) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("load").arg(server.play_url()).arg("--wait");
        command.arg("--clip").arg(clip);
        let join_seconds = (viewers as f64 / 1_000.0).max(1.0);
        for (name, value) in [
            ("--viewers", viewers.to_string()),
            ("--seconds", options.seconds.to_string()),
            ("--join-seconds", join_seconds.to_string()),
            ("--streams", options.streams.to_string()),
            ("--storm", options.storm.to_string()),
            ("--storm-seconds", options.storm_seconds.to_string()),
        ] {
            command.arg(name).arg(value);
        }
        if let Some(url) = server.publish_url() {
            command.arg("--publish").arg(url);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("piped")?;
        let lines = BufReader::new(output).lines();
        Ok(Self { child, lines })
    }

    fn line(&mut self) -> Result<String> {
        Ok(self.lines.next().context("the load client ended")??)
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(line == wanted, "the load client says `{line}`");
        Ok(())
    }

    fn go_on(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().context("piped")?;
        Ok(writeln!(input)?)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(
    candidate: &Candidate,
    viewers: usize,
    clip: &Path,
    options: &Compare,
) -> Result<Sample> {
    let server = Server::start(&candidate.kind, &candidate.program, clip)?;
    let mut load = Load::start(&server, viewers, clip, options)?;
    load.expect(JOINING)?;
    let empty = server.usage()?;
    load.go_on()?;
    load.expect(MEASURING)?;
    let before = server.usage()?;
    let report = Report::parse(&load.line()?)?;
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

const HEADINGS: [&str; 12] = [
    "server",
    "ms/viewer·s",
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
    let cost = |wanted: &Kind| {
        let found = candidates.iter().find(|c| c.kind == *wanted);
        found.map(|c| median(c, &|s| s.cpu_ms))
    };
    let share =
        |own: f64, of: Option<f64>| of.map_or("–".to_owned(), |of| format!("{:.2}", own / of));
    let nginx = cost(&Kind::Nginx);
    let lines: Vec<_> = candidates
        .iter()
        .map(|c| {
            let of = |value: &dyn Fn(&Sample) -> f64| median(c, value);
            let cpu = of(&|s| s.cpu_ms);
            let interval_ms = match c.kind {
                Kind::Livetrail { interval_ms, .. }
                | Kind::Unaudited { interval_ms }
                | Kind::Bare { interval_ms } => interval_ms,
                Kind::Nginx => 0,
            };
            let bare = cost(&Kind::Bare { interval_ms });
            let sum = |value: &dyn Fn(&Report) -> u64| {
                c.samples.iter().map(|s| value(&s.report)).sum::<u64>()
            };
            vec![
                c.name.clone(),
                format!("{cpu:.4}"),
                share(cpu, nginx),
                share(cpu, bare),
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
