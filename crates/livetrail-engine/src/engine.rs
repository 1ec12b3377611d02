//! The engine: applications, live streams, sessions, admission.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::broadcast;

use crate::{
    admit::{Attempt, Denied, Gate, MAX_USER_AGENT_BYTES},
    app::{AppSettings, AppSpec, DuplicatePublisher},
    auth::{Authenticator, Verdict},
    builder::{EngineBuilder, Limits},
    bus::{Budget, Stream},
    clock::Clock,
    error::{Error, Result},
    event::{Detail, Reason, Role, SessionContext, StreamEvent, StreamEventKind, clean},
    identity::{AppName, SessionId, StreamKey},
    info::{EngineTotals, SessionInfo, StreamInfo},
    janitor,
    observe::Observers,
    session::{Playback, Publication, SessionCore},
};

/// A streaming engine. Cloning gives another handle to the same engine; many engines can live in one process.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) type Apps = HashMap<AppName, Arc<AppSettings>>;

/// What all handles and sessions of an engine share.
pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Observers,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) gates: Vec<Arc<dyn Gate>>,
    pub(crate) apps: ArcSwap<Apps>,
    pub(crate) limits: ArcSwap<Limits>,
    /// What streams keep; its limit is one of the above.
    pub(crate) memory: Arc<Budget>,
    pub(crate) events: broadcast::Sender<StreamEvent>,
    pub(crate) registry: Mutex<Registry>,
    pub(crate) totals: Totals,
    /// It is at work.
    pub(crate) janitor: AtomicBool,
}

/// Who is there. Bounded by the limits on publishers and subscribers, and by what the gateways let in.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) closed: bool,
    pub(crate) publishers: HashMap<StreamKey, Arc<SessionCore>>,
    pub(crate) sessions: HashMap<SessionId, Arc<SessionCore>>,
}

/// Sums over sessions that have ended, and counts of what happened.
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
    /// Begins to configure an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    /// Asks to send a stream.
    ///
    /// Asks the authenticators, then the limits; reports `PublishStarted`; then asks the gates. If the returned future is
    /// dropped on the way, the attempt is reported as given up by its client.
    ///
    /// # Errors
    /// [`Denied`], already reported to all observers.
    pub async fn publish(&self, attempt: Attempt) -> Result<Publication, Denied> {
        let core = self.inner.admit(Role::Publish, attempt).await?;
        let publication = Publication::new(core.clone());
        self.inner.pass_gates(&core).await?;
        Ok(publication)
    }

    /// Asks to watch a stream. The same steps as [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`Denied`], already reported to all observers.
    pub async fn play(&self, attempt: Attempt) -> Result<Playback, Denied> {
        let core = self.inner.admit(Role::Play, attempt).await?;
        let mut playback = Playback::new(core.clone());
        self.inner.pass_gates(&core).await?;
        playback.rejoin();
        Ok(playback)
    }

    /// Refuses an attempt that a gateway could not make: its name is not a name
    /// ([`StreamKey::sanitized`] gives one that stands for it), or its request cannot be decoded. Reported as one
    /// `*_denied`, like any refusal.
    pub fn refuse(&self, role: Role, attempt: Attempt, reason: Reason) -> Denied {
        let context = self.inner.context_of(role, &attempt);
        self.inner.report_denied(&context, reason, None);
        Denied::of(&context, reason)
    }

    /// The clock of this engine, for what else tells the time of its sessions.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock.clone()
    }

    /// Every event from now on. A receiver that is more than 1,024 events behind loses the oldest, and is told so; an
    /// audit trail is an [`Observer`](crate::Observer) instead.
    #[must_use]
    pub fn subscribe_events(&self) -> broadcast::Receiver<StreamEvent> {
        self.inner.events.subscribe()
    }

    /// Ends a session (`kicked`).
    ///
    /// # Errors
    /// [`Error::NoSuchSession`] when no live session has this id.
    pub fn kick(&self, session: SessionId) -> Result<()> {
        let core = self
            .inner
            .registry()
            .sessions
            .get(&session)
            .cloned()
            .ok_or(Error::NoSuchSession)?;
        core.end(Reason::Kicked);
        Ok(())
    }

    /// The live streams, sorted by key.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamInfo> {
        let cores: Vec<_> = self.inner.registry().publishers.values().cloned().collect();
        let now_ms = self.inner.clock.monotonic().as_millis() as u64;
        let mut streams: Vec<_> = cores
            .iter()
            .map(|core| StreamInfo::of(core, now_ms))
            .collect();
        streams.sort_by(|a, b| a.publisher.key.cmp(&b.publisher.key));
        streams
    }

    /// The live sessions, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let cores: Vec<_> = self.inner.registry().sessions.values().cloned().collect();
        let mut sessions: Vec<_> = cores.iter().map(|core| SessionInfo::of(core)).collect();
        sessions.sort_by_key(|s| s.context.session);
        sessions
    }

    /// Counts since the engine was built, live sessions included.
    #[must_use]
    pub fn totals(&self) -> EngineTotals {
        EngineTotals::of(&self.inner)
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        **self.inner.limits.load()
    }

    /// Puts other limits in force. Sessions that run already are left alone.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.memory.set_limit(limits.stream_memory);
        self.inner.limits.store(Arc::new(limits));
    }

    /// Puts other applications in force. Sessions that run already keep the settings that they began with.
    ///
    /// # Errors
    /// What [`EngineBuilder::build`] says of applications; nothing is changed then.
    pub fn set_applications(&self, specs: impl IntoIterator<Item = AppSpec>) -> Result<()> {
        self.inner.apps.store(Arc::new(check_apps(specs)?));
        Ok(())
    }

    /// Looks after idle streams and stalled subscribers, as the engine does by itself four times a second in a tokio
    /// runtime. For hosts and tests that drive time themselves.
    pub fn sweep(&self) {
        janitor::sweep(&self.inner);
    }

    /// Stops: refuses new attempts, ends all sessions (`server_shutdown`), and lets observers flush, until `deadline`.
    ///
    /// True if all of that was done in time.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let mut cores: Vec<_> = {
            let mut registry = self.inner.registry();
            registry.closed = true;
            registry.sessions.values().cloned().collect()
        };
        // Oldest first, so that the trail of an end reads as that of a beginning.
        cores.sort_unstable_by_key(|core| core.context.session);
        // Viewers before: otherwise they would end because their stream did.
        let (viewers, publishers): (Vec<_>, Vec<_>) =
            cores.iter().partition(|c| c.context.role == Role::Play);
        for core in viewers.into_iter().chain(publishers) {
            core.end(Reason::ServerShutdown);
        }
        tokio::time::timeout(deadline, self.inner.observers.flush())
            .await
            .is_ok()
    }
}

