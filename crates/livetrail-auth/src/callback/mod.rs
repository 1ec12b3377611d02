//! Asks a service over HTTP, in the form that MediaMTX has made common: a POST with a JSON body
//! (see `body`), and a status as the answer (see `answer`).
//!
//! **Signature.** With a key, each request has two headers: [`TIMESTAMP_HEADER`], the time in
//! seconds since 1970, and [`SIGNATURE_HEADER`], `v1=` and the HMAC-SHA-256 of the timestamp, a
//! full stop and the body, in hexadecimal digits. The service should refuse old timestamps.
//!
//! **Memory.** A verdict is remembered by a digest of the credentials, the action, the stream and
//! the client's address. While a question is on its way, equal attempts wait for its answer.
//!
//! **Failure.** If the service does not answer in time, or with a status that neither allows nor
//! refuses (3xx, 429, 5xx), the attempt is refused (`auth_unavailable`) and nothing is remembered.

mod answer;
mod body;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use livetrail_engine::{Attempt, Authenticator, Clock, Reason, Role, Secret, Verdict};
use livetrail_request::{Bounds, Client, HeaderMap, SigningKey};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

use self::{answer::Answer, body::text};
use crate::{AuthError, Endpoint, cache::Cache};

/// The maximum length of an answer's body.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The maximum number of questions that wait for their turn or for their answer. Beyond it an
/// attempt is refused at once.
const MAX_QUESTIONS: usize = 4_096;

/// The settings of [`HttpCallback`]. The values in parentheses are the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallbackOptions {
    /// The service.
    pub endpoint: Endpoint,
    /// The key that signs requests, at least 32 bytes (they are not signed).
    pub key: Option<Secret>,
    /// The time for one answer, and also for a question's turn (2 s).
    pub timeout: Duration,
    /// The maximum number of requests at once (64).
    pub max_in_flight: usize,
    /// For how long an answer that allows is remembered, unless it says so itself (10 s); zero is
    /// not at all. It is never remembered beyond the expiry of its grant.
    pub cache: Duration,
    /// For how long an answer that refuses is remembered (1 s); zero is not at all.
    pub cache_refusals: Duration,
    /// The number of answers that are remembered (16,384).
    pub cache_entries: usize,
}

impl CallbackOptions {
    /// The settings for a service with its defaults.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            key: None,
            timeout: Duration::from_secs(2),
            max_in_flight: 64,
            cache: Duration::from_secs(10),
            cache_refusals: Duration::from_secs(1),
            cache_entries: 16_384,
        }
    }

    /// Checks the settings without a request.
    ///
    /// # Errors
    /// As for [`HttpCallback::new`].
    pub fn check(&self) -> Result<(), AuthError> {
        self.signing_key()?;
        self.endpoint.check()
    }

    fn signing_key(&self) -> Result<Option<SigningKey>, AuthError> {
        let key = self.key.as_ref().map(|key| key.expose().as_bytes());
        key.map(SigningKey::new).transpose()
    }

    /// Sets the key that signs requests, at least 32 bytes.
    #[must_use]
    pub fn key(mut self, key: Secret) -> Self {
        self.key = Some(key);
        self
    }
}

/// Asks a service over HTTP who may publish and play; see [`CallbackOptions`]. It decides on every
/// attempt, so it goes behind the authenticators that decide by themselves.
#[derive(Clone)]
pub struct HttpCallback {
    inner: Arc<Inner>,
}

struct Inner {
    options: CallbackOptions,
    client: Client,
    key: Option<SigningKey>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    in_flight: Arc<Semaphore>,
    known: Mutex<Known>,
    /// The last request failed. For the log.
    is_down: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

struct Known {
    answers: Cache<Question, Remembered>,
    /// Questions on their way. At most [`MAX_QUESTIONS`].
    asked: HashMap<Question, watch::Receiver<Option<Verdict>>>,
}

/// The digest of what an answer depends on.
type Question = [u8; 32];

#[derive(Clone)]
struct Remembered {
    verdict: Verdict,
    /// By the host's monotonic clock.
    until: Duration,
}

/// A question on its way. Whatever becomes of its task, the next one may be asked.
struct Asked {
    inner: Arc<Inner>,
    question: Question,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.inner.known().asked.remove(&self.question);
    }
}

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallbackStatus {
    /// The service's address without its query.
    pub place: String,
    /// Whether the last request had no answer that could be used.
    pub is_failing: bool,
    /// The number of requests with an answer that could be used.
    pub answered: u64,
    /// The number of requests without such an answer.
    pub failed: u64,
    /// The number of questions that wait for their turn or for their answer.
    pub waiting: usize,
    /// The number of answers that are remembered.
    pub remembered: usize,
}

