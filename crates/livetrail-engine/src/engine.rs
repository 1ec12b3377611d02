//! The engine: applications, live streams, sessions, admission.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

#[cfg(doc)]
use crate::Observer;
use crate::{
    Clock,
    admit::{Attempt, Denied, Gate},
    app::{AppSettings, AppSpec, Apps},
    attempts::{Attempts, SHORT},
    auth::{Admission, Authenticator},
    builder::{EngineBuilder, Limits},
    bus::Budget,
    error::{Error, Result},
    event::{Reason, Role, SessionContext, SessionTotals, StreamEvent, StreamEventKind, of_host},
    identity::{AppName, SessionId, StreamKey},
    info::{EngineTotals, SessionInfo, SessionPage, StreamInfo, StreamPage, Watched},
    janitor,
    lifecycle::{SessionCore, reporting},
    observe::Observers,
    registry::Registry,
    requests::ViewerToken,
    session::{Playback, Publication},
    tap::Tap,
    timers::Timers,
    tokens::Tokens,
    viewing::Viewing,
    wakeup::Wakeup,
};

/// The maximum number of sessions that are read while the registry's lock is held.
const PART_OF_SESSIONS: usize = 512;

/// A streaming engine. Cloning gives another handle to the same engine; a process may have many
/// engines.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

/// The state that all handles and sessions of an engine share.
pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    /// The name of this server among those that pass streams to each other.
    pub(crate) node: Option<Arc<str>>,
    pub(crate) observers: Observers,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) gates: Vec<Arc<dyn Gate>>,
    /// Names that no application may have.
    pub(crate) reserved: Vec<AppName>,
    pub(crate) apps: ArcSwap<Apps>,
    pub(crate) limits: ArcSwap<Limits>,
    /// The memory of all streams; its limit is one of the above.
    pub(crate) memory: Arc<Budget>,
    pub(crate) events: broadcast::Sender<StreamEvent>,
    pub(crate) registry: Mutex<Registry>,
    pub(crate) totals: Totals,
    pub(crate) attempts: Arc<Attempts>,
    /// Viewers' tokens that were revoked, and the sessions that tokens opened last.
    pub(crate) tokens: Tokens,
    pub(crate) timers: Timers,
    pub(crate) wakeup: Arc<Wakeup>,
    /// The engine's thread is running.
    pub(crate) has_thread: AtomicBool,
    /// The engine is stopping: no more attempts are decided.
    pub(crate) stopping: AtomicBool,
    /// New sessions are refused, and existing ones continue. It changes under the registry's lock.
    pub(crate) draining: AtomicBool,
    /// Notifies that a publisher has left its writer for the next one.
    pub(crate) parked: Notify,
    /// Attempts that are being decided right now. Attempts that wait for an authenticator are
    /// tickets instead.
    pub(crate) deciding: AtomicUsize,
}

/// Sums over ended sessions, and counts of events.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) publish: RoleTotals,
    pub(crate) play: RoleTotals,
    pub(crate) lag_skips: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) reaped: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
}

#[derive(Default)]
pub(crate) struct RoleTotals {
    pub(crate) started: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) dropped_frames: AtomicU64,
}

impl Engine {
    /// Starts the configuration of an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    /// Requests to publish a stream.
    ///
    /// Asks the authenticators, then checks the limits, reports `PublishStarted`, and then asks the
    /// gates. A publisher that replaces another ([`DuplicatePublisher`](crate::DuplicatePublisher))
    /// does so only after that. If the returned future is dropped on the way, the attempt is
    /// reported as given up by its client. No runtime is needed.
    ///
    /// **Budgets.** Refusals, and sessions shorter than a second, use up the budget of their
    /// address ([`Limits::attempts`]). Over budget, an attempt is refused as `rate_limited`, unless
    /// an authenticator admits it without waiting ([`Authenticator::judge_locally`]). Such a
    /// refusal takes a second, and includes when to try again ([`Denied::retry_after`]). If there
    /// are too many short sessions in all ([`Limits::short_sessions`]), an address with recent
    /// short sessions waits up to two seconds for its admission.
    ///
    /// # Errors
    /// [`Denied`], already reported to all observers.
    pub async fn publish(&self, attempt: Attempt) -> Result<Publication, Denied> {
        self.inner.publish(attempt).await
    }

