//! The trail on a ledger: records as entries of a Merkle log that strangers can verify.

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

/// Between two tries when the ledger takes nothing more at the moment.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// A ledger as a sink: each record's canonical bytes are one entry.
///
/// The ledger's [`Pressure`] says which classes of records it takes, and the pipeline keeps to that: refused attempts are left out from
/// 90 % disk use on, best-effort starts from 95 %, and from 97 % on only what is essential is written, from the ledger's reserve. A
/// batch that the ledger cannot take (its queue is full, or there is no room at all) is kept and tried again until it can, so no
/// number of the boot is ever skipped here: the pipeline's queue fills meanwhile, and what that drops is counted and reported.
/// [`flush`](AuditSink::flush) waits for the durable watermark, so a strict session starts when its record is on disk.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, LedgerSink};
/// use livetrail_clock::SystemClock;
/// use livetrail_ledger::{Identity, Ledger, MemStore, Reader, SharedStore, generate_seed};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store: SharedStore = Arc::new(MemStore::new());
/// let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
/// Ledger::create(&store, &identity)?;
/// let (sink, _recovery) = LedgerSink::open(Ledger::builder(store.clone(), identity), SystemClock::new())?;
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
    /// Entries in the ledger when everything that was taken is in it.
    appended: AtomicU64,
    /// The ledger stopped or was closed before it took what it was given: from then on nothing is durable.
    lost: AtomicBool,
    /// Records that have no canonical form, and were left out.
    unwritable: AtomicU64,
    trouble: Mutex<Option<SinkError>>,
    buffer: Mutex<Buffer>,
    ledger: Mutex<Option<Ledger>>,
    clock: Option<Arc<dyn Clock>>,
}

/// Entries, one behind the other; kept for its capacity, at most a batch's size.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    entries: Vec<Range<usize>>,
}

impl LedgerSink {
    /// Opens a ledger with this clock, which becomes the pipeline's, and with [`Audited::audit`](crate::Audited::audit) the engine's:
    /// all three have the same time. [`close`](Self::close) the sink after the pipeline.
    ///
    /// # Errors
    /// As [`Builder::open`].
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

    /// Takes over a ledger that is open, whose clock may be another one than the pipeline's. [`close`](Self::close) it after the
    /// pipeline; dropping the sink does the same, and waits as long as the disk takes.
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

    /// Closes the ledger, with a last checkpoint over everything that is durable, and releases its directory. Blocks, at
    /// most for `timeout`. For after [`AuditPipeline::close`](crate::AuditPipeline::close): records that come later are lost.
    ///
    /// # Errors
    /// [`AuditError::Stopped`] when the log stopped, or the disk did not answer in time. A second call does nothing.
    pub fn close(&self, timeout: Duration) -> Result<(), AuditError> {
        let ledger = lock(&self.ledger).take();
        match ledger.map(|ledger| ledger.close_within(timeout)) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(fatal)) => Err(AuditError::Stopped(fatal)),
        }
    }

    /// The ledger's handle: durable watermark, checkpoint, pressure.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// How many records could not be written because they have no canonical form. None that the pipeline makes.
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
        let mut told = false;
        // The pipeline asks first which classes there is room for, and accounts for what it drops. A
        // record that was handed over has its number and may use the reserve: dropped here it would
        // be a hole. That is one batch at most for each time that the disk gets short.
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
            if !std::mem::replace(&mut told, true) {
                tracing::error!(%error, records = entries.len(), "the ledger does not take records");
            }
            if last {
                // Nothing will ever be taken again; what waits is lost with this process, and everybody was told.
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
        // On a full disk this waits, as long as it takes: who has a deadline gives up by it.
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

/// The sessions that a ledger's trail leaves open: for [`AuditPipelineBuilder::recovered`](crate::AuditPipelineBuilder::recovered)
/// after a crash. Reads the whole trail, in constant memory.
///
/// # Errors
/// When the trail cannot be read, or an entry is no record.
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

/// Nothing that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<LedgerError> for AuditError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}
