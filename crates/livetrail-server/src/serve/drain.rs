//! Draining: the server takes no new sessions, lets the present ones continue, and stops when the
//! last one has ended or a deadline has come.

use std::{sync::Arc, time::Duration};

use livetrail_audit::AuditPipeline;
use livetrail_engine::{Clock, Engine};
use tokio::sync::watch;

use crate::operator::{Deed, drain_cancelled, drain_started};

/// The interval between two checks for sessions that are still open.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time that sessions may continue.
pub(crate) const MOST_DRAIN: Duration = Duration::from_secs(7 * 86_400);

/// The drain of a server. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Drain {
    engine: Engine,
    clock: Arc<dyn Clock>,
    pipeline: Arc<AuditPipeline>,
    deadline: watch::Sender<Option<Deadline>>,
    /// How long sessions may continue if nobody says it.
    timeout: Duration,
}

/// When the drain ends at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// On the engine's clock.
    at: Duration,
    /// In milliseconds since 1970 (UTC).
    pub(crate) unix_ms: u64,
}

impl Drain {
    pub(super) fn new(engine: Engine, pipeline: Arc<AuditPipeline>, timeout: Duration) -> Self {
        Self {
            clock: engine.clock(),
            engine,
            pipeline,
            deadline: watch::Sender::new(None),
            timeout,
        }
    }

    /// Starts to drain, on record. Present sessions may continue for this time, or for the
    /// configured time. If a drain runs, this sets its deadline again.
    pub(crate) fn start(&self, timeout: Option<Duration>, deed: Deed) -> Deadline {
        let timeout = timeout.unwrap_or(self.timeout).min(MOST_DRAIN);
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let deadline = Deadline {
            at: self.clock.monotonic().saturating_add(timeout),
            unix_ms: self.clock.unix_ms().saturating_add(millis),
        };
        self.engine.set_draining(true);
        let sessions = self.sessions();
        self.deadline.send_replace(Some(deadline));
        tracing::info!(
            sessions,
            timeout_ms = millis,
            "draining: no new sessions, and a stop when the last one has ended"
        );
        self.record(drain_started(sessions, deadline.unix_ms, deed));
        deadline
    }

    /// Takes new sessions again, on record. Returns false if there is no drain.
    pub(crate) fn cancel(&self, deed: Deed) -> bool {
        if self.deadline.send_replace(None).is_none() {
            return false;
        }
        self.engine.set_draining(false);
        tracing::info!("the drain is given up: new sessions are taken again");
        self.record(drain_cancelled(deed));
        true
    }

    /// The deadline of the drain, if there is one.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        *self.deadline.borrow()
    }

    /// The number of sessions now.
    pub(crate) fn sessions(&self) -> u64 {
        let totals = self.engine.totals();
        totals.publish.live.saturating_add(totals.play.live)
    }

    /// Ready when there is a drain, and the last session has ended or the deadline has come.
    pub(super) async fn done(&self) {
        let mut changes = self.deadline.subscribe();
        loop {
            let deadline = *changes.borrow_and_update();
            let wait = match deadline {
                None => None,
                Some(deadline) => {
                    let left = deadline.at.saturating_sub(self.clock.monotonic());
                    if left.is_zero() || self.engine.is_idle() {
                        return;
                    }
                    Some(left.min(LOOK_INTERVAL))
                }
            };
            let look = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // This handle has a sender, so it cannot fail.
                _ = changes.changed() => {}
                () = look => {}
            }
        }
    }

    fn record(&self, record: livetrail_audit::AuditRecord) {
        if let Err(error) = self.pipeline.record(record) {
            tracing::error!(%error, "the drain is not on record");
        }
    }
}
