//! `livetrail config`.

use std::{path::Path, process::ExitCode};

use crate::{
    cli::{ConfigCheck, ConfigCommand},
    config::{self, Config, Overrides},
    output::{Failure, Outcome, complain, say},
    serve::ConfiguredSinks,
};

/// Runs it.
pub(crate) fn run(command: ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Example => say(config::EXAMPLE.trim_end())?,
        ConfigCommand::Check(ConfigCheck { file, overrides }) => {
            check(file.as_deref(), &Overrides::from(overrides))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks what `serve` would read, and says so.
pub(crate) fn check(file: Option<&Path>, overrides: &Overrides) -> Result<(), Failure> {
    let config = config::load(file, config::variables(), overrides)
        .map_err(|error| Failure::unusable(error.in_full()))?;
    // Their secrets and certificates are read, and that this program was built with them is seen.
    ConfiguredSinks::of(&config.sink, &config.data).map_err(Failure::unusable)?;
    for warning in warnings(&config) {
        complain(&format!("warning: {warning}"));
    }
    let what = file.map_or_else(
        || "the defaults, with the variables and flags".to_owned(),
        |file| file.display().to_string(),
    );
    Ok(say(&format!("{what}: fine"))?)
}

/// What can be used and is perhaps not meant.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = config::unknown_variables(config::variables());
    warnings.extend(config::readable_secrets(config));
    warnings
}
