//! `livetrail trail prune`, `livetrail trail hold` and `livetrail trail confirm-clock`: which
//! entries are kept, and for how long.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use livetrail_engine::{Clock, SystemClock};
use livetrail_ledger::{Cursor, Reader, RealStore, SharedStore, set_hold};
use livetrail_trail::{
    Maintenance, Wanted, ask_to_confirm, explain, open_sessions, plan, trail_directory, trail_ms,
};

use crate::{
    config::{self, Config, ConfigFile, Overrides, Span},
    output::{Failure, Outcome, say},
    serve::trail_settings,
};

/// Remove old entries, on record, while the server is stopped. A running server does it by
/// `entries` of `[trail.retention]`.
///
/// Entries are removed in bundles of 256. Their hashes and all checkpoints stay, so proofs and the
/// rest of the trail can still be verified. Entries that a required sink, a legal hold or an open
/// session needs stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail prune ./livetrail-data --older-than 400d --dry-run
  livetrail trail prune ./livetrail-data --older-than 400d
  livetrail trail prune ./livetrail-data --below 1000000

Exit codes: 0 done, or nothing to remove; 1 started, and the next start will finish it; 2 nothing was removed, with the reason.")]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// Remove what was recorded longer ago than this, such as `400d`. A clock that went back makes
    /// nothing older.
    #[arg(long, value_name = "SPAN", required_unless_present = "below")]
    pub(crate) older_than: Option<String>,
    /// Remove what comes before this entry.
    #[arg(long, value_name = "INDEX", conflicts_with = "older_than")]
    pub(crate) below: Option<u64>,
    /// Only print what would be removed.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Set, lift or list legal holds: entries that must not be removed. The server may be running.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail hold ./livetrail-data
  livetrail trail hold ./livetrail-data case-2026-17 --from 104000
  livetrail trail hold ./livetrail-data case-2026-17 --release

Exit codes: 0 done; 2 nothing was changed, with the reason.")]
pub(crate) struct HoldArgs {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The hold's name: 1 to 64 letters, digits, `-` and `_`. Without a name all holds are listed,
    /// and the sinks that retention waits for.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The first entry that must stay, together with all later ones.
    #[arg(
        long,
        value_name = "INDEX",
        requires = "name",
        conflicts_with = "release"
    )]
    pub(crate) from: Option<u64>,
    /// Lift the hold.
    #[arg(long, requires = "name")]
    pub(crate) release: bool,
}

/// Which trail, for what changes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Keeper {
    /// The server's data directory.
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) file: ConfigFile,
}

/// The server's configuration, with this data directory.
pub(super) fn configuration(keeper: &Keeper) -> Result<Config, Failure> {
    let overrides = Overrides {
        data: Some(keeper.data.clone()),
        ..Overrides::default()
    };
    config::load(
        keeper.file.config.as_deref(),
        config::variables(),
        &overrides,
    )
    .map_err(Failure::configuration)
}

