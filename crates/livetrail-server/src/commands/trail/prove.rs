//! `livetrail trail checkpoint` and `livetrail trail prove`: what an auditor keeps.

use std::{fs, process::ExitCode};

use anyhow::Context;

use super::source::LedgerSource;
use crate::{
    cli::{TrailCheckpoint, TrailProve},
    output::{Failure, Outcome, say},
};

/// Prints the published checkpoint: a signed note.
pub(super) fn checkpoint(args: &TrailCheckpoint) -> Outcome {
    let ledger = LedgerSource::open(&args.trail)?;
    let checkpoint = ledger.reader.checkpoint().map_err(Failure::unusable)?;
    say(checkpoint.note().encode().trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a receipt for one record: a `.tlog-proof` file.
pub(super) fn prove(args: &TrailProve) -> Outcome {
    let ledger = LedgerSource::open(&args.trail)?;
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
