//! What the engine knows of a session, and how its events are put in order.
//!
//! **Events of a session** are reported one after another, none after the last, by whichever thread finds the session's
//! outbox free; a thread that does not leaves its event there and goes on. So nobody waits for an observer that another
//! thread is in, and an observer may end any session: while a thread reports, what it would report of other sessions is
//! deferred until it has done.
//!
//! **An end** is decided, reported, unregistered, and then known to the session's owner, in this
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
    event::{Detail, Reason, Role, SessionContext, SessionTotals, StreamEventKind},
    lease::Lease,
    outbox::Outbox,
    progress::Progress,
};

/// What the engine knows of a session, shared with its handle.
pub(crate) struct SessionCore {
    pub(crate) context: Arc<SessionContext>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) engine: Arc<Inner>,
    pub(crate) started: Duration,
    pub(crate) started_unix_ms: u64,
    /// Its number among all sessions of the engine, in the order in which they started.
    pub(crate) number: AtomicU64,
    /// When it had passed all gates, in milliseconds of the engine's clock; `u64::MAX` before.
    pub(crate) admitted_ms: AtomicU64,
    /// It will be its stream's publisher when the gates have let it pass; another is until then.
    pub(crate) standby: AtomicBool,
    /// A publisher that goes on with the stream of another, or one that viewers wait for: it needs that stream's writer.
    pub(crate) resumes: bool,
    /// It waited for its turn to be let in: see [`Attempts::pace`](crate::attempts::Attempts::pace).
    pub(crate) paced: bool,
    /// What was carried; of a viewer, also where it is.
    pub(crate) progress: Progress,
    pub(crate) dropped_frames: AtomicU64,
    /// Of a viewer, kept by the janitor: the position that it last saw, and since when it has been that.
    pub(crate) stalled_at: AtomicU64,
    pub(crate) stalled_since_ms: AtomicU64,
    /// Of a viewer: it takes nothing because it wants nothing.
    pub(crate) paused: AtomicBool,
    /// Of a viewer without a cursor.
    pub(crate) lease: Option<Lease>,
    /// Why it ends: decided.
    ending: OnceLock<Reason>,
    /// It has ended: reported and unregistered.
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
        resumes: bool,
        paced: bool,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            context,
            stream,
            started: engine.clock.monotonic(),
            started_unix_ms: engine.clock.unix_ms(),
            engine,
            number: AtomicU64::new(u64::MAX),
            admitted_ms: AtomicU64::new(u64::MAX),
            standby: AtomicBool::new(false),
            resumes,
            paced,
            progress: Progress::default(),
            dropped_frames: AtomicU64::new(0),
            stalled_at: AtomicU64::new(u64::MAX),
            stalled_since_ms: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            lease,
            ending: OnceLock::new(),
            ended: AtomicBool::new(false),
            // Until its start is reported.
            outbox: Outbox::busy(),
            notify: Notify::new(),
            listener: Mutex::new(None),
        }
    }

    /// Reports the start of a session that has just been registered; what others reported of it meanwhile comes after.
    pub(crate) fn report_start(&self) {
        let kind = match self.context.role {
            Role::Publish => StreamEventKind::PublishStarted,
            Role::Play => StreamEventKind::PlayStarted,
        };
        self.engine.report(&self.context, kind);
        self.report_waiting();
    }

    /// Reports something that happened inside the session; not after its end.
    pub(crate) fn report(self: &Arc<Self>, kind: StreamEventKind) {
        let posted = self.outbox.post(Message::Event(kind));
        self.deliver_posted(posted);
    }

    /// Ends the session, unless it ends already.
    pub(crate) fn end(self: &Arc<Self>, reason: Reason) {
        self.end_with(None, reason, None);
    }

    /// Ends the session, unless it ends already; `cause` is reported just before.
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
            reason,
            detail,
        };
        let decided = || {
            let _ = self.ending.set(reason);
        };
        let posted = self.outbox.post_last(message, decided);
        self.deliver_posted(posted);
    }

    /// Ends the session for a host, which may say more about the reason.
    pub(crate) fn end_by_host(self: &Arc<Self>, reason: Reason, detail: &str) {
        // A host that repeats why the engine has ended the session has given no reason of its own.
        if self.ending.get().is_some() {
            return;
        }
        let detail = Detail::new(&self.engine.scrub(detail));
        self.end_with(None, reason.of_host(self.context.role), detail);
    }

    /// Delivers what is this thread's to deliver; later, if it is in an observer.
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

    /// Reports what waits in the outbox, which is this thread's.
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
        let kind = StreamEventKind::ended(self.context.role, reason, totals, detail);
        self.engine.report(&self.context, kind);
        self.engine.unregister(self, reason, totals);
        self.ended.store(true, Release);
        self.notify.notify_waiters();
        if let Some(listener) = &*self.listener() {
            listener.notify();
        }
    }

    pub(crate) fn listener(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it ends, from the moment when that is decided.
    pub(crate) fn ending(&self) -> Option<Reason> {
        self.ending.get().copied()
    }

    /// Whether its end was reported, and what it occupied is free.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Why it ended, as its owner hears it: of a publisher not before its stream can be published again.
    pub(crate) fn end_reason(&self) -> Option<Reason> {
        let reason = self.ending()?;
        (self.context.role == Role::Play || self.has_ended()).then_some(reason)
    }

    /// Waits until its owner may know that it has ended.
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

    pub(crate) fn totals(&self) -> SessionTotals {
        let carried = self.progress.carried();
        SessionTotals {
            duration: self.engine.clock.monotonic().saturating_sub(self.started),
            bytes: carried.bytes,
            frames: carried.frames,
            dropped_frames: self.dropped_frames.load(Relaxed),
        }
    }

    /// Why a handle that goes away without a word ends its session.
    pub(crate) fn drop_reason() -> Reason {
        if std::thread::panicking() {
            Reason::InternalError
        } else {
            Reason::ClientClosed
        }
    }
}

/// What this thread is doing.
#[derive(Default)]
struct Reporting {
    /// Reports that it is in: more than one when an observer starts a session.
    depth: usize,
    /// It is reporting what was deferred.
    draining: bool,
    /// Sessions whose outbox is this thread's. At most one entry for each session.
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

/// Runs `report`, and then reports what it deferred.
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
