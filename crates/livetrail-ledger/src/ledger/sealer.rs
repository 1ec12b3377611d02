//! The thread that seals: durable files, re-reading, intent, signature, checkpoint. Beside it: the spare segment, and room on the disk.

use std::sync::{Arc, PoisonError};

use livetrail_tlog::{Frontier, NoteSignature, VerifiedCheckpoint};

use super::{integrator::wait_for_room, room::Stuck, shared::Shared};
use crate::{
    error::Fatal,
    integrate::Blocked,
    seal::{Sealer, Sealing},
    space::Pressure,
    wal::prepare_spare,
};

enum Job {
    Seal(Box<Sealing>, Frontier),
    Cosign(Box<VerifiedCheckpoint>, Vec<NoteSignature>),
    Spare,
    Measure,
}

pub(super) fn run(shared: &Arc<Shared>, mut sealer: Sealer) {
    while let Some(job) = next_job(shared) {
        let done = match job {
            Job::Seal(mut sealing, frontier) => with_room(shared, || sealer.seal(&mut sealing))
                .map(|()| {
                    let mut state = shared.state();
                    state.published = sealer.published().clone();
                    state.frontier = frontier;
                    state.sealing = false;
                    drop(state);
                    shared.sealed.advance(sealing.size());
                    shared.batches.notify_one();
                }),
            Job::Cosign(checkpoint, lines) => {
                with_room(shared, || sealer.add_cosignatures(&checkpoint, &lines)).map(|()| {
                    shared.state().published = sealer.published().clone();
                })
            }
            Job::Spare => {
                // Without it the next segment is slower; that is all.
                let _ = prepare_spare(shared.store.as_ref(), shared.options.segment_bytes);
                Ok(())
            }
            Job::Measure => {
                shared.measure_room();
                Ok(())
            }
        };
        if let Err(fatal) = done {
            shared.stop(fatal);
            return;
        }
    }
}

fn with_room(
    shared: &Arc<Shared>,
    mut act: impl FnMut() -> Result<(), Blocked>,
) -> Result<(), Fatal> {
    let mut stuck = Stuck::new(Arc::clone(shared));
    while let Err(blocked) = act() {
        wait_for_room(&mut stuck, blocked)?;
    }
    Ok(())
}

/// Parked until there is something to do. A timer runs only while the disk is too full: somebody must see when it is not any more.
fn next_job(shared: &Shared) -> Option<Job> {
    let mut state = shared.state();
    loop {
        if state.stopped.is_some() {
            return None;
        }
        if let Some((sealing, frontier)) = state.cut.take() {
            state.sealing = true;
            return Some(Job::Seal(Box::new(sealing), frontier));
        }
        if let Some((checkpoint, lines)) = state.cosignatures.pop_front() {
            return Some(Job::Cosign(Box::new(checkpoint), lines));
        }
        if state.integrator_done {
            return None;
        }
        let tight = state.pressure() >= Pressure::ShedBestEffort;
        if std::mem::take(&mut state.want_spare) && !tight && !state.closing {
            return Some(Job::Spare);
        }
        if state.measured == Pressure::Normal {
            state = shared
                .cuts
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        } else {
            let (guard, late) = shared
                .cuts
                .wait_timeout(state, shared.options.space_interval)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if late.timed_out() {
                return Some(Job::Measure);
            }
        }
    }
}
