//! Signed tokens that expire: JSON Web Tokens (RFC 7519) with HMAC-SHA-256 (`HS256`, RFC 7518
//! section 3.2). Any JWT library can issue them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::secrets::Secrets;
use super::{Admission, Authenticator, Grant, NumericDate, UntrustedToken, Verdict};
use crate::{
    Clock,
    admit::Attempt,
    error::Error,
    event::{Reason, Role},
    identity::StreamKey,
};

/// The allowed difference between the clocks of issuer and server.
const LEEWAY_MS: u64 = 5_000;

/// RFC 7518 section 3.2: a key must be at least as long as the hash.
const MIN_KEY_BYTES: usize = 32;

/// The maximum length of a token that is parsed.
const MAX_TOKEN_BYTES: usize = 4_096;

/// The last second of the year 9999.
const MAX_EXPIRY_S: u64 = 253_402_300_799;

/// The header of the tokens that are made here.
const HEADER: &str = r#"{"alg":"HS256"}"#;

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

    /// Whether the claims cover a session of this role and stream.
    #[must_use]
    pub fn cover(&self, role: Role, stream: &StreamKey) -> bool {
        let fits =
            |claim: &Option<String>, fact: &str| claim.as_deref().is_none_or(|claim| claim == fact);
        fits(&self.app, stream.app.as_str())
            && fits(&self.stream, stream.stream_id.as_str())
            && fits(&self.action, role.label())
    }
}

/// The claims of a token as they are sent.
#[derive(Serialize)]
struct Sent<'a> {
    exp: u64,
    #[serde(flatten)]
    claims: &'a TokenClaims,
}

/// The claims of a token as they arrive.
#[derive(Deserialize)]
struct Arrived {
    #[serde(default)]
    exp: Option<NumericDate>,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(flatten)]
    claims: TokenClaims,
}

/// Admits clients that send a token signed with one of these keys. Refuses a signed token that has
/// expired or is for another target. Abstains otherwise.
#[derive(Clone)]
pub struct SignedTokens {
    keys: Vec<Key>,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Key {
    name: Arc<str>,
    /// The state of HMAC with the secret.
    mac: Hmac<Sha256>,
    end_at_expiry: bool,
}

impl Key {
    /// The signature of a token's first two parts.
    fn sign(&self, signed: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(signed.as_bytes());
        mac
    }
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
        let Ok(mac) = Hmac::new_from_slice(secret) else {
            return Err(Error::SigningKey {
                name: name.to_owned(),
                what: "cannot be used",
            });
        };
        let name: Arc<str> = name.into();
        self.secrets.add(secret, &name);
        self.keys.push(Key {
            name,
            mac,
            end_at_expiry: false,
        });
        Ok(self)
    }

    /// Sets whether sessions end when their token expires (`token_expired`), for the key that was
    /// added last (no).
    #[must_use]
    pub fn end_at_expiry(mut self, ends: bool) -> Self {
        if let Some(key) = self.keys.last_mut() {
            key.end_at_expiry = ends;
        }
        self
    }

    /// Issues a token with the first key, valid from now for `valid_for` (in whole seconds).
    ///
    /// # Errors
    /// [`Error::SigningKey`] if there is no key, or the time is out of range.
    pub fn issue(&self, claims: &TokenClaims, valid_for: Duration) -> Result<String, Error> {
        let error = |what| Error::SigningKey {
            name: self.keys.first().map_or("", |key| &key.name).to_owned(),
            what,
        };
        let key = self.keys.first();
        let key = key.ok_or_else(|| error("no key to sign with"))?;
        let exp = (self.clock.unix_ms() / 1_000).saturating_add(valid_for.as_secs());
        if exp > MAX_EXPIRY_S {
            return Err(error("the time of expiry is out of range"));
        }
        let claims = serde_json::to_vec(&Sent { exp, claims });
        let claims = claims.map_err(|_| error("the claims cannot be written"))?;
        let (header, claims) = (
            URL_SAFE_NO_PAD.encode(HEADER),
            URL_SAFE_NO_PAD.encode(claims),
        );
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&signed).finalize().into_bytes());
        Ok(format!("{signed}.{signature}"))
    }

    fn judge(&self, role: Role, attempt: &Attempt) -> Verdict {
        let token = attempt
            .credentials
            .token
            .as_ref()
            .map(|t| t.expose())
            .filter(|t| t.len() <= MAX_TOKEN_BYTES);
        let Some(token) = token.and_then(UntrustedToken::parse) else {
            return Verdict::Abstain;
        };
        if token.algorithm() != "HS256" {
            return Verdict::Abstain;
        }
        let is_signed_by = |key: &&Key| {
            let mac = key.sign(token.signed());
            mac.verify_slice(token.signature()).is_ok()
        };
        let Some(key) = self.keys.iter().find(is_signed_by) else {
            return Verdict::Abstain;
        };
        let Some(Arrived { exp, nbf, claims }) = token.claims() else {
            return Verdict::Abstain;
        };
        let now_ms = self.clock.unix_ms();
        let end_ms = exp.map(|exp| exp.unix_ms().saturating_add(LEEWAY_MS));
        let begins = |nbf: NumericDate| nbf.unix_ms().saturating_sub(LEEWAY_MS) <= now_ms;
        let (Some(end_ms), true) = (end_ms, nbf.is_none_or(begins)) else {
            return Verdict::Deny(Reason::Unauthorized);
        };
        if end_ms <= now_ms || !claims.cover(role, &attempt.key) {
            return Verdict::Deny(Reason::Unauthorized);
        }
        let subject: Option<Arc<str>> = claims.subject.map(Into::into);
        let admission = Admission::of(subject.unwrap_or_else(|| key.name.clone()))
            .expires_unix_ms(end_ms)
            .end_at_expiry(key.end_at_expiry);
        Verdict::Allow(admission)
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
            .or_else(|| UntrustedToken::is_in(text).then(|| "token".into()))
    }
}

