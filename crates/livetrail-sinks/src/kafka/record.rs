//! The format of a record in the partition.

use livetrail_replica::HandOver;
use livetrail_tlog::{Hash, leaf_hash};
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};

pub(super) const INDEX: &str = "index";
const LEAF: &str = "leaf";
const CHECKPOINT: &str = "checkpoint";
const HAND_OVER: &str = "hand_over";
const GAP: &str = "gap";

/// A record of the trail, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: i64,
    pub(super) what: What,
    /// The signed checkpoint in the record's headers. It is not verified here.
    pub(super) checkpoint: Option<Vec<u8>>,
    /// The hand-overs from key to key in the headers, each with the id of the replaced key. They
    /// are not verified here.
    pub(super) hand_overs: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An entry. Its bytes have this leaf hash.
    Entry {
        index: u64,
        leaf: Hash,
        bytes: Vec<u8>,
    },
    /// A gap: entries that were pruned before the sink received them.
    Gap { first: u64, next: u64 },
}

/// Why a message is not a valid record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The record belongs to another log.
    Origin(String),
    /// The message belongs to no log.
    Foreign(i64),
    /// The record belongs to this log, but is not as it was written.
    Damaged(String),
}

/// All checkpoints in a message's headers: the batch's own and those of hand-overs. The rest of the
/// message may be anything.
pub(super) fn checkpoints_in(message: &impl Message) -> Vec<Vec<u8>> {
    let own = header(message, CHECKPOINT).map(<[u8]>::to_vec);
    let handed_over = hand_overs_in(message).into_iter().map(|(_, note)| note);
    own.into_iter().chain(handed_over).collect()
}

impl Record {
    /// The first index that the record covers.
    pub(super) const fn first(&self) -> u64 {
        match self.what {
            What::Entry { index, .. } => index,
            What::Gap { first, .. } => first,
        }
    }

    /// The index after the last one that the record covers.
    pub(super) const fn next(&self) -> u64 {
        match self.what {
            What::Entry { index, .. } => index.saturating_add(1),
            What::Gap { next, .. } => next,
        }
    }

    pub(super) fn parse(message: &impl Message, origin: &str) -> Result<Self, Wrong> {
        let offset = message.offset();
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let header = |name| header(message, name);
        let (index, gap) = (header(INDEX), header(GAP));
        let Some(key) = key.filter(|_| index.is_some() || gap.is_some()) else {
            return Err(Wrong::Foreign(offset));
        };
        if key != origin {
            return Err(Wrong::Origin(key.chars().take(256).collect()));
        }
        let damaged = |what: &str| Wrong::Damaged(format!("the record at offset {offset} {what}"));
        let what = match gap {
            Some(gap) => {
                let (first, next) =
                    indexes(gap).ok_or_else(|| damaged("is a gap without indexes"))?;
                What::Gap { first, next }
            }
            None => {
                let index = index
                    .and_then(decimal)
                    .ok_or_else(|| damaged("has no index"))?;
                let leaf = header(LEAF).and_then(|leaf| std::str::from_utf8(leaf).ok());
                let leaf = leaf.and_then(|leaf| Hash::parse(leaf).ok());
                let leaf = leaf.ok_or_else(|| damaged("has no leaf hash"))?;
                let bytes = message.payload().unwrap_or_default().to_vec();
                if leaf_hash(&bytes) != leaf {
                    return Err(damaged("has other bytes than its leaf hash says"));
                }
                What::Entry { index, leaf, bytes }
            }
        };
        Ok(Self {
            offset,
            what,
            checkpoint: header(CHECKPOINT).map(<[u8]>::to_vec),
            hand_overs: hand_overs_in(message),
        })
    }
}

/// The headers of an entry. Only the last entry of a batch gets the checkpoint.
pub(super) fn entry_headers(index: u64, leaf: &Hash, checkpoint: Option<&[u8]>) -> OwnedHeaders {
    let index = index.to_string();
    let leaf = leaf.to_string();
    let headers = OwnedHeaders::new_with_capacity(3);
    let headers = with(headers, INDEX, index.as_bytes());
    let headers = with(headers, LEAF, leaf.as_bytes());
    match checkpoint {
        Some(note) => with(headers, CHECKPOINT, note),
        None => headers,
    }
}

/// Adds a header `ID LF NOTE` for each hand-over. The id is that of the replaced key.
pub(super) fn with_hand_overs(headers: OwnedHeaders, hand_overs: &[HandOver]) -> OwnedHeaders {
    let each = hand_overs
        .iter()
        .flat_map(|one| one.keys.iter().map(move |key| (key, &one.note)));
    each.fold(headers, |headers, (key, note)| {
        let mut value = format!("{key}\n").into_bytes();
        value.extend_from_slice(note);
        with(headers, HAND_OVER, &value)
    })
}

