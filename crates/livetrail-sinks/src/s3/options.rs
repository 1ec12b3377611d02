//! The options of a bucket: its address and the retention of its objects.

use std::path::PathBuf;
use std::time::Duration;

use livetrail_s3::{Bucket, CredentialSource, LockMode};
use thiserror::Error;

/// The longest prefix. With it and the longest name of a log, a key stays below 1,024 bytes.
const MAX_PREFIX_BYTES: usize = 200;

/// The maximum number of requests at the same time.
const MAX_PARALLEL: usize = 64;

/// How long objects cannot be overwritten or deleted.
///
/// The ledger keeps hash tiles and checkpoints for ever, because old proofs need them. It may prune
/// entries earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Who may remove the lock earlier.
    pub mode: LockMode,
    /// The retention of bundles of entries.
    pub entries: Duration,
    /// The retention of hash tiles.
    pub tiles: Duration,
    /// The retention of checkpoints and commits.
    pub checkpoints: Duration,
}

impl Retention {
    /// The same retention for everything.
    #[must_use]
    pub const fn all(mode: LockMode, kept: Duration) -> Self {
        Self {
            mode,
            entries: kept,
            tiles: kept,
            checkpoints: kept,
        }
    }
}

/// A bucket as a sink.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct S3Options {
    /// The bucket's name, region and server.
    pub bucket: Bucket,
    /// The prefix of all keys, without a slash at either end. It may be empty.
    pub prefix: String,
    /// Where to find credentials, at the start and again after each error.
    pub credentials: CredentialSource,
    /// The certificates to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How long objects are kept. `None` means without a lock of ours. Then a bucket without Object
    /// Lock is accepted, too.
    pub retention: Option<Retention>,
    /// Whether each object is under legal hold until someone removes it.
    pub legal_hold: bool,
    /// The number of requests at the same time, from 1 to 64.
    pub parallel: usize,
}

/// A setting that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum S3OptionsError {
    /// The prefix is invalid.
    #[error(
        "{prefix:?} is not a prefix: at most {MAX_PREFIX_BYTES} letters, digits, `-`, `.`, `_` and single slashes between them"
    )]
    Prefix {
        /// The prefix, truncated to 80 characters.
        prefix: String,
    },
    /// The number of requests is out of bounds.
    #[error("parallel is {0} and must be 1 to {MAX_PARALLEL}")]
    Parallel(usize),
    /// A retention is zero, so it would keep nothing.
    #[error("a retention of {class} must be at least a second")]
    Retention {
        /// The kind of objects.
        class: &'static str,
    },
}

impl S3Options {
    /// The options for this bucket, with 8 requests at a time and credentials from the environment.
    #[must_use]
    pub const fn new(bucket: Bucket, retention: Option<Retention>) -> Self {
        Self {
            bucket,
            prefix: String::new(),
            credentials: CredentialSource::Environment,
            ca_file: None,
            retention,
            legal_hold: false,
            parallel: 8,
        }
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`S3OptionsError`].
    pub fn check(&self) -> Result<(), S3OptionsError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let step = |step: &str| !matches!(step, "" | "." | "..") && step.bytes().all(plain);
        let is_prefix = self.prefix.is_empty() || self.prefix.split('/').all(step);
        if !is_prefix || self.prefix.len() > MAX_PREFIX_BYTES {
            let prefix = self.prefix.chars().take(80).collect();
            return Err(S3OptionsError::Prefix { prefix });
        }
        if !(1..=MAX_PARALLEL).contains(&self.parallel) {
            return Err(S3OptionsError::Parallel(self.parallel));
        }
        if let Some(retention) = self.retention {
            let classes = [
                ("entries", retention.entries),
                ("tiles", retention.tiles),
                ("checkpoints", retention.checkpoints),
            ];
            for (class, kept) in classes {
                if kept < Duration::from_secs(1) {
                    return Err(S3OptionsError::Retention { class });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use livetrail_s3::Endpoint;

    use super::*;

    fn options() -> S3Options {
        let endpoint = Endpoint::new("http://127.0.0.1:1", "us-east-1", true).unwrap();
        let year = Duration::from_hours(24 * 365);
        S3Options::new(
            Bucket::new(endpoint, "trail").unwrap(),
            Some(Retention::all(LockMode::Governance, year)),
        )
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        assert_eq!(options().check(), Ok(()));
        for prefix in ["/a", "a/", "a//b", "a/../b", "a b", &"x".repeat(201)] {
            let mut wrong = options();
            wrong.prefix = prefix.to_owned();
            let error = wrong.check().unwrap_err();
            assert!(matches!(error, S3OptionsError::Prefix { .. }), "{prefix}");
        }
        for parallel in [0, 65] {
            let mut wrong = options();
            wrong.parallel = parallel;
            assert_eq!(wrong.check(), Err(S3OptionsError::Parallel(parallel)));
        }
        let mut wrong = options();
        wrong.retention = Some(Retention {
            tiles: Duration::ZERO,
            ..wrong.retention.unwrap()
        });
        let class = "tiles";
        assert_eq!(wrong.check(), Err(S3OptionsError::Retention { class }));
    }
}
