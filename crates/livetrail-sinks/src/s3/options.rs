//! Where the bucket is, and how long what is put there is kept.

use std::path::PathBuf;
use std::time::Duration;

use livetrail_s3::{Bucket, CredentialSource, LockMode};
use thiserror::Error;

/// The longest prefix, so that with the longest name of a log a key stays below 1,024 bytes.
const MAX_PREFIX_BYTES: usize = 200;

/// The most requests at the same time.
const MAX_PARALLEL: usize = 64;

/// How long objects are kept from being overwritten or deleted.
///
/// The ledger keeps hash tiles and checkpoints for ever, because old proofs need them; entries may go earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Who may lift it before.
    pub mode: LockMode,
    /// Bundles of entries.
    pub entries: Duration,
    /// Hash tiles.
    pub tiles: Duration,
    /// Checkpoints and commits.
    pub checkpoints: Duration,
}

impl Retention {
    /// The same for everything.
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
    /// The bucket.
    pub bucket: Bucket,
    /// What all keys begin with, without a slash at either end; may be empty.
    pub prefix: String,
    /// Where credentials are looked for: at the start, and again after each error.
    pub credentials: CredentialSource,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How long objects are kept. `None`: without any lock of ours, and then a bucket without Object Lock is taken, too.
    pub retention: Option<Retention>,
    /// Whether each object is under legal hold, until somebody lifts it.
    pub legal_hold: bool,
    /// Requests at the same time. 1 to 64.
    pub parallel: usize,
}

/// A setting that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum S3OptionsError {
    /// The prefix.
    #[error(
        "{prefix:?} is no prefix: at most {MAX_PREFIX_BYTES} letters, digits, `-`, `.`, `_` and single slashes between them"
    )]
    Prefix {
        /// What was given, cut to 80 characters.
        prefix: String,
    },
    /// The number of requests.
    #[error("parallel is {0} and must be 1 to {MAX_PARALLEL}")]
    Parallel(usize),
    /// A retention that ends at once keeps nothing.
    #[error("a retention of {class} must be at least a second")]
    Retention {
        /// Of what.
        class: &'static str,
    },
}

impl S3Options {
    /// This bucket, with 8 requests at a time and credentials from the environment.
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
