//! Bounds for openings of refusals, which strangers can cause at any rate.

use crate::vault::Limits;

/// Counts refusals by the minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    minute: u64,
    in_minute: u32,
    not_kept: u64,
    total: u64,
}

impl Refusals {
    /// Whether one more may be kept in this minute, next to the `kept` ones. Counts it either way.
    pub(crate) fn admit(&mut self, minute: u64, kept: u64, limits: &Limits) -> bool {
        if minute != self.minute {
            self.minute = minute;
            self.in_minute = 0;
        }
        let admitted = self.in_minute < limits.refusals_per_minute && kept < limits.refusals;
        if admitted {
            self.in_minute = self.in_minute.saturating_add(1);
        } else {
            self.not_kept = self.not_kept.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
        admitted
    }

    /// The refusals that were not kept since the last call.
    pub(crate) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.not_kept)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}
