//! The loop that applies to one sink the erasures that the log names.
//!
//! It runs next to the loop that sends entries, with a cursor, pauses and errors of its own: a sink
//! that cannot erase still gets entries. An erasure waits until the sink holds the entry that names
//! it. So the openings of all earlier entries are there before it, and none comes after it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::Clock;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::Backoff;
use crate::call::{Turns, chain};
use crate::clock;
use crate::error::{ErrorClass, ReplicaError};
use crate::options::ReplicaOptions;
use crate::personal::{Erasure, erased_in};
use crate::range::SealedRange;
use crate::replicator::later;
use crate::sink::ReplicaSink;
use crate::source::{Batch, SealedLog};
use crate::status::Board;

/// How long the sink may lack entries before this loop reads them itself, to see what it has to
/// erase.
const LOOK_AHEAD: Duration = Duration::from_secs(10);

/// The most erasures that wait in memory, 24 bytes each. Further ones are found when these are
/// applied.
const MAX_PENDING: usize = 4_096;

/// The cursor in the sink moves at least once per this many entries, also without an erasure. A
/// start reads the entries beyond it.
const CURSOR_STRIDE: u64 = 65_536;

/// What the loop that sends entries tells this one.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The sink holds all entries below this index.
    pub(super) committed: u64,
    /// Entries of which it is known that none names an erasure.
    pub(super) without: std::ops::Range<u64>,
}

impl Progress {
    /// The sink has committed a range.
    pub(super) fn committed(&mut self, range: &SealedRange) {
        self.committed = range.next();
        if range
            .entries()
            .iter()
            .any(|entry| erased_in(entry).is_some())
        {
            self.without = range.next()..range.next();
        } else if self.without.end == range.first() {
            self.without.end = range.next();
        } else {
            self.without = range.first()..range.next();
        }
    }
}

/// An erasure that the sink has not applied.
#[derive(Clone, Copy)]
struct Pending {
    index: u64,
    ts_ms: u64,
}

/// Applies erasures to one sink.
pub(super) struct Eraser {
    pub(super) log: SealedLog,
    pub(super) sink: Arc<dyn ReplicaSink>,
    pub(super) options: ReplicaOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) board: Arc<Board>,
    pub(super) backoff: Backoff,
    pub(super) closing: watch::Receiver<Option<Instant>>,
    pub(super) retry: Arc<Notify>,
    pub(super) turns: Turns,
    pub(super) progress: watch::Receiver<Progress>,
    /// All erasures below this index are applied or in `pending`.
    pub(super) seen: u64,
    /// The cursor in the sink.
    pub(super) kept: u64,
    pub(super) pending: Pendings,
}

/// Erasures that wait, in order of their indexes.
#[derive(Default)]
pub(super) struct Pendings(VecDeque<Pending>);

/// Why a pass ended without an error.
enum Turn {
    Again,
    End,
}

impl Eraser {
    /// Applies erasures until the sender of `progress` is gone and the sink has applied what it
    /// can.
    pub(super) async fn run(mut self) {
        loop {
            let error = match self.follow().await {
                Ok(Turn::Again) => continue,
                Ok(Turn::End) => return,
                Err(ReplicaError::ErasuresMissing { .. }) if self.is_moved_on().await => continue,
                Err(error) => error,
            };
            let is_passing = error.class() == ErrorClass::Passing;
            let pause = self.pause_after(&error);
            let until = later(clock::now(), pause);
            // An error that may pass is retried until the closing deadline.
            loop {
                let step = later(clock::now(), LOOK_AHEAD).min(until);
                let mut closing = self.closing.clone();
                tokio::select! {
                    () = sleep_until(step) => {}
                    () = self.retry.notified() => break,
                    _ = closing.wait_for(Option::is_some), if !is_passing => return,
                }
                if step == until {
                    break;
                }
                self.look_ahead().await;
            }
        }
    }

    /// Applies erasures from the sink's cursor on, until an error, until the cursor must be read
    /// again, or until the end.
    async fn follow(&mut self) -> Result<Turn, ReplicaError> {
        let origin = self.log.origin();
        let cursor = self.turns.call(self.sink.erasure_cursor(&origin)).await?;
        // A cursor beyond the log is the alarm of the other loop. Nothing is skipped for it.
        let cursor = cursor.min(self.log.size());
        if cursor != self.kept {
            self.seen = cursor;
            self.pending.0.clear();
        }
        self.kept = cursor;
        let ask_again_at = later(clock::now(), self.options.recheck_interval);
        loop {
            let progress = self.progress.borrow_and_update().clone();
            self.skip_over(&progress);
            self.scan(progress.committed).await?;
            self.note(progress.committed);
            while let Some(next) = self.pending.0.front().copied()
                && next.index < progress.committed
            {
                self.apply(next.index).await?;
                self.pending.0.pop_front();
                self.note(progress.committed);
            }
            let is_last = self.progress.has_changed().is_err();
            let passed = self.passed(progress.committed);
            let ahead = passed.saturating_sub(self.kept);
            if ahead >= CURSOR_STRIDE || (is_last && ahead > 0) {
                self.erase(passed, Vec::new()).await?;
            }
            self.note(progress.committed);
            self.board.erasing();
            self.backoff.reset();
            if is_last {
                return Ok(Turn::End);
            }
            tokio::select! {
                // An error means that the other loop has ended.
                _ = self.progress.changed() => {}
                () = self.retry.notified() => return Ok(Turn::Again),
                () = sleep_until(ask_again_at) => return Ok(Turn::Again),
                () = sleep(LOOK_AHEAD), if self.seen < self.log.size() => self.look_ahead().await,
            }
        }
    }

