//! `livetrail trail query`.

use std::process::ExitCode;

use livetrail_audit::AuditRecord;

use super::{filter::Filter, open, show};
use crate::{
    cli::{TrailFormat, TrailQuery},
    output::{Failure, Outcome, complain, say},
};

/// Rows of one table: a trail of any length is shown in bounded memory, as several tables if need be.
const TABLE_ROWS: usize = 5_000;

/// Runs it.
pub(super) fn run(args: &TrailQuery) -> Outcome {
    let filter = Filter::new(&args.filter)?;
    let trail = open(&args.trail)?;
    let mut rows: Vec<AuditRecord> = Vec::new();
    let mut bad_lines: u64 = 0;
    let mut found: u64 = 0;
    for line in trail {
        let record = match line {
            Ok(line) => line.record,
            Err(error) if is_of_a_line(&error) => {
                bad_lines += 1;
                continue;
            }
            Err(error) => return Err(Failure::unusable(error)),
        };
        if !filter.fits(&record) {
            continue;
        }
        found += 1;
        if args.format != TrailFormat::Table {
            say(&show::line(&record, args.format)?)?;
            continue;
        }
        rows.push(record);
        if rows.len() == TABLE_ROWS {
            say(&show::trail_rows(&rows).to_string())?;
            rows.clear();
        }
    }
    if args.format == TrailFormat::Table {
        if !rows.is_empty() {
            say(&show::trail_rows(&rows).to_string())?;
        }
        say(&format!(
            "{found} record{}",
            if found == 1 { "" } else { "s" }
        ))?;
    }
    if bad_lines > 0 {
        complain(&format!(
            "{bad_lines} lines are no records; `livetrail trail check` says which"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether only one line is wrong, and the next may be right.
pub(super) fn is_of_a_line(error: &livetrail_audit::AuditError) -> bool {
    use livetrail_audit::AuditError;
    matches!(
        error,
        AuditError::Line { .. } | AuditError::LineTooLong { .. }
    )
}
