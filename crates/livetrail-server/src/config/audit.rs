//! The section `[audit]`: which records there are, and what a session waits for.

use livetrail_audit::{Mode, PipelineOptions, Policy};
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
        let (of, policy) = (PipelineOptions::default(), Policy::default());
        Self {
            capacity: of.capacity,
            refusals_per_second: of.refusal_records_per_second,
            publish: AuditPolicy::of(policy.publish),
            play: AuditPolicy::of(policy.play),
            deadline: Span(policy.deadline),
            heartbeat: Span(of.heartbeat),
        }
    }
}

impl Audit {
    /// The settings in the form that the pipeline takes.
    pub(crate) fn options(&self) -> PipelineOptions {
        let mut options = PipelineOptions::default();
        options.capacity = self.capacity;
        options.refusal_records_per_second = self.refusals_per_second;
        options.heartbeat = self.heartbeat.0;
        options
    }

    /// Whether sessions of a role are refused while the trail cannot record them.
    pub(crate) fn is_strict(&self) -> bool {
        [self.publish, self.play].contains(&AuditPolicy::Strict)
    }

    /// The events for which sessions wait, in the form that the pipeline takes.
    pub(crate) fn policy(&self) -> Policy {
        Policy::default()
            .publish(self.publish.mode())
            .play(self.play.mode())
            .deadline(self.deadline.0)
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

impl AuditPolicy {
    const fn of(mode: Mode) -> Self {
        match mode {
            Mode::BestEffort => Self::BestEffort,
            Mode::Strict => Self::Strict,
        }
    }

    const fn mode(self) -> Mode {
        match self {
            Self::BestEffort => Mode::BestEffort,
            Self::Strict => Mode::Strict,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_reach_the_pipeline_unchanged() {
        let audit = Audit::default();
        assert_eq!(audit.options(), PipelineOptions::default());
        assert_eq!(audit.policy(), Policy::default());
    }
}
