//! Sinks and transitions for tests.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use livetrail_audit::{AuditRecord, AuditSink, SinkError};
use livetrail_engine::{
    Reason, Role, SessionContext, SessionId, SessionTotals, StreamEvent, StreamEventKind, StreamKey,
};
use livetrail_record::{Finding, TrailChecker, TrailReport};

/// A sink that keeps its records. A test can make it wait, fail its syncs, and panic.
#[derive(Default)]
pub(crate) struct Memory {
    records: Mutex<Vec<AuditRecord>>,
    batches: AtomicU64,
    flushes: AtomicU64,
    closed: AtomicBool,
    calls: AtomicU64,
    sync_fails: AtomicBool,
    /// The sink panics at records with this stream.
    panics_at: Option<&'static str>,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A sink that accepts nothing until the test opens it.
    pub(crate) fn closed() -> Arc<Self> {
        let sink = Self::default();
        sink.closed.store(true, Ordering::SeqCst);
        Arc::new(sink)
    }

    pub(crate) fn panicking_at(stream: &'static str) -> Arc<Self> {
        Arc::new(Self {
            panics_at: Some(stream),
            ..Self::default()
        })
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn shut(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn fail_syncs(&self, fails: bool) {
        self.sync_fails.store(fails, Ordering::SeqCst);
    }

    pub(crate) fn records(&self) -> Vec<AuditRecord> {
        self.records.lock().unwrap().clone()
    }

    pub(crate) fn labels(&self) -> Vec<String> {
        self.records()
            .iter()
            .map(|record| record.action.label().to_owned())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::SeqCst)
    }

    /// Returns when the worker is in a call of the sink.
    pub(crate) fn wait_for_call(&self) {
        wait_until(|| self.calls.load(Ordering::SeqCst) > 0);
    }

    pub(crate) fn check(&self) -> (Vec<Finding>, TrailReport) {
        TrailChecker::new().check(&self.records())
    }
}

#[async_trait]
impl AuditSink for Memory {
    async fn write(&self, record: AuditRecord) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        while self.closed.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if self.panics_at.is_some() && record.stream.as_deref() == self.panics_at {
            panic!("told to");
        }
        self.records.lock().unwrap().push(record);
    }

    async fn flush(&self) -> Result<(), SinkError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        while self.closed.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.flushes.fetch_add(1, Ordering::SeqCst);
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(SinkError::Other("told to".to_owned()));
        }
        Ok(())
    }
}

pub(crate) fn key(stream: &str) -> StreamKey {
    StreamKey::parse("live", stream).unwrap()
}

pub(crate) fn context(role: Role, stream: &str) -> Arc<SessionContext> {
    let mut context = SessionContext::new(SessionId::at(1_763_805_600_000), role, key(stream));
    context.protocol = "rtmp";
    context.peer = Some("192.0.2.7:4711".parse().unwrap());
    context.user_agent = Some("player 1.0".into());
    context.principal = Some("studio-1".into());
    Arc::new(context)
}

pub(crate) fn event(context: &Arc<SessionContext>, kind: StreamEventKind) -> StreamEvent {
    StreamEvent::new(Arc::clone(context), kind, 1_763_805_600_123, 456)
}

pub(crate) fn totals() -> SessionTotals {
    let mut totals = SessionTotals::default();
    totals.duration = Duration::from_secs(61);
    totals.bytes = 1_000;
    totals.frames = 30;
    totals.dropped_frames = 2;
    totals
}

pub(crate) fn started(context: &Arc<SessionContext>) -> StreamEvent {
    let kind = match context.role {
        Role::Publish => StreamEventKind::PublishStarted,
        Role::Play => StreamEventKind::PlayStarted,
    };
    event(context, kind)
}

pub(crate) fn ended(context: &Arc<SessionContext>, reason: Reason) -> StreamEvent {
    let totals = totals();
    let kind = match context.role {
        Role::Publish => StreamEventKind::ended(Role::Publish, reason, totals, None),
        Role::Play => StreamEventKind::ended(Role::Play, reason, totals, None),
    };
    event(context, kind)
}

/// Polls for at most ten seconds.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "waited for ten seconds"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a future without a runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
