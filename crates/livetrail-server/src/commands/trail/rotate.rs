//! `livetrail trail rotate-key`.

use std::process::ExitCode;

use livetrail_trail::{KeyRole, rotate};

use super::keep::{Keeper, configuration};
use crate::{
    output::{Failure, Outcome, say},
    serve::trail_settings,
};

/// Give the trail a new key, on record, while the server is stopped.
///
/// The change is recorded and sealed with the old key. The checkpoint that covers it is signed with
/// both keys and kept. From then on the new key signs, and the old secret is overwritten. Anyone
/// who trusts the old key learns the new one from the trail. If the command is killed, run it
/// again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail rotate-key ./livetrail-data
  livetrail trail rotate-key /var/lib/livetrail --config /etc/livetrail.toml --cosigner

Exit codes: 0 done; 2 nothing was changed, with the reason.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    /// Change the key that cosigns checkpoints with the time, instead of the one that signs them.
    #[arg(long)]
    pub(crate) cosigner: bool,
}

/// Runs the command. Exit code 2 means that nothing was changed. The error says why.
pub(super) fn run(args: &Args) -> Outcome {
    let config = configuration(&args.keeper)?;
    let role = if args.cosigner {
        KeyRole::Cosigner
    } else {
        KeyRole::Signer
    };
    let rotated = trail_settings(&config)
        .and_then(|settings| Ok(rotate(&settings, role)?))
        .map_err(Failure::unusable)?;
    let done = match rotated.handed_over {
        Some(size) => format!(
            "the change is on record, and the checkpoint of {size} entries is signed with the old key and the new one"
        ),
        None => "the change that was begun before is complete".to_owned(),
    };
    say(&format!(
        "{done}.\n\nThe new verifier key, also in {}; give it to auditors and witnesses before the next start:\n\n{}\n\nThe new secret key is in {}. It \
         replaced the old one. Keep a copy on another machine. The old verifier key is in {}: it counts for what was signed before, and for \
         nothing else.",
        rotated.vkey_file.display(),
        rotated.new,
        rotated.key_file.display(),
        rotated.retired_file.display(),
    ))?;
    Ok(ExitCode::SUCCESS)
}
