//! The sessions that were erased: no opening of them is ever accepted again.
//!
//! They are on disk, in sorted runs. A new run is merged with the one before it while that is less
//! than twice as long. So there are at most about log2(sessions) runs, and each session is
//! rewritten about as often. In memory is one identifier of 16 bytes for each 256 sessions: 100
//! million erased sessions need 6.3 MB.
//!
//! The log names every erased session, so the runs can be deleted and made again by
//! [`Vault::replay`](crate::Vault::replay).

use crate::{
    disk::{self, Disk, Listed, Open},
    error::VaultError,
    format::{count, narrow, row::SessionId, tombstones, wide},
    segment::recover::Mode,
};

/// One of this many sessions is in memory.
const STRIDE: usize = 256;

/// The number of sessions that a merge reads at a time from each run.
const MERGE_SESSIONS: usize = 4096;

#[derive(Debug)]
pub(crate) struct Tombstones {
    disk: Disk,
    /// From the longest to the shortest.
    runs: Vec<Run>,
    next: u64,
}

#[derive(Debug)]
struct Run {
    number: u64,
    sessions: u32,
    /// Every 256th session, from the first on.
    fences: Vec<SessionId>,
    last: SessionId,
    file: Open,
}

impl Tombstones {
    pub(crate) fn open(disk: &Disk, listed: &Listed, mode: Mode) -> Result<Self, VaultError> {
        let mut numbers = listed.tombstones.clone();
        numbers.sort_unstable();
        let next = numbers.last().map_or(0, |last| last.saturating_add(1));
        let mut runs = Vec::new();
        for number in numbers {
            runs.push(Run::open(disk, number)?);
        }
        let mut tombstones = Self {
            disk: disk.clone(),
            runs,
            next,
        };
        if let Mode::Write { .. } = mode {
            tombstones.merge()?;
        }
        Ok(tombstones)
    }

