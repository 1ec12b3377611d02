//! The thread that makes tiles of durable batches.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{room::retrying, shared::Shared};
use crate::{
    error::Fatal, upkeep::recover::MAX_UNSEALED, write::integrate::Integrator,
    write::seal::Sealing, write::wal::Batch,
};

enum Job {
    Integrate {
        batch: Batch,
        /// Little waits, so there is time to spread the writes to the disk.
        early: bool,
    },
    Cut,
}

pub(super) fn run(shared: &Arc<Shared>, mut integrator: Integrator) {
    let mut last = LastCut {
        size: integrator.size(),
        at: None,
    };
    while let Some(job) = next_job(shared, &integrator, &last) {
        let done = match job {
            Job::Integrate { batch, early } => {
                integrator.write_early(early);
                integrate(shared, &mut integrator, &batch).map(|()| {
                    let mut state = shared.state();
                    state.backlog_bytes = state.backlog_bytes.saturating_sub(batch.bytes().len());
                    state.give_back(batch);
                    drop(state);
                    shared.work.notify_one();
                })
            }
            Job::Cut => retrying(shared, || integrator.cut()).map(|cut| {
                last = LastCut {
                    size: cut.head.size,
                    at: Some(shared.clock.monotonic()),
                };
                let frontier = cut.frontier.clone();
                shared.state().cut = Some((Sealing::new(cut), frontier));
                shared.cuts.notify_one();
            }),
        };
        if let Err(fatal) = done {
            shared.stop(fatal);
            return;
        }
    }
    shared.state().integrator_done = true;
    shared.cuts.notify_one();
}

struct LastCut {
    size: u64,
    at: Option<Duration>,
}

/// The next job: a checkpoint when it is due and the sealer is free, otherwise the next batch.
/// Parked when there is neither: no timer runs unless the tree has grown since the last checkpoint.
fn next_job(shared: &Shared, integrator: &Integrator, last: &LastCut) -> Option<Job> {
    let unsealed = integrator.size().saturating_sub(last.size);
    let mut state = shared.state();
    loop {
        if state.stopped.is_some() {
            return None;
        }
        let finishing = state.committer_done && state.ready.is_empty();
        let sealer_free = state.cut.is_none() && !state.sealing;
        let mut timeout = None;
        let is_held = !state.held.is_empty();
        // Under a hold, the next start seals the durable entries, once it has its answer.
        if finishing && (unsealed == 0 || is_held) {
            return None;
        }
        if unsealed > 0 && sealer_free && !is_held {
            let wait = last.at.map_or(Duration::ZERO, |at| {
                at.saturating_add(shared.options.checkpoint_interval)
                    .saturating_sub(shared.clock.monotonic())
            });
            if finishing || unsealed >= MAX_UNSEALED || wait.is_zero() {
                return Some(Job::Cut);
            }
            timeout = Some(wait);
        }
        if unsealed < MAX_UNSEALED
            && let Some(batch) = state.ready.pop_front()
        {
            // Commits are this large when records arrive as fast as they are accepted: then one
            // sync for all files of a checkpoint costs least.
            let early = state.backlog_bytes < shared.options.commit_bytes;
            return Some(Job::Integrate { batch, early });
        }
        state = match timeout {
            None => shared
                .batches
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                shared
                    .batches
                    .wait_timeout(state, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
    }
}

fn integrate(
    shared: &Arc<Shared>,
    integrator: &mut Integrator,
    batch: &Batch,
) -> Result<(), Fatal> {
    for entry in batch.payloads() {
        integrator.append(entry)?;
        retrying(shared, || integrator.flush())?;
    }
    Ok(())
}
