//! Measures the cost of the pipeline: `cargo run --release -p livetrail-audit --example measure
//! [offers|file|idle]`.
//!
//! - `offers`: the cost of an offer with a busy and with an idle worker, and with two producers.
//! - `file`: records per second through the file sink.
//! - `idle`: the processor time of an idle pipeline.
//!
//! It is for comparing runs on one machine. `benches/` compares with other designs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement for people"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use livetrail_audit::{AuditPipeline, AuditRecord, AuditSink, FileAuditSink};
use livetrail_engine::{
    Observer, Role, SessionContext, SessionId, StreamEvent, StreamEventKind, StreamKey,
};

const USAGE: &str = "\
What the audit pipeline costs.

Usage: measure [PART]...

  PART        offers, file or idle; without one, all
  -h, --help  Print this";

struct Nothing;

#[async_trait]
impl AuditSink for Nothing {
    async fn write(&self, _record: AuditRecord) {}
    async fn write_batch(&self, records: Vec<AuditRecord>) {
        std::hint::black_box(&records);
    }
}

fn event() -> StreamEvent {
    let key = StreamKey::parse("live", "camera-1").unwrap();
    let mut context = SessionContext::new(SessionId::at(1_763_805_600_000), Role::Publish, key);
    context.protocol = "rtmp";
    context.peer = Some("192.0.2.7:4711".parse().unwrap());
    context.user_agent = Some("FMLE/3.0 (compatible; FMSc/1.0)".into());
    context.principal = Some("studio-1".into());
    StreamEvent::new(
        Arc::new(context),
        StreamEventKind::PublishStarted,
        1_763_805_600_123,
        456,
    )
}

fn main() {
    let only: Vec<_> = std::env::args_os().skip(1).collect();
    let parts: [(&str, fn()); 3] = [("offers", offers), ("file", file), ("idle", idle)];
    if only.iter().any(|word| word == "-h" || word == "--help") {
        println!("{USAGE}");
        return;
    }
    let known = |word: &&std::ffi::OsString| parts.iter().any(|(name, _)| *word == name);
    if let Some(word) = only.iter().find(|word| !known(word)) {
        eprintln!("error: there is no `{}`\n\n{USAGE}", word.display());
        std::process::exit(2);
    }
    for (name, part) in parts {
        if only.is_empty() || only.iter().any(|word| word == name) {
            part();
        }
    }
}

fn offers() {
    const BURST: u32 = 50_000;
    let event = event();
    for (what, producers) in [("offer, worker busy", 1), ("offer, two producers", 2)] {
        let mut rounds: Vec<u128> = (0..9)
            .map(|_| {
                let pipeline = AuditPipeline::new(Arc::new(Nothing), (BURST * producers) as usize);
                let took: Vec<u128> = std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..producers)
                        .map(|_| {
                            scope.spawn(|| {
                                let start = Instant::now();
                                for _ in 0..BURST {
                                    pipeline.on_event(&event);
                                }
                                start.elapsed().as_nanos() / u128::from(BURST)
                            })
                        })
                        .collect();
                    threads
                        .into_iter()
                        .map(|thread| thread.join().unwrap())
                        .collect()
                });
                assert_eq!(pipeline.dropped(), 0);
                took.iter().sum::<u128>() / took.len() as u128
            })
            .collect();
        rounds.sort_unstable();
        println!(
            "{what:<34} {:>8} ns (median of {})",
            rounds[rounds.len() / 2],
            rounds.len()
        );
    }
    let pipeline = AuditPipeline::new(Arc::new(Nothing), 1_024);
    for _ in 0..1_024 {
        pipeline.on_event(&event);
    }
    // The first case does nothing between the two clock readings: that is the cost for a thread
    // that has just slept itself.
    for (what, offers) in [
        ("nothing, after a sleep", false),
        ("offer, worker asleep", true),
    ] {
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                // This is long enough for the worker's longest pause.
                std::thread::sleep(Duration::from_millis(25));
                let start = Instant::now();
                if offers {
                    pipeline.on_event(&event);
                }
                start.elapsed().as_nanos()
            })
            .collect();
        times.sort_unstable();
        println!(
            "{what:<34} {:>8} ns (median of {})",
            times[times.len() / 2],
            times.len()
        );
    }
}

fn file() {
    const RECORDS: u32 = 1_000_000;
    let dir = std::env::temp_dir().join(format!("livetrail-measure-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut rates: Vec<f64> = (0..5)
        .map(|round| {
            let path = dir.join(format!("trail-{round}"));
            let event = event();
            let sink = Arc::new(FileAuditSink::open(&path).unwrap());
            let pipeline = AuditPipeline::new(sink, RECORDS as usize);
            let processor = processor_ms();
            let start = Instant::now();
            for _ in 0..RECORDS {
                pipeline.on_event(&event);
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let report = runtime.block_on(pipeline.close());
            let took = start.elapsed().as_secs_f64();
            assert!(report.durable && report.written == u64::from(RECORDS));
            let ns = (processor_ms() - processor) * 1_000_000 / u64::from(RECORDS);
            let bytes = std::fs::metadata(&path).unwrap().len() / u64::from(RECORDS);
            println!("    {ns} ns of processor time and {bytes} bytes a record");
            std::fs::remove_file(&path).unwrap();
            f64::from(RECORDS) / took
        })
        .collect();
    std::fs::remove_dir(&dir).unwrap();
    rates.sort_unstable_by(f64::total_cmp);
    println!(
        "{:<34} {:>8.0} records/s written and synced (median of 5)",
        "file sink", rates[2]
    );
}

/// The processor time of the whole process, from `/proc`.
fn processor_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    ticks * 10
}

fn idle() {
    const SECONDS: u64 = 20;
    let pipeline = AuditPipeline::builder(Arc::new(Nothing)).build().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let before = processor_ms();
    std::thread::sleep(Duration::from_secs(SECONDS));
    let used = processor_ms() - before;
    println!(
        "{:<34} {:>8} ms of processor time in {SECONDS} s",
        "idle", used
    );
    drop(pipeline);
}
