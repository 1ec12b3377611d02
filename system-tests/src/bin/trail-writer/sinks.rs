//! Sinks that follow the trail, each by its arguments on the command line.
//!
//! ```text
//! bucket ADDRESS NAME CREDENTIALS
//! file PATH
//! kafka URL
//! otlp URL CURSORS
//! postgres URL
//! stdout CURSORS                       what this process says goes to standard error then
//! syslog ADDRESS CERTIFICATES CURSORS  with `ca.pem`, `client.pem` and `client.key` in a folder
//! ```
//!
//! `LIVETRAIL_WRITER_BATCH` is the maximum number of records in a batch. `LIVETRAIL_WRITER_LIMIT`
//! names a file with a number: the sink gets no entry from that number on until the file has a
//! larger one. So a test decides where in the log something happens, however fast the machine is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::SystemClock;
use livetrail_ledger::{Ledger, Reader, SharedStore};
use livetrail_replica::{
    Delivery, Gap, ReplicaError, ReplicaOptions, ReplicaSink, ReplicaState, ReplicaWatch, Replicas,
    Replicator, SealedRange, SinkCursor,
};
use livetrail_s3::{CredentialSource, LockMode};
use livetrail_sinks::file::{FileReplica, Format, Rotation};
use livetrail_sinks::kafka::{KafkaSink, KafkaTarget};
use livetrail_sinks::otlp::{OtlpSink, OtlpTarget};
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget};
use livetrail_sinks::s3::{Retention, S3Options, S3Sink};
use livetrail_sinks::stdout::StdoutSink;
use livetrail_sinks::syslog::{SyslogSink, SyslogTarget, Transport};
use system_tests::bucket_at;
use system_tests::clock::{poll, wall_ms};

use crate::{Error, OUTPUT_IS_TAKEN, say};

/// How long a sink may be unavailable, and take for the remaining entries, when the trail is
/// closed.
const TIMEOUT: Duration = Duration::from_mins(60);

/// How often the position of the sink is reported.
const LOOK: Duration = Duration::from_millis(10);

/// Files of lines are rotated at this size.
const ROTATE_BYTES: u64 = 1 << 20;

/// The sink that these arguments name, if any.
pub(crate) fn named(words: &[String]) -> Result<Option<Arc<dyn ReplicaSink>>, Error> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let sink: Arc<dyn ReplicaSink> = match words.as_slice() {
        ["bucket", address, name, credentials] => Arc::new(bucket(address, name, credentials)?),
        ["file", path] => {
            let mut rotation = Rotation::default();
            rotation.max_bytes = Some(ROTATE_BYTES);
            Arc::new(FileReplica::rotating("file", *path, Format::Json, rotation))
        }
        ["kafka", url] => Arc::new(KafkaSink::new("kafka", KafkaTarget::parse(url)?)?),
        ["otlp", url, cursors] => {
            let target = OtlpTarget::parse(url)?;
            Arc::new(OtlpSink::new("otlp", target, Path::new(cursors))?)
        }
        ["postgres", url] => {
            let target = PostgresTarget::parse(url)?;
            Arc::new(PostgresSink::new("postgres", target)?)
        }
        ["stdout", cursors] => {
            OUTPUT_IS_TAKEN.store(true, Ordering::Relaxed);
            Arc::new(StdoutSink::new("stdout", Path::new(cursors))?)
        }
        ["syslog", address, certificates, cursors] => {
            let file = |name| Path::new(certificates).join(name);
            let target = SyslogTarget::parse(address, Transport::Tls)?
                .with_ca_file(file("ca.pem"))
                .with_certificate(file("client.pem"), file("client.key"));
            Arc::new(SyslogSink::new("syslog", target, Path::new(cursors))?)
        }
        _ => return Ok(None),
    };
    match std::env::var_os("LIVETRAIL_WRITER_LIMIT") {
        None => Ok(Some(sink)),
        Some(file) => Ok(Some(Arc::new(Limited {
            sink,
            limit: file.into(),
        }))),
    }
}

/// A sink that gets nothing beyond a limit.
struct Limited {
    sink: Arc<dyn ReplicaSink>,
    /// The file with the limit.
    limit: PathBuf,
}

