//! `livetrail token`.

use std::{path::PathBuf, process::ExitCode};

use livetrail_engine::{SignedTokens, SystemClock, TokenClaims};

use crate::{
    cli::Token,
    config::{GrantName, Secret, SecretText, Span},
    output::{Failure, Outcome, say},
};

/// Make a signed token (JWT, HS256) for a server that has the same key under `[[auth.token_key]]`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail token issue --key-file tokens-2026.txt --grant play --stream cam --valid-for 8h --subject alice
  LIVETRAIL_TOKEN_KEY=… livetrail token issue --valid-for 1h

Exit codes: 0 the token is on standard output; 2 the key cannot be read or is shorter than 32 bytes.")]
pub(crate) struct Args {
    /// File with the signing key, at least 32 bytes.
    #[arg(long, value_name = "FILE", required_unless_present = "key")]
    pub(crate) key_file: Option<PathBuf>,
    /// The signing key itself.
    #[arg(
        long,
        value_name = "SECRET",
        env = "LIVETRAIL_TOKEN_KEY",
        hide_env_values = true
    )]
    pub(crate) key: Option<String>,
    /// The holder of the token; goes on record.
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    /// Valid for this application alone.
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Valid for this stream alone.
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<String>,
    /// What the token grants.
    #[arg(long, value_name = "GRANT", default_value = "both")]
    pub(crate) grant: GrantName,
    /// How long the token is valid, such as `8h`.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub(crate) valid_for: Span,
}

/// Runs the command.
pub(crate) fn run(command: &Token) -> Outcome {
    let Token::Issue(issue) = command;
    let token = make(issue).map_err(Failure::unusable)?;
    say(&token)?;
    Ok(ExitCode::SUCCESS)
}

fn make(issue: &Args) -> anyhow::Result<String> {
    let key = match (&issue.key_file, &issue.key) {
        (Some(path), _) => Secret::of("key").file(Some(path)).read()?,
        (None, Some(key)) => SecretText::new(key.trim_end_matches(['\r', '\n'])),
        (None, None) => anyhow::bail!("give --key-file, or the key in LIVETRAIL_TOKEN_KEY"),
    };
    let mut claims = TokenClaims::new().grant(issue.grant.into());
    if let Some(subject) = &issue.subject {
        claims = claims.subject(subject);
    }
    if let Some(app) = &issue.app {
        claims = claims.app(app);
    }
    if let Some(stream) = &issue.stream {
        claims = claims.stream(stream);
    }
    let tokens =
        SignedTokens::new(SystemClock::new()).key("command line", key.expose().as_bytes())?;
    Ok(tokens.issue(&claims, issue.valid_for.0)?)
}
