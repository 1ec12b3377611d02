//! Builds a sink from settings, and sets up its bucket.

use std::sync::Arc;

use livetrail_clock::Clock;
use livetrail_replica::{PersonalMode, ReplicaSink};
use livetrail_s3::{Bucket, CredentialSource, Endpoint, LockMode};

use super::{Retention, S3Options, S3Sink, UnixSeconds};
use crate::error::SinksError;
use crate::settings::{Build, Lock, S3, SinkContext};

impl Build for S3 {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let sink = S3Sink::new(name, self.options()?, unix_seconds(Arc::clone(&cx.clock)))?;
        Ok(Arc::new(match personal {
            PersonalMode::Opening => sink.keeping_openings(),
            _ => sink,
        }))
    }
}

impl S3 {
    /// The options of the bucket, for a sink and for the set-up.
    ///
    /// # Errors
    /// A bucket, a region or a server that is invalid.
    pub fn options(&self) -> Result<S3Options, SinksError> {
        let endpoint = match &self.endpoint {
            Some(url) => Endpoint::new(url, &self.region, self.path_style.unwrap_or(true))?,
            None => Endpoint::amazon(&self.region)?,
        };
        let mode = match self.lock {
            Lock::Compliance => Some(LockMode::Compliance),
            Lock::Governance => Some(LockMode::Governance),
            Lock::None => None,
        };
        let kept = (self.keep_entries.zip(self.keep_tiles)).zip(self.keep_checkpoints);
        let retention = mode
            .zip(kept)
            .map(|(mode, ((entries, tiles), checkpoints))| {
                let mut retention = Retention::all(mode, entries.0);
                retention.tiles = tiles.0;
                retention.checkpoints = checkpoints.0;
                retention
            });
        let mut options = S3Options::new(Bucket::new(endpoint, &self.bucket)?, retention);
        options.prefix.clone_from(&self.prefix);
        options.ca_file.clone_from(&self.ca_file);
        options.legal_hold = self.legal_hold;
        if let Some(path) = &self.credentials_file {
            options.credentials = CredentialSource::Profile {
                path: path.clone(),
                profile: self.profile.clone().unwrap_or_else(|| "default".to_owned()),
            };
        }
        Ok(options)
    }
}

/// The clock for signatures and retention.
#[must_use]
pub fn unix_seconds(clock: Arc<dyn Clock>) -> UnixSeconds {
    Arc::new(move || clock.unix_s())
}
