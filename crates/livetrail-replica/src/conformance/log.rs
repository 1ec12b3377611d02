//! A ledger in memory with reproducible entries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livetrail_ledger::{
    Class, ExternalFloor, Handle, Identity, Ledger, LedgerError, MemStore, Options, Reader,
    SharedStore,
};
use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Opening, Outcome, Reason, Uuid, Value,
    encode_canonical_into, encode_entry,
};
use livetrail_tlog::{Bundle, TILE_WIDTH};

use super::PATIENCE;
use crate::ReplicaOptions;
use crate::error::BoxError;
use crate::personal::{OpeningSource, opening_of};
use crate::range::SealedRange;
use crate::source::{Batch, SealedLog};

/// A ledger in memory whose entries are records. The same steps give the same entries, so two
/// ledgers of one origin can have a common beginning, or be the same log at different ages.
#[derive(Debug)]
pub struct TestLog {
    origin: String,
    /// The seeds of both keys.
    seeds: (u8, u8),
    memory: MemStore,
    store: SharedStore,
    ledger: Ledger,
    reader: Arc<Reader>,
    entries: Mutex<Vec<Bytes>>,
    openings: Arc<TestOpenings>,
}

/// The openings of a [`TestLog`], in memory.
#[derive(Debug, Default)]
pub struct TestOpenings(Mutex<BTreeMap<[u8; 16], Opening>>);

impl OpeningSource for TestOpenings {
    fn opening(&self, session: Uuid) -> Result<Option<Opening>, BoxError> {
        let openings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(openings.get(session.as_bytes()).cloned())
    }
}

