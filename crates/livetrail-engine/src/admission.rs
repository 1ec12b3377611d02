//! Admission: from a client's attempt to a session, or to a refusal that is on record.
//!
//! 1. The engine must not be draining, another server must not have passed the stream to this one
//!    before, and the application must exist. Otherwise: `*_denied`.
//! 2. The address's budget (see `attempts`) must not be used up, unless an authenticator that
//!    decides locally admits the attempt. Otherwise: `*_denied`, after a delay.
//! 3. The authenticators decide, in order, unless the host itself has admitted the attempt. If one
//!    denies, none allows, or none answers in time: `*_denied`.
//! 4. Short sessions have a pace (see `attempts`). If too many attempts wait: `*_denied`.
//! 5. Limits are checked, and whether the stream has a publisher already. Otherwise: `*_denied`.
//! 6. The session is registered, and its start is reported.
//! 7. The gates decide, in order. If one refuses or is overdue, the session ends.
//! 8. A publisher that replaces another takes the stream over. If another was faster, the session
//!    ends.
//!
//! Each wait in between is given up if the client is gone (the future is dropped), if the session
//! ends, if the engine stops, and at the deadline.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    task::Poll,
    time::Duration,
};

use crate::{
    admit::{Attempt, Denied},
    app::{AppSettings, DuplicatePublisher},
    attempts::{Address, DELAY, Pace},
    auth::{Admission, Verdict},
    builder::Limits,
    bus::{Stream, Writer},
    egress::EgressCap,
    engine::Inner,
    event::{Reason, Role, SessionContext, of_host},
    grant::Grant,
    hops::Hops,
    janitor,
    lease::Lease,
    lifecycle::SessionCore,
    registry::Registry,
    session::{Playback, Publication},
    timers::{Outcome, Purpose, Ticket},
    viewing::{Viewing, lease_ms},
};

/// How long a publisher that continues another's stream waits until the other's handle is gone.
const HANDOVER: Duration = Duration::from_secs(2);

/// An attempt that is not decided yet. If it is dropped in this state, its client gave it up, or a
/// panic occurred: it is then reported as a refusal, because each attempt has an outcome.
struct Pending<'a> {
    engine: &'a Arc<Inner>,
    context: Arc<SessionContext>,
    limits: Limits,
    /// The deadline of the decision, in the process's time and on the engine's clock.
    deadline: Option<Duration>,
    clock_deadline: Option<Duration>,
    /// Set if the address is over its budget: when it has one attempt again.
    over: Option<Duration>,
    judged: bool,
    /// It is counted in `Inner::deciding`: a stop waits for it.
    counted: bool,
    /// The lease of a viewer without a cursor.
    lease: Option<Duration>,
    /// The terms of the authenticator that admitted it.
    admission: Admission,
}

impl<'a> Pending<'a> {
    fn new(engine: &'a Arc<Inner>, role: Role, attempt: &Attempt) -> Self {
        // This comes before the check whether the engine stops: a stop checks in the opposite
        // order.
        engine.deciding.fetch_add(1, SeqCst);
        let limits = **engine.limits.load();
        let timeout = limits.admission_timeout;
        let at = |now: Duration| {
            (!timeout.is_zero())
                .then(|| now.checked_add(timeout))
                .flatten()
        };
        let now = engine.clock.monotonic();
        let address = attempt.peer.map(Address::of);
        Self {
            context: engine.context_of(role, attempt),
            limits,
            deadline: at(engine.timers.now()),
            clock_deadline: at(now),
            over: engine.attempts.over(address, limits.attempts, now),
            judged: false,
            counted: true,
            lease: None,
            admission: Admission::anyone(),
            engine,
        }
    }

    fn address(&self) -> Option<Address> {
        Address::of_session(&self.context)
    }

    /// Notes whether the other server's name is proven. The host knows to whom it has connected.
    fn prove_hops(&mut self, is_hosts_own: bool) {
        let Some(hops) = &self.context.hops else {
            return;
        };
        let proven = is_hosts_own || hops.are_proven_by(self.context.principal.as_deref());
        if proven != hops.proven {
            let mut hops = Hops::clone(hops);
            hops.proven = proven;
            let mut context = SessionContext::clone(&self.context);
            context.hops = Some(Arc::new(hops));
            self.context = Arc::new(context);
        }
    }

