//! The active segment, to which rows are added.

use std::collections::{BTreeSet, HashMap};

use zeroize::Zeroizing;

use super::Read;
use crate::{
    crypt,
    disk::{self, Disk, Open},
    error::VaultError,
    format::{
        count,
        index::{Entry, Index, Pair},
        narrow,
        row::{self, At, Row, RowKind},
        slots, wide,
    },
    key::{KINDS, Keys, Kind, Token},
};

/// Bounds of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) rows: u32,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(super) slots: u32,
    pub(super) keys: Open,
    pub(super) rows: Open,
    /// The end of the rows file.
    pub(super) end: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) live: Vec<bool>,
    pub(super) apps: Apps,
    pub(super) pairs: [BTreeSet<Pair>; KINDS],
    /// The rows before this one are synced.
    pub(super) synced: u32,
    pub(super) refusals: u32,
}

/// The applications of a segment, with their numbers.
#[derive(Debug, Default)]
pub(super) struct Apps {
    names: Vec<String>,
    numbers: HashMap<String, u16>,
}

impl Apps {
    pub(super) fn number(&mut self, name: &str) -> u16 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // A segment has fewer rows than that; see `Limits`.
        let number = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

impl Active {
    /// Creates the files of an empty segment; durable, with their names.
    pub(crate) fn create(disk: &Disk, number: u64, slots: u32) -> Result<Self, VaultError> {
        let mut keys = disk.preallocate(&disk::keys(number), slots::file_bytes(slots))?;
        keys.write_at(0, &slots::file_header(number, slots))?;
        keys.sync()?;
        let path = disk::rows(number);
        disk.write(&path, &row::file_header(number))?;
        let mut rows = disk.open(&path)?;
        rows.sync()?;
        disk.sync_dir()?;
        Ok(Self {
            number,
            slots,
            keys,
            rows,
            end: row::ALIGN,
            entries: Vec::new(),
            live: Vec::new(),
            apps: Apps::default(),
            pairs: Default::default(),
            synced: 0,
            refusals: 0,
        })
    }

    pub(crate) fn rows(&self) -> u32 {
        count(self.entries.len())
    }

    pub(crate) fn live(&self) -> u32 {
        count(self.live.iter().filter(|live| **live).count())
    }

    pub(crate) fn refusals(&self) -> u32 {
        self.refusals
    }

    /// Whether the segment has no row, counted with `more` further ones.
    pub(crate) fn is_empty_with(&self, more: usize) -> bool {
        self.entries.is_empty() && more == 0
    }

    /// Whether `more` further rows would exceed the bounds.
    pub(crate) fn is_full(&self, more: usize, more_bytes: usize, bounds: Bounds) -> bool {
        let rows = u64::from(self.rows()).saturating_add(wide(more));
        rows >= u64::from(self.slots.min(bounds.rows))
            || self.end.saturating_add(wide(more_bytes)) >= bounds.bytes
    }

    /// Writes keys and rows. Not durable before [`sync`](Self::sync).
    pub(crate) fn append(&mut self, keys: &Keys, rows: &[Row]) -> Result<(), VaultError> {
        let mut fresh = Zeroizing::new(vec![0; rows.len().saturating_mul(32)]);
        crypt::fill(&mut fresh)?;
        let first = self.rows();
        let mut frames = Vec::new();
        let (row_slots, _) = fresh.as_chunks::<32>();
        let begin = self.end;
        for ((row, slot), number) in rows.iter().zip(row_slots).zip(first..) {
            let at = At {
                segment: self.number,
                row: number,
            };
            let offset = begin.saturating_add(wide(frames.len()));
            row::push_frame(&mut frames, at, self.synced, keys, slot, row)?;
            self.note(keys, row, offset);
        }
        // In either order: a row without a key, or a key without a row, is dropped by recovery.
        self.keys.write_at(slots::offset(first), &fresh)?;
        self.rows.write_at(begin, &frames)?;
        self.end = begin.saturating_add(wide(frames.len()));
        Ok(())
    }

