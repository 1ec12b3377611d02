//! `livetrail trail init`.

use std::process::ExitCode;

use crate::{
    cli::TrailInit,
    config,
    output::{Failure, Outcome, say},
    serve::{Predecessor, create_trail, created_words},
};

/// Runs it. Exit code 2: there is a trail already, or it cannot be made.
pub(super) fn run(args: &TrailInit) -> Outcome {
    let settings = config::Trail {
        origin: args.origin.clone(),
        signer_key_file: args.signer_key_file.clone(),
        cosigner_key_file: args.cosigner_key_file.clone(),
        ..config::Trail::default()
    };
    let before = match &args.after {
        Some(file) => {
            Some(Predecessor::read(file, settings.origin.as_deref()).map_err(Failure::unusable)?)
        }
        None => None,
    };
    let created = create_trail(&args.data, &settings).map_err(Failure::unusable)?;
    if let Some(before) = before {
        before.record_in(&created)?;
    }
    say(&created_words(&created, &args.data))?;
    Ok(ExitCode::SUCCESS)
}