pub(crate) fn check_apps(specs: impl IntoIterator<Item = AppSpec>) -> Result<Apps> {
    let mut apps = Apps::new();
    for spec in specs {
        let (name, settings) = spec.check()?;
        if apps.insert(name.clone(), Arc::new(settings)).is_some() {
            return Err(Error::DuplicateApp { name });
        }
    }
    Ok(apps)
}

/// An attempt that nobody has judged yet. Dropped so, it was given up, or a panic came between: reported as a refusal,
/// because every attempt has an outcome.
struct Pending<'a> {
    engine: &'a Inner,
    context: Arc<SessionContext>,
    judged: bool,
}

impl Pending<'_> {
    fn deny(mut self, reason: Reason) -> Denied {
        self.judged = true;
        self.engine.report_denied(&self.context, reason, None);
        Denied::of(&self.context, reason)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.judged {
            let reason = if std::thread::panicking() {
                Reason::InternalError
            } else {
                Reason::ClientClosed
            };
            self.engine.report_denied(&self.context, reason, None);
        }
    }
}

impl Inner {
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing that can panic runs under this lock; if it did, the maps are still whole.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn admit(
        self: &Arc<Self>,
        role: Role,
        attempt: Attempt,
    ) -> Result<Arc<SessionCore>, Denied> {
        let mut pending = Pending {
            engine: self,
            context: self.context_of(role, &attempt),
            judged: false,
        };

        let Some(settings) = self.apps.load().get(&attempt.key.app).cloned() else {
            return Err(pending.deny(Reason::AppNotFound));
        };
        match self.authenticate(role, &attempt).await {
            Ok(principal) => {
                let mut context = SessionContext::clone(&pending.context);
                context.principal = principal;
                pending.context = Arc::new(context);
            }
            Err(reason) => return Err(pending.deny(reason)),
        }
        let registered = match role {
            Role::Publish => self.start_publish(&pending.context, settings),
            Role::Play => self.start_play(&pending.context),
        };
        match registered {
            Ok(core) => {
                janitor::ensure(self);
                pending.judged = true;
                Ok(core)
            }
            Err(reason) => Err(pending.deny(reason)),
        }
    }

    /// Who and what an attempt is, as it is recorded.
    fn context_of(&self, role: Role, attempt: &Attempt) -> Arc<SessionContext> {
        let session = SessionId::at(self.clock.unix_ms());
        let mut context = SessionContext::new(session, role, attempt.key.clone());
        context.protocol = attempt.protocol;
        context.peer = attempt.peer;
        let agent = attempt.user_agent.as_deref();
        context.user_agent = agent.map(|text| clean(text, MAX_USER_AGENT_BYTES).into());
        Arc::new(context)
    }

    async fn authenticate(
        &self,
        role: Role,
        attempt: &Attempt,
    ) -> Result<Option<Arc<str>>, Reason> {
        if self.authenticators.is_empty() {
            return Ok(None);
        }
        for authenticator in &self.authenticators {
            let verdict = match authenticator.judge_locally(role, attempt) {
                Some(verdict) => verdict,
                None => authenticator.authenticate(role, attempt).await,
            };
            match verdict {
                Verdict::Allow(principal) => return Ok(principal),
                Verdict::Deny(reason) => return Err(reason),
                Verdict::Abstain => {}
            }
        }
        Err(Reason::Unauthorized)
    }

