//! `[[sink]]`: who follows the trail. Which kind it is, is said by the table in it: `[sink.postgres]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use livetrail_replica::ReplicaOptions;
use serde::Deserialize;

use super::load::beside;
use super::{ByteSize, Kafka, Otlp, S3, Secret, SecretText, Span, Syslog, TlsFiles};

/// One that follows the trail.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sink {
    pub(crate) name: String,
    #[serde(default = "required")]
    pub(crate) required: bool,
    #[serde(default = "patience")]
    pub(crate) patience: Span,
    #[serde(default = "batch_records")]
    pub(crate) batch_records: usize,
    #[serde(default = "batch_size")]
    pub(crate) batch_size: ByteSize,
    #[serde(default = "attempt_timeout")]
    pub(crate) attempt_timeout: Span,
    #[serde(default)]
    pub(crate) file: Option<LineFile>,
    #[serde(default)]
    pub(crate) kafka: Option<Kafka>,
    #[serde(default)]
    pub(crate) otlp: Option<Otlp>,
    #[serde(default)]
    pub(crate) postgres: Option<Postgres>,
    #[serde(default)]
    pub(crate) s3: Option<S3>,
    #[serde(default)]
    pub(crate) stdout: Option<Stdout>,
    #[serde(default)]
    pub(crate) syslog: Option<Syslog>,
}

/// Standard output. There is nothing to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stdout {}

/// A file with a line for each record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineFile {
    pub(crate) path: PathBuf,
    #[serde(default)]
    pub(crate) format: LineFormat,
    #[serde(default)]
    pub(crate) rotate_bytes: Option<ByteSize>,
    #[serde(default)]
    pub(crate) rotate_every: Option<Span>,
    #[serde(default)]
    pub(crate) keep_files: Option<usize>,
}

/// What a line looks like.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineFormat {
    /// Columns with tabs between them.
    #[default]
    Lines,
    /// A JSON object.
    Json,
}

/// A table of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    #[serde(default)]
    pub(crate) url: Option<SecretText>,
    #[serde(default)]
    pub(crate) url_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) url_env: Option<String>,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) key_file: Option<PathBuf>,
}

/// Smaller files, or shorter periods, would be more files than anybody wants.
const LEAST_ROTATE_BYTES: usize = 64 << 10;
const LEAST_ROTATE_EVERY: Duration = Duration::from_mins(1);

const fn required() -> bool {
    true
}

const fn patience() -> Span {
    Span(Duration::from_hours(24))
}

const fn batch_records() -> usize {
    8_192
}

const fn batch_size() -> ByteSize {
    ByteSize(4 << 20)
}

const fn attempt_timeout() -> Span {
    Span(Duration::from_secs(30))
}

impl Sink {
    /// As the replicator takes them.
    pub(crate) fn options(&self) -> ReplicaOptions {
        let mut options = ReplicaOptions::default();
        options.required = self.required;
        options.patience = self.patience.0;
        options.batch_records = self.batch_records;
        options.batch_bytes = self.batch_size.0;
        options.attempt_timeout = self.attempt_timeout.0;
        if let Some(bucket) = &self.s3 {
            options.batch_interval = bucket.batch_interval.0;
        }
        options
    }

