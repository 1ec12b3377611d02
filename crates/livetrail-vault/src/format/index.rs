//! The index of a full segment: where its rows are, and sorted tokens. It is derived from the rows
//! and keys, and rewritten whole when rows are erased, without their tokens.
//!
//! ```text
//! header   "LTVIDX02" │ segment u64 │ rows u32 │ live u32 │ refusals u32 │ app bytes u32
//!          │ tokens of each kind 7 × u32 │ oldest_ms u64 │ zeros(8) │ crc32c u32         80 bytes
//! rows     16 bytes each: offset in units of 32 u32 │ app u16 │ flags u16 │ time_ms u64
//! apps     u8 1 + len, and the bytes, each; zeros up to a multiple of 16
//! tokens   for each kind, sorted, 16 bytes each: token(12) │ row u32
//! end      crc32c u32 of everything after the header
//! ```
//!
//! `live` and `refusals` count rows that are not erased; `oldest_ms` is the earliest time of these.
//! Flag 1 is a refusal. Flag 2: the row could not be read when the file was written.

use super::{Read, count, narrow, wide};
use crate::key::{KINDS, Kind, Token};

pub(crate) const HEADER_BYTES: usize = 80;
pub(crate) const ENTRY_BYTES: u64 = 16;
const FILE: [u8; 8] = *b"LTVIDX02";
const REFUSAL: u16 = 1;
const UNREADABLE: u16 = 2;

/// A row in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    /// The application's number in this segment.
    pub(crate) app: u16,
    pub(crate) refusal: bool,
    pub(crate) unreadable: bool,
    pub(crate) time_ms: u64,
}

/// A token and its row. Sorts by token, then row.
pub(crate) type Pair = (Token, u32);

/// The numbers in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) segment: u64,
    pub(crate) rows: u32,
    pub(crate) live: u32,
    pub(crate) refusals: u32,
    pub(crate) app_bytes: u32,
    pub(crate) pairs: [u32; KINDS],
    pub(crate) oldest_ms: u64,
}

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.first_chunk::<HEADER_BYTES>()?;
        let mut read = Read(whole);
        if read.array()? != FILE {
            return None;
        }
        let segment = read.u64()?;
        let (rows, live, refusals, app_bytes) =
            (read.u32()?, read.u32()?, read.u32()?, read.u32()?);
        let mut pairs = [0; KINDS];
        for number in &mut pairs {
            *number = read.u32()?;
        }
        let oldest_ms = read.u64()?;
        let zeros = read.u64()?;
        if read.u32()? != crc32c::crc32c(whole.get(..76)?) || zeros != 0 || live > rows {
            return None;
        }
        Some(Self {
            segment,
            rows,
            live,
            refusals,
            app_bytes,
            pairs,
            oldest_ms,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = FILE.to_vec();
        bytes.extend_from_slice(&self.segment.to_be_bytes());
        let counts = [self.rows, self.live, self.refusals, self.app_bytes];
        for number in counts.iter().chain(&self.pairs) {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.oldest_ms.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The offset of a row's entry.
    pub(crate) fn entry_at(row: u32) -> u64 {
        wide(HEADER_BYTES).saturating_add(u64::from(row).saturating_mul(ENTRY_BYTES))
    }

    fn apps_at(&self) -> u64 {
        Self::entry_at(self.rows)
    }

    /// The offset of the section of a kind, and its number of pairs.
    pub(crate) fn section(&self, kind: Kind) -> (u64, u32) {
        let mut at = self.apps_at().saturating_add(u64::from(self.app_bytes));
        for (of, pairs) in Kind::ALL.iter().zip(self.pairs) {
            if *of == kind {
                return (at, pairs);
            }
            at = at.saturating_add(u64::from(pairs).saturating_mul(ENTRY_BYTES));
        }
        (at, 0)
    }

    /// The length of the whole file.
    pub(crate) fn file_bytes(&self) -> u64 {
        let (at, pairs) = self.section(Kind::Stream);
        at.saturating_add(u64::from(pairs).saturating_mul(ENTRY_BYTES))
            .saturating_add(4)
    }
}

impl Entry {
    pub(crate) fn parse(bytes: [u8; 16]) -> Option<Self> {
        let mut read = Read(&bytes);
        let offset = u64::from(read.u32()?).saturating_mul(super::row::ALIGN);
        let (app, flags, time_ms) = (read.u16()?, read.u16()?, read.u64()?);
        Some(Self {
            offset,
            app,
            refusal: flags & REFUSAL != 0,
            unreadable: flags & UNREADABLE != 0,
            time_ms,
        })
    }

    fn push(&self, bytes: &mut Vec<u8>) {
        let units = self.offset.checked_div(super::row::ALIGN).unwrap_or(0);
        bytes.extend_from_slice(&count(narrow(units)).to_be_bytes());
        bytes.extend_from_slice(&self.app.to_be_bytes());
        let flag = |on: bool, flag: u16| if on { flag } else { 0 };
        let flags = flag(self.refusal, REFUSAL) | flag(self.unreadable, UNREADABLE);
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&self.time_ms.to_be_bytes());
    }
}

pub(crate) fn parse_pair(bytes: [u8; 16]) -> Option<Pair> {
    let mut read = Read(&bytes);
    Some((read.array()?, read.u32()?))
}

/// A whole index in memory: that of the active segment, or of one that is being rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    pub(crate) apps: Vec<String>,
    /// Sorted, for each kind.
    pub(crate) pairs: [Vec<Pair>; KINDS],
}

