//! The sink: its blocking calls run away from the runtime's threads.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::{Gap, PersonalMode, ReplicaError, ReplicaSink, SealedRange, SinkCursor};
use tokio::sync::Mutex;

use super::append::{Target, nothing_happens};
use super::batch::Batch;
use super::place::Place;
use super::{Format, Rotation};
use crate::blocking::blocking;

/// A file that follows the ledger. The [module](super) describes its content.
///
/// One file holds one log. During a write the sink holds a lock on a file next to it (`flock`) and
/// reads the cursor under the lock. So if two processes write by mistake, one of them gets the
/// error that the cursor has moved. Below the cursor the sink can compare only the last entry's
/// leaf hash and the checkpoint.
///
/// Calls that write run one after the other on a thread that may block. If the caller gives up a
/// call, the thread still finishes it, and the next call waits for that. Memory: the lines of a
/// batch, which need up to about three times its bytes, and 64 bytes for each line.
#[derive(Debug)]
pub struct FileReplica {
    name: String,
    place: Place,
    personal: PersonalMode,
    /// A call that writes locks this, even after its caller gave up.
    target: Arc<Mutex<Target>>,
}

impl FileReplica {
    /// Creates a sink with this name. The first entries create the file; its directory must exist.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, format: Format) -> Self {
        Self::rotating(name, path, format, Rotation::default())
    }

    /// Creates a sink with rotated files.
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
            personal: PersonalMode::None,
            target: Arc::new(Mutex::new(Target::new(path, format, rotation))),
        }
    }

    /// Writes names in clear next to each entry, where nobody can erase them.
    #[must_use]
    pub const fn with_names_in_clear(mut self) -> Self {
        self.personal = PersonalMode::Clear;
        self
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

    fn personal(&self) -> PersonalMode {
        self.personal
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        // A call that was given up may still run. This waits for it, so the answer includes its
        // result.
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