    /// The tables that say of which kind it is; there must be one.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        let kinds = [
            ("file", self.file.is_some()),
            ("kafka", self.kafka.is_some()),
            ("otlp", self.otlp.is_some()),
            ("postgres", self.postgres.is_some()),
            ("s3", self.s3.is_some()),
            ("stdout", self.stdout.is_some()),
            ("syslog", self.syslog.is_some()),
        ];
        kinds
            .into_iter()
            .filter_map(|(kind, there)| there.then_some(kind))
            .collect()
    }

    /// Files beside the configuration file are found from there.
    pub(super) fn resolve(&mut self, base: &Path) {
        if let Some(file) = &mut self.file {
            file.path = base.join(&file.path);
        }
        if let Some(topic) = &mut self.kafka {
            topic.resolve(base);
        }
        if let Some(bucket) = &mut self.s3 {
            bucket.resolve(base);
        }
        if let Some(collector) = &mut self.otlp {
            collector.resolve(base);
        }
        if let Some(receiver) = &mut self.syslog {
            receiver.resolve(base);
        }
        if let Some(postgres) = &mut self.postgres {
            let Postgres {
                url: _,
                url_file,
                url_env: _,
                ca_file,
                certificate_file,
                key_file,
            } = postgres;
            beside(base, [url_file, ca_file, certificate_file, key_file]);
        }
    }

    /// Whether a secret stands in the configuration itself.
    pub(super) fn has_a_secret_inside(&self) -> bool {
        let address = self
            .postgres
            .as_ref()
            .is_some_and(|table| table.url.is_some());
        address || self.otlp.as_ref().is_some_and(Otlp::has_a_secret_inside)
    }

    /// The files that have a secret in them.
    pub(super) fn files_with_secrets(&self) -> impl Iterator<Item = &PathBuf> {
        let kafka = self.kafka.iter();
        let kafka = kafka.flat_map(|it| [&it.password_file, &it.key_file]);
        let postgres = self.postgres.iter();
        let postgres = postgres.flat_map(|it| [&it.url_file, &it.key_file]);
        let keys = self.otlp.iter().map(|it| &it.key_file);
        let keys = keys.chain(self.syslog.iter().map(|it| &it.key_file));
        let keys = keys.chain(self.s3.iter().map(|it| &it.credentials_file));
        let headers = self.otlp.iter().flat_map(Otlp::value_files);
        kafka.chain(postgres).chain(keys).chain(headers).flatten()
    }

    /// What is wrong with it by itself: the key in it, and why.
    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        if let Err(error) = self.options().check(&self.name) {
            use livetrail_replica::ReplicaOptionsError as Wrong;
            let key = match &error {
                Wrong::Name { .. } => "name",
                Wrong::BatchRecords(_) => "batch_records",
                Wrong::BatchBytes(_) => "batch_size",
                _ => "attempt_timeout",
            };
            return Some((key, error.to_string()));
        }
        match self.kinds().as_slice() {
            [_] => {}
            [] => {
                let problem = "says of no kind where the records go; allowed is one of [sink.file], [sink.kafka], [sink.otlp], [sink.postgres], [sink.s3], [sink.stdout], [sink.syslog]";
                return Some(("name", problem.to_owned()));
            }
            kinds => {
                let problem = format!(
                    "is of several kinds: {}; give each a [[sink]] of its own",
                    kinds.join(", ")
                );
                return Some(("name", problem));
            }
        }
        self.file
            .as_ref()
            .and_then(LineFile::wrong)
            .or_else(|| self.kafka.as_ref().and_then(Kafka::wrong))
            .or_else(|| self.otlp.as_ref().and_then(Otlp::wrong))
            .or_else(|| self.postgres.as_ref().and_then(Postgres::wrong))
            .or_else(|| self.s3.as_ref().and_then(S3::wrong))
            .or_else(|| self.syslog.as_ref().and_then(Syslog::wrong))
    }
}

impl LineFile {
    fn wrong(&self) -> Option<(&'static str, String)> {
        let problem = if self.path.file_name().is_none() {
            "needs a path that ends with the name of a file"
        } else if self
            .rotate_bytes
            .is_some_and(|most| most.0 < LEAST_ROTATE_BYTES)
        {
            "needs rotate_bytes of at least 64KiB"
        } else if self
            .rotate_every
            .is_some_and(|every| every.0 < LEAST_ROTATE_EVERY)
        {
            "needs rotate_every of at least 1m"
        } else if self.keep_files == Some(0) {
            "needs keep_files of at least 1; without it all are kept"
        } else if self.keep_files.is_some() && !self.rotates() {
            "has keep_files and rotates nothing: set rotate_bytes or rotate_every"
        } else {
            return None;
        };
        Some(("file", problem.to_owned()))
    }

    const fn rotates(&self) -> bool {
        self.rotate_bytes.is_some() || self.rotate_every.is_some()
    }
}

impl Postgres {
    fn wrong(&self) -> Option<(&'static str, String)> {
        let problem = match (self.address().check(), self.tls().wrong()) {
            (Err(error), _) => error.to_string(),
            (Ok(()), Some(problem)) => problem.to_owned(),
            (Ok(()), None) => return None,
        };
        Some(("postgres", problem))
    }

    /// The address, with whatever secret is in it.
    pub(crate) fn address(&self) -> Secret<'_> {
        Secret::of("url")
            .itself(self.url.as_ref())
            .file(self.url_file.as_deref())
            .variable(self.url_env.as_deref())
    }

    /// Its files.
    pub(crate) fn tls(&self) -> TlsFiles<'_> {
        let (chain, key) = (&self.certificate_file, &self.key_file);
        TlsFiles::new(self.ca_file.as_ref(), chain.as_ref(), key.as_ref())
    }
}
