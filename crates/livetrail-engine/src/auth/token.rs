//! Signed tokens that expire: JSON Web Tokens (RFC 7519) with HMAC-SHA-256 (`HS256`, RFC 7518
//! section 3.2). Any JWT library can issue them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jwt_compact::{AlgorithmExt, Claims, Header, UntrustedToken, alg::Hs256, alg::Hs256Key};
use serde::{Deserialize, Serialize};

use super::{Admission, Authenticator, Grant, Verdict, secrets::Secrets};
use crate::{
    Clock,
    admit::Attempt,
    error::Error,
    event::{Reason, Role},
};

/// The allowed difference between the clocks of issuer and server.
const LEEWAY: Duration = Duration::from_secs(5);

/// RFC 7518 section 3.2: a key must be at least as long as the hash.
const MIN_KEY_BYTES: usize = 32;

/// The maximum length of a token that is parsed.
const MAX_TOKEN_BYTES: usize = 4_096;

/// The claims of a token, in addition to `exp` (required) and `nbf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[non_exhaustive]
pub struct TokenClaims {
    /// The holder of the token: the principal on record.
    #[serde(rename = "sub", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Restricts the token to this application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Restricts the token to this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// `publish` or `play`; both if absent.
    #[serde(rename = "act", default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl TokenClaims {
    /// Claims without a restriction: valid for all streams and both roles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the holder of the token.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Restricts the token to this application.
    #[must_use]
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.app = Some(app.into());
        self
    }

    /// Restricts the token to this stream.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// Restricts the token to what is granted.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.action = match grant {
            Grant::Both => None,
            Grant::Publish => Some(Role::Publish.label().to_owned()),
            Grant::Play => Some(Role::Play.label().to_owned()),
        };
        self
    }

    fn cover(&self, role: Role, attempt: &Attempt) -> bool {
        let fits =
            |claim: &Option<String>, fact: &str| claim.as_deref().is_none_or(|claim| claim == fact);
        fits(&self.app, attempt.key.app.as_str())
            && fits(&self.stream, attempt.key.stream_id.as_str())
            && fits(&self.action, role.label())
    }
}

/// Admits clients that send a token signed with one of these keys. Refuses a signed token that has
/// expired or is for another target. Abstains otherwise.
#[derive(Clone)]
pub struct SignedTokens {
    keys: Vec<(Arc<str>, Hs256Key)>,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
}

impl SignedTokens {
    /// Makes a verifier without keys.
    #[must_use]
    pub fn new(clock: impl Clock) -> Self {
        Self {
            keys: Vec::new(),
            secrets: Secrets::default(),
            clock: Arc::new(clock),
        }
    }

    /// Adds a key. Its name is the principal of tokens without `sub`. Several keys allow a
    /// rotation.
    ///
    /// # Errors
    /// [`Error::SigningKey`] if the key has less than 32 bytes.
    pub fn key(mut self, name: &str, secret: &[u8]) -> Result<Self, Error> {
        if secret.len() < MIN_KEY_BYTES {
            return Err(Error::SigningKey {
                name: name.to_owned(),
                what: "needs at least 32 bytes (RFC 7518)",
            });
        }
        let name: Arc<str> = name.into();
        self.secrets.add(secret, &name);
        self.keys.push((name, Hs256Key::new(secret)));
        Ok(self)
    }

    /// Issues a token with the first key, valid from now for `valid_for` (in whole seconds).
    ///
    /// # Errors
    /// [`Error::SigningKey`] if there is no key, or the time is out of range.
    pub fn issue(&self, claims: &TokenClaims, valid_for: Duration) -> Result<String, Error> {
        let error = |what| Error::SigningKey {
            name: self.keys.first().map_or("", |k| &k.0).to_owned(),
            what,
        };
        let (_, key) = self
            .keys
            .first()
            .ok_or_else(|| error("no key to sign with"))?;
        let expires_s = (self.clock.unix_ms() / 1_000).saturating_add(valid_for.as_secs());
        let expires = i64::try_from(expires_s)
            .ok()
            .and_then(|s| DateTime::<Utc>::from_timestamp(s, 0));
        let mut claims = Claims::new(claims.clone());
        claims.expiration =
            Some(expires.ok_or_else(|| error("the time of expiry is out of range"))?);
        Hs256
            .token(&Header::empty(), &claims, key)
            .map_err(|_| error("the claims cannot be written"))
    }

    fn judge(&self, role: Role, attempt: &Attempt) -> Verdict {
        let token = attempt
            .credentials
            .token
            .as_ref()
            .map(|t| t.expose())
            .filter(|t| t.len() <= MAX_TOKEN_BYTES);
        let Some(token) = token.and_then(|text| UntrustedToken::new(text).ok()) else {
            return Verdict::Abstain;
        };
        let signed = self.keys.iter().find_map(|(name, key)| {
            let token = Hs256.validator::<TokenClaims>(key).validate(&token).ok()?;
            Some((name, token.claims().clone()))
        });
        let Some((name, claims)) = signed else {
            return Verdict::Abstain;
        };
        let now_ms = i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX);
        let leeway_ms = LEEWAY.as_millis() as i64;
        let in_time = claims
            .expiration
            .is_some_and(|exp| exp.timestamp_millis().saturating_add(leeway_ms) > now_ms)
            && claims
                .not_before
                .is_none_or(|nbf| nbf.timestamp_millis().saturating_sub(leeway_ms) <= now_ms);
        if !in_time || !claims.custom.cover(role, attempt) {
            return Verdict::Deny(Reason::Unauthorized);
        }
        let subject: Option<Arc<str>> = claims.custom.subject.map(Into::into);
        Verdict::Allow(Admission::of(subject.unwrap_or_else(|| name.clone())))
    }
}

