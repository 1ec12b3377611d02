//! `livetrail trail review`: a person states that they reviewed a part of the trail.

use std::process::ExitCode;

use livetrail_trail::{
    Maintenance,
    looked::{
        MOST_NOTE_BYTES,
        notes::{self, Done},
    },
    trail_directory,
};

use super::{
    keep::{Keeper, configuration, reader},
    looked::note,
};
use crate::{
    operator::{Reviewer, reviewed},
    output::{Failure, Outcome, say},
    serve::trail_settings,
};

/// State, on record, that you reviewed entries of the trail. The server may be running.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail review ./livetrail-data --note 'week 48: nothing unusual'
  livetrail trail review ./livetrail-data --from 1000 --to 2000 --note 'case 2026-17'

The record has the number of the local user, and the note.

Exit codes: 0 done; 2 nothing was recorded, with the reason.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The first entry that was reviewed. The default is the first that is kept.
    #[arg(long, value_name = "INDEX")]
    pub(crate) from: Option<u64>,
    /// The entry after the last. The default is the end of what is published.
    #[arg(long, value_name = "INDEX")]
    pub(crate) to: Option<u64>,
    /// What was found, in at most 1,024 bytes.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: String,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Outcome {
    let refuse = |words: String| Failure::unusable(anyhow::anyhow!(words));
    let config = configuration(&args.keeper)?;
    let reader = reader(&config)?;
    let published = reader.checkpoint().map_err(Failure::unusable)?.head().size;
    let kept = reader.first_index().map_err(Failure::unusable)?;
    let (from, to) = (args.from.unwrap_or(kept), args.to.unwrap_or(published));
    if from >= to || to > published {
        return Err(refuse(format!(
            "there are no entries {from} to {to}: the trail has 0 to {published}, without the last"
        )));
    }
    let bytes = args.note.len();
    if bytes == 0 || bytes > MOST_NOTE_BYTES {
        return Err(refuse(format!(
            "the note has {bytes} bytes; allowed are 1 to {MOST_NOTE_BYTES}"
        )));
    }
    let (first, last) = (from, to - 1);
    let said = format!("entries {first} to {last} are reviewed");
    let settings = trail_settings(&config).map_err(Failure::unusable)?;
    match Maintenance::begin(&settings, "entries are reviewed") {
        Ok(maintenance) => {
            let by = Reviewer::Local(notes::local_user());
            let recorded = maintenance.record(reviewed(by, (first, last), args.note.clone()));
            maintenance.end()?;
            recorded?;
            say(&format!("{said}, on record"))?;
        }
        Err(error) if error.is_in_use() => {
            let done = Done::Reviewed {
                first,
                last,
                note: args.note.clone(),
            };
            let left = notes::leave(&trail_directory(&config.data), &note(done));
            left.map_err(Failure::unusable)?;
            say(&format!(
                "{said}; the running server records it within a few seconds"
            ))?;
        }
        Err(error) => return Err(Failure::unusable(error)),
    }
    Ok(ExitCode::SUCCESS)
}
