//! The file sink behind its pipeline: records per second until all are in the file, and how many
//! are missing when `main` returns without waiting.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use livetrail_benches::{self as bench, offer};
use tokio::runtime::Builder;

/// What a child process does, how many records it offers, and what that is.
const WAYS: [(&str, u64, &str); 4] = [
    ("livetrail-close", 500_000, "Livetrail, closes the pipeline"),
    (
        "livetrail-return",
        500_000,
        "Livetrail, main returns at once",
    ),
    ("arcly-wait", 50_000, "arcly-stream, waits for the file"),
    (
        "arcly-return",
        500_000,
        "arcly-stream, main returns at once",
    ),
];

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, child, way, path, records] = arguments.as_slice()
        && child == "child"
    {
        return run_child(way, Path::new(path), records.parse()?);
    }
    parent(if bench::Quick::parse().quick { 1 } else { 5 })
}

fn parent(rounds: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut rates = [const { Vec::new() }; WAYS.len()];
    let mut lost = [0; WAYS.len()];
    for round in 0..rounds {
        for turn in 0..WAYS.len() {
            let index = (turn + round) % WAYS.len();
            let (way, records, _) = WAYS[index];
            let path = folder.path().join(format!("{way}-{round}.tsv"));
            let output = Command::new(std::env::current_exe()?)
                .args(["child", way])
                .arg(&path)
                .arg(records.to_string())
                .output()
                .with_context(|| format!("cannot start this program again to measure {way}"))?;
            let errors = String::from_utf8_lossy(&output.stderr);
            anyhow::ensure!(output.status.success(), "{way} failed: {errors}");
            if let Ok(seconds) = String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse::<f64>()
            {
                rates[index].push(records as f64 / seconds);
            }
            lost[index] += records.saturating_sub(lines_about_transitions(&path)?);
            std::fs::remove_file(&path)?;
        }
    }
    let rates: Vec<_> = rates.iter().map(|rates| bench::median(rates)).collect();
    let line = |(index, (_, records, name)): (usize, &(&str, u64, &str))| {
        let lost = lost[index] as f64 / rounds as f64;
        let share = 100.0 * lost / *records as f64;
        vec![
            (*name).to_owned(),
            records.to_string(),
            if rates[index] > 0.0 {
                format!("{:.0}", rates[index])
            } else {
                "–".to_owned()
            },
            format!("{lost:.0}"),
            format!("{share:.2} %"),
        ]
    };
    println!(
        "median of {rounds} alternating rounds; a process of its own each time; from the first offer until all are in the file\n"
    );
    bench::table(
        &["way", "accepted", "records/s in the file", "lost", "lost"],
        &WAYS.iter().enumerate().map(line).collect::<Vec<_>>(),
    );
    println!(
        "\nLivetrail writes {:.1} times as many records a second.",
        rates[0] / rates[2]
    );
    Ok(())
}

/// Lines about the offered transition; Livetrail's file begins and ends with records of its own.
fn lines_about_transitions(path: &Path) -> Result<u64> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text
        .lines()
        .filter(|line| line.contains("\tlive\tcamera-1\t"))
        .count() as u64)
}

fn run_child(way: &str, path: &Path, records: u64) -> Result<()> {
    let capacity = usize::try_from(records)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let _inside = runtime.enter();
    match way {
        "livetrail-close" | "livetrail-return" => {
            let sink = Arc::new(livetrail_audit::FileAuditSink::open(path)?);
            let pipeline = livetrail_audit::AuditPipeline::new(sink, capacity);
            let event = runtime
                .block_on(async { tokio::spawn(async { offer::livetrail_event() }).await })??;
            let start = Instant::now();
            for _ in 0..records {
                livetrail_engine::Observer::on_event(&pipeline, &event);
            }
            anyhow::ensure!(
                pipeline.dropped() == 0,
                "dropped records: not the same work"
            );
            if way == "livetrail-close" {
                runtime.block_on(pipeline.close());
                println!("{}", start.elapsed().as_secs_f64());
            }
        }
        "arcly-wait" | "arcly-return" => {
            let sink = Arc::new(arcly_stream::audit::FileAuditSink::open(path)?);
            let pipeline = arcly_stream::audit::AuditPipeline::new(sink, capacity);
            let event = offer::arcly_event();
            let start = Instant::now();
            for _ in 0..records {
                arcly_stream::observe::Observer::on_event(&pipeline, &event);
            }
            anyhow::ensure!(
                pipeline.dropped() == 0,
                "dropped records: not the same work"
            );
            if way == "arcly-wait" {
                wait_for(path, records)?;
                println!("{}", start.elapsed().as_secs_f64());
            }
        }
        _ => bail!("there is no way `{way}`"),
    }
    Ok(())
}

/// Waits until this many lines of equal length are in the file; the peer cannot be asked.
fn wait_for(path: &Path, records: u64) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
        let bytes = std::fs::metadata(path)?.len();
        let mut first = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(std::fs::File::open(path)?),
            &mut first,
        )?;
        if !first.is_empty() && bytes >= records * first.len() as u64 {
            return Ok(());
        }
    }
    bail!("the file is not complete after a minute")
}
