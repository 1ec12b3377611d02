//! Entries per second that are durable, in the tree, signed and published, over a long time; and
//! memory meanwhile.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use livetrail_ledger::Class;

use super::{ENTRY_BYTES, Entries, new_ledger, peak_kib, resident_kib};
use crate::process_cpu;

/// Entries that are appended with one call, as a sink behind a pipeline does.
const BATCH: usize = 100;

/// The initial memory is measured this long after the start: by then every buffer has been used
/// once.
const SETTLED: Duration = Duration::from_secs(3);

/// The interval of the samples after that.
const SAMPLED: Duration = Duration::from_secs(10);

/// How long the rest may take to be sealed.
const SEALED_TIMEOUT: Duration = Duration::from_secs(120);

/// What was measured.
#[derive(Debug, Default, Clone)]
pub struct Sustained {
    /// Entries.
    pub entries: u64,
    /// From the first append until a published checkpoint covers all.
    pub seconds: f64,
    /// Resident KiB after 3 s, then every 10 s, and when the last was appended.
    pub resident_kib: Vec<u64>,
    /// The most, in KiB.
    pub peak_kib: u64,
    /// Processors used.
    pub processors: f64,
    /// The maximum number of entries that were durable and not yet under a published checkpoint.
    pub unsealed: u64,
}

impl Sustained {
    /// Entries per second.
    pub fn rate(&self) -> f64 {
        self.entries as f64 / self.seconds
    }

    /// As one line, for the process that asked.
    pub fn line(&self) -> String {
        let samples: Vec<_> = self.resident_kib.iter().map(u64::to_string).collect();
        format!(
            "{} {} {} {} {} {}",
            self.entries,
            self.seconds,
            self.processors,
            self.unsealed,
            self.peak_kib,
            samples.join(" ")
        )
    }

    /// From that line.
    pub fn parse(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        ensure!(words.len() > 5, "not a measurement: {line}");
        let number = |at: usize| words[at].parse::<u64>().context("a number");
        Ok(Self {
            entries: number(0)?,
            seconds: words[1].parse()?,
            processors: words[2].parse()?,
            unsealed: number(3)?,
            peak_kib: number(4)?,
            resident_kib: (5..words.len()).map(number).collect::<Result<_>>()?,
        })
    }
}

/// Appends to a new trail in `dir` as fast as it accepts entries, for this long.
pub fn run(dir: &Path, time: Duration) -> Result<Sustained> {
    let ledger = new_ledger(dir)?;
    let mut entries = Entries::new(ENTRY_BYTES, BATCH);
    let mut measured = Sustained::default();
    let (begin, cpu) = (Instant::now(), process_cpu());
    let mut looked = Duration::ZERO;
    let mut sampled = SETTLED.min(time / 4);
    loop {
        let elapsed = begin.elapsed();
        if elapsed >= time {
            break;
        }
        if elapsed >= looked {
            looked = elapsed + Duration::from_millis(100);
            let status = ledger.status();
            let unsealed = status.durable.saturating_sub(status.sealed.size);
            measured.unsealed = measured.unsealed.max(unsealed);
            if elapsed >= sampled {
                sampled = elapsed + SAMPLED;
                measured.resident_kib.push(resident_kib()?);
            }
        }
        measured.entries = ledger.append(Class::BestEffort, entries.take(BATCH))?.next;
    }
    measured.resident_kib.push(resident_kib()?);
    ledger.wait_sealed(measured.entries, SEALED_TIMEOUT)?;
    measured.seconds = begin.elapsed().as_secs_f64();
    measured.processors = (process_cpu() - cpu).as_secs_f64() / measured.seconds;
    measured.peak_kib = peak_kib()?;
    ledger.close()?;
    Ok(measured)
}
