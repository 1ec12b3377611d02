//! Handles for the ledger's users: appending, waiting, status.

use std::{
    fmt, io,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use livetrail_tlog::{MAX_ENTRY_BYTES, NoteSignature, TreeHead, VerifiedCheckpoint};

use super::{
    shared::{MAX_COSIGNATURES, Shared, State},
    times::CommitTimes,
};
use crate::{
    Clock,
    error::{AppendError, Fatal, LedgerError, WaitError},
    passing::Passing,
    store::{SharedStore, Space},
    upkeep::cursor::{Cursor, read_cursors, write_cursor},
    upkeep::held,
    upkeep::prune,
    upkeep::space::{Class, Pressure},
    write::companion::{Entry, MAX_COMPANION_BYTES},
    write::wal::{HEAD_BYTES, framed_bytes},
    write::watermark::Reached,
};

/// A handle to a running ledger; cheap to clone. Once the ledger is closed, its calls fail.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

/// The indexes of appended entries: from `first` up to, not including, `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Index of the first entry.
    pub first: u64,
    /// The index after the last entry: wait for this.
    pub next: u64,
}

/// The state of a ledger.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The number of accepted entries; the next one gets this index.
    pub appended: u64,
    /// The number of durable entries.
    pub durable: u64,
    /// Size and root of the published checkpoint.
    #[serde(serialize_with = "crate::serialize::head")]
    pub sealed: TreeHead,
    /// Framed bytes that wait for a commit.
    pub queue_bytes: usize,
    /// Framed bytes that are durable and wait for integration.
    pub backlog_bytes: usize,
    /// How full the disk is.
    pub pressure: Pressure,
    /// The error for which the log waits now: the disk has no space, the system no file or memory
    /// for it, or the store of companions keeps nothing. It retries by itself.
    #[serde(serialize_with = "crate::serialize::optional_error")]
    pub retrying: Option<Arc<Passing>>,
    /// The number of retries since it was opened.
    pub retries: u64,
    /// The last error for which it waited.
    #[serde(serialize_with = "crate::serialize::optional_error")]
    pub last_retry: Option<Arc<Passing>>,
    /// Why the log stopped, if it did.
    #[serde(serialize_with = "crate::serialize::optional_error")]
    pub stopped: Option<Arc<Fatal>>,
    /// The parties for whose answers signing has waited since the start: see [`Handle::answered`].
    pub held: Vec<String>,
}

impl Handle {
    /// Appends entries of one class, all or none of them; waits for space in the queue. Call it on
    /// a dedicated thread, because it blocks as long as the disk hangs.
    ///
    /// When it returns, the entries are in memory. Wait for [`Appended::next`] to know that they
    /// are durable.
    ///
    /// # Errors
    /// [`AppendError`], but not [`AppendError::QueueFull`].
    pub fn append<E: AsRef<[u8]>>(
        &self,
        class: Class,
        entries: &[E],
    ) -> Result<Appended, AppendError> {
        let entries = entries.iter().map(|entry| Entry::new(entry.as_ref()));
        self.push_one_class(class, entries, true)
    }

