//! `livetrail trail verify`: the check of `livetrail-verify` on a server's data directory.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use livetrail_verify::{
    Directory, KeyFile, MAX_POLICY_BYTES, Options, Policy, Report, verify, verify_file,
};

use livetrail_engine::{Clock, SystemClock};
use livetrail_trail::TrailPlace;

use super::source::TrailPath;
use crate::{
    commands::progress,
    output::{Failure, Outcome, say},
};

/// Verify a trail as an outsider would: signatures, every entry and hash, every session.
/// `livetrail-verify` makes the same checks.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --vkey and --policy the keys are those of trail.vkey in the data directory. That finds damage, but does
not convince others. An auditor who does not trust the keeper of the trail brings their own copy of the key, an
older checkpoint (from `livetrail trail checkpoint`), and their own build of livetrail-verify.

Examples:
  livetrail trail verify ./livetrail-data
  livetrail trail verify ./livetrail-data --vkey from-the-contract.vkey --against 2025-11-01.checkpoint --strict
  livetrail trail verify ./livetrail-data --json

Exit codes: 0 sound; 1 not sound, with what, where and from which entry on; 2 could not be checked, with the reason.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    /// A key to trust, or a file with one on each line.
    #[arg(long, value_name = "KEY-OR-FILE")]
    pub(crate) vkey: Vec<String>,
    /// A policy file (C2SP tlog-policy): keys of the log, witnesses, groups, quorum.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// An older checkpoint that the trail must contain. May be given several times.
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) against: Vec<PathBuf>,
    /// Treat silence, such as missing heartbeats, as a failure.
    #[arg(long)]
    pub(crate) strict: bool,
    /// When this copy was made. Silence at its end is judged by this time instead of now.
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A key file, a policy or a checkpoint has at most this many bytes.
const MAX_SMALL_BYTES: u64 = 1 << 20;

/// The format of the bar on a terminal.
const BAR: &str = "{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} left";

/// Runs the command. The exit codes are those of `livetrail-verify`: 0, 1 and 2.
pub(super) fn run(args: &Args) -> Outcome {
    let report = check(args).map_err(Failure::unusable)?;
    if args.json {
        say(&serde_json::to_string_pretty(&report)?)?;
    } else {
        say(report.to_string().trim_end())?;
    }
    Ok(ExitCode::from(report.verdict.exit_code()))
}

fn check(args: &Args) -> anyhow::Result<Report> {
    let place = TrailPlace::of(&args.trail.path);
    let now_ms = SystemClock::new().unix_ms();
    let now_ms = match &args.as_of {
        Some(text) => crate::time::parse(text, now_ms).map_err(anyhow::Error::msg)?,
        None => now_ms,
    };
    let mut options = Options {
        policy: policy(args)?,
        against: older(&args.against)?,
        strict: args.strict,
        now_ms: Some(now_ms),
        ..Options::default()
    };
    let bar = progress(Some(0), BAR);
    let mut show = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let report = match &place {
        TrailPlace::File(path) => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()));
            let file = BufReader::with_capacity(1 << 20, file?);
            verify_file(file, &path.display().to_string(), &options, &mut show)?
        }
        TrailPlace::Ledger { directory, vkeys } => {
            let beside = vkeys.as_deref().filter(|_| options.policy.is_empty());
            if let Some(file) = beside {
                add_keys(&mut options.policy, &small(file)?)
                    .with_context(|| file.display().to_string())?;
                let retired = file.with_extension("retired");
                if retired.is_file() {
                    add_keys(&mut options.policy, &small(&retired)?)
                        .with_context(|| retired.display().to_string())?;
                }
            }
            let mut report = verify(&Directory::new(directory), &options, &mut show)?;
            report.notes.extend(beside.map(|file| {
                format!(
                    "the keys are those of {}, which anyone who can write to the trail can replace: an auditor brings their own (--vkey)",
                    file.display()
                )
            }));
            report
        }
    };
    bar.finish_and_clear();
    Ok(report)
}

fn policy(args: &Args) -> anyhow::Result<Policy> {
    let mut policy = match &args.policy {
        Some(path) => {
            let text = small(path)?;
            ensure!(
                text.len() <= MAX_POLICY_BYTES,
                "{} has more than {MAX_POLICY_BYTES} bytes",
                path.display()
            );
            Policy::parse(&text).with_context(|| path.display().to_string())?
        }
        None => Policy::default(),
    };
    let mut text = String::new();
    for key in &args.vkey {
        let is_file = Path::new(key).exists() || !key.contains('+');
        let given = if is_file {
            small(Path::new(key))?
        } else {
            key.clone()
        };
        text += &given;
        text.push('\n');
    }
    add_keys(&mut policy, &text)?;
    Ok(policy)
}

fn add_keys(policy: &mut Policy, text: &str) -> anyhow::Result<()> {
    let mut keys = KeyFile::default();
    keys.read(text)?;
    Ok(policy.add_file(keys)?)
}

fn older(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let read = |path: &PathBuf| Ok((path.display().to_string(), small(path)?.into_bytes()));
    paths.iter().map(read).collect()
}

fn small(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SMALL_BYTES + 1).read_to_string(&mut text))
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        text.len() as u64 <= MAX_SMALL_BYTES,
        "{} has more than {MAX_SMALL_BYTES} bytes: neither keys nor a checkpoint",
        path.display()
    );
    Ok(text)
}
