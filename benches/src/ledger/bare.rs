//! The alternatives to which the ledger is compared: a bare fdatasync, a prototype of group commit,
//! and a naive program.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use livetrail_tlog::{Frontier, leaf_hash};
use tokio::io::AsyncWriteExt as _;

use super::{ENTRY_BYTES, Entries};
use crate::Latencies;

/// Records of the prototype's batch.
const BATCH: usize = 20_000;

/// Length of the file that is written and synced repeatedly.
const FILE_BYTES: u64 = 64 << 20;
const BLOCK: usize = 4096;

/// A file of written blocks, as a write-ahead log has it, to sync one block at a time.
pub struct BareSync {
    file: File,
    at: u64,
}

impl BareSync {
    /// Writes the file once, so that its blocks are there.
    pub fn new(dir: &Path) -> Result<Self> {
        let file = File::create_new(dir.join("bare"))?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    /// Writes and syncs blocks, one after the other, for this long.
    pub fn run(&mut self, time: Duration, latencies: &mut Latencies) -> Result<()> {
        let block = [0x5a; BLOCK];
        let begin = Instant::now();
        while begin.elapsed() < time {
            let start = Instant::now();
            self.file.write_all_at(&block, self.at)?;
            self.file.sync_data()?;
            latencies.add(u64::try_from(start.elapsed().as_nanos())?);
            self.at = (self.at + BLOCK as u64) % FILE_BYTES;
        }
        Ok(())
    }
}

/// One thread: batches of 20,000 records appended to one file, fdatasync after each, and their
/// Merkle hashes: no tiles, no signature, no recovery. Returns records per second.
pub fn prototype(dir: &Path, time: Duration) -> Result<f64> {
    let path = dir.join("prototype");
    let file = File::create_new(&path)?;
    let mut entries = Entries::new(ENTRY_BYTES, BATCH);
    let (mut tree, mut bytes, mut at) = (Frontier::new(), Vec::new(), 0);
    let begin = Instant::now();
    while begin.elapsed() < time {
        bytes.clear();
        for entry in entries.take(BATCH) {
            bytes.extend_from_slice(&u32::try_from(entry.len())?.to_le_bytes());
            bytes.extend_from_slice(entry);
            tree.append(leaf_hash(entry))?;
        }
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        at += bytes.len() as u64;
    }
    let rate = tree.size() as f64 / begin.elapsed().as_secs_f64();
    std::hint::black_box(tree.root());
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Each record written by a task of the runtime's blocking pool, as `tokio::fs` does it, and synced
/// or not. Returns records per second.
pub fn naive(dir: &Path, time: Duration, sync: bool) -> Result<f64> {
    let path = dir.join("naive");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let rate = runtime.block_on(async {
        let mut file = tokio::fs::File::create_new(&path).await?;
        let mut entries = Entries::new(ENTRY_BYTES, 1);
        let (mut records, begin) = (0_u64, Instant::now());
        while begin.elapsed() < time {
            file.write_all(&entries.take(1)[0]).await?;
            file.flush().await?;
            if sync {
                file.sync_data().await?;
            }
            records += 1;
        }
        anyhow::Ok(records as f64 / begin.elapsed().as_secs_f64())
    })?;
    std::fs::remove_file(path)?;
    Ok(rate)
}
