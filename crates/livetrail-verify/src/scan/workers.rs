//! Workers scan bundles in parallel; one thread takes the results in the order of the log.
//!
//! At most [`WINDOW`] bundles per worker, and about [`MAX_BYTES`] of them, wait between the two:
//! memory does not depend on the log's size.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use livetrail_tlog::Bundle;

use crate::error::VerifyError;
use crate::scan::entry::Records;
use crate::scan::{Scanned, scan};
use crate::sources::Source;

/// Bundles that may wait, per worker.
const WINDOW: usize = 16;

/// Bytes read from disk that may wait. A worker that has started finishes its bundle.
const MAX_BYTES: usize = 64 << 20;

/// Scans every bundle of a log of `size` entries with this many workers and passes each to `take`,
/// in order, until `take` returns `false`.
pub(crate) fn run(
    source: &dyn Source,
    size: u64,
    threads: usize,
    mut take: impl FnMut(&mut Scanned) -> bool,
) -> Result<(), VerifyError> {
    let threads = threads.clamp(1, 256);
    let queue = Queue::new(threads.saturating_mul(WINDOW));
    std::thread::scope(|scope| {
        for number in 0..threads {
            let work = || {
                let guard = StopOnPanic(&queue);
                while let Some((slot, bundle, records)) = queue.claim(size) {
                    queue.put(slot, scan(source, bundle, size, records));
                }
                drop(guard);
            };
            if let Err(source) = std::thread::Builder::new()
                .name(format!("scan-{number}"))
                .spawn_scoped(scope, work)
            {
                queue.stop();
                return Err(VerifyError::Thread { source });
            }
        }
        while let Some(mut scanned) = queue.next(size) {
            if !take(&mut scanned) {
                break;
            }
            queue.recycle(scanned.into_records());
        }
        queue.stop();
        Ok(())
    })
}

/// When a worker panics, stops the others from waiting for it; the scope passes the panic on.
struct StopOnPanic<'a>(&'a Queue);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

struct Queue {
    state: Mutex<State>,
    window: usize,
    room: Condvar,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    /// The next bundle that no worker has claimed.
    claimed: u64,
    /// The bundle at the front of `slots`.
    front: u64,
    slots: VecDeque<Option<Scanned>>,
    bytes: usize,
    /// The memory of records that were taken. It is reused for the next records.
    free: Vec<Records>,
    stopped: bool,
}

impl Queue {
    fn new(window: usize) -> Self {
        Self {
            state: Mutex::default(),
            window,
            room: Condvar::new(),
            ready: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, size: u64) -> Option<(u64, Bundle, Records)> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let index = state.claimed;
            let bundle = Bundle::in_tree(index, size)?;
            // The bundle at the front is always admitted, so that the pipeline progresses.
            let fits = state.slots.len() < self.window && state.bytes < MAX_BYTES;
            if fits || state.slots.is_empty() {
                state.claimed = index.saturating_add(1);
                state.slots.push_back(None);
                let records = state.free.pop().unwrap_or_default();
                return Some((index, bundle, records));
            }
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, index: u64, scanned: Scanned) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_add(scanned.bytes);
        let at = index.saturating_sub(state.front);
        if let Some(slot) = usize::try_from(at)
            .ok()
            .and_then(|at| state.slots.get_mut(at))
        {
            *slot = Some(scanned);
        }
        drop(state);
        if at == 0 {
            self.ready.notify_one();
        }
    }

    fn next(&self, size: u64) -> Option<Scanned> {
        let mut state = self.lock();
        loop {
            if let Some(scanned) = state.slots.front_mut().and_then(Option::take) {
                state.slots.pop_front();
                state.front = state.front.saturating_add(1);
                state.bytes = state.bytes.saturating_sub(scanned.bytes);
                drop(state);
                self.room.notify_all();
                return Some(scanned);
            }
            if state.stopped || Bundle::in_tree(state.front, size).is_none() {
                return None;
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps memory for the next bundles, at most as much as there may be bundles.
    fn recycle(&self, records: Records) {
        let mut state = self.lock();
        if state.free.len() < self.window {
            state.free.push(records);
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.room.notify_all();
        self.ready.notify_all();
    }
}
