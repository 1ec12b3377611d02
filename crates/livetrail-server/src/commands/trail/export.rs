//! `livetrail trail export`: records for other programs, or a copy of everything published in the
//! trail.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use livetrail_index::Hit;
use livetrail_ledger::{LedgerError, MAX_WITNESSES, Reader};
use livetrail_record::encode_line;
use livetrail_tlog::{Checkpoint, Note, TilePath, leaf_hash, tree_bundles, tree_tiles};
use livetrail_trail::{looked::Act, retired_file, retired_text, vkey_file, write_vkeys};
use serde_json::{json, value::RawValue};

use super::{
    filter::{FilterArgs, filter},
    hidden::warn_of_hidden,
    looked::leave_note,
    persons::{Persons, find_names, of_principal},
    source::{LedgerSource, TrailPath},
};
use crate::{
    commands::progress,
    config::ConfigFile,
    output::{Failure, Outcome, complain, write_all},
};

/// Write records for other programs, or a copy of the whole trail that others can verify.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail export ./livetrail-data --stream cam --since 2026-11-01 -o cam.jsonl
  livetrail trail export ./livetrail-data --from 1000 --to 2000 --format json
  livetrail trail export ./livetrail-data --site ./for-the-auditor && livetrail-verify ./for-the-auditor --vkey trail.vkey

Entries name nobody: --principal finds a person's sessions through the vault, and needs its key. Without it, only
sessions that began in schema 1 are found, and a warning says so.

Exit codes: 0 done; 1 it could not be written; 2 the trail cannot be read.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// The first entry.
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    pub(crate) from: u64,
    /// The entry after the last.
    #[arg(long, value_name = "INDEX")]
    pub(crate) to: Option<u64>,
    /// One record per line: as it was hashed, with its index and hash, or separated by tabs.
    #[arg(long, value_name = "FORMAT", default_value = "entries")]
    pub(crate) format: ExportFormat,
    /// Write to this new file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Instead, copy everything that is published, with the verifier keys, into this new directory.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "to", "format", "output", "stream", "session", "action", "principal", "since", "until"])]
    pub(crate) site: Option<PathBuf>,
}

/// How records are exported, one a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// The entry's bytes: canonical JSON. The SHA-256 of a zero byte and the line without its LF is
    /// the leaf hash.
    Entries,
    /// A JSON object with `index`, `leaf_hash` and `record`.
    Json,
    /// Five columns with tabs between them, as the file sink writes them.
    Tsv,
}

/// The format of the bar on a terminal.
const BAR: &str = "{bar:40} {human_pos} of {human_len} files, {eta} left";

/// Runs the command.
pub(super) fn run(args: &Args) -> Outcome {
    let ledger = LedgerSource::open(&args.trail)?;
    let (what, filter) = match args.site {
        Some(_) => ("site", String::new()),
        None => (
            "export",
            format!("{:?} {} {:?}", args.filter, args.from, args.to),
        ),
    };
    leave_note(&ledger.directory, Act::Exported, what, &filter);
    match &args.site {
        Some(directory) => site(&ledger, directory).map_err(Failure::unusable)?,
        None => records(&ledger, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn records(ledger: &LedgerSource, args: &Args) -> Result<(), Failure> {
    let mut filter = filter(&args.filter)?;
    let subjects = of_principal(args.filter.principal.as_deref());
    Persons::find(&mut filter, subjects, ledger, true, &args.file)?;
    find_names(&mut filter, &ledger.directory, &args.file)?;
    filter.entries = Some(args.from..args.to.unwrap_or(u64::MAX));
    let mut out = Out::new(args.output.as_deref())?;
    let mut hits = ledger.find(filter, true)?;
    for found in hits.by_ref() {
        let found = found.map_err(Failure::unusable)?;
        out.line(&line(&found, args.format)?)?;
    }
    out.finish()?;
    warn_of_hidden(&hits);
    Ok(())
}

fn line(found: &Hit, format: ExportFormat) -> anyhow::Result<Vec<u8>> {
    let Hit {
        index,
        entry,
        record,
        ..
    } = found;
    Ok(match format {
        ExportFormat::Entries => entry.clone(),
        ExportFormat::Tsv => encode_line(record).trim_end_matches('\n').into(),
        ExportFormat::Json => {
            // The bytes of the record stay unchanged.
            let record: &RawValue = serde_json::from_slice(entry)?;
            let leaf = leaf_hash(entry).to_string();
            let mut text = json!({ "index": index, "leaf_hash": leaf }).to_string();
            text.pop();
            text += &format!(",\"record\":{record}}}");
            text.into_bytes()
        }
    })
}

/// The destination: a file, or standard output.
enum Out {
    File(BufWriter<File>, String),
    Standard(BufWriter<io::StdoutLock<'static>>),
}

impl Out {
    fn new(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = file.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::Standard(BufWriter::new(io::stdout().lock())));
        };
        let shown = path.display().to_string();
        let file = File::create_new(path).with_context(|| format!("cannot make {shown}"))?;
        Ok(Self::File(BufWriter::new(file), shown))
    }

    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Standard(out) => write_all(out, &[line, b"\n"]),
            Self::File(out, shown) => out
                .write_all(line)
                .and_then(|()| out.write_all(b"\n"))
                .with_context(|| format!("cannot write {shown}")),
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Standard(mut out) => write_all(&mut out, &[]),
            Self::File(mut out, shown) => out
                .flush()
                .and_then(|()| out.get_ref().sync_all())
                .with_context(|| format!("cannot write {shown}")),
        }
    }
}