    /// Requests to watch a stream. The steps are those of [`publish`](Self::publish), also if the
    /// returned future is dropped. Needs no runtime.
    ///
    /// # Errors
    /// [`Denied`], already reported to all observers.
    pub async fn play(&self, attempt: Attempt) -> Result<Playback, Denied> {
        self.inner.play(attempt).await
    }

    /// Requests to watch a stream with many requests instead of a cursor. The steps are those of
    /// [`play`](Self::play), once for all requests of the viewer. The session ends if it was not
    /// [touched](Viewing::touch) for the time of its lease, which is at least a millisecond.
    ///
    /// If the returned future is dropped, the attempt is reported as given up by its client. Needs
    /// no runtime.
    ///
    /// # Errors
    /// [`Denied`], already reported to all observers.
    pub async fn watch(&self, attempt: Attempt, lease: Duration) -> Result<Viewing, Denied> {
        self.inner.watch(attempt, lease).await
    }

    /// Decides whether a client may watch a stream, without a session: asks the authenticators,
    /// with the budgets and deadlines of [`play`](Self::play), and checks that there is a stream to
    /// watch or to wait for. Gates may [prepare](crate::Gate::prepare) one that is missing. Limits
    /// and the rest of the gates come later. For a client whose session starts with a later
    /// request: that is then [`watch`](Self::watch), with an attempt on the terms that this returns
    /// ([`Attempt::admitted`]).
    ///
    /// Only a refusal is reported. If the returned future is dropped, the attempt is reported as
    /// given up by its client. Needs no runtime.
    ///
    /// ```
    /// use std::time::Duration;
    /// use livetrail_engine::{AppSpec, Attempt, Engine, StreamKey};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
    /// let attempt = || StreamKey::parse("live", "cam").map(|key| Attempt::new(key, "hls"));
    /// let _publication = engine.publish(attempt()?).await?;
    /// let admission = engine.authorize(attempt()?).await?;
    /// assert_eq!(engine.sessions().len(), 1);
    /// let later = attempt()?.admitted(admission);
    /// let _viewing = engine.watch(later, Duration::from_secs(12)).await?;
    /// assert_eq!(engine.sessions().len(), 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Denied`], already reported to all observers.
    pub async fn authorize(&self, attempt: Attempt) -> Result<Admission, Denied> {
        self.inner.authorize(attempt).await
    }

    /// Reads a stream for the host itself, from the current GOP on. Nothing is authenticated or
    /// reported: data for a client goes through [`play`](Self::play) or [`watch`](Self::watch).
    ///
    /// # Errors
    /// [`Error::NoSuchStream`]: nobody publishes the stream, and it is not kept for viewers.
    pub fn tap(&self, key: &StreamKey) -> Result<Tap> {
        let stream = self.inner.registry().stream_to_watch(key);
        let stream = stream.filter(|stream| !stream.is_closed());
        match stream {
            Some(stream) => Ok(Tap::new(key.clone(), stream)),
            None => Err(Error::NoSuchStream { key: key.clone() }),
        }
    }

    /// Asks the publisher of a stream for a keyframe: see
    /// [`KeyframeRequests`](crate::KeyframeRequests).
    ///
    /// # Errors
    /// [`Error::NoSuchStream`]: nobody publishes the stream, and it is not kept for viewers.
    pub fn request_keyframe(&self, key: &StreamKey) -> Result<()> {
        let stream = self.inner.registry().stream_to_watch(key);
        let stream = stream.filter(|stream| !stream.is_closed());
        let stream = stream.ok_or_else(|| Error::NoSuchStream { key: key.clone() })?;
        let now = self.inner.clock.monotonic();
        stream.keyframes.want(now.as_micros() as u64);
        Ok(())
    }

