//! Input: the lines, and the checkpoint that they are compared with.

use std::io::{BufRead, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::VerifyError;
use crate::note::stated;
use crate::sources::Files;
use crate::sources::limits::Deadline;

/// The longest line: the longest entry and the longest opening, with some reserve for the rest.
const MAX_LINE_BYTES: usize = 256 << 10;

/// The maximum number of hand-overs that are read from a cursor: no real log has more.
const MAX_HAND_OVERS: usize = 1_024;

/// The beginnings of a file sink's cursor, and below that of a sink whose destination cannot report
/// its contents.
const FILE_CURSORS: [&[u8]; 2] = [b"livetrail-file-cursor 2\n", b"livetrail-file-cursor 1\n"];
const SINK_CURSOR: &[u8] = b"livetrail-sink-cursor 1\n";

/// A file of lines, or a stream of them.
pub struct Lines {
    /// The name, for the report.
    pub name: String,
    /// The contents.
    pub reader: Box<dyn BufRead>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lines").field(&self.name).finish()
    }
}

/// The signed checkpoint in a file: the file itself, or the one in a sink's cursor. `None` when the
/// cursor has none yet, or one that covers entries which the sink does not have yet.
#[must_use]
pub fn checkpoint_in(bytes: &[u8]) -> Option<&[u8]> {
    let of_file = FILE_CURSORS
        .iter()
        .find_map(|line| bytes.strip_prefix(*line));
    if let Some(mut rest) = of_file {
        loop {
            let line = line_of(&mut rest)?;
            if let Some(length) = line.strip_prefix(b"checkpoint ") {
                let length = usize::try_from(number(length)?).ok()?;
                return rest.get(..length).filter(|note| !note.is_empty());
            }
        }
    }
    let Some(mut rest) = bytes.strip_prefix(SINK_CURSOR) else {
        return Some(bytes);
    };
    let mut next = 0;
    loop {
        let line = line_of(&mut rest)?;
        if let Some(index) = line.strip_prefix(b"next ") {
            next = number(index)?;
        }
        if line == b"checkpoint" {
            return stated(rest).and_then(|stated| (stated.head().size <= next).then_some(rest));
        }
    }
}

/// The hand-overs in a sink's cursor, under their names in a trail. Empty for any other file.
pub(super) fn hand_overs_in(bytes: &[u8]) -> Files {
    let mut found = Files::default();
    let is_cursor = FILE_CURSORS
        .iter()
        .chain(&[SINK_CURSOR])
        .any(|line| bytes.starts_with(line));
    let mut rest = bytes;
    while let Some(line) = line_of(&mut rest).filter(|_| is_cursor) {
        if line.starts_with(b"checkpoint") {
            break;
        }
        let Some(line) = line.strip_prefix(b"hand_over ") else {
            continue;
        };
        let line = std::str::from_utf8(line).ok();
        let Some((id, note)) = line.and_then(|line| line.split_once(' ')) else {
            continue;
        };
        if found.0.len() < MAX_HAND_OVERS
            && let Ok(note) = STANDARD.decode(note)
        {
            found.0.insert(format!("handover/{id}"), note);
        }
    }
    found
}

fn line_of<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after.get(1..)?;
    Some(line)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A line, or the reason why it was not read.
pub(super) enum Read {
    /// A whole line.
    Whole,
    /// The last line, without an LF.
    Torn,
    /// It was too long and skipped.
    TooLong,
    /// The time limit was reached; there may be more lines.
    Stopped,
}

/// Reads lines of bounded length from a stream.
pub(super) struct Reader {
    input: Lines,
    deadline: Deadline,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

impl Reader {
    pub(super) const fn new(input: Lines, deadline: Deadline) -> Self {
        Self {
            input,
            deadline,
            line: Vec::new(),
            number: 0,
            bytes: 0,
        }
    }

    /// The position of the last line.
    pub(super) fn at(&self) -> String {
        format!("{}:{}", self.input.name, self.number)
    }

