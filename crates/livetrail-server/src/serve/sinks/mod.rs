//! The sinks that follow the server's trail: from the configuration to replicators that run.

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "s3")]
pub(crate) mod s3;
#[cfg(feature = "stdout")]
mod stdout;
#[cfg(feature = "syslog")]
mod syslog;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use livetrail_audit::AuditPipeline;
use livetrail_engine::Clock;
use livetrail_ledger::Reader;
use livetrail_replica::{
    RecordEvent, ReplicaFloor, ReplicaOptions, ReplicaSink, ReplicaState, ReplicaStatus,
    ReplicaWatch, Replicas, Replicator,
};
use tokio::sync::Semaphore;

use super::trail::TrailView;
use crate::config;

/// How long the start waits for a sink to say what it has seen of the trail. All are asked at once.
const FLOOR_TIMEOUT: Duration = Duration::from_secs(10);

/// A sink that fails for so long makes the server's health `degraded`.
const OVERDUE: Duration = Duration::from_secs(60);

/// Below the data directory: the cursors of sinks whose place cannot say what it holds.
const CURSORS: &str = "sinks";

/// Sinks as they are configured, not yet asked for anything.
pub(crate) struct Configured {
    sinks: Vec<(Arc<dyn ReplicaSink>, ReplicaOptions)>,
    /// The configuration is the server's: there are no others.
    are_all: bool,
}

impl Configured {
    /// Makes them. Nothing is connected to. Those whose place cannot say what it holds keep their cursors below the data directory.
    ///
    /// # Errors
    /// A secret or a certificate is not where it should be, or this build has no sink of that kind.
    pub(crate) fn of(sinks: &[config::Sink], data: &Path) -> anyhow::Result<Self> {
        let cursors = data.join(CURSORS);
        let made = sinks.iter().map(|sink| {
            let made = make(sink, &cursors).with_context(|| format!("sink {}", sink.name))?;
            Ok((made, sink.options()))
        });
        Ok(Self {
            sinks: made.collect::<anyhow::Result<_>>()?,
            are_all: false,
        })
    }

    /// These are all that the trail has.
    pub(super) const fn and_no_others(mut self) -> Self {
        self.are_all = true;
        self
    }

    /// None.
    pub(crate) const fn none() -> Self {
        Self {
            sinks: Vec::new(),
            are_all: false,
        }
    }

    /// The sinks themselves.
    pub(crate) fn sinks(&self) -> impl Iterator<Item = &Arc<dyn ReplicaSink>> {
        self.sinks.iter().map(|(sink, _)| sink)
    }

    /// Asks them what they have seen, before the trail is opened. Also without any: one for which an earlier start waits may be gone from the
    /// configuration.
    pub(super) fn floor(&self, reader: Arc<Reader>) -> ReplicaFloor {
        let asked = |(sink, options): &(Arc<dyn ReplicaSink>, ReplicaOptions)| {
            (Arc::clone(sink), options.required)
        };
        let sinks = self.sinks.iter().map(asked).collect();
        let floor = ReplicaFloor::new(reader, sinks, FLOOR_TIMEOUT);
        if self.are_all {
            floor.and_no_others()
        } else {
            floor
        }
    }

    /// Lets each follow the trail from now on.
    pub(super) fn follow(
        self,
        trail: &TrailView,
        clock: &Arc<dyn Clock>,
        pipeline: &Arc<AuditPipeline>,
    ) -> anyhow::Result<Replicas> {
        let mut replicas = Replicas::new();
        let mut followed = Vec::new();
        for (sink, options) in self.sinks {
            let name = sink.name().to_owned();
            let replicator = Replicator::new(
                trail.handle.clone(),
                Arc::clone(&trail.reader),
                Arc::clone(&sink),
                options,
                Arc::clone(clock),
            )?;
            let watch = replicator.watch();
            let told = Arc::new(Semaphore::new(2));
            followed.push(Followed { sink, watch, told });
            replicas.start(replicator.recording(event(pipeline)))?;
            tracing::info!(sink = name, "a sink follows the trail");
        }
        trail.sinks.set(followed);
        Ok(replicas)
    }
}

/// Puts a replicator's event on record, as long as there is a pipeline.
fn event(pipeline: &Arc<AuditPipeline>) -> RecordEvent {
    let pipeline = Arc::downgrade(pipeline);
    Arc::new(move |record| {
        let what = record.action.label().to_owned();
        if let Some(pipeline) = pipeline.upgrade()
            && let Err(error) = pipeline.record(record)
        {
            tracing::error!(what, %error, "what happened to a sink is not on record");
        }
    })
}

