//! Requests to a service: which events go out, and what was accepted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livetrail_clock::Clock;
use livetrail_record::parse_canonical;
use livetrail_replica::{ReplicaError, SealedRange};
use livetrail_request::{Client, HeaderValue};

use super::answer;
use super::body::Events;
use super::target::WebhookTarget;
use crate::error::SinksError;
use crate::local_cursor::Lost;
use crate::pause::Pause;

/// The header that names a request's events.
const KEY_HEADER: &str = "idempotency-key";

pub(super) struct Requests {
    client: Client,
    target: WebhookTarget,
    clock: Arc<dyn Clock>,
    pause: Pause,
    /// The number of events that were given up.
    given_up: AtomicU64,
    progress: Mutex<Progress>,
}

/// How much of a range was accepted. If the range comes again after an error, the rest of it goes
/// out.
#[derive(Clone, Debug, Default)]
struct Progress {
    origin: String,
    /// Where the range begins.
    first: u64,
    /// The index after the last accepted event.
    next: u64,
    /// What the service does not know of.
    lost: Option<Lost>,
}

impl Requests {
    pub(super) fn new(target: WebhookTarget, clock: Arc<dyn Clock>) -> Result<Self, SinksError> {
        Ok(Self {
            client: target.client()?,
            target,
            clock,
            pause: Pause::default(),
            given_up: AtomicU64::new(0),
            progress: Mutex::default(),
        })
    }

    /// The number of events that were given up.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }

    /// Sends the chosen events of a range in order, in as many requests as they need. `lost` is
    /// what the cursor has of lost events. Returns what the service does not know of now.
    pub(super) async fn send_events(
        &self,
        range: &SealedRange,
        lost: Option<Lost>,
    ) -> Result<Option<Lost>, ReplicaError> {
        let mut progress = self.progress_in(range, lost);
        let now_ms = self.clock.unix_ms();
        let mut events = Events::default();
        let from = progress.next;
        for (index, entry, leaf) in range.iter().filter(|(index, ..)| *index >= from) {
            let record = parse_canonical(entry).ok();
            if !self.target.chooses(record.as_ref()) {
                continue;
            }
            let is_too_old = |record| self.target.is_too_old(record, now_ms);
            if record.as_ref().is_some_and(is_too_old) {
                events.give_up(index);
                continue;
            }
            let opening = range.opening(index);
            events.add(index, leaf, entry, record.is_some(), opening);
            if events.is_full(self.target.max_events()) {
                let next = index.saturating_add(1);
                self.pass(&mut progress, &events, next).await?;
                events = Events::default();
            }
        }
        self.pass(&mut progress, &events, range.next()).await?;
        // The cursor moves now. If it does not, or goes back later, all of the range goes out.
        *self.progress() = Progress::default();
        Ok(progress.lost)
    }

    /// Sends these events, if there are any. After that everything before `next` is settled.
    async fn pass(
        &self,
        progress: &mut Progress,
        events: &Events,
        next: u64,
    ) -> Result<(), ReplicaError> {
        let among = events.lost();
        let lost = match (progress.lost, among) {
            (Some(before), Some(among)) => Some(before.and(among)),
            (before, among) => before.or(among),
        };
        progress.lost = lost;
        if !events.is_empty() {
            self.post(&progress.origin, events, lost).await?;
            progress.lost = None;
        }
        progress.next = next;
        self.progress().clone_from(progress);
        if let Some(among) = among {
            self.given_up.fetch_add(among.events, Relaxed);
            tracing::warn!(
                place = self.target.place(),
                events = among.events,
                first = among.first,
                next = among.next,
                "a web hook gave up events that are older than max_age"
            );
        }
        Ok(())
    }

    /// Reports lost events without any others.
    pub(super) async fn report(&self, origin: &str, lost: Lost) -> Result<(), ReplicaError> {
        self.post(origin, &Events::default(), Some(lost)).await
    }

    /// Sends a request without events.
    pub(super) async fn probe(&self) -> Result<(), ReplicaError> {
        self.post("", &Events::default(), None).await
    }

    async fn post(
        &self,
        origin: &str,
        events: &Events,
        lost: Option<Lost>,
    ) -> Result<(), ReplicaError> {
        let place = self.target.place();
        self.pause.may_send(&place)?;
        let body = events.body(origin, lost);
        let key = self.target.key();
        let mut headers = key.headers(self.clock.unix_s(), body.as_bytes());
        let key = events.key(origin);
        // An origin is a valid header: it has no control characters.
        if let Some(Ok(key)) = key.map(|key| HeaderValue::from_bytes(key.as_bytes())) {
            headers.insert(KEY_HEADER, key);
        }
        let reply = self.client.post_json(body.into(), headers).await;
        let reply = reply.map_err(|failure| answer::of_failure(&place, failure))?;
        let status = reply.status.as_u16();
        self.pause.note(status, &reply.headers);
        answer::of_status(&place, status, events.indexes())
    }

    /// Where this range continues.
    fn progress_in(&self, range: &SealedRange, lost: Option<Lost>) -> Progress {
        let known = self.progress().clone();
        let is_this = known.origin == range.origin() && known.first == range.first();
        if is_this && (range.first()..=range.next()).contains(&known.next) {
            return known;
        }
        Progress {
            origin: range.origin().to_owned(),
            first: range.first(),
            next: range.first(),
            lost,
        }
    }

    /// No code that can panic runs under this lock.
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