    /// Reports the refusal, and delays it if its address is over its budget.
    async fn deny(mut self, reason: Reason) -> Denied {
        let reason = match reason {
            // An address over its budget learns nothing.
            Reason::Unauthorized
            | Reason::AppNotFound
            | Reason::StreamNotFound
            | Reason::AddressDenied
            | Reason::BadName
            | Reason::Other(_)
                if self.over.is_some() =>
            {
                Reason::RateLimited
            }
            other => other,
        };
        let mut denied = Denied::of(&self.context, reason.clone());
        if self.judged {
            // Another party stopped the attempt, and reported that.
            return denied;
        }
        self.judged = true;
        self.engine.refuse(&self.context, reason);
        let Some(wait) = self.over else {
            return denied;
        };
        denied.retry_after = Some(at_least_a_second(wait));
        let (engine, address) = (self.engine.clone(), self.address());
        drop(self);
        let delayed = address.and_then(|address| engine.attempts.delay(address));
        if delayed.is_some() {
            engine.sleep(DELAY).await;
        }
        denied
    }

    /// Waits for `what` until this attempt's deadline. An error is the reason of the refusal; it
    /// has been reported, unless the engine had stopped before.
    async fn wait<T>(&mut self, what: impl Future<Output = T>, late: Reason) -> Result<T, Reason> {
        let mut what = std::pin::pin!(what);
        if let Poll::Ready(done) = poll_once(what.as_mut()).await {
            return Ok(done);
        }
        let engine = self.engine;
        let purpose = Purpose::Attempt(self.context.clone(), late);
        let Some(held) = engine.hold(purpose, self.deadline, self.clock_deadline) else {
            return Err(Reason::ServerShutdown);
        };
        // The thread that settles the ticket decides: it stops waiting attempts and must not wait
        // for this one.
        self.uncount();
        let settle = Settle {
            ticket: &held.ticket,
            judged: &mut self.judged,
        };
        let done = poll_fn(|cx| match held.ticket.poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => what.as_mut().poll(cx).map(Some),
        })
        .await;
        drop(settle);
        match (held.ticket.outcome(), done) {
            (Some(Outcome::Stopped(reason)), _) => Err(reason),
            (_, Some(done)) => {
                self.count();
                Ok(done)
            }
            (_, None) => Err(Reason::InternalError),
        }
    }

    fn count(&mut self) {
        if !self.counted {
            self.engine.deciding.fetch_add(1, SeqCst);
            self.counted = true;
        }
    }

    fn uncount(&mut self) {
        if self.counted {
            self.engine.deciding.fetch_sub(1, SeqCst);
            self.counted = false;
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.judged {
            let reason = SessionCore::drop_reason();
            self.engine.refuse(&self.context, reason);
        }
        self.uncount();
    }
}

/// Polls a future once, without a ticket: most are ready at once.
async fn poll_once<F: Future>(mut what: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(what.as_mut().poll(cx))).await
}

/// A ticket that is returned when it is dropped.
pub(crate) struct Held<'a> {
    engine: &'a Arc<Inner>,
    pub(crate) ticket: Arc<Ticket>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.engine.timers.remove(&self.ticket);
    }
}

/// Settles an attempt's ticket when the awaited result is there, or nobody waits any more.
struct Settle<'a> {
    ticket: &'a Ticket,
    judged: &'a mut bool,
}

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        // If another thread was faster, the attempt is refused, and that is reported.
        *self.judged |= !self.ticket.settle(Outcome::Came);
    }
}

/// A session whose gates have not all admitted it. If it is dropped in this state, its client is
/// gone.
struct Entering {
    core: Arc<SessionCore>,
    entered: bool,
}

impl Drop for Entering {
    fn drop(&mut self) {
        if !self.entered {
            self.core.end(SessionCore::drop_reason());
        }
    }
}

/// A registered session, and the deadline for its gates.
struct Admitted {
    core: Arc<SessionCore>,
    deadline: Option<Duration>,
    clock_deadline: Option<Duration>,
}

impl Inner {
    pub(crate) async fn publish(self: &Arc<Self>, attempt: Attempt) -> Result<Publication, Denied> {
        let admitted = self.admit(Role::Publish, attempt, None).await?;
        let core = &admitted.core;
        let mut entering = Entering {
            core: core.clone(),
            entered: false,
        };
        self.pass_gates(&admitted).await?;
        self.take_over(core).await?;
        let writer = self.writer_of(core).await?;
        entering.entered = true;
        core.admitted_ms.store(self.now_ms(), Relaxed);
        Ok(Publication::new(core.clone(), writer))
    }

