//! Keeps one class of records from displacing another one. It has the refusals' own lane, and the
//! sessions whose first record was dropped.

use std::collections::HashSet;
use std::sync::Mutex;

use crossbeam_queue::ArrayQueue;
use uuid::Uuid;

use super::asleep::Asleep;
use super::intake::{CLOSED, NOT_SEALED, Offered};
use super::lock::lock;
use super::refusals::Refused;
use super::sync::{AtomicU64, AtomicUsize, Ordering};

/// The bounds for the slots of the refusals' lane. Within them, it has as many slots as the queue.
/// The worker empties it in each round.
const FEWEST_REFUSALS: usize = 64;
const MOST_REFUSALS: usize = 8_192;

/// The number of remembered sessions for which memory is allocated at the start.
const UNRECORDED_SPARE: usize = 1_024;

/// The maximum number of sessions that are remembered. The ends of further ones wait like those of
/// recorded sessions.
const MAX_UNRECORDED: usize = 1 << 20;

/// The refusals that found no slot in the lane: the count for each action, and the times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overflow {
    pub(crate) attempts: [u64; Refused::ALL.len()],
    pub(crate) first_ts_ms: u64,
    pub(crate) last_ts_ms: u64,
}

/// Refused attempts that are passed to the worker. They have no number of the boot: the worker
/// gives one to each record that it makes of them. In the protocol of [`asleep`](super::asleep) a
/// ticket takes the place of the number.
#[derive(Debug)]
pub(crate) struct RefusalLane {
    tickets: AtomicU64,
    lane: ArrayQueue<Offered>,
    attempts: [AtomicU64; Refused::ALL.len()],
    first_ts_ms: AtomicU64,
    last_ts_ms: AtomicU64,
    sealed_at: AtomicU64,
}

impl RefusalLane {
    pub(crate) fn for_capacity(records: usize) -> Self {
        Self {
            tickets: AtomicU64::new(0),
            lane: ArrayQueue::new(records.clamp(FEWEST_REFUSALS, MOST_REFUSALS)),
            attempts: std::array::from_fn(|_| AtomicU64::new(0)),
            first_ts_ms: AtomicU64::new(u64::MAX),
            last_ts_ms: AtomicU64::new(0),
            sealed_at: AtomicU64::new(NOT_SEALED),
        }
    }

    /// Accepts a refusal. If there is no slot, only counts it. Returns it if the pipeline is
    /// closed.
    pub(crate) fn offer(&self, refused: Refused, offered: Offered) -> Result<(), Offered> {
        if Asleep::number(&self.tickets) & CLOSED != 0 {
            return Err(offered);
        }
        if let Err(offered) = self.lane.push(offered) {
            self.first_ts_ms.fetch_min(offered.ts_ms, Ordering::Relaxed);
            self.last_ts_ms.fetch_max(offered.ts_ms, Ordering::Relaxed);
            self.attempts[refused as usize].fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<Offered> {
        self.lane.pop()
    }

    pub(crate) fn len(&self) -> usize {
        self.lane.len()
    }

    /// Takes the refusals that were only counted.
    pub(crate) fn overflow(&self) -> Option<Overflow> {
        let attempts = std::array::from_fn(|at| self.attempts[at].swap(0, Ordering::Acquire));
        if attempts == [0; Refused::ALL.len()] {
            return None;
        }
        // A refusal that is being counted now may have its time in this result or in the next one.
        let last_ts_ms = self.last_ts_ms.swap(0, Ordering::Relaxed);
        let first_ts_ms = self.first_ts_ms.swap(u64::MAX, Ordering::Relaxed);
        Some(Overflow {
            attempts,
            first_ts_ms: first_ts_ms.min(last_ts_ms),
            last_ts_ms,
        })
    }

    pub(crate) fn tickets(&self) -> &AtomicU64 {
        &self.tickets
    }

    pub(crate) fn seal(&self) {
        let before = self.tickets.fetch_or(CLOSED, Ordering::AcqRel);
        if before & CLOSED == 0 {
            self.sealed_at.store(before, Ordering::Release);
        }
    }

    /// The number of refusals that were offered before the pipeline was closed.
    pub(crate) fn offered(&self) -> u64 {
        let now = self.tickets.load(Ordering::Relaxed);
        match self.sealed_at.load(Ordering::Acquire) {
            NOT_SEALED => now & !CLOSED,
            at => at,
        }
    }
}

/// Live sessions whose first record was dropped. Their last record may be dropped, too. Offers use
/// this only if the queue is full. Ends also use it while there are such sessions.
#[derive(Debug)]
pub(crate) struct Unrecorded {
    len: AtomicUsize,
    sessions: Mutex<HashSet<Uuid>>,
}

impl Unrecorded {
    pub(crate) fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            sessions: Mutex::new(HashSet::with_capacity(UNRECORDED_SPARE)),
        }
    }

    /// Remembers that the session's first record was dropped.
    pub(crate) fn add(&self, session: Uuid) {
        let mut sessions = lock(&self.sessions);
        if sessions.len() < MAX_UNRECORDED {
            sessions.insert(session);
            self.len.store(sessions.len(), Ordering::Release);
        }
    }

    /// Whether there is no such session.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// Forgets the session, which ends. Returns whether its first record was dropped.
    pub(crate) fn remove(&self, session: &Uuid) -> bool {
        let mut sessions = lock(&self.sessions);
        let was_there = sessions.remove(session);
        self.len.store(sessions.len(), Ordering::Release);
        was_there
    }
}