impl HttpCallback {
    /// How the service is now.
    #[must_use]
    pub fn status(&self) -> CallbackStatus {
        let (waiting, remembered) = {
            let known = self.inner.known();
            (known.asked.len(), known.answers.len())
        };
        CallbackStatus {
            place: self.inner.options.endpoint.place(),
            is_failing: self.inner.is_down.load(Relaxed),
            answered: self.inner.answered.load(Relaxed),
            failed: self.inner.failed.load(Relaxed),
            waiting,
            remembered,
        }
    }

    /// Makes the authenticator. It sends its requests on this runtime, which must have I/O and
    /// time.
    ///
    /// # Errors
    /// [`AuthError`]: the address has no TLS, TLS cannot be set up, or the key is too short.
    pub fn new(
        options: CallbackOptions,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Result<Self, AuthError> {
        let key = options.signing_key()?;
        let bounds = Bounds {
            timeout: options.timeout,
            max_answer_bytes: MAX_ANSWER_BYTES,
            idle_connections: options.max_in_flight,
        };
        let client = Client::new(options.endpoint.clone(), bounds)?;
        Ok(Self {
            inner: Arc::new(Inner {
                in_flight: Arc::new(Semaphore::new(options.max_in_flight)),
                known: Mutex::new(Known {
                    answers: Cache::new(options.cache_entries),
                    asked: HashMap::new(),
                }),
                options,
                client,
                key,
                clock,
                runtime,
                is_down: AtomicBool::new(false),
                answered: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            }),
        })
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A remembered verdict.
    fn remembered(&self, question: &Question) -> Option<Verdict> {
        let now = self.clock.monotonic();
        let mut known = self.known();
        let remembered = known.answers.get(question)?;
        if remembered.until > now {
            return Some(remembered.verdict);
        }
        known.answers.remove(question);
        None
    }

    /// Joins the question if it is on its way, or asks it. `None` if too many are.
    fn ask(
        self: &Arc<Self>,
        question: Question,
        role: Role,
        attempt: &Attempt,
    ) -> Option<watch::Receiver<Option<Verdict>>> {
        let mut known = self.known();
        if let Some(asked) = known.asked.get(&question) {
            return Some(asked.clone());
        }
        if known.asked.len() >= MAX_QUESTIONS {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        known.asked.insert(question, receiver.clone());
        drop(known);
        let asked = Asked {
            inner: self.clone(),
            question,
        };
        let body = body::body(role, attempt);
        let user = Secret::new(text(attempt.credentials.user.as_ref()));
        self.runtime.spawn(async move {
            let verdict = asked.inner.exchange(question, body, &user).await;
            // Nobody may wait any longer.
            let _ = sender.send(Some(verdict));
        });
        Some(receiver)
    }

    /// Sends a question and remembers its answer.
    async fn exchange(&self, question: Question, body: Vec<u8>, user: &Secret) -> Verdict {
        let answer = self.send(body).await;
        if let Answer::Unusable(error) = &answer {
            self.failed.fetch_add(1, Relaxed);
            if !self.is_down.swap(true, Relaxed) {
                let place = self.options.endpoint.place();
                tracing::warn!(
                    place,
                    error,
                    "the authentication service does not answer; attempts that need it are refused"
                );
            }
            return Verdict::Deny(Reason::AuthUnavailable);
        }
        self.answered.fetch_add(1, Relaxed);
        if self.is_down.swap(false, Relaxed) {
            let place = self.options.endpoint.place();
            tracing::info!(place, "the authentication service answers again");
        }
        let now_ms = self.clock.unix_ms();
        let (verdict, keep) = match answer {
            Answer::Allow(terms) => {
                let admission = terms.admission(user.expose(), now_ms);
                let left_ms = admission
                    .expires_unix_ms
                    .map(|at| at.saturating_sub(now_ms));
                let keep = terms.cache_for().unwrap_or(self.options.cache);
                let keep = left_ms.map_or(keep, |left| keep.min(Duration::from_millis(left)));
                if left_ms == Some(0) {
                    (Verdict::Deny(Reason::TokenExpired), Duration::ZERO)
                } else {
                    (Verdict::Allow(admission), keep)
                }
            }
            Answer::Refuse | Answer::Unusable(_) => (
                Verdict::Deny(Reason::Unauthorized),
                self.options.cache_refusals,
            ),
        };
        if !keep.is_zero() {
            let remembered = Remembered {
                verdict: verdict.clone(),
                until: self.clock.monotonic().saturating_add(keep),
            };
            self.known().answers.insert(question, remembered);
        }
        verdict
    }

    async fn send(&self, body: Vec<u8>) -> Answer {
        let turn = tokio::time::timeout(self.options.timeout, self.in_flight.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Answer::Unusable("too many questions wait for an answer".to_owned());
        };
        let headers = self.key.as_ref().map_or_else(HeaderMap::new, |key| {
            key.headers(self.clock.unix_s(), &body)
        });
        match self.client.post_json(body.into(), headers).await {
            Ok(reply) => Answer::of(reply.status, reply.is_json(), &reply.body),
            Err(failure) => Answer::Unusable(failure.to_string()),
        }
    }
}

/// What an answer depends on. The parts have their length in front, so no two questions are alike.
fn question(role: Role, attempt: &Attempt) -> Question {
    let credentials = &attempt.credentials;
    let ip: Option<IpAddr> = attempt.peer.map(|peer| peer.ip());
    let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
    let mut digest = Context::new(&SHA256);
    for part in [
        body::action(role),
        attempt.key.app.as_str(),
        attempt.key.stream_id.as_str(),
        attempt.protocol,
        &ip,
        text(credentials.token.as_ref()),
        text(credentials.user.as_ref()),
        text(credentials.password.as_ref()),
        text(credentials.query.as_ref()),
    ] {
        digest.update(&part.len().to_le_bytes());
        digest.update(part.as_bytes());
    }
    // SHA-256 has 32 bytes.
    digest.finish().as_ref().try_into().unwrap_or_default()
}

/// Reads an answer of any bytes; see [`fuzz_callback_answer`](crate::fuzz_callback_answer).
pub(crate) fn fuzz_answer(bytes: &[u8]) {
    let Answer::Allow(terms) = Answer::allowing(bytes) else {
        return;
    };
    let _ = terms.cache_for();
    let admission = terms.admission("user", u64::MAX);
    let principal = admission.principal.as_deref();
    assert!(principal.is_some_and(|name| name.chars().all(livetrail_engine::is_visible)));
}

#[async_trait]
impl Authenticator for HttpCallback {
    async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
        let question = question(role, attempt);
        if let Some(verdict) = self.inner.remembered(&question) {
            return verdict;
        }
        let Some(mut asked) = self.inner.ask(question, role, attempt) else {
            return Verdict::Deny(Reason::AuthUnavailable);
        };
        let answered = asked.wait_for(Option::is_some).await;
        let answered = answered.ok().and_then(|verdict| verdict.clone());
        answered.unwrap_or(Verdict::Deny(Reason::AuthUnavailable))
    }

    /// A remembered verdict, or `None`.
    fn judge_locally(&self, role: Role, attempt: &Attempt) -> Option<Verdict> {
        self.inner.remembered(&question(role, attempt))
    }
}

impl fmt::Debug for HttpCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCallback")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{Credentials, StreamKey};

    use super::*;

    #[test]
    fn questions_differ_in_whatever_an_answer_depends_on() {
        let attempt = |stream: &str, peer: &str, token: &str| {
            Attempt::new(StreamKey::parse("live", stream).unwrap(), "rtmp")
                .peer(peer.parse().unwrap())
                .credentials(Credentials::token(token))
        };
        let one = attempt("cam", "192.0.2.1:1", "a");
        let all = [
            question(Role::Publish, &one),
            question(Role::Play, &one),
            question(Role::Play, &attempt("cam2", "192.0.2.1:1", "a")),
            question(Role::Play, &attempt("cam", "192.0.2.2:1", "a")),
            question(Role::Play, &attempt("cam", "192.0.2.1:1", "b")),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(one), "{i}");
        }
        let other_port = attempt("cam", "192.0.2.1:2", "a").user_agent("x");
        assert_eq!(question(Role::Publish, &other_port), all[0]);
    }
}
