//! `livetrail trail prune` and `livetrail trail hold`: what is kept, and for how long.

use std::{process::ExitCode, sync::Arc};

use livetrail_engine::{Clock, SystemClock};
use livetrail_ledger::{Cursor, LedgerError, Reader, RealStore, SharedStore, set_hold};

use crate::{
    cli::{TrailHold, TrailKeeper, TrailPrune},
    config::{self, Config, Overrides, Span},
    output::{Failure, Outcome, say},
    owner::explain,
    serve::{
        Maintenance, Wanted, ask_to_confirm, confirmed_record, hold_record, keep_clock,
        open_sessions, plan, trail_directory, trail_ms,
    },
};

/// The server's configuration, with this data directory.
pub(super) fn configuration(keeper: &TrailKeeper) -> Result<Config, Failure> {
    let overrides = Overrides {
        data: Some(keeper.data.clone()),
        ..Overrides::default()
    };
    config::load(keeper.config.as_deref(), config::variables(), &overrides)
        .map_err(|error| Failure::unusable(error.in_full()))
}

/// Removes entries by age or number, on record. Exit code 2: nothing was removed, and why.
pub(super) fn prune(args: &TrailPrune) -> Outcome {
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
    let maintenance =
        Maintenance::begin(&config, "entries are pruned").map_err(Failure::unusable)?;
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

/// What is to go, and the policy in words for the record.
fn wanted(args: &TrailPrune, config: &Config) -> Result<(Wanted, String), Failure> {
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

/// Sets, lifts or lists legal holds. Exit code 2: nothing was changed, and why.
pub(super) fn hold(args: &TrailHold) -> Outcome {
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
    let maintenance = match Maintenance::begin(&config, "a legal hold is changed") {
        Ok(maintenance) => maintenance,
        // A server has it. The hold is in force at once: it looks before it removes anything, and puts it on record itself.
        Err(error) if is_locked(&error) => {
            set_hold(store.as_ref(), name, from).map_err(Failure::unusable)?;
            say(&format!(
                "{}; the running server records it",
                told(name, from)
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(Failure::unusable(error)),
    };
    // A hold is in force before it is on record, and on record as lifted before it is not.
    let change = || set_hold(store.as_ref(), name, from).map_err(Failure::unusable);
    let record = || maintenance.record(hold_record(name, from)?);
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
    say(&told(name, from))?;
    let first = reader.first_index().map_err(Failure::unusable)?;
    if from.is_some_and(|from| from < first) {
        say(&format!("entries below {first} were pruned before"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Confirms the clock. Exit code 2: it does not count, and why.
pub(super) fn confirm_clock(keeper: &TrailKeeper) -> Outcome {
    let config = configuration(keeper)?;
    let directory = trail_directory(&config.data);
    let now_ms = SystemClock::new().unix_ms();
    let maintenance = match Maintenance::begin(&config, "the clock is confirmed") {
        Ok(maintenance) => maintenance,
        Err(error) if is_locked(&error) => {
            ask_to_confirm(&directory, now_ms).map_err(Failure::unusable)?;
            say("the clock is confirmed; the running server records it within a few seconds")?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(Failure::unusable(error)),
    };
    let recorded = confirmed_record(now_ms).and_then(|record| maintenance.record(record));
    let kept = recorded.and_then(|_| keep_clock(&directory, now_ms));
    maintenance.end()?;
    kept.map_err(Failure::unusable)?;
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

fn told(name: &str, from: Option<u64>) -> String {
    match from {
        Some(from) => format!("the hold {name} keeps all entries from {from} on"),
        None => format!("the hold {name} is lifted"),
    }
}

fn reader(config: &Config) -> Result<Reader, Failure> {
    let directory = trail_directory(&config.data);
    let reader = Reader::open(Arc::new(RealStore::new(&directory)));
    reader.map_err(|error| Failure::unusable(explain(error, &directory)))
}

fn is_locked(error: &anyhow::Error) -> bool {
    let locked = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(LedgerError::Locked { .. }))
    };
    error.chain().any(locked)
}
