//! What happens when the disk is too full, and when it is so no longer (ledger-format §5).

use std::sync::{Arc, PoisonError};

use super::shared::Shared;
use crate::{layout, space::Pressure};

impl Shared {
    /// Looks how full the volume is. At 97 % the ballast goes; when all is well it is made again.
    pub(super) fn measure_room(&self) {
        // A volume that does not say how full it is counts as it did before.
        let measured = self.store.space().ok().as_ref().map(Pressure::of);
        let now = self.clock.monotonic();
        let mut state = self.state();
        let measured = measured.unwrap_or(state.measured);
        state.measured = measured;
        state.measured_at = now;
        let had = state.ballast;
        drop(state);
        match measured {
            Pressure::RefuseStrict => self.release_ballast(),
            Pressure::Normal if !had => self.make_ballast(),
            Pressure::Normal | Pressure::Warn | Pressure::ShedBestEffort => {}
        }
    }

    /// As [`measure_room`](Self::measure_room), but no more often than `space_interval`.
    pub(super) fn measure_room_if_due(&self) {
        let due = self
            .state()
            .measured_at
            .saturating_add(self.options.space_interval);
        if self.clock.monotonic() >= due {
            self.measure_room();
        }
    }

    pub(super) fn release_ballast(&self) {
        if self.store.remove(layout::BALLAST).is_ok() {
            self.state().ballast = false;
        }
    }

    fn make_ballast(&self) {
        let there = self.store.exists(layout::BALLAST).unwrap_or(false);
        let bytes = self.options.ballast_bytes;
        let made = there || bytes == 0 || self.store.preallocate(layout::BALLAST, bytes).is_ok();
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
