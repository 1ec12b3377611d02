//! All replicas of a ledger: each on a thread and a runtime of its own, so that none can hold another up.

use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::StartError;
use crate::replicator::{ReplicaWatch, Replicator};
use crate::status::ReplicaStatus;

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
    /// [`StartError`] when the system gives no thread or no runtime.
    pub fn start(&mut self, replicator: Replicator) -> Result<(), StartError> {
        let name = "replica";
        let failed = |source| StartError { name, source };
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
