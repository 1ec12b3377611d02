//! Writes to an output that may be slow, full or closed, and counts each byte.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};

use livetrail_record::parse_canonical;
use livetrail_replica::{Gap, ReplicaError, SealedRange};

use crate::{json_line, sys};

/// Lines to write: those of the entries from `first` on, or one line for a gap.
#[derive(Debug)]
pub(super) struct Batch {
    origin: String,
    first: u64,
    /// The index after the lines.
    next: u64,
    text: String,
}

impl Batch {
    pub(super) fn of_range(range: &SealedRange) -> Self {
        let mut text = String::with_capacity(range.entry_bytes().saturating_mul(3) / 2);
        for (index, entry, leaf) in range.iter() {
            let is_record = parse_canonical(entry).is_ok();
            let opening = range.opening(index);
            json_line::entry(&mut text, index, leaf, entry, is_record, opening);
        }
        Self {
            origin: range.origin().to_owned(),
            first: range.first(),
            next: range.next(),
            text,
        }
    }

    pub(super) fn of_gap(gap: &Gap) -> Self {
        let mut text = String::new();
        json_line::gap(&mut text, gap);
        Self {
            origin: gap.origin.clone(),
            first: gap.missing.start,
            next: gap.missing.end,
            text,
        }
    }
}

/// The output, and how far the writes have come.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// The log of the last batch.
    origin: String,
    /// The entry of the first line that is not completely written.
    next: u64,
    /// The number of bytes of that line that are written.
    torn: usize,
}

impl Output {
    pub(super) const fn new(file: File) -> Self {
        Self {
            file,
            origin: String::new(),
            next: 0,
            torn: 0,
        }
    }

    /// Writes the unwritten part of a batch. Blocks until the reader has read enough.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), ReplicaError> {
        if sys::is_nowhere(&self.file) {
            return Err(ReplicaError::unsuitable(
                "standard output is /dev/null, where all lines are lost: start the server with somebody who reads them, or without this sink",
            ));
        }
        let mut rest = self.rest(batch).map_err(failed)?;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(failed(ErrorKind::WriteZero.into())),
                Ok(written) => {
                    let (out, left) = rest.split_at(written.min(rest.len()));
                    self.took(out);
                    rest = left;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if self.next != batch.next {
            // One line stands for the whole gap.
            (self.next, self.torn) = (batch.next, 0);
        }
        // If the output is a file, as in `serve > lines`, the lines must be on disk before the
        // cursor moves.
        if self.file.metadata().is_ok_and(|found| found.is_file()) {
            self.file.sync_data().map_err(failed)?;
        }
        Ok(())
    }

    /// The unwritten part of a batch.
    fn rest<'a>(&mut self, batch: &'a Batch) -> io::Result<&'a [u8]> {
        let goes_on =
            self.origin == batch.origin && (batch.first..=batch.next).contains(&self.next);
        if !goes_on {
            // Nobody needs the end of an unfinished line any more. If an earlier process was killed
            // in the middle of a line, ours must not become a part of that line.
            if self.torn > 0 || (self.origin.is_empty() && ends_in_a_line(&self.file)) {
                self.file.write_all(b"\n")?;
            }
            self.origin.clone_from(&batch.origin);
            (self.next, self.torn) = (batch.first, 0);
        }
        if self.next == batch.next {
            return Ok(&[]);
        }
        let mut rest = batch.text.as_bytes();
        for _ in batch.first..self.next {
            let end = rest.iter().position(|byte| *byte == b'\n');
            rest = end.map_or(&[][..], |end| &rest[end + 1..]);
        }
        Ok(rest.get(self.torn..).unwrap_or_default())
    }

    fn took(&mut self, out: &[u8]) {
        let lines = out.iter().filter(|byte| **byte == b'\n').count();
        self.next = self.next.saturating_add(lines as u64);
        let begun = out.iter().rev().take_while(|byte| **byte != b'\n').count();
        self.torn = if lines == 0 { self.torn + begun } else { begun };
    }
}

/// Converts an I/O error.
fn failed(error: io::Error) -> ReplicaError {
    if error.kind() == ErrorKind::BrokenPipe {
        return ReplicaError::Unsuitable {
            what: "nobody reads standard output any more: start the server again, with a reader that stays".to_owned(),
            source: Some(error.into()),
        };
    }
    ReplicaError::unavailable("cannot write to standard output", error)
}

/// Whether the output is a file with data and without an LF at its end. Also `true` if that is not
/// known, because an empty line does no harm.
fn ends_in_a_line(file: &File) -> bool {
    let Ok(found) = file.metadata() else {
        return false;
    };
    let Some(last) = found.len().checked_sub(1).filter(|_| found.is_file()) else {
        return false;
    };
    // The handle can only write.
    let mut byte = [0];
    let read = sys::reopen(file).and_then(|mut again| {
        again.seek(SeekFrom::Start(last))?;
        again.read_exact(&mut byte)
    });
    read.is_err() || byte != *b"\n"
}
