//! `livetrail trail subject` and `livetrail trail opening`: what an operator shows to a person or
//! to an auditor.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use livetrail_index::{Filter, Hit, SessionSet};
use livetrail_record::{Opening, Uuid};
use livetrail_trail::{
    Personal,
    personal::{fill_in, opening_of},
    vkey_file,
};
use livetrail_vault::{Query, Subject};

use super::{
    change::note_disclosure,
    erase::name_or_input,
    keep::Keeper,
    persons::{open_in_clear, sessions_of, vault_of},
    show,
    source::{LedgerSource, TrailPath},
};
use crate::output::{Failure, Outcome, say};

/// Collect what a person may ask for: all records of a principal, their personal fields, and
/// receipts that prove both. This is on record. The server may be running.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail subject ./livetrail-data --principal alice --export ./for-alice --purpose 2026-21
  livetrail-verify ./livetrail-data/trail --vkey ./for-alice/trail.vkey --opening ./for-alice/openings.jsonl
  livetrail-verify --proof ./for-alice/entries/17.tlog-proof --record ./for-alice/entries/17.json --vkey ./for-alice/trail.vkey

The new directory has records.txt for people, openings.jsonl with the personal fields of each record, and for each
record its bytes and a receipt in entries. What was erased or has expired is not there.

Exit codes: 0 done; 1 there is nothing about this principal; 2 nothing was shown, with the reason.")]
pub(crate) struct SubjectArgs {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The principal: exactly the name by which the server knew the person. `-` reads it from
    /// standard input.
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: String,
    /// Write to this new directory. Only its owner can read it.
    #[arg(long, value_name = "DIR")]
    pub(crate) export: PathBuf,
    /// Why, for the record, such as the number of the request. It must name nobody.
    #[arg(long, value_name = "TEXT", default_value = "request of a data subject")]
    pub(crate) purpose: String,
}

/// Write the personal fields of a session, or only some of them, as a file that
/// `livetrail-verify --opening` checks. This is on record. The server may be running.
///
/// With --field the file has only these fields: nobody learns the others from it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail opening ./livetrail-data --session 019aa5c5-8000-7000-8000-000000000001 -o opening.jsonl
  livetrail trail opening ./livetrail-data --session 019aa5c5-8000-7000-8000-000000000001 --field principal -o principal.jsonl
  livetrail-verify ./livetrail-data/trail --vkey ./livetrail-data/trail.vkey --opening principal.jsonl

Exit codes: 0 done; 1 there is no opening: it was erased, has expired, or never existed; 2 nothing was shown, with the reason.")]
pub(crate) struct OpeningArgs {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// The session.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Uuid,
    /// Only this field, such as `principal`. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Vec<String>,
    /// Write to this new file, which only its owner can read, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Why, for the record. It must name nobody.
    #[arg(long, value_name = "TEXT", default_value = "not stated")]
    pub(crate) purpose: String,
}

