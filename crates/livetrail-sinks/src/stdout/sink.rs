//! The sink: one batch at a time, each on a thread that may wait for the reader.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::ReplicaError;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::output::{Batch, Output};
use crate::SinksError;
use crate::at_least_once::{AtLeastOnce, Sent, Transport};
use crate::local_cursor::Claim;
use crate::sys;

/// Standard output, which gets each entry as a line of JSON. See the [module](super).
///
/// If the caller gives up a batch because the reader is slow, the sink still writes it. Until it is
/// written, the sink writes nothing else and reports that. Memory: one batch's lines. Each batch
/// has a thread, which ends with the batch or with the process.
pub type StdoutSink = AtLeastOnce<StandardOutput>;

/// The transport that writes lines to standard output.
#[derive(Debug)]
pub struct StandardOutput(Arc<Mutex<Output>>);

/// The right to write to it.
#[derive(Debug)]
pub struct Turn(OwnedMutexGuard<Output>);

impl StdoutSink {
    /// Creates a sink for the process's own standard output. Nothing else may write there. The
    /// cursors are in a directory of this name in `cursors`.
    ///
    /// # Errors
    /// [`SinksError::Write`] if the system gives no second handle for it.
    pub fn new(name: impl Into<String>, cursors: &Path) -> Result<Self, SinksError> {
        let own = sys::standard_output().map_err(|source| SinksError::Write {
            path: "/dev/stdout".into(),
            source,
        })?;
        Ok(Self::over(name, own, cursors))
    }

    /// Creates a sink for a host's own pipe, terminal or file instead.
    pub fn over(name: impl Into<String>, output: File, cursors: &Path) -> Self {
        let output = Arc::new(Mutex::new(Output::new(output)));
        Self::with_transport(name, StandardOutput(output), cursors)
    }
}

#[async_trait]
impl Transport for StandardOutput {
    type Turn = Turn;

    fn turn(&self) -> Result<Turn, ReplicaError> {
        let turn = Arc::clone(&self.0).try_lock_owned();
        turn.map(Turn).map_err(|_| ReplicaError::Unavailable {
            what: "the reader of standard output is slow: the previous batch is not written yet"
                .to_owned(),
            source: None,
        })
    }

    /// Writes on a thread that may wait. The thread keeps the claim, so nobody else sends while it
    /// writes, even after the caller gave up.
    async fn send(
        &self,
        Turn(mut output): Turn,
        sent: Sent<'_>,
        claim: Claim,
    ) -> Result<Claim, ReplicaError> {
        let batch = match sent {
            Sent::Range(range) => Batch::of_range(range),
            Sent::Gap(gap) => Batch::of_gap(gap),
        };
        let (reply, answer) = oneshot::channel();
        let spawned = std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                let written = output.write(&batch);
                drop(output);
                // If the caller gave up, nobody receives this. The next batch finds what is
                // written.
                let _ = reply.send(written.map(|()| claim));
            });
        spawned.map_err(|source| ReplicaError::unavailable("cannot start a thread", source))?;
        answer.await.unwrap_or_else(|_| {
            Err(ReplicaError::Panicked {
                what: "the thread that writes to standard output is gone".to_owned(),
            })
        })
    }

    /// Always succeeds: only a write shows whether anyone reads.
    async fn health(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}
