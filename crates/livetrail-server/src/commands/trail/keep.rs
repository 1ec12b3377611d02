//! `livetrail trail prune`, `livetrail trail hold` and `livetrail trail confirm-clock`: which
//! entries are kept, and for how long.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use livetrail_engine::{Clock, SystemClock};
use livetrail_ledger::{Cursor, Reader, RealStore, SharedStore, set_hold};
use livetrail_record::Uuid;
use livetrail_trail::{
    Maintenance, Personal, Wanted, ask_to_confirm, change_hold, explain,
    looked::notes,
    open_sessions,
    personal::{Answered, Asked, HoldOn},
    plan, trail_directory, trail_ms,
};
use livetrail_vault::HoldKind;

use super::{
    change::{change, say_erased},
    erase::name_or_input,
};
use crate::{
    config::{self, Config, ConfigFile, Overrides, Span},
    output::{Failure, Outcome, printable, say},
    serve::trail_settings,
    time,
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

/// Set, lift or list legal holds: entries that must not be removed, and personal data that must not
/// be erased. The server may be running.
///
/// A hold on a stream, on sessions, on a principal or on a time keeps their openings, and all
/// entries from the first of them on. It also covers sessions that come later, and the record of it
/// lists them. Erasures wait for it, and run when it is released.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail hold ./livetrail-data
  livetrail trail hold ./livetrail-data case-2026-17 --from 104000
  livetrail trail hold ./livetrail-data case-2026-18 --principal alice
  livetrail trail hold ./livetrail-data case-2026-19 --stream live/cam
  livetrail trail hold ./livetrail-data case-2026-20 --since 2026-11-01 --until 2026-11-08
  livetrail trail hold ./livetrail-data case-2026-17 --release

Exit codes: 0 done; 2 nothing was changed, with the reason.")]
pub(crate) struct HoldArgs {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The hold's name: 1 to 64 letters, digits, `-` and `_`. It is on record for ever, so it must
    /// not be the name of a person. Without a name all holds are listed, and the sinks that
    /// retention waits for.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The first entry that must stay, together with all later ones.
    #[arg(
        long,
        value_name = "INDEX",
        requires = "name",
        conflicts_with_all = ["release", "stream", "session", "principal", "since", "until"]
    )]
    pub(crate) from: Option<u64>,
    /// Keep the openings of this stream: its application and name, such as `live/cam`.
    #[arg(long, value_name = "APP/STREAM", requires = "name", conflicts_with_all = ["release", "session", "principal", "since", "until"])]
    pub(crate) stream: Option<String>,
    /// Keep the openings of this session. May be given several times.
    #[arg(long, value_name = "ID", requires = "name", conflicts_with_all = ["release", "principal", "since", "until"])]
    pub(crate) session: Vec<Uuid>,
    /// Keep the openings of this principal: exactly the name by which the server knew the person.
    /// `-` reads it from standard input.
    #[arg(long, value_name = "NAME", requires = "name", conflicts_with_all = ["release", "since", "until"])]
    pub(crate) principal: Option<String>,
    /// Keep the openings of sessions that began from this time on: RFC 3339, a date, or a time span
    /// before now (`1h`).
    #[arg(long, value_name = "TIME", requires_all = ["name", "until"], conflicts_with = "release")]
    pub(crate) since: Option<String>,
    /// The end of that time.
    #[arg(
        long,
        value_name = "TIME",
        requires = "since",
        conflicts_with = "release"
    )]
    pub(crate) until: Option<String>,
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
    if let Some(below) = args.below {
        return Ok((
            Wanted::Below(below),
            format!("below {below}, by an operator"),
        ));
    }
    let text = args.older_than.as_deref().unwrap_or_default();
    Ok((
        Wanted::Before(time_before(config, text)?),
        format!("older than {text}, by an operator"),
    ))
}

/// The moment that is this span before the trail's time, in milliseconds since 1970.
pub(super) fn time_before(config: &Config, span: &str) -> Result<u64, Failure> {
    let refuse = |words: String| Failure::unusable(anyhow::anyhow!(words));
    let Span(age) = span.parse().map_err(refuse)?;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let directory = trail_directory(&config.data);
    let store: SharedStore = Arc::new(RealStore::new(&directory));
    let witnesses = config.trail.witness.iter();
    let witnesses: Vec<_> = witnesses.filter_map(|w| w.witness().ok()).collect();
    let now_ms = trail_ms(&directory, &store, &witnesses).map_err(Failure::unusable)?;
    Ok(now_ms.saturating_sub(age_ms))
}