impl std::fmt::Debug for SignedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| &key.name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, admit::Credentials};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn attempt(token: &str) -> Attempt {
        Attempt::new(StreamKey::parse("live", "cam").unwrap(), "x")
            .credentials(Credentials::token(token))
    }

    /// The principal and the expiry that a verdict admits.
    fn admitted(verdict: &Verdict) -> Option<(&str, u64)> {
        match verdict {
            Verdict::Allow(admission) => admission
                .principal
                .as_deref()
                .zip(admission.expires_unix_ms),
            Verdict::Deny(_) | Verdict::Abstain => None,
        }
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
        let verdict = tokens.judge(Role::Publish, &attempt(&token));
        assert_eq!(admitted(&verdict), Some(("alice", 1_800_000_065_000)));
        assert_eq!(
            tokens.judge(Role::Play, &attempt(&token)),
            Verdict::Deny(Reason::Unauthorized)
        );
        clock.advance(Duration::from_secs(64));
        let verdict = tokens.judge(Role::Publish, &attempt(&token));
        assert_eq!(
            admitted(&verdict),
            Some(("alice", 1_800_000_065_000)),
            "leeway"
        );
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            tokens.judge(Role::Publish, &attempt(&token)),
            Verdict::Deny(Reason::Unauthorized)
        );
    }

    /// Tokens that `livetrail token issue` made with another library (jwt-compact 0.8) stay valid,
    /// and the same claims still make the same bytes.
    #[test]
    fn tokens_of_earlier_versions_stay_valid() {
        let alice = TokenClaims::new()
            .subject("alice")
            .app("live")
            .stream("cam")
            .grant(Grant::Publish);
        let zoe = TokenClaims::new().subject("Zoë/ü").grant(Grant::Play);
        for (token, exp_s, role, subject, claims) in [
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTYxMDQ2NDB9.\
                 vWvEqVRl2ar92aEobROGCigdU7IKNu_YOKIs3b50xRU",
                1_796_104_640,
                Role::Play,
                "k1",
                TokenClaims::new(),
            ),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTYxMjk4NDAsInN1YiI6ImFsaWNlIiwiYXBwIjoibGl2ZSIs\
                 InN0cmVhbSI6ImNhbSIsImFjdCI6InB1Ymxpc2gifQ.\
                 uu9xZS692AOAENV3AlUWlwHCGVty9N8dZskjTyMGjO0",
                1_796_129_840,
                Role::Publish,
                "alice",
                alice,
            ),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTYyNzM4NDAsInN1YiI6Ilpvw6svw7wiLCJhY3QiOiJwbGF5\
                 In0.xpKdY7Zgfd6OU7tPX7g26XU3c1q68XE-MOo2ZKKQBlA",
                1_796_273_840,
                Role::Play,
                "Zoë/ü",
                zoe,
            ),
        ] {
            let clock = ManualClock::at((exp_s - 60) * 1_000);
            let tokens = SignedTokens::new(clock).key("k1", SECRET).unwrap();
            let verdict = tokens.judge(role, &attempt(token));
            let end_ms = exp_s * 1_000 + LEEWAY_MS;
            assert_eq!(admitted(&verdict), Some((subject, end_ms)));
            let again = tokens.issue(&claims, Duration::from_secs(60)).unwrap();
            assert_eq!(again, token);
        }
    }

    #[test]
    fn a_key_says_whether_sessions_end_with_their_token() {
        let clock = ManualClock::at(1_800_000_000_000);
        for ends in [false, true] {
            let tokens = SignedTokens::new(clock.clone()).key("k1", SECRET).unwrap();
            let tokens = tokens.end_at_expiry(ends);
            let token = tokens.issue(&TokenClaims::new(), Duration::from_secs(60));
            let verdict = tokens.judge(Role::Play, &attempt(&token.unwrap()));
            assert!(matches!(verdict, Verdict::Allow(it) if it.end_at_expiry == ends));
        }
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
        let verdict = before.judge(Role::Play, &attempt(token));
        assert_eq!(admitted(&verdict), Some(("joe", 1_300_819_385_000)));
        let after = SignedTokens::new(ManualClock::at(1_300_819_390_000))
            .key("joe", &secret)
            .unwrap();
        assert_eq!(
            after.judge(Role::Play, &attempt(token)),
            Verdict::Deny(Reason::Unauthorized)
        );
    }
}
