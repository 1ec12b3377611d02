//! A full disk and other temporary errors of the store: what the ledger does meanwhile, and
//! afterwards (ledger-format §5).
//!
//! The reserve is a file, the ballast. It is removed when a write finds no space. Its space is then
//! available for data on their way to the disk, for essential entries and for a checkpoint. Three
//! rules keep that space for them:
//!
//! - A missing reserve counts as used ([`Shared::measure_room`]), so releasing it does not admit
//!   other classes.
//! - Segments of the write-ahead log get small when space is short ([`Shared::segment_bytes`]): one
//!   of the usual length would use all of it.
//! - It is recreated as soon as there is space for it below the mark from which only essential
//!   entries are accepted.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::shared::Shared;
use crate::{
    error::Fatal,
    layout,
    passing::{Blocked, Passing},
    store::Space,
    upkeep::space::Pressure,
};

/// The largest part of the volume that the reserve may use: one of this many.
const BALLAST_SHARE: u64 = 16;

/// While space is short, it is measured again after this many committed bytes: a flood writes tens
/// of megabytes in a `space_interval`.
const MEASURE_BYTES: u64 = 1 << 20;

/// How long a thread waits before the second retry; doubled each time, up to `space_interval`.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The length and number of pauses while the ledger is being closed: two seconds in all.
const CLOSING_PAUSE: Duration = Duration::from_millis(20);
const CLOSING_RETRIES: u32 = 100;

impl Shared {
    /// Checks whether the reserve exists: once, before the first measurement.
    pub(super) fn find_ballast(&self) {
        let there = self.store.exists(layout::BALLAST).unwrap_or(false);
        self.state().ballast = there;
    }

    /// Measures how full the volume is, and recreates the reserve when there is space for it.
    pub(super) fn measure_room(&self) {
        // A volume that does not report its space keeps its last state.
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

    /// Like [`measure_room`](Self::measure_room), after a commit of `bytes` bytes, but at most once
    /// per `space_interval`; when space is short, also after [`MEASURE_BYTES`].
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

    /// The length of the next segment of the write-ahead log. It is shorter when a segment of the
    /// usual length would fill the volume to the next mark, and as short as is sensible when only
    /// essential entries are accepted.
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

    /// How full the volume would count with this many more bytes.
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
            // A partial reserve is useless.
            let _ = self.store.remove(layout::BALLAST);
        }
        self.state().ballast = made;
    }
}

/// Repeats a step until it is done: waits while an error passes, and tries again as long as the log
/// is open.
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

/// A thread that met a temporary error and has not made progress since. Meanwhile the status
/// reports it. If the error is missing space, the ledger accepts only essential entries.
struct Stuck {
    shared: Arc<Shared>,
    /// Space was missing at least once.
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

    /// Waits a moment. Does not wait the first time, because the released reserve may be enough.
    ///
    /// # Errors
    /// The ledger was stopped, or is being closed and the error does not pass.
    fn wait(&mut self, passing: Passing) -> Result<(), Fatal> {
        let first_without_room = passing.is_no_space() && !self.no_space;
        if first_without_room {
            self.no_space = true;
            let mut state = self.shared.state();
            state.stuck = state.stuck.saturating_add(1);
            drop(state);
            // An appender that waits for space in the queue learns that the disk has none.
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
