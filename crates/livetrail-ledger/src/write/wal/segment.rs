//! A segment's header.
//!
//! ```text
//!     0  magic "livetrWL"
//!     8  version u32 LE: 1, or 2 if entries may have companions
//!    12  zeros
//!    16  log id, 16 bytes
//!    32  first index u64 LE
//!    40  length of the frontier u32 LE
//!    44  frontier of the tree that was published when the segment was begun, then zeros
//! 4,092  crc32c u32 LE of all before
//! ```
//!
//! The frontier binds the segment to the history that it continues. If the checkpoint is older than
//! the one in the segment, somebody has put back an old checkpoint.
//!
//! A program that knows no companions would cut an entry with one as a torn tail. So it must refuse
//! the segment, and the version makes it do so. Entries without companions have the same bytes in
//! both versions.

use livetrail_tlog::Frontier;

/// Length of a header. Records begin after it, on a new page.
pub(crate) const HEADER_BYTES: usize = 4096;

const MAGIC: &[u8; 8] = b"livetrWL";
const VERSION: u32 = 1;
const VERSION_WITH_COMPANIONS: u32 = 2;
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// Distinguishes logs of the same origin: random, created with the log.
pub(crate) type LogId = [u8; 16];

/// A segment's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) log_id: LogId,
    pub(crate) first_index: u64,
    /// The frontier of the tree that was published when the segment was begun.
    pub(crate) published: Frontier,
    /// Entries of the segment may have companions.
    pub(crate) companions: bool,
}

impl Header {
    /// Its bytes, [`HEADER_BYTES`] of them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let frontier = self.published.encode();
        let length = u32::try_from(frontier.len()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        let version = if self.companions {
            VERSION_WITH_COMPANIONS
        } else {
            VERSION
        };
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.log_id);
        bytes.extend_from_slice(&self.first_index.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&frontier);
        bytes.resize(CHECKED_BYTES, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a header; `Err` is the violation.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "its header is incomplete";
        let (checked, rest) = bytes.split_at_checked(CHECKED_BYTES).ok_or(SHORT)?;
        let sum = rest.first_chunk().ok_or(SHORT)?;
        let (magic, fields) = checked.split_at_checked(8).ok_or(SHORT)?;
        if magic != MAGIC {
            return Err("it does not begin like a segment of a write-ahead log");
        }
        if crc32c::crc32c(checked) != u32::from_le_bytes(*sum) {
            return Err("the checksum of its header is wrong");
        }
        let (version, fields) = fields.split_first_chunk().ok_or(SHORT)?;
        let companions = match u32::from_le_bytes(*version) {
            VERSION => false,
            VERSION_WITH_COMPANIONS => true,
            _ => return Err("its format has another version than this program's"),
        };
        let (_, fields) = fields.split_at_checked(4).ok_or(SHORT)?;
        let (log_id, fields) = fields.split_first_chunk().ok_or(SHORT)?;
        let (first_index, fields) = fields.split_first_chunk().ok_or(SHORT)?;
        let (length, fields) = fields.split_first_chunk().ok_or(SHORT)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let frontier = fields.get(..length).ok_or(SHORT)?;
        Ok(Self {
            log_id: *log_id,
            first_index: u64::from_le_bytes(*first_index),
            published: Frontier::parse(frontier).map_err(|_| "its frontier is invalid")?,
            companions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livetrail_tlog::leaf_hash;

    fn header(companions: bool) -> Header {
        let mut published = Frontier::new();
        for i in 0..7_u8 {
            published.append(leaf_hash(&[i])).unwrap();
        }
        Header {
            log_id: *b"0123456789abcdef",
            first_index: 9,
            published,
            companions,
        }
    }

    #[test]
    fn a_header_is_read_back_and_no_flipped_bit_passes() {
        for (companions, version) in [(false, 1), (true, 2)] {
            let bytes = header(companions).encode();
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(bytes[8], version);
            assert_eq!(Header::parse(&bytes), Ok(header(companions)));
            for at in (0..bytes.len()).step_by(3) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                assert!(Header::parse(&flipped).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_later_version_is_refused_in_words() {
        let mut bytes = header(true).encode();
        bytes[8] = 3;
        let sum = crc32c::crc32c(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&sum.to_le_bytes());
        let violation = Header::parse(&bytes).unwrap_err();
        assert!(violation.contains("another version"), "{violation}");
    }

    #[test]
    fn a_short_header_is_refused() {
        let bytes = header(false).encode();
        for length in [0, 7, 8, 100, HEADER_BYTES - 1] {
            assert!(Header::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(Header::parse(&[0; HEADER_BYTES]).is_err());
    }
}
