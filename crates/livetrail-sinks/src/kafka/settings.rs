//! `[sink.kafka]`.

use std::path::{Path, PathBuf};

use livetrail_replica::PersonalMode;
use livetrail_settings::{Secret, beside};
use serde::Deserialize;

use crate::settings::{Personal, Settings};

with_tls_files! {
    /// A partition of a topic, and how to log in.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[non_exhaustive]
    pub struct Kafka {
        /// The brokers to ask first, each as `HOST:PORT`.
        pub brokers: Vec<String>,
        /// The name of the topic.
        pub topic: String,
        /// The compacted topic for openings. `None` means the topic's name with `-openings`.
        /// Without effect unless the sink keeps openings.
        #[serde(default)]
        pub openings_topic: Option<String>,
        /// The partition. `None` means partition 0.
        #[serde(default)]
        pub partition: Option<u16>,
        /// The user who logs in. `None` means no login.
        #[serde(default)]
        pub user: Option<String>,
        /// The file with the user's password.
        #[serde(default)]
        pub password_file: Option<PathBuf>,
        /// The environment variable with the user's password.
        #[serde(default)]
        pub password_env: Option<String>,
        /// How the user logs in.
        #[serde(default)]
        pub sasl: SaslMechanism,
        /// Whether TLS is used. `None` means that it is used if any setting of TLS is given.
        #[serde(default)]
        pub tls: Option<bool>,
        ..tls_files,
        /// Weaknesses that are accepted, although the topic can lose records by them.
        #[serde(default)]
        pub accept: Vec<Weakness>,
    }
}

/// How a user is logged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// The client sends the password itself: over TLS only, unless the brokers are on this machine.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM with SHA-256 (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[default]
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// A property of a topic by which it can lose records. The sink refuses a topic with one, unless
/// the settings accept it by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Weakness {
    /// `cleanup.policy` is not just `delete`: the topic keeps only the newest of the records with
    /// the same key. `compaction`.
    Compaction,
    /// `retention.ms` or `retention.bytes` is not -1: the topic removes old records. `retention`.
    Retention,
    /// `acks=all` may mean one broker: a single replica, or `min.insync.replicas` below 2.
    /// `one-replica`.
    OneReplica,
    /// `unclean.leader.election.enable`: a replica that is behind may become the leader. Then the
    /// topic loses the records that this replica does not have. `unclean-election`.
    UncleanElection,
    /// `max.compaction.lag.ms` of the topic of openings is above 7 days, or the broker does not
    /// report it: what is erased may stay there for as long as the broker likes. `slow-erasure`.
    SlowErasure,
    /// The broker does not report the settings. Not for the topic of openings. `unknown-settings`.
    UnknownSettings,
}

impl Kafka {
    /// The name of the topic for openings.
    pub(crate) fn openings_topic(&self) -> String {
        let other = || format!("{}-openings", self.topic);
        self.openings_topic.clone().unwrap_or_else(other)
    }

    /// The password of the user, if there is one.
    pub(crate) fn password(&self) -> Secret<'_> {
        Secret::of("password")
            .file(self.password_file.as_deref())
            .variable(self.password_env.as_deref())
    }
}

impl Settings for Kafka {
    fn resolve(&mut self, base: &Path) {
        beside(base, [&mut self.password_file]);
        self.resolve_tls(base);
    }

    fn problem(&self) -> Option<String> {
        let (password, tls) = (self.password(), self.tls());
        if self.brokers.is_empty() {
            Some("needs at least one of brokers, as \"HOST:PORT\"".to_owned())
        } else if self.user.is_some() != password.is_given() {
            let keys = password.keys();
            Some(format!("needs user and one of {keys}, or none of them"))
        } else if let Some(error) = password.check().err().filter(|_| password.is_given()) {
            Some(error.to_string())
        } else if let Some(problem) = tls.wrong() {
            Some(problem.to_owned())
        } else if self.tls == Some(false) && tls.are_given() {
            Some("has tls = false and files that only TLS makes use of".to_owned())
        } else if self.openings_topic() == self.topic {
            Some(
                "has openings_topic equal to topic: openings need a compacted topic of their own"
                    .to_owned(),
            )
        } else {
            None
        }
    }

    fn personal(&self, asked: Personal, _accept_unerasable: bool) -> Result<PersonalMode, String> {
        match asked {
            Personal::None => Ok(PersonalMode::None),
            Personal::Opening => Ok(PersonalMode::Opening),
            Personal::Clear => Err(
                "is \"clear\", and the topic keeps each record for ever: use \"opening\", which puts names into a compacted topic of their own"
                    .to_owned(),
            ),
        }
    }

    fn collision(&self, _name: &str, other: &Self, its: &str) -> Option<(&'static str, String)> {
        let same = self.brokers == other.brokers && self.openings_topic() == other.openings_topic();
        let both = self.openings_topic.is_some() && other.openings_topic.is_some();
        let taken = || format!("is the openings_topic of the sink {its:?} already");
        (same && both).then(|| (".openings_topic", taken()))
    }

    fn secret_files(&self) -> Vec<&PathBuf> {
        let files = [&self.password_file, &self.key_file];
        files.into_iter().flatten().collect()
    }
}
