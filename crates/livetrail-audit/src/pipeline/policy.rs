//! The strict policy: no media flows before the session's first record is durable.

use std::cmp::Reverse;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_engine::{AppPattern, Gate, Reason, Role, SessionContext};

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

/// A policy for each application. A [`Policy`] alone is one for all of them.
///
/// ```
/// use livetrail_audit::{Mode, Policies, Policy};
///
/// // Viewers of the archive are not let in before they are on record.
/// let policies = Policies::new(Policy::default())
///     .application("archive-*".parse()?, Policy::of(Mode::Strict));
/// assert_eq!(policies.of("archive-1").play, Mode::Strict);
/// assert_eq!(policies.of("live").play, Mode::BestEffort);
/// # Ok::<(), livetrail_engine::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    others: Policy,
    /// Whole names first, then the beginnings of names, the longest first.
    applications: Vec<(AppPattern, Policy)>,
}

impl Policies {
    /// The same policy for all applications.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self {
            others: policy,
            applications: Vec::new(),
        }
    }

    /// Sets the policy of one application, or of all whose names begin alike. A whole name comes
    /// before the beginning of one, and a longer beginning before a shorter one. Each start of a
    /// session is compared with all of them.
    #[must_use]
    pub fn application(mut self, app: AppPattern, policy: Policy) -> Self {
        self.applications.retain(|(other, _)| *other != app);
        self.applications.push((app, policy));
        self.applications
            .sort_by_key(|(app, _)| (app.is_open(), Reverse(app.as_str().len())));
        self
    }

    /// The policy of an application.
    #[must_use]
    pub fn of(&self, app: &(impl AsRef<str> + ?Sized)) -> Policy {
        let app = app.as_ref();
        let mut applications = self.applications.iter();
        let own = applications.find(|(pattern, _)| pattern.covers(app));
        own.map_or(self.others, |(_, policy)| *policy)
    }

    /// Whether any session waits for its first record.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        let own = self.applications.iter().map(|(_, policy)| policy);
        let mut all = own.chain([&self.others]);
        all.any(|policy| [policy.publish, policy.play].contains(&Mode::Strict))
    }

    /// Whether a session's start record is dropped while space is short.
    pub(crate) fn sheds(&self, role: Role, app: &str) -> bool {
        self.of(app).mode(role) == Mode::BestEffort
    }
}

impl From<Policy> for Policies {
    fn from(policy: Policy) -> Self {
        Self::new(policy)
    }
}

/// A policy as the engine's gate: from [`AuditPipeline::gate`](crate::AuditPipeline::gate). Cloning
/// gives another handle to the same gate.
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
#[derive(Clone)]
pub struct AuditGate {
    shared: Arc<Shared>,
    policies: Arc<RwLock<Policies>>,
}

impl AuditGate {
    pub(crate) fn new(shared: Arc<Shared>, policies: Policies) -> Self {
        let policies = Arc::new(RwLock::new(policies));
        Self { shared, policies }
    }

    /// Puts other policies in force: for sessions that begin from now on, and for what the pipeline
    /// drops while space is short.
    pub fn exchange(&self, policies: impl Into<Policies>) {
        let policies = policies.into();
        self.shared.set_sheds(policies.clone());
        let now = self.policies.write();
        *now.unwrap_or_else(PoisonError::into_inner) = policies;
    }

    /// Whether any session waits for its first record: see [`Policies::is_strict`].
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.read(Policies::is_strict)
    }

    fn read<T>(&self, ask: impl FnOnce(&Policies) -> T) -> T {
        ask(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Gate for AuditGate {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        let policy = self.read(|policies| policies.of(&session.key.app));
        if policy.mode(session.role) == Mode::BestEffort {
            return Ok(());
        }
        let asked = self.shared.ask(Some(session.session.as_uuid()));
        match self.shared.timer.within(policy.deadline, asked).await {
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
            .field("policies", &self.read(Clone::clone))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_comes_before_a_longer_beginning_and_that_before_a_shorter_one() {
        let policy = |seconds| Policy::default().deadline(Duration::from_secs(seconds));
        let app = |name: &str| AppPattern::new(name).unwrap();
        let policies = Policies::new(policy(1))
            .application(app("tenant-*"), policy(2))
            .application(app("tenant-7*"), policy(3))
            .application(app("tenant-77"), policy(9))
            .application(app("tenant-77"), policy(4));
        for (name, seconds) in [
            ("live", 1),
            ("tenant-1", 2),
            ("tenant-71", 3),
            ("tenant-77", 4),
        ] {
            assert_eq!(policies.of(name), policy(seconds), "{name}");
        }
        let relaxed = Policies::new(Policy::of(Mode::BestEffort));
        assert!(!relaxed.is_strict() && relaxed.sheds(Role::Publish, "live"));
        let strict = relaxed.application(app("vod"), Policy::default());
        assert!(strict.is_strict());
        assert!(!strict.sheds(Role::Publish, "vod") && strict.sheds(Role::Play, "vod"));
    }
}
