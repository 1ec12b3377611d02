//! The thread that makes batches durable.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{room::retrying, shared::Shared};
use crate::{
    error::Fatal,
    write::wal::{Batch, Writer},
};

/// When segments fill faster than this, zeroing the next one costs more than it saves, because
/// commits are large.
const SPARE_WORTH: Duration = Duration::from_millis(1500);

pub(super) fn run(shared: &Arc<Shared>, mut writer: Writer) {
    let mut segments = Segments::default();
    while let Some(batch) = next_batch(shared) {
        shared.measure_room_if_due(batch.bytes().len() as u64);
        if std::mem::take(&mut shared.state().want_segment) {
            // A failure only leaves the segment longer than necessary.
            let _ = writer.trim();
        }
        if let Err(fatal) = commit(shared, &mut writer, &batch) {
            shared.stop(fatal);
            return;
        }
        let spare_worth = segments.spare_worth(shared, &writer);
        let durable = batch.next_index();
        let asked = {
            let mut state = shared.state();
            let bytes = batch.bytes().len();
            state.backlog_bytes = state.backlog_bytes.saturating_add(bytes);
            state.ready.push_back(batch);
            let (written, segment) = (writer.written_bytes(), shared.options.segment_bytes);
            spare_worth && state.ask_for_zeros(written, bytes as u64, segment)
        };
        // The order matters: when a waiter is notified that an entry is durable, the entry is
        // already queued for the tree.
        shared.durable.advance(durable);
        shared.batches.notify_one();
        if asked {
            shared.cuts.notify_one();
        }
    }
    // After a failure the next start does it.
    let _ = writer.trim();
    shared.state().committer_done = true;
    shared.batches.notify_one();
}

/// Whether writing the next segment's zeros ahead is worth it.
#[derive(Default)]
struct Segments {
    current: Option<u64>,
    begun_at: Option<Duration>,
    slow: bool,
}

impl Segments {
    /// Checks whether a segment was begun.
    fn spare_worth(&mut self, shared: &Shared, writer: &Writer) -> bool {
        if self.current != writer.segment() {
            self.current = writer.segment();
            let now = shared.clock.monotonic();
            let begun_at = self.begun_at.replace(now);
            self.slow = begun_at.is_none_or(|begun| now.saturating_sub(begun) >= SPARE_WORTH);
            let mut state = shared.state();
            if state.zeros >= shared.options.segment_bytes {
                // The prepared segment is in use now.
                state.zeros = 0;
            }
        }
        self.slow
    }
}

/// Waits until entries are to be committed: at once when somebody waits for them or the queue has
/// `commit_bytes`, at the latest `commit_interval` after the first entry. While a batch syncs, the
/// next one fills.
fn next_batch(shared: &Shared) -> Option<Batch> {
    let options = &shared.options;
    let mut state = shared.state();
    loop {
        if state.stopped.is_some() {
            return None;
        }
        let mut timeout = None;
        if state.open.is_empty() {
            if state.closing {
                return None;
            }
        } else if state.backlog_bytes < options.backlog_bytes {
            let age = shared.clock.monotonic().saturating_sub(state.opened_at);
            let go = state.closing
                || state.hurry > state.open.first_index()
                || state.open.bytes().len() >= options.commit_bytes
                || age >= options.commit_interval;
            if go {
                let batch = state.take_batch();
                drop(state);
                shared.room.notify_all();
                return Some(batch);
            }
            timeout = Some(options.commit_interval.saturating_sub(age));
        }
        state = match timeout {
            None => shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                shared
                    .work
                    .wait_timeout(state, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
    }
}

fn commit(shared: &Arc<Shared>, writer: &mut Writer, batch: &Batch) -> Result<(), Fatal> {
    retrying(shared, || {
        let published = shared.state().frontier.clone();
        let began = shared.clock.monotonic();
        writer.commit(batch, &published, || shared.segment_bytes())?;
        let ended = shared.clock.monotonic();
        shared.commits.took(ended.saturating_sub(began));
        Ok(())
    })
}
