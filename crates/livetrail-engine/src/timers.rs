//! Deadlines without a runtime. Code that waits for something that may never come leaves a
//! [`Ticket`] here, and the engine's own thread (see `janitor`) fires it when its time is over.
//!
//! A deadline is a time of the process, and also of the engine's clock: a host that drives time
//! itself reaches it with [`Engine::sweep`](crate::Engine::sweep). The number of tickets is bounded
//! by the attempts that hosts wait for: each has at most one ticket.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use atomic_waker::AtomicWaker;

use crate::{
    Clock, SystemClock,
    event::{Reason, SessionContext},
    lifecycle::SessionCore,
};

/// What to do when a ticket's time is over or the engine stops.
pub(crate) enum Purpose {
    /// Only wake the waiting task.
    Sleep,
    /// Refuse the attempt with this reason.
    Attempt(Arc<SessionContext>, Reason),
    /// End the session with this reason.
    Gate(Arc<SessionCore>, Reason),
}

/// The outcome of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The awaited result came.
    Came,
    /// It did not come, for this reason.
    Stopped(Reason),
}

/// A ticket of a waiting task.
pub(crate) struct Ticket {
    number: u64,
    deadline: Option<Duration>,
    clock_deadline: Option<Duration>,
    pub(crate) purpose: Purpose,
    outcome: OnceLock<Outcome>,
    waker: AtomicWaker,
}

impl Ticket {
    /// Settles the outcome, unless it is settled already.
    pub(crate) fn settle(&self, outcome: Outcome) -> bool {
        self.outcome.set(outcome).is_ok()
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().cloned()
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Ready when another thread has settled it.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Outcome> {
        self.waker.register(cx.waker());
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

/// All tickets of an engine.
pub(crate) struct Timers {
    time: SystemClock,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    stopped: bool,
    /// By deadline and number; those without a deadline come last.
    tickets: BTreeMap<(Duration, u64), Arc<Ticket>>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            time: SystemClock::new(),
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// The time of the process, by which deadlines are measured.
    pub(crate) fn now(&self) -> Duration {
        self.time.monotonic()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a ticket that expires at both of these times. Returns `None` if the engine has stopped
    /// and accepts no more tickets.
    pub(crate) fn add(
        &self,
        purpose: Purpose,
        deadline: Option<Duration>,
        clock_deadline: Option<Duration>,
    ) -> Option<Arc<Ticket>> {
        let ticket = Arc::new(Ticket {
            number: self.next.fetch_add(1, Relaxed),
            deadline,
            clock_deadline,
            purpose,
            outcome: OnceLock::new(),
            waker: AtomicWaker::new(),
        });
        let mut waiting = self.waiting();
        if waiting.stopped && !matches!(ticket.purpose, Purpose::Sleep) {
            return None;
        }
        waiting.tickets.insert(key(&ticket), ticket.clone());
        Some(ticket)
    }

    pub(crate) fn remove(&self, ticket: &Ticket) {
        self.waiting().tickets.remove(&key(ticket));
    }

    /// The next deadline.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.waiting();
        waiting.tickets.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().tickets.is_empty()
    }

    /// Takes the expired tickets.
    pub(crate) fn take_due(&self) -> Vec<Arc<Ticket>> {
        let now = self.now();
        let mut waiting = self.waiting();
        let later = waiting.tickets.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut waiting.tickets, later);
        due.into_values().collect()
    }

    /// Takes the tickets that have expired by the engine's clock.
    pub(crate) fn take_due_by(&self, clock_now: Duration) -> Vec<Arc<Ticket>> {
        let due = |ticket: &Ticket| ticket.clock_deadline.is_some_and(|at| at <= clock_now);
        let mut waiting = self.waiting();
        let keys: Vec<_> = waiting
            .tickets
            .iter()
            .filter(|(_, ticket)| due(ticket))
            .map(|(key, _)| *key)
            .collect();
        keys.iter()
            .filter_map(|key| waiting.tickets.remove(key))
            .collect()
    }

    /// Takes all tickets, and from now on accepts only those that sleep.
    pub(crate) fn stop(&self) -> Vec<Arc<Ticket>> {
        let mut waiting = self.waiting();
        waiting.stopped = true;
        std::mem::take(&mut waiting.tickets).into_values().collect()
    }
}

fn key(ticket: &Ticket) -> (Duration, u64) {
    (ticket.deadline.unwrap_or(Duration::MAX), ticket.number)
}