#[cfg_attr(
    not(any(feature = "otlp", feature = "stdout", feature = "syslog")),
    expect(unused_variables, reason = "for sinks that this build leaves out")
)]
fn make(sink: &config::Sink, cursors: &Path) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    if let Some(settings) = &sink.file {
        #[cfg(feature = "file")]
        return Ok(file::make(&sink.name, settings));
        #[cfg(not(feature = "file"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("file"));
        }
    }
    if let Some(settings) = &sink.kafka {
        #[cfg(feature = "kafka")]
        return kafka::make(&sink.name, settings);
        #[cfg(not(feature = "kafka"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("kafka"));
        }
    }
    if let Some(settings) = &sink.otlp {
        #[cfg(feature = "otlp")]
        return otlp::make(&sink.name, settings, cursors);
        #[cfg(not(feature = "otlp"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("otlp"));
        }
    }
    if let Some(settings) = &sink.postgres {
        #[cfg(feature = "postgres")]
        return postgres::make(&sink.name, settings);
        #[cfg(not(feature = "postgres"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("postgres"));
        }
    }
    if let Some(settings) = &sink.s3 {
        #[cfg(feature = "s3")]
        return s3::make(&sink.name, settings);
        #[cfg(not(feature = "s3"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("s3"));
        }
    }
    if sink.stdout.is_some() {
        #[cfg(feature = "stdout")]
        return stdout::make(&sink.name, cursors);
        #[cfg(not(feature = "stdout"))]
        anyhow::bail!(not_built("stdout"));
    }
    if let Some(settings) = &sink.syslog {
        #[cfg(feature = "syslog")]
        return syslog::make(&sink.name, settings, cursors);
        #[cfg(not(feature = "syslog"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("syslog"));
        }
    }
    anyhow::bail!("it is of no kind")
}

/// What to do where this build leaves a kind of sink out.
#[cfg(not(all(
    feature = "file",
    feature = "kafka",
    feature = "otlp",
    feature = "postgres",
    feature = "s3",
    feature = "stdout",
    feature = "syslog"
)))]
pub(crate) fn not_built(kind: &str) -> String {
    format!(
        "this program was built without {kind}: build livetrail-server with `--features {kind}`"
    )
}

/// The sinks as others in the server see them.
#[derive(Debug, Default)]
pub(crate) struct SinkWatch(OnceLock<Vec<Followed>>);

/// A sink that follows the trail.
struct Followed {
    sink: Arc<dyn ReplicaSink>,
    watch: ReplicaWatch,
    /// One that is told now, and one that waits to be told what came later.
    told: Arc<Semaphore>,
}

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Followed").field(&self.sink.name()).finish()
    }
}

impl SinkWatch {
    fn set(&self, followed: Vec<Followed>) {
        let _ = self.0.set(followed);
    }

    /// Tells every sink that what it writes to may have been moved away, and lets those that wait after an error look again. Waits for
    /// none: each is told on a task of its own.
    pub(super) fn reopen(&self) {
        for Followed { sink, watch, told } in self.0.get().into_iter().flatten() {
            let Ok(turn) = Arc::clone(told).try_acquire_owned() else {
                // A disk hangs, and who waits for it has not been told yet.
                continue;
            };
            let (sink, watch) = (Arc::clone(sink), watch.clone());
            tokio::spawn(async move {
                let _turn = turn;
                match sink.reopen().await {
                    Ok(true) => tracing::info!(sink = sink.name(), "reopened"),
                    Ok(false) => {}
                    Err(error) => {
                        let error = crate::output::chain(&error);
                        tracing::error!(sink = sink.name(), error, "cannot reopen");
                    }
                }
                watch.retry();
            });
        }
    }

    /// How each is doing.
    pub(crate) fn statuses(&self) -> Vec<ReplicaStatus> {
        let followed = self.0.get().into_iter().flatten();
        followed.map(|one| one.watch.status()).collect()
    }
}

/// Whether somebody should look at it.
pub(crate) fn is_in_trouble(status: &ReplicaStatus) -> bool {
    match status.state {
        ReplicaState::Blocked | ReplicaState::Forked => true,
        ReplicaState::Starting | ReplicaState::Retrying => status.failing >= OVERDUE,
        _ => false,
    }
}

#[cfg(all(test, not(feature = "kafka")))]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_was_not_built_in_is_refused_with_what_to_do() {
        let text = "name = \"topic\"\n[kafka]\nbrokers = [\"127.0.0.1:9092\"]\ntopic = \"audit\"\n";
        let sink: config::Sink = toml::from_str(text).unwrap();
        let refused = Configured::of(&[sink], Path::new("data"))
            .err()
            .expect("it is refused");
        assert_eq!(
            format!("{refused:#}"),
            "sink topic: this program was built without kafka: build livetrail-server with `--features kafka`"
        );
    }
}