impl Index {
    /// The file. `live` tells whether a row is not erased.
    pub(crate) fn file(&self, segment: u64, live: impl Fn(u32) -> bool) -> Vec<u8> {
        let mut apps = Vec::new();
        for app in &self.apps {
            apps.push(u8::try_from(app.len().saturating_add(1)).unwrap_or(u8::MAX));
            apps.extend(app.bytes().take(super::row::MAX_APP_BYTES));
        }
        apps.resize(apps.len().next_multiple_of(16), 0);
        let mut head = Head {
            segment,
            rows: count(self.entries.len()),
            live: 0,
            refusals: 0,
            app_bytes: count(apps.len()),
            pairs: self.pairs.each_ref().map(|pairs| count(pairs.len())),
            oldest_ms: u64::MAX,
        };
        for (row, entry) in (0_u32..).zip(&self.entries) {
            if live(row) {
                head.live = head.live.saturating_add(1);
                head.refusals = head.refusals.saturating_add(u32::from(entry.refusal));
                head.oldest_ms = head.oldest_ms.min(entry.time_ms);
            }
        }
        let mut bytes = head.bytes();
        bytes.reserve(narrow(head.file_bytes()));
        for entry in &self.entries {
            entry.push(&mut bytes);
        }
        bytes.extend_from_slice(&apps);
        for (token, row) in self.pairs.iter().flatten() {
            bytes.extend_from_slice(token);
            bytes.extend_from_slice(&row.to_be_bytes());
        }
        let sum = crc32c::crc32c(bytes.get(HEADER_BYTES..).unwrap_or_default());
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Parses a whole file and checks all of it.
    pub(crate) fn parse(file: &[u8], segment: u64) -> Option<(Head, Self)> {
        let head = Head::parse(file)?;
        if head.segment != segment || head.file_bytes() != wide(file.len()) {
            return None;
        }
        let (body, sum) = file.get(HEADER_BYTES..)?.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*sum) != crc32c::crc32c(body) {
            return None;
        }
        let mut read = Read(body);
        let mut index = Self::default();
        for _ in 0..head.rows {
            index.entries.push(Entry::parse(read.array()?)?);
        }
        index.apps = parse_apps(read.take(usize::try_from(head.app_bytes).ok()?)?)?;
        for (pairs, count) in index.pairs.iter_mut().zip(head.pairs) {
            for _ in 0..count {
                pairs.push(parse_pair(read.array()?)?);
            }
            let in_range = pairs.iter().all(|(_, row)| *row < head.rows);
            if !in_range || !pairs.is_sorted() {
                return None;
            }
        }
        let named = |entry: &Entry| usize::from(entry.app) < index.apps.len() || entry.unreadable;
        index.entries.iter().all(named).then_some((head, index))
    }
}

/// Parses the names of applications.
pub(crate) fn parse_apps(bytes: &[u8]) -> Option<Vec<String>> {
    let mut read = Read(bytes);
    let mut apps = Vec::new();
    while let Some(len) = read.u8() {
        // The first zero begins the padding.
        let Some(len) = len.checked_sub(1) else {
            break;
        };
        let name = read.take(usize::from(len))?;
        apps.push(str::from_utf8(name).ok()?.to_owned());
    }
    Some(apps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let entry = |offset, app, refusal, time_ms| Entry {
            offset,
            app,
            refusal,
            unreadable: false,
            time_ms,
        };
        Index {
            entries: vec![
                entry(32, 0, false, 30),
                entry(320, 1, true, 10),
                entry(640, 0, false, 20),
            ],
            apps: vec!["live".to_owned(), "überall".to_owned()],
            pairs: [
                vec![([1; 12], 2), ([2; 12], 0), ([2; 12], 1)],
                vec![],
                vec![([5; 12], 1)],
                vec![],
                vec![([0; 12], 0), ([9; 12], 2)],
                vec![([7; 12], 1)],
                vec![],
            ],
        }
    }

    #[test]
    fn a_file_reads_as_what_was_written_and_counts_live_rows() {
        let file = index().file(7, |row| row != 1);
        let (head, read) = Index::parse(&file, 7).unwrap();
        assert_eq!(read, index());
        assert_eq!(
            (head.rows, head.live, head.refusals, head.oldest_ms),
            (3, 2, 0, 20)
        );
        assert_eq!(Head::parse(&file).unwrap(), head);
        let (at, pairs) = head.section(Kind::UserAgent);
        assert_eq!(pairs, 1);
        assert_eq!(file[narrow(at)..][..12], [5; 12]);
        assert!(Index::parse(&file, 8).is_none());
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let file = index().file(7, |_| true);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                assert!(Index::parse(&flipped, 7).is_none(), "{at}.{bit}");
            }
            assert!(Index::parse(&file[..at], 7).is_none());
        }
    }
}
