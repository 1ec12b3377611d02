//! How a replica is doing: for metrics, health and people.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ErrorClass;
use crate::sink::Delivery;

/// How a replica is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// The sink's name.
    pub name: String,
    /// Whether retention waits for it without end.
    pub required: bool,
    /// Whether what is sent twice is there twice.
    pub delivery: Delivery,
    /// What it is at.
    pub state: ReplicaState,
    /// The next index that the sink needs; `None` until it has answered once.
    pub cursor: Option<u64>,
    /// Entries that are sealed and the sink has not committed. All of them while the cursor is not known.
    pub lag_records: u64,
    /// Age of the oldest of them; zero when there are none.
    pub lag: Duration,
    /// Entries committed since the start.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Attempts that failed since the start.
    pub errors: u64,
    /// How long it has been failing without a success in between; zero when it is not.
    pub failing: Duration,
    /// The last error, with its causes; `None` after a success.
    pub last_error: Option<String>,
    /// Retention does not wait for it any more.
    pub left_behind: bool,
    /// Entries that it never got because they were pruned first, since the start.
    pub skipped_records: u64,
    /// How often it was found to hold less than it had before, since the start.
    pub went_back: u64,
}

/// What a replica is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicaState {
    /// The sink has not answered yet.
    Starting,
    /// It follows: entries go out as they are sealed.
    Following,
    /// Something failed that may pass; it is tried again.
    Retrying,
    /// A person must mend something; it is looked at again now and then.
    Blocked,
    /// The sink holds another history than the ledger. It stays so until the next start.
    Forked,
    /// It has ended.
    Ended,
}

impl ReplicaState {
    /// Its stable name in metrics and answers.
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

/// What the replicator notes and others look at. No lock is held across anything that waits.
#[derive(Debug)]
pub(super) struct Board {
    name: String,
    required: bool,
    delivery: Delivery,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    state: ReplicaState,
    cursor: Option<u64>,
    /// How old the entry at the cursor was, and when that was looked at.
    oldest: Option<(Duration, Instant)>,
    records: u64,
    bytes: u64,
    errors: u64,
    failing_since: Option<Instant>,
    last_error: Option<String>,
    left_behind: bool,
    skipped_records: u64,
    went_back: u64,
}

impl Board {
    pub(super) fn new(name: &str, required: bool, delivery: Delivery) -> Self {
        Self {
            name: name.to_owned(),
            required,
            delivery,
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
                went_back: 0,
            }),
        }
    }

    /// The sink has said where it is, and that fits the ledger.
    pub(super) fn answered(&self, cursor: u64) {
        let mut noted = self.noted();
        noted.cursor = Some(cursor);
    }

    /// It has everything: a success even when there was nothing to send.
    pub(super) fn caught_up(&self) {
        let mut noted = self.noted();
        noted.state = ReplicaState::Following;
        noted.oldest = None;
        noted.failing_since = None;
        noted.last_error = None;
        noted.left_behind = false;
    }

    /// The entry at the cursor is that old now.
    pub(super) fn oldest(&self, age: Duration) {
        self.noted().oldest = Some((age, Instant::now()));
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

    pub(super) fn went_back(&self) {
        let mut noted = self.noted();
        noted.went_back = noted.went_back.saturating_add(1);
    }

    /// Gives how long it has been failing.
    pub(super) fn failed(&self, class: ErrorClass, what: String) -> Duration {
        let mut noted = self.noted();
        noted.state = match class {
            ErrorClass::Passing => ReplicaState::Retrying,
            ErrorClass::Permanent => ReplicaState::Blocked,
            ErrorClass::Fork => ReplicaState::Forked,
        };
        noted.errors = noted.errors.saturating_add(1);
        noted.last_error = Some(what);
        noted
            .failing_since
            .get_or_insert_with(Instant::now)
            .elapsed()
    }

    pub(super) fn left_behind(&self) {
        self.noted().left_behind = true;
    }

    pub(super) fn is_left_behind(&self) -> bool {
        self.noted().left_behind
    }

    /// A fork stays on the board: it is what somebody must look at.
    pub(super) fn ended(&self) {
        let mut noted = self.noted();
        if noted.state != ReplicaState::Forked {
            noted.state = ReplicaState::Ended;
        }
    }

    pub(super) fn cursor(&self) -> Option<u64> {
        self.noted().cursor
    }

    /// How it is doing, when so many entries are sealed.
    pub(super) fn status(&self, sealed: u64) -> ReplicaStatus {
        let noted = self.noted();
        let lag_records = sealed.saturating_sub(noted.cursor.unwrap_or(0));
        let lag = match noted.oldest {
            Some((age, seen)) if lag_records > 0 => age.saturating_add(seen.elapsed()),
            _ => Duration::ZERO,
        };
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
            went_back: noted.went_back,
        }
    }

    /// Nothing that can panic runs under this lock.
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
