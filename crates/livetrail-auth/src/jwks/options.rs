//! What a verifier of tokens is configured with.

use std::{sync::Arc, time::Duration};

use crate::{AuthError, Endpoint};

/// The settings of [`Jwks`](super::Jwks). The values in parentheses are the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JwksOptions {
    /// The name of this issuer: the principal of tokens without `sub`, and its name in the log.
    pub name: Arc<str>,
    /// Where the issuer publishes its keys.
    pub endpoint: Endpoint,
    /// The issuer, as `iss` of its tokens names it. Tokens of others are not judged.
    pub issuer: String,
    /// Who its tokens are for (nobody in particular). With it a token must name it in `aud`;
    /// without it a token with `aud` is refused, because it is for somebody else (RFC 7519 section
    /// 4.1.3).
    pub audience: Option<String>,
    /// The claim with the permissions of a token, as MediaMTX defines them (no such claim). With it
    /// a token admits only what one of its permissions covers; a token without the claim admits
    /// nothing.
    pub permissions_claim: Option<String>,
    /// The allowed difference between the clocks of issuer and server (5 s).
    pub leeway: Duration,
    /// Whether a session ends when its token expires (yes).
    pub end_at_expiry: bool,
    /// After this time keys are looked up again, in the background (10 min).
    pub refresh: Duration,
    /// For this long keys stay in use although lookups fail (24 h).
    pub max_stale: Duration,
    /// The time for one lookup (5 s).
    pub timeout: Duration,
    /// The maximum size of a set of keys (1 MiB).
    pub max_bytes: usize,
    /// The number of verified tokens that are remembered (16,384).
    pub cache_entries: usize,
}

impl JwksOptions {
    /// The time between two lookups, whatever clients send.
    pub const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);

    /// The settings for an issuer with its defaults.
    #[must_use]
    pub fn new(name: &str, endpoint: Endpoint, issuer: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoint,
            issuer: issuer.into(),
            audience: None,
            permissions_claim: None,
            leeway: Duration::from_secs(5),
            end_at_expiry: true,
            refresh: Duration::from_secs(600),
            max_stale: Duration::from_secs(86_400),
            timeout: Duration::from_secs(5),
            max_bytes: 1 << 20,
            cache_entries: 16_384,
        }
    }

    /// Checks the settings without a request.
    ///
    /// # Errors
    /// As for [`Jwks::new`](super::Jwks::new).
    pub fn check(&self) -> Result<(), AuthError> {
        self.endpoint.check()
    }

    /// Sets who the tokens must be for.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }
}
