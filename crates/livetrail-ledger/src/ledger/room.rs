//! What happens when the disk is too full, and when it is so no longer (ledger-format §5).
//!
//! The reserve is a file, the ballast. It goes when a write finds no room, and its room is then for what is on its way to the disk, for
//! essential entries and for a checkpoint. Three rules keep that room for them:
//!
//! - a reserve that is not there counts as used ([`Shared::measure_room`]): giving it back does not open the door to other classes;
//! - segments of the write-ahead log get small when room is short ([`Shared::segment_bytes`]): one of the usual length would take all of it;
//! - it is made again as soon as there is room for it below the mark from which only essential entries are taken.

use std::sync::{Arc, PoisonError};

use super::shared::Shared;
use crate::{layout, space::Pressure, store::Space};

/// The reserve is at most this part of the volume.
const BALLAST_SHARE: u64 = 16;

/// While room is short it is measured each time this many bytes were committed: a flood writes tens of megabytes in a `space_interval`.
const MEASURE_BYTES: u64 = 1 << 20;

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

/// Held from the first "no room" of a thread until it has got on: meanwhile the ledger takes only what is essential.
pub(super) struct Stuck {
    shared: Arc<Shared>,
    stuck: bool,
}

impl Stuck {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            stuck: false,
        }
    }

    /// Gives up the ballast and waits a moment. `false`: the ledger is being closed, or stopped, and there is still no room.
    pub(super) fn wait(&mut self) -> bool {
        let first = !self.stuck;
        if first {
            let mut state = self.shared.state();
            state.stuck = state.stuck.saturating_add(1);
            drop(state);
            self.stuck = true;
            // Who waits for room in the queue is told that there is none on the disk.
            self.shared.room.notify_all();
            self.shared.release_ballast();
            // With the ballast's room it may go on at once.
            return true;
        }
        let state = self.shared.state();
        if state.closing || state.stopped.is_some() {
            return false;
        }
        let waited = self
            .shared
            .space
            .wait_timeout(state, self.shared.options.space_interval)
            .unwrap_or_else(PoisonError::into_inner);
        drop(waited);
        self.shared.measure_room();
        // Another thread may have made it while this one found that there is no room.
        self.shared.release_ballast();
        true
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        if self.stuck {
            let mut state = self.shared.state();
            state.stuck = state.stuck.saturating_sub(1);
        }
    }
}
