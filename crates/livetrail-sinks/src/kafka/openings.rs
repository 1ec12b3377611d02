//! Openings in a compacted topic of their own, and their erasure.
//!
//! ```text
//!  key                value                               headers
//!  ORIGIN SESSION     an opening, as canonical JSON       index   the entry that commits to it
//!  ORIGIN SESSION     none (a tombstone): it is erased
//!  ORIGIN erasures    the erasure cursor, in decimal
//! ```
//!
//! SESSION is a UUID. The openings of a log are in the partition that has the number of the log's
//! own one.
//!
//! - **One transaction.** The openings of a batch, the cursor and the entries are one transaction
//!   of the log's only writer. So are the tombstones of an erasure and the cursor. Openings are
//!   delivered before the first entry is sent. So also a broker that shows readers the records of
//!   aborted transactions has no entry without its opening.
//! - **The cursor is never beyond the entries.** If the entries' topic went back, the cursor goes
//!   back with it, and the later erasures come again.
//! - **The cursor is the last record** of each transaction, so it is found at the partition's end,
//!   and compaction keeps it.
//! - **A tombstone hides an opening at once; compaction removes it.** No segment is compacted
//!   before it is complete, and only a later record completes it. So the sink writes the cursor
//!   again whenever it is asked for it: otherwise an erased opening would stay in a partition to
//!   which nothing is written any more.

use livetrail_record::Uuid;
use livetrail_replica::{EntryOpening, ReplicaError};
use rdkafka::message::{Message, OwnedHeaders};

use super::client::Isolation;
use super::record::{INDEX, decimal, with};
use super::tail::{BEFORE_END, Reading};

/// What the cursor's key has in place of a session.
const CURSOR: &str = "erasures";

/// The erasure cursor in the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Erased {
    /// The erasures that entries below this index name are applied.
    pub(super) next: u64,
    /// The offset of its record.
    pub(super) offset: i64,
}

/// Reads the erasure cursor. `None` if the partition has never had an opening of the log.
pub(super) fn cursor(reading: &Reading) -> Result<Option<Erased>, ReplicaError> {
    let is_undecided = reading.end(Isolation::Committed)? < reading.end(Isolation::Everything)?;
    let found = last_cursor(reading)?;
    if found.is_some() || !is_undecided {
        return Ok(found);
    }
    // The first cursor of the log may be behind an open transaction. Without it the sink would
    // claim to have nothing to erase.
    reading.wait_until_decided()?;
    last_cursor(reading)
}

fn last_cursor(reading: &Reading) -> Result<Option<Erased>, ReplicaError> {
    let key = cursor_key(&reading.partition().origin);
    for from in BEFORE_END {
        let mut found = None;
        reading.messages(from, |message| {
            found = cursor_in(message, &key).or(found);
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The cursor in a message. A message that has its key but not its form is skipped: an older cursor
/// only repeats erasures.
fn cursor_in(message: &impl Message, key: &str) -> Option<Erased> {
    let of_it = message.key() == Some(key.as_bytes());
    let next = message.payload().filter(|_| of_it).and_then(decimal)?;
    let offset = message.offset();
    Some(Erased { next, offset })
}

/// The key of an opening.
pub(super) fn key(origin: &str, session: [u8; 16]) -> String {
    format!("{origin} {}", Uuid::from_bytes(session))
}

/// The key of the erasure cursor.
pub(super) fn cursor_key(origin: &str) -> String {
    format!("{origin} {CURSOR}")
}

/// The headers of an opening.
pub(super) fn headers(one: &EntryOpening) -> OwnedHeaders {
    with(OwnedHeaders::new(), INDEX, one.index.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    #[test]
    fn only_a_number_under_the_key_of_the_log_is_its_cursor() {
        let found = |key: &str, value: Option<&[u8]>| {
            let message = OwnedMessage::new(
                value.map(<[u8]>::to_vec),
                Some(key.as_bytes().to_vec()),
                "audit-openings".to_owned(),
                Timestamp::NotAvailable,
                0,
                42,
                None,
            );
            cursor_in(&message, &cursor_key("example.com/a"))
        };
        let wanted = Erased {
            next: 61,
            offset: 42,
        };
        assert_eq!(found("example.com/a erasures", Some(b"61")), Some(wanted));
        assert_eq!(found("example.com/aa erasures", Some(b"61")), None);
        assert_eq!(found("example.com/a erasures", Some(b"061")), None);
        assert_eq!(found("example.com/a erasures", None), None);
        let session = key("example.com/a", [0x11; 16]);
        assert_eq!(
            session,
            "example.com/a 11111111-1111-1111-1111-111111111111"
        );
        assert_eq!(found(&session, Some(b"61")), None);
    }
}