    pub(crate) async fn play(self: &Arc<Self>, attempt: Attempt) -> Result<Playback, Denied> {
        let admitted = self.admit(Role::Play, attempt, None).await?;
        // Its session ends when it is dropped.
        let mut playback = Playback::new(admitted.core.clone());
        self.pass_gates(&admitted).await?;
        playback.rejoin();
        Ok(playback)
    }

    pub(crate) async fn watch(
        self: &Arc<Self>,
        attempt: Attempt,
        lease: Duration,
    ) -> Result<Viewing, Denied> {
        let admitted = self.admit(Role::Play, attempt, Some(lease)).await?;
        // Its session ends when it is dropped.
        let viewing = Viewing::new(admitted.core.clone());
        self.pass_gates(&admitted).await?;
        // The lease starts now.
        viewing.renew();
        if let Some(peer) = admitted.core.context.peer {
            viewing.see(peer);
        }
        Ok(viewing)
    }

    pub(crate) async fn authorize(
        self: &Arc<Self>,
        mut attempt: Attempt,
    ) -> Result<Admission, Denied> {
        let mut pending = Pending::new(self, Role::Play, &attempt);
        attempt.key = pending.context.key.clone();
        attempt.session = Some(pending.context.session);
        match self.would_admit(&mut pending, &attempt).await {
            Ok(admission) => {
                // There is no session, so there is nothing to report.
                pending.judged = true;
                Ok(admission)
            }
            Err(reason) => Err(pending.deny(reason).await),
        }
    }

    /// The steps of a viewer's admission that say who it is and what there is to watch.
    async fn would_admit(
        &self,
        pending: &mut Pending<'_>,
        attempt: &Attempt,
    ) -> Result<Admission, Reason> {
        let settings = self.may_ask(attempt)?;
        let admission = self.identify(pending, Role::Play, attempt).await?;
        let is_there = self.registry().stream_to_watch(&attempt.key).is_some();
        if is_there {
            return Ok(admission);
        }
        if settings.wait_for_publisher.is_zero() {
            return Err(Reason::StreamNotFound);
        }
        let viewer = pending.context.clone();
        for gate in &self.gates {
            let prepared = gate.prepare(&viewer);
            let prepared = pending.wait(prepared, of_host(gate.overdue(), Role::Play));
            prepared
                .await?
                .map_err(|reason| of_host(reason, Role::Play))?;
        }
        Ok(admission)
    }

    async fn admit(
        self: &Arc<Self>,
        role: Role,
        mut attempt: Attempt,
        lease: Option<Duration>,
    ) -> Result<Admitted, Denied> {
        let mut pending = Pending::new(self, role, &attempt);
        pending.lease = lease;
        attempt.key = pending.context.key.clone();
        attempt.session = Some(pending.context.session);
        match self.decide(&mut pending, role, &attempt).await {
            Ok(core) => {
                pending.judged = true;
                janitor::ensure(self);
                Ok(Admitted {
                    core,
                    deadline: pending.deadline,
                    clock_deadline: pending.clock_deadline,
                })
            }
            Err(reason) => Err(pending.deny(reason).await),
        }
    }

    async fn decide(
        self: &Arc<Self>,
        pending: &mut Pending<'_>,
        role: Role,
        attempt: &Attempt,
    ) -> Result<Arc<SessionCore>, Reason> {
        let settings = self.may_ask(attempt)?;
        loop {
            let revocations = self.registry().revocations;
            let admission = self.identify(pending, role, attempt).await?;
            pending.prove_hops(attempt.admission.is_some());
            pending.admission = admission;
            let paced = self.keep_pace(pending).await?;
            let started = match role {
                Role::Publish => self.start_publish(pending, &settings, revocations, paced),
                Role::Play => self.start_play(pending, &settings, revocations, paced),
            };
            // Credentials were revoked meanwhile, possibly these.
            if let Some(started) = started {
                return started;
            }
        }
    }

