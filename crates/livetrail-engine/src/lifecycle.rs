//! The engine's state of a session, and the order of its events.
//!
//! **Events of a session** are reported one after another, and none after the last. The thread that
//! finds the session's outbox free reports; any other thread leaves its event there and continues.
//! So no thread waits for an observer that another thread is in, and an observer may end any
//! session: while a thread reports, it defers its events of other sessions until it is done.
//!
//! **An end** is decided, reported, unregistered, and then visible to the session's owner, in this
//! order: a host that learns that a publisher has ended can publish again at once.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    bus::{Listener, Stream},
    engine::Inner,
    event::{Detail, Reason, Role, SessionContext, SessionTotals, StreamEventKind, of_host},
    grant::Grant,
    lease::Lease,
    outbox::Outbox,
    progress::Progress,
    requests::{RequestTotals, Seen},
};

/// The engine's state of a session, shared with its handle.
pub(crate) struct SessionCore {
    pub(crate) context: Arc<SessionContext>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) engine: Arc<Inner>,
    pub(crate) started: Duration,
    pub(crate) started_unix_ms: u64,
    /// What the authenticator granted.
    pub(crate) grant: Grant,
    /// Its number among all sessions of the engine, in the order of their starts.
    pub(crate) number: AtomicU64,
    /// When it passed all gates, in milliseconds of the engine's clock; `u64::MAX` before.
    pub(crate) admitted_ms: AtomicU64,
    /// It becomes its stream's publisher once the gates have admitted it; until then another one
    /// is.
    pub(crate) standby: AtomicBool,
    /// The publisher continues another's stream, or a stream that viewers wait for: it needs that
    /// stream's writer.
    pub(crate) resumes: bool,
    /// It waited for its turn at admission: see
    /// [`Attempts::pace`](crate::attempts::Attempts::pace).
    pub(crate) paced: bool,
    /// What the session has carried, and the position of a viewer.
    pub(crate) progress: Progress,
    pub(crate) dropped_frames: AtomicU64,
    /// The last position of a viewer that the janitor saw, and since when the viewer has been
    /// there.
    pub(crate) stalled_at: AtomicU64,
    pub(crate) stalled_since_ms: AtomicU64,
    /// The viewer takes nothing because it is paused.
    pub(crate) paused: AtomicBool,
    /// The lease of a viewer without a cursor.
    pub(crate) lease: Option<Lease>,
    /// The addresses of such a viewer's requests.
    pub(crate) seen: Mutex<Seen>,
    /// Why it ends, once that is decided.
    ending: OnceLock<Reason>,
    /// It has ended: the end is reported and the session is unregistered.
    ended: AtomicBool,
    outbox: Outbox<Message>,
    notify: Notify,
    listener: Mutex<Option<Listener>>,
}

enum Message {
    Event(StreamEventKind),
    End {
        cause: Option<StreamEventKind>,
        reason: Reason,
        detail: Option<Detail>,
    },
}

