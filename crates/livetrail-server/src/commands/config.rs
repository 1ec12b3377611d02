//! `livetrail config`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    cli::ConfigCommand,
    config::{self, Config, Overrides, ServeOverrides},
    output::{Failure, Outcome, complain, say},
    serve::configured_sinks,
};

/// Check a configuration file, with variables and flags, as `serve` would.
///
/// Reads every file with a secret that the configuration names, and connects to nothing. Without
/// FILE it checks the defaults with the variables and flags.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail config check livetrail.toml
  livetrail config check livetrail.toml --http 0.0.0.0:8080
  LIVETRAIL__LIMITS__IDLE_TIMEOUT=1m livetrail config check livetrail.toml
  livetrail serve --config livetrail.toml --check       the same, with the command line of the server

Exit codes: 0 valid; 2 invalid, with the setting, its line and what is allowed.")]
pub(crate) struct CheckArgs {
    /// The configuration file.
    #[arg(value_name = "FILE", env = "LIVETRAIL_CONFIG")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: ServeOverrides,
}

/// Runs the command.
pub(crate) fn run(command: ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Example => say(config::EXAMPLE.trim_end())?,
        ConfigCommand::Check(CheckArgs { file, overrides }) => {
            check(file.as_deref(), &Overrides::from(overrides))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the files that `serve` would read, and prints the result.
pub(crate) fn check(file: Option<&Path>, overrides: &Overrides) -> Result<(), Failure> {
    let config =
        config::load(file, config::variables(), overrides).map_err(Failure::configuration)?;
    // This reads the secrets and certificates of the sinks, and checks that this program has their
    // kinds.
    configured_sinks(&config.sink, &config.data).map_err(Failure::unusable)?;
    for warning in warnings(&config) {
        complain(&format!("warning: {warning}"));
    }
    let what = file.map_or_else(
        || "the defaults, with the variables and flags".to_owned(),
        |file| file.display().to_string(),
    );
    Ok(say(&format!("{what}: fine"))?)
}

/// Warnings about settings that work and are perhaps not intended.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = config::unknown_variables(config::variables());
    warnings.extend(config::readable_secrets(config));
    warnings.extend(config::tokens_without_role(&config.api));
    warnings
}
