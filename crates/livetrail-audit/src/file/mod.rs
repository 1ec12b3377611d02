//! The file sink: one tab-separated line per record.

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

/// The most bytes that wait for the disk. Beyond it [`AuditSink::write`] waits. One batch may
/// exceed it.
const MAX_BUFFERED_BYTES: usize = 8 << 20;

/// How long dropping the sink waits for its thread.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// Appends each record to a file as a line (`livetrail_record::encode_line`).
///
/// One thread of the sink does all file I/O. It writes all waiting lines together. If the system
/// accepts them whole, that is one system call, so lines of one sink never interleave.
/// [`flush`](AuditSink::flush) returns when all earlier lines are written and synced (`fdatasync`).
///
/// # When the disk fails
///
/// [`failed`](Self::failed) counts each failed write. The sink repeats it from the end of the last
/// complete write, as long as the sink exists. The pauses grow up to one second. Before that it
/// removes what was partly written. Meanwhile up to 8 MiB wait in memory, and then `write` waits,
/// too. `flush` fails at once.
///
/// A failed sync is final, and `flush` fails from then on. The system may have dropped the data
/// that it could not write, so a later success would prove nothing.
///
/// # The torn last line
///
/// A crash during a write can leave a last line without its LF. Opening the file removes that line,
/// because a truncated line could read as another record. No `flush` can have confirmed it, because
/// a record is durable only with its LF.
#[derive(Debug)]
pub struct FileAuditSink {
    shared: Arc<Shared>,
    torn_bytes: u64,
}

impl FileAuditSink {
    /// Opens the file for appending, or creates it. Only the owner and the group may read a new
    /// file.
    ///
    /// # Errors
    /// [`AuditError::Open`], [`AuditError::Repair`] if a torn last line cannot be removed, and
    /// [`AuditError::Thread`].
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

    /// The number of failed writes and syncs so far. The sink repeats failed writes.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.failed()
    }

    /// The number of bytes of a torn last line that opening the file removed.
    #[must_use]
    pub const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    async fn append(&self, lines: &str, records: u64) {
        loop {
            // This registers before it checks. So it does not miss space that is freed in between.
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
    /// Writes and syncs the unwritten lines, within 5 s.
    fn drop(&mut self) {
        let unwritten: Option<Buffer> = self.shared.close(DROP_DEADLINE);
        if let Some(unwritten) = unwritten {
            tracing::error!(
                records = unwritten.records,
                bytes = unwritten.bytes.len(),
                "the trail's file did not take everything"
            );
        }
    }
}