    /// Appends entries of one class, all or none of them; never blocks.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn try_append<E: AsRef<[u8]>>(
        &self,
        class: Class,
        entries: &[E],
    ) -> Result<Appended, AppendError> {
        let entries = entries.iter().map(|entry| Entry::new(entry.as_ref()));
        self.push_one_class(class, entries, false)
    }

    /// Like [`append`](Self::append), for entries that may have companions. The ledger must have
    /// been opened with [`Builder::companions`](crate::Builder::companions). Without companions the
    /// two do the same.
    ///
    /// An entry becomes durable together with its companion. It is sealed after the store has kept
    /// the companion.
    ///
    /// # Errors
    /// As [`append`](Self::append), and [`AppendError::CompanionTooLong`],
    /// [`AppendError::NoCompanionStore`].
    pub fn append_entries(
        &self,
        class: Class,
        entries: &[Entry<'_>],
    ) -> Result<Appended, AppendError> {
        self.push_one_class(class, entries.iter().copied(), true)
    }

    /// Like [`append_entries`](Self::append_entries); never blocks.
    ///
    /// # Errors
    /// As [`append_entries`](Self::append_entries), and [`AppendError::QueueFull`].
    pub fn try_append_entries(
        &self,
        class: Class,
        entries: &[Entry<'_>],
    ) -> Result<Appended, AppendError> {
        self.push_one_class(class, entries.iter().copied(), false)
    }

    /// Whether entries may have companions.
    #[must_use]
    pub fn takes_companions(&self) -> bool {
        self.shared.companions
    }

    fn push_one_class<'a>(
        &self,
        class: Class,
        entries: impl Iterator<Item = Entry<'a>> + Clone,
        wait: bool,
    ) -> Result<Appended, AppendError> {
        let bytes = self.framed_total(entries.clone())?;
        let mut state = self.shared.state();
        loop {
            may_append(&state)?;
            let pressure = state.pressure();
            if !pressure.takes(class) {
                return Err(AppendError::NoSpace { pressure });
            }
            if self.has_room(&state, bytes) {
                break;
            }
            if !wait {
                return Err(AppendError::QueueFull);
            }
            state = self
                .shared
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(self.push(state, entries))
    }

    fn has_room(&self, state: &State, bytes: usize) -> bool {
        state.open.bytes().len().saturating_add(bytes) <= self.shared.options.queue_bytes
    }

    /// Puts entries into the queue, which has space for them, and signals the committer.
    fn push<'a>(
        &self,
        mut state: MutexGuard<'_, State>,
        entries: impl Iterator<Item = Entry<'a>>,
    ) -> Appended {
        let was_empty = state.open.is_empty();
        if was_empty {
            state.opened_at = self.shared.clock.monotonic();
        }
        let first = state.open.next_index();
        for entry in entries {
            state.open.push(entry);
        }
        let next = state.open.next_index();
        let full = state.open.bytes().len() >= self.shared.options.commit_bytes;
        drop(state);
        if was_empty {
            self.shared.begun.advance(next);
        }
        if was_empty || full {
            self.shared.work.notify_one();
        }
        Appended { first, next }
    }

    /// The bytes of entries and companions with their frames. Refuses entries that can never be
    /// accepted.
    fn framed_total<'a>(
        &self,
        entries: impl Iterator<Item = Entry<'a>>,
    ) -> Result<usize, AppendError> {
        let mut total = 0_usize;
        for (at, entry) in entries.enumerate() {
            let bytes = entry.bytes.len();
            if bytes > MAX_ENTRY_BYTES {
                return Err(AppendError::EntryTooLong { at, bytes });
            }
            let companion = entry.companion.len();
            if companion > MAX_COMPANION_BYTES {
                return Err(AppendError::CompanionTooLong {
                    at,
                    bytes: companion,
                });
            }
            if companion > 0 && !self.shared.companions {
                return Err(AppendError::NoCompanionStore { at });
            }
            total = total.saturating_add(framed_bytes(bytes, companion));
        }
        let limit = self.shared.options.queue_bytes;
        if total.saturating_add(HEAD_BYTES) > limit {
            return Err(AppendError::TooMuch {
                bytes: total,
                limit,
            });
        }
        Ok(total)
    }

    /// Blocks this thread until `entries` entries are durable, or the timeout is over. Speeds up
    /// the commit.
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::TimedOut`] they may still become durable.
    pub fn wait_durable(&self, entries: u64, timeout: Duration) -> Result<(), WaitError> {
        self.hurry(entries);
        self.shared.durable.wait(entries, timeout)
    }

    /// Resolves when `entries` entries are durable; in any runtime. Speeds up the commit.
    pub fn durable(&self, entries: u64) -> Reached {
        self.hurry(entries);
        Reached::new(Arc::clone(&self.shared.durable), entries)
    }

    /// Blocks this thread until a checkpoint covers `entries` entries, or the timeout is over.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_sealed(&self, entries: u64, timeout: Duration) -> Result<(), WaitError> {
        self.shared.sealed.wait(entries, timeout)
    }

    /// Resolves when a checkpoint covers `entries` entries; in any runtime.
    pub fn sealed(&self, entries: u64) -> Reached {
        Reached::new(Arc::clone(&self.shared.sealed), entries)
    }

    /// Resolves once more than `entries` entries have been appended; in any runtime. Does not speed
    /// up a commit. For watchdogs that sleep while the ledger is idle.
    pub fn more_than(&self, entries: u64) -> Reached {
        Reached::new(Arc::clone(&self.shared.begun), entries.saturating_add(1))
    }

    fn hurry(&self, entries: u64) {
        if self.shared.durable.get() >= entries {
            return;
        }
        let mut state = self.shared.state();
        if entries > state.hurry {
            state.hurry = entries;
            drop(state);
            self.shared.work.notify_one();
        }
    }

    /// The number of durable entries.
    #[must_use]
    pub fn durable_entries(&self) -> u64 {
        self.shared.durable.get()
    }

    /// How full the disk is, which decides about the accepted classes.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.shared.pressure()
    }

    /// The space on the volume, from a system call.
    ///
    /// # Errors
    /// The system's error.
    pub fn space(&self) -> io::Result<Space> {
        self.shared.store.space()
    }

    /// The durations of commits since the ledger was opened.
    #[must_use]
    pub fn commit_times(&self) -> CommitTimes {
        self.shared.commits.now()
    }

    /// The published checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> VerifiedCheckpoint {
        self.shared.state().published.clone()
    }

    /// The state of the ledger.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.shared.state();
        Status {
            appended: state.open.next_index(),
            durable: self.shared.durable.get(),
            sealed: state.published.head(),
            queue_bytes: queued(&state),
            backlog_bytes: state.backlog_bytes,
            pressure: state.pressure(),
            retrying: state.retrying.now(),
            retries: state.retrying.count,
            last_retry: state.retrying.last.clone(),
            stopped: state.stopped.clone(),
            held: state.held.iter().cloned().collect(),
        }
    }

    /// Permanently keeps a checkpoint of this log with a witness's lines in `private/checkpoints`,
    /// and publishes it with them unless a newer one has been published. The lines are not verified
    /// here: the caller that asked the witness has verified them.
    ///
    /// Returns `false` when too many wait already; these lines are then dropped.
    #[must_use]
    pub fn add_cosignatures(
        &self,
        checkpoint: &VerifiedCheckpoint,
        lines: Vec<NoteSignature>,
    ) -> bool {
        let mut state = self.shared.state();
        if state.cosignatures.len() >= MAX_COSIGNATURES {
            return false;
        }
        state.cosignatures.push_back((checkpoint.clone(), lines));
        drop(state);
        self.shared.cuts.notify_one();
        true
    }

    /// Stops the log at once, because an outside party has seen more of it or another root.
    /// `reason` is for people.
    pub fn halt(&self, reason: impl Into<String>) {
        self.shared.stop(Fatal::Halted {
            reason: reason.into(),
        });
    }

    /// Records that this party has reported what it has seen of the log since it was opened, and
    /// that it fits: signing no longer waits for it. Durable when it returns. Does nothing for a
    /// name that nobody waits for.
    ///
    /// # Errors
    /// Errors of the store: signing then continues to wait.
    pub fn answered(&self, name: &str) -> Result<(), LedgerError> {
        let _one = self.shared.pruning();
        let mut left = self.shared.state().held.clone();
        if !left.remove(name) {
            return Ok(());
        }
        // After a crash here the next start may seal the entries recorded under the hold, which the
        // answer permits.
        held::write(self.shared.store.as_ref(), &left)?;
        self.shared.state().held = left;
        self.shared.batches.notify_one();
        Ok(())
    }

    /// Sets the cursor of a replica or a legal hold, or removes it with `None`. Durable when it
    /// returns.
    ///
    /// # Errors
    /// [`LedgerError::CursorName`], or an error of the store.
    pub fn set_cursor(&self, name: &str, cursor: Option<Cursor>) -> Result<(), LedgerError> {
        let _one = self.shared.pruning();
        write_cursor(self.shared.store.as_ref(), name, cursor)
    }

    /// All cursors and holds, by name.
    ///
    /// # Errors
    /// [`LedgerError::Cursor`] when one has an unknown format, or an error of the store.
    pub fn cursors(&self) -> Result<Vec<(String, Cursor)>, LedgerError> {
        read_cursors(self.shared.store.as_ref())
    }
}

impl Handle {
    /// How far [`prune`](Self::prune) may go when a policy is to remove everything below `wanted`:
    /// not beyond the cursor of a required replica or a hold (I6), nor beyond the bundle of the
    /// last sealed entry, and always the first entry of a bundle.
    ///
    /// # Errors
    /// [`LedgerError::Cursor`], [`LedgerError::PrunedFile`], or an error of the store.
    pub fn prunable_below(&self, wanted: u64) -> Result<u64, LedgerError> {
        let _one = self.shared.pruning();
        prune::bound(self.shared.store.as_ref(), wanted, self.shared.sealed.get())
    }

    /// Removes the bundles of all entries below `below`; their hashes, and proofs for them, stay.
    /// This must be on record first: the entry at index `record` states which entries are removed
    /// and why, and is sealed. Returns the number of removed bundles. After a crash the next start
    /// completes it.
    ///
    /// The write-ahead log continues in a new segment. So the old one, which may still contain such
    /// entries, is removed when the later entries are sealed.
    ///
    /// Blocks as long as the disk takes. Do not call it on the appending thread.
    ///
    /// # Errors
    /// [`LedgerError::PruneBeyond`], [`LedgerError::PruneUnrecorded`], [`LedgerError::Closed`], or
    /// an error of the store.
    pub fn prune(&self, below: u64, record: u64) -> Result<u64, LedgerError> {
        let _one = self.shared.pruning();
        let sealed = {
            let state = self.shared.state();
            if state.stopped.is_some() || state.closing {
                return Err(LedgerError::Closed);
            }
            state.published.head().size
        };
        let removed = prune::prune(self.shared.store.as_ref(), below, record, sealed)?;
        self.shared.state().want_segment = true;
        Ok(removed)
    }

    pub(crate) fn store(&self) -> SharedStore {
        Arc::clone(&self.shared.store)
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }
}

fn queued(state: &MutexGuard<'_, State>) -> usize {
    if state.open.is_empty() {
        0
    } else {
        state.open.bytes().len()
    }
}

fn may_append(state: &State) -> Result<(), AppendError> {
    if let Some(fatal) = &state.stopped {
        return Err(AppendError::Stopped(Arc::clone(fatal)));
    }
    if state.closing {
        return Err(AppendError::Closed);
    }
    Ok(())
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.status()).finish()
    }
}