    /// A stream as those see it who feed it or pass it on; `None` if nobody publishes it, and it is
    /// not kept for viewers.
    ///
    /// ```
    /// use livetrail_engine::{AppSpec, Attempt, Engine, StreamKey};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
    /// let key = StreamKey::parse("live", "cam")?;
    /// assert!(engine.watched(&key).is_none());
    /// let publication = engine.publish(Attempt::new(key.clone(), "internal")).await?;
    /// let watched = engine.watched(&key).ok_or("no stream")?;
    /// let publisher = watched.publisher.map(|publisher| publisher.session);
    /// assert_eq!((publisher, watched.viewers), (Some(publication.session()), 0));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn watched(&self, key: &StreamKey) -> Option<Watched> {
        let registry = self.inner.registry();
        let publisher = registry.publishers.get(key);
        let publisher = publisher.filter(|core| core.ending().is_none());
        let stream = match publisher {
            Some(publisher) => publisher.stream.clone(),
            None => registry.stream_to_watch(key)?,
        };
        if stream.is_closed() {
            return None;
        }
        let publisher = publisher.map(|core| core.context.clone());
        Some(Watched::of(&stream, publisher))
    }

    /// The name of this server among those that pass streams to each other, if it has one.
    #[must_use]
    pub fn node(&self) -> Option<&Arc<str>> {
        self.inner.node.as_ref()
    }

    /// Refuses an attempt that a gateway could not make, because its name is invalid
    /// ([`StreamKey::sanitized`](crate::StreamKey::sanitized) returns a name that represents it),
    /// or because its request cannot be decoded. It is reported as one `*_denied`, like any
    /// refusal.
    pub fn refuse(&self, role: Role, attempt: Attempt, reason: Reason) -> Denied {
        self.refuse_with(role, attempt, reason, "")
    }

    /// As [`refuse`](Self::refuse), with a text that explains the reason. As much of the text as
    /// [`Detail`](crate::Detail) keeps is recorded.
    pub fn refuse_with(
        &self,
        role: Role,
        attempt: Attempt,
        reason: Reason,
        detail: &str,
    ) -> Denied {
        self.inner
            .refuse_unasked(role, &attempt, of_host(reason, role), detail)
    }

    /// The text, or `key:NAME` instead of it if it contains a configured secret. For a gateway's
    /// log lines about a client.
    #[must_use]
    pub fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.inner.scrub(text)
    }

    /// Ends the sessions whose credentials are no longer valid (`credentials_revoked`): those for
    /// which `is_revoked` returns true for their principal. Call it after the authenticators have
    /// changed. An earlier attempt that has not become a session yet is authenticated again.
    /// Returns the number of ended sessions.
    pub fn revoke(&self, is_revoked: impl Fn(&SessionContext) -> bool) -> usize {
        let cores = {
            let mut registry = self.inner.registry();
            registry.revocations += 1;
            registry.in_order()
        };
        let revoked = cores
            .iter()
            .filter(|core| core.ending().is_none() && is_revoked(&core.context));
        revoked
            .map(|core| self.inner.take_away(core, Reason::CredentialsRevoked))
            .count()
    }

    /// Revokes a viewer's token, or a share link with the tokens that were exchanged for it: no
    /// session starts with them until `expires_unix_ms` (milliseconds since 1970), and those that
    /// were started with them end (`kicked`). Returns their number. Ending a session with
    /// [`kick`](Self::kick), [`kick_all`](Self::kick_all) or [`revoke`](Self::revoke) revokes its
    /// token, too.
    ///
    /// The engine remembers 65,536 revoked tokens, and forgets the ones that expire first. A host
    /// calls this again after a restart.
    pub fn revoke_token(&self, id: Uuid, expires_unix_ms: u64) -> usize {
        let now_ms = self.inner.clock.unix_ms();
        let tokens = &self.inner.tokens;
        // First, so that no session starts in between.
        tokens.revoke(id, expires_unix_ms, Reason::Kicked, now_ms);
        let is_meant = |token: &ViewerToken| token.id == id || token.share == Some(id);
        let of_token = |context: &SessionContext| context.token.as_deref().is_some_and(is_meant);
        self.kick_all(of_token, usize::MAX).len()
    }

    /// Why no session may start with this token (`kicked` or `credentials_revoked`), if it was
    /// revoked. Nothing is reported.
    #[must_use]
    pub fn revoked(&self, token: &ViewerToken) -> Option<Reason> {
        self.inner.tokens.revoked(token)
    }

    /// The clock of this engine, for every component with times of its sessions.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock.clone()
    }

    /// Subscribes to all events from now on. A receiver that is more than 1,024 events behind loses
    /// the oldest, and gets an error that counts them. An audit trail is an [`Observer`] instead.
    #[must_use]
    pub fn subscribe_events(&self) -> broadcast::Receiver<StreamEvent> {
        self.inner.events.subscribe()
    }

    /// Ends a session (`kicked`), and returns its context.
    ///
    /// # Errors
    /// [`Error::NoSuchSession`] if no live session has this id.
    pub fn kick(&self, session: SessionId) -> Result<Arc<SessionContext>> {
        let core = self.inner.live(session)?;
        self.inner.take_away(&core, Reason::Kicked);
        Ok(core.context.clone())
    }

    /// Sets when a session ends because its grant expires (`token_expired`), in milliseconds since
    /// 1970 (UTC); `None` is never. For a host that renews a grant while the session runs. Returns
    /// the session's context.
    ///
    /// # Errors
    /// [`Error::NoSuchSession`] if no live session has this id.
    pub fn renew(
        &self,
        session: SessionId,
        expires_unix_ms: Option<u64>,
    ) -> Result<Arc<SessionContext>> {
        let core = self.inner.live(session)?;
        core.grant.renew(self.inner.until_ms(expires_unix_ms));
        Ok(core.context.clone())
    }

    /// Ends the live sessions that `is_meant` selects (`kicked`), at most `most` of them, in the
    /// order in which they started. Returns their contexts. Sessions that start meanwhile are not
    /// considered.
    ///
    /// ```
    /// use livetrail_engine::{AppSpec, Attempt, Engine, StreamKey};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
    /// let attempt = |id| StreamKey::parse("live", id).map(|key| Attempt::new(key, "test"));
    /// let _a = engine.publish(attempt("a")?).await?;
    /// let _b = engine.publish(attempt("b")?).await?;
    ///
    /// let ended = engine.kick_all(|session| session.key.stream_id.as_str() == "a", 1_000);
    /// assert_eq!((ended.len(), engine.sessions().len()), (1, 1));
    /// # Ok(()) }
    /// ```
    pub fn kick_all(
        &self,
        is_meant: impl Fn(&SessionContext) -> bool,
        most: usize,
    ) -> Vec<Arc<SessionContext>> {
        let cores = self.inner.registry().in_order();
        let meant = cores
            .iter()
            .filter(|core| core.ending().is_none() && is_meant(&core.context));
        let ended = meant.take(most).map(|core| {
            self.inner.take_away(core, Reason::Kicked);
            core.context.clone()
        });
        ended.collect()
    }

    /// Refuses new sessions from now on (`server_draining`), and lets existing ones continue; with
    /// `false` it admits new sessions again. Attempts that are not decided yet are refused, too.
    /// Such refusals use up no budget of an address. Returns whether it was so before.
    ///
    /// A host that is going to stop calls this, waits until [`is_idle`](Self::is_idle) or a
    /// deadline of its own, and then calls [`shutdown`](Self::shutdown).
    pub fn set_draining(&self, draining: bool) -> bool {
        // With the lock, no session starts after this.
        let _registry = self.inner.registry();
        self.inner.draining.swap(draining, SeqCst)
    }

    /// Whether new sessions are refused: see [`set_draining`](Self::set_draining).
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(SeqCst)
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.inner.registry().sessions.is_empty()
    }

    /// The live streams, sorted by key.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamInfo> {
        let cores: Vec<_> = self.inner.registry().publishers.values().cloned().collect();
        let now_ms = self.inner.now_ms();
        let mut streams: Vec<_> = cores
            .iter()
            .filter(|core| core.ending().is_none())
            .map(|core| StreamInfo::of(core, now_ms))
            .collect();
        streams.sort_by(|a, b| a.publisher.key.cmp(&b.publisher.key));
        streams
    }

    /// A page of the live streams that `is_meant` selects, sorted by key: at most `most`, the first
    /// after `after`. Each comes with its publisher's session.
    #[must_use]
    pub fn streams_after(
        &self,
        after: Option<&StreamKey>,
        most: usize,
        is_meant: impl Fn(&SessionContext) -> bool,
    ) -> StreamPage {
        let mut cores: Vec<_> = {
            let registry = self.inner.registry();
            let publishers = registry.publishers.iter();
            let rest = publishers.filter(|(key, _)| after.is_none_or(|after| *key > after));
            rest.map(|(_, core)| core.clone()).collect()
        };
        cores.retain(|core| core.ending().is_none() && is_meant(&core.context));
        let has_more = cores.len() > most;
        if has_more {
            // Only the page is sorted.
            cores.select_nth_unstable_by(most, |a, b| a.context.key.cmp(&b.context.key));
            cores.truncate(most);
        }
        cores.sort_unstable_by(|a, b| a.context.key.cmp(&b.context.key));
        let now_ms = self.inner.now_ms();
        let view = |core: &Arc<SessionCore>| (StreamInfo::of(core, now_ms), SessionInfo::of(core));
        StreamPage {
            streams: cores.iter().map(view).collect(),
            has_more,
        }
    }

    /// A page of the live sessions that `is_meant` selects, in the order in which they started: at
    /// most `most`, the first after `after`, which is [`SessionPage::next`] of the page before. A
    /// session that lives while all pages are read is on exactly one of them.
    #[must_use]
    pub fn sessions_after(
        &self,
        after: Option<u64>,
        most: usize,
        is_meant: impl Fn(&SessionContext) -> bool,
    ) -> SessionPage {
        let mut page = SessionPage::default();
        let mut after = after;
        loop {
            let part = self.inner.registry().part_after(after, PART_OF_SESSIONS);
            let is_last = part.len() < PART_OF_SESSIONS;
            for (number, core) in part {
                if core.ending().is_some() || !is_meant(&core.context) {
                    after = Some(number);
                    continue;
                }
                if page.sessions.len() == most {
                    page.next = after;
                    return page;
                }
                page.sessions.push(SessionInfo::of(&core));
                after = Some(number);
            }
            if is_last {
                return page;
            }
        }
    }

    /// The live sessions, in the order in which they started.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let cores = self.inner.registry().in_order();
        let live = cores.iter().filter(|core| core.ending().is_none());
        live.map(|core| SessionInfo::of(core)).collect()
    }

    /// Counts since the engine was built, live sessions included.
    #[must_use]
    pub fn totals(&self) -> EngineTotals {
        EngineTotals::of(&self.inner)
    }

    /// Bytes that streams keep for their viewers now, as in
    /// [`EngineTotals::buffered_bytes`](crate::EngineTotals), without the cost of the other counts.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.inner.memory.used_bytes()
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        **self.inner.limits.load()
    }

    /// Sets new limits. Existing sessions are not affected.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.memory.set_limit(limits.stream_memory);
        self.inner.limits.store(Arc::new(limits));
    }

    /// The applications and their settings, sorted by name. A pattern is one of them.
    #[must_use]
    pub fn applications(&self) -> Vec<(AppName, Arc<AppSettings>)> {
        let apps = self.inner.apps.load();
        let all = apps.named.iter();
        let mut all: Vec<_> = all.map(|(n, s)| (n.clone(), s.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Adds an application while the engine runs.
    ///
    /// ```
    /// use livetrail_engine::{AppSpec, Engine};
    ///
    /// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
    /// engine.add_application(AppSpec::new("backstage").max_publishers(2))?;
    /// let names: Vec<_> = engine.applications().into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["backstage".parse()?, "live".parse()?]);
    /// assert!(engine.add_application(AppSpec::new("live")).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::DuplicateApp`], and as for the applications of [`EngineBuilder::build`]; nothing
    /// then changes.
    pub fn add_application(&self, spec: AppSpec) -> Result<()> {
        let (name, settings) = spec.check()?;
        let settings = Arc::new(settings);
        let before = self.inner.apps.rcu(|apps| {
            let mut apps = Apps::clone(apps);
            apps.add(name.clone(), settings.clone());
            apps
        });
        match before.named.contains_key(&name) {
            true => Err(Error::DuplicateApp { name }),
            false => Ok(()),
        }
    }

    /// Removes an application: from now on its attempts are refused (`app_not_found`). Existing
    /// sessions continue. Returns whether there was one.
    pub fn remove_application(&self, name: &AppName) -> bool {
        let before = self.inner.apps.rcu(|apps| {
            let mut apps = Apps::clone(apps);
            apps.remove(name);
            apps
        });
        before.named.contains_key(name)
    }

    /// Sets new applications. Existing sessions keep the settings with which they started.
    ///
    /// # Errors
    /// As for the applications of [`EngineBuilder::build`]; nothing then changes.
    pub fn set_applications(&self, specs: impl IntoIterator<Item = AppSpec>) -> Result<()> {
        self.inner.apps.store(Arc::new(check_apps(specs)?));
        Ok(())
    }

    /// Checks idle streams, stalled viewers, and attempts that wait for too long. The engine does
    /// this by itself four times per second on its own thread. For hosts and tests that drive time
    /// themselves.
    pub fn sweep(&self) {
        janitor::sweep(&self.inner);
    }
}

pub(crate) fn check_apps(specs: impl IntoIterator<Item = AppSpec>) -> Result<Apps> {
    let mut apps = Apps::default();
    for spec in specs {
        let (name, settings) = spec.check()?;
        if !apps.add(name.clone(), Arc::new(settings)) {
            return Err(Error::DuplicateApp { name });
        }
    }
    Ok(apps)
}

impl Inner {
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing that can panic runs under this lock; if it did, the maps would still be
        // consistent.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.monotonic().as_millis() as u64
    }

    /// A live session.
    fn live(&self, session: SessionId) -> Result<Arc<SessionCore>> {
        let registry = self.registry();
        let core = registry.sessions.get(&session);
        let core = core.filter(|core| core.ending().is_none());
        core.cloned().ok_or(Error::NoSuchSession)
    }

    /// Ends a session for good: its token, if it has one, opens no other.
    pub(crate) fn take_away(&self, core: &Arc<SessionCore>, reason: Reason) {
        let cause = core.context.token.as_ref().map(|token| {
            let (expires_unix_ms, now_ms) = (token.expires_unix_ms, self.clock.unix_ms());
            self.tokens
                .revoke(token.id, expires_unix_ms, reason.clone(), now_ms);
            StreamEventKind::TokenRevoked { expires_unix_ms }
        });
        core.end_with(cause, reason, None);
    }

    /// A time of the wall clock in milliseconds of the engine's clock; `u64::MAX` without one. A
    /// step of the wall clock after this call does not move it.
    pub(crate) fn until_ms(&self, unix_ms: Option<u64>) -> u64 {
        let left_ms = unix_ms.map(|at| at.saturating_sub(self.clock.unix_ms()));
        left_ms.map_or(u64::MAX, |left| self.now_ms().saturating_add(left))
    }

    /// Removes a session that has ended and whose end was reported.
    pub(crate) fn unregister(&self, core: &SessionCore, reason: &Reason, totals: SessionTotals) {
        let now = self.clock.monotonic();
        let over = self.registry().remove(core, reason, now);
        if let Some(stream) = over {
            stream.close();
        }
        let context = &core.context;
        let sums = self.totals.of(context.role);
        sums.bytes.fetch_add(totals.bytes, Relaxed);
        sums.frames.fetch_add(totals.frames, Relaxed);
        sums.dropped_frames
            .fetch_add(totals.dropped_frames, Relaxed);
        if totals.duration < SHORT && *reason != Reason::ServerShutdown {
            let limits = self.limits.load();
            let (of_address, of_all) = (limits.attempts, limits.short_sessions);
            self.attempts
                .short_session(context, core.paced, of_address, of_all, now);
        }
    }

    /// Reports to all observers. Each transition comes through here, once.
    pub(crate) fn report(&self, context: &Arc<SessionContext>, kind: StreamEventKind) {
        self.totals.count(&kind);
        let mono_ms = self.now_ms();
        let event = StreamEvent::new(context.clone(), kind, self.clock.unix_ms(), mono_ms);
        reporting(|| {
            self.observers.event(&event);
            // An error only means that there are no receivers.
            let _ = self.events.send(event);
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread sees that the engine is gone.
        self.wakeup.notify();
    }
}

impl Totals {
    pub(crate) fn of(&self, role: Role) -> &RoleTotals {
        match role {
            Role::Publish => &self.publish,
            Role::Play => &self.play,
        }
    }

    fn count(&self, kind: &StreamEventKind) {
        let counter = match kind {
            StreamEventKind::PublishStarted => &self.publish.started,
            StreamEventKind::PublishEnded { .. } => &self.publish.ended,
            StreamEventKind::PublishDenied { .. } => &self.publish.denied,
            StreamEventKind::PlayStarted => &self.play.started,
            StreamEventKind::PlayEnded { .. } => &self.play.ended,
            StreamEventKind::PlayDenied { .. } => &self.play.denied,
            StreamEventKind::SubscriberLagged { .. } => &self.lag_skips,
            StreamEventKind::SubscriberEvicted { .. } => &self.evictions,
            StreamEventKind::StreamReaped { .. } => &self.reaped,
            StreamEventKind::RateLimited { .. } => &self.rate_limited,
            StreamEventKind::GopTruncated { .. }
            | StreamEventKind::TokenShared { .. }
            | StreamEventKind::TokenRevoked { .. } => return,
        };
        counter.fetch_add(1, Relaxed);
    }
}
