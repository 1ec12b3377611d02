//! The arguments of a place with the trails of several servers. They have the names that
//! `livetrail-verify --fleet` gives them, and exist in each build.

use std::{fs::File, io::Read as _, path::PathBuf};

use anyhow::{Context as _, ensure};
use livetrail_verify::{KeyFile, MAX_POLICY_BYTES};

use crate::{output::Failure, time};

/// A place with the trails of several servers, and their keys.
#[derive(Debug, clap::Args)]
pub(crate) struct FleetArgs {
    /// The place has the trails of several servers: a database, a directory with one directory per
    /// trail, or a prefix in a bucket (s3://…) with one prefix per trail. Each needs its key.
    #[arg(long, requires = "vkey")]
    pub(crate) fleet: bool,
    /// With --fleet: the trails that sinks keep in this PostgreSQL database; the password may be in
    /// PGPASSWORD.
    #[arg(long, value_name = "URL", requires = "fleet")]
    pub(crate) postgres: Option<String>,
    /// Authorities for the database's certificate, instead of this system's.
    #[arg(long, value_name = "FILE", requires = "postgres")]
    pub(crate) postgres_ca: Option<PathBuf>,
    /// With --fleet: a key to trust, or a file with one per line, such as a server's `trail.vkey`.
    #[arg(long, value_name = "KEY-OR-FILE", requires = "fleet")]
    pub(crate) vkey: Vec<String>,
    /// With --fleet: a trail whose newest record is this old is silent, unless its server stopped.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3_600,
        requires = "fleet"
    )]
    pub(crate) silent_after: u64,
    /// With --fleet: the interval of the trails' heartbeats, in seconds. After three missing ones a
    /// trail lags.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "fleet")]
    pub(crate) heartbeat: u64,
    /// With --fleet: when the place was copied. The age of a trail's last record is computed from
    /// that time, not from now.
    #[arg(long, value_name = "TIME", requires = "fleet")]
    pub(crate) as_of: Option<String>,
    /// The server of the bucket, if it is not Amazon's; the bucket's name is then put into the
    /// path.
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    pub(crate) s3_endpoint: Option<String>,
    /// The bucket's region.
    #[arg(
        long,
        value_name = "REGION",
        env = "AWS_REGION",
        default_value = "us-east-1"
    )]
    pub(crate) s3_region: String,
}

impl FleetArgs {
    /// The time from which ages are computed, in milliseconds since 1970.
    ///
    /// # Errors
    /// It is not a time.
    pub(super) fn now_ms(&self, now_ms: u64) -> Result<u64, Failure> {
        let given = self.as_of.as_deref().map(|text| time::parse(text, now_ms));
        let given = given.transpose();
        let given = given.map_err(|problem| Failure::unusable(anyhow::anyhow!(problem)))?;
        Ok(given.unwrap_or(now_ms))
    }

    /// The keys of `--vkey`.
    ///
    /// # Errors
    /// A file cannot be read, or something is not a key.
    pub(super) fn keys(&self) -> anyhow::Result<KeyFile> {
        let mut keys = KeyFile::default();
        for given in &self.vkey {
            let path = PathBuf::from(given);
            if given.contains('+') && !path.exists() {
                keys.read(given)?;
                continue;
            }
            let limit = u64::try_from(MAX_POLICY_BYTES)?;
            let mut text = String::new();
            File::open(&path)
                .and_then(|file| file.take(limit + 1).read_to_string(&mut text))
                .with_context(|| format!("cannot read {}", path.display()))?;
            ensure!(
                text.len() <= MAX_POLICY_BYTES,
                "{} has more than {MAX_POLICY_BYTES} bytes",
                path.display()
            );
            let before = keys.current().len();
            keys.read(&text)
                .with_context(|| path.display().to_string())?;
            ensure!(
                keys.current().len() > before,
                "there is no key in {}",
                path.display()
            );
        }
        ensure!(
            !keys.origins().is_empty(),
            "no key of --vkey signs a log: each trail needs its `trail.vkey`"
        );
        Ok(keys)
    }
}
