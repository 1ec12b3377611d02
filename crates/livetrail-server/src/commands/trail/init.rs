//! `livetrail trail init`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use livetrail_trail::{Created, Predecessor, Settings};

use crate::output::{Failure, Outcome, say};

/// Create the trail of a server: its keys, and an empty log with a signed checkpoint. Once, before
/// the first start.
///
/// The trail is created in DIR/trail. Its verifier keys are printed and written to DIR/trail.vkey.
/// Its secret keys are written to DIR/trail/private/keys, unless other files are given. An existing
/// key file is used as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The origin is the log's name in every checkpoint and in its keys. Witnesses and auditors distinguish logs
by it, so no other log may have it. Without --origin it is this host's name and a random number, such as
media-1.example.com/livetrail/3f9c2a17. It cannot be changed later.

Examples:
  livetrail trail init /var/lib/livetrail
  livetrail trail init /var/lib/livetrail --origin example.com/studio-1
  livetrail trail init /var/lib/new --after newest.checkpoint
  livetrail trail init /var/lib/livetrail --signer-key-file /etc/livetrail/signer --cosigner-key-file /etc/livetrail/cosigner

Exit codes: 0 created; 2 there is a trail already, or it could not be created.")]
pub(crate) struct Args {
    /// The server's data directory; created if it does not exist.
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The log's name: without a scheme, such as `example.com/studio-1`.
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// The last checkpoint of a lost log that this one continues. It becomes the first entry. The
    /// origin must be new.
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) after: Option<PathBuf>,
    /// Another file for the key that signs checkpoints. Set `trail.signer_key_file` in the
    /// server's configuration as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) signer_key_file: Option<PathBuf>,
    /// Another file for the key that cosigns them with the time (`trail.cosigner_key_file`).
    #[arg(long, value_name = "FILE")]
    pub(crate) cosigner_key_file: Option<PathBuf>,
}

/// Runs the command. Exit code 2 means that a trail exists already, or that it cannot be created.
pub(super) fn run(args: &Args) -> Outcome {
    let mut settings = Settings::new(&args.data);
    settings.origin.clone_from(&args.origin);
    settings.signer_key_file.clone_from(&args.signer_key_file);
    settings
        .cosigner_key_file
        .clone_from(&args.cosigner_key_file);
    let before = match &args.after {
        Some(file) => {
            Some(Predecessor::read(file, settings.origin.as_deref()).map_err(Failure::unusable)?)
        }
        None => None,
    };
    let created = livetrail_trail::create(&settings).map_err(Failure::unusable)?;
    if let Some(before) = before {
        before.record_in(&created)?;
    }
    say(&created_words(&created, &args.data))?;
    Ok(ExitCode::SUCCESS)
}

/// Text about the new trail, and about the next steps.
pub(crate) fn created_words(created: &Created, data: &Path) -> String {
    let [signer, cosigner] = &created.key_files;
    format!(
        "made the trail of {} in {}\n\nIts verifier keys are in {} as well. Give them to everyone who checks the trail:\n\n{}\n\
         Its secret keys are in {} and {}.\nKeep a copy of both on another machine: without them the trail cannot be continued, and anyone \
         who has them can continue it.\n\nNext: livetrail serve --data {}",
        created.origin,
        created.directory.display(),
        created.vkey_file.display(),
        created.vkeys,
        signer.display(),
        cosigner.display(),
        data.display(),
    )
}
