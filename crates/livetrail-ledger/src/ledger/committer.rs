//! The thread that makes batches durable.

use std::{
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{room::Stuck, shared::Shared};
use crate::{
    error::Fatal,
    wal::{Batch, CommitError, Writer},
};

/// When segments fill faster than this, zeroing the next one costs more than it saves: commits are large then.
const SPARE_WORTH: Duration = Duration::from_millis(1500);

pub(super) fn run(shared: &Arc<Shared>, mut writer: Writer) {
    let mut segment = None;
    let mut begun_at = None;
    while let Some(batch) = next_batch(shared) {
        shared.measure_room_if_due();
        if std::mem::take(&mut shared.state().want_segment) {
            // If this fails the segment is longer than it need be.
            let _ = writer.trim();
        }
        if let Err(fatal) = commit(shared, &mut writer, &batch) {
            shared.stop(fatal);
            return;
        }
        if segment != writer.segment() {
            segment = writer.segment();
            let now = shared.clock.monotonic();
            let slow = begun_at.is_none_or(|begun| now.saturating_sub(begun) >= SPARE_WORTH);
            begun_at = Some(now);
            if slow {
                shared.state().want_spare = true;
                shared.cuts.notify_one();
            }
        }
        let durable = batch.next_index();
        {
            let mut state = shared.state();
            state.backlog_bytes = state.backlog_bytes.saturating_add(batch.bytes().len());
            state.ready.push_back(batch);
        }
        // In this order: who is told that an entry is durable finds it on its way into the tree.
        shared.durable.advance(durable);
        shared.batches.notify_one();
    }
    // If this fails the next start does it.
    let _ = writer.trim();
    shared.state().committer_done = true;
    shared.batches.notify_one();
}

/// Waits for entries, and for the time to commit them: at once when somebody waits, or the queue has `commit_bytes`; at the latest
/// `commit_interval` after the first entry came. While a batch syncs the next one fills.
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
    let mut stuck = Stuck::new(Arc::clone(shared));
    loop {
        let published = shared.state().frontier.clone();
        match writer.commit(batch, &published) {
            Ok(()) => return Ok(()),
            Err(CommitError::Fatal(fatal)) => return Err(fatal),
            Err(CommitError::NoSpace(source)) if !stuck.wait() => {
                return Err(no_room(batch, source));
            }
            Err(CommitError::NoSpace(_)) => {}
        }
    }
}

fn no_room(batch: &Batch, source: io::Error) -> Fatal {
    Fatal::WalWrite {
        index: batch.first_index(),
        source,
    }
}
