//! What happens when the disk is too full or another error of the store passes, and when it is so no longer (ledger-format §5).
//!
//! The reserve is a file, the ballast. It goes when a write finds no room, and its room is then for what is on its way to the disk, for
//! essential entries and for a checkpoint. Three rules keep that room for them:
//!
//! - a reserve that is not there counts as used ([`Shared::measure_room`]): giving it back does not open the door to other classes;
//! - segments of the write-ahead log get small when room is short ([`Shared::segment_bytes`]): one of the usual length would take all of it;
//! - it is made again as soon as there is room for it below the mark from which only essential entries are taken.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::shared::Shared;
use crate::{
    error::Fatal,
    layout,
    passing::{Blocked, Passing},
    space::Pressure,
    store::Space,
};

/// The reserve is at most this part of the volume.
const BALLAST_SHARE: u64 = 16;

/// While room is short it is measured each time this many bytes were committed: a flood writes tens of megabytes in a `space_interval`.
const MEASURE_BYTES: u64 = 1 << 20;

/// How long a thread waits before the second retry; twice as long each time, up to `space_interval`.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// How long it waits, and how often, while the ledger is being closed: two seconds in all.
const CLOSING_PAUSE: Duration = Duration::from_millis(20);
const CLOSING_RETRIES: u32 = 100;

impl Shared {
    /// Looks whether the reserve is there: once, before the first measurement.
    pub(super) fn find_ballast(&self) {
        let there = self.store.exists(layout::BALLAST).unwrap_or(false);
        self.state().ballast = there;
    }

    /// Measures how full the volume is, and makes the reserve again when there is room for it.
    pub(super) fn measure_room(&self) {
        // A volume that does not say how full it is counts as it did before.
        let space = self.store.space().ok();
        let now = self.clock.monotonic();
        let mut state = self.state();
        if let Some(space) = space {
            let missing = self.missing_ballast(state.ballast, &space);
            state.measured = Pressure::of(&space.with_used(missing));
        }
        state.measured_at = now;
        state.unmeasured_bytes = 0;
        let make = !state.ballast && state.stuck == 0 && state.measured < Pressure::RefuseStrict;
        drop(state);
        if let Some(space) = space.filter(|_| make) {
            self.make_ballast(&space);
        }
    }

    /// As [`measure_room`](Self::measure_room) after a commit of `bytes` bytes, but no more often than `space_interval`; when room is short, also after
    /// [`MEASURE_BYTES`].
    pub(super) fn measure_room_if_due(&self, bytes: u64) {
        let mut state = self.state();
        state.unmeasured_bytes = state.unmeasured_bytes.saturating_add(bytes);
        let much = state.measured >= Pressure::Warn && state.unmeasured_bytes >= MEASURE_BYTES;
        let due = state
            .measured_at
            .saturating_add(self.options.space_interval);
        drop(state);
        if much || self.clock.monotonic() >= due {
            self.measure_room();
        }
    }

    /// How long the next segment of the write-ahead log is: shorter when one of the usual length would bring the volume to the next mark, and
    /// as short as is sensible when only essential entries are taken.
    pub(super) fn segment_bytes(&self) -> u64 {
        let whole = self.options.segment_bytes;
        let now = self.pressure();
        let fits = |bytes: &u64| {
            now < Pressure::RefuseStrict && self.pressure_with(*bytes) <= now.max(Pressure::Warn)
        };
        [whole, whole / 8]
            .into_iter()
            .find(fits)
            .unwrap_or(whole / 64)
    }

    /// How full the volume would count with this many bytes more.
    pub(super) fn pressure_with(&self, bytes: u64) -> Pressure {
        let had = self.state().ballast;
        self.store.space().map_or(Pressure::Normal, |space| {
            let missing = self.missing_ballast(had, &space);
            Pressure::of(&space.with_used(missing.saturating_add(bytes)))
        })
    }

