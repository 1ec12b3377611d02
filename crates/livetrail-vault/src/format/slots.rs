//! A keys file: one slot of 32 bytes for each row of a segment.
//!
//! ```text
//! file   "LTVKEYS1" │ segment u64 │ slots u32 │ zeros(8) │ crc32c u32    32 bytes
//! slot   32 random bytes; zeros: no row, or an erased one
//! ```
//!
//! A slot is within one sector, so overwriting it is atomic.

/// Bytes of a slot and of the header.
pub(crate) const SLOT_BYTES: u64 = 32;

const FILE: [u8; 8] = *b"LTVKEYS1";

/// The header.
pub(crate) fn file_header(segment: u64, slots: u32) -> Vec<u8> {
    let mut bytes = FILE.to_vec();
    bytes.extend_from_slice(&segment.to_be_bytes());
    bytes.extend_from_slice(&slots.to_be_bytes());
    bytes.resize(28, 0);
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// The offset of a row's slot.
pub(crate) fn offset(row: u32) -> u64 {
    u64::from(row).saturating_add(1).saturating_mul(SLOT_BYTES)
}

/// The length of a file with this many slots.
pub(crate) fn file_bytes(slots: u32) -> u64 {
    offset(slots)
}

/// The slots of a file, or `None` when its header is invalid.
pub(crate) fn parse(file: &[u8], segment: u64) -> Option<&[[u8; 32]]> {
    let (chunks, rest) = file.as_chunks::<32>();
    let (head, slots) = chunks.split_first()?;
    let count = u32::try_from(slots.len()).ok()?;
    (rest.is_empty() && head.as_slice() == file_header(segment, count)).then_some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_where_their_rows_say() {
        let mut file = file_header(3, 4);
        file.resize(usize::try_from(file_bytes(4)).unwrap(), 0);
        let at = usize::try_from(offset(2)).unwrap();
        file[at..at + 32].fill(9);
        let slots = parse(&file, 3).unwrap();
        assert_eq!((slots.len(), slots[2], slots[3]), (4, [9; 32], [0; 32]));
        assert_eq!(parse(&file, 4), None);
        assert_eq!(parse(&file[..file.len() - 1], 3), None);
        assert_eq!(parse(&[], 3), None);
    }
}
