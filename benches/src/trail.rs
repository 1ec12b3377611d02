//! A trail of any length on a disk: a day of viewers who come and go on a thousand streams.

use std::{path::Path, sync::Arc, time::Duration};

use livetrail_ledger::{Class, Identity, Ledger, RealStore, SharedStore};
use livetrail_record::{AuditAction, AuditRecord, Outcome, Reason, Uuid, encode_canonical_into};

/// Streams that are watched.
pub const STREAMS: u64 = 1_000;

/// When the day begins, in milliseconds since 1970 UTC.
pub const START_MS: u64 = 1_763_805_600_000;

/// Records in a second of the day.
pub const RECORDS_PER_S: u64 = 120;

/// Records that are appended at once.
const BATCH: u64 = 4_096;

/// Viewers who are there at a time, on average.
const VIEWERS: usize = 20_000;

/// Entries that may wait to be durable.
const AHEAD: u64 = 200_000;

/// The generator of the records. It makes the same records every time.
pub struct Day {
    numbers: u64,
    seq: u64,
    /// Session, stream, viewer, since when.
    open: Vec<(Uuid, u64, u64, u64)>,
    /// Some sessions from the middle, for queries: one in some thousands.
    pub some_sessions: Vec<Uuid>,
}

impl Default for Day {
    fn default() -> Self {
        Self {
            numbers: 0x9e37_79b9_7f4a_7c15,
            seq: 0,
            open: Vec::with_capacity(VIEWERS * 2),
            some_sessions: Vec::new(),
        }
    }
}

impl Day {
    fn random(&mut self) -> u64 {
        self.numbers ^= self.numbers << 13;
        self.numbers ^= self.numbers >> 7;
        self.numbers ^= self.numbers << 17;
        self.numbers
    }

    /// The next record.
    pub fn record(&mut self) -> AuditRecord {
        let seq = self.seq;
        self.seq += 1;
        let ts_ms = START_MS + seq * 1_000 / RECORDS_PER_S;
        let nonce = (u128::from(self.random()) << 64 | u128::from(self.random())).to_be_bytes();
        let record = if seq == 0 {
            AuditRecord::new(AuditAction::ServerStarted, "")
        } else if seq.is_multiple_of(60 * RECORDS_PER_S) {
            AuditRecord::new(AuditAction::Heartbeat, "").with_last_seq(seq - 1)
        } else if self.open.len() >= VIEWERS
            || (self.open.len() > VIEWERS / 2 && self.random().is_multiple_of(2))
        {
            self.ended(ts_ms)
        } else {
            self.started(ts_ms)
        };
        record
            .with_ts_ms(ts_ms)
            .with_mono_ms(ts_ms - START_MS)
            .with_boot(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001))
            .with_node("edge-1")
            .with_seq(seq)
            .with_nonce(nonce)
    }

    fn started(&mut self, ts_ms: u64) -> AuditRecord {
        let id = u128::from(ts_ms) << 80
            | 0x7 << 76
            | u128::from(self.random() >> 52) << 64
            | 0x8 << 60
            | u128::from(self.random() >> 4);
        let session = Uuid::from_u128(id);
        let (stream, viewer) = (self.random() % STREAMS, self.random() % 1_000_000);
        self.open.push((session, stream, viewer, ts_ms));
        if self.random().is_multiple_of(5_000) {
            self.some_sessions.push(session);
        }
        of(AuditAction::PlayStarted, session, stream, viewer)
    }

    fn ended(&mut self, ts_ms: u64) -> AuditRecord {
        let at = usize::try_from(self.random()).unwrap_or(0) % self.open.len();
        let (session, stream, viewer, since) = self.open.swap_remove(at);
        of(AuditAction::PlayEnded, session, stream, viewer)
            .with_reason(Reason::ClientClosed)
            .with_duration_ms(ts_ms - since)
            .with_bytes((ts_ms - since) * 250)
            .with_frames((ts_ms - since) / 33)
    }
}

fn of(action: AuditAction, session: Uuid, stream: u64, viewer: u64) -> AuditRecord {
    AuditRecord::new(action, "live")
        .with_session(session)
        .with_stream(stream_name(stream))
        .with_outcome(Outcome::Success)
        .with_protocol("rtmp")
        .with_principal(format!("viewer-{viewer}"))
        .with_peer(format!(
            "192.0.2.{}:{}",
            viewer % 250,
            1_024 + viewer % 60_000
        ))
}

/// The name of a stream.
pub fn stream_name(stream: u64) -> String {
    format!("camera-{stream}")
}

/// What was written.
pub struct Written {
    pub day: Day,
    pub bytes: u64,
    /// The log's verifier key.
    pub vkey: String,
}

/// Writes a day of this many records into `dir`, which must not exist.
pub fn write(dir: &Path, records: u64) -> anyhow::Result<Written> {
    let store: SharedStore = Arc::new(RealStore::new(dir));
    let identity = Identity::from_seeds("example.com/day", &[1; 32].into(), &[2; 32].into())?;
    let vkey = identity.signer_key().to_string();
    Ledger::create(&store, &identity)?;
    let (ledger, _) = Ledger::builder(store, identity).open()?;
    let mut day = Day::default();
    let mut bytes = 0;
    let (mut buffer, mut ends) = (Vec::new(), Vec::new());
    let mut left = records;
    while left > 0 {
        let count = left.min(BATCH);
        left -= count;
        buffer.clear();
        ends.clear();
        for _ in 0..count {
            encode_canonical_into(&day.record(), &mut buffer)?;
            ends.push(buffer.len());
        }
        bytes += buffer.len() as u64;
        let mut from = 0;
        let entries: Vec<&[u8]> = ends
            .iter()
            .map(|end| &buffer[std::mem::replace(&mut from, *end)..*end])
            .collect();
        let appended = ledger.append(Class::Strict, &entries)?;
        if let Some(behind) = appended.next.checked_sub(AHEAD) {
            ledger.wait_durable(behind, Duration::from_secs(60))?;
        }
    }
    ledger.close()?;
    Ok(Written { day, bytes, vkey })
}