    /// Whether an attempt may ask the authenticators. Returns its application's settings.
    fn may_ask(&self, attempt: &Attempt) -> Result<Arc<AppSettings>, Reason> {
        if self.stopping.load(SeqCst) {
            return Err(Reason::ServerShutdown);
        }
        if self.draining.load(SeqCst) {
            return Err(Reason::ServerDraining);
        }
        let hops = attempt.hops.as_ref();
        if hops.is_some_and(|hops| hops.forbid(self.node.as_deref())) {
            return Err(Hops::refusal());
        }
        if self.reserved.contains(&attempt.key.app) {
            return Err(Reason::BadName);
        }
        let app = self.apps.load().get(&attempt.key.app).cloned();
        app.ok_or(Reason::AppNotFound)
    }

    /// Asks the authenticators, and notes who it is.
    async fn identify(
        &self,
        pending: &mut Pending<'_>,
        role: Role,
        attempt: &Attempt,
    ) -> Result<Admission, Reason> {
        let admission = self.authenticate(pending, role, attempt).await?;
        if pending.context.principal != admission.principal {
            let mut context = SessionContext::clone(&pending.context);
            context.principal.clone_from(&admission.principal);
            pending.context = Arc::new(context);
        }
        Ok(admission)
    }

    async fn authenticate(
        &self,
        pending: &mut Pending<'_>,
        role: Role,
        attempt: &Attempt,
    ) -> Result<Admission, Reason> {
        if let Some(admission) = &attempt.admission {
            return Ok(admission.clone());
        }
        if self.authenticators.is_empty() {
            return Ok(Admission::anyone());
        }
        for authenticator in &self.authenticators {
            let verdict = match authenticator.judge_locally(role, attempt) {
                Some(verdict) => verdict,
                // No outside service is asked, and no authenticator is skipped either.
                None if pending.over.is_some() => return Err(Reason::RateLimited),
                None => {
                    let asked = authenticator.authenticate(role, attempt);
                    pending.wait(asked, Reason::AuthUnavailable).await?
                }
            };
            match verdict {
                Verdict::Allow(admission) => return Ok(admission),
                Verdict::Deny(reason) => return Err(of_host(reason, role)),
                Verdict::Abstain => {}
            }
        }
        Err(Reason::Unauthorized)
    }

    /// Waits for this attempt's turn if there are too many short sessions. Returns whether it had
    /// to wait.
    async fn keep_pace(self: &Arc<Self>, pending: &mut Pending<'_>) -> Result<bool, Reason> {
        let rate = pending.limits.short_sessions;
        let now = self.clock.monotonic();
        match self.attempts.pace(&pending.context, rate, now) {
            Pace::Go => Ok(false),
            Pace::Wait(wait) => {
                let turn = self.sleep(wait);
                pending.wait(turn, Reason::RateLimited).await?;
                Ok(true)
            }
            Pace::Refuse(wait) => {
                pending.over = Some(wait);
                Err(Reason::RateLimited)
            }
        }
    }

    /// Registers a publisher and reports its start. Returns `None` if credentials were revoked
    /// since `revocations`.
    fn start_publish(
        self: &Arc<Self>,
        pending: &Pending<'_>,
        settings: &Arc<AppSettings>,
        revocations: u64,
        paced: bool,
    ) -> Option<Result<Arc<SessionCore>, Reason>> {
        let context = pending.context.clone();
        let fresh = self.new_stream(settings);
        let core = {
            let mut registry = self.registry();
            if registry.closed {
                return Some(Err(Reason::ServerShutdown));
            }
            if self.draining.load(SeqCst) {
                return Some(Err(Reason::ServerDraining));
            }
            if registry.revocations != revocations {
                return None;
            }
            let resumed = registry.stream_to_resume(&context.key, settings);
            let resumes = resumed.is_some();
            let stream = resumed.unwrap_or(fresh);
            let grant = self.grant_of(&pending.admission);
            let core = SessionCore::new(context, stream, self.clone(), grant, paced, None);
            let core = Arc::new(core.resuming(resumes));
            let limits = self.limits.load();
            let may_replace = |old: &SessionCore| may_replace(&core, old);
            if let Err(reason) = registry.add_publisher(&core, &limits, may_replace) {
                return Some(Err(reason));
            }
            core
        };
        core.report_start();
        Some(Ok(core))
    }

