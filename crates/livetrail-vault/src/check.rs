//! Checks the whole vault, and repairs it.

use std::collections::BTreeSet;

use crate::{
    disk,
    error::VaultError,
    find::Places,
    format::{
        index::{Index, Pair},
        narrow,
        row::{self, Row, SessionId},
        wide,
    },
    key::{KINDS, Kind, Token},
    segment::{Read, Reader, full::Full, recover},
    tombstones::Tombstones,
    vault::Vault,
};

/// A report lists at most this many problems, and counts all of them.
const LISTED: usize = 1_000;

/// A problem that a check finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A row has a key but does not open. Its opening is lost. Repair erases it.
    Row {
        /// The segment.
        segment: u64,
        /// The row.
        row: u32,
    },
    /// A slot has a key, but no row belongs to it. Repair overwrites it.
    OrphanKey {
        /// The segment.
        segment: u64,
        /// The row.
        row: u32,
    },
    /// A row has no key, but was not overwritten. Repair overwrites it.
    OrphanRow {
        /// The segment.
        segment: u64,
        /// The row.
        row: u32,
    },
    /// An index file is damaged. Repair rebuilds it.
    Index {
        /// The segment.
        segment: u64,
    },
    /// The tokens of the rows are not those of the index. Repair rebuilds the index.
    Tokens {
        /// The segment.
        segment: u64,
    },
    /// A file of rows or keys cannot be read at all.
    Segment {
        /// The segment.
        segment: u64,
    },
    /// A session has rows although it was erased. Repair erases them.
    Erased {
        /// The session.
        session: SessionId,
    },
    /// A run of erased sessions is damaged. Repair removes it. Replay the erasures of the log
    /// afterwards.
    Tombstones {
        /// The file.
        file: String,
    },
    /// An erasure is not finished. Repair finishes it.
    Erasing,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Segments.
    pub segments: u64,
    /// Rows that open.
    pub rows: u64,
    /// Erased rows.
    pub erased: u64,
    /// The first 1,000 problems.
    pub problems: Vec<Problem>,
    /// The number of problems.
    pub problem_count: u64,
}

impl Check {
    /// Whether the check found no problem.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.problem_count == 0
    }

    fn add(&mut self, problem: Problem) {
        self.problem_count = self.problem_count.saturating_add(1);
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }
}

impl Vault {
    /// Reads everything: each row opens under its key, the tokens of the index are those of the
    /// rows, no key is without a row, and no erased session has a row. About 6 µs per row; one
    /// segment is in memory at a time.
    ///
    /// # Errors
    /// Errors of the system. What is wrong with the files is in the report.
    pub fn check(&self) -> Result<Check, VaultError> {
        self.usable()?;
        let mut check = Check::default();
        for number in self.full.keys().chain([&self.active.number]) {
            check.segments = check.segments.saturating_add(1);
            match self.check_segment(*number, &mut check) {
                Ok(()) => {}
                Err(VaultError::Damaged { .. }) => check.add(Problem::Segment { segment: *number }),
                Err(error) => return Err(error),
            }
        }
        for file in self.tombstones.damaged_runs()? {
            check.add(Problem::Tombstones { file });
        }
        if self.disk.read(disk::ERASING)?.is_some() {
            check.add(Problem::Erasing);
        }
        Ok(check)
    }

    fn check_segment(&self, segment: u64, check: &mut Check) -> Result<(), VaultError> {
        let reader = Reader::open(&self.disk, segment)?;
        let index = match self.full.get(&segment) {
            None => self.active.index(),
            Some(full) => match full.index(&self.disk)? {
                Some(index) => index,
                None => {
                    check.add(Problem::Index { segment });
                    return Ok(());
                }
            },
        };
        let bytes = self.disk.read(&disk::rows(segment))?.unwrap_or_default();
        let slots = reader.slots()?;
        let scan = row::scan(&bytes, segment, u32::MAX)
            .ok_or_else(|| VaultError::damaged(&disk::rows(segment), "its header is invalid"))?;
        let mut tokens: [BTreeSet<Pair>; KINDS] = Default::default();
        let mut moved = scan.rows.len() != index.entries.len();
        let mut number = 0_u32;
        for (slot, (found, entry)) in slots.iter().zip(scan.rows.iter().zip(&index.entries)) {
            moved |= found.offset != entry.offset;
            let is_erased = found.header.is_some_and(|header| header.erased);
            let row = number;
            number = number.saturating_add(1);
            match reader.row(&self.keys, row, found.offset)? {
                Read::Row(row) => {
                    check.rows = check.rows.saturating_add(1);
                    if self.is_unwanted(&row)? {
                        check.add(Problem::Erased {
                            session: row.session,
                        });
                    }
                    note(
                        &mut tokens,
                        &row.tokens(&self.keys),
                        number.saturating_sub(1),
                    );
                }
                Read::Erased if is_erased => check.erased = check.erased.saturating_add(1),
                Read::Erased => check.add(Problem::OrphanRow { segment, row }),
                Read::Damaged if is_erased && *slot != [0; 32] => {
                    check.add(Problem::OrphanKey { segment, row });
                }
                Read::Damaged => check.add(Problem::Row { segment, row }),
            }
        }
        for (slot, row) in slots.iter().zip(0_u32..).skip(scan.rows.len()) {
            if *slot != [0; 32] {
                check.add(Problem::OrphanKey { segment, row });
            }
        }
        let same = index
            .pairs
            .iter()
            .zip(&tokens)
            .all(|(have, want)| have.iter().eq(want));
        if moved || !same {
            check.add(Problem::Tokens { segment });
        }
        Ok(())
    }

