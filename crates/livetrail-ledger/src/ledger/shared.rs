//! What the threads share: one lock, and who waits on it for what.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use livetrail_tlog::{Frontier, NoteSignature, VerifiedCheckpoint};

use crate::{
    clock::Clock,
    error::Fatal,
    options::Options,
    seal::Sealing,
    space::Pressure,
    store::SharedStore,
    wal::Batch,
    watermark::{End, Watermark},
};

/// Buffers kept for the next batches.
const SPARE_BUFFERS: usize = 3;

/// Answers of witnesses that may wait for the sealer.
pub(super) const MAX_COSIGNATURES: usize = 64;

pub(crate) struct Shared {
    pub(super) store: SharedStore,
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) durable: Arc<Watermark>,
    pub(super) sealed: Arc<Watermark>,
    state: Mutex<State>,
    /// Held by whoever prunes, or moves what must not be pruned.
    pruning: Mutex<()>,
    /// The committer waits for entries, and for the backlog to shrink.
    pub(super) work: Condvar,
    /// Appenders wait for room in the queue.
    pub(super) room: Condvar,
    /// The integrator waits for durable batches, and for the sealer.
    pub(super) batches: Condvar,
    /// The sealer waits for a cut.
    pub(super) cuts: Condvar,
    /// Whoever found the disk full waits for space.
    pub(super) space: Condvar,
}

pub(super) struct State {
    /// Filled by appenders. At most `queue_bytes`.
    pub(super) open: Batch,
    /// When the first entry of `open` came.
    pub(super) opened_at: Duration,
    /// Somebody waits until so many entries are durable.
    pub(super) hurry: u64,
    /// Durable, waiting to be integrated. At most `backlog_bytes` and one batch.
    pub(super) ready: VecDeque<Batch>,
    /// Bytes of `ready`, and of the batch that is being integrated.
    pub(super) backlog_bytes: usize,
    buffers: Vec<Vec<u8>>,
    /// For the sealer: at most one.
    pub(super) cut: Option<(Sealing, Frontier)>,
    /// The sealer is at work on a cut.
    pub(super) sealing: bool,
    /// From witnesses. At most [`MAX_COSIGNATURES`].
    pub(super) cosignatures: VecDeque<(VerifiedCheckpoint, Vec<NoteSignature>)>,
    pub(super) published: VerifiedCheckpoint,
    pub(super) frontier: Frontier,
    /// The committer has used up the spare segment.
    pub(super) want_spare: bool,
    /// The write-ahead log is to go on in a new segment.
    pub(super) want_segment: bool,
    /// As the volume says.
    pub(super) measured: Pressure,
    pub(super) measured_at: Duration,
    /// Threads that found the disk full and have not got on since.
    pub(super) stuck: usize,
    pub(super) ballast: bool,
    pub(super) closing: bool,
    pub(super) committer_done: bool,
    pub(super) integrator_done: bool,
    pub(super) stopped: Option<Arc<Fatal>>,
}

impl Shared {
    pub(super) fn new(
        store: SharedStore,
        options: Options,
        clock: Arc<dyn Clock>,
        published: VerifiedCheckpoint,
        frontier: Frontier,
    ) -> Self {
        let size = published.head().size;
        Self {
            store,
            options,
            clock,
            durable: Arc::new(Watermark::new(size)),
            sealed: Arc::new(Watermark::new(size)),
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
                want_spare: false,
                want_segment: false,
                measured: Pressure::Normal,
                measured_at: Duration::ZERO,
                stuck: 0,
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
        // A panic of a thread is reported as such; what it held is not used to go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pruning(&self) -> MutexGuard<'_, ()> {
        self.pruning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pressure(&self) -> Pressure {
        self.state().pressure()
    }

    /// Nothing more is taken; the threads finish one after the other.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.notify_all();
    }

    /// The threads have ended.
    pub(super) fn ended(&self) {
        let stopped = self.state().stopped.clone();
        let end = stopped.map_or(End::Closed, End::Stopped);
        self.durable.end(end.clone());
        self.sealed.end(end);
    }

    /// The log stops: nothing more is taken, made durable, or signed.
    pub(super) fn stop(&self, fatal: Fatal) {
        let stopped = {
            let mut state = self.state();
            let fatal = Arc::new(fatal);
            Arc::clone(state.stopped.get_or_insert(fatal))
        };
        self.durable.end(End::Stopped(Arc::clone(&stopped)));
        self.sealed.end(End::Stopped(stopped));
        self.notify_all();
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

    /// Takes what was filled, and gives appenders an empty batch behind it.
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

/// Dropped only when its thread panics: the log stops rather than hangs.
pub(super) struct PanicGuard(pub(super) Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        self.0.stop(Fatal::Panicked);
    }
}
