//! `livetrail trail query`.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use livetrail_audit::AuditRecord;
use livetrail_trail::{
    Personal,
    looked::Act,
    personal::{Shown as NamesOf, fill_in, opening_id},
};

use super::{
    change::note_disclosure,
    filter::{FilterArgs, filter},
    fleet::{self, FleetArgs},
    hidden::warn_of_hidden,
    looked::leave_note,
    persons::{PersonArgs, Persons, find_names, vault_of},
    show::{self, TrailFormat},
    source::{Lines, Source, TrailPath},
};
use crate::{
    config::ConfigFile,
    output::{Failure, Outcome, complain, say},
};

/// Show the records that match.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail query ./livetrail-data --stream cam --since 1h
  livetrail trail query ./livetrail-data --action play_denied --since 2026-11-22T14:00:00Z --until 2026-11-22T15:00:00Z
  livetrail trail query ./livetrail-data --session 0199a7… --format json
  livetrail trail query ./livetrail-data --principal alice --personal --purpose 'case 2026-17'
  livetrail trail query ./livetrail-data --peer 192.0.2.0/24 --since 1d
  livetrail trail query --fleet ./copies --vkey edge-1.vkey --vkey edge-2.vkey --stream cam --since 1h
  livetrail trail query --fleet s3://bucket/trails --vkey edge-1.vkey --vkey edge-2.vkey --action play_denied
  livetrail trail query --fleet --postgres postgres://auditor@db.example.com/trail --vkey fleet.vkey --session 0199a7… --chain

Personal fields are `-`, because entries do not have them: they are in the vault. --personal shows them, which needs
the vault's key and is on record. Persons are found through the vault, also without --personal.

Each record that is shown was proven to be in the tree that the checkpoint signs. The query index in the trail's
private part finds records among millions. It is derived data that the server and this command maintain, and it
may be removed at any time. At worst the index leaves a record out; --scan searches without it.

--fleet shows the records of several servers in the order of time, each with its origin, and says which server lags,
is silent or is absent. In a directory or a bucket each record is proven with the key of its trail. In a database the
checkpoint is verified, and each record is compared with its leaf hash; `livetrail-verify --fleet` checks the whole.
It is not on record who reads such a place.

Exit codes: 0 done, also without a match; 2 a trail cannot be read, or there is no such action.")]
pub(crate) struct Args {
    /// The server's data directory, a trail's directory, or a trail file of an earlier version.
    /// With --fleet, a place with several trails.
    #[arg(
        value_name = "PATH",
        required_unless_present = "postgres",
        conflicts_with = "postgres"
    )]
    pub(crate) trail: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// With --fleet: show the sessions that carried each matching session's media, from the edge to
    /// the origin: a viewer, the stream at its server, and so on up to the publisher.
    #[arg(long, requires = "fleet")]
    pub(crate) chain: bool,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) persons: PersonArgs,
    #[command(flatten)]
    pub(crate) file: ConfigFile,
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
/// memory. With personal fields, each note of a disclosure is for this many records.
const TABLE_ROWS: usize = 5_000;