    /// The number of bytes read from it.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last line, without its LF.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Reads the next line.
    pub(super) fn next(&mut self) -> Result<Option<Read>, VerifyError> {
        if self.deadline.is_over() {
            return Ok(Some(Read::Stopped));
        }
        self.number = self.number.saturating_add(1);
        self.bytes = 0;
        if self.part()? == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            return Ok(Some(Read::Whole));
        }
        if self.line.len() < MAX_LINE_BYTES {
            return Ok(Some(Read::Torn));
        }
        while self.line.last() != Some(&b'\n') && self.part()? > 0 {
            if self.deadline.is_over() {
                return Ok(Some(Read::Stopped));
            }
        }
        Ok(Some(Read::TooLong))
    }

    /// The next part of a line, no longer than a line may be.
    fn part(&mut self) -> Result<usize, VerifyError> {
        self.line.clear();
        let most = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
        let reader = self.input.reader.by_ref();
        let read = reader.take(most).read_until(b'\n', &mut self.line);
        let read = read.map_err(|source| VerifyError::Read {
            path: self.input.name.clone(),
            source,
        })?;
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &[u8]) -> Vec<String> {
        let lines = Lines {
            name: "f".to_owned(),
            reader: Box::new(std::io::Cursor::new(text.to_vec())),
        };
        let mut reader = Reader::new(lines, Deadline::after(Duration::from_secs(3_600)));
        let mut all = Vec::new();
        loop {
            let said = match reader.next().unwrap() {
                None => return all,
                Some(Read::Whole) => String::from_utf8(reader.line().to_vec()).unwrap(),
                Some(Read::Torn) => "torn".to_owned(),
                Some(Read::TooLong) => "too long".to_owned(),
                Some(Read::Stopped) => "stopped".to_owned(),
            };
            all.push(format!("{} {said}", reader.at()));
        }
    }

    #[test]
    fn lines_have_numbers_and_bounds() {
        assert!(read(b"").is_empty());
        assert_eq!(read(b"a\n\nb"), ["f:1 a", "f:2 ", "f:3 torn"]);
        for length in [MAX_LINE_BYTES, MAX_LINE_BYTES * 3 + 7] {
            let mut text = vec![b'x'; length];
            text.extend(b"\ny\n");
            assert_eq!(read(&text), ["f:1 too long", "f:2 y"], "{length}");
        }
        let longest = [vec![b'x'; MAX_LINE_BYTES - 1], b"\ny\n".to_vec()].concat();
        assert_eq!(read(&longest).len(), 2);
    }

    #[test]
    fn a_checkpoint_is_a_file_of_its_own_or_in_a_cursor() {
        assert_eq!(checkpoint_in(b"note\n"), Some(&b"note\n"[..]));
        let cursor = b"livetrail-file-cursor 1\norigin a\nnext 3\ncheckpoint 5\nnote\nahead 2\nx\n";
        assert_eq!(checkpoint_in(cursor), Some(&b"note\n"[..]));
        let newer = b"livetrail-file-cursor 2\norigin a\ntree 3 -\ncheckpoint 5\nnote\nahead 0\n";
        assert_eq!(checkpoint_in(newer), Some(&b"note\n"[..]));
        for none in [
            &b"livetrail-file-cursor 1\norigin a\ncheckpoint 0\nahead 0\n"[..],
            b"livetrail-file-cursor 1\norigin a\ncheckpoint 99\nnote\n",
            b"livetrail-file-cursor 1\norigin a\n",
        ] {
            assert_eq!(checkpoint_in(none), None);
        }
        let note = "a\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} a AAAAAAAA\n";
        for (next, wanted) in [
            (3, Some(note.as_bytes())),
            (4, Some(note.as_bytes())),
            (2, None),
        ] {
            let cursor = format!(
                "livetrail-sink-cursor 1\nsink s\norigin a\nnext {next}\nleaf -\ncheckpoint\n{note}"
            );
            assert_eq!(checkpoint_in(cursor.as_bytes()), wanted, "{next}");
        }
        assert_eq!(
            checkpoint_in(b"livetrail-sink-cursor 1\nnext 0\ncheckpoint\n"),
            None
        );
    }
}
