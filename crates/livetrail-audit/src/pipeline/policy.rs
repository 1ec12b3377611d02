//! The strict policy: no media flows before the session's first record is durable.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_engine::{Gate, Reason, Role, SessionContext};

use super::shared::Shared;

/// The event for which a session of one role waits before media flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// The session does not wait.
    #[default]
    BestEffort,
    /// The session waits until its first record is durable.
    Strict,
}

/// The events for which sessions wait, by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The mode of publishers.
    pub publish: Mode,
    /// The mode of viewers.
    pub play: Mode,
    /// The longest wait of a strict session. After it the session is refused with
    /// `audit_unavailable`.
    pub deadline: Duration,
}

impl Default for Policy {
    /// The server's policy: strict for publishers, best effort for viewers, and 2 s.
    fn default() -> Self {
        Self {
            publish: Mode::Strict,
            play: Mode::BestEffort,
            deadline: Duration::from_secs(2),
        }
    }
}

impl Policy {
    /// The same mode for both roles, and 2 s.
    #[must_use]
    pub fn of(mode: Mode) -> Self {
        Self {
            publish: mode,
            play: mode,
            ..Self::default()
        }
    }

    /// Sets the mode of publishers.
    #[must_use]
    pub const fn publish(mut self, mode: Mode) -> Self {
        self.publish = mode;
        self
    }

    /// Sets the mode of viewers.
    #[must_use]
    pub const fn play(mut self, mode: Mode) -> Self {
        self.play = mode;
        self
    }

    /// Sets the longest wait of a strict session.
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
/// Many waiting sessions share one sync. The gate refuses with `audit_unavailable` in these cases,
/// at the latest at the deadline:
///
/// - The sink hangs, or a sync fails.
/// - The session's first record was dropped.
/// - The pipeline is closed.
///
/// While the sink has no space for strict records, a session waits for space until the deadline.
/// The gate works in every runtime and outside one.
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
