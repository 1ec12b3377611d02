//! The searchable values of records, as numbers.

use livetrail_record::Uuid;

/// The rows into which the postings of one segment are divided, by the first byte of the key's
/// hash. A query reads one row per key and segment.
pub(crate) const PARTS: u64 = 256;

/// The hash of a searchable value: `part u8 │ mark u24`, in the low 32 bits.
///
/// Anyone who reads the file can confirm a guess of a value. So no value is the name of a person:
/// neither a principal, nor a peer, nor a user agent, nor a stream's name that is personal. (An
/// entry has a keyed token in place of the latter.)
///
/// Two keys with the same hash cause one unnecessary read of a bundle, in about one of ten thousand
/// queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u32);

/// The kind of a key's value. Never change a number: files contain them. 4 was that of principals.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    App = 1,
    Stream = 2,
    Action = 3,
    SessionHead = 5,
    SessionTail = 6,
    DetailTail = 7,
    NameInClear = 8,
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

    /// The key of every record that has a principal in clear. It does not depend on the name.
    pub(crate) fn name_in_clear() -> Self {
        Self::new(Kind::NameInClear, b"principal")
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
        let head = u32::try_from(id.as_u128() >> 96).unwrap_or_default();
        [Self::session_head(head), Self::session_end(id)]
    }

    /// That of its last 8 digits alone. The id under which the vault has the opening of a later
    /// record, or of one without a session, has it too.
    pub(crate) fn session_end(id: Uuid) -> Self {
        Self::session_tail(tail(id))
    }

    /// The key of a session's records that commit to an opening of their own.
    pub(crate) fn detail(session: Uuid) -> Self {
        Self::new(Kind::DetailTail, &tail(session).to_be_bytes())
    }

    /// FNV-1a with a final mix. Nobody gains from a collision, so the hash need not be
    /// cryptographic.
    fn new(kind: Kind, bytes: &[u8]) -> Self {
        Self::hash(kind as u8, bytes)
    }

    /// The key that a text would have as a value of this kind.
    #[cfg(test)]
    pub(crate) fn of_kind(kind: u8, text: &str) -> Self {
        Self::hash(kind, text.as_bytes())
    }

    fn hash(kind: u8, bytes: &[u8]) -> Self {
        const PRIME: u64 = 0x0100_0000_01b3;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(kind);
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

/// The last 8 hexadecimal digits of an id.
fn tail(id: Uuid) -> u32 {
    u32::try_from(id.as_u128() & u128::from(u32::MAX)).unwrap_or_default()
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
