//! A record's frame.
//!
//! ```text
//! │ length u32 LE │ crc32c u32 LE │ index u64 LE │ payload, length bytes │
//! ```
//!
//! The checksum covers length, index and payload. A mark, which opens a batch, has [`MARK`] instead
//! of a length, the index of the batch's first record, and no payload.
//!
//! The payload is the entry. If the entry has a companion, the length has the bit [`JOINED`], and
//! the payload is both, so that neither is ever read back without the other:
//!
//! ```text
//! │ length of the entry u32 LE │ entry │ companion, to the end │
//! ```

use crate::write::companion::{Entry, MAX_COMPANION_BYTES};

/// Length of the head before a payload.
pub(crate) const HEAD_BYTES: usize = 16;

/// Instead of a length: this is a mark. No record is that long.
const MARK: u32 = 0x8000_0000;

/// In a length: the payload is an entry and its companion. No record is that long.
const JOINED: u32 = 0x4000_0000;

/// The longest entry: a bundle has 16 bits for its length.
const MAX_ENTRY_BYTES: usize = livetrail_tlog::MAX_ENTRY_BYTES;

/// The length of the entry, before an entry with a companion.
const SPLIT_BYTES: usize = 4;

/// The longest payload of an entry with a companion.
const MAX_JOINED_BYTES: usize = SPLIT_BYTES + MAX_ENTRY_BYTES + MAX_COMPANION_BYTES;

/// The longest framed record.
pub(super) const MAX_FRAMED_BYTES: usize = HEAD_BYTES + MAX_JOINED_BYTES;

/// The number of bytes that an entry and its companion occupy. 0 is no companion.
pub(crate) const fn framed_bytes(entry: usize, companion: usize) -> usize {
    let alone = HEAD_BYTES.saturating_add(entry);
    if companion == 0 {
        return alone;
    }
    alone.saturating_add(SPLIT_BYTES).saturating_add(companion)
}

