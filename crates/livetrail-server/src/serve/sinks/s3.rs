//! `[sink.s3]`.

use std::sync::Arc;

use livetrail_engine::{Clock as _, SystemClock};
use livetrail_replica::ReplicaSink;
use livetrail_s3::{Bucket, CredentialSource, Endpoint, LockMode};
use livetrail_sinks::s3::{Retention, S3Options, S3Sink, UnixSeconds};

use crate::config::{self, Lock};

pub(super) fn make(name: &str, settings: &config::S3) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    let sink = S3Sink::new(name, options(settings)?, unix_seconds())?;
    Ok(Arc::new(sink))
}

/// As the sink takes them.
pub(crate) fn options(settings: &config::S3) -> anyhow::Result<S3Options> {
    let endpoint = match &settings.endpoint {
        Some(url) => {
            let path_style = settings.path_style.unwrap_or(true);
            Endpoint::new(url, &settings.region, path_style)?
        }
        None => Endpoint::amazon(&settings.region)?,
    };
    let mode = match settings.lock {
        Lock::Compliance => Some(LockMode::Compliance),
        Lock::Governance => Some(LockMode::Governance),
        Lock::None => None,
    };
    let kept = (settings.keep_entries.zip(settings.keep_tiles)).zip(settings.keep_checkpoints);
    let retention = mode
        .zip(kept)
        .map(|(mode, ((entries, tiles), checkpoints))| {
            let mut retention = Retention::all(mode, entries.0);
            retention.tiles = tiles.0;
            retention.checkpoints = checkpoints.0;
            retention
        });
    let mut options = S3Options::new(Bucket::new(endpoint, &settings.bucket)?, retention);
    options.prefix.clone_from(&settings.prefix);
    options.ca_file.clone_from(&settings.ca_file);
    options.legal_hold = settings.legal_hold;
    if let Some(path) = &settings.credentials_file {
        options.credentials = CredentialSource::Profile {
            path: path.clone(),
            profile: settings
                .profile
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
        };
    }
    Ok(options)
}

/// The time in signatures and retentions.
pub(crate) fn unix_seconds() -> UnixSeconds {
    let clock = SystemClock::new();
    Arc::new(move || clock.unix_ms() / 1_000)
}