    /// Registers a viewer and reports its start. Returns `None` if credentials were revoked since
    /// `revocations`.
    fn start_play(
        self: &Arc<Self>,
        pending: &Pending<'_>,
        settings: &Arc<AppSettings>,
        revocations: u64,
        paced: bool,
    ) -> Option<Result<Arc<SessionCore>, Reason>> {
        let mut context = pending.context.clone();
        let core = {
            let mut registry = self.registry();
            if registry.closed {
                return Some(Err(Reason::ServerShutdown));
            }
            if self.draining.load(SeqCst) {
                return Some(Err(Reason::ServerDraining));
            }
            if registry.revocations != revocations {
                return None;
            }
            // With the registry's lock, so that a revocation finds the session, or the session the
            // revocation.
            if let Some(reason) = context
                .token
                .as_ref()
                .and_then(|token| self.tokens.revoked(token))
            {
                return Some(Err(reason));
            }
            let limits = self.limits.load();
            let stream = match registry.stream_to_watch(&context.key) {
                Some(stream) => stream,
                None if settings.wait_for_publisher.is_zero() => {
                    return Some(Err(Reason::StreamNotFound));
                }
                None => match self.wait_for_stream(&mut registry, &context, settings) {
                    Ok(stream) => stream,
                    Err(reason) => return Some(Err(reason)),
                },
            };
            let waits = stream.publishers.load(Relaxed) == 0;
            if waits && registry.kept.viewers() >= limits.max_waiting_viewers as u64 {
                return Some(Err(Reason::LimitReached));
            }
            let cap = EgressCap::smallest([
                limits.viewer_bits_per_second,
                settings.viewer_bits_per_second,
                pending.admission.limits.viewer_bits_per_second.unwrap_or(0),
            ]);
            self.add_resumed(&mut context);
            let core = Arc::new(SessionCore::new(
                context,
                stream,
                self.clone(),
                self.grant_of(&pending.admission).capped(cap),
                paced,
                pending.lease.map(|lease| Lease::new(lease_ms(lease))),
            ));
            if let Err(reason) = registry.add_viewer(&core, &limits) {
                return Some(Err(reason));
            }
            if let Some(token) = &core.context.token {
                let now_ms = self.clock.unix_ms();
                self.tokens.opened(token, core.context.session, now_ms);
            }
            core
        };
        core.report_start();
        Some(Ok(core))
    }

    /// Adds the session that a viewer's token opened before.
    fn add_resumed(&self, context: &mut Arc<SessionContext>) {
        let Some(token) = context.token.as_deref() else {
            return;
        };
        if let Some(before) = self.tokens.last(token) {
            let mut resumed = SessionContext::clone(context);
            resumed.token = Some(Arc::new(token.resuming(before)));
            *context = Arc::new(resumed);
        }
    }

    /// What an admission means for a session that starts now.
    fn grant_of(&self, admission: &Admission) -> Grant {
        let ends = admission
            .expires_unix_ms
            .filter(|_| admission.end_at_expiry);
        Grant::new(self.until_ms(ends), admission.limits)
    }

    fn new_stream(&self, settings: &Arc<AppSettings>) -> Arc<Stream> {
        let memory = self.memory.open();
        Arc::new(Stream::new(settings.clone(), memory, self.now_ms()))
    }

    /// Makes a stream for viewers that come before its first publisher.
    fn wait_for_stream(
        &self,
        registry: &mut Registry,
        context: &SessionContext,
        settings: &Arc<AppSettings>,
    ) -> Result<Arc<Stream>, Reason> {
        let stream = self.new_stream(settings);
        if !self.memory.has_room() {
            return Err(Reason::MemoryLimit);
        }
        let grace = settings.wait_for_publisher;
        let until = self.clock.monotonic().saturating_add(grace);
        if registry.kept.wait(&context.key, &stream, until) {
            Ok(stream)
        } else {
            Err(Reason::LimitReached)
        }
    }

