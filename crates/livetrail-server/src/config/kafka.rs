//! `[sink.kafka]`: a partition of a topic.

use std::path::{Path, PathBuf};

use serde::Deserialize;

#[cfg(feature = "kafka")]
use super::SecretText;

/// A topic, and how to get in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kafka {
    pub(crate) brokers: Vec<String>,
    pub(crate) topic: String,
    #[serde(default)]
    pub(crate) partition: Option<u16>,
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) password_env: Option<String>,
    #[serde(default)]
    pub(crate) sasl: Sasl,
    #[serde(default)]
    pub(crate) tls: Option<bool>,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) key_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) accept: Vec<Accept>,
}

/// How the user logs in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Sasl {
    #[serde(rename = "plain")]
    Plain,
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    #[default]
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// What of a topic is taken although records could be lost by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Accept {
    Compaction,
    Retention,
    OneReplica,
    UncleanElection,
    UnknownSettings,
}

impl Kafka {
    pub(super) fn resolve(&mut self, base: &Path) {
        for file in [
            &mut self.password_file,
            &mut self.ca_file,
            &mut self.certificate_file,
            &mut self.key_file,
        ] {
            *file = file.take().map(|file| base.join(file));
        }
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let password = self.password_file.is_some() || self.password_env.is_some();
        let problem = if self.brokers.is_empty() {
            "needs at least one of brokers, as \"HOST:PORT\""
        } else if self.password_file.is_some() && self.password_env.is_some() {
            "needs one of password_file and password_env, not both"
        } else if self.user.is_some() != password {
            "needs user and one of password_file and password_env, or none of them"
        } else if self.certificate_file.is_some() != self.key_file.is_some() {
            "needs both of certificate_file and key_file, or none"
        } else if self.tls == Some(false)
            && (self.ca_file.is_some() || self.certificate_file.is_some())
        {
            "has tls = false and files that only TLS makes use of"
        } else {
            return None;
        };
        Some(("kafka", problem.to_owned()))
    }

    /// The password, from where it is kept; `None` when nobody logs in.
    ///
    /// # Errors
    /// The file or the variable is not there.
    #[cfg(feature = "kafka")]
    pub(crate) fn password(&self) -> anyhow::Result<Option<SecretText>> {
        if let Some(file) = &self.password_file {
            return secret_in(file).map(Some);
        }
        let Some(name) = &self.password_env else {
            return Ok(None);
        };
        match std::env::var(name) {
            Ok(password) => Ok(Some(SecretText::new(password))),
            Err(_) => anyhow::bail!("the variable {name} is not set, or not text"),
        }
    }
}

/// The password in a file, without white space around it.
///
/// # Errors
/// It is not there, or not text.
#[cfg(feature = "kafka")]
pub(crate) fn secret_in(file: &Path) -> anyhow::Result<SecretText> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        anyhow::anyhow!("cannot read the password in {}: {error}", file.display())
    })?;
    Ok(SecretText::new(text.trim()))
}
