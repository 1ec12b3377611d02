//! The trail on a ledger: records are entries of a Merkle log that strangers can verify.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::Clock;
use livetrail_ledger::{
    AppendError, Builder, Class, Entry, Handle, Ledger, LedgerError, MAX_COMPANION_BYTES, Pressure,
    Reader, RecoveryReport, WaitError,
};
use livetrail_record::{
    AuditRecord, EntryContext, OpenSession, Opening, Reason, TrailChecker, encode_canonical_into,
    encode_entry_into, parse_canonical,
};

use crate::error::{AuditError, SinkError};
use crate::openings::{OpeningOf, Openings};
use crate::random::RandomBlocks;
use crate::sink::{AuditSink, RecordClass};

/// The pause between two attempts if the ledger accepts nothing at the moment.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// The pause between two attempts if an opening cannot be sealed.
const SEAL_INTERVAL: Duration = Duration::from_millis(10);

/// A ledger as a sink: each record is one entry.
///
/// | opened with | an entry is |
/// |---|---|
/// | [`open`](Self::open), [`new`](Self::new) | the record's canonical bytes (schema 1): names, addresses and programs in clear, for ever |
/// | [`open_with`](Self::open_with) | an entry of schema 2: a commitment in place of the personal fields, whose opening goes to the host's vault |
///
/// Both schemas can be in one log.
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
    vault: Option<Vault>,
}

/// Where openings go.
struct Vault {
    openings: Arc<dyn Openings>,
    salts: Mutex<RandomBlocks>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

/// The entries of a batch and their companions, one after the other. The buffer is kept for its
/// capacity, which is at most a batch's size.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    entries: Vec<Place>,
}

/// Where an entry and its companion are in a buffer.
#[derive(Debug)]
struct Place {
    entry: Range<usize>,
    companion: Range<usize>,
}

impl Buffer {
    fn entries(&self) -> Vec<Entry<'_>> {
        let entry = |place: &Place| Entry {
            bytes: &self.bytes[place.entry.clone()],
            companion: &self.bytes[place.companion.clone()],
        };
        self.entries.iter().map(entry).collect()
    }
}

