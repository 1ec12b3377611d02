//! Authenticators decide who may publish and play.

mod certificates;
mod ip;
#[cfg(feature = "tokens")]
mod jwt;
mod keys;
mod scope;
mod secrets;
#[cfg(feature = "tokens")]
mod token;
mod verdict;

use std::sync::Arc;

use async_trait::async_trait;

pub use certificates::{CertificateNames, CertificatePattern, CertificateRule, NoSuchName};
pub use ip::IpRules;
#[cfg(feature = "tokens")]
pub use jwt::{NumericDate, UntrustedToken};
pub use keys::{StaticKey, StaticKeys};
pub use scope::ForApplications;
#[cfg(feature = "tokens")]
pub use token::{SignedTokens, TokenClaims};
pub use verdict::{Admission, AdmissionLimits, Verdict};

use crate::{admit::Attempt, event::Role};

/// Decides on attempts. The engine asks several in order until one allows or denies; if all
/// abstain, it refuses the attempt.
///
/// ```
/// use async_trait::async_trait;
/// use livetrail_engine::{
///     Admission, AppSpec, Attempt, Authenticator, Engine, Reason, Role, Verdict,
/// };
///
/// /// Anyone may watch, and this machine may publish.
/// struct LocalPublishers;
///
/// #[async_trait]
/// impl Authenticator for LocalPublishers {
///     async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
///         let is_local = attempt.peer.is_some_and(|peer| peer.ip().is_loopback());
///         match role {
///             Role::Publish if !is_local => Verdict::Deny(Reason::AddressDenied),
///             _ => Verdict::Allow(Admission::anyone()),
///         }
///     }
/// }
///
/// let engine = Engine::builder()
///     .application(AppSpec::new("live"))
///     .authenticator(LocalPublishers)
///     .build()?;
/// # drop(engine);
/// # Ok::<(), livetrail_engine::Error>(())
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Decides on an attempt. It may take its time. The engine stops waiting, and drops the future,
    /// at [`Limits::admission_timeout`](crate::Limits::admission_timeout) (`auth_unavailable`), if
    /// the client leaves, or if the engine stops.
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict;

    /// The same verdict at once: for an authenticator that asks no outside service and never waits.
    /// `None`, the default, means that this attempt needs [`authenticate`](Self::authenticate).
    ///
    /// Compare credentials in constant time. Only this method decides on an address that is over
    /// its budget of attempts, so that such an address cannot cause load on an outside service.
    fn judge_locally(&self, _role: Role, _attempt: &Attempt) -> Option<Verdict> {
        None
    }

    /// The name of the configured key whose secret this text contains, raw or percent-encoded.
    /// `None`, the default, if it contains none. The engine records the name instead of the text.
    ///
    /// The duration must not depend on how much of a secret was guessed.
    fn secret_in(&self, _text: &str) -> Option<Arc<str>> {
        None
    }
}

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        (**self).authenticate(role, attempt).await
    }
    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        (**self).judge_locally(role, attempt)
    }
    fn secret_in(&self, text: &str) -> Option<Arc<str>> {
        (**self).secret_in(text)
    }
}

/// The roles that a credential allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Grant {
    /// Publish and play.
    #[default]
    Both,
    /// Publish only.
    Publish,
    /// Play only.
    Play,
}

impl Grant {
    /// Whether a session of this role is covered.
    #[must_use]
    pub fn covers(self, role: Role) -> bool {
        match self {
            Self::Both => true,
            Self::Publish => role == Role::Publish,
            Self::Play => role == Role::Play,
        }
    }
}

/// Admits everyone for the granted roles; abstains otherwise. It goes last in a chain. A client
/// with a verified certificate has its name as principal.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll(
    /// The roles that are allowed to everyone.
    pub Grant,
);

impl AllowAll {
    fn judge(self, role: Role, attempt: &Attempt) -> Verdict {
        if !self.0.covers(role) {
            return Verdict::Abstain;
        }
        let certificate = attempt.credentials.certificate.clone();
        Verdict::Allow(certificate.map_or_else(Admission::anyone, Admission::of))
    }
}

#[async_trait]
impl Authenticator for AllowAll {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        self.judge(role, attempt)
    }

    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        Some(self.judge(role, attempt))
    }
}

/// Several authenticators as one. The first that allows or denies decides; if all abstain, the
/// chain abstains.
#[derive(Clone, Default)]
pub struct Chain {
    links: Vec<Arc<dyn Authenticator>>,
}

impl Chain {
    /// A chain without links: it abstains.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a link at the end.
    #[must_use]
    pub fn then(mut self, link: impl Authenticator) -> Self {
        self.links.push(Arc::new(link));
        self
    }
}

#[async_trait]
impl Authenticator for Chain {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        for link in &self.links {
            match link.authenticate(role, attempt).await {
                Verdict::Abstain => {}
                verdict @ (Verdict::Allow(_) | Verdict::Deny(_)) => return verdict,
            }
        }
        Verdict::Abstain
    }

    /// A link that cannot decide locally must not be skipped, so the chain then cannot decide
    /// locally either.
    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        for link in &self.links {
            match link.judge_locally(role, attempt)? {
                Verdict::Abstain => {}
                verdict @ (Verdict::Allow(_) | Verdict::Deny(_)) => return Some(verdict),
            }
        }
        Some(Verdict::Abstain)
    }

    fn secret_in(&self, text: &str) -> Option<Arc<str>> {
        self.links.iter().find_map(|link| link.secret_in(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admit::Credentials, event::Reason, identity::StreamKey};

    #[tokio::test]
    async fn the_first_link_with_an_opinion_decides() {
        let keys = StaticKeys::new([StaticKey::new("studio", "s3cret").grant(Grant::Publish)]);
        let ips = IpRules::new().deny("10.0.0.0/8".parse().unwrap());
        let chain = Chain::new()
            .then(ips)
            .then(keys)
            .then(AllowAll(Grant::Play));
        let attempt = |token: &str, peer: &str| {
            Attempt::new(StreamKey::parse("live", "cam").unwrap(), "rtmp")
                .peer(peer.parse().unwrap())
                .credentials(Credentials::token(token))
        };
        let ask = |role, token, peer| {
            let (chain, attempt) = (chain.clone(), attempt(token, peer));
            async move { chain.authenticate(role, &attempt).await }
        };
        let home = "192.0.2.1:1";
        assert_eq!(
            ask(Role::Publish, "s3cret", home).await,
            Verdict::Allow(Admission::of("studio"))
        );
        assert_eq!(ask(Role::Publish, "wrong", home).await, Verdict::Abstain);
        let anyone = Verdict::Allow(Admission::anyone());
        assert_eq!(ask(Role::Play, "wrong", home).await, anyone);
        assert_eq!(
            ask(Role::Publish, "s3cret", "10.1.2.3:1").await,
            Verdict::Deny(Reason::AddressDenied)
        );
        assert_eq!(
            ask(Role::Play, "", "[::ffff:10.1.2.3]:1").await,
            Verdict::Deny(Reason::AddressDenied)
        );
    }
}
