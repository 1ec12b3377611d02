//! The file sink: one tab-separated line a record.

mod repair;
mod writer;

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_record::{AuditRecord, encode_line_into};
use tokio::sync::oneshot;

use self::writer::{Buffer, Shared};
use crate::error::{AuditError, SinkError};
use crate::sink::AuditSink;

/// Bytes that wait for the disk at most; then [`AuditSink::write`] waits. One batch may go beyond.
const MAX_BUFFERED_BYTES: usize = 8 << 20;

/// How long dropping the sink waits for its thread.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// Appends each record to a file as a line (`livetrail_record::encode_line`).
///
/// All file I/O is on one thread of the sink's own. What comes together is written together, with one system call where
/// the system takes it whole, so lines of one sink never interleave. [`flush`](AuditSink::flush) returns when everything that was
/// taken before is written and synced (`fdatasync`).
///
/// # When the disk fails
///
/// A failed write is counted in [`failed`](Self::failed) and carried out again, from the end of the last complete write, at
/// growing intervals up to one second, for as long as the sink lives; what was written of it in part is cut off first.
/// Meanwhile up to 8 MiB wait in memory, and then `write` waits too. `flush` fails at once. A failed sync is final: the
/// system may have forgotten what it could not write, so that a later success would prove nothing; `flush` fails from then on.
///
/// # The torn last line
///
/// A crash in the middle of a write can leave a last line without its LF. Opening cuts it off: no `flush` can have vouched
/// for it, since a record is durable only with its LF, and a line that was cut short could read as another record.
#[derive(Debug)]
pub struct FileAuditSink {
    shared: Arc<Shared>,
    torn_bytes: u64,
}

impl FileAuditSink {
    /// Opens the file for appending, or creates it (readable by owner and group).
    ///
    /// # Errors
    /// [`AuditError::Open`], [`AuditError::Repair`] when a torn last line cannot be cut off, [`AuditError::Thread`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AuditError> {
        let path = path.as_ref();
        let opened = |source| AuditError::Open {
            path: path.to_owned(),
            source,
        };
        let file = append_options().open(path).map_err(opened)?;
        let metadata = file.metadata().map_err(opened)?;
        let mut torn_bytes = 0;
        if metadata.is_file() {
            torn_bytes = repair::cut_torn_line(path, metadata.len()).map_err(|source| {
                AuditError::Repair {
                    path: path.to_owned(),
                    source,
                }
            })?;
        }
        if torn_bytes > 0 {
            tracing::warn!(path = %path.display(), bytes = torn_bytes, "cut off the torn last line of the trail");
        }
        let shared = Arc::new(Shared::new(path.to_owned(), metadata.is_file()));
        writer::spawn(Arc::clone(&shared), file)?;
        Ok(Self { shared, torn_bytes })
    }

    /// How many writes and syncs failed so far. Failed writes are carried out again.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.failed()
    }

    /// How many bytes of a torn last line opening cut off.
    #[must_use]
    pub const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    async fn append(&self, lines: &str, records: u64) {
        loop {
            // Registered before looking, so that room made in between is not missed.
            let room = self.shared.room.notified();
            if self
                .shared
                .append(lines.as_bytes(), records, MAX_BUFFERED_BYTES)
            {
                return;
            }
            room.await;
        }
    }
}

fn append_options() -> OpenOptions {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o640);
    }
    options
}

#[async_trait]
impl AuditSink for FileAuditSink {
    async fn write(&self, record: AuditRecord) {
        let mut line = String::with_capacity(512);
        encode_line_into(&record, &mut line);
        self.append(&line, 1).await;
    }

    async fn write_batch(&self, records: Vec<AuditRecord>) {
        let mut lines = String::with_capacity(records.len().saturating_mul(384));
        for record in &records {
            encode_line_into(record, &mut lines);
        }
        self.append(&lines, u64::try_from(records.len()).unwrap_or(u64::MAX))
            .await;
    }

    async fn flush(&self) -> Result<(), SinkError> {
        let (done, synced) = oneshot::channel();
        self.shared.ask_sync(done);
        synced.await.unwrap_or(Err(SinkError::Closed))
    }

    fn failing(&self) -> Option<SinkError> {
        self.shared.failing()
    }
}

impl Drop for FileAuditSink {
    /// Writes what is left and syncs it, within 5 s.
    fn drop(&mut self) {
        let left: Option<Buffer> = self.shared.close(DROP_DEADLINE);
        if let Some(left) = left {
            tracing::error!(
                records = left.records,
                bytes = left.bytes.len(),
                "the trail's file did not take everything"
            );
        }
    }
}
