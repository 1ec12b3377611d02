//! Who is admitted without a key: the rules of `[auth]`, and those of single applications.

use std::cmp::Reverse;

use livetrail_engine::{Admission, AppName, AppPattern, Attempt, Authenticator, Role, Verdict};
use serde::Deserialize;

use super::{Application, auth::Auth};

/// An application's rule for who is admitted without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AppRule {
    /// Everybody.
    Open,
    /// Nobody.
    Keys,
}

/// The rules as an authenticator, which is the last one.
pub(super) struct Rules {
    others: Open,
    /// Single applications first, then patterns, the longest first.
    applications: Vec<(AppPattern, Open)>,
}

/// For which roles everybody is admitted.
#[derive(Clone, Copy)]
struct Open {
    publish: bool,
    play: bool,
}

impl Rules {
    pub(super) fn new(auth: &Auth, applications: &[Application]) -> Self {
        let others = Open {
            publish: auth.publish_is_open(),
            play: auth.play_is_open(),
        };
        let is_open =
            |rule: Option<AppRule>, other| rule.map_or(other, |rule| rule == AppRule::Open);
        let of_app = |app: &Application| {
            let open = Open {
                publish: is_open(app.publish, others.publish),
                play: is_open(app.play, others.play),
            };
            (AppPattern::from(&app.name), open)
        };
        let mut applications: Vec<_> = applications.iter().map(of_app).collect();
        applications.sort_by_key(|(app, _)| (app.is_open(), Reverse(app.as_str().len())));
        Self {
            others,
            applications,
        }
    }

    fn admit(&self, role: Role, app: &AppName) -> bool {
        let mut applications = self.applications.iter();
        let own = applications.find(|(pattern, _)| pattern.covers(app));
        let open = own.map_or(self.others, |(_, open)| *open);
        match role {
            Role::Publish => open.publish,
            Role::Play => open.play,
        }
    }

    fn judge(&self, role: Role, attempt: &Attempt) -> Verdict {
        match self.admit(role, &attempt.key.app) {
            true => Verdict::Allow(Admission::anyone()),
            false => Verdict::Abstain,
        }
    }
}

#[async_trait::async_trait]
impl Authenticator for Rules {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        self.judge(role, attempt)
    }

    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        Some(self.judge(role, attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn an_applications_own_rule_comes_first_then_the_longest_patterns() {
        let text = "[auth]\npublish = \"keys\"\n\
                    [[application]]\nname = \"live\"\n\
                    [[application]]\nname = \"tenant-*\"\nplay = \"keys\"\n\
                    [[application]]\nname = \"tenant-7*\"\npublish = \"open\"\n\
                    [[application]]\nname = \"tenant-77\"\nplay = \"open\"\n";
        let config: Config = toml::from_str(text).unwrap();
        let rules = Rules::new(&config.auth, &config.application);
        for (app, publish, play) in [
            ("live", false, true),
            ("other", false, true),
            ("tenant-1", false, false),
            ("tenant-71", true, true),
            ("tenant-77", false, true),
        ] {
            let app = AppName::new(app).unwrap();
            let admitted = [Role::Publish, Role::Play].map(|role| rules.admit(role, &app));
            assert_eq!(admitted, [publish, play], "{app}");
        }
    }
}
