//! Errors of the configuration. Each says where the error is, and what is allowed.

use std::{io, path::PathBuf};

use super::place::Place;

/// A configuration that cannot be used. The process ends with exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A setting is wrong.
    #[error("{place}{problem}")]
    Setting {
        /// File and line, or variable, with the key.
        place: Place,
        /// The error, and what is allowed.
        problem: String,
    },
    /// The file with a secret cannot be read.
    #[error("{place}cannot read {path}")]
    SecretFile {
        /// File and line, with the key.
        place: Place,
        /// The secret's file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

impl ConfigError {
    /// Where the error is, without any value.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Read { path, .. } => format!("{} cannot be read", path.display()),
            Self::Setting { place, .. } | Self::SecretFile { place, .. } => {
                place.to_string().trim_end_matches(": ").to_owned()
            }
        }
    }

    /// The whole text: the error, its causes, and the line of the file below.
    pub(crate) fn in_full(self) -> anyhow::Error {
        let line = self.line().map(|line| format!("\n  | {line}"));
        let error = anyhow::Error::new(self);
        match line {
            Some(line) => anyhow::anyhow!("{error:#}{line}"),
            None => error,
        }
    }

    /// The wrong line of the file, if there is one. A line that may hold a secret is not shown. A
    /// line with an unknown key is not shown either, because it may be the misspelt key of a
    /// secret.
    fn line(&self) -> Option<&str> {
        match self {
            Self::Setting { problem, .. } if problem.contains("unknown field") => None,
            Self::Setting { place, .. } | Self::SecretFile { place, .. } => place
                .line
                .as_deref()
                .map(str::trim)
                .filter(|line| !may_hold_a_secret(line)),
            Self::Read { .. } => None,
        }
    }
}

/// Whether a line of the file may hold a secret. The line may have any mistake in it. It may hold
/// one if its name says so, or if it looks like an address with a password.
pub(super) fn may_hold_a_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let names = [
        "secret",
        "password",
        "passphrase",
        "token",
        "headers",
        "authorization",
    ];
    let name = line.split('=').next().unwrap_or_default().trim();
    let elsewhere = name.ends_with("_file") || name.ends_with("_env");
    // A header has its secret in `value`.
    line.contains('@')
        || name.starts_with("value") && !elsewhere
        || !elsewhere && names.iter().any(|name| line.contains(name))
}
