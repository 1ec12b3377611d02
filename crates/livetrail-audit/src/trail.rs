//! Reads a file trail.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use livetrail_record::{AuditRecord, OpenSession, TrailChecker, parse_arcly_line, parse_line};

use crate::error::AuditError;

/// The length of the longest line that is read. The pipeline's records have at most 65,535
/// canonical bytes, and percent-encoding makes at most three bytes of one.
const MAX_LINE_BYTES: usize = 1 << 20;

/// A line of a trail with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrailLine {
    /// The line's number in the file, from 1.
    pub number: u64,
    /// The record.
    pub record: AuditRecord,
}

/// Who wrote a file's lines, and so how they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LineFormat {
    /// Livetrail's file sink.
    #[default]
    Livetrail,
    /// The file sink of the library `arcly-stream`. Its labels are not percent-encoded, and its
    /// records name no sessions.
    Arcly,
}

/// The records of a file trail, in order.
///
/// This iterator may continue after its end. It returns `None` if no complete line is left. A later
/// call returns the lines that were appended since. That is enough to follow a trail. If a line is
/// not a record, the iterator returns an error and continues with the next line. A last line
/// without an LF is not complete yet.
#[derive(Debug)]
pub struct FileTrail {
    path: PathBuf,
    format: LineFormat,
    reader: BufReader<File>,
    line: Vec<u8>,
    /// The current line is longer than any record's, and its end has not been read yet.
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
            format: LineFormat::default(),
            reader,
            line: Vec::new(),
            too_long: false,
            number: 0,
        })
    }

    /// Reads the lines as this format, instead of Livetrail's.
    ///
    /// ```
    /// use livetrail_audit::{AuditAction, FileTrail, LineFormat};
    ///
    /// # let path = format!("livetrail-arcly-{}.log", std::process::id());
    /// # let path = std::env::temp_dir().join(path);
    /// std::fs::write(&path, "1\tevent\tlive\t-\t100%=full\n")?;
    /// let mut trail = FileTrail::open(&path)?.format(LineFormat::Arcly);
    /// let line = trail.next().expect("one line")?;
    /// assert_eq!(line.record.action, AuditAction::Event("100%=full".into()));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn format(mut self, format: LineFormat) -> Self {
        self.format = format;
        self
    }

    /// The number of bytes at the end of the file that have no LF yet.
    #[must_use]
    pub const fn torn_bytes(&self) -> usize {
        self.line.len()
    }

    /// Reads up to the next LF. `false` if there is no LF yet; the bytes that were read stay.
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
            let record = match self.format {
                LineFormat::Livetrail => parse_line(&self.line),
                LineFormat::Arcly => parse_arcly_line(&self.line),
            };
            record
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

/// What a trail says about the earlier boots.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// The sessions without their last record. Pass them to
    /// [`AuditPipelineBuilder::recovered`](crate::AuditPipelineBuilder::recovered).
    pub open: Vec<OpenSession>,
    /// The number of records.
    pub records: u64,
    /// The number of lines that are not records.
    pub bad_lines: u64,
}

/// Reads a whole file trail, and returns the sessions that a crash left open. A missing file has
/// none.
///
/// The memory grows with the open sessions, not with the file. A million records take about three
/// seconds.
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
