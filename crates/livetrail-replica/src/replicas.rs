//! All replicas of a ledger. Each runs on its own thread and runtime, so that none can delay
//! another.

use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::StartError;
use crate::replicator::{ReplicaWatch, Replicator};
use crate::status::ReplicaStatus;

/// How often a close checks whether the threads have ended.
const CLOSE_POLL: Duration = Duration::from_millis(5);

/// Extra time after the sending deadline, in which the last cursor is written.
const CLOSE_MARGIN: Duration = Duration::from_secs(2);

/// Running replicas, one thread each.
#[derive(Debug, Default)]
pub struct Replicas {
    running: Vec<(ReplicaWatch, JoinHandle<()>)>,
}

impl Replicas {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts one more replica.
    ///
    /// # Errors
    /// [`StartError`] if the system provides no thread or no runtime.
    pub fn start(&mut self, replicator: Replicator) -> Result<(), StartError> {
        let name = "replica";
        let failed = |source| StartError { name, source };
        let watch = replicator.watch();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // These threads read the ledger and resolve a client's host names. Their name differs
            // from the names of the threads that carry media.
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

    /// The status of each replica.
    #[must_use]
    pub fn statuses(&self) -> Vec<ReplicaStatus> {
        self.running
            .iter()
            .map(|(watch, _)| watch.status())
            .collect()
    }

    /// A watch of each replica. It stays valid after [`close`](Self::close).
    #[must_use]
    pub fn watches(&self) -> Vec<ReplicaWatch> {
        self.running
            .iter()
            .map(|(watch, _)| watch.clone())
            .collect()
    }

    /// Sends what is sealed, for at most `within`, and ends. Call it after the ledger's close.
    /// Blocks for about that time. Returns the final status of each replica. Entries that a sink
    /// did not get by then follow after the next start.
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
                // A panic here would be our bug: sinks' panics are caught.
                let _ = thread.join();
            }
        }
        statuses
    }
}