/// Collects the records of a principal.
pub(super) fn subject(args: &SubjectArgs) -> Outcome {
    let (ledger, personal) = open(&args.keeper)?;
    let name = name_or_input(&args.principal)?;
    let asked = format!("subject {name}");
    let mut sessions = sessions_of(&personal, &Query::of(Subject::Principal(name.clone())))?;
    let count = sessions.len();
    let roots: Vec<_> = sessions.iter().copied().collect();
    let parts = personal.with(|vault| vault.parts_of(&roots));
    sessions.extend(parts.map_err(Failure::unusable)?);
    sessions.extend(open_in_clear(&ledger, &name, true)?);
    let mut filter = Filter::default();
    filter.sessions = Some(SessionSet::new(sessions).map_err(Failure::unusable)?);
    // Entries of schema 1 have the name in clear.
    filter.principal = Some(name);
    let mut hits = ledger.find(filter, true)?;
    let mut hits = hits.by_ref().peekable();
    if hits.peek().is_none() {
        say(
            "nothing is known of this principal: there are no sessions of it, or their openings were erased or have expired",
        )?;
        return Ok(ExitCode::from(1));
    }
    note_disclosure(&ledger.directory, &args.purpose, &asked, count)?;
    let new = New::create(&args.export)?;
    let (mut records, mut openings, mut written) = (Vec::new(), Vec::new(), 0_u64);
    let mut of_sessions = BTreeSet::new();
    for hit in hits {
        let hit = hit.map_err(Failure::unusable)?;
        written = written.saturating_add(1);
        of_sessions.extend(hit.record.session);
        new.entry(&ledger, &hit)?;
        let mut record = hit.record.clone();
        let found = personal.with(|vault| {
            fill_in(vault, &mut record)?;
            opening_of(vault, &hit.record)
        });
        let opening = found.map_err(Failure::unusable)?;
        openings.extend(
            opening
                .map(|opening| line_of(hit.index, &opening, &[]))
                .into_iter()
                .flatten(),
        );
        records.push(show::line(&record, show::TrailFormat::Table)?);
    }
    new.file("records.txt", &lines(&records))?;
    new.file("openings.jsonl", &lines(&openings))?;
    new.keys(&ledger.directory)?;
    say(&format!(
        "{written} records of {} sessions, with receipts, are in {}; {} of them have personal fields",
        of_sessions.len(),
        args.export.display(),
        openings.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the openings of a session.
pub(super) fn opening(args: &OpeningArgs) -> Outcome {
    let (ledger, personal) = open(&args.keeper)?;
    let mut filter = Filter::default();
    filter.session = Some(args.session.to_string());
    let mut found = Vec::new();
    for hit in ledger.find(filter, true)?.by_ref() {
        let Hit { index, record, .. } = hit.map_err(Failure::unusable)?;
        let opening = personal.with(|vault| opening_of(vault, &record));
        found.extend(
            opening
                .map_err(Failure::unusable)?
                .map(|opening| (index, opening)),
        );
    }
    let lines_of = found.iter();
    let written: Vec<String> = lines_of
        .filter_map(|(index, opening)| line_of(*index, opening, &args.field))
        .collect();
    if written.is_empty() {
        let id = args.session.into_bytes();
        let is_erased = personal.with(|vault| vault.is_erased(&id));
        say(
            match (is_erased.map_err(Failure::unusable)?, found.is_empty()) {
                (true, _) => "the personal fields of this session were erased or have expired",
                (false, true) => "the vault has no opening of this session",
                (false, false) => "the opening of this session has no such field",
            },
        )?;
        return Ok(ExitCode::from(1));
    }
    let filter = format!("opening {} {:?}", args.session, args.field);
    note_disclosure(&ledger.directory, &args.purpose, &filter, 1)?;
    match &args.output {
        Some(file) => write_new(file, &lines(&written))?,
        None => {
            for line in written {
                say(&line)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(keeper: &Keeper) -> Result<(LedgerSource, Personal), Failure> {
    let ledger = LedgerSource::open(&TrailPath {
        path: keeper.data.clone(),
    })?;
    if !ledger.directory.join("private").is_dir() {
        return Err(Failure::unusable(anyhow::anyhow!(
            "{} is a copy of a trail: a copy has no personal data",
            ledger.directory.display()
        )));
    }
    let personal = vault_of(&ledger.directory, &keeper.file)?;
    Ok((ledger, personal))
}

/// A line of a file for `livetrail-verify --opening`: all of an opening, or some fields. `None` if
/// it has none of them.
fn line_of(index: u64, opening: &Opening, fields: &[String]) -> Option<String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_default();
    if fields.is_empty() {
        let opening = text(opening.to_json());
        return Some(format!("{{\"index\":{index},\"opening\":{opening}}}"));
    }
    let fields: BTreeSet<&String> = fields.iter().collect();
    let shown = fields.iter().filter_map(|name| opening.disclose(name));
    let shown: Vec<String> = shown.map(|one| text(one.to_json())).collect();
    (!shown.is_empty()).then(|| {
        format!(
            "{{\"disclosures\":[{}],\"index\":{index}}}",
            shown.join(",")
        )
    })
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A new directory for its owner alone.
struct New<'a>(&'a Path);

impl<'a> New<'a> {
    fn create(directory: &'a Path) -> Result<Self, Failure> {
        let mut builder = DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(directory)
            .and_then(|()| builder.create(directory.join("entries")))
            .with_context(|| format!("cannot create {}", directory.display()))
            .map_err(Failure::unusable)?;
        Ok(Self(directory))
    }

    /// The bytes of an entry, and a receipt for it.
    fn entry(&self, ledger: &LedgerSource, hit: &Hit) -> Result<(), Failure> {
        let proof = ledger.reader.inclusion_proof(hit.index);
        let proof = proof.map_err(Failure::unusable)?;
        let name = |end: &str| format!("entries/{}.{end}", hit.index);
        self.bytes(&name("json"), &hit.entry)?;
        self.file(&name("tlog-proof"), &proof)
    }

    /// The verifier keys, as the operator gives them to auditors.
    fn keys(&self, trail: &Path) -> Result<(), Failure> {
        let Some(data) = trail.parent() else {
            return Ok(());
        };
        match fs::read(vkey_file(data)) {
            Ok(keys) => self.bytes("trail.vkey", &keys),
            Err(_) => Ok(()),
        }
    }

    fn file(&self, name: &str, text: &str) -> Result<(), Failure> {
        self.bytes(name, text.as_bytes())
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let file = self.0.join(name);
        fs::write(&file, bytes)
            .with_context(|| format!("cannot write {}", file.display()))
            .map_err(Failure::from)
    }
}

/// Writes a new file for its owner alone.
fn write_new(file: &Path, text: &str) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(file)
        .and_then(|mut new| new.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
        .map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use livetrail_record::Disclosure;

    use super::*;

    #[test]
    fn a_line_has_the_whole_opening_or_only_the_fields_that_were_asked_for() {
        let session = Uuid::from_u128(7);
        let mut opening = Opening::new(session, [9; 16]);
        opening.insert("principal", "alice").unwrap();
        opening.insert("peer", "192.0.2.7:1").unwrap();
        let whole = line_of(17, &opening, &[]).unwrap();
        assert!(
            whole.starts_with("{\"index\":17,\"opening\":{\"peer\":"),
            "{whole}"
        );
        let line = line_of(17, &opening, &["principal".into(), "detail".into()]).unwrap();
        assert!(
            line.contains("alice") && !line.contains("192.0.2.7"),
            "{line}"
        );
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        let one = serde_json::to_vec(&json["disclosures"][0]).unwrap();
        let disclosure = Disclosure::parse(&one).unwrap();
        assert!(disclosure.verify(&opening.commitment(), session));
        assert_eq!(line_of(17, &opening, &["detail".into()]), None);
    }
}
