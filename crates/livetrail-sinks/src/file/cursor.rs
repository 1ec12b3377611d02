//! The cursor beside the file, as bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livetrail_audit::replica::SinkCursor;
use livetrail_tlog::Hash;

use super::Format;

const FIRST_LINE: &[u8] = b"livetrail-file-cursor 1";

/// The most bytes that are read of a cursor. A checkpoint with many cosignatures has some thousands.
pub(super) const MAX_CURSOR_BYTES: u64 = 1 << 20;

/// How far the file is committed, and of which log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) origin: String,
    pub(super) format: Format,
    /// The first index that is not in the file.
    pub(super) next: u64,
    /// The file's length with everything below `next`.
    pub(super) bytes: u64,
    /// Of the entry before `next`.
    pub(super) last_leaf: Option<Hash>,
    /// The newest signed checkpoint that came with entries.
    pub(super) checkpoint: Option<Bytes>,
}

impl Cursor {
    /// Of an empty file.
    pub(super) fn at_the_beginning(origin: &str, format: Format) -> Self {
        Self {
            origin: origin.to_owned(),
            format,
            next: 0,
            bytes: 0,
            last_leaf: None,
            checkpoint: None,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let leaf = self
            .last_leaf
            .map_or_else(|| "-".to_owned(), |leaf| leaf.to_string());
        let mut out = FIRST_LINE.to_vec();
        let lines = format!(
            "\norigin {}\nformat {}\nnext {}\nbytes {}\nleaf {leaf}\ncheckpoint\n",
            self.origin,
            self.format.label(),
            self.next,
            self.bytes
        );
        out.extend_from_slice(lines.as_bytes());
        out.extend_from_slice(self.checkpoint.as_deref().unwrap_or_default());
        out
    }

    /// Reads it back. An error says which line is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut parts = bytes.splitn(7, |byte| *byte == b'\n');
        if parts.next() != Some(FIRST_LINE) {
            return Err("does not begin with \"livetrail-file-cursor 1\"");
        }
        let mut value = |name: &str| {
            let line = parts.next()?.strip_prefix(name.as_bytes())?;
            line.strip_prefix(b" ")
        };
        let origin = value("origin").ok_or("has no origin in line 2")?;
        let origin = std::str::from_utf8(origin).map_err(|_| "has no origin in line 2")?;
        let format = value("format").and_then(Format::from_label);
        let format = format.ok_or("has no format in line 3")?;
        let next = value("next").and_then(number);
        let next = next.ok_or("has no index in line 4")?;
        let length = value("bytes").and_then(number);
        let length = length.ok_or("has no length in line 5")?;
        let last_leaf = match value("leaf") {
            Some(b"-") => None,
            text => Some(text.and_then(hash).ok_or("has no leaf hash in line 6")?),
        };
        let note = parts
            .next()
            .and_then(|rest| rest.strip_prefix(b"checkpoint\n"))
            .ok_or("has no checkpoint from line 7 on")?;
        Ok(Self {
            origin: origin.to_owned(),
            format,
            next,
            bytes: length,
            last_leaf,
            checkpoint: (!note.is_empty()).then(|| Bytes::copy_from_slice(note)),
        })
    }

    pub(super) fn to_sink_cursor(&self) -> SinkCursor {
        let mut cursor = SinkCursor::at(self.next);
        if let Some(leaf) = self.last_leaf {
            cursor = cursor.with_last_leaf(leaf);
        }
        if let Some(note) = &self.checkpoint {
            cursor = cursor.with_checkpoint(note.clone());
        }
        cursor
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn hash(text: &[u8]) -> Option<Hash> {
    let bytes = STANDARD.decode(text).ok()?;
    Hash::try_from(bytes.as_slice()).ok()
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
            last_leaf: Some(leaf_hash(b"x")),
            checkpoint: Some(Bytes::from_static(b"example.com/a\n300\n\n- sig\n")),
            ..empty.clone()
        };
        for cursor in [&empty, &full] {
            assert_eq!(Cursor::parse(&cursor.encode()).as_ref(), Ok(cursor));
        }
        let text = String::from_utf8(full.encode()).unwrap();
        for (line, told) in [
            ("livetrail-file-cursor 1", "begin"),
            ("origin ", "line 2"),
            ("format ", "line 3"),
            ("next ", "line 4"),
            ("bytes ", "line 5"),
            ("leaf ", "line 6"),
            ("checkpoint", "line 7"),
        ] {
            let error = Cursor::parse(text.replacen(line, "x", 1).as_bytes()).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
        for end in 0..text.find("checkpoint\n").unwrap() {
            assert!(Cursor::parse(&text.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
