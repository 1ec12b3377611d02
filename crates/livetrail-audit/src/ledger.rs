//! The trail on a ledger: records are entries of a Merkle log that strangers can verify.

use std::ops::Range;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::Clock;
use livetrail_ledger::{
    AppendError, Builder, Class, Handle, Ledger, LedgerError, Pressure, Reader, RecoveryReport,
    WaitError,
};
use livetrail_record::{
    AuditRecord, OpenSession, TrailChecker, encode_canonical_into, parse_canonical,
};

use crate::error::{AuditError, SinkError};
use crate::sink::{AuditSink, RecordClass};

/// The pause between two attempts if the ledger accepts nothing at the moment.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// A ledger as a sink: the canonical bytes of each record are one entry.
///
/// The ledger's [`Pressure`] says which classes of records it accepts, and the pipeline follows it:
///
/// | disk use | effect |
/// |---|---|
/// | from 90 % | refused attempts are dropped |
/// | from 95 % | best-effort starts are dropped, too |
/// | from 97 % | only essential records are written, from the ledger's reserve |
///
/// If the ledger cannot accept a batch, because its queue or the disk is full, the sink keeps the
/// batch and tries again until it succeeds. So the sink never skips a number of the boot. Meanwhile
/// the pipeline's queue fills; the pipeline counts and reports the records that it then drops.
/// [`flush`](AuditSink::flush) waits for the durable watermark, so a strict session starts when its
/// record is on disk.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, LedgerSink};
/// use livetrail_clock::SystemClock;
/// use livetrail_ledger::{Identity, Ledger, MemStore, Reader, SharedStore, generate_seed};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store: SharedStore = Arc::new(MemStore::new());
/// let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
/// Ledger::create(&store, &identity)?;
/// let builder = Ledger::builder(store.clone(), identity);
/// let (sink, _recovery) = LedgerSink::open(builder, SystemClock::new())?;
///
/// let sink = Arc::new(sink);
/// let pipeline = AuditPipeline::new(sink.clone(), 1_024);
/// pipeline.record(AuditRecord::new(AuditAction::Event("hello".into()), "live"))?;
/// pipeline.close().await;
/// sink.close(Duration::from_secs(5))?; // signs the last checkpoint
/// assert_eq!(Reader::open(store)?.checkpoint()?.head().size, 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LedgerSink {
    handle: Handle,
    /// The ledger's number of entries after it has stored everything that it accepted.
    appended: AtomicU64,
    /// The ledger stopped or was closed before it accepted a batch. From then on nothing is
    /// durable.
    lost: AtomicBool,
    /// The number of dropped records without a canonical form.
    unwritable: AtomicU64,
    trouble: Mutex<Option<SinkError>>,
    buffer: Mutex<Buffer>,
    ledger: Mutex<Option<Ledger>>,
    clock: Option<Arc<dyn Clock>>,
}

/// The entries of a batch, one after the other. The buffer is kept for its capacity, which is at
/// most a batch's size.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    entries: Vec<Range<usize>>,
}

impl LedgerSink {
    /// Opens a ledger with this clock. The clock becomes that of the pipeline and, with
    /// [`Audited::audit`](crate::Audited::audit), that of the engine. So all three have the same
    /// time. [`close`](Self::close) the sink after the pipeline.
    ///
    /// # Errors
    /// The errors of [`Builder::open`].
    pub fn open(
        builder: Builder,
        clock: impl Clock,
    ) -> Result<(Self, RecoveryReport), LedgerError> {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let (ledger, recovery) = builder.clock(Arc::clone(&clock)).open()?;
        let mut sink = Self::new(ledger);
        sink.clock = Some(clock);
        Ok((sink, recovery))
    }

