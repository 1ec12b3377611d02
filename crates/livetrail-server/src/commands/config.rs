//! `livetrail config`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use livetrail_trail::personal_directory;

use crate::{
    cli::ConfigCommand,
    config::{self, Config, Overrides, ServeOverrides, Span},
    output::{Failure, Outcome, complain, say},
    serve::{Certificates, StartPlan, configured_sinks, trail_settings},
};

/// Check a configuration file, with variables and flags, as `serve` would.
///
/// Reads every file with a secret that the configuration names, and connects to nothing. Without
/// FILE it checks the defaults with the variables and flags. Prints what becomes of personal data.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail config check livetrail.toml
  livetrail config check livetrail.toml --http 0.0.0.0:8080
  LIVETRAIL__LIMITS__IDLE_TIMEOUT=1m livetrail config check livetrail.toml
  livetrail serve --config livetrail.toml --check       also whether the server could start now

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

/// Checks the configuration, and whether a server could start with it now. Prints what it would do.
pub(crate) fn check_start(file: Option<&Path>, overrides: &Overrides, init: bool) -> Outcome {
    let config = check(file, overrides)?;
    let plan = StartPlan::of(&config, init).map_err(Failure::unusable)?;
    say("a start would:")?;
    for step in &plan.steps {
        say(&format!("  {step}"))?;
    }
    for hindrance in &plan.hindrances {
        complain(&format!("error: {hindrance}"));
    }
    Ok(match plan.hindrances.as_slice() {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Checks the files that `serve` would read, and prints the result.
fn check(file: Option<&Path>, overrides: &Overrides) -> Result<Config, Failure> {
    let config =
        config::load(file, config::variables(), overrides).map_err(Failure::configuration)?;
    // This reads the secrets and certificates of the sinks, and checks that this program has their
    // kinds.
    configured_sinks(&config.sink, &config.data).map_err(Failure::unusable)?;
    let clock = std::sync::Arc::new(livetrail_engine::SystemClock::new());
    Certificates::load(&config, clock).map_err(Failure::unusable)?;
    for warning in warnings(&config) {
        complain(&format!("warning: {warning}"));
    }
    let what = file.map_or_else(
        || "the defaults, with the variables and flags".to_owned(),
        |file| file.display().to_string(),
    );
    say(&format!("{what}: fine"))?;
    say(&personal_words(&config)?)?;
    Ok(config)
}

/// What becomes of personal data with this configuration.
fn personal_words(config: &Config) -> Result<String, Failure> {
    let settings = trail_settings(config).map_err(Failure::unusable)?;
    let directory = personal_directory(&settings);
    let kept = |span: Option<Duration>| match span {
        Some(span) => format!("for {}", Span(span)),
        None => "as long as their entries, or until they are erased".to_owned(),
    };
    let mut words = format!(
        "personal data: in {}, openings are kept {}",
        directory.display(),
        kept(settings.openings.default)
    );
    for (app, span) in &settings.openings.apps {
        words += &format!("; those of {app} {}", kept(*span));
    }
    for app in &settings.personal_names {
        words += &format!("; names of streams of {app} are personal");
    }
    words += match config.log.personal {
        true => "; the log has addresses and names",
        false => "; the log has no addresses and names",
    };
    Ok(words)
}

/// Warnings about settings that work and are perhaps not intended.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = config::unknown_variables(config::variables());
    warnings.extend(config::readable_secrets(config));
    warnings.extend(config::tokens_without_role(&config.api));
    warnings
}
