//! `livetrail trail query`.

use std::process::ExitCode;

use livetrail_audit::AuditRecord;

use super::{filter::Filter, show, source::Source};
use crate::{
    cli::{TrailFormat, TrailQuery},
    output::{Outcome, complain, say},
};

/// Rows of one table: a trail of any length is shown in bounded memory, as several tables if need be.
const TABLE_ROWS: usize = 5_000;

/// Runs it.
pub(super) fn run(args: &TrailQuery) -> Outcome {
    let filter = Filter::new(&args.filter)?;
    let mut trail = Source::open(&args.trail)?;
    let mut rows: Vec<AuditRecord> = Vec::new();
    let mut bad: u64 = 0;
    let mut found: u64 = 0;
    trail.each(|item| {
        let Ok(record) = item.record else {
            bad += 1;
            return Ok(());
        };
        if !filter.fits(&record) {
            return Ok(());
        }
        found += 1;
        if args.format != TrailFormat::Table {
            say(&show::line(&record, args.format)?)?;
            return Ok(());
        }
        rows.push(record);
        if rows.len() == TABLE_ROWS {
            say(&show::trail_rows(&rows).to_string())?;
            rows.clear();
        }
        Ok(())
    })?;
    if args.format == TrailFormat::Table {
        if !rows.is_empty() {
            say(&show::trail_rows(&rows).to_string())?;
        }
        say(&format!(
            "{found} record{}",
            if found == 1 { "" } else { "s" }
        ))?;
    }
    if bad > 0 {
        complain(&format!(
            "no records: {bad}, each {}; `livetrail trail check` says which",
            trail.unit()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