/// Sets, lifts or lists legal holds. Exit code 2 means that nothing was changed. The error says
/// why.
pub(super) fn hold(args: &HoldArgs) -> Outcome {
    let config = configuration(&args.keeper)?;
    let reader = reader(&config)?;
    let Some(name) = &args.name else {
        return list(&config, &reader);
    };
    if let Some(on) = hold_on(args)? {
        let (name, by) = (name.clone(), notes::local_user());
        return hold_openings(&config, Asked::Hold { name, on, by });
    }
    if args.release && has_openings(&config, name) {
        let (name, by) = (name.clone(), notes::local_user());
        return hold_openings(&config, Asked::Lift { name, by });
    }
    let from = match (args.from, args.release) {
        (Some(from), false) => Some(from),
        _ => None,
    };
    if from.is_none() && !args.release {
        return Err(Failure::unusable(anyhow::anyhow!(
            "say what to hold: --from, --stream, --session, --principal, or --since and --until; or --release"
        )));
    }
    let store: SharedStore = Arc::new(RealStore::new(trail_directory(&config.data)));
    let settings = trail_settings(&config).map_err(Failure::unusable)?;
    let maintenance = match Maintenance::begin(&settings, "a legal hold is changed") {
        Ok(maintenance) => maintenance,
        // A server has opened the trail. The hold is in force at once, because the server reads the
        // holds before it removes anything. The server also records it.
        Err(error) if error.is_in_use() => {
            let directory = trail_directory(&config.data);
            change_hold(&directory, store.as_ref(), name, from).map_err(Failure::unusable)?;
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

/// What to hold, if it is not entries alone.
fn hold_on(args: &HoldArgs) -> Result<Option<HoldOn>, Failure> {
    let refuse = |words: String| Failure::unusable(anyhow::anyhow!(words));
    if let Some(stream) = &args.stream {
        let (app, name) = stream.split_once('/').ok_or_else(|| {
            refuse(format!(
                "--stream {}: expected the application and the stream, such as live/cam",
                printable(stream)
            ))
        })?;
        let (app, name) = (app.to_owned(), name.to_owned());
        return Ok(Some(HoldOn::Stream { app, name }));
    }
    if let Some(name) = &args.principal {
        return Ok(Some(HoldOn::Principal(name_or_input(name)?)));
    }
    if !args.session.is_empty() {
        let sessions = args.session.iter().map(|id| id.into_bytes());
        return Ok(Some(HoldOn::Sessions(sessions.collect())));
    }
    let (Some(since), Some(until)) = (&args.since, &args.until) else {
        return Ok(None);
    };
    let now_ms = SystemClock::new().unix_ms();
    let time = |text: &str| time::parse(text, now_ms).map_err(refuse);
    Ok(Some(HoldOn::Times {
        from_ms: time(since)?,
        until_ms: time(until)?,
    }))
}

/// Whether a hold keeps openings. Without a vault, no hold does.
fn has_openings(config: &Config, name: &str) -> bool {
    kinds(config).iter().any(|(held, _)| held == name)
}

/// The holds on openings.
fn kinds(config: &Config) -> Vec<(String, HoldKind)> {
    let Ok(settings) = trail_settings(config) else {
        return Vec::new();
    };
    let Ok(personal) = Personal::read_only(&settings) else {
        return Vec::new();
    };
    let kinds = personal.with(|vault| {
        let names = vault.holds().into_iter();
        let kinds = names.filter_map(|name| Some((name.to_owned(), vault.hold_kind(name)?)));
        Ok(kinds.collect())
    });
    kinds.unwrap_or_default()
}

/// Sets or lifts a hold on openings.
fn hold_openings(config: &Config, asked: Asked) -> Outcome {
    let settings = trail_settings(config).map_err(Failure::unusable)?;
    match change(&settings, "a legal hold is changed", &asked)? {
        Answered::Held(report) => say(&format!(
            "the hold {} keeps the openings of {} sessions, those of later ones, and all entries from {} on",
            report.hold, report.sessions, report.from
        ))?,
        Answered::Lifted(reports) => {
            say("the hold is lifted, on record")?;
            for report in reports {
                say_erased(&report)?;
            }
        }
        _ => {
            return Err(Failure::unusable(anyhow::anyhow!(
                "the server gave an answer to another question"
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

const fn kind_words(kind: HoldKind) -> &'static str {
    match kind {
        HoldKind::Sessions => ", and the openings of the listed sessions",
        HoldKind::Principal => ", and the openings of a principal",
        HoldKind::Application => ", and the openings of an application",
        HoldKind::Stream => ", and the openings of a stream",
        HoldKind::Times => ", and the openings of sessions of a time",
        _ => ", and all openings",
    }
}

fn list(config: &Config, reader: &Reader) -> Outcome {
    let mut any = false;
    let kinds = kinds(config);
    for (name, cursor) in reader.cursors().map_err(Failure::unusable)? {
        let kind = kinds.iter().find(|(held, _)| *held == name);
        let openings = kind.map_or("", |(_, kind)| kind_words(*kind));
        let line = match cursor {
            Cursor::Hold(from) => format!("{name}\thold\tfrom entry {from}{openings}"),
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