fn checksum(length: u32, index: u64, payload: &[u8]) -> u32 {
    let mut head = [0; 12];
    let (first, rest) = head.split_at_mut(4);
    first.copy_from_slice(&length.to_le_bytes());
    rest.copy_from_slice(&index.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

fn push(into: &mut Vec<u8>, length: u32, index: u64, payload: &[u8]) {
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(&checksum(length, index, payload).to_le_bytes());
    into.extend_from_slice(&index.to_le_bytes());
    into.extend_from_slice(payload);
}

/// Appends a mark.
pub(super) fn push_mark(into: &mut Vec<u8>, index: u64) {
    push(into, MARK, index, &[]);
}

/// Appends a record. The caller has checked the lengths of entry and companion; the scan would
/// reject longer ones.
pub(super) fn push_record(into: &mut Vec<u8>, index: u64, entry: Entry<'_>) {
    if !entry.companion.is_empty() {
        return push_joined(into, index, entry);
    }
    push(
        into,
        u32::try_from(entry.bytes.len()).unwrap_or(JOINED - 1),
        index,
        entry.bytes,
    );
}

fn push_joined(into: &mut Vec<u8>, index: u64, entry: Entry<'_>) {
    let split = u32::try_from(entry.bytes.len()).unwrap_or(u32::MAX);
    let payload = framed_bytes(entry.bytes.len(), entry.companion.len()).saturating_sub(HEAD_BYTES);
    let length = JOINED | u32::try_from(payload).unwrap_or(JOINED - 1);
    let mut sum = checksum(length, index, &split.to_le_bytes());
    sum = crc32c::crc32c_append(sum, entry.bytes);
    sum = crc32c::crc32c_append(sum, entry.companion);
    into.reserve(HEAD_BYTES.saturating_add(payload));
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(&sum.to_le_bytes());
    into.extend_from_slice(&index.to_le_bytes());
    into.extend_from_slice(&split.to_le_bytes());
    into.extend_from_slice(entry.bytes);
    into.extend_from_slice(entry.companion);
}

/// The head before a payload, not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    length: u32,
    checksum: u32,
    pub(super) index: u64,
}

impl Head {
    /// Reads a head. Returns `None` when there are too few bytes, or when they are not a head.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let (index, _) = rest.split_first_chunk()?;
        let head = Self {
            length: u32::from_le_bytes(*length),
            checksum: u32::from_le_bytes(*checksum),
            index: u64::from_le_bytes(*index),
        };
        let payload = head.payload_bytes();
        let is_head = if head.is_joined() {
            payload > SPLIT_BYTES && payload <= MAX_JOINED_BYTES
        } else {
            payload <= MAX_ENTRY_BYTES
        };
        is_head.then_some(head)
    }

    pub(super) const fn is_mark(self) -> bool {
        self.length == MARK
    }

    /// Whether the payload is an entry and its companion.
    const fn is_joined(self) -> bool {
        !self.is_mark() && self.length & JOINED != 0
    }

    fn payload_bytes(self) -> usize {
        if self.is_mark() {
            return 0;
        }
        usize::try_from(self.length & !JOINED).unwrap_or(usize::MAX)
    }

    pub(super) fn framed_bytes(self) -> usize {
        HEAD_BYTES.saturating_add(self.payload_bytes())
    }

    /// The entry and its companion from the bytes that begin with this head, if the checksum is
    /// correct. A mark's entry is empty.
    pub(super) fn entry(self, framed: &[u8]) -> Option<Entry<'_>> {
        let payload = framed.get(HEAD_BYTES..self.framed_bytes())?;
        (checksum(self.length, self.index, payload) == self.checksum)
            .then(|| self.split(payload))
            .flatten()
    }

    /// The same, when the checksum was checked before.
    pub(super) fn checked_entry(self, framed: &[u8]) -> Option<Entry<'_>> {
        self.split(framed.get(HEAD_BYTES..self.framed_bytes())?)
    }

    fn split(self, payload: &[u8]) -> Option<Entry<'_>> {
        if !self.is_joined() {
            return Some(Entry::new(payload));
        }
        let (split, rest) = payload.split_first_chunk()?;
        let split = usize::try_from(u32::from_le_bytes(*split)).ok()?;
        let (bytes, companion) = rest.split_at_checked(split)?;
        let fits = bytes.len() <= MAX_ENTRY_BYTES
            && !companion.is_empty()
            && companion.len() <= MAX_COMPANION_BYTES;
        fits.then_some(Entry { bytes, companion })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(index: u64, entry: Entry<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_record(&mut bytes, index, entry);
        assert_eq!(
            bytes.len(),
            framed_bytes(entry.bytes.len(), entry.companion.len())
        );
        bytes
    }

    #[test]
    fn a_record_is_read_back_and_no_flipped_bit_passes() {
        for companion in [&b""[..], b"c", b"companion"] {
            let entry = Entry {
                bytes: b"payload",
                companion,
            };
            let bytes = framed(42, entry);
            let head = Head::parse(&bytes).unwrap();
            assert_eq!((head.index, head.is_mark()), (42, false));
            assert_eq!(head.entry(&bytes), Some(entry));
            assert_eq!(head.checked_entry(&bytes), Some(entry));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let read = Head::parse(&flipped).and_then(|head| head.entry(&flipped));
                assert_eq!(read, None, "bit {bit}");
            }
        }
    }

    #[test]
    fn an_entry_without_a_companion_has_the_bytes_of_the_first_format() {
        let bytes = framed(42, Entry::new(b"payload"));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let sum = crc32c::crc32c(&[&bytes[..4], &bytes[8..]].concat());
        assert_eq!(
            hex,
            format!(
                "07000000{:08x}2a000000000000007061796c6f6164",
                sum.swap_bytes()
            )
        );
    }

    #[test]
    fn an_entry_with_a_companion_has_these_bytes() {
        // From an implementation in Python.
        let wanted = "120000403679376e2a0000000000000005000000656e747279636f6d70616e696f6e";
        let entry = Entry {
            bytes: b"entry",
            companion: b"companion",
        };
        let bytes = framed(42, entry);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, wanted);
    }

    #[test]
    fn the_longest_entry_and_companion_fit_and_longer_ones_are_not_read() {
        let (entry, companion) = (vec![1; MAX_ENTRY_BYTES], vec![2; MAX_COMPANION_BYTES]);
        let longest = Entry {
            bytes: &entry,
            companion: &companion,
        };
        let bytes = framed(1, longest);
        assert_eq!(bytes.len(), MAX_FRAMED_BYTES);
        let head = Head::parse(&bytes).unwrap();
        assert_eq!(head.entry(&bytes), Some(longest));
        let read = |entry: Entry<'_>| {
            let bytes = framed(1, entry);
            let head = Head::parse(&bytes)?;
            head.entry(&bytes).map(|entry| entry.bytes.len())
        };
        let (entry, companion) = (
            vec![1; MAX_ENTRY_BYTES + 1],
            vec![2; MAX_COMPANION_BYTES + 1],
        );
        let none = Entry::new(&entry);
        assert_eq!(read(none), None);
        let one = Entry {
            bytes: &entry,
            companion: b"c",
        };
        assert_eq!(
            read(one),
            None,
            "the whole is short enough, the entry is not"
        );
        let one = Entry {
            bytes: b"e",
            companion: &companion,
        };
        assert_eq!(read(one), None);
    }

    #[test]
    fn a_joined_payload_has_both_an_entry_and_a_companion() {
        // The checksums are correct, but the lengths are not.
        let joined = |payload: &[u8]| {
            let mut bytes = Vec::new();
            let length = JOINED | u32::try_from(payload.len()).unwrap();
            push(&mut bytes, length, 0, payload);
            Head::parse(&bytes).and_then(|head| {
                let entry = head.entry(&bytes)?;
                Some((entry.bytes.len(), entry.companion.len()))
            })
        };
        assert_eq!(joined(b""), None);
        assert_eq!(joined(&[0; 4]), None, "no companion");
        assert_eq!(joined(&[0, 0, 0, 0, 9]), Some((0, 1)));
        assert_eq!(joined(&[1, 0, 0, 0, 9]), None, "no companion");
        assert_eq!(joined(&[2, 0, 0, 0, 9]), None, "the entry is incomplete");
        assert_eq!(joined(&[1, 0, 0, 0, 9, 8]), Some((1, 1)));
    }

    #[test]
    fn zeros_are_neither_record_nor_mark() {
        let zeros = [0; 64];
        assert_eq!(
            Head::parse(&zeros).and_then(|head| head.entry(&zeros)),
            None
        );
    }

    #[test]
    fn an_empty_entry_is_a_record() {
        for companion in [&b""[..], b"c"] {
            let entry = Entry {
                bytes: b"",
                companion,
            };
            let bytes = framed(0, entry);
            let head = Head::parse(&bytes).unwrap();
            assert_eq!(head.entry(&bytes), Some(entry));
        }
    }
}
