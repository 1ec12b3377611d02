//! The matching records, read from the ledger and proven.

use std::{collections::VecDeque, ops::Range};

use livetrail_ledger::{LedgerError, ProvenLeaves, Reader};
use livetrail_record::{AuditRecord, Uuid};
use livetrail_tlog::{TILE_WIDTH, VerifiedCheckpoint, leaf_hash, parse_bundle};
use memchr::memmem::Finder;

use crate::candidates;
use crate::error::IndexError;
use crate::filter::Filter;
use crate::segment::opening_of;

/// A matching record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hit {
    /// The index of its entry.
    pub index: u64,
    /// The entry: the record's canonical bytes. They are at that index in the tree that the
    /// checkpoint signs.
    pub entry: Vec<u8>,
    /// The record.
    pub record: AuditRecord,
}

impl Hit {
    /// The id under which the vault has, or had, the opening that the entry commits to: its
    /// session, or an id made of `boot` and `seq`. `None` when it commits to none.
    #[must_use]
    pub fn opening(&self) -> Option<Uuid> {
        opening_of(&self.record)
    }
}

/// The matching records, in trail order; one bundle is in memory at a time. Ends after an error.
#[derive(Debug)]
pub struct Hits<'a> {
    reader: &'a Reader,
    leaves: ProvenLeaves<'a>,
    checkpoint: VerifiedCheckpoint,
    filter: Filter,
    needle: Option<Finder<'static>>,
    ranges: std::vec::IntoIter<Range<u64>>,
    range: Range<u64>,
    ready: std::vec::IntoIter<Hit>,
    bundles_read: u64,
    unreadable: u64,
    absent: Vec<Range<u64>>,
}

/// The matching records, without an index: reads the whole trail.
///
/// # Errors
/// When the trail cannot be read.
pub fn scan(reader: &Reader, filter: Filter) -> Result<Hits<'_>, IndexError> {
    let checkpoint = reader.checkpoint()?;
    let bundles = candidates::all(&filter, checkpoint.head().size);
    let bundles = std::iter::once(bundles).collect();
    Ok(Hits::new(reader, checkpoint, filter, bundles))
}

impl<'a> Hits<'a> {
    pub(crate) fn new(
        reader: &'a Reader,
        checkpoint: VerifiedCheckpoint,
        filter: Filter,
        bundles: Vec<Range<u64>>,
    ) -> Self {
        Self {
            reader,
            leaves: reader.proven_leaves(&checkpoint),
            checkpoint,
            needle: filter.needle(),
            filter,
            ranges: bundles.into_iter(),
            range: 0..0,
            ready: Vec::new().into_iter(),
            bundles_read: 0,
            unreadable: 0,
            absent: Vec::new(),
        }
    }

    /// The checkpoint whose tree contains the records.
    #[must_use]
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// The number of bundles of 256 entries read so far.
    #[must_use]
    pub const fn bundles_read(&self) -> u64 {
        self.bundles_read
    }

    /// The number of entries found so far that are not records. It is incomplete, because most
    /// entries that cannot match are skipped.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Indices of entries that were needed so far and do not exist: removed by retention, or lost.
    /// Adjacent ranges are joined.
    #[must_use]
    pub fn absent(&self) -> &[Range<u64>] {
        &self.absent
    }

    /// The last `wanted` of the unread matches, in trail order. Reads backwards from the end, and
    /// only as far as needed. In memory are at most `wanted` matches and those of one bundle.
    ///
    /// # Errors
    /// Those of iterating; nothing can be read afterwards.
    pub fn newest(&mut self, wanted: usize) -> Result<Vec<Hit>, IndexError> {
        let mut last = VecDeque::new();
        let not_read = std::mem::take(&mut self.ranges);
        let begun = std::mem::replace(&mut self.range, 0..0);
        let ready = std::mem::take(&mut self.ready);
        let numbers = std::iter::once(begun)
            .chain(not_read)
            .rev()
            .flat_map(Range::rev);
        let take = |found: std::vec::IntoIter<Hit>, last: &mut VecDeque<Hit>| {
            let room = wanted.saturating_sub(last.len());
            for found in found.rev().take(room) {
                last.push_front(found);
            }
        };
        for number in numbers {
            if last.len() >= wanted {
                return Ok(last.into());
            }
            self.load(number)?;
            take(std::mem::take(&mut self.ready), &mut last);
        }
        take(ready, &mut last);
        Ok(last.into())
    }

    fn next_bundle(&mut self) -> Option<u64> {
        loop {
            if let Some(number) = self.range.next() {
                return Some(number);
            }
            self.range = self.ranges.next()?;
        }
    }

    fn load(&mut self, number: u64) -> Result<(), IndexError> {
        let first = number.saturating_mul(u64::from(TILE_WIDTH));
        let (bundle, bytes) = match self.reader.bundle_of(&self.checkpoint, number) {
            Err(error) if error.is_absence() => {
                self.note_absent(first);
                return Ok(());
            }
            read => read?,
        };
        self.bundles_read = self.bundles_read.saturating_add(1);
        if let Some(needle) = &self.needle
            && needle.find(&bytes).is_none()
        {
            return Ok(());
        }
        let entries = parse_bundle(bundle, &bytes).map_err(|error| LedgerError::FileCorrupt {
            path: bundle.to_string(),
            what: error.to_string(),
        })?;
        let mut found = Vec::new();
        for (index, entry) in (first..).zip(entries) {
            let wanted = self
                .filter
                .entries
                .as_ref()
                .is_none_or(|e| e.contains(&index));
            if !wanted
                || self
                    .needle
                    .as_ref()
                    .is_some_and(|n| n.find(entry).is_none())
            {
                continue;
            }
            match self.filter.matching(entry) {
                Ok(Some(record)) => found.push(Hit {
                    index,
                    entry: entry.to_vec(),
                    record,
                }),
                Ok(None) => {}
                Err(_) => self.unreadable = self.unreadable.saturating_add(1),
            }
        }
        if !found.is_empty() {
            self.prove(number, first, &found)?;
        }
        self.ready = found.into_iter();
        Ok(())
    }

    /// Proves that the matches are entries of the signed tree.
    fn prove(&mut self, number: u64, first: u64, found: &[Hit]) -> Result<(), IndexError> {
        let leaves = self.leaves.of_bundle(number)?;
        for Hit { index, entry, .. } in found {
            let at = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
            if leaves.get(at) != Some(&leaf_hash(entry)) {
                return Err(IndexError::EntryChanged { index: *index });
            }
        }
        Ok(())
    }

    fn note_absent(&mut self, first: u64) {
        let end = first
            .saturating_add(u64::from(TILE_WIDTH))
            .min(self.checkpoint.head().size);
        match self.absent.last_mut() {
            Some(last) if last.end == first => last.end = end,
            Some(last) if last.start == end => last.start = first,
            _ => self.absent.push(first..end),
        }
    }
}

impl Iterator for Hits<'_> {
    type Item = Result<Hit, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.ready.next() {
                return Some(Ok(found));
            }
            let number = self.next_bundle()?;
            if let Err(error) = self.load(number) {
                self.range = 0..0;
                self.ranges = Vec::new().into_iter();
                return Some(Err(error));
            }
        }
    }
}