impl TestLog {
    /// Makes an empty ledger. The keys depend on the origin alone.
    ///
    /// # Panics
    /// If the ledger cannot be made.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        let memory = MemStore::new();
        let seeds = (1, 2);
        let store: SharedStore = Arc::new(memory.clone());
        Ledger::create(&store, &identity(origin, seeds)).expect("a new ledger");
        Self::open(origin, seeds, memory, Vec::new(), None).expect("the ledger opens")
    }

    fn open(
        origin: &str,
        seeds: (u8, u8),
        memory: MemStore,
        entries: Vec<Bytes>,
        floor: Option<Box<dyn ExternalFloor>>,
    ) -> Result<Self, LedgerError> {
        let mut options = Options::default();
        options.queue_bytes = 1 << 20;
        options.segment_bytes = 4 << 20;
        options.ballast_bytes = 0;
        options.checkpoint_interval = Duration::from_millis(5);
        let store: SharedStore = Arc::new(memory.clone());
        let mut builder =
            Ledger::builder(Arc::clone(&store), identity(origin, seeds)).options(options);
        if let Some(floor) = floor {
            builder = builder.floor(floor);
        }
        let (ledger, _) = builder.open()?;
        Ok(Self {
            origin: origin.to_owned(),
            seeds,
            memory,
            store: Arc::clone(&store),
            ledger,
            reader: Arc::new(Reader::open(store)?),
            entries: Mutex::new(entries),
            openings: Arc::default(),
        })
    }

    /// Copies the log to its own storage, as a back-up has it. Nothing is written to the copy any
    /// more.
    ///
    /// # Panics
    /// If the copy does not open.
    #[must_use]
    pub fn copy(&self) -> Self {
        let entries = self.entries();
        let copy = Self::open(&self.origin, self.seeds, self.memory.copy(), entries, None);
        copy.expect("a copy opens")
    }

    /// Ends it and starts it again, with the question to `floor` first, as a server does.
    ///
    /// # Errors
    /// The start is refused.
    pub fn restarted(self, floor: Option<Box<dyn ExternalFloor>>) -> Result<Self, LedgerError> {
        let entries = self.entries();
        let _ = self.ledger.close();
        Self::open(&self.origin, self.seeds, self.memory, entries, floor)
    }

    /// Ends it, gives it new keys, and starts it again.
    ///
    /// # Panics
    /// If that is refused.
    #[must_use]
    pub fn with_keys(self, signer: u8, cosigner: u8) -> Self {
        let entries = self.entries();
        let (old, seeds) = (self.seeds, (signer, cosigner));
        self.ledger.close().expect("it closes");
        Ledger::builder(Arc::clone(&self.store), identity(&self.origin, old))
            .rotate_to(&identity(&self.origin, seeds))
            .expect("new keys");
        Self::open(&self.origin, seeds, self.memory, entries, None).expect("it opens")
    }

    /// Makes a log with `count` entries.
    #[must_use]
    pub fn with(origin: &str, count: u64) -> Self {
        let log = Self::new(origin);
        log.add(count);
        log
    }

    /// Adds `count` entries, and waits until they are sealed.
    pub fn add(&self, count: u64) {
        self.add_other(count, "cam");
    }

    /// Adds entries with this stream's name, so that they differ from other entries at the same
    /// indexes.
    ///
    /// # Panics
    /// If the ledger does not accept them.
    pub fn add_other(&self, count: u64, stream: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let first = entries.len() as u64;
        let new: Vec<_> = (first..first + count)
            .map(|index| entry(index, stream))
            .collect();
        for part in new.chunks(1_000) {
            self.ledger.append(Class::Strict, part).expect("appended");
        }
        entries.extend(new);
        self.ledger
            .wait_sealed(first + count, PATIENCE)
            .expect("sealed in time");
    }

    /// Adds the first entries of `count` sessions, and keeps their openings. Waits until they are
    /// sealed. Returns the identifiers of the openings.
    ///
    /// # Panics
    /// If the ledger does not accept them.
    pub fn add_sessions(&self, count: u64) -> Vec<[u8; 16]> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let first = entries.len() as u64;
        let mut sessions = Vec::new();
        let mut new = Vec::new();
        for index in first..first + count {
            let session = Uuid::from_u128(0x5e55_1000_0000 + u128::from(index));
            let record = AuditRecord::new(AuditAction::PlayStarted, "live")
                .with_ts_ms(1_764_000_000_000 + index * 250)
                .with_boot(Uuid::from_u128(7))
                .with_seq(index)
                .with_session(session)
                .with_stream("cam")
                .with_principal(format!("viewer-{index}"))
                .with_peer(format!("192.0.2.7:{}", 10_000 + index % 50_000))
                .with_user_agent("a \"player\"");
            let entry = encode_entry(&record, &EntryContext::new([7; 16])).expect("an entry");
            let opening = entry.opening.expect("it has personal fields");
            let mut openings = self
                .openings
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            openings.insert(*session.as_bytes(), opening);
            sessions.push(*session.as_bytes());
            new.push(Bytes::from(entry.bytes));
        }
        self.append(&mut entries, new);
        sessions
    }

    /// Erases these openings: from the log's own ones, and with a record that names them.
    ///
    /// # Panics
    /// If the ledger does not accept it.
    pub fn erase(&self, sessions: &[[u8; 16]]) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let index = entries.len() as u64;
        let record = AuditRecord::new(AuditAction::from_label("admin_erased"), "")
            .with_ts_ms(1_764_000_000_000 + index * 250)
            .with_boot(Uuid::from_u128(7))
            .with_seq(index)
            .with_extra("sessions", Value::Text(STANDARD.encode(sessions.concat())))
            .expect("a field");
        let entry = encode_entry(&record, &EntryContext::new([7; 16])).expect("an entry");
        for session in sessions {
            let mut openings = self
                .openings
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            openings.remove(session);
        }
        self.append(&mut entries, vec![Bytes::from(entry.bytes)]);
    }

    fn append(&self, entries: &mut Vec<Bytes>, new: Vec<Bytes>) {
        self.ledger.append(Class::Strict, &new).expect("appended");
        entries.extend(new);
        self.ledger
            .wait_sealed(entries.len() as u64, PATIENCE)
            .expect("sealed in time");
    }

    /// The openings that are not erased.
    #[must_use]
    pub fn openings(&self) -> Arc<TestOpenings> {
        Arc::clone(&self.openings)
    }

    /// The identifier and the JSON of each opening that is not erased, in order.
    #[must_use]
    pub fn openings_left(&self) -> Vec<([u8; 16], Vec<u8>)> {
        let openings = self
            .openings
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let openings = openings.iter();
        openings
            .map(|(session, opening)| (*session, opening.to_json()))
            .collect()
    }

    /// Its origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its handle.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.ledger.handle()
    }

    /// Its reader.
    #[must_use]
    pub fn reader(&self) -> Arc<Reader> {
        Arc::clone(&self.reader)
    }

    /// All entries.
    #[must_use]
    pub fn entries(&self) -> Vec<Bytes> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }

    /// How many entries are sealed: all of them.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.ledger.checkpoint().head().size
    }

    /// Removes the bundles below this index, as pruning does.
    ///
    /// # Panics
    /// If they do not exist.
    pub fn prune_below(&self, index: u64) {
        for number in 0..index / u64::from(TILE_WIDTH) {
            let bundle = Bundle::new(number, TILE_WIDTH).expect("a full bundle");
            self.store.remove(&bundle.to_string()).expect("it is there");
        }
    }

    /// Some of its entries, with the newest checkpoint and with their openings.
    ///
    /// # Panics
    /// If they do not exist.
    #[must_use]
    pub fn range(&self, first: u64, count: usize) -> SealedRange {
        let options = ReplicaOptions {
            batch_records: count,
            batch_bytes: usize::MAX,
            ..ReplicaOptions::default()
        };
        let checkpoint = Arc::new(self.ledger.checkpoint());
        let log = SealedLog::new(self.handle(), self.reader(), &options);
        match log.read_at(&checkpoint, first) {
            Ok(Batch::Range(range)) => {
                let source = self.openings.as_ref();
                let openings: Vec<_> = range
                    .iter()
                    .filter_map(|(index, entry, _)| opening_of(source, index, entry).ok()?)
                    .collect();
                range.with_openings(openings)
            }
            other => panic!("entries {first} and on: {other:?}"),
        }
    }
}

