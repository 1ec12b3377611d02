//! What the ledger's users hold: appending, waiting, looking.

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
    cursor::{Cursor, read_cursors, write_cursor},
    error::{AppendError, Fatal, LedgerError, WaitError},
    held,
    passing::Passing,
    prune,
    space::{Class, Pressure},
    store::{SharedStore, Space},
    wal::{HEAD_BYTES, framed_bytes},
    watermark::Reached,
};

/// A handle to a running ledger; cheap to clone. Once the ledger is closed it only says so.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

/// Where appended entries stand: indexes `first` to `next`, without that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Index of the first entry.
    pub first: u64,
    /// The index after the last: what to wait for.
    pub next: u64,
}

/// How a ledger is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Entries taken; the next one gets this index.
    pub appended: u64,
    /// Entries that are on the disk.
    pub durable: u64,
    /// Size and root of the published checkpoint.
    pub sealed: TreeHead,
    /// Bytes, framed, that wait for a commit.
    pub queue_bytes: usize,
    /// Bytes, framed, that are durable and wait to be integrated.
    pub backlog_bytes: usize,
    /// How full the disk is.
    pub pressure: Pressure,
    /// What the log waits out now: the disk has no room, or the system no file or memory for it. It tries again by itself.
    pub retrying: Option<Arc<Passing>>,
    /// How often it had to since it was opened.
    pub retries: u64,
    /// What it had to wait for last.
    pub last_retry: Option<Arc<Passing>>,
    /// Why the log stopped, if it did.
    pub stopped: Option<Arc<Fatal>>,
    /// For whose answers signing waits since the start: see [`Handle::answered`].
    pub held: Vec<String>,
}

impl Handle {
    /// Appends entries of one class, all or none of them; waits for room in the queue. For a thread of its own: it may block as long as the disk hangs.
    ///
    /// The entries are in memory when it returns. Wait for [`Appended::next`] to know that they are durable.
    ///
    /// # Errors
    /// [`AppendError`], but not [`AppendError::QueueFull`].
    pub fn append<E: AsRef<[u8]>>(
        &self,
        class: Class,
        entries: &[E],
    ) -> Result<Appended, AppendError> {
        self.push_one_class(class, entries, true)
    }

