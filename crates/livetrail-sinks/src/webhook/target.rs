//! The target: the service, the key, and the choice of events.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use livetrail_record::AuditRecord;
use livetrail_request::{Bounds, Client, Endpoint, SigningKey};

use crate::error::SinksError;
use crate::settings::{
    DEFAULT_MAX_AGE, DEFAULT_MAX_EVENTS, DEFAULT_TIMEOUT, SESSION_EVENTS, matches,
};

/// The maximum number of bytes that are read of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A web service.
#[derive(Clone)]
pub struct WebhookTarget {
    endpoint: Endpoint,
    key: SigningKey,
    actions: Vec<String>,
    max_events: usize,
    timeout: Duration,
    max_age: Duration,
}

impl WebhookTarget {
    /// The service at this address, with a key of at least 32 bytes. It gets all session events.
    ///
    /// # Errors
    /// [`SinksError::Request`]: the address is not valid, or the key is too short.
    pub fn new(url: &str, secret: &str) -> Result<Self, SinksError> {
        Ok(Self {
            endpoint: Endpoint::parse(url)?,
            key: SigningKey::new(secret.as_bytes())?,
            actions: SESSION_EVENTS.map(str::to_owned).to_vec(),
            max_events: DEFAULT_MAX_EVENTS,
            timeout: DEFAULT_TIMEOUT,
            max_age: DEFAULT_MAX_AGE,
        })
    }

    /// Trusts only the authorities in this PEM file.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.endpoint = self.endpoint.ca_file(path);
        self
    }

    /// Presents this certificate: PEM files with the chain and with its key.
    #[must_use]
    pub fn with_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.endpoint = self.endpoint.certificate(chain, key);
        self
    }

    /// Allows a connection without TLS to another machine.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.endpoint = self.endpoint.insecure(true);
        self
    }

    /// Chooses the actions that are sent, in place of the session events: names of actions, or
    /// beginnings of names with `*` behind. `*` alone also chooses entries that are not records.
    #[must_use]
    pub fn with_actions<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.actions = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the maximum number of events in a request, at least 1. The default is 100.
    #[must_use]
    pub const fn with_max_events(mut self, events: usize) -> Self {
        self.max_events = if events == 0 { 1 } else { events };
        self
    }

    /// Sets how long one request may take. The default is 10 seconds.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the age after which an event is not sent any more and counts as lost. The default is
    /// three days.
    #[must_use]
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// The service's address without its query, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.endpoint.place()
    }

    pub(super) const fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(super) const fn max_events(&self) -> usize {
        self.max_events
    }

    pub(super) fn client(&self) -> Result<Client, SinksError> {
        let bounds = Bounds {
            timeout: self.timeout,
            max_answer_bytes: MAX_ANSWER_BYTES,
            idle_connections: 1,
        };
        Ok(Client::new(self.endpoint.clone(), bounds)?)
    }

    /// Whether this entry is sent. `None` is an entry that is not a record.
    pub(super) fn chooses(&self, record: Option<&AuditRecord>) -> bool {
        let label = record.map(|record| record.action.label());
        self.actions.iter().any(|pattern| match label {
            Some(label) => matches(pattern, label),
            None => pattern == "*",
        })
    }

    /// Whether this record is too old to be sent. Times are in milliseconds since 1970.
    pub(super) fn is_too_old(&self, record: &AuditRecord, now_ms: u64) -> bool {
        let age_ms = now_ms.saturating_sub(record.ts_ms);
        Duration::from_millis(age_ms) > self.max_age
    }
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookTarget")
            .field("endpoint", &self.endpoint)
            .field("actions", &self.actions)
            .field("max_events", &self.max_events)
            .field("timeout", &self.timeout)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