/// Runs the command.
pub(super) fn run(args: &Args) -> Outcome {
    if args.fleet.fleet {
        return fleet::run(args);
    }
    let Some(path) = args.trail.clone() else {
        return Err(Failure::unusable(anyhow::anyhow!("no PATH is given")));
    };
    let mut filter = filter(&args.filter)?;
    let mut shown = Shown::new(args.format);
    match Source::open(&TrailPath { path }, args.input_format)? {
        Source::Ledger(ledger) => {
            let persons = &args.persons;
            let asked = format!(
                "{:?} {:?} {:?}",
                args.filter, persons.peer, persons.user_agent
            );
            leave_note(&ledger.directory, Act::Read, "query", &asked);
            let subjects = persons.subjects(args.filter.principal.as_deref());
            Persons::find(&mut filter, subjects, &ledger, !args.scan, &args.file)?;
            find_names(&mut filter, &ledger.directory, &args.file)?;
            shown.names = if persons.personal {
                Names::Shown(Box::new(Disclosure {
                    personal: vault_of(&ledger.directory, &args.file)?,
                    trail: ledger.directory.clone(),
                    purpose: persons.purpose.clone(),
                    filter: asked,
                }))
            } else {
                Names::Hidden
            };
            let mut hits = ledger.find(filter, !args.scan)?;
            for found in hits.by_ref() {
                shown.record(found.map_err(Failure::unusable)?.record)?;
            }
            shown.finish()?;
            warn_of_hidden(&hits);
        }
        mut file @ Source::File { .. } => {
            if args.persons.is_given() {
                return Err(Failure::unusable(anyhow::anyhow!(
                    "a file of lines has no vault: its records have names in clear, and --peer, --user-agent and --personal do not apply"
                )));
            }
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

/// How the personal fields of records are shown.
enum Names {
    /// As the lines of a file have them.
    AsTheyAre,
    /// Not at all.
    Hidden,
    /// Those that the vault has, on record.
    Shown(Box<Disclosure>),
}

/// What the record of a disclosure says, and where the names are.
struct Disclosure {
    personal: Personal,
    trail: PathBuf,
    purpose: String,
    filter: String,
}

/// Prints records.
struct Shown {
    format: TrailFormat,
    rows: Vec<AuditRecord>,
    found: u64,
    names: Names,
}

impl Shown {
    fn new(format: TrailFormat) -> Self {
        Self {
            format,
            rows: Vec::new(),
            found: 0,
            names: Names::AsTheyAre,
        }
    }

    fn record(&mut self, mut record: AuditRecord) -> Result<(), Failure> {
        self.found += 1;
        if let Names::Hidden = self.names {
            show::hide_names(&mut record, self.format);
        }
        let is_at_once = !matches!(self.names, Names::Shown(_));
        if self.format != TrailFormat::Table && is_at_once {
            return Ok(say(&show::line(&record, self.format)?)?);
        }
        self.rows.push(record);
        if self.rows.len() == TABLE_ROWS {
            self.print_rows()?;
        }
        Ok(())
    }

    fn print_rows(&mut self) -> Result<(), Failure> {
        self.fill_in()?;
        if self.format == TrailFormat::Table {
            say(&show::trail_rows(&self.rows).to_string())?;
        } else {
            for record in &self.rows {
                say(&show::line(record, self.format)?)?;
            }
        }
        self.rows.clear();
        Ok(())
    }

    /// Fills in the personal fields, after a note that they are shown.
    fn fill_in(&mut self) -> Result<(), Failure> {
        let Names::Shown(disclosure) = &self.names else {
            return Ok(());
        };
        let Disclosure {
            personal,
            trail,
            purpose,
            filter,
        } = disclosure.as_ref();
        let mut sessions = BTreeSet::new();
        for record in &mut self.rows {
            let shown = personal
                .with(|vault| fill_in(vault, record))
                .map_err(Failure::unusable)?;
            match shown {
                NamesOf::Filled => sessions.extend(record.session.or(opening_id(record))),
                NamesOf::Erased if self.format == TrailFormat::Table => {
                    record.principal = Some("erased".into());
                }
                NamesOf::Missing => show::hide_names(record, self.format),
                _ if record.principal.is_some() || record.peer.is_some() => {
                    sessions.extend(record.session);
                }
                _ => {}
            }
        }
        if sessions.is_empty() {
            return Ok(());
        }
        note_disclosure(trail, purpose, filter, sessions.len())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            self.print_rows()?;
        }
        if self.format != TrailFormat::Table {
            return Ok(());
        }
        let plural = if self.found == 1 { "" } else { "s" };
        Ok(say(&format!("{} record{plural}", self.found))?)
    }
}
