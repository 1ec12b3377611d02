//! The cursor next to the file, and its encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livetrail_replica::SinkCursor;
use livetrail_tlog::{Frontier, Hash};

use super::Format;
use crate::hand_overs::KeptHandOvers;

const FIRST_LINE: &[u8] = b"livetrail-file-cursor 2";

/// The first line of a cursor without the tree.
const FIRST_LINE_BEFORE: &[u8] = b"livetrail-file-cursor 1";

/// The maximum number of bytes that are read from a cursor. A checkpoint with many cosignatures has
/// some thousands.
pub(super) const MAX_CURSOR_BYTES: u64 = 1 << 20;

/// How far the lines are committed, the log that they belong to, and the file that gets the next
/// ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) origin: String,
    pub(super) format: Format,
    /// The first index that is not in any file.
    pub(super) next: u64,
    /// The file's length up to `next`.
    pub(super) bytes: u64,
    /// The first index in the file, which may still be empty.
    pub(super) first: u64,
    /// The time of the file's first record that has one, in milliseconds since 1970.
    pub(super) since_ms: Option<u64>,
    /// The file's inode. By it the sink finds the file under another name.
    pub(super) inode: Option<u64>,
    /// The leaf hash of the entry before `next`.
    pub(super) last_leaf: Option<Hash>,
    /// The tree of all entries below `next`. Only JSON has it, and only while no entry is missing.
    /// The next file begins with it.
    pub(super) tree: Option<Frontier>,
    /// Hand-overs from key to key.
    pub(super) hand_overs: KeptHandOvers,
    /// The newest signed checkpoint that covers nothing beyond `next`. The files' lines prove it.
    pub(super) checkpoint: Option<Bytes>,
    /// A newer checkpoint that also covers entries that have not come yet.
    pub(super) ahead: Option<Bytes>,
}

impl Cursor {
    /// The cursor of an empty file.
    pub(super) fn at_the_beginning(origin: &str, format: Format) -> Self {
        Self {
            origin: origin.to_owned(),
            format,
            next: 0,
            bytes: 0,
            first: 0,
            since_ms: None,
            inode: None,
            last_leaf: None,
            tree: (format == Format::Json).then(Frontier::new),
            hand_overs: KeptHandOvers::default(),
            checkpoint: None,
            ahead: None,
        }
    }

    /// The cursor of the next file, which begins where this one ends.
    pub(super) fn of_the_next_file(self, inode: Option<u64>) -> Self {
        Self {
            bytes: 0,
            first: self.next,
            since_ms: None,
            inode,
            ..self
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = FIRST_LINE.to_vec();
        let lines = format!(
            "\norigin {}\nformat {}\nnext {}\nbytes {}\nfirst {}\nsince {}\ninode {}\nleaf {}\ntree {}\n",
            self.origin,
            self.format.label(),
            self.next,
            self.bytes,
            self.first,
            or_dash(self.since_ms),
            or_dash(self.inode),
            or_dash(self.last_leaf),
            or_dash(
                self.tree
                    .as_ref()
                    .map(|tree| STANDARD.encode(tree.encode()))
            ),
        );
        out.extend_from_slice(lines.as_bytes());
        out.extend_from_slice(self.hand_overs.lines().as_bytes());
        for (name, note) in [("checkpoint", &self.checkpoint), ("ahead", &self.ahead)] {
            let note = note.as_deref().unwrap_or_default();
            out.extend_from_slice(format!("{name} {}\n", note.len()).as_bytes());
            out.extend_from_slice(note);
        }
        out
    }

    /// Parses a cursor. An error says which line is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut rest = Rest(bytes);
        let has_tree = match rest.line() {
            Some(FIRST_LINE) => true,
            Some(FIRST_LINE_BEFORE) => false,
            _ => return Err("does not begin with \"livetrail-file-cursor 2\""),
        };
        let origin = rest.value("origin").ok_or("has no origin in line 2")?;
        let origin = std::str::from_utf8(origin).map_err(|_| "has no origin in line 2")?;
        let format = rest.value("format").and_then(Format::from_label);
        let format = format.ok_or("has no format in line 3")?;
        let next = rest.value("next").and_then(number);
        let next = next.ok_or("has no index in line 4")?;
        let length = rest.value("bytes").and_then(number);
        let length = length.ok_or("has no length in line 5")?;
        let first = rest.value("first").and_then(number);
        let first = first.filter(|first| *first <= next);
        let first = first.ok_or("has no first index in line 6")?;
        let since_ms = rest
            .value("since")
            .and_then(|text| unless_dash(text, number));
        let since_ms = since_ms.ok_or("has no time in line 7")?;
        let inode = rest
            .value("inode")
            .and_then(|text| unless_dash(text, number));
        let inode = inode.ok_or("has no inode in line 8")?;
        let last_leaf = rest.value("leaf").and_then(|text| unless_dash(text, hash));
        let last_leaf = last_leaf.ok_or("has no leaf hash in line 9")?;
        let tree = match has_tree {
            true => rest
                .value("tree")
                .and_then(|text| unless_dash(text, frontier)),
            false => Some(None),
        };
        let of_these =
            |tree: &Option<Frontier>| tree.as_ref().is_none_or(|tree| tree.size() == next);
        let tree = tree.filter(of_these).ok_or("has no tree in line 10")?;
        let hand_overs = KeptHandOvers::take(&mut rest.0);
        let hand_overs = hand_overs.ok_or("has an invalid hand-over behind line 9 or 10")?;
        let checkpoint = rest.note("checkpoint");
        let checkpoint = checkpoint.ok_or("has no checkpoint behind line 9 or 10")?;
        let ahead = rest.note("ahead");
        let ahead = ahead.filter(|_| rest.0.is_empty());
        let ahead = ahead.ok_or("has no second checkpoint behind the first")?;
        Ok(Self {
            origin: origin.to_owned(),
            format,
            next,
            bytes: length,
            first,
            since_ms,
            inode,
            last_leaf,
            tree,
            hand_overs,
            checkpoint,
            ahead,
        })
    }