    /// Takes over an open ledger, whose clock may differ from the pipeline's.
    /// [`close`](Self::close) it after the pipeline. Dropping the sink does the same, and waits for
    /// the disk without a limit.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        let handle = ledger.handle();
        Self {
            appended: AtomicU64::new(handle.durable_entries()),
            handle,
            lost: AtomicBool::new(false),
            unwritable: AtomicU64::new(0),
            trouble: Mutex::new(None),
            buffer: Mutex::new(Buffer::default()),
            ledger: Mutex::new(Some(ledger)),
            clock: None,
        }
    }

    /// Closes the ledger with a last checkpoint over all durable entries, and releases its
    /// directory. Blocks for at most `timeout`. Call it after
    /// [`AuditPipeline::close`](crate::AuditPipeline::close): later records are dropped.
    ///
    /// # Errors
    /// [`AuditError::Stopped`] if the log stopped, or if the disk did not answer in time. A second
    /// call does nothing.
    pub fn close(&self, timeout: Duration) -> Result<(), AuditError> {
        let ledger = lock(&self.ledger).take();
        match ledger.map(|ledger| ledger.close_within(timeout)) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(fatal)) => Err(AuditError::Stopped(fatal)),
        }
    }

    /// The ledger's handle: the durable watermark, the checkpoint and the pressure.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The number of records that have no canonical form and could not be written. The pipeline
    /// makes no such record.
    #[must_use]
    pub fn unwritable(&self) -> u64 {
        self.unwritable.load(Ordering::Relaxed)
    }

    fn encode(&self, records: &[AuditRecord]) -> Buffer {
        let mut buffer = std::mem::take(&mut *lock(&self.buffer));
        buffer.bytes.clear();
        buffer.entries.clear();
        for record in records {
            let start = buffer.bytes.len();
            match encode_canonical_into(record, &mut buffer.bytes) {
                Ok(()) => buffer.entries.push(start..buffer.bytes.len()),
                Err(error) => {
                    buffer.bytes.truncate(start);
                    self.unwritable.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "a record has no canonical form and is not in the trail");
                }
            }
        }
        buffer
    }

    async fn append(&self, buffer: &Buffer) {
        let entries: Vec<&[u8]> = buffer
            .entries
            .iter()
            .map(|range| &buffer.bytes[range.clone()])
            .collect();
        let mut logged = false;
        // The pipeline first asks which classes have space, and reports the records that it drops.
        // A record that reaches this function has its number and may use the reserve: to drop it
        // would leave a hole. That is at most one batch each time the disk becomes short of space.
        loop {
            let error = match self.handle.try_append(Class::Essential, &entries) {
                Ok(appended) => {
                    self.appended.store(appended.next, Ordering::Release);
                    self.set_trouble(None);
                    return;
                }
                Err(AppendError::QueueFull) => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    continue;
                }
                Err(error) => error,
            };
            let last = error.is_final();
            self.set_trouble(Some(sink_error(&error)));
            if !std::mem::replace(&mut logged, true) {
                tracing::error!(%error, records = entries.len(), "the ledger does not take records");
            }
            if last {
                // The ledger will never accept records again. The queued records are lost with this
                // process, and all callers have the error.
                self.lost.store(true, Ordering::Release);
                return;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    fn set_trouble(&self, trouble: Option<SinkError>) {
        *lock(&self.trouble) = trouble;
    }
}

#[async_trait]
impl AuditSink for LedgerSink {
    async fn write(&self, record: AuditRecord) {
        self.write_batch(vec![record]).await;
    }

    async fn write_batch(&self, records: Vec<AuditRecord>) {
        let buffer = self.encode(&records);
        if !buffer.entries.is_empty() {
            self.append(&buffer).await;
        }
        *lock(&self.buffer) = buffer;
    }

    async fn flush(&self) -> Result<(), SinkError> {
        if self.lost.load(Ordering::Acquire) {
            return Err(self.failing().unwrap_or(SinkError::Closed));
        }
        // On a full disk this waits without a limit. A caller with a deadline gives up at the
        // deadline.
        let durable = self.handle.durable(self.appended.load(Ordering::Acquire));
        durable.await.map_err(|error| match error {
            WaitError::Closed => SinkError::Closed,
            error => SinkError::Other(error.to_string()),
        })
    }

    fn short_of_room(&self) -> bool {
        !self.takes(RecordClass::Refusal)
    }

    fn takes(&self, class: RecordClass) -> bool {
        self.handle.pressure().takes(match class {
            RecordClass::Refusal => Class::Refusal,
            RecordClass::BestEffort => Class::BestEffort,
            RecordClass::Strict => Class::Strict,
            RecordClass::Essential => Class::Essential,
        })
    }

    fn clock(&self) -> Option<Arc<dyn Clock>> {
        self.clock.clone()
    }

    fn failing(&self) -> Option<SinkError> {
        let trouble = lock(&self.trouble).clone();
        trouble.or_else(|| {
            let status = self.handle.status();
            if let Some(fatal) = status.stopped {
                return Some(SinkError::Other(format!("the log stopped: {fatal}")));
            }
            let pressure = status.pressure;
            (pressure >= Pressure::RefuseStrict)
                .then(|| SinkError::Other(format!("the disk is too full ({pressure:?})")))
        })
    }
}

/// The sessions that a ledger's trail leaves open. After a crash, pass them to
/// [`AuditPipelineBuilder::recovered`](crate::AuditPipelineBuilder::recovered). Reads the whole
/// trail in constant memory.
///
/// # Errors
/// The trail cannot be read, or an entry is not a record.
pub fn open_sessions_of_ledger(reader: &Reader) -> Result<Vec<OpenSession>, AuditError> {
    let size = reader.checkpoint().map_err(AuditError::Ledger)?.head().size;
    let first = reader.first_index().map_err(AuditError::Ledger)?;
    let mut checker = TrailChecker::new();
    let entries = reader.entries(first..size).map_err(AuditError::Ledger)?;
    for (index, entry) in (first..).zip(entries) {
        let entry = entry.map_err(AuditError::Ledger)?;
        let record =
            parse_canonical(&entry).map_err(|source| AuditError::Entry { index, source })?;
        checker.feed(&record);
    }
    Ok(checker.finish().1.open)
}

fn sink_error(error: &AppendError) -> SinkError {
    match error {
        AppendError::Closed => SinkError::Closed,
        error => SinkError::Other(error.to_string()),
    }
}

/// No code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<LedgerError> for AuditError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}
