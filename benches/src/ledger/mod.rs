//! Measures the ledger: its sustained rate, the time until an entry is durable, the cost of opening
//! a large one; each next to a bare way on the same disk in the same run.

pub mod bare;
pub mod latency;
pub mod open;
pub mod sustained;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use livetrail_ledger::{Identity, Ledger, RealStore, SharedStore, generate_seed};

/// Bytes of an entry, unless stated otherwise.
pub const ENTRY_BYTES: usize = 200;

/// Makes a trail with the default settings and opens it.
pub fn new_ledger(dir: &Path) -> Result<Ledger> {
    let (signer, cosigner) = (generate_seed()?, generate_seed()?);
    new_ledger_of(
        dir,
        &Identity::from_seeds("example.com/bench", &signer, &cosigner)?,
    )
}

/// As [`new_ledger`], with existing keys.
pub fn new_ledger_of(dir: &Path, identity: &Identity) -> Result<Ledger> {
    let store: SharedStore = Arc::new(RealStore::new(dir));
    Ledger::create(&store, identity)?;
    Ok(Ledger::builder(store, identity.clone()).open()?.0)
}

/// Entries that all differ, made without allocating.
pub struct Entries {
    batch: Vec<Vec<u8>>,
    next: u64,
}

impl Entries {
    /// Of this many bytes, at least 8, returned this many at a time.
    pub fn new(bytes: usize, batch: usize) -> Self {
        // Not zeros, because a disk may treat zeros differently.
        let pattern = |at: usize| u8::try_from(at.wrapping_mul(167) % 251).unwrap_or(0);
        let entry: Vec<u8> = (0..bytes.max(8)).map(pattern).collect();
        Self {
            batch: vec![entry; batch],
            next: 0,
        }
    }

    /// The next `count`, no more than a batch.
    pub fn take(&mut self, count: usize) -> &[Vec<u8>] {
        let count = count.min(self.batch.len());
        for entry in &mut self.batch[..count] {
            entry[..8].copy_from_slice(&self.next.to_be_bytes());
            self.next += 1;
        }
        &self.batch[..count]
    }
}

/// Resident memory of this process now, in KiB.
pub fn resident_kib() -> Result<u64> {
    status_kib("VmRSS:")
}

/// The most memory that this process ever had resident, in KiB.
pub fn peak_kib() -> Result<u64> {
    status_kib("VmHWM:")
}

fn status_kib(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib
        .with_context(|| format!("no {field} in /proc/self/status"))?
        .parse()?)
}

/// `12.3 MiB`.
pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

/// `1.08 million`, `15,000`.
pub fn rate(per_second: f64) -> String {
    if per_second >= 1e6 {
        return format!("{:.2} million", per_second / 1e6);
    }
    let whole = per_second.round() as u64;
    if whole >= 1_000 {
        format!("{},{:03}", whole / 1_000, whole % 1_000)
    } else {
        whole.to_string()
    }
}
