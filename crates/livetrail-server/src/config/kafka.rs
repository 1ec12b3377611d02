//! `[sink.kafka]`: a partition of a topic.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::load::beside;
use super::{Secret, TlsFiles};

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
        let Self {
            password_file,
            ca_file,
            certificate_file,
            key_file,
            ..
        } = self;
        beside(base, [password_file, ca_file, certificate_file, key_file]);
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let (password, tls) = (self.password(), self.tls());
        let problem = if self.brokers.is_empty() {
            "needs at least one of brokers, as \"HOST:PORT\"".to_owned()
        } else if self.user.is_some() != password.is_given() {
            let keys = password.keys();
            format!("needs user and one of {keys}, or none of them")
        } else if let Some(error) = password.check().err().filter(|_| password.is_given()) {
            error.to_string()
        } else if let Some(problem) = tls.wrong() {
            problem.to_owned()
        } else if self.tls == Some(false) && tls.are_given() {
            "has tls = false and files that only TLS makes use of".to_owned()
        } else {
            return None;
        };
        Some(("kafka", problem))
    }

    /// The password of the user, if there is one.
    pub(crate) fn password(&self) -> Secret<'_> {
        Secret::of("password")
            .file(self.password_file.as_deref())
            .variable(self.password_env.as_deref())
    }

    /// Its files.
    pub(crate) fn tls(&self) -> TlsFiles<'_> {
        let (chain, key) = (&self.certificate_file, &self.key_file);
        TlsFiles::new(self.ca_file.as_ref(), chain.as_ref(), key.as_ref())
    }
}
