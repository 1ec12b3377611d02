//! `livetrail token`.

use std::process::ExitCode;

use livetrail_engine::{SignedTokens, SystemClock, TokenClaims};

use crate::{
    cli::{Token, TokenIssue},
    config::{Secret, SecretText},
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