fn hand_overs_in(message: &impl Message) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().into_iter().flat_map(|all| all.iter());
    let values = headers.filter(|one| one.key == HAND_OVER);
    let parsed = values.filter_map(|one| {
        let value = one.value?;
        let end = value.iter().position(|byte| *byte == b'\n')?;
        let (id, note) = value.split_at_checked(end)?;
        let id = std::str::from_utf8(id).ok()?;
        let is_id = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| (id.to_owned(), note.get(1..).unwrap_or_default().to_vec()))
    });
    parsed.collect()
}

/// The headers of a gap.
pub(super) fn gap_headers(first: u64, next: u64) -> OwnedHeaders {
    with(
        OwnedHeaders::new(),
        GAP,
        format!("{first} {next}").as_bytes(),
    )
}

pub(super) fn with(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header {
        key,
        value: Some(value),
    })
}

fn header<'m>(message: &'m impl Message, name: &str) -> Option<&'m [u8]> {
    let headers = message.headers()?;
    headers.iter().find(|header| header.key == name)?.value
}

/// Parses a canonical decimal number: only digits, and no leading zero.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn indexes(bytes: &[u8]) -> Option<(u64, u64)> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let (first, next) = (bytes.get(..space)?, bytes.get(space.checked_add(1)?..)?);
    let (first, next) = (decimal(first)?, decimal(next)?);
    (first < next).then_some((first, next))
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn message(key: &str, value: &[u8], headers: OwnedHeaders) -> OwnedMessage {
        OwnedMessage::new(
            Some(value.to_vec()),
            Some(key.as_bytes().to_vec()),
            "audit".to_owned(),
            Timestamp::NotAvailable,
            0,
            42,
            Some(headers),
        )
    }

    #[test]
    fn what_is_written_is_read() {
        let leaf = leaf_hash(b"entry");
        let headers = entry_headers(7, &leaf, Some(b"a note"));
        let record = Record::parse(&message("o", b"entry", headers), "o").unwrap();
        assert_eq!((record.first(), record.next(), record.offset), (7, 8, 42));
        assert_eq!(record.checkpoint.as_deref(), Some(&b"a note"[..]));
        let headers = entry_headers(7, &leaf, None);
        let record = Record::parse(&message("o", b"entry", headers), "o").unwrap();
        assert_eq!(record.checkpoint, None);
        let record = Record::parse(&message("o", b"why", gap_headers(7, 300)), "o").unwrap();
        assert_eq!((record.first(), record.next()), (7, 300));
    }

    #[test]
    fn hand_overs_come_with_the_ids_of_their_keys_and_invalid_ones_are_dropped() {
        let hand_over = HandOver {
            size: 7,
            keys: vec![livetrail_tlog::KeyId([1, 2, 3, 4])],
            note: b"a note\n".to_vec(),
        };
        let leaf = leaf_hash(b"entry");
        let headers = with_hand_overs(entry_headers(7, &leaf, None), &[hand_over]);
        let headers = with(headers, HAND_OVER, b"../../x\nnote");
        let headers = with(headers, HAND_OVER, b"01020304");
        let record = Record::parse(&message("o", b"entry", headers), "o").unwrap();
        let wanted = ("01020304".to_owned(), b"a note\n".to_vec());
        assert_eq!(record.hand_overs, [wanted]);
    }

    #[test]
    fn foreign_lines_are_distinguished_from_changed_ones() {
        let leaf = leaf_hash(b"entry");
        let of = |key, value: &[u8], headers| {
            Record::parse(&message(key, value, headers), "o").unwrap_err()
        };
        let whole = || entry_headers(7, &leaf, None);
        assert_eq!(of("p", b"entry", whole()), Wrong::Origin("p".to_owned()));
        assert_eq!(of("o", b"entry", OwnedHeaders::new()), Wrong::Foreign(42));
        let cases = [
            (b"other".to_vec(), whole()),
            (b"entry".to_vec(), with(OwnedHeaders::new(), INDEX, b"7")),
            (b"entry".to_vec(), with(OwnedHeaders::new(), INDEX, b"+7")),
            (b"entry".to_vec(), with(OwnedHeaders::new(), INDEX, b"07")),
            (b"".to_vec(), gap_headers(7, 7)),
            (b"".to_vec(), with(OwnedHeaders::new(), GAP, b"7")),
        ];
        for (value, headers) in cases {
            let wrong = of("o", &value, headers);
            assert!(matches!(wrong, Wrong::Damaged(_)), "{wrong:?}");
        }
    }
}
