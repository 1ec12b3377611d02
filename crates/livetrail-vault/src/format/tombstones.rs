//! A run of erased sessions: sorted identifiers.
//!
//! ```text
//! header   "LTVGONE1" │ sessions u32 │ crc32c u32     16 bytes
//! body     16 bytes each, sorted, without duplicates
//! end      crc32c u32 of the body
//! ```

use super::{Read, count, wide};

pub(crate) const HEADER_BYTES: usize = 16;
const FILE: [u8; 8] = *b"LTVGONE1";

/// The header of a run with this many sessions.
pub(crate) fn header(sessions: u32) -> Vec<u8> {
    let mut bytes = FILE.to_vec();
    bytes.extend_from_slice(&sessions.to_be_bytes());
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// The number of sessions in a run whose header and length are valid.
pub(crate) fn parse_header(bytes: &[u8], file_bytes: u64) -> Option<u32> {
    let mut read = Read(bytes.get(..HEADER_BYTES)?);
    if read.array()? != FILE {
        return None;
    }
    let sessions = read.u32()?;
    let body = u64::from(sessions).checked_mul(16)?;
    let length = body.checked_add(wide(HEADER_BYTES).saturating_add(4))?;
    (bytes.get(..HEADER_BYTES)? == header(sessions) && length == file_bytes).then_some(sessions)
}

/// A whole run.
pub(crate) fn file(sessions: &[[u8; 16]]) -> Vec<u8> {
    let mut bytes = header(count(sessions.len()));
    for session in sessions {
        bytes.extend_from_slice(session);
    }
    let sum = crc32c::crc32c(bytes.get(HEADER_BYTES..).unwrap_or_default());
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// Parses a whole run and checks all of it.
pub(crate) fn parse(file: &[u8]) -> Option<&[[u8; 16]]> {
    parse_header(file, wide(file.len()))?;
    let (body, sum) = file.get(HEADER_BYTES..)?.split_last_chunk::<4>()?;
    let (sessions, _) = body.as_chunks::<16>();
    let sorted = sessions.windows(2).all(|pair| match pair {
        [one, two] => one < two,
        _ => true,
    });
    (u32::from_be_bytes(*sum) == crc32c::crc32c(body) && sorted).then_some(sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_reads_as_what_was_written_and_any_flipped_bit_is_found() {
        let sessions = [[1; 16], [2; 16], [9; 16]];
        let whole = file(&sessions);
        assert_eq!(parse(&whole).unwrap(), sessions);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            assert_eq!(parse(&flipped), None, "{at}");
            assert_eq!(parse(&whole[..at]), None);
        }
        assert_eq!(parse(&file(&[[2; 16], [1; 16]])), None);
        assert_eq!(parse(&file(&[])).unwrap().len(), 0);
    }
}