    fn missing_ballast(&self, had: bool, space: &Space) -> u64 {
        if had { 0 } else { self.ballast_bytes(space) }
    }

    fn ballast_bytes(&self, space: &Space) -> u64 {
        let share = space.total_bytes / BALLAST_SHARE;
        self.options.ballast_bytes.min(share)
    }

    fn release_ballast(&self) {
        if self.store.remove(layout::BALLAST).is_ok() {
            self.state().ballast = false;
        }
    }

    fn make_ballast(&self, space: &Space) {
        let bytes = self.ballast_bytes(space);
        let made = bytes == 0 || self.store.preallocate(layout::BALLAST, bytes).is_ok();
        if !made {
            // Half of one helps nobody.
            let _ = self.store.remove(layout::BALLAST);
        }
        self.state().ballast = made;
    }
}

/// Carries a step to its end: what passes is waited out and the step tried again, for as long as the log is open.
pub(super) fn retrying<T>(
    shared: &Arc<Shared>,
    mut step: impl FnMut() -> Result<T, Blocked>,
) -> Result<T, Fatal> {
    let mut stuck = match step() {
        Ok(done) => return Ok(done),
        Err(Blocked::Fatal(fatal)) => return Err(fatal),
        Err(Blocked::Passing(passing)) => Stuck::begin(shared, passing)?,
    };
    loop {
        match step() {
            Ok(done) => return Ok(done),
            Err(Blocked::Fatal(fatal)) => return Err(fatal),
            Err(Blocked::Passing(passing)) => stuck.wait(passing)?,
        }
    }
}

/// A thread's, from the first error that passes until it has got on. Meanwhile the status reports
/// it; and when it is room that is missing, the ledger takes only what is essential.
struct Stuck {
    shared: Arc<Shared>,
    /// Room was missing at least once.
    no_space: bool,
    retries: u32,
}

impl Stuck {
    fn begin(shared: &Arc<Shared>, passing: Passing) -> Result<Self, Fatal> {
        let mut state = shared.state();
        state.retrying.threads = state.retrying.threads.saturating_add(1);
        drop(state);
        let mut stuck = Self {
            shared: Arc::clone(shared),
            no_space: false,
            retries: 0,
        };
        stuck.wait(passing)?;
        Ok(stuck)
    }

    /// Waits a moment; the first time not at all, because what was given up for it may be enough.
    ///
    /// # Errors
    /// The ledger was stopped, or is being closed and it does not pass.
    fn wait(&mut self, passing: Passing) -> Result<(), Fatal> {
        let first_without_room = passing.is_no_space() && !self.no_space;
        if first_without_room {
            self.no_space = true;
            let mut state = self.shared.state();
            state.stuck = state.stuck.saturating_add(1);
            drop(state);
            // An appender that waits for room in the queue learns that there is none on the disk.
            self.shared.room.notify_all();
        }
        if passing.is_no_space() {
            self.shared.release_ballast();
        }
        let closes = passing.is_no_space() || self.retries >= CLOSING_RETRIES;
        let mut state = self.shared.state();
        if state.stopped.is_some() || (state.closing && closes && !first_without_room) {
            return Err(Fatal::store(passing.op, passing.path, passing.source));
        }
        let pause = if state.closing {
            CLOSING_PAUSE
        } else {
            let longer = FIRST_PAUSE.saturating_mul(1 << self.retries.min(16));
            longer.min(self.shared.options.space_interval)
        };
        state.retrying.note(passing);
        let waits = self.retries > 0 && !first_without_room;
        self.retries = self.retries.saturating_add(1);
        if waits {
            let waited = self.shared.space.wait_timeout(state, pause);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            self.shared.measure_room();
        }
        Ok(())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.retrying.threads = state.retrying.threads.saturating_sub(1);
        if self.no_space {
            state.stuck = state.stuck.saturating_sub(1);
        }
    }
}
