//! The strict policy: no media before the session's first record is durable.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_engine::{Gate, Reason, Role, SessionContext};

use super::shared::Shared;

/// What a session of one role waits for before media flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// For nothing.
    #[default]
    BestEffort,
    /// For its first record to be durable.
    Strict,
}

/// What sessions wait for, by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Who publishes.
    pub publish: Mode,
    /// Who plays.
    pub play: Mode,
    /// How long a strict session waits; then it is refused with `audit_unavailable`.
    pub deadline: Duration,
}

impl Default for Policy {
    /// The server's: strict for publishers, best effort for viewers, 2 s.
    fn default() -> Self {
        Self {
            publish: Mode::Strict,
            play: Mode::BestEffort,
            deadline: Duration::from_secs(2),
        }
    }
}

impl Policy {
    /// Both roles alike, 2 s.
    #[must_use]
    pub fn of(mode: Mode) -> Self {
        Self {
            publish: mode,
            play: mode,
            ..Self::default()
        }
    }

    /// Sets what publishers wait for.
    #[must_use]
    pub const fn publish(mut self, mode: Mode) -> Self {
        self.publish = mode;
        self
    }

    /// Sets what viewers wait for.
    #[must_use]
    pub const fn play(mut self, mode: Mode) -> Self {
        self.play = mode;
        self
    }

    /// Sets how long a strict session waits.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    const fn mode(&self, role: Role) -> Mode {
        match role {
            Role::Publish => self.publish,
            Role::Play => self.play,
        }
    }
}

/// A policy as the engine's gate: from [`AuditPipeline::gate`](crate::AuditPipeline::gate).
///
/// Many sessions that wait share one sync. A sink that hangs, a session whose first record was dropped, a sync that fails and
/// a pipeline that is closed all refuse with `audit_unavailable`, at the deadline at the latest. While the sink has no room for
/// strict records, a session waits for room until then. Works in every runtime, and in none.
pub struct AuditGate {
    shared: Arc<Shared>,
    policy: Policy,
}

impl AuditGate {
    pub(crate) const fn new(shared: Arc<Shared>, policy: Policy) -> Self {
        Self { shared, policy }
    }
}

#[async_trait]
impl Gate for AuditGate {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        if self.policy.mode(session.role) == Mode::BestEffort {
            return Ok(());
        }
        let asked = self.shared.ask(Some(session.session.as_uuid()));
        match self.shared.timer.within(self.policy.deadline, asked).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                tracing::error!(session = %session.session, %error, "refused: the audit trail cannot record it");
                Err(Reason::AuditUnavailable)
            }
            None => {
                tracing::error!(session = %session.session, "refused: the audit trail did not answer in time");
                Err(Reason::AuditUnavailable)
            }
        }
    }
}

impl std::fmt::Debug for AuditGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditGate")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
