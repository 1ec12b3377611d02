//! Signed tokens (JWT, RFC 7519) of an issuer that publishes its keys (JWKS, RFC 7517).
//!
//! **Lookups.** The keys are looked up at the start, when a token names a key that is not known,
//! and when they are older than [`JwksOptions::refresh`]. At most one lookup runs at a time, and
//! two begin at least ten seconds apart, so clients cannot make the server flood the issuer. Only
//! a token with the right `iss` causes one. While lookups fail, known keys stay in use for
//! [`JwksOptions::max_stale`].
//!
//! | the token | verdict |
//! |---|---|
//! | is not a token, of another issuer, of an algorithm with a shared secret, or signed by nobody | abstains |
//! | names an unknown key; a lookup succeeded less than ten seconds ago | abstains |
//! | names an unknown key; the last lookup failed | `auth_unavailable` |
//! | no keys have been found yet, or they are too old | `auth_unavailable` |
//! | is signed, and has expired | `token_expired` |
//! | is signed, and for another time, audience, stream or role | `unauthorized` |
//! | is signed, and covers the attempt | admits `sub` until `exp` |

mod claims;
mod keys;
mod options;
mod permissions;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use livetrail_engine::{Attempt, Authenticator, Clock, Reason, Role, UntrustedToken, Verdict};
use livetrail_request::{Bounds, Client, StatusCode};
use tokio::{runtime::Handle, sync::watch};

pub(crate) use claims::Claims;
pub(crate) use keys::{Algorithm, Check, KeySet};
pub use options::JwksOptions;

use crate::{AuthError, cache::Cache};

/// The kinds of answer that a lookup accepts.
const ACCEPTED: &str = "application/jwk-set+json, application/json";

/// Admits clients with tokens that an issuer has signed; see [`JwksOptions`].
///
/// Whether a token covers an attempt is decided by its claims `app`, `stream` and `act`, as for
/// [`SignedTokens`](livetrail_engine::SignedTokens). `exp` and `iss` are required.
///
/// Drops of this value end nothing: a lookup that runs ends by its timeout.
#[derive(Clone)]
pub struct Jwks {
    inner: Arc<Inner>,
}

struct Inner {
    options: JwksOptions,
    client: Client,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    keys: ArcSwapOption<Known>,
    lookups: Mutex<Lookups>,
    /// Verified tokens by their digest.
    verified: Mutex<Cache<[u8; 32], Arc<Verified>>>,
}

/// The keys that are in use.
struct Known {
    set: KeySet,
    /// When they were found, by the host's clock.
    found: Duration,
    number: u64,
}

struct Verified {
    claims: Claims,
    /// The number of the keys that verified it. Others verify it again.
    number: u64,
}

/// The state of lookups.
struct Lookups {
    /// Present while one runs. It notifies those that wait for it.
    running: Option<watch::Sender<()>>,
    /// When the last one began.
    began: Option<Duration>,
    failed: bool,
    /// How many have succeeded.
    number: u64,
    /// How many have failed.
    failures: u64,
}

/// A lookup that runs. Whatever becomes of its task, the next one may start.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lookups().running = None;
    }
}

/// A token cannot be judged without a lookup.
struct NeedsLookup;

/// How an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwksStatus {
    /// The issuer's name in the settings.
    pub name: Arc<str>,
    /// The number of keys that are in use. 0 if none was found, or if they are too old.
    pub keys: usize,
    /// How long ago the keys were found; `None` if none has been found yet.
    pub age: Option<Duration>,
    /// Whether the last lookup failed.
    pub is_failing: bool,
    /// The number of lookups that found keys.
    pub found: u64,
    /// The number of lookups that failed.
    pub failed: u64,
    /// The number of verified tokens that are remembered.
    pub remembered: usize,
}

