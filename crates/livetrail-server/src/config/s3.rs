//! `[sink.s3]`: a bucket with Object Lock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Span;
use super::load::beside;

/// Readers see a record at most so much later than it is sealed.
const MAX_BATCH_INTERVAL: Duration = Duration::from_secs(60);

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    #[serde(default)]
    pub(crate) prefix: String,
    pub(crate) region: String,
    #[serde(default)]
    pub(crate) endpoint: Option<String>,
    #[serde(default)]
    pub(crate) path_style: Option<bool>,
    #[serde(default)]
    pub(crate) credentials_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) profile: Option<String>,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) lock: Lock,
    #[serde(default)]
    pub(crate) keep_entries: Option<Span>,
    #[serde(default)]
    pub(crate) keep_tiles: Option<Span>,
    #[serde(default)]
    pub(crate) keep_checkpoints: Option<Span>,
    #[serde(default)]
    pub(crate) legal_hold: bool,
    #[serde(default = "batch_interval")]
    pub(crate) batch_interval: Span,
}

/// Who may delete what is put there before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lock {
    /// Nobody.
    Compliance,
    /// Whoever has a right of its own for that.
    Governance,
    /// Whoever may delete: a bucket without Object Lock is taken, too.
    None,
}

const fn batch_interval() -> Span {
    Span::secs(30)
}

impl S3 {
    pub(super) fn resolve(&mut self, base: &Path) {
        beside(base, [&mut self.credentials_file, &mut self.ca_file]);
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
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
        Some(("s3", problem.to_owned()))
    }
}
