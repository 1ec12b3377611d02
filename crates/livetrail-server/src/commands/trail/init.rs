//! `livetrail trail init`.

use std::process::ExitCode;

use crate::{
    cli::TrailInit,
    config,
    output::{Failure, Outcome},
    serve::{create_trail, tell_created},
};

/// Runs it. Exit code 2: there is a trail already, or it cannot be made.
pub(super) fn run(args: &TrailInit) -> Outcome {
    let settings = config::Trail {
        origin: args.origin.clone(),
        signer_key_file: args.signer_key_file.clone(),
        cosigner_key_file: args.cosigner_key_file.clone(),
        ..config::Trail::default()
    };
    let created = create_trail(&args.data, &settings).map_err(Failure::unusable)?;
    tell_created(&created, &args.data)?;
    Ok(ExitCode::SUCCESS)
}
