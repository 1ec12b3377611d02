//! The verifier on a trail of ten million records: records per second, on a cold cache and on a
//! warm one, and its processor time compared with that of SHA-256 alone over the same entries and
//! their tree.
//!
//! `verify [--records N] [--dir DIR] [--threads N] [--rounds N] [--quick]`: with `--dir` the trail
//! is kept and used again.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use livetrail_benches::{drop_caches, median, peak_memory, process_cpu, spread, table, trail};
use livetrail_tlog::{Bundle, parse_bundle};
use livetrail_verify::{Directory, Options, Report, Verdict, verify};
use sha2::{Digest, Sha256};

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
    /// Times that the verifier and SHA-256 alone take turns on a warm cache
    #[arg(long, default_value_t = 5)]
    rounds: usize,
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
    let cache = if drop_caches() {
        "cold"
    } else {
        "cannot be dropped"
    };
    let run = Run::new(&dir, &options)?;
    lines.push(run.line(cache)?);
    let (mut whole, mut alone, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let hashing = hash_alone(&dir, &run.report)?.as_secs_f64();
        let warm = Run::new(&dir, &options)?;
        lines.push(warm.line("warm")?);
        let records = warm.report.figures.records as f64;
        whole.push(warm.cpu.as_secs_f64() * 1e9 / records);
        alone.push(hashing * 1e9 / records);
        ratios.push(warm.cpu.as_secs_f64() / hashing);
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
    println!(
        "\nprocessor time of a record, warm, medians of {} rounds: the verifier {} ns, SHA-256 \
         alone {} ns\nratio: {}",
        arguments.rounds,
        spread(&whole, 0),
        spread(&alone, 0),
        spread(&ratios, 2)
    );
    println!(
        "ratio of the medians: {:.2}",
        median(&whole) / median(&alone)
    );
    Ok(())
}

/// One verification.
struct Run {
    report: Report,
    took: Duration,
    cpu: Duration,
}

impl Run {
    fn new(dir: &Path, options: &Options) -> Result<Self> {
        let (began, cpu) = (Instant::now(), process_cpu());
        let report = verify(&Directory::new(dir), options, &mut |_, _| {})?;
        let (took, cpu) = (began.elapsed(), process_cpu().saturating_sub(cpu));
        ensure!(
            report.verdict == Verdict::Sound,
            "the trail is not sound:\n{report}"
        );
        Ok(Self { report, took, cpu })
    }

    fn line(&self, cache: &str) -> Result<Vec<String>> {
        let records = self.report.figures.records;
        Ok(vec![
            cache.to_owned(),
            records.to_string(),
            format!("{:.0}", records as f64 / self.took.as_secs_f64()),
            format!("{:.2} µs", self.cpu.as_secs_f64() * 1e6 / records as f64),
            format!("{:.0}", self.report.figures.bytes as f64 / records as f64),
            peak_memory()?,
        ])
    }
}

/// Processor time of SHA-256 over each entry and each node of the tree, as the `sha2` crate does it
/// for one message after the other. The time does not include reading and splitting the bundles,
/// and each bundle is in the processor's cache. The root must be the report's.
fn hash_alone(dir: &Path, report: &Report) -> Result<Duration> {
    let checkpoint = report.checkpoint.as_ref().context("no checkpoint")?;
    let mut spent = Duration::ZERO;
    // The roots of perfect subtrees, the largest first, with their sizes.
    let mut peaks: Vec<(u64, [u8; 32])> = Vec::new();
    for bundle in (0..).map_while(|number| Bundle::in_tree(number, checkpoint.size)) {
        let bytes = std::fs::read(dir.join(bundle.to_string()))?;
        let entries = parse_bundle(bundle, &bytes)?;
        let began = process_cpu();
        for entry in entries {
            let leaf = Sha256::new().chain_update([0]).chain_update(entry);
            let mut top = (1, leaf.finalize().into());
            while let Some((_, left)) = peaks.pop_if(|(size, _)| *size == top.0) {
                top = (top.0 * 2, node(&left, &top.1));
            }
            peaks.push(top);
        }
        spent += process_cpu().saturating_sub(began);
    }
    let root = peaks.into_iter().map(|(_, root)| root).rev();
    let root = root.reduce(|right, left| node(&left, &right));
    let root = root.context("the trail is empty")?;
    let root = livetrail_tlog::Hash::new(root).to_string();
    ensure!(
        root == checkpoint.root,
        "SHA-256 alone gives the root {root}, but the checkpoint has {}",
        checkpoint.root
    );
    Ok(spent)
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let node = Sha256::new().chain_update([1]).chain_update(left);
    node.chain_update(right).finalize().into()
}
