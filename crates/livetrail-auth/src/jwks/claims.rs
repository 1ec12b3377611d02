//! The claims of an issuer's token, and what they admit.

use std::sync::Arc;

use livetrail_engine::{
    Admission, Attempt, NumericDate, Reason, Role, TokenClaims, UntrustedToken, Verdict,
};
use serde::Deserialize;
use serde_json::Value;

use super::{options::JwksOptions, permissions::Permissions};
use crate::principal::principal;

/// The claims of a token. They are believed once its signature is verified.
#[derive(Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
    #[serde(default)]
    exp: Option<NumericDate>,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(flatten)]
    of_stream: TokenClaims,
    /// Present if the issuer's tokens have such a claim.
    #[serde(skip)]
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// Reads the claims of a token. `permissions` is the name of the claim with permissions, if the
    /// issuer's tokens have one.
    pub(crate) fn read(token: &UntrustedToken<'_>, permissions: Option<&str>) -> Option<Self> {
        let value: Value = token.claims()?;
        let mut claims = Self::deserialize(&value).ok()?;
        claims.permissions = permissions.map(|name| Permissions::of(value.get(name)));
        Some(claims)
    }

    pub(crate) fn are_of(&self, issuer: &str) -> bool {
        self.iss.as_deref() == Some(issuer)
    }

    /// What a verified token admits.
    pub(crate) fn judge(
        &self,
        options: &JwksOptions,
        role: Role,
        attempt: &Attempt,
        now_ms: u64,
    ) -> Verdict {
        let leeway_ms = u64::try_from(options.leeway.as_millis()).unwrap_or(u64::MAX);
        // A token without an end is refused.
        let end_ms = self.exp.map(|exp| exp.unix_ms().saturating_add(leeway_ms));
        let Some(end_ms) = end_ms.filter(|_| self.is_for(options.audience.as_deref())) else {
            return Verdict::Deny(Reason::Unauthorized);
        };
        if end_ms <= now_ms {
            return Verdict::Deny(Reason::TokenExpired);
        }
        let begins_ms = self
            .nbf
            .map_or(0, |nbf| nbf.unix_ms().saturating_sub(leeway_ms));
        let permissions = self.permissions.as_ref();
        let is_permitted = permissions.is_none_or(|all| all.cover(role, &attempt.key));
        if begins_ms > now_ms || !is_permitted || !self.of_stream.cover(role, &attempt.key) {
            return Verdict::Deny(Reason::Unauthorized);
        }
        let subject: Option<Arc<str>> = match self.of_stream.subject.as_deref() {
            Some(subject) => principal(subject),
            None => Some(options.name.clone()),
        };
        match subject {
            Some(subject) => Verdict::Allow(
                Admission::of(subject)
                    .expires_unix_ms(end_ms)
                    .end_at_expiry(options.end_at_expiry),
            ),
            None => Verdict::Deny(Reason::Unauthorized),
        }
    }

    fn is_for(&self, audience: Option<&str>) -> bool {
        match (&self.aud, audience) {
            (None, None) => true,
            (Some(Audience::One(one)), Some(wanted)) => one == wanted,
            (Some(Audience::Many(many)), Some(wanted)) => many.iter().any(|one| one == wanted),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}
