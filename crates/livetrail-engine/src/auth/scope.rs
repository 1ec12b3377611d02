//! Authenticators for some applications.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Authenticator, Verdict};
use crate::{admit::Attempt, event::Role, pattern::AppPattern};

/// An authenticator that decides for some applications and abstains for all others.
#[derive(Debug, Clone)]
pub struct ForApplications<A> {
    applications: Vec<AppPattern>,
    authenticator: A,
}

impl<A> ForApplications<A> {
    /// Asks the authenticator about attempts for these applications. An empty list means all.
    #[must_use]
    pub fn new(applications: impl IntoIterator<Item = AppPattern>, authenticator: A) -> Self {
        Self {
            applications: applications.into_iter().collect(),
            authenticator,
        }
    }

    fn covers(&self, attempt: &Attempt) -> bool {
        let app = &attempt.key.app;
        self.applications.is_empty() || self.applications.iter().any(|one| one.covers(app))
    }
}

#[async_trait]
impl<A: Authenticator> Authenticator for ForApplications<A> {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        match self.covers(attempt) {
            true => self.authenticator.authenticate(role, attempt).await,
            false => Verdict::Abstain,
        }
    }

    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        match self.covers(attempt) {
            true => self.authenticator.judge_locally(role, attempt),
            false => Some(Verdict::Abstain),
        }
    }

    fn secret_in(&self, text: &str) -> Option<Arc<str>> {
        self.authenticator.secret_in(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::{AllowAll, Grant},
        identity::StreamKey,
    };

    #[test]
    fn others_are_not_asked() {
        let tenants = AppPattern::new("tenant-*").unwrap();
        let some = ForApplications::new([tenants], AllowAll(Grant::Both));
        let all = ForApplications::new([], AllowAll(Grant::Both));
        let admits = |one: &ForApplications<AllowAll>, app: &str| {
            let attempt = Attempt::new(StreamKey::parse(app, "cam").unwrap(), "x");
            let verdict = one.judge_locally(Role::Play, &attempt).unwrap();
            matches!(verdict, Verdict::Allow(_))
        };
        assert!(admits(&some, "tenant-1") && !admits(&some, "live"));
        assert!(admits(&all, "tenant-1") && admits(&all, "live"));
    }
}