    /// Adds a row that is in the files to the index.
    pub(super) fn note(&mut self, keys: &Keys, row: &Row, offset: u64) {
        let number = self.rows();
        let refusal = row.kind == RowKind::Refusal;
        self.entries.push(Entry {
            offset,
            app: self.apps.number(&row.app),
            refusal,
            unreadable: false,
            time_ms: row.time_ms,
        });
        self.live.push(true);
        self.refusals = self.refusals.saturating_add(u32::from(refusal));
        for (kind, token) in row.tokens(keys) {
            for (of, pairs) in Kind::ALL.iter().zip(&mut self.pairs) {
                if *of == kind {
                    pairs.insert((token, number));
                }
            }
        }
    }

    /// Makes all rows durable: syncs both files.
    pub(crate) fn sync(&mut self) -> Result<(), VaultError> {
        self.keys.sync()?;
        self.rows.sync()?;
        self.synced = self.rows();
        Ok(())
    }

    /// The rows of a token, from `from` on.
    pub(crate) fn find(&self, kind: Kind, token: &Token, from: u32) -> Vec<u32> {
        let section = Kind::ALL
            .iter()
            .zip(&self.pairs)
            .find(|(of, _)| **of == kind);
        section.map_or_else(Vec::new, |(_, pairs)| {
            let range = (*token, from)..=(*token, u32::MAX);
            pairs.range(range).map(|(_, row)| *row).collect()
        })
    }

    /// Rows that are not erased, from `from` on.
    pub(crate) fn live_rows(&self, from: u32) -> Vec<u32> {
        let rows = (0_u32..).zip(&self.live);
        let live = rows.filter(|(row, live)| **live && *row >= from);
        live.map(|(row, _)| row).collect()
    }

    /// Rows that were synced and have a key, but do not open.
    pub(crate) fn damaged(&self) -> BTreeSet<u32> {
        let rows = (0_u32..).zip(self.entries.iter().zip(&self.live));
        let damaged = rows.filter(|(_, (entry, live))| entry.unreadable && **live);
        damaged.map(|(row, _)| row).collect()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn apps(&self) -> &[String] {
        &self.apps.names
    }

    pub(crate) fn read(&self, keys: &Keys, row: u32) -> Result<Read, VaultError> {
        let Some(entry) = self.entries.get(narrow(u64::from(row))) else {
            return Ok(Read::Erased);
        };
        let at = At {
            segment: self.number,
            row,
        };
        super::read_row(&self.keys, &self.rows, keys, at, entry.offset)
    }

    /// Erases rows: keys first, then the rows, then their tokens.
    pub(crate) fn destroy(&mut self, rows: &BTreeSet<u32>) -> Result<(), VaultError> {
        super::full::destroy_keys(&mut self.keys, rows)?;
        super::full::destroy_rows(&mut self.rows, &self.entries, rows)?;
        for row in rows {
            let at = narrow(u64::from(*row));
            let was_live = self.live.get_mut(at).is_some_and(std::mem::take);
            if was_live && self.entries.get(at).is_some_and(|entry| entry.refusal) {
                self.refusals = self.refusals.saturating_sub(1);
            }
        }
        for pairs in &mut self.pairs {
            pairs.retain(|(_, row)| !rows.contains(row));
        }
        Ok(())
    }

    /// The index of this segment, to be written when the segment is full.
    pub(crate) fn index(&self) -> Index {
        Index {
            entries: self.entries.clone(),
            apps: self.apps.names.clone(),
            pairs: self
                .pairs
                .each_ref()
                .map(|pairs| pairs.iter().copied().collect()),
        }
    }

    /// Writes the index file: the segment is full. Durable when it returns.
    pub(crate) fn seal(&self, disk: &Disk) -> Result<(), VaultError> {
        let live = |row: u32| self.live.get(narrow(u64::from(row))) == Some(&true);
        let file = self.index().file(self.number, live);
        disk.replace(&disk::index(self.number), &file)
    }
}
