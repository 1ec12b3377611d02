//! `livetrail trail query`.

use std::process::ExitCode;

use livetrail_audit::AuditRecord;
use livetrail_trail::looked::Act;

use super::{
    filter::{FilterArgs, filter},
    hidden::warn_of_hidden,
    looked::leave_note,
    show::{self, TrailFormat},
    source::{Lines, Source, TrailPath},
};
use crate::output::{Failure, Outcome, complain, say};

/// Show the records that match.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail query ./livetrail-data --stream cam --since 1h
  livetrail trail query ./livetrail-data --action play_denied --since 2026-11-22T14:00:00Z --until 2026-11-22T15:00:00Z
  livetrail trail query ./livetrail-data --session 0199a7… --format json

Each record that is shown was proven to be in the tree that the checkpoint signs. The query index in the trail's
private part finds records among millions. It is derived data that the server and this command maintain, and it
may be removed at any time. At worst the index leaves a record out; --scan searches without it.

Exit codes: 0 done, also without a match; 2 the trail cannot be read, or there is no such action.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// A table for people, one JSON object per line, or tab-separated lines.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: TrailFormat,
    /// How the lines of a file are read.
    #[arg(long, value_name = "FORMAT", default_value = "livetrail")]
    pub(crate) input_format: Lines,
    /// Search the whole trail, without the query index.
    #[arg(long)]
    pub(crate) scan: bool,
}

/// Rows of one table. A long trail is shown as several tables, so that its rows need bounded
/// memory.
const TABLE_ROWS: usize = 5_000;

/// Runs the command.
pub(super) fn run(args: &Args) -> Outcome {
    let filter = filter(&args.filter)?;
    let mut shown = Shown::new(args.format);
    match Source::open(&args.trail, args.input_format)? {
        Source::Ledger(ledger) => {
            leave_note(
                &ledger.directory,
                Act::Read,
                "query",
                &format!("{:?}", args.filter),
            );
            let mut hits = ledger.find(filter, !args.scan)?;
            for found in hits.by_ref() {
                shown.record(found.map_err(Failure::unusable)?.record)?;
            }
            shown.finish()?;
            warn_of_hidden(&hits);
        }
        mut file @ Source::File { .. } => {
            let mut bad: u64 = 0;
            file.each(|item| {
                match item.record {
                    Ok(record) if filter.fits(&record) => shown.record(record)?,
                    Ok(_) => {}
                    Err(_) => bad += 1,
                }
                Ok(())
            })?;
            shown.finish()?;
            if bad > 0 {
                complain(&format!(
                    "no records: {bad}, each {}; `livetrail trail check` says which",
                    file.unit()
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints records.
struct Shown {
    format: TrailFormat,
    rows: Vec<AuditRecord>,
    found: u64,
}

impl Shown {
    fn new(format: TrailFormat) -> Self {
        Self {
            format,
            rows: Vec::new(),
            found: 0,
        }
    }

    fn record(&mut self, record: AuditRecord) -> anyhow::Result<()> {
        self.found += 1;
        if self.format != TrailFormat::Table {
            return say(&show::line(&record, self.format)?);
        }
        self.rows.push(record);
        if self.rows.len() == TABLE_ROWS {
            self.print_rows()?;
        }
        Ok(())
    }

    fn print_rows(&mut self) -> anyhow::Result<()> {
        say(&show::trail_rows(&self.rows).to_string())?;
        self.rows.clear();
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if self.format != TrailFormat::Table {
            return Ok(());
        }
        if !self.rows.is_empty() {
            self.print_rows()?;
        }
        let plural = if self.found == 1 { "" } else { "s" };
        say(&format!("{} record{plural}", self.found))
    }
}
