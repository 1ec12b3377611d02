//! `livetrail trail rotate-key`.

use std::process::ExitCode;

use super::keep::configuration;
use crate::{
    cli::TrailRotateKey,
    output::{Failure, Outcome, say},
    serve::{Role, rotate_key},
};

/// Runs it. Exit code 2: nothing was changed, and why.
pub(super) fn run(args: &TrailRotateKey) -> Outcome {
    let config = configuration(&args.keeper)?;
    let role = if args.cosigner {
        Role::Cosigner
    } else {
        Role::Signer
    };
    let rotated = rotate_key(&config, role).map_err(Failure::unusable)?;
    let done = match rotated.handed_over {
        Some(size) => format!(
            "the change is on record, and the checkpoint of {size} entries is signed with the old key and the new one"
        ),
        None => "the change that was begun before is complete".to_owned(),
    };
    say(&format!(
        "{done}.\n\nThe new verifier key, also in {}; give it to auditors and witnesses before the next start:\n\n{}\n\nThe new secret key is in {}, the \
         old one is gone from there. Keep a copy where the trail is not. The old verifier key is in {}: it counts for what was signed before, and for \
         nothing else.",
        rotated.vkey_file.display(),
        rotated.new,
        rotated.key_file.display(),
        rotated.retired_file.display(),
    ))?;
    Ok(ExitCode::SUCCESS)
}