    /// Whether the sink's cursor is beyond the one that is known here. A sink without openings
    /// reports the cursor of its entries, which may have skipped what was pruned.
    async fn is_moved_on(&self) -> bool {
        let origin = self.log.origin();
        let cursor = self.turns.call(self.sink.erasure_cursor(&origin)).await;
        cursor.is_ok_and(|cursor| cursor > self.kept)
    }

    /// Skips what the other loop has read already.
    fn skip_over(&mut self, progress: &Progress) {
        if progress.without.contains(&self.seen) {
            self.seen = progress.without.end;
        }
    }

    /// Reads the entries below `end`, as far as more erasures fit.
    async fn scan(&mut self, end: u64) -> Result<(), ReplicaError> {
        let end = end.min(self.log.size());
        while self.seen < end && self.pending.0.len() < MAX_PENDING {
            let range = self.read(self.seen).await?;
            for (index, entry, _) in range.iter() {
                if index >= end || self.pending.0.len() >= MAX_PENDING {
                    break;
                }
                if let Some(erased) = erased_in(entry) {
                    let ts_ms = erased.ts_ms;
                    self.pending.0.push_back(Pending { index, ts_ms });
                }
                self.seen = index.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Reads what is sealed and what the sink does not have yet: an erasure that waits for an
    /// outage of the sink must be seen.
    async fn look_ahead(&mut self) {
        if let Err(error) = self.scan(self.log.size()).await {
            let (sink, error) = (self.sink.name(), chain(&error));
            tracing::warn!(sink, error, "cannot read which erasures wait for the sink");
        }
        let committed = self.progress.borrow().committed;
        self.note(committed);
    }

    /// Applies the erasure at this index.
    async fn apply(&mut self, index: u64) -> Result<(), ReplicaError> {
        let range = self.read(index).await?;
        let entry = range.entries().first();
        let sessions = entry.and_then(|entry| erased_in(entry));
        let sessions = sessions.map(|erased| erased.sessions).unwrap_or_default();
        let count = sessions.len();
        self.erase(index.saturating_add(1), sessions).await?;
        tracing::info!(sink = self.sink.name(), index, count, "erased openings");
        Ok(())
    }

    async fn erase(&mut self, end: u64, sessions: Vec<[u8; 16]>) -> Result<(), ReplicaError> {
        let erasure = Erasure::new(self.log.origin(), self.kept.min(end)..end, sessions);
        self.turns.call(self.sink.erase(&erasure)).await?;
        self.kept = self.kept.max(end);
        Ok(())
    }

    /// All erasures that entries below this index name are applied.
    fn passed(&self, committed: u64) -> u64 {
        let waits = self.pending.0.front().map(|next| next.index);
        waits.unwrap_or(self.seen).min(committed).max(self.kept)
    }

    fn note(&self, committed: u64) {
        let oldest = self.pending.0.front().map(|next| {
            let age_ms = self.clock.unix_ms().saturating_sub(next.ts_ms);
            Duration::from_millis(age_ms)
        });
        let passed = self.passed(committed);
        self.board.erased(passed, self.pending.0.len(), oldest);
    }

    async fn read(&self, first: u64) -> Result<SealedRange, ReplicaError> {
        match self.log.read(first).await? {
            Batch::Range(range) => Ok(range),
            Batch::PrunedBelow(to) => Err(ReplicaError::ErasuresMissing { from: first, to }),
        }
    }

    fn pause_after(&mut self, error: &ReplicaError) -> Duration {
        let (sink, what) = (self.sink.name(), chain(error));
        let class = error.class();
        match class {
            ErrorClass::Passing => {
                tracing::warn!(
                    sink,
                    error = what,
                    "an erasure at the sink failed; retrying"
                );
            }
            _ => tracing::error!(
                sink,
                error = what,
                "the sink cannot erase; it needs to be fixed by a person"
            ),
        }
        self.board.erasing_failed(what);
        match class {
            ErrorClass::Passing => self.backoff.next(),
            _ => self.options.reprobe_interval,
        }
    }
}
