//! The state that the threads share: one lock, and the conditions on which they wait.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use livetrail_tlog::{Frontier, NoteSignature, VerifiedCheckpoint};

use super::times::Times;
use crate::{
    Clock,
    error::Fatal,
    options::Options,
    passing::Passing,
    store::SharedStore,
    upkeep::space::Pressure,
    write::seal::Sealing,
    write::wal::Batch,
    write::watermark::{End, Watermark},
};

/// Buffers kept for the next batches.
const SPARE_BUFFERS: usize = 3;

/// The least number of zeros per write: each piece is one more write for the disk between the log's
/// own syncs.
const ZEROS_PIECE: u64 = 128 << 10;

/// The maximum number of answers of witnesses that wait for the sealer.
pub(super) const MAX_COSIGNATURES: usize = 64;

pub(crate) struct Shared {
    pub(super) store: SharedStore,
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    /// Entries may have companions.
    pub(super) companions: bool,
    /// The durations of commits.
    pub(super) commits: Times,
    pub(super) durable: Arc<Watermark>,
    pub(super) sealed: Arc<Watermark>,
    /// The number of appended entries when the queue was last empty: grows once per commit.
    pub(super) begun: Arc<Watermark>,
    state: Mutex<State>,
    /// Held while pruning, and while moving cursors that limit pruning.
    pruning: Mutex<()>,
    /// The committer waits for entries, and for the backlog to shrink.
    pub(super) work: Condvar,
    /// Appenders wait for space in the queue.
    pub(super) room: Condvar,
    /// The integrator waits for durable batches, and for the sealer.
    pub(super) batches: Condvar,
    /// The sealer waits for a tree to seal.
    pub(super) cuts: Condvar,
    /// Threads that found the disk full wait for space.
    pub(super) space: Condvar,
}

pub(super) struct State {
    /// Filled by appenders. At most `queue_bytes`.
    pub(super) open: Batch,
    /// When the first entry of `open` arrived.
    pub(super) opened_at: Duration,
    /// Somebody waits until this many entries are durable.
    pub(super) hurry: u64,
    /// Durable, waiting for integration. At most `backlog_bytes` and one batch.
    pub(super) ready: VecDeque<Batch>,
    /// The bytes of `ready`, and of the batch that is being integrated.
    pub(super) backlog_bytes: usize,
    buffers: Vec<Vec<u8>>,
    /// For the sealer: at most one.
    pub(super) cut: Option<(Sealing, Frontier)>,
    /// The sealer works on a tree.
    pub(super) sealing: bool,
    /// From witnesses. At most [`MAX_COSIGNATURES`].
    pub(super) cosignatures: VecDeque<(VerifiedCheckpoint, Vec<NoteSignature>)>,
    pub(super) published: VerifiedCheckpoint,
    pub(super) frontier: Frontier,
    /// The parties for whose answers signing waits. While there are any, the sealer gets no tree.
    pub(super) held: BTreeSet<String>,
    /// How far the sealer should write the zeros of the next segment.
    pub(super) want_zeros: Option<u64>,
    /// How far it has written them.
    pub(super) zeros: u64,
    /// The write-ahead log should continue in a new segment.
    pub(super) want_segment: bool,
    /// As the volume reports.
    pub(super) measured: Pressure,
    pub(super) measured_at: Duration,
    /// Bytes committed since the last measurement.
    pub(super) unmeasured_bytes: u64,
    /// Threads that found the disk full and have made no progress since.
    pub(super) stuck: usize,
    pub(super) retrying: Retrying,
    /// The reserve is on the disk.
    pub(super) ballast: bool,
    pub(super) closing: bool,
    pub(super) committer_done: bool,
    pub(super) integrator_done: bool,
    pub(super) stopped: Option<Arc<Fatal>>,
}

/// Errors that pass.
#[derive(Debug, Default)]
pub(super) struct Retrying {
    /// Threads that met one and have made no progress since.
    pub(super) threads: usize,
    /// The number of such errors.
    pub(super) count: u64,
    pub(super) last: Option<Arc<Passing>>,
}

impl Retrying {
    pub(super) fn note(&mut self, passing: Passing) {
        self.count = self.count.saturating_add(1);
        self.last = Some(Arc::new(passing));
    }

    /// The error for which some thread waits now.
    pub(super) fn now(&self) -> Option<Arc<Passing>> {
        self.last.clone().filter(|_| self.threads > 0)
    }
}

