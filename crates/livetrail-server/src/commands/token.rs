//! `livetrail token`.

use std::{fs, process::ExitCode};

use anyhow::Context;
use livetrail_engine::{SignedTokens, SystemClock, TokenClaims};

use crate::{
    cli::{Token, TokenIssue},
    output::{Failure, Outcome, say},
};

/// Runs it.
pub(crate) fn run(command: &Token) -> Outcome {
    let Token::Issue(issue) = command;
    let token = make(issue).map_err(Failure::unusable)?;
    say(&token)?;
    Ok(ExitCode::SUCCESS)
}

fn make(issue: &TokenIssue) -> anyhow::Result<String> {
    let key = match (&issue.key_file, &issue.key) {
        (Some(path), _) => fs::read_to_string(path)
            .with_context(|| format!("cannot read the key file {}", path.display()))?,
        (None, Some(key)) => key.clone(),
        (None, None) => anyhow::bail!("give --key-file, or the key in LIVETRAIL_TOKEN_KEY"),
    };
    // As the server reads it from `secret_file`.
    let key = key.trim_end_matches(['\r', '\n']);
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
    let tokens = SignedTokens::new(SystemClock::new()).key("command line", key.as_bytes())?;
    Ok(tokens.issue(&claims, issue.valid_for.0)?)
}
