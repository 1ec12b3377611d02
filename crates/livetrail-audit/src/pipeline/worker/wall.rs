//! The wall clock on record: its state, and its steps.

use std::sync::Arc;

use livetrail_clock::Clock;
use livetrail_record::{AuditRecord, Value};

use crate::pipeline::builder::ClockState;

/// A smaller difference is not a step: a clock that is slewed moves up to 500 µs in a second.
const LEAST_STEP_MS: u64 = 500;

/// Compares the wall clock with the monotonic clock, from one heartbeat to the next.
#[derive(Debug)]
pub(super) struct Wall {
    /// Wall time less monotonic time, in milliseconds.
    offset_ms: i64,
}

impl Wall {
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            offset_ms: offset_ms(clock),
        }
    }

    /// Adds the state of the wall clock, if the host knows it.
    pub(super) fn add_state(
        &self,
        record: &mut AuditRecord,
        ask: Option<fn() -> Option<ClockState>>,
    ) {
        if let Some(state) = ask.and_then(|ask| ask()) {
            record.clock_synced = state.is_synced;
            record.clock_error_us = Some(state.error_us);
        }
    }

    /// Adds the step of the wall clock since the last call, if there was one.
    pub(super) fn add_step(&mut self, record: &mut AuditRecord, clock: &Arc<dyn Clock>) {
        let now = offset_ms(clock);
        let step = now.saturating_sub(self.offset_ms);
        self.offset_ms = now;
        if step.unsigned_abs() >= LEAST_STEP_MS {
            // This fails only for a step of 2^53 ms or more. Then the record does not have it.
            let _ = record.extra.insert("clock_step_ms", Value::Integer(step));
        }
    }
}

fn offset_ms(clock: &Arc<dyn Clock>) -> i64 {
    let wall = i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX);
    let monotonic = i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX);
    wall.saturating_sub(monotonic)
}
