//! The sink: one batch at a time, each on a thread that may wait for the reader.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::{Delivery, Gap, ReplicaError, ReplicaSink, SealedRange, SinkCursor};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::output::{Batch, Output};
use crate::SinksError;
use crate::local_cursor::{Claim, LocalCursor};

/// Standard output, which gets each entry as a line of JSON. See the [module](super).
///
/// A batch that was given up because the reader is slow goes on being written beside; until it is out, nothing else is, and the sink says
/// so. Memory: one batch's lines. A thread for each batch, which ends with it, or with the process.
#[derive(Debug)]
pub struct StdoutSink {
    name: String,
    cursor: LocalCursor,
    output: Arc<Mutex<Output>>,
}

impl StdoutSink {
    /// The process's own standard output. Nothing else may be written there. The cursors are in `cursors`, in a folder of this name.
    ///
    /// # Errors
    /// [`SinksError::Write`] when the system has no second handle for it.
    pub fn new(name: impl Into<String>, cursors: &Path) -> Result<Self, SinksError> {
        let own = std::io::stdout().as_fd().try_clone_to_owned();
        let own = own.map_err(|source| SinksError::Write {
            path: "/dev/stdout".into(),
            source,
        })?;
        Ok(Self::over(name, File::from(own), cursors))
    }

    /// A pipe, a terminal or a file of a host's own in its place.
    pub fn over(name: impl Into<String>, output: File, cursors: &Path) -> Self {
        let name = name.into();
        Self {
            cursor: LocalCursor::new(cursors, &name),
            name,
            output: Arc::new(Mutex::new(Output::new(output))),
        }
    }

    fn turn(&self) -> Result<OwnedMutexGuard<Output>, ReplicaError> {
        let turn = Arc::clone(&self.output).try_lock_owned();
        turn.map_err(|_| ReplicaError::Unavailable {
            what: "whoever reads standard output is slow: the batch before is not out yet"
                .to_owned(),
            source: None,
        })
    }

    /// Writes on a thread that may wait, and gives the claim back. Nobody else sends as long as it is there, also when this is given up.
    async fn write(
        mut turn: OwnedMutexGuard<Output>,
        batch: Batch,
        claim: Claim,
    ) -> Result<Claim, ReplicaError> {
        let (reply, answer) = oneshot::channel();
        let spawned = std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                let written = turn.write(&batch);
                drop(turn);
                // Who gave up does not hear it: the next batch finds what is out.
                let _ = reply.send(written.map(|()| claim));
            });
        spawned.map_err(|source| ReplicaError::unavailable("cannot start a thread", source))?;
        answer.await.unwrap_or_else(|_| {
            Err(ReplicaError::Panicked {
                what: "the thread that writes to standard output is gone".to_owned(),
            })
        })
    }
}

#[async_trait]
impl ReplicaSink for StdoutSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        self.cursor.read(origin).await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let turn = self.turn()?;
        let claim = self.cursor.claim(range.origin(), range.first()).await?;
        let claim = Self::write(turn, Batch::of_range(range), claim).await?;
        claim.commit(range).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let turn = self.turn()?;
        let claim = self.cursor.claim(&gap.origin, gap.missing.start).await?;
        let claim = Self::write(turn, Batch::of_gap(gap), claim).await?;
        claim.commit_gap(gap).await
    }

    /// Whether anybody reads can only be told by writing.
    async fn health(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}