    /// The number of sessions; one that a crash left in two runs counts twice.
    pub(crate) fn len(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.sessions)).sum()
    }

    pub(crate) fn contains(&self, session: &SessionId) -> Result<bool, VaultError> {
        for run in &self.runs {
            if run.contains(session)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds sessions. Durable when it returns.
    pub(crate) fn add(&mut self, sessions: &[SessionId]) -> Result<(), VaultError> {
        let mut fresh = Vec::new();
        for session in sessions {
            if !self.contains(session)? {
                fresh.push(*session);
            }
        }
        fresh.sort_unstable();
        fresh.dedup();
        if fresh.is_empty() {
            return Ok(());
        }
        let number = self.take_number();
        let path = disk::tombstones(number);
        self.disk.replace(&path, &tombstones::file(&fresh))?;
        self.runs.push(Run::open(&self.disk, number)?);
        self.merge()
    }

    /// Checks every run from its first to its last byte.
    pub(crate) fn damaged_runs(&self) -> Result<Vec<String>, VaultError> {
        let mut damaged = Vec::new();
        for run in &self.runs {
            let path = disk::tombstones(run.number);
            let bytes = self.disk.read(&path)?.unwrap_or_default();
            if tombstones::parse(&bytes).is_none() {
                damaged.push(path);
            }
        }
        Ok(damaged)
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    fn merge(&mut self) -> Result<(), VaultError> {
        while let [.., long, short] = self.runs.as_slice() {
            if u64::from(long.sessions) >= u64::from(short.sessions).saturating_mul(2) {
                break;
            }
            let number = self.next;
            merge(&self.disk, long, short, number)?;
            let old = [long.number, short.number];
            self.take_number();
            self.runs.truncate(self.runs.len().saturating_sub(2));
            self.runs.push(Run::open(&self.disk, number)?);
            // After a crash before this, the sessions are in two runs until the next merge.
            for number in old {
                self.disk.remove(&disk::tombstones(number))?;
            }
        }
        Ok(())
    }
}

impl Run {
    fn open(disk: &Disk, number: u64) -> Result<Self, VaultError> {
        let path = disk::tombstones(number);
        let file = disk.open_to_read(&path)?;
        let head = file.read_array::<{ tombstones::HEADER_BYTES }>(0)?;
        let sessions = tombstones::parse_header(&head, file.len()?).ok_or_else(|| {
            VaultError::damaged(
                &path,
                "its header is invalid: delete the file and replay the erasures of the log",
            )
        })?;
        let mut run = Self {
            number,
            sessions,
            fences: Vec::new(),
            last: [0; 16],
            file,
        };
        for at in (0..sessions).step_by(STRIDE) {
            run.fences.push(run.file.read_array(offset(at))?);
        }
        if let Some(last) = sessions.checked_sub(1) {
            run.last = run.file.read_array(offset(last))?;
        }
        Ok(run)
    }

    fn contains(&self, session: &SessionId) -> Result<bool, VaultError> {
        if *session > self.last {
            return Ok(false);
        }
        let after = self.fences.partition_point(|fence| fence <= session);
        let Some(block) = after.checked_sub(1) else {
            return Ok(false);
        };
        let first = count(block.saturating_mul(STRIDE));
        let block = self.read(first, STRIDE)?;
        Ok(block.binary_search(session).is_ok())
    }

    /// Up to this many sessions from a position on.
    fn read(&self, from: u32, most: usize) -> Result<Vec<SessionId>, VaultError> {
        let left = narrow(u64::from(self.sessions.saturating_sub(from)));
        let mut bytes = vec![0; left.min(most).saturating_mul(16)];
        self.file.read_exact_at(offset(from), &mut bytes)?;
        let (sessions, _) = bytes.as_chunks::<16>();
        Ok(sessions.to_vec())
    }
}

fn offset(session: u32) -> u64 {
    wide(tombstones::HEADER_BYTES).saturating_add(u64::from(session).saturating_mul(16))
}

/// Writes a run with the sessions of both.
fn merge(disk: &Disk, one: &Run, other: &Run, number: u64) -> Result<(), VaultError> {
    let path = disk::tombstones(number);
    let staged = Disk::staged(&path);
    disk.write(&staged, &tombstones::header(0))?;
    let mut file = disk.open(&staged)?;
    let (mut one, mut other) = (Ahead::of(one), Ahead::of(other));
    let (mut written, mut sum) = (0_u32, 0);
    loop {
        let mut block = Vec::with_capacity(MERGE_SESSIONS.saturating_mul(16));
        let mut sessions = 0_u32;
        while narrow(u64::from(sessions)) < MERGE_SESSIONS {
            let least = match (one.peek()?, other.peek()?) {
                (None, None) => break,
                (Some(session), None) | (None, Some(session)) => session,
                (Some(session), Some(second)) => session.min(second),
            };
            one.skip(&least)?;
            other.skip(&least)?;
            block.extend_from_slice(&least);
            sessions = sessions.saturating_add(1);
        }
        if block.is_empty() {
            break;
        }
        file.write_at(offset(written), &block)?;
        sum = crc32c::crc32c_append(sum, &block);
        written = written.saturating_add(sessions);
    }
    file.write_at(offset(written), &sum.to_be_bytes())?;
    file.write_at(0, &tombstones::header(written))?;
    drop(file);
    disk.publish(&path)
}

/// Reads a run from its first session on.
struct Ahead<'a> {
    run: &'a Run,
    next: u32,
    block: std::vec::IntoIter<SessionId>,
}

impl<'a> Ahead<'a> {
    fn of(run: &'a Run) -> Self {
        Self {
            run,
            next: 0,
            block: Vec::new().into_iter(),
        }
    }

    fn peek(&mut self) -> Result<Option<SessionId>, VaultError> {
        if self.block.as_slice().is_empty() && self.next < self.run.sessions {
            let block = self.run.read(self.next, MERGE_SESSIONS)?;
            self.next = self.next.saturating_add(count(block.len()));
            self.block = block.into_iter();
        }
        Ok(self.block.as_slice().first().copied())
    }

    fn skip(&mut self, session: &SessionId) -> Result<(), VaultError> {
        if self.peek()?.as_ref() == Some(session) {
            self.block.next();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use livetrail_ledger::MemStore;
    use proptest::prelude::*;

    use super::*;

    const WRITE: Mode = Mode::Write { new_slots: 1 };

    fn session(number: u64) -> SessionId {
        let mut session = [0; 16];
        session[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        session
    }

    #[test]
    fn many_small_additions_make_few_runs() {
        let disk = Disk(Arc::new(MemStore::new()));
        let mut tombstones = Tombstones::open(&disk, &Listed::default(), WRITE).unwrap();
        for number in 0..1_000 {
            tombstones
                .add(&[session(number), session(number / 2)])
                .unwrap();
        }
        assert_eq!(tombstones.len(), 1_000);
        assert!(tombstones.runs.len() <= 10, "{}", tombstones.runs.len());
        assert_eq!(disk.names().unwrap().len(), tombstones.runs.len());
        assert_eq!(tombstones.damaged_runs().unwrap(), Vec::<String>::new());
        let again = Tombstones::open(&disk, &disk.list().unwrap(), WRITE).unwrap();
        for number in 0..2_000 {
            assert_eq!(again.contains(&session(number)).unwrap(), number < 1_000);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_set_of_sessions_is_what_was_added(batches in prop::collection::vec(prop::collection::vec(0_u64..2_000, 0..700), 1..8)) {
            let disk = Disk(Arc::new(MemStore::new()));
            let mut tombstones = Tombstones::open(&disk, &Listed::default(), WRITE).unwrap();
            let mut model = std::collections::BTreeSet::new();
            for batch in batches {
                let sessions: Vec<_> = batch.iter().copied().map(session).collect();
                tombstones.add(&sessions).unwrap();
                model.extend(batch);
            }
            prop_assert_eq!(tombstones.len(), wide(model.len()));
            for number in 0..2_000 {
                prop_assert_eq!(tombstones.contains(&session(number)).unwrap(), model.contains(&number));
            }
        }
    }
}