impl Shared {
    pub(super) fn new(
        store: SharedStore,
        options: Options,
        clock: Arc<dyn Clock>,
        companions: bool,
        published: VerifiedCheckpoint,
        frontier: Frontier,
        held: BTreeSet<String>,
    ) -> Self {
        let size = published.head().size;
        Self {
            store,
            options,
            clock,
            companions,
            commits: Times::default(),
            durable: Arc::new(Watermark::new(size)),
            sealed: Arc::new(Watermark::new(size)),
            begun: Arc::new(Watermark::new(size)),
            state: Mutex::new(State {
                open: Batch::new(size, Vec::new()),
                opened_at: Duration::ZERO,
                hurry: 0,
                ready: VecDeque::new(),
                backlog_bytes: 0,
                buffers: Vec::new(),
                cut: None,
                sealing: false,
                cosignatures: VecDeque::new(),
                published,
                frontier,
                held,
                want_zeros: None,
                zeros: 0,
                want_segment: false,
                measured: Pressure::Normal,
                measured_at: Duration::ZERO,
                unmeasured_bytes: 0,
                stuck: 0,
                retrying: Retrying::default(),
                ballast: false,
                closing: false,
                committer_done: false,
                integrator_done: false,
                stopped: None,
            }),
            pruning: Mutex::new(()),
            work: Condvar::new(),
            room: Condvar::new(),
            batches: Condvar::new(),
            cuts: Condvar::new(),
            space: Condvar::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A thread's panic is reported as such; the state that it held is not used to continue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pruning(&self) -> MutexGuard<'_, ()> {
        self.pruning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pressure(&self) -> Pressure {
        self.state().pressure()
    }

    /// Stops accepting entries; the threads finish one after the other.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.notify_all();
    }

    /// The threads have ended.
    pub(super) fn ended(&self) {
        let stopped = self.state().stopped.clone();
        let end = stopped.map_or(End::Closed, End::Stopped);
        self.end(&end);
    }

    /// Stops the log: nothing more is accepted, made durable, or signed.
    pub(super) fn stop(&self, fatal: Fatal) {
        let stopped = {
            let mut state = self.state();
            let fatal = Arc::new(fatal);
            Arc::clone(state.stopped.get_or_insert(fatal))
        };
        self.end(&End::Stopped(stopped));
        self.notify_all();
    }

    fn end(&self, end: &End) {
        for watermark in [&self.durable, &self.sealed, &self.begun] {
            watermark.end(end.clone());
        }
    }

    fn notify_all(&self) {
        for waiting in [
            &self.work,
            &self.room,
            &self.batches,
            &self.cuts,
            &self.space,
        ] {
            waiting.notify_all();
        }
    }
}

impl State {
    pub(super) fn pressure(&self) -> Pressure {
        if self.stuck > 0 {
            Pressure::RefuseStrict
        } else {
            self.measured
        }
    }

    /// Asks for more zeros, when the segment has `written` bytes now and the last commit wrote
    /// `committed` of them; returns whether it did. The log sets the pace: the zeros are half again
    /// as far as its data, so that they are complete in time, and few are written between two
    /// commits.
    pub(super) fn ask_for_zeros(&mut self, written: u64, committed: u64, segment: u64) -> bool {
        let due = written.saturating_add(written / 2).min(segment);
        let piece = committed.saturating_mul(2).max(ZEROS_PIECE);
        let behind = due.saturating_sub(self.zeros);
        if behind == 0 || (behind < piece && due < segment) {
            return false;
        }
        self.want_zeros = Some(self.zeros.saturating_add(piece).min(due));
        true
    }

    /// Takes the filled batch, and leaves an empty one for appenders.
    pub(super) fn take_batch(&mut self) -> Batch {
        let buffer = self.buffers.pop().unwrap_or_default();
        let next = Batch::new(self.open.next_index(), buffer);
        std::mem::replace(&mut self.open, next)
    }

    pub(super) fn give_back(&mut self, batch: Batch) {
        if self.buffers.len() < SPARE_BUFFERS {
            self.buffers.push(batch.into_buffer());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("durable", &self.durable.get())
            .field("sealed", &self.sealed.get())
            .finish_non_exhaustive()
    }
}

/// Dropped only when its thread panics: the log then stops and does not hang.
pub(super) struct PanicGuard(pub(super) Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        self.0.stop(Fatal::Panicked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SystemClock, store::MemStore, tests::harness};

    fn shared() -> Shared {
        let store = harness::created();
        let checkpoint = crate::Reader::open(Arc::new(store))
            .unwrap()
            .checkpoint()
            .unwrap();
        Shared::new(
            Arc::new(MemStore::new()),
            Options::default(),
            Arc::new(SystemClock::new()),
            false,
            checkpoint,
            Frontier::new(),
            BTreeSet::new(),
        )
    }

    #[test]
    fn zeros_are_whole_before_the_segment_is_full_and_few_between_two_commits() {
        const SEGMENT: u64 = 64 << 20;
        let shared = shared();
        let mut state = shared.state();
        for commit in [300, 21_600, 200 << 10] {
            state.zeros = 0;
            let mut written = 4096;
            while state.zeros < SEGMENT {
                written += commit;
                assert!(
                    written < SEGMENT,
                    "{commit}: only {} at the end",
                    state.zeros
                );
                if state.ask_for_zeros(written, commit, SEGMENT) {
                    let to = state.want_zeros.take().unwrap();
                    let piece = to - state.zeros;
                    assert!(piece <= ZEROS_PIECE.max(2 * commit), "{piece} at {written}");
                    assert!(
                        piece >= ZEROS_PIECE || to == SEGMENT,
                        "{piece} at {written}"
                    );
                    state.zeros = to;
                }
            }
            assert!(!state.ask_for_zeros(written + commit, commit, SEGMENT));
        }
    }
}