impl Jwks {
    /// Makes the verifier and starts the first lookup on this runtime, which must have I/O and
    /// time.
    ///
    /// # Errors
    /// [`AuthError`]: the address has no TLS, or TLS cannot be set up.
    pub fn new(
        options: JwksOptions,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Result<Self, AuthError> {
        let bounds = Bounds {
            timeout: options.timeout,
            max_answer_bytes: options.max_bytes,
            idle_connections: 1,
        };
        let client = Client::new(options.endpoint.clone(), bounds)?;
        let inner = Arc::new(Inner {
            verified: Mutex::new(Cache::new(options.cache_entries)),
            options,
            client,
            clock,
            runtime,
            keys: ArcSwapOption::empty(),
            lookups: Mutex::new(Lookups {
                running: None,
                began: None,
                failed: false,
                number: 0,
                failures: 0,
            }),
        });
        inner.lookup();
        Ok(Self { inner })
    }

    /// How the issuer's keys are now.
    #[must_use]
    pub fn status(&self) -> JwksStatus {
        let known = self.inner.keys.load_full();
        let now = self.inner.clock.monotonic();
        let age = known.as_ref().map(|known| now.saturating_sub(known.found));
        let is_fresh = age.is_some_and(|age| age < self.inner.options.max_stale);
        let remembered = self.inner.verified().len();
        let lookups = self.inner.lookups();
        JwksStatus {
            name: self.inner.options.name.clone(),
            keys: known
                .filter(|_| is_fresh)
                .map_or(0, |known| known.set.len()),
            age,
            is_failing: lookups.failed,
            found: lookups.number,
            failed: lookups.failures,
            remembered,
        }
    }

    /// Waits until the lookup that runs is over; at once if none runs.
    pub async fn settled(&self) {
        let running = {
            let lookups = self.inner.lookups();
            lookups.running.as_ref().map(watch::Sender::subscribe)
        };
        if let Some(mut running) = running {
            // An error is the end, too.
            let _ = running.changed().await;
        }
    }
}

impl Inner {
    fn lookups(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the lookup that runs, or starts one if that is allowed.
    fn lookup(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let now = self.clock.monotonic();
        let mut lookups = self.lookups();
        if let Some(running) = &lookups.running {
            return Some(running.subscribe());
        }
        if !lookups.may_begin(now) {
            return None;
        }
        let (sender, receiver) = watch::channel(());
        lookups.running = Some(sender);
        lookups.began = Some(now);
        drop(lookups);
        let running = Running(self.clone());
        self.runtime.spawn(async move {
            let inner = &running.0;
            let found = inner.fetch().await;
            inner.settle(found);
        });
        Some(receiver)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let reply = self.client.get(ACCEPTED).await;
        let reply = reply.map_err(|failure| failure.to_string())?;
        if reply.status != StatusCode::OK {
            return Err(format!("the answer has status {}", reply.status.as_u16()));
        }
        KeySet::parse(&reply.body).map_err(|error| error.to_string())
    }

    fn settle(&self, found: Result<KeySet, String>) {
        let (name, place) = (&*self.options.name, self.options.endpoint.place());
        let mut lookups = self.lookups();
        match found {
            Ok(set) => {
                if set.len() == 0 {
                    tracing::warn!(
                        name,
                        place,
                        skipped = set.skipped(),
                        "the issuer's set has no key that can be used; its tokens are refused"
                    );
                } else if lookups.failed {
                    tracing::info!(
                        name,
                        place,
                        keys = set.len(),
                        "the issuer's keys are there again"
                    );
                }
                lookups.failed = false;
                lookups.number = lookups.number.wrapping_add(1);
                self.keys.store(Some(Arc::new(Known {
                    set,
                    found: self.clock.monotonic(),
                    number: lookups.number,
                })));
            }
            Err(error) => {
                if !lookups.failed {
                    let kept = self.keys.load().as_ref().map_or(0, |known| known.set.len());
                    tracing::warn!(
                        name,
                        place,
                        error,
                        kept,
                        "cannot look up the issuer's keys; those that are known stay in use"
                    );
                }
                lookups.failed = true;
                lookups.failures = lookups.failures.saturating_add(1);
            }
        }
    }

    /// Judges an attempt with the keys that are known.
    fn judge(self: &Arc<Self>, role: Role, attempt: &Attempt) -> Result<Verdict, NeedsLookup> {
        let Some(text) = attempt
            .credentials
            .token
            .as_ref()
            .map(|token| token.expose())
        else {
            return Ok(Verdict::Abstain);
        };
        let now_ms = self.clock.unix_ms();
        let known = self.known();
        let name = digest_of(text);
        if let Some(known) = &known
            && let Some(verified) = self.verified().get(&name)
            && verified.number == known.number
        {
            return Ok(verified.claims.judge(&self.options, role, attempt, now_ms));
        }
        let Some(token) = UntrustedToken::parse(text) else {
            return Ok(Verdict::Abstain);
        };
        if Algorithm::from_name(token.algorithm()).is_none() {
            return Ok(Verdict::Abstain);
        }
        let claims = Claims::read(&token, self.options.permissions_claim.as_deref());
        let Some(claims) = claims.filter(|claims| claims.are_of(&self.options.issuer)) else {
            return Ok(Verdict::Abstain);
        };
        let known = known.ok_or(NeedsLookup)?;
        match known.set.check(&token) {
            Check::Wrong => Ok(Verdict::Abstain),
            Check::UnknownKey => Err(NeedsLookup),
            Check::Valid => {
                let verdict = claims.judge(&self.options, role, attempt, now_ms);
                let number = known.number;
                let verified = Arc::new(Verified { claims, number });
                self.verified().insert(name, verified);
                Ok(verdict)
            }
        }
    }

    fn verified(&self) -> MutexGuard<'_, Cache<[u8; 32], Arc<Verified>>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys that may be used. If they are due, this starts a lookup and does not wait for it.
    fn known(self: &Arc<Self>) -> Option<Arc<Known>> {
        let known = self.keys.load_full()?;
        let age = self.clock.monotonic().saturating_sub(known.found);
        if age >= self.options.refresh {
            self.lookup();
        }
        (age < self.options.max_stale).then_some(known)
    }

    /// The verdict on a token whose key is not known, when no lookup may start.
    fn without_key(&self) -> Verdict {
        match self.lookups().failed || self.keys.load().is_none() {
            true => Verdict::Deny(Reason::AuthUnavailable),
            false => Verdict::Abstain,
        }
    }
}

impl Lookups {
    fn may_begin(&self, now: Duration) -> bool {
        self.began
            .is_none_or(|began| now.saturating_sub(began) >= JwksOptions::LOOKUP_INTERVAL)
    }
}

#[async_trait]
impl Authenticator for Jwks {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        if let Ok(verdict) = self.inner.judge(role, attempt) {
            return verdict;
        }
        if let Some(mut running) = self.inner.lookup() {
            // An error is the end, too.
            let _ = running.changed().await;
        }
        let judged = self.inner.judge(role, attempt);
        judged.unwrap_or_else(|NeedsLookup| self.inner.without_key())
    }

    /// `None` if the token needs a lookup that runs or may start.
    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        if let Ok(verdict) = self.inner.judge(role, attempt) {
            return Some(verdict);
        }
        let now = self.inner.clock.monotonic();
        let may_change = {
            let lookups = self.inner.lookups();
            lookups.running.is_some() || lookups.may_begin(now)
        };
        (!may_change).then(|| self.inner.without_key())
    }

    fn secret_in(&self, text: &str) -> Option<Arc<str>> {
        UntrustedToken::is_in(text).then(|| "token".into())
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

fn digest_of(text: &str) -> [u8; 32] {
    let digest = digest(&SHA256, text.as_bytes());
    // SHA-256 has 32 bytes.
    digest.as_ref().try_into().unwrap_or_default()
}
