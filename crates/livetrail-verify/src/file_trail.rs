//! A trail that is a file of lines. Only the rules of sessions and numbers can be checked.

use std::io::{BufRead, Read as _};

use livetrail_record::parse_line;

use crate::conclusion::finish;
use crate::error::VerifyError;
use crate::finding::Outcome;
use crate::finding::{Class, Finding};
use crate::options::Options;
use crate::report::{Report, TrailKind};
use crate::trail::{Rules, Trail};

/// The longest line: every byte of the longest record percent-encoded, with some reserve.
const MAX_LINE_BYTES: u64 = 1 << 18;

/// Checks a file trail. `place` is for the report. Calls `progress` with the number of lines read.
///
/// # Errors
/// [`VerifyError::Read`].
pub fn verify_file(
    mut file: impl BufRead,
    place: &str,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let mut found = Outcome::default();
    // Several nodes may write to one file.
    let mut trail = Trail::new(Rules {
        one_writer: false,
        ..options.rules()
    });
    let mut line = Vec::new();
    let (mut index, mut records, mut bytes) = (0_u64, 0_u64, 0_u64);
    loop {
        line.clear();
        let read = file
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|source| VerifyError::Read {
                path: place.to_owned(),
                source,
            })?;
        if read == 0 {
            break;
        }
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(0));
        if line.last() != Some(&b'\n') && u64::try_from(read).unwrap_or(0) < MAX_LINE_BYTES {
            found
                .notes
                .push("the last line is torn, as after a crash; it was not checked".to_owned());
            break;
        }
        match parse_line(&line) {
            Ok(record) => {
                records = records.saturating_add(1);
                trail.feed(index, &record, &mut found.findings);
            }
            Err(error) => {
                let finding = Finding::failure(Class::Record, format!("not a record: {error}"));
                found.findings.add(finding.at(index));
            }
        }
        index = index.saturating_add(1);
        if index.is_multiple_of(256) {
            progress(index, 0);
        }
    }
    if records == 0 && found.findings.failures() > 0 {
        return Err(VerifyError::NotATrail {
            path: place.to_owned(),
        });
    }
    found.notes.push(
        "a file trail has no cryptographic evidence: anyone who could write to it could change it; only sessions, boots and numbers were checked"
            .to_owned(),
    );
    if !options.against.is_empty() || !options.policy.is_empty() {
        found.problems.push(
            "a file trail has neither signatures nor checkpoints: the given keys and checkpoints prove nothing about it".to_owned(),
        );
    }
    if !options.openings.is_empty() {
        found.problems.push(
            "a file trail has names in clear and no commitments: openings cannot be compared with it".to_owned(),
        );
    }
    let mut report = finish(place.to_owned(), TrailKind::File, trail, None, 0, found);
    report.figures.records = records;
    report.figures.entries = index;
    report.figures.bytes = bytes;
    Ok(report)
}
