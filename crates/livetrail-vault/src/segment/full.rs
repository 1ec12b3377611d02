//! A full segment, to which no rows are added.

use std::collections::BTreeSet;

use super::{Reader, recover};
use crate::{
    disk::{self, Disk, Open},
    error::VaultError,
    format::{
        index::{self, ENTRY_BYTES, Entry, Head, Index, Pair},
        narrow,
        row::{self, Header},
        slots, wide,
    },
    key::{Keys, Kind, Token},
};

/// The number of pairs that are read at a time.
const BLOCK_PAIRS: u32 = 256;

/// The numbers of a full segment that are in memory: about 70 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) head: Head,
}

impl Full {
    /// Reads the head of the index file. Returns `None` when the file is missing or its head is
    /// invalid, so that it must be rebuilt.
    pub(crate) fn open(disk: &Disk, segment: u64) -> Result<Option<Self>, VaultError> {
        let file = match disk.open_to_read(&disk::index(segment)) {
            Ok(file) => file,
            Err(VaultError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if file.len()? < wide(index::HEADER_BYTES) {
            return Ok(None);
        }
        let bytes = file.read_array::<{ index::HEADER_BYTES }>(0)?;
        let head = Head::parse(&bytes).filter(|head| head.segment == segment);
        let whole = head.filter(|head| Ok(head.file_bytes()) == file.len().map_err(drop));
        Ok(whole.map(|head| Self { head }))
    }

    pub(crate) const fn number(&self) -> u64 {
        self.head.segment
    }

    pub(crate) fn lookup(&self, disk: &Disk) -> Result<Lookup, VaultError> {
        let file = disk.open_to_read(&disk::index(self.number()))?;
        // Another process may have replaced the file since.
        let bytes = file.read_array::<{ index::HEADER_BYTES }>(0)?;
        let head = Head::parse(&bytes).filter(|head| head.segment == self.number());
        let head = head.ok_or_else(|| VaultError::damaged(file.path(), "its header is invalid"))?;
        Ok(Lookup { head, file })
    }

    /// The whole index, or `None` when it is damaged.
    pub(crate) fn index(&self, disk: &Disk) -> Result<Option<Index>, VaultError> {
        let bytes = disk.read(&disk::index(self.number()))?;
        let parsed = bytes.and_then(|bytes| Index::parse(&bytes, self.number()));
        Ok(parsed.map(|(_, index)| index))
    }

    /// Erases rows: keys first, then the rows, then their tokens. A segment without rows is removed
    /// whole, and `None` returned; the caller syncs the directory.
    pub(crate) fn destroy(
        &self,
        disk: &Disk,
        keys: &Keys,
        rows: &BTreeSet<u32>,
    ) -> Result<Option<Self>, VaultError> {
        let number = self.number();
        let mut keys_file = disk.open(&disk::keys(number))?;
        destroy_keys(&mut keys_file, rows)?;
        drop(keys_file);
        let Some(mut index) = self.index(disk)? else {
            // The index is damaged: it is rebuilt from what has a key.
            let mode = recover::Mode::Write { new_slots: 1 };
            recover::open(disk, number, keys, mode)?.0.seal(disk)?;
            return Self::open(disk, number);
        };
        let mut rows_file = disk.open(&disk::rows(number))?;
        destroy_rows(&mut rows_file, &index.entries, rows)?;
        drop(rows_file);
        let slots = Reader::open(disk, number)?.slots()?;
        let live = |row: u32| {
            slots
                .get(narrow(u64::from(row)))
                .is_some_and(|slot| *slot != [0; 32])
        };
        if !(0..self.head.rows).any(live) {
            remove(disk, number)?;
            return Ok(None);
        }
        for pairs in &mut index.pairs {
            pairs.retain(|(_, row)| !rows.contains(row));
        }
        disk.replace(&disk::index(number), &index.file(number, live))?;
        Self::open(disk, number)?
            .map(Some)
            .ok_or_else(|| VaultError::damaged(&disk::index(number), "it changed"))
    }
}

/// Removes a segment whose rows are all erased. After a crash in between, any of the files may be
/// left: the next start removes them.
pub(crate) fn remove(disk: &Disk, segment: u64) -> Result<(), VaultError> {
    disk.remove(&disk::index(segment))?;
    disk.remove(&disk::rows(segment))?;
    disk.remove(&disk::keys(segment))
}

/// Overwrites slots with zeros, and syncs.
pub(super) fn destroy_keys(file: &mut Open, rows: &BTreeSet<u32>) -> Result<(), VaultError> {
    for row in rows {
        file.write_at(slots::offset(*row), &[0; 32])?;
    }
    file.sync()
}

/// Overwrites rows with erased ones of the same length, and syncs.
pub(super) fn destroy_rows(
    file: &mut Open,
    entries: &[Entry],
    rows: &BTreeSet<u32>,
) -> Result<(), VaultError> {
    let end = file.len()?;
    for row in rows {
        let at = narrow(u64::from(*row));
        let Some(entry) = entries.get(at) else {
            continue;
        };
        let next = entries
            .get(at.saturating_add(1))
            .map_or(end, |next| next.offset);
        let frame_bytes = next.saturating_sub(entry.offset);
        if frame_bytes < row::ALIGN || next > end {
            continue;
        }
        let head = file.read_array::<32>(entry.offset)?;
        let batch = Header::parse(&head).map_or(0, |header| header.batch.min(*row));
        file.write_at(entry.offset, &row::erased_frame(frame_bytes, *row, batch))?;
    }
    file.sync()
}

/// An index file, open for queries.
#[derive(Debug)]
pub(crate) struct Lookup {
    head: Head,
    file: Open,
}

impl Lookup {
    /// The rows of a token, from `from` on: about 16 small reads, and one for each
    /// 256 rows.
    pub(crate) fn find(
        &self,
        kind: Kind,
        token: &Token,
        from: u32,
    ) -> Result<Vec<u32>, VaultError> {
        let (section, pairs) = self.head.section(kind);
        let wanted: Pair = (*token, from);
        let (mut low, mut high) = (0, pairs);
        while low < high {
            let middle = low.midpoint(high);
            if self.pair(section, middle)? < wanted {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        let mut rows = Vec::new();
        while low < pairs {
            let block = self.block(section, low, pairs.saturating_sub(low).min(BLOCK_PAIRS))?;
            low = low.saturating_add(BLOCK_PAIRS);
            let same = block.iter().take_while(|(found, _)| found == token);
            rows.extend(same.map(|(_, row)| *row));
            if block.last().is_none_or(|(found, _)| found != token) {
                break;
            }
        }
        Ok(rows)
    }

    fn block(&self, section: u64, from: u32, pairs: u32) -> Result<Vec<Pair>, VaultError> {
        let mut bytes = vec![0; narrow(u64::from(pairs).saturating_mul(ENTRY_BYTES))];
        let offset = section.saturating_add(u64::from(from).saturating_mul(ENTRY_BYTES));
        self.file.read_exact_at(offset, &mut bytes)?;
        let (chunks, _) = bytes.as_chunks::<16>();
        Ok(chunks
            .iter()
            .copied()
            .filter_map(index::parse_pair)
            .collect())
    }

    fn pair(&self, section: u64, at: u32) -> Result<Pair, VaultError> {
        let offset = section.saturating_add(u64::from(at).saturating_mul(ENTRY_BYTES));
        index::parse_pair(self.file.read_array(offset)?)
            .ok_or_else(|| VaultError::damaged(self.file.path(), "a pair is invalid"))
    }

    /// All pairs of a kind, sorted.
    pub(crate) fn pairs(&self, kind: Kind) -> Result<Vec<Pair>, VaultError> {
        let (section, pairs) = self.head.section(kind);
        self.block(section, 0, pairs)
    }

    pub(crate) fn entry(&self, row: u32) -> Result<Entry, VaultError> {
        Entry::parse(self.file.read_array(Head::entry_at(row))?)
            .ok_or_else(|| VaultError::damaged(self.file.path(), "an entry is invalid"))
    }

    /// All entries.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, VaultError> {
        let mut bytes = vec![0; narrow(u64::from(self.head.rows)).saturating_mul(16)];
        self.file.read_exact_at(Head::entry_at(0), &mut bytes)?;
        let (chunks, _) = bytes.as_chunks::<16>();
        Ok(chunks.iter().copied().filter_map(Entry::parse).collect())
    }

    /// The names of the applications.
    pub(crate) fn apps(&self) -> Result<Vec<String>, VaultError> {
        let mut bytes = vec![0; narrow(u64::from(self.head.app_bytes))];
        self.file
            .read_exact_at(Head::entry_at(self.head.rows), &mut bytes)?;
        index::parse_apps(&bytes)
            .ok_or_else(|| VaultError::damaged(self.file.path(), "a name is invalid"))
    }
}
