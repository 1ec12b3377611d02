//! Static stream keys.

use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Admission, Authenticator, Grant, Verdict, secrets::Secrets};
use crate::{
    admit::{Attempt, Secret},
    event::Role,
    identity::{AppName, StreamId},
};

/// A stream key: a secret with a name. The name is recorded, the secret never is.
#[derive(Clone)]
pub struct StaticKey {
    name: Arc<str>,
    secret: Secret,
    digest: [u8; 32],
    app: Option<AppName>,
    stream: Option<StreamId>,
    grant: Grant,
}

impl StaticKey {
    /// A key for all applications, all streams, and both roles.
    #[must_use]
    pub fn new(name: impl Into<String>, secret: &str) -> Self {
        Self {
            name: name.into().into(),
            secret: Secret::new(secret),
            digest: digest(secret),
            app: None,
            stream: None,
            grant: Grant::Both,
        }
    }

    /// Restricts the key to this application.
    #[must_use]
    pub fn app(mut self, app: AppName) -> Self {
        self.app = Some(app);
        self
    }

    /// Restricts the key to this stream.
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Restricts the key to this role.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.grant = grant;
        self
    }

    fn is_for(&self, role: Role, attempt: &Attempt) -> bool {
        self.grant.covers(role)
            && self.app.as_ref().is_none_or(|app| *app == attempt.key.app)
            && self
                .stream
                .as_ref()
                .is_none_or(|stream| *stream == attempt.key.stream_id)
    }
}

impl std::fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Admits clients that send one of these keys; abstains otherwise.
///
/// A space in the client's text counts as `+` too: clients write the `+` of a key into an address
/// unescaped, where some programs read it as a space.
#[derive(Clone, Default)]
pub struct StaticKeys {
    keys: Vec<StaticKey>,
    secrets: Secrets,
}

impl std::fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

impl StaticKeys {
    /// Admits with these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = StaticKey>) -> Self {
        let keys: Vec<StaticKey> = keys.into_iter().collect();
        let mut secrets = Secrets::default();
        for key in &keys {
            secrets.add(key.secret.expose().as_bytes(), &key.name);
        }
        Self { keys, secrets }
    }
}

impl StaticKeys {
    fn judge(&self, role: Role, attempt: &Attempt) -> Verdict {
        let Some(token) = &attempt.credentials.token else {
            return Verdict::Abstain;
        };
        let shown = digest(token.expose());
        let as_form = digest(&token.expose().replace(' ', "+"));
        // Each key is compared in constant time, and all keys are compared: the duration reveals
        // nothing about them.
        let mut found = None;
        for key in &self.keys {
            let same = key.digest.ct_eq(&shown) | key.digest.ct_eq(&as_form);
            if bool::from(same) && key.is_for(role, attempt) {
                found = Some(key);
            }
        }
        found.map_or(Verdict::Abstain, |key| {
            Verdict::Allow(Admission::of(key.name.clone()))
        })
    }
}

#[async_trait]
impl Authenticator for StaticKeys {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        self.judge(role, attempt)
    }

    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        Some(self.judge(role, attempt))
    }

    fn secret_in(&self, text: &str) -> Option<Arc<str>> {
        self.secrets.find(text)
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admit::Credentials, identity::StreamKey};

    #[tokio::test]
    async fn a_key_is_good_only_for_what_it_names() {
        let keys = StaticKeys::new([StaticKey::new("a", "one")
            .app(AppName::new("live").unwrap())
            .stream(StreamId::new("cam").unwrap())
            .grant(Grant::Publish)]);
        let ask = |role, app: &str, stream: &str, token: &str| {
            let attempt = Attempt::new(StreamKey::parse(app, stream).unwrap(), "x")
                .credentials(Credentials::token(token));
            let keys = keys.clone();
            async move { keys.authenticate(role, &attempt).await }
        };
        assert_eq!(
            ask(Role::Publish, "live", "cam", "one").await,
            Verdict::Allow(Admission::of("a"))
        );
        for (role, app, stream, token) in [
            (Role::Play, "live", "cam", "one"),
            (Role::Publish, "vod", "cam", "one"),
            (Role::Publish, "live", "cam2", "one"),
            (Role::Publish, "live", "cam", "One"),
            (Role::Publish, "live", "cam", ""),
        ] {
            assert_eq!(ask(role, app, stream, token).await, Verdict::Abstain);
        }
        assert!(!format!("{keys:?}").contains("one"));
    }

    #[tokio::test]
    async fn a_plus_that_became_a_space_is_a_plus() {
        let keys = StaticKeys::new([StaticKey::new("a", "abc+def/ghi==")]);
        for (token, good) in [
            ("abc+def/ghi==", true),
            ("abc def/ghi==", true),
            ("abc-def/ghi==", false),
        ] {
            let attempt = Attempt::new(StreamKey::parse("live", "cam").unwrap(), "x")
                .credentials(Credentials::token(token));
            let verdict = keys.authenticate(Role::Play, &attempt).await;
            assert_eq!(verdict != Verdict::Abstain, good, "{token}");
            assert_eq!(keys.judge_locally(Role::Play, &attempt), Some(verdict));
        }
    }
}
