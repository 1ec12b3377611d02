//! The verifier on a trail of ten million records: records per second, on a cold cache and on a
//! warm one, and the same without the records' rules.
//!
//! `verify [--records N] [--dir DIR] [--threads N] [--quick]`: with `--dir` the trail is kept and
//! used again.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use livetrail_benches::{drop_caches, peak_memory, process_cpu, table, trail};
use livetrail_verify::{Directory, Options, Verdict, verify};

#[derive(Parser)]
struct Arguments {
    /// Records of the trail
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// Where the trail is, or is made, and stays
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Threads that read and hash
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// A million records
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        arguments.records = arguments.records.min(1_000_000);
    }
    let temporary = tempfile::tempdir()?;
    let place = arguments
        .dir
        .unwrap_or_else(|| temporary.path().join("day"));
    let dir = place.join("trail");
    if !dir.exists() {
        trail::write(&dir, arguments.records)?;
    }
    let options = Options {
        threads: arguments.threads,
        ..Options::default()
    };
    let mut lines = Vec::new();
    for cold in [true, false, false] {
        let cache = match (cold, cold && drop_caches()) {
            (true, true) => "cold",
            (true, false) => "cannot be dropped",
            (false, _) => "warm",
        };
        let (began, cpu) = (Instant::now(), process_cpu());
        let report = verify(&Directory::new(&dir), &options, &mut |_, _| {})?;
        let (took, cpu) = (began.elapsed(), process_cpu().saturating_sub(cpu));
        ensure!(
            report.verdict == Verdict::Sound,
            "the trail is not sound:\n{report}"
        );
        lines.push(line(cache, &report, took, cpu)?);
    }
    println!("{} threads read and hash\n", arguments.threads);
    table(
        &[
            "cache",
            "records",
            "records a second",
            "processor time a record",
            "bytes a record",
            "peak memory",
        ],
        &lines,
    );
    Ok(())
}

fn line(
    cache: &str,
    report: &livetrail_verify::Report,
    took: Duration,
    cpu: Duration,
) -> Result<Vec<String>> {
    let records = report.figures.records;
    Ok(vec![
        cache.to_owned(),
        records.to_string(),
        format!("{:.0}", records as f64 / took.as_secs_f64()),
        format!("{:.2} µs", cpu.as_secs_f64() * 1e6 / records as f64),
        format!("{:.0}", report.figures.bytes as f64 / records as f64),
        peak_memory()?,
    ])
}
