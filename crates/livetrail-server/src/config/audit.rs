//! The section `[audit]`: which records there are, and what a session waits for.

use livetrail_audit::{Mode, PipelineOptions, Policies, Policy};
use livetrail_engine::AppPattern;
use livetrail_settings::{Bounds, Span};
use serde::Deserialize;

use super::{
    Application,
    section::{DAY_S, Section},
};

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

    /// The events for which sessions wait, by application, in the form that the pipeline takes.
    pub(crate) fn policies(&self, applications: &[Application]) -> Policies {
        let of_all = Policy::default()
            .publish(self.publish.mode())
            .play(self.play.mode())
            .deadline(self.deadline.0);
        let mut policies = Policies::new(of_all);
        let has_own = |app: &Application| app.audit.publish.or(app.audit.play).is_some();
        if !applications.iter().any(has_own) {
            return policies;
        }
        // An application without its own policy keeps that of a pattern away from itself.
        for app in applications {
            let own = of_all
                .publish(app.audit.publish.unwrap_or(self.publish).mode())
                .play(app.audit.play.unwrap_or(self.play).mode());
            policies = policies.application(AppPattern::from(&app.name), own);
        }
        policies
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
        let policies = audit.policies(&[Application::default()]);
        assert_eq!(policies, Policies::new(Policy::default()));
    }

    #[test]
    fn an_application_has_its_own_policy_or_that_of_all() {
        let text = "[[application]]\nname = \"live\"\n\
                    [[application]]\nname = \"court-*\"\naudit.play = \"strict\"\n\
                    [[application]]\nname = \"court-lobby\"\n\
                    [[application]]\nname = \"test\"\naudit.publish = \"best_effort\"\n";
        let config: crate::config::Config = toml::from_str(text).unwrap();
        let policies = config.audit.policies(&config.application);
        use Mode::{BestEffort, Strict};
        for (app, publish, play) in [
            ("live", Strict, BestEffort),
            ("other", Strict, BestEffort),
            ("court-3", Strict, Strict),
            ("court-lobby", Strict, BestEffort),
            ("test", BestEffort, BestEffort),
        ] {
            let policy = policies.of(app);
            assert_eq!((policy.publish, policy.play), (publish, play), "{app}");
            assert_eq!(policy.deadline, config.audit.deadline.0);
        }
    }
}
