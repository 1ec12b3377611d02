//! `[sink.s3]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use livetrail_replica::{PersonalMode, ReplicaOptions};
use livetrail_settings::{Bounds, Span, beside};
use serde::Deserialize;

use crate::settings::{DAY_S, Personal, Settings};

/// The longest time that records are collected. Readers see a record at most this long after it is
/// sealed.
const MAX_BATCH_INTERVAL: Duration = Duration::from_secs(60);

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct S3 {
    /// The name of the bucket.
    pub bucket: String,
    /// The prefix of all keys.
    #[serde(default)]
    pub prefix: String,
    /// The bucket's region.
    pub region: String,
    /// The server's URL. `None` means Amazon's server of the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether the bucket's name is in the path instead of the host. `None` means that it is there
    /// if `endpoint` is set.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// The file with credentials. `None` means the usual places.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// The profile in that file. `None` means `default`.
    #[serde(default)]
    pub profile: Option<String>,
    /// The authorities to trust, in PEM. `None` means the system's authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who may delete objects before the end of their retention.
    pub lock: Lock,
    /// How long bundles of entries are kept.
    #[serde(default)]
    pub keep_entries: Option<Span>,
    /// How long hash tiles are kept.
    #[serde(default)]
    pub keep_tiles: Option<Span>,
    /// How long checkpoints are kept.
    #[serde(default)]
    pub keep_checkpoints: Option<Span>,
    /// Whether each object is under legal hold.
    #[serde(default)]
    pub legal_hold: bool,
    /// How long records are collected for one batch.
    #[serde(default = "batch_interval")]
    pub batch_interval: Span,
}

/// Who may delete objects before the end of their retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lock {
    /// Nobody.
    Compliance,
    /// Anyone with the right to bypass governance.
    Governance,
    /// Anyone with the right to delete. A bucket without Object Lock is accepted, too.
    None,
}

const fn batch_interval() -> Span {
    Span::secs(30)
}

impl Settings for S3 {
    fn resolve(&mut self, base: &Path) {
        beside(base, [&mut self.credentials_file, &mut self.ca_file]);
    }

    fn problem(&self) -> Option<String> {
        let kept = [self.keep_entries, self.keep_tiles, self.keep_checkpoints];
        let all = kept.iter().all(Option::is_some);
        let problem = match self.lock {
            Lock::None if kept.iter().any(Option::is_some) => {
                "has lock = \"none\" and a time to keep something: choose \"governance\" or \"compliance\""
            }
            Lock::Compliance | Lock::Governance if !all => {
                "needs keep_entries, keep_tiles and keep_checkpoints, each a time span such as \"2557d\""
            }
            _ if self.profile.is_some() && self.credentials_file.is_none() => {
                "has a profile and no credentials_file that it is in; AWS_PROFILE chooses one of the usual file"
            }
            _ if self.batch_interval.0 > MAX_BATCH_INTERVAL => {
                "has a batch_interval of more than 60s"
            }
            _ => return None,
        };
        Some(problem.to_owned())
    }

    fn bounds(&self, bounds: &mut Bounds) {
        for (key, kept) in [
            ("keep_entries", self.keep_entries),
            ("keep_tiles", self.keep_tiles),
            ("keep_checkpoints", self.keep_checkpoints),
        ] {
            if let Some(kept) = kept {
                bounds.span(key, kept, 1_000, 36_500 * DAY_S);
            }
        }
        let most = MAX_BATCH_INTERVAL.as_secs();
        bounds.span("batch_interval", self.batch_interval, 0, most);
    }

    fn adjust(&self, options: &mut ReplicaOptions) {
        options.batch_interval = self.batch_interval.0;
    }

    fn personal(&self, asked: Personal, _accept_unerasable: bool) -> Result<PersonalMode, String> {
        match asked {
            Personal::None => Ok(PersonalMode::None),
            Personal::Opening => Ok(PersonalMode::Opening),
            Personal::Clear => Err(
                "is \"clear\", and a lock keeps the objects: use \"opening\", which puts names into objects of their own without a lock"
                    .to_owned(),
            ),
        }
    }

    fn secret_files(&self) -> Vec<&PathBuf> {
        self.credentials_file.iter().collect()
    }
}
