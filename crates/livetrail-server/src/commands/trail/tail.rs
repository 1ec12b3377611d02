//! `livetrail trail tail`.

use std::{process::ExitCode, thread, time::Duration};

use livetrail_audit::AuditRecord;
use livetrail_trail::looked::Act;

use super::{
    filter::{FilterArgs, filter},
    looked::leave_note,
    show::{self, TrailFormat},
    source::{Lines, Source, TrailPath},
};
use crate::output::{Outcome, complain, say};

/// Show the last records, and with -f the new ones. A record is shown when a checkpoint covers it,
/// within a second.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail tail ./livetrail-data
  livetrail trail tail -f ./livetrail-data --action play_denied
  livetrail trail tail -f -n 0 --format json ./livetrail-data | jq .

Exit codes: 0 done, also without a match or when the output is closed; 2 the trail cannot be read, or there is no such action.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Wait for new records, until Ctrl-C.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the last matching records to show.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) lines: usize,
    /// Short lines for people, one JSON object per line, or tab-separated lines.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: TrailFormat,
    /// How the lines of a file are read.
    #[arg(long, value_name = "FORMAT", default_value = "livetrail")]
    pub(crate) input_format: Lines,
}

/// A new record is shown at most this long after its publication.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The maximum number of records that are kept in memory for `-n`.
const MAX_LINES: usize = 100_000;

/// Runs the command.
pub(super) fn run(args: &Args) -> Outcome {
    let filter = filter(&args.filter)?;
    let mut trail = Source::open(&args.trail, args.input_format)?;
    if let Source::Ledger(ledger) = &trail {
        leave_note(
            &ledger.directory,
            Act::Read,
            "tail",
            &format!("{:?}", args.filter),
        );
    }
    let wanted = args.lines.min(MAX_LINES);
    let is_ledger = matches!(trail, Source::Ledger(_));
    let show = |mut record: AuditRecord| {
        if is_ledger {
            show::hide_names(&mut record, args.format);
        }
        say(&show::line(&record, args.format)?)
    };
    for record in trail.last(wanted, &filter)? {
        show(record)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        thread::sleep(POLL_INTERVAL);
        trail.each(|item| {
            match item.record {
                Ok(record) if filter.fits(&record) => show(record)?,
                Ok(_) => {}
                Err(error) => complain(&error),
            }
            Ok(())
        })?;
    }
}