/// Why a record is not in the buffer.
enum NotEncoded {
    /// It has no canonical form, or its companion is too long. It can never be written.
    Unwritable(String),
    /// Not now.
    Unsealed(io::Error),
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
        Self::open_on(builder, Arc::new(clock))
    }

    /// Like [`open`](Self::open), but entries have commitments in place of personal fields, and
    /// openings go to this host. The builder must have the store that keeps them:
    /// [`Builder::companions`].
    ///
    /// A trail that began without openings continues: its earlier entries stay as they are.
    ///
    /// ```
    /// use std::{io, sync::{Arc, Mutex}, time::Duration};
    /// use livetrail_audit::{
    ///     AuditAction, AuditPipeline, AuditRecord, LedgerSink, OpeningOf, Openings,
    /// };
    /// use livetrail_clock::SystemClock;
    /// use livetrail_ledger::{
    ///     Companion, CompanionStore, Identity, Ledger, MemStore, Reader, SharedStore,
    ///     generate_seed,
    /// };
    ///
    /// /// In memory and in clear: a real vault is durable, and seals openings.
    /// #[derive(Clone, Default)]
    /// struct Vault(Arc<Mutex<Vec<u8>>>);
    ///
    /// impl Openings for Vault {
    ///     fn seal(&self, opening: &OpeningOf<'_>, into: &mut Vec<u8>) -> io::Result<()> {
    ///         into.extend_from_slice(&opening.opening.to_json());
    ///         Ok(())
    ///     }
    ///
    ///     fn name_secret(&self, _app: &str) -> Option<[u8; 32]> {
    ///         None
    ///     }
    /// }
    ///
    /// impl CompanionStore for Vault {
    ///     fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
    ///         let mut kept = self.0.lock().map_err(|_| io::Error::other("a thread panicked"))?;
    ///         companions.iter().for_each(|one| kept.extend_from_slice(one.bytes));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store: SharedStore = Arc::new(MemStore::new());
    /// let (signer, cosigner) = (generate_seed()?, generate_seed()?);
    /// let identity = Identity::from_seeds("example.com/audit", &signer, &cosigner)?;
    /// Ledger::create(&store, &identity)?;
    /// let vault = Vault::default();
    /// let builder = Ledger::builder(store.clone(), identity).companions(vault.clone());
    /// let openings = Arc::new(vault.clone());
    /// let (sink, _recovery) = LedgerSink::open_with(builder, SystemClock::new(), openings)?;
    ///
    /// let sink = Arc::new(sink);
    /// let pipeline = AuditPipeline::new(sink.clone(), 1_024);
    /// let record = AuditRecord::new(AuditAction::Event("hello".into()), "live");
    /// pipeline.record(record.with_principal("alice"))?;
    /// pipeline.close().await;
    /// sink.close(Duration::from_secs(5))?;
    /// let entry = String::from_utf8(Reader::open(store)?.entry(0)?)?;
    /// assert!(entry.contains(r#""personal":"#) && !entry.contains("alice"));
    /// let kept = String::from_utf8(vault.0.lock().unwrap().clone())?;
    /// assert!(kept.contains(r#""principal":"alice""#));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Builder::open`], and [`LedgerError::NoCompanionStore`].
    pub fn open_with(
        builder: Builder,
        clock: impl Clock,
        openings: Arc<dyn Openings>,
    ) -> Result<(Self, RecoveryReport), LedgerError> {
        if !builder.takes_companions() {
            return Err(LedgerError::NoCompanionStore);
        }
        let (mut sink, recovery) = Self::open_on(builder, Arc::new(clock))?;
        sink.vault = Some(Vault {
            openings,
            salts: Mutex::new(RandomBlocks::new()),
        });
        Ok((sink, recovery))
    }

    fn open_on(
        builder: Builder,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, RecoveryReport), LedgerError> {
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
            vault: None,
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

    /// The number of records that have no canonical form, or too long an opening, and could not be
    /// written. The pipeline makes no such record.
    #[must_use]
    pub fn unwritable(&self) -> u64 {
        self.unwritable.load(Ordering::Relaxed)
    }

    /// The entries of a batch. `None` if the log stopped before all openings were sealed.
    async fn encode(&self, records: &[AuditRecord]) -> Option<Buffer> {
        let mut buffer = std::mem::take(&mut *lock(&self.buffer));
        buffer.bytes.clear();
        buffer.entries.clear();
        let mut logged = false;
        for record in records {
            loop {
                let start = buffer.bytes.len();
                let error = match self.encode_one(record, &mut buffer.bytes) {
                    Ok(place) => {
                        buffer.entries.push(place);
                        break;
                    }
                    Err(error) => error,
                };
                buffer.bytes.truncate(start);
                match error {
                    NotEncoded::Unwritable(error) => {
                        self.unwritable.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, "a record cannot be written and is not in the trail");
                        break;
                    }
                    NotEncoded::Unsealed(error) => {
                        if !std::mem::replace(&mut logged, true) {
                            tracing::error!(%error, "cannot seal personal data; trying again");
                        }
                        let words = format!("cannot seal personal data: {error}");
                        self.set_trouble(Some(SinkError::Other(words)));
                    }
                }
                if self.handle.status().stopped.is_some() {
                    return None;
                }
                tokio::time::sleep(SEAL_INTERVAL).await;
            }
        }
        if logged {
            self.set_trouble(None);
        }
        Some(buffer)
    }

    /// Appends the entry of a record and its companion. After an error `out` may have a part of
    /// them.
    fn encode_one(&self, record: &AuditRecord, out: &mut Vec<u8>) -> Result<Place, NotEncoded> {
        let unwritable = |error: &dyn fmt::Display| NotEncoded::Unwritable(error.to_string());
        let start = out.len();
        let opening = match &self.vault {
            None => {
                encode_canonical_into(record, out).map_err(|error| unwritable(&error))?;
                None
            }
            Some(vault) => vault.encode(record, out)?,
        };
        let end = out.len();
        if let (Some(opening), Some(vault)) = (opening, &self.vault) {
            let opening = OpeningOf::new(record, &opening);
            let sealed = vault.openings.seal(&opening, out);
            sealed.map_err(NotEncoded::Unsealed)?;
            let bytes = out.len().saturating_sub(end);
            if bytes > MAX_COMPANION_BYTES {
                let most = MAX_COMPANION_BYTES;
                return Err(unwritable(&format_args!(
                    "its sealed opening has {bytes} bytes and may have {most}"
                )));
            }
        }
        Ok(Place {
            entry: start..end,
            companion: end..out.len(),
        })
    }

    async fn append(&self, buffer: &Buffer) {
        let all = buffer.entries();
        let mut rest = &all[..];
        let mut at_once = rest.len();
        let mut logged = false;
        // The pipeline first asks which classes have space, and reports the records that it drops.
        // A record that reaches this function has its number and may use the reserve: to drop it
        // would leave a hole. That is at most one batch each time the disk becomes short of space.
        while !rest.is_empty() {
            let (entries, after) = rest.split_at(at_once.min(rest.len()));
            let error = match self.handle.try_append_entries(Class::Essential, entries) {
                Ok(appended) => {
                    self.appended.store(appended.next, Ordering::Release);
                    self.set_trouble(None);
                    rest = after;
                    continue;
                }
                Err(AppendError::QueueFull) => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    continue;
                }
                // A batch of very long records is larger than the whole queue.
                Err(AppendError::TooMuch { .. }) if entries.len() > 1 => {
                    at_once = entries.len() / 2;
                    continue;
                }
                Err(error) => error,
            };
            let last = error.is_final();
            self.set_trouble(Some(sink_error(&error)));
            if !std::mem::replace(&mut logged, true) {
                tracing::error!(%error, records = rest.len(), "the ledger does not take records");
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

impl Vault {
    /// Appends the entry of a record, and returns its opening.
    fn encode(
        &self,
        record: &AuditRecord,
        out: &mut Vec<u8>,
    ) -> Result<Option<Opening>, NotEncoded> {
        let mut salts = lock(&self.salts);
        let salt = salts
            .peek()
            .map_err(|error| NotEncoded::Unsealed(io::Error::other(error.to_string())))?;
        let secret = self.openings.name_secret(&record.app);
        // The stream of a session that an earlier boot left open is what the log has: a token
        // already, or a name that is in the log in clear.
        let secret = secret.filter(|_| !is_crash_closure(record));
        let mut context = EntryContext::new(salt);
        if let Some(secret) = &secret {
            context = context.with_name_secret(secret);
        }
        let opening = encode_entry_into(record, &context, out)
            .map_err(|error| NotEncoded::Unwritable(error.to_string()))?;
        if opening.is_some() {
            salts.pop();
        }
        Ok(opening)
    }
}

fn is_crash_closure(record: &AuditRecord) -> bool {
    record.inferred && record.reason == Some(Reason::ServerCrash)
}

#[async_trait]
impl AuditSink for LedgerSink {
    async fn write(&self, record: AuditRecord) {
        self.write_batch(vec![record]).await;
    }

    async fn write_batch(&self, records: Vec<AuditRecord>) {
        let Some(buffer) = self.encode(&records).await else {
            self.lost.store(true, Ordering::Release);
            return;
        };
        self.append(&buffer).await;
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
