//! The ledger: its sustained rate compared with a prototype and the usual design, the time until an
//! entry is durable compared with a bare fdatasync, and the cost of opening a large trail.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use livetrail_benches::{
    Latencies, human_ns,
    ledger::{
        bare, latency, mib,
        open::{self, Opened},
        rate,
        sustained::{self, Sustained},
    },
    table,
};

/// How long the two alternatives that do not need a minute are measured.
const NAIVE_TIME: Duration = Duration::from_secs(5);

/// The rates at which the time to durable is measured, in entries per second.
const RATES: [u64; 2] = [1_000, 100_000];

#[derive(Parser)]
struct Arguments {
    /// A short run, not a measurement: 6 s instead of a minute, a million entries to open, few
    /// turns
    #[arg(long)]
    quick: bool,
    /// Where the trails are written: a directory on the disk that is to be measured, with 20 GiB of
    /// room
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How long the ledger is kept busy, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Entries of the trail that is opened
    #[arg(long, default_value_t = 100_000_000)]
    entries: u64,
    /// Only one of them: `sustained`, `latency`, `open`
    #[arg(long)]
    only: Option<String>,
    #[command(subcommand)]
    child: Option<Child>,
}

/// The work of a separate process, so that memory is that of the ledger alone.
#[derive(Subcommand)]
enum Child {
    #[command(hide = true)]
    Sustain { dir: PathBuf, seconds: u64 },
    #[command(hide = true)]
    Open { dir: PathBuf },
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    match arguments.child {
        Some(Child::Sustain { dir, seconds }) => {
            println!(
                "{}",
                sustained::run(&dir, Duration::from_secs(seconds))?.line()
            );
            return Ok(());
        }
        Some(Child::Open { dir }) => {
            println!("{}", open::open(&dir)?.line());
            return Ok(());
        }
        None => {}
    }
    if arguments.quick {
        arguments.seconds = arguments.seconds.min(6);
        arguments.entries = arguments.entries.min(1_000_000);
    }
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    let folder = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let folder = folder.path();
    if wanted("sustained") {
        show_sustained(folder, &arguments)?;
    }
    if wanted("latency") {
        show_latency(folder, if arguments.quick { 2 } else { 10 })?;
    }
    if wanted("open") {
        show_open(folder, arguments.entries)?;
    }
    Ok(())
}

/// The last line that a process of this program prints.
fn child(arguments: &[&str], dir: &Path, last: Option<u64>) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).arg(dir);
    command.args(last.map(|last| last.to_string()));
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?} failed: {errors}");
    let said = String::from_utf8(output.stdout)?;
    Ok(said.lines().last().context("it said nothing")?.to_owned())
}

fn show_sustained(folder: &Path, arguments: &Arguments) -> Result<()> {
    let short = Duration::from_secs((arguments.seconds / 6).max(1));
    // The prototype runs before and after, in case the speed of the disk changes meanwhile.
    let before = bare::prototype(folder, short)?;
    let trail = folder.join("sustained");
    let line = child(&["sustain"], &trail, Some(arguments.seconds))?;
    let ours = Sustained::parse(&line)?;
    std::fs::remove_dir_all(&trail)?;
    let after = bare::prototype(folder, short)?;
    let prototype = f64::midpoint(before, after);
    let naive = bare::naive(folder, NAIVE_TIME, false)?;
    let synced = bare::naive(folder, NAIVE_TIME, true)?;
    println!(
        "Sustained: entries of 200 bytes, durable, in the tree, signed and published; {:.1} s from the first append until all of\n\
         {} entries are under a checkpoint; {:.2} processors; at most {} entries were durable and not yet sealed\n",
        ours.seconds, ours.entries, ours.processors, ours.unsealed
    );
    let line = |name: &str, per_second: f64| {
        vec![
            name.to_owned(),
            rate(per_second),
            format!("{:.2}×", ours.rate() / per_second),
        ]
    };
    table(
        &["way", "records/s", "the ledger's is"],
        &[
            line("the ledger, default settings", ours.rate()),
            line(
                "prototype: fdatasync per 20,000, Merkle hashes, no tiles",
                prototype,
            ),
            line(
                "usual design: a blocking-pool task per record, not synced",
                naive,
            ),
            line("usual design, each record synced", synced),
        ],
    );
    let samples: Vec<_> = ours.resident_kib.iter().copied().map(mib).collect();
    println!(
        "\nMemory after 3 s, then every 10 s, and at the end: {}; {} at most. The prototype made {} before and {} after.\n",
        samples.join(", "),
        mib(ours.peak_kib),
        rate(before),
        rate(after)
    );
    Ok(())
}

fn show_latency(folder: &Path, turns: u32) -> Result<()> {
    let mut lines = Vec::new();
    for per_second in RATES {
        let measured = latency::run(folder, per_second, turns)?;
        let bare = |share| measured.bare.quantile(share);
        let goal = |share, times: f64| bare(share).mul_add(times, 1e6);
        let ours = |share| measured.ledger.quantile(share);
        let met = |share, times| {
            let met = ours(share) <= goal(share, times);
            format!(
                "{} ({})",
                human_ns(goal(share, times)),
                if met { "met" } else { "missed" }
            )
        };
        lines.push(vec![
            rate(measured.offered),
            human_ns(ours(0.5)),
            human_ns(bare(0.5)),
            met(0.5, 2.0),
            human_ns(ours(0.99)),
            human_ns(bare(0.99)),
            met(0.99, 3.0),
            count(&measured.bare),
        ]);
    }
    println!(
        "From offer to durable: each offer is waited for, as strict sessions do; in {turns} turns of 2 s with a bare fdatasync of 4 KiB; the goal\n\
         is twice (p50) and three times (p99) the bare one's, plus 1 ms\n"
    );
    table(
        &[
            "offered/s",
            "p50",
            "bare p50",
            "goal p50",
            "p99",
            "bare p99",
            "goal p99",
            "bare syncs",
        ],
        &lines,
    );
    println!();
    Ok(())
}

fn count(latencies: &Latencies) -> String {
    latencies.count().to_string()
}

fn show_open(folder: &Path, entries: u64) -> Result<()> {
    let trail = folder.join("large");
    open::fill(&trail, entries)?;
    // Without the right to drop the cache, the data are read from memory, and that is reported.
    let cold = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    let first = Opened::parse(&child(&["open"], &trail, None)?)?;
    let second = Opened::parse(&child(&["open"], &trail, None)?)?;
    println!("Opening a trail, in a process that does nothing else\n");
    let line = |cache: &str, opened: &Opened| {
        vec![
            cache.to_owned(),
            opened.entries.to_string(),
            human_ns(opened.seconds * 1e9),
            mib(opened.peak_kib),
        ]
    };
    table(
        &["cache", "entries", "time", "most memory"],
        &[
            line(if cold { "cold" } else { "warm" }, &first),
            line("warm", &second),
        ],
    );
    println!();
    std::fs::remove_dir_all(&trail)?;
    Ok(())
}
