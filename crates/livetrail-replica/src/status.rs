//! The status of a replica, for metrics, health checks and people.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::error::ErrorClass;
use crate::options::ReplicaOptions;
use crate::personal::PersonalMode;
use crate::sink::Delivery;

/// The status of one replica.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// The sink's name.
    pub name: String,
    /// Whether retention waits for it without limit.
    pub required: bool,
    /// Whether an entry that is sent twice is stored twice.
    pub delivery: Delivery,
    /// Its state.
    pub state: ReplicaState,
    /// The next index that the sink needs; `None` until it has answered once.
    pub cursor: Option<u64>,
    /// Entries that are sealed and that the sink has not committed. All sealed entries while the
    /// cursor is unknown.
    pub lag_records: u64,
    /// Age of the oldest of these entries; zero if there are none.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "lag_ms", serialize_with = "crate::serialize::millis")
    )]
    pub lag: Duration,
    /// Entries committed since the start.
    pub records: u64,
    /// Bytes of the entries committed since the start.
    pub bytes: u64,
    /// Failed attempts since the start.
    pub errors: u64,
    /// How long it has been failing without a success in between; zero while it is not failing.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "failing_ms", serialize_with = "crate::serialize::millis")
    )]
    pub failing: Duration,
    /// The last error with its causes; `None` after a success.
    pub last_error: Option<String>,
    /// Retention no longer waits for it.
    pub left_behind: bool,
    /// Entries that it skipped since the start, because they were pruned first.
    pub skipped_records: u64,
    /// Records that the sink has given up since the start, because the destination did not accept
    /// them in time.
    pub lost_records: u64,
    /// How many times since the start it held less than before.
    pub went_back: u64,
    /// What the sink has of personal data.
    pub personal: PersonalMode,
    /// The sink has applied all erasures that entries below this index name. `None` if it keeps no
    /// openings from which it could erase, and until it has answered once.
    pub erased_up_to: Option<u64>,
    /// Erasures in the log that the sink has not applied, as far as they are read: at most 4,096.
    pub pending_erasures: u64,
    /// Age of the oldest of these erasures; zero if there are none.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "erasure_lag_ms", serialize_with = "crate::serialize::millis")
    )]
    pub erasure_lag: Duration,
    /// Whether that age is beyond what the options allow: an alert.
    pub erasure_overdue: bool,
    /// The last error of an erasure with its causes; `None` after a success.
    pub erasure_error: Option<String>,
}

/// The state of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicaState {
    /// The sink has not answered yet.
    Starting,
    /// It follows: entries go out as they are sealed.
    Following,
    /// An error occurred that may pass; the replicator tries again.
    Retrying,
    /// A person must fix something; the replicator tries again at long intervals.
    Blocked,
    /// The sink holds another history than the ledger. This state lasts until the next start.
    Forked,
    /// It has ended.
    Ended,
}

impl ReplicaState {
    /// Its stable name in metrics and API answers.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Following => "following",
            Self::Retrying => "retrying",
            Self::Blocked => "blocked",
            Self::Forked => "forked",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The status that the replicator updates and others read. No lock is held across a wait.
#[derive(Debug)]
pub(super) struct Board {
    name: String,
    required: bool,
    delivery: Delivery,
    personal: PersonalMode,
    erasure_overdue_after: Duration,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    state: ReplicaState,
    cursor: Option<u64>,
    /// The age of the entry at the cursor, and when that age was read.
    oldest: Option<(Duration, Instant)>,
    records: u64,
    bytes: u64,
    errors: u64,
    failing_since: Option<Instant>,
    last_error: Option<String>,
    left_behind: bool,
    skipped_records: u64,
    lost_records: u64,
    went_back: u64,
    erased_up_to: Option<u64>,
    pending_erasures: usize,
    /// The age of the oldest erasure that waits, and when that age was read.
    oldest_erasure: Option<(Duration, Instant)>,
    erasure_error: Option<String>,
}

impl Board {
    pub(super) fn new(
        name: &str,
        delivery: Delivery,
        personal: PersonalMode,
        options: &ReplicaOptions,
    ) -> Self {
        Self {
            name: name.to_owned(),
            required: options.required,
            delivery,
            personal,
            erasure_overdue_after: options.erasure_overdue_after,
            noted: Mutex::new(Noted {
                state: ReplicaState::Starting,
                cursor: None,
                oldest: None,
                records: 0,
                bytes: 0,
                errors: 0,
                failing_since: None,
                last_error: None,
                left_behind: false,
                skipped_records: 0,
                lost_records: 0,
                went_back: 0,
                erased_up_to: None,
                pending_erasures: 0,
                oldest_erasure: None,
                erasure_error: None,
            }),
        }
    }

    /// The sink has reported its cursor, and that fits the ledger.
    pub(super) fn answered(&self, cursor: u64) {
        let mut noted = self.noted();
        noted.cursor = Some(cursor);
    }

