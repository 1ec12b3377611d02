//! The sink: calls that block, kept off the runtime's threads.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::{Gap, ReplicaError, ReplicaSink, SealedRange, SinkCursor};
use tokio::sync::Mutex;

use super::append::{Target, nothing_happens};
use super::batch::Batch;
use super::place::Place;
use super::{Format, Rotation};
use crate::blocking::blocking;

/// A file that follows the ledger. See the [module](super) for what is in it.
///
/// One file holds one log. A lock beside it (`flock`) is held while it is written, and the cursor is read under it, so of two
/// processes that write by mistake one is told that the cursor has moved. It cannot compare what lies below the cursor, except for the
/// last entry's leaf hash and the checkpoint.
///
/// Calls that write are made one after the other on a thread that may block; one that is given up is finished there, and the next one waits
/// for it. Memory: a batch's lines, which take up to about three times its bytes, and 64 bytes for each.
#[derive(Debug)]
pub struct FileReplica {
    name: String,
    place: Place,
    /// Held by the call that writes, also when nobody waits for it any more.
    target: Arc<Mutex<Target>>,
}

impl FileReplica {
    /// A sink of this name. The file is made with the first entries; its directory must be there.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, format: Format) -> Self {
        Self::rotating(name, path, format, Rotation::default())
    }

    /// The same, with files that are rotated.
    pub fn rotating(
        name: impl Into<String>,
        path: impl Into<PathBuf>,
        format: Format,
        rotation: Rotation,
    ) -> Self {
        let path = path.into();
        Self {
            name: name.into(),
            place: Place::new(path.clone()),
            target: Arc::new(Mutex::new(Target::new(path, format, rotation))),
        }
    }

    async fn append(
        &self,
        origin: String,
        batch: impl FnOnce(Format) -> Batch + Send + 'static,
    ) -> Result<(), ReplicaError> {
        let mut target = Arc::clone(&self.target).lock_owned().await;
        blocking(move || {
            let batch = batch(target.format());
            target.append(&origin, &batch, &mut nothing_happens)
        })
        .await
    }
}

#[async_trait]
impl ReplicaSink for FileReplica {
    fn name(&self) -> &str {
        &self.name
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        // After a call that was given up and is not done yet: what it leaves is the answer.
        let mut target = Arc::clone(&self.target).lock_owned().await;
        let (origin, sink) = (origin.to_owned(), self.name.clone());
        blocking(move || {
            let cursor = target.cursor(&origin)?;
            if let Some(cursor) = &cursor {
                for complaint in target.complaints(cursor) {
                    tracing::error!(sink, "{complaint}");
                }
            }
            Ok(cursor.map_or(SinkCursor::at(0), |cursor| cursor.to_sink_cursor()))
        })
        .await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let range = range.clone();
        let origin = range.origin().to_owned();
        self.append(origin, move |format| Batch::of_range(&range, format))
            .await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let gap = gap.clone();
        let origin = gap.origin.clone();
        self.append(origin, move |format| Batch::of_gap(&gap, format))
            .await
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        let place = self.place.clone();
        blocking(move || place.health()).await
    }

    async fn reopen(&self) -> Result<bool, ReplicaError> {
        let mut target = Arc::clone(&self.target).lock_owned().await;
        blocking(move || target.reopen()).await?;
        Ok(true)
    }
}
