//! Opening a large trail: time, and the most memory.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use livetrail_ledger::{Class, Identity, Ledger, RealStore, SharedStore, read_seed, write_seed};

use super::{Entries, new_ledger_of, peak_kib};

/// Bytes of an entry. They are small, because only the number of entries matters here.
const SMALL_BYTES: usize = 16;

const BATCH: usize = 1_000;

/// Writes a trail of this many entries, and its keys next to it.
pub fn fill(dir: &Path, entries: u64) -> Result<()> {
    let seeds = [
        livetrail_ledger::generate_seed()?,
        livetrail_ledger::generate_seed()?,
    ];
    for (seed, name) in seeds.iter().zip(["signer", "cosigner"]) {
        write_seed(&dir.with_extension(name), seed)?;
    }
    let ledger = new_ledger_of(dir, &identity(dir)?)?;
    let mut made = Entries::new(SMALL_BYTES, BATCH);
    let mut size = 0;
    while size < entries {
        let count = usize::try_from(entries - size).unwrap_or(BATCH);
        size = ledger.append(Class::BestEffort, made.take(count))?.next;
    }
    ledger.close()?;
    Ok(())
}

fn identity(dir: &Path) -> Result<Identity> {
    Ok(Identity::from_seeds(
        "example.com/bench",
        &read_seed(&dir.with_extension("signer"))?,
        &read_seed(&dir.with_extension("cosigner"))?,
    )?)
}

/// What was measured.
#[derive(Debug)]
pub struct Opened {
    /// The number of entries in the trail.
    pub entries: u64,
    /// The time until entries could be appended.
    pub seconds: f64,
    /// The most memory that the process ever had resident.
    pub peak_kib: u64,
}

/// Opens the trail, in a process that has done nothing else.
pub fn open(dir: &Path) -> Result<Opened> {
    let identity = identity(dir)?;
    let begin = Instant::now();
    let store: SharedStore = Arc::new(RealStore::new(dir));
    let (ledger, report) = Ledger::builder(store, identity).open()?;
    let seconds = begin.elapsed().as_secs_f64();
    let peak_kib = peak_kib()?;
    ledger.close()?;
    Ok(Opened {
        entries: report.entries,
        seconds,
        peak_kib,
    })
}

impl Opened {
    /// As one line, for the process that asked.
    pub fn line(&self) -> String {
        format!("{} {} {}", self.entries, self.seconds, self.peak_kib)
    }

    /// From that line.
    pub fn parse(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        ensure!(words.len() == 3, "not a measurement: {line}");
        Ok(Self {
            entries: words[0].parse().context("a number of entries")?,
            seconds: words[1].parse()?,
            peak_kib: words[2].parse()?,
        })
    }
}
