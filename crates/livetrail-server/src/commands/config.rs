//! `livetrail config`.

use std::process::ExitCode;

use crate::{
    cli::ConfigCommand,
    config::{self, Overrides},
    output::{Failure, Outcome, say},
};

/// Runs it.
pub(crate) fn run(command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Example => say(config::EXAMPLE.trim_end())?,
        ConfigCommand::Check { file } => {
            config::load(
                Some(file),
                config::variables(),
                &Overrides::from_environment(),
            )
            .map_err(|error| Failure::unusable(error.in_full()))?;
            say(&format!("{}: fine", file.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
