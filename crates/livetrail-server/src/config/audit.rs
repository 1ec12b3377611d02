//! The section `[audit]`: which records there are, and what a session waits for.

use std::time::Duration;

use livetrail_settings::{Bounds, Span};
use serde::Deserialize;

use super::section::{DAY_S, Section};

/// Settings of the records: which ones, and what a session waits for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    pub(crate) capacity: usize,
    pub(crate) refusals_per_second: u32,
    pub(crate) publish: AuditPolicy,
    pub(crate) play: AuditPolicy,
    pub(crate) deadline: Span,
    pub(crate) heartbeat: Span,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            capacity: 65_536,
            refusals_per_second: 10,
            publish: AuditPolicy::Strict,
            play: AuditPolicy::BestEffort,
            deadline: Span(Duration::from_secs(2)),
            heartbeat: Span::secs(60),
        }
    }
}

/// The moment at which a session may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditPolicy {
    /// At once.
    BestEffort,
    /// As soon as its first record is written and synced.
    Strict,
}

impl Section for Audit {
    fn bounds(&self, list: &mut Bounds) {
        let queue = ", which take 1.7 GB in addition to the records' text";
        list.number("capacity", self.capacity, 1, 1 << 24, queue);
        list.number(
            "refusals_per_second",
            self.refusals_per_second,
            0,
            10_000,
            "",
        );
        list.span("deadline", self.deadline, 1, 60);
        list.span("heartbeat", self.heartbeat, 10, DAY_S);
    }
}
