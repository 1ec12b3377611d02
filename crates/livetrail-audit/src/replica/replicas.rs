//! All replicas of a ledger: each on a thread and a runtime of its own, so that none can hold another up.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use livetrail_ledger::{ExternalFloor, Floor, Reader, SeenTree};

use super::replicator::{ReplicaWatch, Replicator};
use super::sink::ReplicaSink;
use super::status::ReplicaStatus;
use crate::error::AuditError;

/// How often a close looks whether the threads have ended.
const CLOSE_POLL: Duration = Duration::from_millis(5);

/// Beyond the time for sending the rest: for the last cursor to be written.
const CLOSE_MARGIN: Duration = Duration::from_secs(2);

/// Running replicas, one thread each.
#[derive(Debug, Default)]
pub struct Replicas {
    running: Vec<(ReplicaWatch, JoinHandle<()>)>,
}

impl Replicas {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs one more.
    ///
    /// # Errors
    /// [`AuditError::Thread`] when the system gives no thread or no runtime.
    pub fn start(&mut self, replicator: Replicator) -> Result<(), AuditError> {
        let name = "replica";
        let failed = |source| AuditError::Thread { name, source };
        let watch = replicator.watch();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Reads of the ledger, and the name look-ups of a client: told from the threads that carry media.
            .thread_name("replica-read")
            .max_blocking_threads(4)
            .build()
            .map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(replicator.run());
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        self.running.push((watch, thread));
        Ok(())
    }

    /// How each is doing.
    #[must_use]
    pub fn statuses(&self) -> Vec<ReplicaStatus> {
        self.running
            .iter()
            .map(|(watch, _)| watch.status())
            .collect()
    }

    /// What to look at each with, also after [`close`](Self::close).
    #[must_use]
    pub fn watches(&self) -> Vec<ReplicaWatch> {
        self.running
            .iter()
            .map(|(watch, _)| watch.clone())
            .collect()
    }

    /// For after the ledger's close: sends what is sealed, at most for `within`, and ends. Blocks, about as long. Gives how
    /// each ended; what a sink did not get by then it gets after the next start.
    pub fn close(mut self, within: Duration) -> Vec<ReplicaStatus> {
        for (watch, _) in &self.running {
            watch.close(within);
        }
        let polls = (within + CLOSE_MARGIN).as_millis() / CLOSE_POLL.as_millis();
        for _ in 0..polls {
            if self.running.iter().all(|(_, thread)| thread.is_finished()) {
                break;
            }
            std::thread::sleep(CLOSE_POLL);
        }
        let statuses = self.statuses();
        for (_, thread) in self.running.drain(..) {
            if thread.is_finished() {
                // A panic in it would be a mistake here: sinks' panics are caught.
                let _ = thread.join();
            }
        }
        statuses
    }
}

/// Asks sinks at the start of a ledger what they have seen of it: a ledger that was restored from an older copy must not sign.
pub struct ReplicaFloor {
    reader: Arc<Reader>,
    sinks: Vec<Arc<dyn ReplicaSink>>,
    timeout: Duration,
}

impl ReplicaFloor {
    /// Asks these sinks about the ledger behind this reader, each for at most `timeout`, all at once.
    #[must_use]
    pub const fn new(
        reader: Arc<Reader>,
        sinks: Vec<Arc<dyn ReplicaSink>>,
        timeout: Duration,
    ) -> Self {
        Self {
            reader,
            sinks,
            timeout,
        }
    }

    async fn ask(&self, origin: &str, sink: &Arc<dyn ReplicaSink>) -> Option<Floor> {
        let cursor = tokio::time::timeout(self.timeout, sink.cursor(origin))
            .await
            .ok()?
            .inspect_err(|error| {
                tracing::warn!(sink = sink.name(), %error, "cannot be asked what it has seen of the trail");
            })
            .ok()?;
        let source_name = format!("sink {}", sink.name());
        let signed = cursor
            .checkpoint()
            .and_then(|note| self.reader.verify_checkpoint(note).ok())
            .map(|checkpoint| checkpoint.head());
        let seen = match signed {
            Some(head) if head.size >= cursor.next() => SeenTree::Tree(head),
            _ => SeenTree::Size(cursor.next()),
        };
        Some(Floor { source_name, seen })
    }
}

impl ExternalFloor for ReplicaFloor {
    fn largest_seen(&mut self) -> Vec<Floor> {
        let Ok(checkpoint) = self.reader.checkpoint() else {
            return Vec::new();
        };
        let origin = checkpoint.checkpoint().origin().to_owned();
        std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .sinks
                .iter()
                .map(|sink| {
                    let (this, origin) = (&*self, origin.as_str());
                    scope.spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread()
                            .enable_all()
                            .build()
                            .ok()?;
                        let floor = runtime.block_on(this.ask(origin, sink));
                        runtime.shutdown_background();
                        floor
                    })
                })
                .collect();
            asked
                .into_iter()
                .filter_map(|thread| thread.join().ok().flatten())
                .collect()
        })
    }
}

impl std::fmt::Debug for ReplicaFloor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaFloor")
            .field("sinks", &self.sinks.len())
            .finish_non_exhaustive()
    }
}