fn identity(origin: &str, (signer, cosigner): (u8, u8)) -> Identity {
    Identity::from_seeds(origin, &[signer; 32].into(), &[cosigner; 32].into()).expect("an identity")
}

/// The record at this index: sessions of four records, one of which is refused.
fn entry(index: u64, stream: &str) -> Bytes {
    let (action, session) = match index % 4 {
        0 => (AuditAction::PublishStarted, index),
        1 => (AuditAction::PlayDenied, index),
        2 => (AuditAction::RateLimited, index - 2),
        _ => (AuditAction::PublishEnded, index - 3),
    };
    let mut record = AuditRecord::new(action.clone(), "live")
        .with_ts_ms(1_764_000_000_000 + index * 250)
        .with_session(Uuid::from_u128(u128::from(session) + 1))
        .with_boot(Uuid::from_u128(7))
        .with_nonce(u128::from(index).to_be_bytes());
    record.stream = Some(format!("{stream}-{}", session % 7));
    record.seq = Some(index);
    record.mono_ms = Some(index * 250);
    record.node = Some("a".to_owned());
    record.protocol = Some("rtmp".to_owned());
    match action {
        AuditAction::PlayDenied => {
            record.outcome = Some(Outcome::Denied);
            record.reason = Some(Reason::Unauthorized);
        }
        AuditAction::PublishEnded => {
            record.reason = Some(Reason::ClientClosed);
            record.duration_ms = Some(750);
            record.bytes = Some(index * 1_000);
        }
        _ => {}
    }
    let mut bytes = Vec::new();
    encode_canonical_into(&record, &mut bytes).expect("it has a canonical form");
    Bytes::from(bytes)
}