impl Limited {
    /// Nothing, as long as the file is not there or has no number.
    fn limit(&self) -> u64 {
        let text = std::fs::read_to_string(&self.limit).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

#[async_trait]
impl ReplicaSink for Limited {
    fn name(&self) -> &str {
        self.sink.name()
    }

    fn delivery(&self) -> Delivery {
        self.sink.delivery()
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        self.sink.cursor(origin).await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        while range.first() >= self.limit() {
            tokio::time::sleep(LOOK).await;
        }
        self.sink.append(range).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        self.sink.skip(gap).await
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        self.sink.health().await
    }
}

/// A bucket: its server's address, its name, and the file with the credentials.
fn bucket(address: &str, name: &str, credentials: &str) -> Result<S3Sink, Error> {
    let kept = Retention::all(LockMode::Compliance, Duration::from_hours(24));
    let mut bucket = S3Options::new(bucket_at(address.parse()?, name), Some(kept));
    bucket.prefix = "some/where".to_owned();
    bucket.credentials = CredentialSource::Profile {
        path: credentials.into(),
        profile: "trail".to_owned(),
    };
    let clock = Arc::new(|| wall_ms() / 1_000);
    Ok(S3Sink::new("bucket", bucket, clock)?)
}

/// A sink that follows the ledger, or none.
pub(crate) struct Following {
    replicas: Replicas,
    ended: Arc<AtomicBool>,
    telling: Option<JoinHandle<()>>,
}

impl Following {
    pub(crate) fn start(
        ledger: &Ledger,
        store: &SharedStore,
        sink: Option<Arc<dyn ReplicaSink>>,
    ) -> Result<Self, Error> {
        let mut following = Self {
            replicas: Replicas::new(),
            ended: Arc::default(),
            telling: None,
        };
        let Some(sink) = sink else {
            return Ok(following);
        };
        let mut options = ReplicaOptions::default();
        options.backoff_max = Duration::from_secs(1);
        options.reprobe_interval = Duration::from_secs(1);
        options.batch_interval = Duration::from_secs(1);
        if let Ok(records) = std::env::var("LIVETRAIL_WRITER_BATCH") {
            options.batch_records = records.parse()?;
        }
        let reader = Arc::new(Reader::open(Arc::clone(store))?);
        let clock = Arc::new(SystemClock::new());
        let replicator = Replicator::new(ledger.handle(), reader, sink, options, clock)?;
        let (watch, ended) = (replicator.watch(), Arc::clone(&following.ended));
        following.replicas.start(replicator)?;
        following.telling = Some(std::thread::spawn(move || tell(&watch, &ended)));
        Ok(following)
    }

    /// The ledger is closed: the sink gets the entries that it does not have.
    pub(crate) fn finish(self, end: u64) -> Result<(), Error> {
        // A close would not wait for a sink that a person must fix.
        poll(TIMEOUT, || {
            let statuses = self.replicas.statuses();
            let all = statuses.iter().all(|status| status.cursor == Some(end));
            all.then_some(())
        });
        let statuses = self.replicas.close(Duration::ZERO);
        self.ended.store(true, Ordering::Relaxed);
        if let Some(telling) = self.telling {
            telling
                .join()
                .map_err(|_| "the reporting thread panicked")?;
        }
        for status in statuses {
            if status.cursor != Some(end) {
                return Err(format!("the sink is behind: {status:?}").into());
            }
            say(&format!("replicated {end}"));
        }
        Ok(())
    }
}

/// Reports the position of the sink, and what it waits for.
fn tell(watch: &ReplicaWatch, ended: &AtomicBool) {
    let (mut told, mut away) = (None, false);
    while !ended.load(Ordering::Relaxed) {
        let status = watch.status();
        if status.cursor != told {
            told = status.cursor;
            say(&format!("followed {}", told.unwrap_or(0)));
        }
        let is_away = !matches!(
            status.state,
            ReplicaState::Starting | ReplicaState::Following | ReplicaState::Ended
        );
        if is_away && !away {
            let why = status.last_error.unwrap_or_default();
            say(&format!("away ({}) {why}", status.state));
        }
        away = is_away;
        std::thread::sleep(LOOK);
    }
}
