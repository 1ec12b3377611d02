//! `livetrail trail checkpoint` and `livetrail trail prove`: the evidence that an auditor keeps.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use livetrail_trail::looked::Act;

use super::{
    looked::leave_note,
    source::{LedgerSource, TrailPath},
};
use crate::output::{Failure, Outcome, say};

/// Print the published checkpoint: the size and root of the trail, signed. Keep one from time to
/// time, on another machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail checkpoint ./livetrail-data > 2026-11-01.checkpoint

Exit codes: 0 done; 2 the trail cannot be read.")]
pub(crate) struct CheckpointArgs {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
}

/// Print a receipt that a record is in the trail: a .tlog-proof file that is complete by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail prove ./livetrail-data 1041 -o 1041.tlog-proof --record 1041.json
  livetrail-verify --proof 1041.tlog-proof --record 1041.json --vkey trail.vkey

Exit codes: 0 done; 2 the trail cannot be read, or no checkpoint covers the entry yet.")]
pub(crate) struct ProveArgs {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    /// The record's index in the trail, from 0; `trail export --format json` shows it.
    #[arg(value_name = "INDEX")]
    pub(crate) index: u64,
    /// Write the receipt to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the record itself to this file, byte for byte as it was hashed.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

/// Prints the published checkpoint: a signed note.
pub(super) fn checkpoint(args: &CheckpointArgs) -> Outcome {
    let ledger = LedgerSource::open(&args.trail)?;
    let checkpoint = ledger.reader.checkpoint().map_err(Failure::unusable)?;
    say(checkpoint.note().encode().trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a receipt for one record: a `.tlog-proof` file.
pub(super) fn prove(args: &ProveArgs) -> Outcome {
    let ledger = LedgerSource::open(&args.trail)?;
    leave_note(
        &ledger.directory,
        Act::Exported,
        "prove",
        &args.index.to_string(),
    );
    let entry = ledger.reader.entry(args.index).map_err(Failure::unusable)?;
    let proof = ledger.reader.inclusion_proof(args.index);
    let proof = proof.map_err(Failure::unusable)?;
    if let Some(file) = &args.record {
        fs::write(file, &entry).with_context(|| format!("cannot write {}", file.display()))?;
    }
    match &args.output {
        Some(file) => {
            fs::write(file, &proof).with_context(|| format!("cannot write {}", file.display()))?;
        }
        None => say(proof.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}
