//! Admission by the name in a client's certificate.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::{Admission, Authenticator, Grant, Verdict};
use crate::{admit::Attempt, event::Role, identity::AppName, pattern::AppPattern};

/// The maximum number of bytes of a pattern: names in certificates that are longer are not used.
const MAX_BYTES: usize = 255;

/// The end of a pattern that means several names.
const ANY_END: char = '*';

/// One name in certificates, such as `spiffe://example.org/encoder/7` or `cam.example.org`, or all
/// that begin with a text, such as `spiffe://example.org/encoder/*`. `*` alone is every name.
///
/// DNS names are compared in lower case, URIs as they are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CertificatePattern(Arc<str>);

/// A text is neither a name that a certificate can have, nor a beginning of one with `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {MAX_BYTES} visible ASCII characters, with `*` at the end or not at all")]
pub struct NoSuchName;

impl CertificatePattern {
    /// Checks the text and makes the pattern.
    ///
    /// # Errors
    /// [`NoSuchName`]: no certificate has such a name.
    pub fn new(text: &str) -> Result<Self, NoSuchName> {
        let is_short = (1..=MAX_BYTES).contains(&text.len());
        let beginning = text.strip_suffix(ANY_END).unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'*';
        if !is_short || !beginning.bytes().all(fits) {
            return Err(NoSuchName);
        }
        Ok(Self(match text.contains(':') {
            true => text.into(),
            false => text.to_ascii_lowercase().into(),
        }))
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means more than one name.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.ends_with(ANY_END)
    }

    /// Whether a certificate with this name is meant.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        match self.0.strip_suffix(ANY_END) {
            Some(beginning) => name.starts_with(beginning),
            None => name == &*self.0,
        }
    }
}

impl fmt::Debug for CertificatePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What clients with such a certificate may do.
#[derive(Debug, Clone)]
pub struct CertificateRule {
    name: CertificatePattern,
    applications: Vec<AppPattern>,
    grant: Grant,
}

impl CertificateRule {
    /// Clients with these names may publish and play in all applications.
    #[must_use]
    pub fn new(name: CertificatePattern) -> Self {
        Self {
            name,
            applications: Vec::new(),
            grant: Grant::Both,
        }
    }

    /// Restricts the rule to these applications. An empty list means all.
    #[must_use]
    pub fn applications(mut self, applications: impl IntoIterator<Item = AppPattern>) -> Self {
        self.applications = applications.into_iter().collect();
        self
    }

    /// Restricts the rule to this role.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.grant = grant;
        self
    }

    /// Whether the rule admits a client with this name.
    #[must_use]
    pub fn admits(&self, name: &str, role: Role, app: &AppName) -> bool {
        self.grant.covers(role)
            && (self.applications.is_empty() || self.applications.iter().any(|one| one.covers(app)))
            && self.name.covers(name)
    }
}

/// Admits clients by the names in their certificates; abstains otherwise. The name is the
/// principal.
///
/// The gateway has verified the certificate:
/// [`Credentials::certificate`](crate::Credentials::certificate).
#[derive(Debug, Clone, Default)]
pub struct CertificateNames {
    rules: Vec<CertificateRule>,
}

impl CertificateNames {
    /// Admits by these rules.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = CertificateRule>) -> Self {
        Self {
            rules: rules.into_iter().collect(),
        }
    }

    fn judge(&self, role: Role, attempt: &Attempt) -> Verdict {
        let Some(name) = &attempt.credentials.certificate else {
            return Verdict::Abstain;
        };
        let app = &attempt.key.app;
        let mut rules = self.rules.iter();
        match rules.any(|rule| rule.admits(name.as_str(), role, app)) {
            true => Verdict::Allow(Admission::of(name.clone())),
            false => Verdict::Abstain,
        }
    }
}

#[async_trait]
impl Authenticator for CertificateNames {
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
    use crate::{
        admit::{CertificateName, Credentials},
        auth::AllowAll,
        identity::StreamKey,
    };

    fn attempt(app: &str, name: Option<&str>) -> Attempt {
        let credentials = Credentials::none().certificate(name.map(CertificateName::new));
        Attempt::new(StreamKey::parse(app, "cam").unwrap(), "x").credentials(credentials)
    }

    #[test]
    fn a_certificate_is_good_for_what_its_rule_names_and_its_name_is_the_principal() {
        let pattern = |text| CertificatePattern::new(text).unwrap();
        let names = CertificateNames::new([
            CertificateRule::new(pattern("spiffe://example.org/encoder/*"))
                .applications([AppPattern::new("tenant-*").unwrap()])
                .grant(Grant::Publish),
            CertificateRule::new(pattern("Wall.example.org")).grant(Grant::Play),
        ]);
        let encoder = "spiffe://example.org/encoder/7";
        for (role, app, name, admits) in [
            (Role::Publish, "tenant-1", Some(encoder), true),
            (Role::Play, "tenant-1", Some(encoder), false),
            (Role::Publish, "live", Some(encoder), false),
            (
                Role::Publish,
                "tenant-1",
                Some("spiffe://example.org/enc"),
                false,
            ),
            (Role::Publish, "tenant-1", None, false),
            (Role::Play, "live", Some("wall.example.org"), true),
            (Role::Play, "live", Some("wall.example.org.uk"), false),
        ] {
            let verdict = names.judge_locally(role, &attempt(app, name)).unwrap();
            let expected = match name {
                Some(name) if admits => Verdict::Allow(Admission::of(name)),
                _ => Verdict::Abstain,
            };
            assert_eq!(verdict, expected, "{role:?} {app} {name:?}");
        }
        // Where everyone is admitted, a verified name is the principal, too.
        let open = AllowAll(Grant::Both);
        let verdict = open.judge_locally(Role::Play, &attempt("live", Some(encoder)));
        assert_eq!(verdict, Some(Verdict::Allow(Admission::of(encoder))));
        assert!(!format!("{:?}", attempt("live", Some(encoder))).contains("encoder"));
    }

    #[test]
    fn a_pattern_is_a_name_that_a_certificate_can_have() {
        for text in ["*", "a.example", "spiffe://a/b/*", &"a".repeat(255)] {
            assert!(CertificatePattern::new(text).is_ok(), "{text}");
        }
        for text in ["", "a*b", "*.example", "**", "a b", "é", &"a".repeat(256)] {
            assert_eq!(CertificatePattern::new(text), Err(NoSuchName), "{text}");
        }
    }
}