impl SessionCore {
    pub(crate) fn new(
        context: Arc<SessionContext>,
        stream: Arc<Stream>,
        engine: Arc<Inner>,
        grant: Grant,
        paced: bool,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            context,
            stream,
            started: engine.clock.monotonic(),
            started_unix_ms: engine.clock.unix_ms(),
            engine,
            grant,
            number: AtomicU64::new(u64::MAX),
            admitted_ms: AtomicU64::new(u64::MAX),
            standby: AtomicBool::new(false),
            resumes: false,
            paced,
            progress: Progress::default(),
            dropped_frames: AtomicU64::new(0),
            stalled_at: AtomicU64::new(u64::MAX),
            stalled_since_ms: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            lease,
            seen: Mutex::default(),
            ending: OnceLock::new(),
            ended: AtomicBool::new(false),
            // The outbox is busy until the start is reported.
            outbox: Outbox::busy(),
            notify: Notify::new(),
            listener: Mutex::new(None),
        }
    }

    /// A publisher that continues another's stream, or not.
    pub(crate) fn resuming(mut self, resumes: bool) -> Self {
        self.resumes = resumes;
        self
    }

    /// Reports the start of a newly registered session. Events that others posted meanwhile follow.
    pub(crate) fn report_start(&self) {
        let kind = match self.context.role {
            Role::Publish => StreamEventKind::PublishStarted,
            Role::Play => StreamEventKind::PlayStarted,
        };
        self.engine.report(&self.context, kind);
        self.report_waiting();
    }

    /// Reports an event inside the session, unless the session has ended.
    pub(crate) fn report(self: &Arc<Self>, kind: StreamEventKind) {
        let posted = self.outbox.post(Message::Event(kind));
        self.deliver_posted(posted);
    }

    /// Ends the session, unless it is ending already.
    pub(crate) fn end(self: &Arc<Self>, reason: Reason) {
        self.end_with(None, reason, None);
    }

    /// Ends the session, unless it is ending already; `cause` is reported just before.
    pub(crate) fn end_with(
        self: &Arc<Self>,
        cause: Option<StreamEventKind>,
        reason: Reason,
        detail: Option<Detail>,
    ) {
        if self.ending.get().is_some() {
            return;
        }
        let message = Message::End {
            cause,
            reason: reason.clone(),
            detail,
        };
        let decided = || {
            let _ = self.ending.set(reason);
        };
        let posted = self.outbox.post_last(message, decided);
        self.deliver_posted(posted);
    }

    /// Ends the session for a host, which may add a detail to the reason.
    pub(crate) fn end_by_host(self: &Arc<Self>, reason: Reason, detail: &str) {
        // A host that repeats the engine's reason for the end has given no reason of its own.
        if self.ending.get().is_some() {
            return;
        }
        let detail = Detail::new(&self.engine.scrub(detail));
        self.end_with(None, of_host(reason, self.context.role), detail);
    }

    /// Delivers the message if this thread must; defers it if this thread is in an observer.
    fn deliver_posted(self: &Arc<Self>, posted: Option<Message>) {
        let Some(message) = posted else { return };
        if is_reporting() {
            self.outbox.put_back(message);
            defer(self.clone());
        } else {
            self.deliver(message);
            self.report_waiting();
        }
    }

    /// Reports the messages in the outbox, which belongs to this thread.
    fn report_waiting(&self) {
        while let Some(message) = self.outbox.next() {
            self.deliver(message);
        }
    }

    fn deliver(&self, message: Message) {
        let (cause, reason, detail) = match message {
            Message::Event(kind) => return self.engine.report(&self.context, kind),
            Message::End {
                cause,
                reason,
                detail,
            } => (cause, reason, detail),
        };
        if let Some(cause) = cause {
            self.engine.report(&self.context, cause);
        }
        let totals = self.totals();
        let kind = StreamEventKind::ended(self.context.role, reason.clone(), totals, detail);
        self.engine.report(&self.context, kind);
        self.engine.unregister(self, &reason, totals);
        self.ended.store(true, Release);
        self.notify.notify_waiters();
        if let Some(listener) = &*self.listener() {
            listener.notify();
        }
    }

    pub(crate) fn listener(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it ends, from the moment of the decision.
    pub(crate) fn ending(&self) -> Option<Reason> {
        self.ending.get().cloned()
    }

    /// Whether its end was reported and its resources are free.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Why it ended, for its owner. For a publisher, this is `None` until its stream can be
    /// published again.
    pub(crate) fn end_reason(&self) -> Option<Reason> {
        let reason = self.ending()?;
        (self.context.role == Role::Play || self.has_ended()).then_some(reason)
    }

    /// Waits until its owner may learn that it has ended.
    pub(crate) async fn wait_for_end(&self) -> Reason {
        let mut notified = std::pin::pin!(self.notify.notified());
        loop {
            notified.as_mut().enable();
            if let Some(reason) = self.end_reason() {
                return reason;
            }
            notified.as_mut().await;
            notified.set(self.notify.notified());
        }
    }

    /// When its grant expires, if it ends then.
    pub(crate) fn expires_unix_ms(&self) -> Option<u64> {
        let until_ms = self.grant.until_ms();
        let after_ms = until_ms.saturating_sub(self.started.as_millis() as u64);
        (until_ms != u64::MAX).then(|| self.started_unix_ms.saturating_add(after_ms))
    }

    pub(crate) fn totals(&self) -> SessionTotals {
        let carried = self.progress.carried();
        SessionTotals {
            duration: self.engine.clock.monotonic().saturating_sub(self.started),
            bytes: carried.bytes,
            frames: carried.frames,
            dropped_frames: self.dropped_frames.load(Relaxed),
            requests: self.requests(),
        }
    }

    fn requests(&self) -> Option<RequestTotals> {
        let lease = self.lease.as_ref()?;
        let started_ms = self.started.as_millis() as u64;
        let after_ms = lease.renewed_ms().saturating_sub(started_ms);
        Some(RequestTotals {
            last_unix_ms: self.started_unix_ms.saturating_add(after_ms),
            peers: self.seen().peers(),
        })
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a session ends whose handle is dropped without a reason.
    pub(crate) fn drop_reason() -> Reason {
        if std::thread::panicking() {
            Reason::InternalError
        } else {
            Reason::ClientClosed
        }
    }
}

/// The state of this thread's reports.
#[derive(Default)]
struct Reporting {
    /// How many reports it is in: more than one if an observer starts a session.
    depth: usize,
    /// It is reporting deferred events.
    draining: bool,
    /// Sessions whose outbox belongs to this thread. At most one entry per session.
    deferred: VecDeque<Arc<SessionCore>>,
}

thread_local! {
    static REPORTING: RefCell<Reporting> = RefCell::default();
}

fn is_reporting() -> bool {
    REPORTING
        .try_with(|reporting| reporting.borrow().depth > 0)
        .unwrap_or(false)
}

fn defer(core: Arc<SessionCore>) {
    REPORTING.with(|reporting| reporting.borrow_mut().deferred.push_back(core));
}

/// Runs `report`, and then reports the deferred events.
pub(crate) fn reporting(report: impl FnOnce()) {
    let entered = REPORTING.try_with(|reporting| reporting.borrow_mut().depth += 1);
    report();
    if entered.is_err() {
        // The thread is ending; nothing is deferred on it.
        return;
    }
    let outermost = REPORTING.with(|reporting| {
        let mut reporting = reporting.borrow_mut();
        reporting.depth -= 1;
        let outermost = reporting.depth == 0 && !reporting.draining;
        reporting.draining |= outermost && !reporting.deferred.is_empty();
        outermost && reporting.draining
    });
    if !outermost {
        return;
    }
    while let Some(core) = next_deferred() {
        core.report_waiting();
    }
}

fn next_deferred() -> Option<Arc<SessionCore>> {
    REPORTING.with(|reporting| {
        let mut reporting = reporting.borrow_mut();
        let core = reporting.deferred.pop_front();
        reporting.draining = core.is_some();
        core
    })
}
