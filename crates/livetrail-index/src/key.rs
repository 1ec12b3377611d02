//! The searchable values of records, as numbers.

use livetrail_record::Uuid;

/// The rows into which the postings of one segment are divided, by the first byte of the key's
/// hash. A query reads one row per key and segment.
pub(crate) const PARTS: u64 = 256;

/// The hash of a searchable value: `part u8 │ mark u24`, in the low 32 bits.
///
/// Two keys with the same hash cause one unnecessary read of a bundle, in about one of ten thousand
/// queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// The kind of a key's value. Never change a number: files contain them.
#[derive(Clone, Copy)]
enum Kind {
    App = 1,
    Stream = 2,
    Action = 3,
    Principal = 4,
    SessionHead = 5,
    SessionTail = 6,
}

/// The number of characters of a session's id that a search by its beginning or end needs.
pub(crate) const SESSION_CHARS: usize = 8;

impl Key {
    pub(crate) fn app(app: &str) -> Self {
        Self::new(Kind::App, app.as_bytes())
    }

    pub(crate) fn stream(stream: &str) -> Self {
        Self::new(Kind::Stream, stream.as_bytes())
    }

    pub(crate) fn action(label: &str) -> Self {
        Self::new(Kind::Action, label.as_bytes())
    }

    pub(crate) fn principal(principal: &str) -> Self {
        Self::new(Kind::Principal, principal.as_bytes())
    }

    /// The key of the first 8 hexadecimal digits of a session's id.
    pub(crate) fn session_head(digits: u32) -> Self {
        Self::new(Kind::SessionHead, &digits.to_be_bytes())
    }

    /// The key of the last 8.
    pub(crate) fn session_tail(digits: u32) -> Self {
        Self::new(Kind::SessionTail, &digits.to_be_bytes())
    }

    /// Both keys of a session.
    pub(crate) fn session(id: Uuid) -> [Self; 2] {
        let id = id.as_u128();
        let head = u32::try_from(id >> 96).unwrap_or_default();
        let tail = u32::try_from(id & u128::from(u32::MAX)).unwrap_or_default();
        [Self::session_head(head), Self::session_tail(tail)]
    }

    /// FNV-1a with a final mix. Nobody gains from a collision, so the hash need not be
    /// cryptographic.
    fn new(kind: Kind, bytes: &[u8]) -> Self {
        const PRIME: u64 = 0x0100_0000_01b3;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ kind as u64;
        hash = hash.wrapping_mul(PRIME);
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        Self(u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default())
    }

    /// The row of a segment that has it: below [`PARTS`].
    pub(crate) const fn part(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Its mark in that row: 24 bits, above the 8 bits of the bundle's number in the segment.
    pub(crate) const fn mark(self) -> u32 {
        self.0 << 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_are_in_the_files() {
        assert_eq!(Key::stream("cam"), Key(0x17c8_ece0));
        assert_ne!(Key::stream("cam"), Key::app("cam"));
        let [head, tail] = Key::session(Uuid::from_u128(0x0199_a1b2_c3d4_7000_8000_0000_1234_5678));
        assert_eq!(head, Key::session_head(0x0199_a1b2));
        assert_eq!(tail, Key::session_tail(0x1234_5678));
    }
}
