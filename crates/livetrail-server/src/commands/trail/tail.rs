//! `livetrail trail tail`.

use std::{process::ExitCode, thread, time::Duration};

use livetrail_audit::AuditRecord;
use livetrail_trail::looked::Act;

use super::{
    filter::{FilterArgs, filter},
    looked::leave_note,
    persons::{Persons, find_names, of_principal},
    show::{self, TrailFormat},
    source::{Lines, Source, TrailPath},
};
use crate::{
    config::ConfigFile,
    output::{Failure, Outcome, complain, say},
};

/// Show the last records, and with -f the new ones. A record is shown when a checkpoint covers it,
/// within a second.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail tail ./livetrail-data
  livetrail trail tail -f ./livetrail-data --action play_denied
  livetrail trail tail -f -n 0 --format json ./livetrail-data | jq .

Entries name nobody: --principal finds a person's sessions through the vault, and needs its key. Without it, only
sessions that began in schema 1 are found, and a warning says so.

Exit codes: 0 done, also without a match or when the output is closed; 2 the trail cannot be read, or there is no such action.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) file: ConfigFile,
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

/// New records are examined in parts of at most this many. For each part with the beginning of a
/// session, the vault is asked again.
const PART: usize = 1_024;

/// Runs the command.
pub(super) fn run(args: &Args) -> Outcome {
    let mut filter = filter(&args.filter)?;
    let mut trail = Source::open(&args.trail, args.input_format)?;
    let mut persons = None;
    if let Source::Ledger(ledger) = &trail {
        leave_note(
            &ledger.directory,
            Act::Read,
            "tail",
            &format!("{:?}", args.filter),
        );
        find_names(&mut filter, &ledger.directory, &args.file)?;
        let subjects = of_principal(args.filter.principal.as_deref());
        persons = Persons::find(&mut filter, subjects, ledger, true, &args.file)?;
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
    let mut part = Vec::new();
    let mut examine = |part: &mut Vec<AuditRecord>| {
        if let Some(persons) = &persons
            && part.iter().any(has_opening)
        {
            persons.find_again(&mut filter)?;
        }
        part.drain(..)
            .filter(|record| filter.fits(record))
            .try_for_each(show)
            .map_err(Failure::from)
    };
    loop {
        thread::sleep(POLL_INTERVAL);
        trail.each(|item| {
            match item.record {
                Ok(record) => part.push(record),
                Err(error) => complain(&error),
            }
            if part.len() < PART {
                return Ok(());
            }
            examine(&mut part)
        })?;
        examine(&mut part)?;
    }
}

/// Whether the vault may have an opening of this record.
fn has_opening(record: &AuditRecord) -> bool {
    record.extra.get("personal").is_some()
}