#[async_trait]
impl Authenticator for SignedTokens {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        self.judge(role, attempt)
    }

    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        Some(self.judge(role, attempt))
    }

    /// Finds a key's secret, or a text that looks like a token. The owner of a token need not be
    /// known.
    fn secret_in(&self, text: &str) -> Option<Arc<str>> {
        self.secrets
            .find(text)
            .or_else(|| has_token(text).then(|| "token".into()))
    }
}

/// Whether a part of the text looks like a token: three parts of base64url, the first a JSON
/// object.
fn has_token(text: &str) -> bool {
    let is_part = |part: &str| {
        part.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    text.match_indices("eyJ").any(|(at, _)| {
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.find(|c: char| !(is_part(c.encode_utf8(&mut [0; 4])) || c == '.'));
        let token = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let mut parts = token.split('.');
        matches!(
            (parts.next(), parts.next(), parts.next()),
            (Some(_), Some(claims), Some(signature)) if !claims.is_empty() && signature.len() >= 20
        )
    })
}

impl std::fmt::Debug for SignedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, admit::Credentials, identity::StreamKey};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn attempt(token: &str) -> Attempt {
        Attempt::new(StreamKey::parse("live", "cam").unwrap(), "x")
            .credentials(Credentials::token(token))
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_for_what_it_says() {
        let clock = ManualClock::at(1_800_000_000_000);
        let tokens = SignedTokens::new(clock.clone()).key("k1", SECRET).unwrap();
        let claims = TokenClaims::new()
            .subject("alice")
            .app("live")
            .stream("cam")
            .grant(Grant::Publish);
        let token = tokens.issue(&claims, Duration::from_secs(60)).unwrap();
        assert_eq!(
            tokens.judge(Role::Publish, &attempt(&token)),
            Verdict::Allow(Admission::of("alice"))
        );
        assert_eq!(
            tokens.judge(Role::Play, &attempt(&token)),
            Verdict::Deny(Reason::Unauthorized)
        );
        clock.advance(Duration::from_secs(64));
        assert_eq!(
            tokens.judge(Role::Publish, &attempt(&token)),
            Verdict::Allow(Admission::of("alice")),
            "leeway"
        );
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            tokens.judge(Role::Publish, &attempt(&token)),
            Verdict::Deny(Reason::Unauthorized)
        );
    }

    #[test]
    fn tokens_and_their_keys_are_recognised() {
        let clock = ManualClock::at(1_800_000_000_000);
        let tokens = SignedTokens::new(clock).key("k1", SECRET).unwrap();
        let token = tokens
            .issue(&TokenClaims::new(), Duration::from_secs(60))
            .unwrap();
        let found = |text: &str| tokens.secret_in(text);
        assert_eq!(found(&format!("cam;{token}")).as_deref(), Some("token"));
        assert_eq!(found(&format!("({token})")).as_deref(), Some("token"));
        let secret = std::str::from_utf8(SECRET).unwrap();
        assert_eq!(found(secret).as_deref(), Some("k1"));
        for text in ["eyJ", "eyJhbGci.x.y", "greyJay.v1.mp4", "cam"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn another_key_another_algorithm_or_garbage_is_not_judged() {
        let clock = ManualClock::at(1_800_000_000_000);
        let tokens = SignedTokens::new(clock.clone()).key("k1", SECRET).unwrap();
        let other = SignedTokens::new(clock).key("k2", &[7; 32]).unwrap();
        let token = other
            .issue(&TokenClaims::new(), Duration::from_secs(60))
            .unwrap();
        assert_eq!(tokens.judge(Role::Play, &attempt(&token)), Verdict::Abstain);
        // Header {"alg":"none"}, claims {"exp":4102444800}, no signature.
        let none = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.";
        for text in [none, "", "a.b.c", "..", &"x".repeat(5_000)] {
            assert_eq!(
                tokens.judge(Role::Play, &attempt(text)),
                Verdict::Abstain,
                "{text}"
            );
        }
        assert!(
            SignedTokens::new(ManualClock::at(0))
                .key("short", b"short")
                .is_err()
        );
    }

    /// RFC 7515 appendix A.1: the standard's example token, signed by other software.
    #[test]
    fn the_standards_own_example_verifies() {
        let token = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        let secret: [u8; 64] = [
            3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119, 123, 166, 143, 90, 179, 40,
            230, 240, 84, 201, 40, 169, 15, 132, 178, 210, 80, 46, 191, 211, 251, 90, 146, 210, 6,
            71, 239, 150, 138, 180, 195, 119, 98, 61, 34, 61, 46, 33, 114, 5, 46, 79, 8, 192, 205,
            154, 245, 103, 208, 128, 163,
        ];
        let before = SignedTokens::new(ManualClock::at(1_300_819_000_000))
            .key("joe", &secret)
            .unwrap();
        assert_eq!(
            before.judge(Role::Play, &attempt(token)),
            Verdict::Allow(Admission::of("joe"))
        );
        let after = SignedTokens::new(ManualClock::at(1_300_819_390_000))
            .key("joe", &secret)
            .unwrap();
        assert_eq!(
            after.judge(Role::Play, &attempt(token)),
            Verdict::Deny(Reason::Unauthorized)
        );
    }
}