/// Removes entries by age or number, on record. Exit code 2 means that nothing was removed. The
/// error says why.
pub(super) fn prune(args: &PruneArgs) -> Outcome {
    let config = configuration(&args.keeper)?;
    let (wanted, policy) = wanted(args, &config)?;
    let reader = reader(&config)?;
    if args.dry_run {
        let open = open_sessions(Some(&trail_directory(&config.data)), &reader)
            .map_err(Failure::unusable)?;
        let plan = plan(&reader, &open, wanted).map_err(Failure::unusable)?;
        say(&match plan.entries() {
            0 => "would remove nothing".to_owned(),
            entries => format!(
                "would remove {entries} entries: {} to {}",
                plan.first,
                plan.below.saturating_sub(1)
            ),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = trail_settings(&config).map_err(Failure::unusable)?;
    let maintenance =
        Maintenance::begin(&settings, "entries are pruned").map_err(Failure::unusable)?;
    let pruned = maintenance.prune(wanted, &policy);
    maintenance.end()?;
    let (entries, below) = pruned?;
    if entries == 0 {
        say(
            "nothing was removed: nothing is old enough that no replica, hold or open session needs",
        )?;
    } else {
        say(&format!(
            "removed {entries} entries; the trail has entries from {below} on, and the hashes of all"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The entries to remove, and the policy in words for the record.
fn wanted(args: &PruneArgs, config: &Config) -> Result<(Wanted, String), Failure> {
    let refuse = |words: String| Failure::unusable(anyhow::anyhow!(words));
    if let Some(below) = args.below {
        return Ok((
            Wanted::Below(below),
            format!("below {below}, by an operator"),
        ));
    }
    let text = args.older_than.as_deref().unwrap_or_default();
    let Span(age) = text.parse().map_err(refuse)?;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let directory = trail_directory(&config.data);
    let store: SharedStore = Arc::new(RealStore::new(&directory));
    let witnesses = config.trail.witness.iter();
    let witnesses: Vec<_> = witnesses.filter_map(|w| w.witness().ok()).collect();
    let now_ms = trail_ms(&directory, &store, &witnesses).map_err(Failure::unusable)?;
    let before_ms = now_ms.saturating_sub(age_ms);
    Ok((
        Wanted::Before(before_ms),
        format!("older than {text}, by an operator"),
    ))
}

/// Sets, lifts or lists legal holds. Exit code 2 means that nothing was changed. The error says
/// why.
pub(super) fn hold(args: &HoldArgs) -> Outcome {
    let config = configuration(&args.keeper)?;
    let reader = reader(&config)?;
    let Some(name) = &args.name else {
        return list(&reader);
    };
    let from = match (args.from, args.release) {
        (Some(from), false) => Some(from),
        _ => None,
    };
    if from.is_none() && !args.release {
        return Err(Failure::unusable(anyhow::anyhow!(
            "say from which entry on with --from, or --release"
        )));
    }
    let store: SharedStore = Arc::new(RealStore::new(trail_directory(&config.data)));
    let settings = trail_settings(&config).map_err(Failure::unusable)?;
    let maintenance = match Maintenance::begin(&settings, "a legal hold is changed") {
        Ok(maintenance) => maintenance,
        // A server has opened the trail. The hold is in force at once, because the server reads the
        // holds before it removes anything. The server also records it.
        Err(error) if error.is_in_use() => {
            set_hold(store.as_ref(), name, from).map_err(Failure::unusable)?;
            say(&format!(
                "{}; the running server records it",
                describe_hold(name, from)
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(Failure::unusable(error)),
    };
    // A hold is in force before the record of it. Lifting a hold is recorded before the hold ends.
    let change = || set_hold(store.as_ref(), name, from).map_err(Failure::unusable);
    let record = || maintenance.record_hold(name, from);
    let changed = match from {
        Some(_) => change().and_then(|()| Ok(record()?)),
        None => {
            let there = reader.cursors().map_err(Failure::unusable)?;
            let is_it = |(known, cursor): &(String, Cursor)| {
                known == name && matches!(cursor, Cursor::Hold(_))
            };
            if there.iter().any(is_it) {
                record()
                    .map_err(Failure::from)
                    .and_then(|at| change().map(|()| at))
            } else {
                Err(Failure::unusable(anyhow::anyhow!(
                    "there is no hold {name:?}"
                )))
            }
        }
    };
    maintenance.end()?;
    changed?;
    say(&describe_hold(name, from))?;
    let first = reader.first_index().map_err(Failure::unusable)?;
    if from.is_some_and(|from| from < first) {
        say(&format!("entries below {first} were pruned before"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Confirms the clock. Exit code 2 means that the confirmation does not count. The error says why.
pub(super) fn confirm_clock(keeper: &Keeper) -> Outcome {
    let config = configuration(keeper)?;
    let directory = trail_directory(&config.data);
    let now_ms = SystemClock::new().unix_ms();
    let settings = trail_settings(&config).map_err(Failure::unusable)?;
    let maintenance = match Maintenance::begin(&settings, "the clock is confirmed") {
        Ok(maintenance) => maintenance,
        Err(error) if error.is_in_use() => {
            ask_to_confirm(&directory, now_ms).map_err(Failure::unusable)?;
            say("the clock is confirmed; the running server records it within a few seconds")?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(Failure::unusable(error)),
    };
    let confirmed = maintenance.confirm_clock(now_ms);
    maintenance.end()?;
    confirmed.map_err(Failure::unusable)?;
    say("the clock is confirmed, on record")?;
    Ok(ExitCode::SUCCESS)
}

fn list(reader: &Reader) -> Outcome {
    let mut any = false;
    for (name, cursor) in reader.cursors().map_err(Failure::unusable)? {
        let line = match cursor {
            Cursor::Hold(from) => format!("{name}\thold\tfrom entry {from}"),
            Cursor::Required(next) => {
                format!("{name}\treplica, required\tneeds entries from {next}")
            }
            Cursor::Optional(next) => format!("{name}\treplica, optional\tis at entry {next}"),
        };
        say(&line)?;
        any = true;
    }
    if !any {
        say("no holds, and no replicas")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe_hold(name: &str, from: Option<u64>) -> String {
    match from {
        Some(from) => format!("the hold {name} keeps all entries from {from} on"),
        None => format!("the hold {name} is lifted"),
    }
}

pub(super) fn reader(config: &Config) -> Result<Reader, Failure> {
    let directory = trail_directory(&config.data);
    let reader = Reader::open(Arc::new(RealStore::new(&directory)));
    reader.map_err(|error| Failure::unusable(explain(error, &directory)))
}
