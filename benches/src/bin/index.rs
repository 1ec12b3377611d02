//! The query index on a trail of ten million records: the time to build it, its size, and the time
//! of a selective query.
//!
//! `index [--records N] [--dir DIR] [--quick]`: with `--dir` the trail stays there and is used
//! again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Result, ensure};
use clap::Parser;
use livetrail_benches::{drop_caches, human_ns, median, peak_memory, table, trail};
use livetrail_index::{FILE_NAME, Filter, Hits, Index, SessionSet, scan};
use livetrail_ledger::{Reader, RealStore};
use livetrail_record::TrailChecker;

#[derive(Parser)]
struct Arguments {
    /// Records of the trail
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// Where the trail is, or is made, and stays
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A million records, fewer rounds
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
    let (trail, index_dir) = (place.join("trail"), place.join("index"));
    if !trail.exists() {
        let began = Instant::now();
        let written = trail::write(&trail, arguments.records)?;
        println!(
            "made {} records, {} bytes each, in {:.1} s",
            arguments.records,
            written.bytes / arguments.records,
            began.elapsed().as_secs_f64()
        );
    }
    let reader = Reader::open(Arc::new(RealStore::new(&trail)))?;
    let records = reader.checkpoint()?.head().size;
    build(&index_dir, &reader, records)?;
    ask(
        &index_dir,
        &reader,
        records,
        if arguments.quick { 3 } else { 10 },
    )?;
    sessions(&index_dir, &reader)
}

fn build(dir: &Path, reader: &Reader, records: u64) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    let began = Instant::now();
    let mut index = Index::open(dir, reader)?;
    index.catch_up(reader, &mut |_| true)?;
    let took = began.elapsed();
    let indexed = index.indexed();
    drop(index);
    let bytes = std::fs::metadata(dir.join(FILE_NAME))?.len();
    println!();
    table(
        &[
            "records",
            "indexed",
            "records a second",
            "index, bytes a record",
            "peak memory",
        ],
        &[vec![
            records.to_string(),
            indexed.to_string(),
            format!("{:.0}", indexed as f64 / took.as_secs_f64()),
            format!("{:.1}", bytes as f64 / indexed.max(1) as f64),
            peak_memory()?,
        ]],
    );
    Ok(())
}

/// Queries by name, several of each kind.
fn questions(records: u64, rounds: u64) -> Vec<(&'static str, Vec<Filter>)> {
    let mut day = trail::Day::default();
    for _ in 0..records {
        day.record();
    }
    let some = |at: u64| {
        let at = (day.some_sessions.len() as u64 - 1) * at / rounds.max(1);
        day.some_sessions[at as usize].to_string()
    };
    let of = |set: &dyn Fn(&mut Filter, u64)| {
        (0..rounds)
            .map(|round| {
                let mut filter = Filter::default();
                set(&mut filter, round);
                filter
            })
            .collect()
    };
    let hours = (records / trail::RECORDS_PER_S / 3_600).max(1);
    vec![
        ("one session", of(&|f, round| f.session = Some(some(round)))),
        (
            "one session, by the end of its id",
            of(&|f, round| f.session = Some(some(round)[24..].to_owned())),
        ),
        (
            "one stream in an hour",
            of(&|f, round| {
                f.stream = Some(trail::stream_name(round * 97 % trail::STREAMS));
                let since = trail::START_MS + (round * 7 % hours) * 3_600_000;
                (f.since_ms, f.until_ms) = (Some(since), Some(since + 3_600_000));
            }),
        ),
        (
            "twenty sessions of a viewer",
            of(&|f, round| {
                let step = (day.some_sessions.len() / 20).max(1);
                let sessions = day.some_sessions.iter().skip(round as usize).step_by(step);
                let sessions = sessions.take(20).map(|id| id.into_bytes());
                f.sessions = SessionSet::new(sessions).ok();
            }),
        ),
    ]
}

fn ask(dir: &Path, reader: &Reader, records: u64, rounds: u64) -> Result<()> {
    println!();
    let mut lines = Vec::new();
    for (name, filters) in questions(records, rounds) {
        let mut line = vec![name.to_owned()];
        let mut found = (0, 0);
        for cold in [true, false] {
            let mut times = Vec::new();
            let mut all_cold = true;
            for filter in &filters {
                all_cold &= cold && drop_caches();
                let began = Instant::now();
                let mut index = Index::open(dir, reader)?;
                let mut hits = index.find(reader, filter.clone())?;
                let count = count(&mut hits)?;
                times.push(began.elapsed().as_nanos() as f64);
                found = (count, hits.bundles_read());
                if !cold {
                    let wanted = filter.clone();
                    check(reader, wanted, count, rounds)?;
                }
            }
            let worst = times.iter().copied().fold(0.0, f64::max);
            line.push(if cold && !all_cold {
                "caches cannot be dropped".to_owned()
            } else {
                format!("{} (at most {})", human_ns(median(&times)), human_ns(worst))
            });
        }
        let began = Instant::now();
        let whole = count(&mut scan(reader, filters[0].clone())?)?;
        ensure!(whole > 0 || found.0 == 0, "{name}: nothing there");
        line.push(human_ns(began.elapsed().as_nanos() as f64));
        line.push(format!("{} in {} bundles", found.0, found.1));
        lines.push(line);
    }
    table(
        &[
            "question",
            "cold cache, median",
            "warm, median",
            "without the index",
            "the last one found",
        ],
        &lines,
    );
    Ok(())
}

/// Checks an answer, for the first of the queries only: reading everything takes long.
fn check(reader: &Reader, filter: Filter, found: u64, rounds: u64) -> Result<()> {
    if rounds <= 3 {
        let wanted = count(&mut scan(reader, filter)?)?;
        ensure!(wanted == found, "found {found} of {wanted}");
    }
    Ok(())
}

fn count(hits: &mut Hits<'_>) -> Result<u64> {
    let mut count = 0;
    for found in hits {
        found?;
        count += 1;
    }
    Ok(count)
}

fn sessions(dir: &Path, reader: &Reader) -> Result<()> {
    let began = Instant::now();
    let open = Index::open(dir, reader)?.open_sessions(reader)?;
    let with = began.elapsed();
    let began = Instant::now();
    let mut checker = TrailChecker::new();
    for found in scan(reader, Filter::default())? {
        checker.feed(&found?.record);
    }
    let replayed = checker.finish().1.open;
    let without = began.elapsed();
    ensure!(
        open == replayed,
        "the index and the trail differ in what is open"
    );
    println!(
        "\nopen sessions after a crash: {} of them in {:.0} ms with the index, {:.1} s by replaying the trail",
        open.len(),
        with.as_secs_f64() * 1_000.0,
        without.as_secs_f64()
    );
    Ok(())
}
