//! A record's frame.
//!
//! ```text
//! │ length u32 LE │ crc32c u32 LE │ index u64 LE │ payload, length bytes │
//! ```
//!
//! The checksum covers length, index and payload. A mark, which opens a batch, has [`MARK`] instead
//! of a length, the index of the batch's first record, and no payload.

/// Length of the head before a payload.
pub(crate) const HEAD_BYTES: usize = 16;

/// Instead of a length: this is a mark. No record is that long.
const MARK: u32 = 0x8000_0000;

/// The longest payload: a bundle has 16 bits for its length.
const MAX_PAYLOAD_BYTES: u32 = 65_535;

/// The number of bytes that a record occupies.
pub(crate) const fn framed_bytes(payload: usize) -> usize {
    HEAD_BYTES.saturating_add(payload)
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

/// Appends a record. The caller has checked the payload's length; the scan would reject a longer
/// one.
pub(super) fn push_record(into: &mut Vec<u8>, index: u64, payload: &[u8]) {
    push(
        into,
        u32::try_from(payload.len()).unwrap_or(MARK - 1),
        index,
        payload,
    );
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
        (head.is_mark() || head.length <= MAX_PAYLOAD_BYTES).then_some(head)
    }

    pub(super) const fn is_mark(self) -> bool {
        self.length == MARK
    }

    pub(super) fn payload_bytes(self) -> usize {
        if self.is_mark() {
            return 0;
        }
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    pub(super) fn framed_bytes(self) -> usize {
        framed_bytes(self.payload_bytes())
    }

    /// The payload from the bytes that begin with this head, if the checksum is correct.
    pub(super) fn payload(self, framed: &[u8]) -> Option<&[u8]> {
        let payload = framed.get(HEAD_BYTES..self.framed_bytes())?;
        (checksum(self.length, self.index, payload) == self.checksum).then_some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_no_flipped_bit_passes() {
        let mut bytes = Vec::new();
        push_record(&mut bytes, 42, b"payload");
        let head = Head::parse(&bytes).unwrap();
        assert_eq!((head.index, head.is_mark()), (42, false));
        assert_eq!(head.payload(&bytes), Some(&b"payload"[..]));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Head::parse(&flipped).and_then(|head| head.payload(&flipped));
            assert_eq!(read, None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_neither_record_nor_mark() {
        let zeros = [0; 64];
        assert_eq!(
            Head::parse(&zeros).and_then(|head| head.payload(&zeros)),
            None
        );
    }

    #[test]
    fn an_empty_payload_is_a_record() {
        let mut bytes = Vec::new();
        push_record(&mut bytes, 0, b"");
        let head = Head::parse(&bytes).unwrap();
        assert_eq!(head.payload(&bytes), Some(&b""[..]));
    }
}