    /// Repairs what [`check`](Self::check) finds, as far as possible: rows without keys and keys
    /// without rows are overwritten, rows that do not open are erased, indexes are rebuilt,
    /// sessions that were erased are erased again. Lost data cannot be recovered: if there is a
    /// back-up, restore it instead. Returns the check before the repair and the check after it.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when the header of a file of keys or rows is lost; errors of the
    /// system.
    pub fn repair(&mut self) -> Result<(Check, Check), VaultError> {
        let before = self.check()?;
        if before.is_good() {
            let after = before.clone();
            return Ok((before, after));
        }
        self.mutate(Self::repair_all)?;
        let after = self.check()?;
        Ok((before, after))
    }

    fn repair_all(&mut self) -> Result<(), VaultError> {
        let mode = recover::Mode::Write {
            new_slots: self.limits.segment_rows,
        };
        let numbers: Vec<u64> = self.full.keys().copied().collect();
        for number in numbers {
            let (found, _) = recover::open(&self.disk, number, &self.keys, mode)?;
            found.seal(&self.disk)?;
            self.full
                .extend(Full::open(&self.disk, number)?.map(|full| (number, full)));
        }
        let number = self.active.number;
        (self.active, _) = recover::open(&self.disk, number, &self.keys, mode)?;
        let places = self.unwanted_rows()?;
        self.destroy_places(&places)?;
        let damaged = self.tombstones.damaged_runs()?;
        for file in &damaged {
            self.disk.remove(file)?;
        }
        if !damaged.is_empty() {
            self.tombstones = Tombstones::open(&self.disk, &self.disk.list()?, mode)?;
            self.state.replayed = 0;
            self.state.write(&self.disk, &self.state_key)?;
        }
        self.finish_erasure()?;
        self.disk.sync_dir()
    }

    /// Whether the session of a row, or the session that owns it, was erased.
    fn is_unwanted(&self, row: &Row) -> Result<bool, VaultError> {
        if self.tombstones.contains(&row.session)? {
            return Ok(true);
        }
        let owner = row.owner.as_ref();
        owner.map_or(Ok(false), |owner| self.tombstones.contains(owner))
    }

    /// Rows that do not open, and rows of sessions that were erased.
    fn unwanted_rows(&self) -> Result<Places, VaultError> {
        let mut places = Places::new();
        for number in self.full.keys().chain([&self.active.number]) {
            let reader = Reader::open(&self.disk, *number)?;
            let index: Option<Index> = match self.full.get(number) {
                Some(full) => full.index(&self.disk)?,
                None => Some(self.active.index()),
            };
            for (entry, row) in index.unwrap_or_default().entries.iter().zip(0_u32..) {
                let unwanted = match reader.row(&self.keys, row, entry.offset)? {
                    Read::Erased => false,
                    Read::Damaged => true,
                    Read::Row(row) => self.is_unwanted(&row)?,
                };
                if unwanted {
                    places.entry(*number).or_default().insert(row);
                }
            }
        }
        Ok(places)
    }
}

fn note(sets: &mut [BTreeSet<Pair>; KINDS], tokens: &[(Kind, Token)], row: u32) {
    for (kind, token) in tokens {
        let at = Kind::ALL.iter().position(|of| of == kind);
        if let Some(set) = at.and_then(|at| sets.get_mut(at)) {
            set.insert((*token, row));
        }
    }
}

/// The size of the vault's files, for people who plan a back-up.
impl Vault {
    /// The bytes of all files in the vault's directory.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn disk_bytes(&self) -> Result<u64, VaultError> {
        let mut bytes = 0_u64;
        for name in self.disk.names()? {
            bytes = bytes.saturating_add(self.disk.open_to_read(&name)?.len()?);
        }
        Ok(bytes)
    }

    /// Copies the vault into an empty directory, which is created with mode 0700. The copy is
    /// consistent: nothing changes while this runs. It is durable when this returns. The key file
    /// is not copied, whatever its name: keep a copy of it elsewhere. The keys of segments of a
    /// write-ahead log are not copied either, because a copy would outlive their destruction.
    ///
    /// # Errors
    /// [`VaultError::Exists`] when the directory has files, or errors of the system.
    pub fn copy_to(&self, dir: &std::path::Path) -> Result<(), VaultError> {
        crate::vault::create_private_dir(dir)?;
        let store = livetrail_ledger::RealStore::new(dir);
        self.copy_to_store(&disk::Disk(std::sync::Arc::new(store)))
    }

    pub(crate) fn copy_to_store(&self, to: &disk::Disk) -> Result<(), VaultError> {
        const BLOCK_BYTES: usize = 1 << 20;
        self.usable()?;
        if !to.names()?.is_empty() {
            return Err(VaultError::Exists {
                what: "file in the directory",
                name: to.place(),
            });
        }
        // The file that makes the directory a vault is written last, so that half a copy is not a
        // vault.
        let names = self.disk.names()?;
        for name in names.iter().filter(|name| disk::is_copied(name)) {
            let from = self.disk.open_to_read(name)?;
            to.write(name, &[])?;
            let mut file = to.open(name)?;
            let (mut at, end) = (0, from.len()?);
            while at < end {
                let left = narrow(end.saturating_sub(at)).min(BLOCK_BYTES);
                let mut block = zeroize::Zeroizing::new(vec![0; left]);
                from.read_exact_at(at, &mut block)?;
                file.write_at(at, &block)?;
                at = at.saturating_add(wide(left));
            }
            file.sync()?;
        }
        let vault = self.disk.read(disk::VAULT)?.unwrap_or_default();
        to.replace(disk::VAULT, &vault)
    }
}