    /// Appends entries of one class, all or none of them; never waits.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn try_append<E: AsRef<[u8]>>(
        &self,
        class: Class,
        entries: &[E],
    ) -> Result<Appended, AppendError> {
        self.push_one_class(class, entries, false)
    }

    fn push_one_class<E: AsRef<[u8]>>(
        &self,
        class: Class,
        entries: &[E],
        wait: bool,
    ) -> Result<Appended, AppendError> {
        let bytes = self.framed_total(entries.iter().map(AsRef::as_ref))?;
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
        Ok(self.push(state, entries.iter().map(AsRef::as_ref)))
    }

    fn has_room(&self, state: &State, bytes: usize) -> bool {
        state.open.bytes().len().saturating_add(bytes) <= self.shared.options.queue_bytes
    }

    /// Puts entries into the queue, for which there is room, and signals the committer.
    fn push<'a>(
        &self,
        mut state: MutexGuard<'_, State>,
        entries: impl Iterator<Item = &'a [u8]>,
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

    /// Bytes of entries with their frames. Refuses what can never be taken.
    fn framed_total<'a>(
        &self,
        entries: impl Iterator<Item = &'a [u8]>,
    ) -> Result<usize, AppendError> {
        let mut total = 0_usize;
        for (at, entry) in entries.enumerate() {
            let bytes = entry.len();
            if bytes > MAX_ENTRY_BYTES {
                return Err(AppendError::EntryTooLong { at, bytes });
            }
            total = total.saturating_add(framed_bytes(bytes));
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

    /// Waits, on this thread and at most so long, until `entries` entries are durable. Hastens the commit.
    ///
    /// # Errors
    /// [`WaitError`]. After [`WaitError::TimedOut`] they may still become durable.
    pub fn wait_durable(&self, entries: u64, timeout: Duration) -> Result<(), WaitError> {
        self.hurry(entries);
        self.shared.durable.wait(entries, timeout)
    }

    /// Resolves when `entries` entries are durable; in any runtime. Hastens the commit.
    pub fn durable(&self, entries: u64) -> Reached {
        self.hurry(entries);
        Reached::new(Arc::clone(&self.shared.durable), entries)
    }

    /// Waits, on this thread and at most so long, until a checkpoint covers `entries` entries.
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

    /// Resolves when entries come to a ledger to which so many were appended and which has none that waits for its commit; in any runtime. Hastens
    /// nothing: for who looks after a ledger that has something to do, and would sleep otherwise.
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

    /// How many entries are durable now.
    #[must_use]
    pub fn durable_entries(&self) -> u64 {
        self.shared.durable.get()
    }

    /// How full the disk is, and so what is taken.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.shared.pressure()
    }

    /// Room on the volume, asked now: a system call.
    ///
    /// # Errors
    /// What the system says.
    pub fn space(&self) -> io::Result<Space> {
        self.shared.store.space()
    }

    /// How long commits took since the ledger was opened.
    #[must_use]
    pub fn commit_times(&self) -> CommitTimes {
        self.shared.commits.now()
    }

    /// The published checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> VerifiedCheckpoint {
        self.shared.state().published.clone()
    }

    /// How the ledger is doing.
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

    /// Keeps a checkpoint of this log with a witness's lines in `private/checkpoints`, for ever; and publishes it with them, unless a newer one is
    /// published by then. The lines are not verified here: whoever asked the witness has done so.
    ///
    /// `false`: too many wait already, these are dropped.
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

    /// Stops the log at once, because somebody outside has seen more of it or another root. `reason` is for people.
    pub fn halt(&self, reason: impl Into<String>) {
        self.shared.stop(Fatal::Halted {
            reason: reason.into(),
        });
    }

    /// This one has said what they have seen of the log since it was opened, and that fits: signing no longer waits for them. Durable when it
    /// returns. Nothing happens for a name that nobody waits for.
    ///
    /// # Errors
    /// Whatever the store says: signing waits on then.
    pub fn answered(&self, name: &str) -> Result<(), LedgerError> {
        let _one = self.shared.pruning();
        let mut left = self.shared.state().held.clone();
        if !left.remove(name) {
            return Ok(());
        }
        // A crash behind this: the next start may seal what was recorded under the hold, and the answer allows that.
        held::write(self.shared.store.as_ref(), &left)?;
        self.shared.state().held = left;
        self.shared.batches.notify_one();
        Ok(())
    }

    /// Sets, or with `None` removes, the cursor of a replica or a legal hold. Durable when it returns.
    ///
    /// # Errors
    /// [`LedgerError::CursorName`], or whatever the store says.
    pub fn set_cursor(&self, name: &str, cursor: Option<Cursor>) -> Result<(), LedgerError> {
        let _one = self.shared.pruning();
        write_cursor(self.shared.store.as_ref(), name, cursor)
    }

    /// All cursors and holds, by name.
    ///
    /// # Errors
    /// [`LedgerError::Cursor`] when one cannot be understood, or whatever the store says.
    pub fn cursors(&self) -> Result<Vec<(String, Cursor)>, LedgerError> {
        read_cursors(self.shared.store.as_ref())
    }
}

impl Handle {
    /// Up to where [`prune`](Self::prune) may go when a policy wants everything below `wanted` gone: not past the cursor of a required replica or a
    /// hold (I6), nor past the bundle of the last sealed entry, and always the first entry of a bundle.
    ///
    /// # Errors
    /// [`LedgerError::Cursor`], [`LedgerError::PrunedFile`], or whatever the store says.
    pub fn prunable_below(&self, wanted: u64) -> Result<u64, LedgerError> {
        let _one = self.shared.pruning();
        prune::bound(self.shared.store.as_ref(), wanted, self.shared.sealed.get())
    }

    /// Removes the bundles of all entries below `below`; their hashes stay, and proofs for them. It must be on record first: the entry at index
    /// `record` says which entries go and why, and is sealed. Gives how many bundles were removed. What a crash leaves of it the next start does.
    ///
    /// The write-ahead log goes on in a new segment, so that the old one, which may still hold such entries, goes when what follows is sealed.
    ///
    /// Blocks as long as the disk takes. Not for the thread that appends.
    ///
    /// # Errors
    /// [`LedgerError::PruneBeyond`], [`LedgerError::PruneUnrecorded`], [`LedgerError::Closed`], or whatever the store says.
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
