//! Sinks that follow the trail: before they start, and their state while they run.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use livetrail_audit::AuditPipeline;
use livetrail_clock::Clock;
use livetrail_ledger::Reader;
use livetrail_record::{Opening, Uuid};
use livetrail_replica::{
    BoxError, OpeningSource, PersonalMode, RecordEvent, ReplicaFloor, ReplicaOptions, ReplicaSink,
    ReplicaState, ReplicaStatus, ReplicaWatch, Replicas, Replicator,
};
use livetrail_vault::VaultError;
use tokio::sync::Semaphore;

use super::{Personal, TrailView};

/// The start waits this long for a sink to report what it has seen of the trail. All sinks are
/// asked at the same time.
const FLOOR_TIMEOUT: Duration = Duration::from_secs(10);

/// A sink that fails for this long makes the server's health `degraded`.
const OVERDUE: Duration = Duration::from_secs(60);

/// Sinks that will follow a trail. They are not asked anything before the trail is opened.
#[derive(Clone, Default)]
pub struct Followers {
    sinks: Vec<(Arc<dyn ReplicaSink>, ReplicaOptions)>,
    /// Whether these are all sinks of the trail.
    are_all: bool,
}

impl std::fmt::Debug for Followers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.sinks().map(|sink| sink.name().to_owned());
        f.debug_list().entries(names).finish()
    }
}

impl Followers {
    /// No sinks.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            sinks: Vec::new(),
            are_all: false,
        }
    }

    /// Adds a sink.
    #[must_use]
    pub fn with(mut self, sink: Arc<dyn ReplicaSink>, options: ReplicaOptions) -> Self {
        self.sinks.push((sink, options));
        self
    }

    /// States that these are all sinks of the trail.
    pub(super) const fn and_no_others(mut self) -> Self {
        self.are_all = true;
        self
    }

    /// The sinks themselves.
    pub fn sinks(&self) -> impl Iterator<Item = &Arc<dyn ReplicaSink>> {
        self.sinks.iter().map(|(sink, _)| sink)
    }

    /// Asks the sinks what they have seen, before the trail is opened. This is needed even without
    /// sinks: an earlier start may wait for a sink that is no longer in the configuration.
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

    /// Lets each sink follow the trail from now on.
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
            let openings = Arc::clone(&trail.personal) as Arc<dyn OpeningSource>;
            let replicator = replicator.with_openings(openings);
            let watch = replicator.watch();
            let reopening = Arc::new(Semaphore::new(2));
            followed.push(Followed {
                sink,
                watch,
                reopening,
            });
            replicas.start(replicator.recording(event(pipeline)))?;
            tracing::info!(sink = name, "a sink follows the trail");
        }
        trail.sinks.set(followed);
        Ok(replicas)
    }
}

/// Records the events of a replicator, as long as there is a pipeline.
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

/// The vault is where sinks get openings from. A row that is damaged counts as gone: it must not
/// keep entries from a sink.
impl OpeningSource for Personal {
    fn opening(&self, session: Uuid) -> Result<Option<Opening>, BoxError> {
        let found = match self.with(|vault| vault.get(session.as_bytes())) {
            Ok(found) => found,
            Err(error @ VaultError::Damaged { .. }) => {
                tracing::error!(%session, %error, "an opening cannot be read; no sink gets it");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let opening = found.map(|found| Opening::parse(&found.opening));
        Ok(opening.transpose()?)
    }
}

/// The sinks as the rest of the server sees them.
#[derive(Debug, Default)]
pub(crate) struct SinkWatch {
    followed: OnceLock<Vec<Followed>>,
    /// Whether a sink keeps openings from which it can erase.
    erases: bool,
}

/// A sink that follows the trail.
struct Followed {
    sink: Arc<dyn ReplicaSink>,
    watch: ReplicaWatch,
    /// Permits for two calls of `reopen`: one that runs, and one that waits and covers all later
    /// requests.
    reopening: Arc<Semaphore>,
}

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Followed").field(&self.sink.name()).finish()
    }
}

impl SinkWatch {
    /// Of sinks that do not follow yet.
    pub(super) fn of(followers: &Followers) -> Self {
        let mut sinks = followers.sinks();
        Self {
            followed: OnceLock::new(),
            erases: sinks.any(|sink| sink.personal() == PersonalMode::Opening),
        }
    }

    fn set(&self, followed: Vec<Followed>) {
        let _ = self.followed.set(followed);
    }

    /// Notifies every sink that its files may have been moved away. Sinks that wait after an error
    /// try again. This waits for no sink: each is notified on its own task.
    pub(crate) fn reopen(&self) {
        for Followed {
            sink,
            watch,
            reopening,
        } in self.followed.get().into_iter().flatten()
        {
            let Ok(turn) = Arc::clone(reopening).try_acquire_owned() else {
                // A disk hangs, and the waiting call has not started yet. It covers this request.
                continue;
            };
            let (sink, watch) = (Arc::clone(sink), watch.clone());
            tokio::spawn(async move {
                let _turn = turn;
                match sink.reopen().await {
                    Ok(true) => tracing::info!(sink = sink.name(), "reopened"),
                    Ok(false) => {}
                    Err(error) => {
                        let error = crate::chain(&error);
                        tracing::error!(sink = sink.name(), error, "cannot reopen");
                    }
                }
                watch.retry();
            });
        }
    }

    /// The entry below which every sink with openings has erased what entries name.
    pub(crate) fn erasures_passed(&self) -> u64 {
        let Some(followed) = self.followed.get().filter(|_| self.erases) else {
            return if self.erases { 0 } else { u64::MAX };
        };
        let statuses = followed.iter().map(|one| one.watch.status());
        let erasing = statuses.filter(|status| status.personal == PersonalMode::Opening);
        let passed = erasing.map(|status| status.erased_up_to.unwrap_or(0));
        passed.min().unwrap_or(u64::MAX)
    }

    /// The state of each sink.
    pub(crate) fn statuses(&self) -> Vec<ReplicaStatus> {
        let followed = self.followed.get().into_iter().flatten();
        followed.map(|one| one.watch.status()).collect()
    }
}

/// Whether a person should check this sink.
pub(crate) fn is_in_trouble(status: &ReplicaStatus) -> bool {
    if status.erasure_overdue {
        return true;
    }
    match status.state {
        ReplicaState::Blocked | ReplicaState::Forked => true,
        ReplicaState::Starting | ReplicaState::Retrying => status.failing >= OVERDUE,
        _ => false,
    }
}
