//! Reading a file trail back.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use livetrail_record::{AuditRecord, OpenSession, TrailChecker, parse_line};

use crate::error::AuditError;

/// The longest line that is read. The pipeline's records have at most 65,535 canonical bytes; percent-encoding makes at most
/// three of one.
const MAX_LINE_BYTES: usize = 1 << 20;

/// A line of a trail that is a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrailLine {
    /// The line's number in the file, from 1.
    pub number: u64,
    /// The record.
    pub record: AuditRecord,
}

/// The records of a file trail, in order.
///
/// An iterator that may go on after its end: it gives `None` when no complete line is left, and what has been appended
/// since when it is asked again. That is all that following a trail takes. A line that is no record is an error, and the next
/// line follows; a last line without LF is not there yet.
#[derive(Debug)]
pub struct FileTrail {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    /// The line is longer than any record's, and its end is not read yet.
    too_long: bool,
    number: u64,
}

impl FileTrail {
    /// Opens the trail at its beginning.
    ///
    /// # Errors
    /// [`AuditError::Open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AuditError> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path).map_err(|source| AuditError::Open {
            path: path.clone(),
            source,
        })?;
        let reader = BufReader::with_capacity(256 << 10, file);
        Ok(Self {
            path,
            reader,
            line: Vec::new(),
            too_long: false,
            number: 0,
        })
    }

    /// How many bytes of a line without LF stand at the end so far.
    #[must_use]
    pub const fn torn_bytes(&self) -> usize {
        self.line.len()
    }

    /// Reads on to the next LF. `false` when there is none yet; what was read is kept.
    fn complete_line(&mut self) -> Result<bool, AuditError> {
        loop {
            let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len()).max(1);
            let limit = u64::try_from(room).unwrap_or(u64::MAX);
            let read = self
                .reader
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut self.line)
                .map_err(|source| AuditError::Read {
                    path: self.path.clone(),
                    source,
                })?;
            if self.line.last() == Some(&b'\n') {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            if self.line.len() > MAX_LINE_BYTES {
                self.too_long = true;
                self.line.clear();
            }
        }
    }
}

impl Iterator for FileTrail {
    type Item = Result<TrailLine, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.complete_line() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(error)),
        }
        self.number += 1;
        let line = self.number;
        let parsed = if std::mem::take(&mut self.too_long) {
            Err(AuditError::LineTooLong {
                line,
                limit: MAX_LINE_BYTES,
            })
        } else {
            parse_line(&self.line)
                .map(|record| TrailLine {
                    number: line,
                    record,
                })
                .map_err(|source| AuditError::Line { line, source })
        };
        self.line.clear();
        Some(parsed)
    }
}

/// What a trail says about the boots before.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Sessions without their last record: for [`AuditPipelineBuilder::recovered`](crate::AuditPipelineBuilder::recovered).
    pub open: Vec<OpenSession>,
    /// How many records there are.
    pub records: u64,
    /// How many lines are no records.
    pub bad_lines: u64,
}

/// Reads a whole file trail and says which sessions a crash left open. A file that is not there has none.
///
/// Memory grows with the open sessions, not with the file; a million records take about three seconds.
///
/// # Errors
/// [`AuditError::Open`], [`AuditError::Read`].
pub fn open_sessions(path: impl AsRef<Path>) -> Result<Recovered, AuditError> {
    let path = path.as_ref();
    if !path.exists() {
        return Ok(Recovered::default());
    }
    let mut checker = TrailChecker::new();
    let mut bad_lines = 0;
    for line in FileTrail::open(path)? {
        match line {
            Ok(line) => {
                checker.feed(&line.record);
            }
            Err(AuditError::Line { .. } | AuditError::LineTooLong { .. }) => bad_lines += 1,
            Err(error) => return Err(error),
        }
    }
    let (_, report) = checker.finish();
    Ok(Recovered {
        open: report.open,
        records: report.records,
        bad_lines,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_trail_is_read_line_by_line_past_bad_ones_and_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trail");
        let mut file = File::create(&path).unwrap();
        let long = "x".repeat(MAX_LINE_BYTES + 10);
        write!(
            file,
            "1\theartbeat\t\t-\t\nnonsense\n{long}\n2\theartbeat\t\t-\t\n3\theart"
        )
        .unwrap();
        let mut trail = FileTrail::open(&path).unwrap();
        assert_eq!(trail.next().unwrap().unwrap().record.ts_ms, 1);
        assert!(matches!(
            trail.next(),
            Some(Err(AuditError::Line { line: 2, .. }))
        ));
        assert!(matches!(
            trail.next(),
            Some(Err(AuditError::LineTooLong { line: 3, .. }))
        ));
        assert_eq!(trail.next().unwrap().unwrap().number, 4);
        assert!(trail.next().is_none());
        assert_eq!(trail.torn_bytes(), 7);
        writeln!(file, "beat\t\t-\t").unwrap();
        let line = trail.next().unwrap().unwrap();
        assert_eq!((line.number, line.record.ts_ms), (5, 3));
        assert!(trail.next().is_none());
    }

    #[test]
    fn a_trail_that_is_not_there_leaves_nothing_open() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open_sessions(dir.path().join("none")).unwrap().open, []);
    }
}
