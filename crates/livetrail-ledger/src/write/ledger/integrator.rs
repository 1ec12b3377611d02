//! The thread that makes tiles of durable batches.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{room::retrying, shared::Shared};
use crate::{
    error::Fatal, upkeep::recover::MAX_UNSEALED, write::companion::Keeper,
    write::integrate::Integrator, write::seal::Sealing, write::wal::Batch,
};

enum Job {
    Integrate {
        batch: Batch,
        /// Little waits, so there is time to spread the writes to the disk.
        early: bool,
    },
    /// Companions to their store, although no checkpoint can be made now.
    Keep,
    Cut,
}

/// The thread's state.
struct Tiles {
    integrator: Integrator,
    /// If entries may have companions.
    keeper: Option<Keeper>,
    /// The size of the last cut.
    cut_size: u64,
    /// When it was made.
    cut_at: Option<Duration>,
    /// When companions were last kept.
    kept_at: Option<Duration>,
}

pub(super) fn run(shared: &Arc<Shared>, integrator: Integrator, keeper: Option<Keeper>) {
    let mut tiles = Tiles {
        cut_size: integrator.size(),
        integrator,
        keeper,
        cut_at: None,
        kept_at: None,
    };
    while let Some(job) = next_job(shared, &tiles) {
        let done = match job {
            Job::Integrate { batch, early } => {
                tiles.integrator.write_early(early);
                tiles.integrate(shared, &batch).map(|()| {
                    let mut state = shared.state();
                    state.backlog_bytes = state.backlog_bytes.saturating_sub(batch.bytes().len());
                    state.give_back(batch);
                    drop(state);
                    shared.work.notify_one();
                })
            }
            Job::Keep => tiles.keep(shared),
            Job::Cut => tiles.cut(shared),
        };
        if let Err(fatal) = done {
            shared.stop(fatal);
            return;
        }
    }
    shared.state().integrator_done = true;
    shared.cuts.notify_one();
}

impl Tiles {
    fn integrate(&mut self, shared: &Arc<Shared>, batch: &Batch) -> Result<(), Fatal> {
        for entry in batch.entries() {
            if let Some(keeper) = &mut self.keeper {
                keeper.collect(self.integrator.size(), entry.companion);
            }
            self.integrator.append(entry.bytes)?;
            retrying(shared, || self.integrator.flush())?;
            if self.keeper.as_ref().is_some_and(Keeper::is_full) {
                self.keep(shared)?;
            }
        }
        Ok(())
    }

    /// The companions of all integrated entries become durable elsewhere. *Crash before: the next
    /// start gives them to the store again. After: their entries may be sealed.*
    fn keep(&mut self, shared: &Arc<Shared>) -> Result<(), Fatal> {
        if let Some(keeper) = &mut self.keeper {
            retrying(shared, || keeper.keep())?;
            self.kept_at = Some(shared.clock.monotonic());
        }
        Ok(())
    }

    fn has_companions(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::has_some)
    }

    fn cut(&mut self, shared: &Arc<Shared>) -> Result<(), Fatal> {
        self.keep(shared)?;
        let cut = retrying(shared, || self.integrator.cut())?;
        self.cut_size = cut.head.size;
        self.cut_at = Some(shared.clock.monotonic());
        let frontier = cut.frontier.clone();
        shared.state().cut = Some((Sealing::new(cut), frontier));
        shared.cuts.notify_one();
        Ok(())
    }
}

/// The next job: a checkpoint when it is due and the sealer is free, otherwise the next batch.
/// Parked when there is neither: no timer runs unless the tree has grown since the last checkpoint.
///
/// A checkpoint is made of entries whose companions are kept. While no checkpoint can be made,
/// companions are kept as often as one would be.
fn next_job(shared: &Shared, tiles: &Tiles) -> Option<Job> {
    let unsealed = tiles.integrator.size().saturating_sub(tiles.cut_size);
    let due_in = |last: Option<Duration>| {
        last.map_or(Duration::ZERO, |at| {
            at.saturating_add(shared.options.checkpoint_interval)
                .saturating_sub(shared.clock.monotonic())
        })
    };
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
            return tiles.has_companions().then_some(Job::Keep);
        }
        if unsealed > 0 && sealer_free && !is_held {
            let wait = due_in(tiles.cut_at);
            if finishing || unsealed >= MAX_UNSEALED || wait.is_zero() {
                return Some(Job::Cut);
            }
            timeout = Some(wait);
        } else if tiles.has_companions() {
            let wait = due_in(tiles.kept_at);
            if wait.is_zero() {
                return Some(Job::Keep);
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
