//! The sealing thread: durable files, re-reading, intent, signature, checkpoint. It also prepares
//! the spare segment, and measures space on the disk.

use std::{
    io,
    sync::{Arc, PoisonError},
};

use livetrail_tlog::{Frontier, NoteSignature, VerifiedCheckpoint};

use super::{room::retrying, shared::Shared};
use crate::{
    upkeep::space::Pressure,
    write::seal::{Sealer, Sealing},
    write::wal::{Spare, discard_spare},
};

enum Job {
    Seal(Box<Sealing>, Frontier),
    Cosign(Box<VerifiedCheckpoint>, Vec<NoteSignature>),
    /// Zeros for the next segment, up to this byte.
    Zeros(u64),
    Measure,
}

pub(super) fn run(shared: &Arc<Shared>, mut sealer: Sealer) {
    let mut spare = None;
    while let Some(job) = next_job(shared) {
        let done = match job {
            Job::Seal(mut sealing, frontier) => {
                retrying(shared, || sealer.seal(&mut sealing)).map(|()| {
                    let mut state = shared.state();
                    state.published = sealer.published().clone();
                    state.frontier = frontier;
                    state.sealing = false;
                    drop(state);
                    shared.sealed.advance(sealing.size());
                    shared.batches.notify_one();
                })
            }
            Job::Cosign(checkpoint, lines) => {
                retrying(shared, || sealer.add_cosignatures(&checkpoint, &lines)).map(|()| {
                    shared.state().published = sealer.published().clone();
                })
            }
            Job::Zeros(to) => {
                write_zeros(shared, &mut spare, to);
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
    if spare.is_some() {
        discard_spare(&shared.store);
    }
}

/// Continues with the spare segment. Without it the next segment is only slower; the one after that
/// is tried again.
fn write_zeros(shared: &Shared, spare: &mut Option<Spare>, to: u64) {
    let zeros = extend_spare(shared, spare, to).unwrap_or_else(|_| {
        *spare = None;
        discard_spare(&shared.store);
        shared.options.segment_bytes
    });
    shared.state().zeros = zeros;
}

/// Returns how far the zeros reach.
fn extend_spare(shared: &Shared, spare: &mut Option<Spare>, to: u64) -> io::Result<u64> {
    let segment = shared.options.segment_bytes;
    if spare.is_none() {
        if shared.pressure_with(segment) >= Pressure::ShedRefusals {
            return Ok(segment);
        }
        *spare = Spare::begin(&shared.store, segment)?;
    }
    let Some(making) = spare.as_mut() else {
        // There is a spare segment already.
        return Ok(segment);
    };
    making.extend(to)?;
    if !making.is_whole() {
        return Ok(to);
    }
    if let Some(whole) = spare.take() {
        whole.finish()?;
    }
    Ok(segment)
}

/// Parked until there is work. A timer runs only while the disk is too full, to notice when that
/// ends.
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
        let tight = state.pressure() >= Pressure::ShedRefusals;
        if let Some(to) = state.want_zeros.take().filter(|_| !tight && !state.closing) {
            return Some(Job::Zeros(to));
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