    /// The sink has everything. This is a success even if there was nothing to send.
    pub(super) fn caught_up(&self) {
        let mut noted = self.noted();
        noted.state = ReplicaState::Following;
        noted.oldest = None;
        noted.failing_since = None;
        noted.last_error = None;
        noted.left_behind = false;
    }

    /// Notes the current age of the entry at the cursor.
    pub(super) fn oldest(&self, age: Duration) {
        self.noted().oldest = Some((age, clock::now()));
    }

    pub(super) fn committed(&self, cursor: u64, records: usize, bytes: usize) {
        let mut noted = self.noted();
        noted.state = ReplicaState::Following;
        noted.cursor = Some(cursor);
        noted.records = noted.records.saturating_add(records as u64);
        noted.bytes = noted.bytes.saturating_add(bytes as u64);
        noted.failing_since = None;
        noted.last_error = None;
    }

    pub(super) fn skipped(&self, cursor: u64, records: u64) {
        let mut noted = self.noted();
        noted.cursor = Some(cursor);
        noted.skipped_records = noted.skipped_records.saturating_add(records);
    }

    /// The sink has given up this many records since the start.
    pub(super) fn lost(&self, records: u64) {
        self.noted().lost_records = records;
    }

    pub(super) fn went_back(&self) {
        let mut noted = self.noted();
        noted.went_back = noted.went_back.saturating_add(1);
    }

    /// All erasures that entries below `up_to` name are applied. `pending` later ones are known,
    /// the oldest of them with this age.
    pub(super) fn erased(&self, up_to: u64, pending: usize, oldest: Option<Duration>) {
        let mut noted = self.noted();
        noted.erased_up_to = Some(up_to);
        noted.pending_erasures = pending;
        noted.oldest_erasure = oldest.map(|age| (age, clock::now()));
    }

    /// Erasing works.
    pub(super) fn erasing(&self) {
        self.noted().erasure_error = None;
    }

    pub(super) fn erasing_failed(&self, what: String) {
        let mut noted = self.noted();
        noted.errors = noted.errors.saturating_add(1);
        noted.erasure_error = Some(what);
    }

    pub(super) fn erased_up_to(&self) -> Option<u64> {
        self.noted().erased_up_to
    }

    /// Returns how long it has been failing.
    pub(super) fn failed(&self, class: ErrorClass, what: String) -> Duration {
        let mut noted = self.noted();
        noted.state = match class {
            ErrorClass::Passing => ReplicaState::Retrying,
            ErrorClass::Permanent => ReplicaState::Blocked,
            ErrorClass::Fork => ReplicaState::Forked,
        };
        noted.errors = noted.errors.saturating_add(1);
        noted.last_error = Some(what);
        noted.failing_since.get_or_insert_with(clock::now).elapsed()
    }

    pub(super) fn left_behind(&self) {
        self.noted().left_behind = true;
    }

    pub(super) fn is_left_behind(&self) -> bool {
        self.noted().left_behind
    }

    /// Notes the end. A fork stays in the status: a person must see it.
    pub(super) fn ended(&self) {
        let mut noted = self.noted();
        if noted.state != ReplicaState::Forked {
            noted.state = ReplicaState::Ended;
        }
    }

    pub(super) fn cursor(&self) -> Option<u64> {
        self.noted().cursor
    }

    /// The status when `sealed` entries are sealed.
    pub(super) fn status(&self, sealed: u64) -> ReplicaStatus {
        let noted = self.noted();
        let lag_records = sealed.saturating_sub(noted.cursor.unwrap_or(0));
        let lag = match noted.oldest {
            Some((age, seen)) if lag_records > 0 => age.saturating_add(seen.elapsed()),
            _ => Duration::ZERO,
        };
        let erasure_lag = noted.oldest_erasure.map_or(Duration::ZERO, |(age, seen)| {
            age.saturating_add(seen.elapsed())
        });
        ReplicaStatus {
            name: self.name.clone(),
            required: self.required,
            delivery: self.delivery,
            state: noted.state,
            cursor: noted.cursor,
            lag_records,
            lag,
            records: noted.records,
            bytes: noted.bytes,
            errors: noted.errors,
            failing: noted
                .failing_since
                .map_or(Duration::ZERO, |since| since.elapsed()),
            last_error: noted.last_error.clone(),
            left_behind: noted.left_behind,
            skipped_records: noted.skipped_records,
            lost_records: noted.lost_records,
            went_back: noted.went_back,
            personal: self.personal,
            erased_up_to: noted.erased_up_to,
            pending_erasures: noted.pending_erasures as u64,
            erasure_lag,
            erasure_overdue: erasure_lag >= self.erasure_overdue_after,
            erasure_error: noted.erasure_error.clone(),
        }
    }

    /// The lock cannot be poisoned in a harmful way: nothing that can panic runs under it.
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