fn site(ledger: &LedgerSource, to: &Path) -> anyhow::Result<()> {
    let files = progress(None, BAR);
    let size = copy_site(&ledger.reader, to, &mut |done, total| {
        files.set_length(total);
        files.set_position(done);
    })?;
    files.finish_and_clear();
    complain(&format!(
        "{size} entries in {to}; check them with `livetrail-verify {to} --vkey KEY`",
        to = to.display()
    ));
    Ok(())
}

/// Copies everything that one checkpoint covers into a new directory: a tlog-tiles site with its
/// own verifier keys. The checkpoint is written last, so that an incomplete copy is not a trail.
/// Returns the number of entries. `progress` gets the number of files that are written, and of all
/// files.
///
/// # Errors
/// The directory is not empty or cannot be written, or the trail cannot be read.
pub(crate) fn copy_site(
    reader: &Reader,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> anyhow::Result<u64> {
    let is_used = to
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    ensure!(!is_used, "{} is not empty", to.display());
    let checkpoint = reader.checkpoint()?;
    let size = checkpoint.head().size;
    let files = || {
        let tiles = tree_tiles(size).map(TilePath::Hashes);
        tiles.chain(tree_bundles(size).map(TilePath::Entries))
    };
    let total = u64::try_from(files().count()).unwrap_or(u64::MAX);
    for (done, file) in (1..).zip(files()) {
        match reader.file(file) {
            // The copy has its hashes, and the record that says that it was removed.
            Err(LedgerError::Pruned { .. }) => {}
            bytes => put(to, &file.to_string(), &bytes?)?,
        }
        progress(done, total);
    }
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for key in reader.retired_keys()? {
        if let Some(note) = reader.hand_over(key.id())?
            && covers(&note, size)
        {
            put(to, &format!("handover/{}", key.id()), &note)?;
        }
    }
    for witnesses in 1..=MAX_WITNESSES {
        match reader.cosigned(witnesses)? {
            Some(note) if covers(&note, size) => {
                put(to, &format!("cosigned/{witnesses}"), &note)?;
            }
            _ => break,
        }
    }
    let keys = reader.verifier_keys().iter();
    let vkeys: String = keys.map(|key| format!("{key}\n")).collect();
    write_vkeys(&vkey_file(to), &vkeys)?;
    let retired = retired_text(reader)?;
    if !retired.is_empty() {
        write_vkeys(&retired_file(to), &retired)?;
    }
    put(to, "checkpoint", checkpoint.note().encode().as_bytes())?;
    Ok(size)
}

/// Whether the tree of this size contains the checkpoint. During the copy a key may be changed.
fn covers(note: &[u8], size: u64) -> bool {
    let note = Note::parse(note).ok();
    let checkpoint = note.and_then(|note| Checkpoint::parse(note.text()).ok());
    checkpoint.is_some_and(|checkpoint| checkpoint.head().size <= size)
}

fn put(to: &Path, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let file = to.join(path);
    fs::create_dir_all(file.parent().unwrap_or(to))
        .and_then(|()| fs::write(&file, bytes))
        .with_context(|| format!("cannot write {}", file.display()))
}