    /// Returns the writer of a publisher's stream. A publisher that continues another's stream
    /// waits until the other's handle is gone.
    async fn writer_of(self: &Arc<Self>, core: &Arc<SessionCore>) -> Result<Writer, Denied> {
        if !core.resumes {
            return Ok(Writer::new(core.stream.clone()));
        }
        let mut late = std::pin::pin!(self.sleep(HANDOVER));
        loop {
            let mut parked = std::pin::pin!(self.parked.notified());
            parked.as_mut().enable();
            if core.ending().is_none() {
                let mut registry = self.registry();
                if let Some(writer) = registry.kept.take_writer(&core.context.key, &core.stream) {
                    return Ok(writer);
                }
            }
            let mut ended = std::pin::pin!(core.wait_for_end());
            let stopped = poll_fn(|cx| {
                if ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                if late.as_mut().poll(cx).is_ready() {
                    core.end(Reason::AlreadyPublishing);
                    return Poll::Ready(true);
                }
                parked.as_mut().poll(cx).map(|()| false)
            })
            .await;
            if stopped {
                let reason = core.wait_for_end().await;
                return Err(Denied::of(&core.context, reason));
            }
        }
    }

    /// Keeps the writer of a publisher whose handle is gone.
    pub(crate) fn park(&self, core: &SessionCore, writer: Writer) {
        if core.stream.settings.wait_for_publisher.is_zero() {
            return;
        }
        self.registry()
            .kept
            .park(&core.context.key, &core.stream, writer);
        self.parked.notify_waiters();
    }

    async fn pass_gates(self: &Arc<Self>, admitted: &Admitted) -> Result<(), Denied> {
        let core = &admitted.core;
        for gate in &self.gates {
            let mut confirmed = std::pin::pin!(gate.confirm(&core.context));
            let answer = match poll_once(confirmed.as_mut()).await {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => {
                    let purpose =
                        Purpose::Gate(core.clone(), of_host(gate.overdue(), core.context.role));
                    // Without a ticket the engine is stopping, and ends this session.
                    let _held = self.hold(purpose, admitted.deadline, admitted.clock_deadline);
                    let mut ended = std::pin::pin!(core.wait_for_end());
                    poll_fn(|cx| match ended.as_mut().poll(cx) {
                        Poll::Ready(_) => Poll::Ready(None),
                        Poll::Pending => confirmed.as_mut().poll(cx).map(Some),
                    })
                    .await
                }
            };
            if let Some(Err(reason)) = answer {
                core.end(of_host(reason, core.context.role));
            }
            if core.ending().is_some() {
                let reason = core.wait_for_end().await;
                return Err(Denied::of(&core.context, reason));
            }
        }
        Ok(())
    }

    /// Ends the publisher that this one replaces, if there is one.
    async fn take_over(&self, core: &Arc<SessionCore>) -> Result<(), Denied> {
        if core.standby.load(Relaxed) {
            let may_replace = |old: &SessionCore| may_replace(core, old);
            let taken = self.registry().take_over(core, may_replace);
            match taken {
                Ok(Some(old)) => old.end(Reason::Replaced),
                Ok(None) => {}
                Err(reason) => core.end(reason),
            }
        }
        if core.ending().is_some() {
            let reason = core.wait_for_end().await;
            return Err(Denied::of(&core.context, reason));
        }
        Ok(())
    }

    /// Makes a ticket, and makes sure that the engine's thread runs. Returns `None` if the engine
    /// stops.
    fn hold(
        self: &Arc<Self>,
        purpose: Purpose,
        deadline: Option<Duration>,
        clock_deadline: Option<Duration>,
    ) -> Option<Held<'_>> {
        let ticket = self.timers.add(purpose, deadline, clock_deadline)?;
        janitor::wake(self);
        Some(Held {
            engine: self,
            ticket,
        })
    }

    /// Sleeps without a runtime.
    pub(crate) async fn sleep(self: &Arc<Self>, time: Duration) {
        let at = |now: Duration| now.checked_add(time);
        let (deadline, clock_deadline) = (at(self.timers.now()), at(self.clock.monotonic()));
        if let Some(held) = self.hold(Purpose::Sleep, deadline, clock_deadline) {
            poll_fn(|cx| held.ticket.poll(cx)).await;
        }
    }
}

/// Whether `new` may take the stream over from `old`.
fn may_replace(new: &SessionCore, old: &SessionCore) -> bool {
    match new.stream.settings.duplicate_publisher {
        DuplicatePublisher::Refuse => false,
        DuplicatePublisher::ReplaceOwn => {
            new.context.principal.is_some() && new.context.principal == old.context.principal
        }
        DuplicatePublisher::Replace => true,
    }
}

pub(crate) fn at_least_a_second(time: Duration) -> Duration {
    time.max(Duration::from_secs(1))
}
