//! What should have happened in a session: its records without what differs from run to run.

use std::fmt;

use livetrail_record::{AuditRecord, Personal};

/// A session's protocol, stream, principal, and its records in order: action, and reason if there
/// is one. Repeated `rate_limited` records count as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    protocol: String,
    stream: String,
    principal: String,
    steps: Vec<String>,
}

impl Story {
    /// A session over `protocol` with `stream` (`app/stream`), without a principal, no records yet.
    #[must_use]
    pub fn new(protocol: &str, stream: &str) -> Self {
        Self {
            protocol: protocol.to_owned(),
            stream: stream.to_owned(),
            principal: "nobody".to_owned(),
            steps: Vec::new(),
        }
    }

    /// By this principal.
    #[must_use]
    pub fn by(mut self, principal: &str) -> Self {
        principal.clone_into(&mut self.principal);
        self
    }

    /// A publish that was admitted and ended with `reason`.
    #[must_use]
    pub fn published(self, reason: &str) -> Self {
        self.then("publish_started")
            .then_because("publish_ended", reason)
    }

    /// A play that was admitted and ended with `reason`.
    #[must_use]
    pub fn played(self, reason: &str) -> Self {
        self.then("play_started").then_because("play_ended", reason)
    }

    /// One more record, without a reason.
    #[must_use]
    pub fn then(mut self, action: &str) -> Self {
        self.steps.push(action.to_owned());
        self
    }

    /// One more record, with a reason.
    #[must_use]
    pub fn then_because(mut self, action: &str, reason: &str) -> Self {
        self.steps.push(format!("{action}={reason}"));
        self
    }

    /// The record after a crash, which a later boot has inferred.
    #[must_use]
    pub fn crashed(mut self, action: &str) -> Self {
        self.steps.push(format!("{action}=server_crash (inferred)"));
        self
    }

    /// The facts that the records of one session contain.
    pub(crate) fn of(records: &[&AuditRecord]) -> Self {
        let first = records[0];
        let protocol = first.protocol.as_deref().unwrap_or("no protocol");
        let stream = first.stream.as_deref().unwrap_or("-");
        let mut story = Self::new(protocol, &format!("{}/{stream}", first.app));
        if let Some(principal) = &first.principal {
            story = story.by(principal.expose());
        }
        for record in records {
            let step = step(record, first);
            let again =
                record.action.label() == "rate_limited" && story.steps.last() == Some(&step);
            if !again {
                story.steps.push(step);
            }
        }
        story
    }
}

/// One record. Whatever should be the same in all records of a session and is not is said.
fn step(record: &AuditRecord, first: &AuditRecord) -> String {
    let mut step = record.action.label().to_owned();
    if let Some(reason) = &record.reason {
        step += &format!("={reason}");
    }
    if record.inferred {
        step += " (inferred)";
    }
    let told = |personal: &Option<Personal>| personal.as_ref().map(|text| text.expose().to_owned());
    if (&record.app, &record.stream) != (&first.app, &first.stream) {
        step += &format!(" (of another stream: {}/{:?})", record.app, record.stream);
    }
    if record.inferred && record.protocol.is_none() && record.principal.is_none() {
        // Nobody saw it.
        return step;
    }
    if record.protocol != first.protocol {
        step += &format!(" (over another protocol: {:?})", record.protocol);
    }
    // In entries of schema 2 only the first one of a session commits to the principal.
    let is_known = record.v < 2 || record.principal.is_some();
    if is_known && told(&record.principal) != told(&first.principal) {
        step += &format!(" (by another principal: {:?})", told(&record.principal));
    }
    step
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            stream,
            principal,
            steps,
        } = self;
        write!(
            f,
            "{protocol} {stream} by {principal}: {}",
            steps.join(", ")
        )
    }
}