    pub(super) fn to_sink_cursor(&self) -> SinkCursor {
        let mut cursor = SinkCursor::at(self.next).with_hand_overs(self.hand_overs.notes());
        if let Some(leaf) = self.last_leaf {
            cursor = cursor.with_last_leaf(leaf);
        }
        if let Some(note) = self.ahead.as_ref().or(self.checkpoint.as_ref()) {
            cursor = cursor.with_checkpoint(note.clone());
        }
        cursor
    }
}

/// The bytes that are not parsed yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(line)
    }

    fn value(&mut self, name: &str) -> Option<&'a [u8]> {
        let line = self.line()?.strip_prefix(name.as_bytes())?;
        line.strip_prefix(b" ")
    }

    fn note(&mut self, name: &str) -> Option<Option<Bytes>> {
        let length = usize::try_from(self.value(name).and_then(number)?).ok()?;
        let (note, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((!note.is_empty()).then(|| Bytes::copy_from_slice(note)))
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn unless_dash<T>(text: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if text == b"-" {
        return Some(None);
    }
    read(text).map(Some)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn hash(text: &[u8]) -> Option<Hash> {
    let bytes = STANDARD.decode(text).ok()?;
    Hash::try_from(bytes.as_slice()).ok()
}

fn frontier(text: &[u8]) -> Option<Frontier> {
    Frontier::parse(&STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use livetrail_tlog::leaf_hash;

    use super::*;

    #[test]
    fn it_is_read_back_as_it_was_and_every_wrong_line_is_named() {
        let empty = Cursor::at_the_beginning("example.com/a", Format::Lines);
        let full = Cursor {
            format: Format::Json,
            next: 300,
            bytes: 71_234,
            first: 256,
            since_ms: Some(1_700_000_000_000),
            inode: Some(77),
            last_leaf: Some(leaf_hash(b"x")),
            tree: Some(Frontier::from_peaks(300, vec![leaf_hash(b"y"); 4]).unwrap()),
            checkpoint: Some(Bytes::from_static(b"example.com/a\n300\n\n- sig\n")),
            ahead: Some(Bytes::from_static(b"example.com/a\n900\n\n- sig\n")),
            ..empty.clone()
        };
        for cursor in [&empty, &full, &full.clone().of_the_next_file(None)] {
            assert_eq!(Cursor::parse(&cursor.encode()).as_ref(), Ok(cursor));
        }
        let text = String::from_utf8(full.encode()).unwrap();
        for (line, words) in [
            ("livetrail-file-cursor 2", "begin"),
            ("origin ", "line 2"),
            ("format ", "line 3"),
            ("next ", "line 4"),
            ("bytes ", "line 5"),
            ("first ", "line 6"),
            ("first 2", "line 6"),
            ("since ", "line 7"),
            ("inode ", "line 8"),
            ("leaf ", "line 9"),
            ("tree ", "line 10"),
            ("next 3", "line 10"),
            ("checkpoint ", "no checkpoint"),
            ("checkpoint 2", "no checkpoint"),
            ("ahead ", "second"),
            ("ahead 2", "second"),
        ] {
            let with = if line == "next 3" {
                "next 4".to_owned()
            } else if line.ends_with('2') && line.contains(' ') && !line.starts_with("live") {
                format!("{line}99")
            } else {
                "x".to_owned()
            };
            let error = Cursor::parse(text.replacen(line, &with, 1).as_bytes()).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
        // A cursor of the earlier version has no tree, and is still valid.
        let before = text.replacen("cursor 2", "cursor 1", 1);
        let tree = before
            .lines()
            .find(|line| line.starts_with("tree "))
            .unwrap();
        let read = Cursor::parse(before.replacen(&format!("{tree}\n"), "", 1).as_bytes());
        let wanted = Cursor {
            tree: None,
            ..full.clone()
        };
        assert_eq!(read, Ok(wanted));
        for end in 0..text.len() {
            assert!(Cursor::parse(&text.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
