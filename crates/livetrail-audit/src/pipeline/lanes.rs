//! What keeps one class of records from displacing another at the offer: the refusals' own lane, and the sessions whose first
//! record was dropped.

use std::collections::HashSet;
use std::sync::Mutex;

use crossbeam_queue::ArrayQueue;
use uuid::Uuid;

use super::asleep::Asleep;
use super::intake::{CLOSED, NOT_SEALED, Offered};
use super::refusals::Refused;
use super::shared::lock;
use super::sync::{AtomicU64, AtomicUsize, Ordering};

/// Slots of the refusals' lane: as many as the queue has, within these bounds. The worker empties it each time it looks.
const FEWEST_REFUSALS: usize = 64;
const MOST_REFUSALS: usize = 8_192;

/// Sessions that are remembered before anything is allocated for them.
const UNRECORDED_SPARE: usize = 1_024;

/// Sessions that are remembered at most; the ends of further ones wait like those of recorded sessions.
const MAX_UNRECORDED: usize = 1 << 20;

/// Refusals that the lane had no slot for: how many of each action, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overflow {
    pub(crate) attempts: [u64; Refused::ALL.len()],
    pub(crate) first_ts_ms: u64,
    pub(crate) last_ts_ms: u64,
}

/// Refused attempts on their way to the worker. They have no number of the boot: the worker gives one to each record that it
/// makes of them. A ticket takes the number's place in the protocol of [`asleep`](super::asleep).
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

    /// Takes a refusal. Where there is no slot, it is counted alone. Gives it back when the pipeline is closed.
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

    /// Takes out what was counted alone.
    pub(crate) fn overflow(&self) -> Option<Overflow> {
        let attempts = std::array::from_fn(|at| self.attempts[at].swap(0, Ordering::Acquire));
        if attempts == [0; Refused::ALL.len()] {
            return None;
        }
        // A refusal that is just being counted may have its time in this or in the next one.
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

    /// How many refusals were offered before the pipeline was closed.
    pub(crate) fn offered(&self) -> u64 {
        let now = self.tickets.load(Ordering::Relaxed);
        match self.sealed_at.load(Ordering::Acquire) {
            NOT_SEALED => now & !CLOSED,
            at => at,
        }
    }
}

/// Live sessions whose first record was dropped: their last one may be dropped as well. Touched only when the queue is full, and
/// by ends while there are such sessions.
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

    /// The session's first record was dropped.
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

    /// The session ends. Whether its first record was dropped.
    pub(crate) fn remove(&self, session: &Uuid) -> bool {
        let mut sessions = lock(&self.sessions);
        let was_there = sessions.remove(session);
        self.len.store(sessions.len(), Ordering::Release);
        was_there
    }
}