    async fn pass_gates(&self, core: &Arc<SessionCore>) -> Result<(), Denied> {
        for gate in &self.gates {
            if let Err(reason) = gate.confirm(&core.context).await {
                core.end(reason);
            }
            if let Some(reason) = core.end_reason() {
                return Err(Denied::of(&core.context, reason));
            }
        }
        Ok(())
    }

    fn start_publish(
        self: &Arc<Self>,
        context: &Arc<SessionContext>,
        settings: Arc<AppSettings>,
    ) -> Result<Arc<SessionCore>, Reason> {
        let replace = settings.duplicate_publisher == DuplicatePublisher::Replace;
        let now_ms = self.clock.monotonic().as_millis() as u64;
        let stream = Arc::new(Stream::new(settings, self.memory.open(), now_ms));
        let core = Arc::new(SessionCore::new(context.clone(), stream, self.clone()));
        loop {
            let present = self.registry().publishers.get(&context.key).cloned();
            match present {
                Some(old) if replace => old.end(Reason::Replaced),
                Some(_) => return Err(Reason::AlreadyPublishing),
                None => {}
            }
            match core.start(|| self.register_publisher(&core)) {
                Ok(()) => return Ok(core),
                // Somebody else was faster; that one is now the old one.
                Err(Reason::AlreadyPublishing) if replace => {}
                Err(reason) => return Err(reason),
            }
        }
    }

    fn register_publisher(&self, core: &Arc<SessionCore>) -> Result<(), Reason> {
        let mut registry = self.registry();
        if registry.closed {
            return Err(Reason::ServerShutdown);
        }
        if registry.publishers.contains_key(&core.context.key) {
            return Err(Reason::AlreadyPublishing);
        }
        if registry.publishers.len() >= self.limits.load().max_publishers {
            return Err(Reason::LimitReached);
        }
        if !self.memory.has_room() {
            return Err(Reason::MemoryLimit);
        }
        registry
            .publishers
            .insert(core.context.key.clone(), core.clone());
        registry.sessions.insert(core.context.session, core.clone());
        Ok(())
    }

    fn start_play(
        self: &Arc<Self>,
        context: &Arc<SessionContext>,
    ) -> Result<Arc<SessionCore>, Reason> {
        let publisher = self.registry().publishers.get(&context.key).cloned();
        let stream = publisher.ok_or(Reason::StreamNotFound)?.stream.clone();
        let core = Arc::new(SessionCore::new(context.clone(), stream, self.clone()));
        core.start(|| {
            let mut registry = self.registry();
            if registry.closed {
                return Err(Reason::ServerShutdown);
            }
            if core.stream.is_closed() {
                return Err(Reason::StreamNotFound);
            }
            if core.stream.subscribers.load(Relaxed)
                >= self.limits.load().max_subscribers_per_stream as u64
            {
                return Err(Reason::LimitReached);
            }
            // Under the registry's lock, so the limit cannot be passed by two at once.
            core.stream.subscribers.fetch_add(1, Relaxed);
            registry.sessions.insert(core.context.session, core.clone());
            Ok(())
        })?;
        Ok(core)
    }

    /// A session has ended, and its end was reported.
    pub(crate) fn unregister(&self, core: &SessionCore) {
        let (context, totals) = (&core.context, core.totals());
        {
            let mut registry = self.registry();
            registry.sessions.remove(&context.session);
            if context.role == Role::Publish {
                registry.publishers.remove(&context.key);
            } else {
                core.stream.subscribers.fetch_sub(1, Relaxed);
            }
        }
        if context.role == Role::Publish {
            core.stream.close();
        }
        let sums = self.totals.of(context.role);
        sums.bytes.fetch_add(totals.bytes, Relaxed);
        sums.frames.fetch_add(totals.frames, Relaxed);
        sums.dropped_frames
            .fetch_add(totals.dropped_frames, Relaxed);
    }

    fn report_denied(&self, context: &Arc<SessionContext>, reason: Reason, detail: Option<Detail>) {
        self.report(
            context,
            StreamEventKind::denied(context.role, reason, detail),
        );
    }

    /// Tells everybody. Each transition comes through here, once.
    pub(crate) fn report(&self, context: &Arc<SessionContext>, kind: StreamEventKind) {
        self.totals.count(&kind);
        let mono_ms = self.clock.monotonic().as_millis() as u64;
        let event = StreamEvent::new(context.clone(), kind, self.clock.unix_ms(), mono_ms);
        self.observers.event(&event);
        // An error only says that nobody listens.
        let _ = self.events.send(event);
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
            StreamEventKind::GopTruncated { .. } => return,
        };
        counter.fetch_add(1, Relaxed);
    }
}
