//! An offer that would make a trail unsound is refused or is a reported loss. It is never a hole.

use crate::common;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{Memory, context, ended, event, started, wait_until};
use async_trait::async_trait;
use livetrail_audit::{
    AuditAction, AuditError, AuditPipeline, AuditRecord, AuditSink, Audited as _, LedgerSink, Mode,
    PanickedWrites, Policy, Reason, Refused, Status,
};
use livetrail_engine::{
    AppSpec, Attempt, Clock, Engine, ManualClock, Observer, Role, SessionTotals, StreamEventKind,
    SystemClock,
};
use livetrail_ledger::{Identity, Ledger, MemStore, Reader, SharedStore};
use livetrail_record::{TrailChecker, Uuid, parse_canonical};

fn host(action: AuditAction) -> AuditRecord {
    AuditRecord::new(action, "live")
}

fn session(n: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + n)
}

#[tokio::test]
async fn a_record_that_would_make_the_trail_unsound_is_refused_in_words() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::builder(sink.clone()).build().unwrap();
    let reserved = |label: &str| Refused::ReservedAction {
        action: label.to_owned(),
    };
    for label in [
        "server_started",
        "server_stopped",
        "records_dropped",
        "heartbeat",
    ] {
        for action in [
            AuditAction::from_label(label),
            AuditAction::Other(label.to_owned()),
        ] {
            assert_eq!(pipeline.record(host(action)), Err(reserved(label)));
        }
    }
    for label in [
        "publish_started",
        "publish_ended",
        "publish_denied",
        "play_started",
        "play_ended",
        "play_denied",
        "subscriber_evicted",
        "stream_reaped",
    ] {
        let action = label.to_owned();
        let refused = pipeline.record(host(AuditAction::Other(action.clone())));
        assert_eq!(refused, Err(Refused::NoSession { action }));
    }
    let event = || host(AuditAction::Event("scene".into()));
    for too_large in [
        event().with_count(u64::MAX),
        event().with_ts_ms(u64::MAX),
        event().with_last_ts_ms(1 << 53),
        event().with_refused_before(1 << 53),
    ] {
        let refused = pipeline.record(too_large);
        assert!(
            matches!(refused, Err(Refused::NotCanonical(_))),
            "{refused:?}"
        );
    }
    let crashed = host(AuditAction::PlayEnded)
        .with_session(session(1))
        .with_reason(Reason::ServerCrash);
    let refused = pipeline.record(crashed).unwrap_err();
    assert!(refused.to_string().contains("server_crash"), "{refused}");
    // The host records a whole session of its own, and a record that is too long for an entry.
    pipeline
        .record(host(AuditAction::PlayStarted).with_session(session(2)))
        .unwrap();
    pipeline
        .record(host(AuditAction::PlayEnded).with_session(session(2)))
        .unwrap();
    pipeline
        .record(event().with_user_agent("é".repeat(70_000)))
        .unwrap();
    let report = pipeline.close().await;
    assert_eq!((report.offered, report.dropped), (3, 0));
    assert_eq!(sink.check().0, []);
}

/// The engine's totals and clock exceed the range of a record. The record has the largest possible
/// values.
#[tokio::test]
async fn a_transition_with_numbers_beyond_2_to_the_53_is_recorded() {
    let store: SharedStore = Arc::new(MemStore::new());
    let identity = Identity::from_seeds("example.com/audit", &[1; 32].into(), &[2; 32].into());
    let identity = identity.unwrap();
    Ledger::create(&store, &identity).unwrap();
    let builder = Ledger::builder(store.clone(), identity);
    let (sink, _) = LedgerSink::open(builder, ManualClock::at(u64::MAX)).unwrap();
    let sink = Arc::new(sink);
    let pipeline = AuditPipeline::builder(sink.clone()).build().unwrap();
    let viewer = context(Role::Play, "cam");
    pipeline.on_event(&started(&viewer));
    let mut totals = SessionTotals::default();
    totals.duration = Duration::MAX;
    totals.bytes = u64::MAX;
    totals.frames = u64::MAX;
    totals.dropped_frames = u64::MAX;
    let reason = Reason::ServerCrash;
    let mut end = event(
        &viewer,
        StreamEventKind::ended(Role::Play, reason, totals, None),
    );
    end.ts_ms = u64::MAX;
    end.mono_ms = u64::MAX;
    pipeline.on_event(&end);
    assert!(pipeline.close().await.durable);
    assert_eq!(sink.unwritable(), 0);
    sink.close(Duration::from_secs(20)).unwrap();
    let reader = Reader::open(store).unwrap();
    let entries = reader.entries(0..reader.checkpoint().unwrap().head().size);
    let records: Vec<_> = entries
        .unwrap()
        .map(|entry| parse_canonical(&entry.unwrap()).unwrap())
        .collect();
    assert_eq!(records.len(), 4);
    assert_eq!(records[2].bytes, Some((1 << 53) - 1));
    // Only the boot after a crash uses `server_crash`.
    assert_eq!(records[2].reason, Some(Reason::InternalError));
    assert_eq!(TrailChecker::new().check(&records).0, []);
}

/// Panics at about each fourth batch, before it or after a part of it, in all ways that a sink can.
#[derive(Default)]
struct Panicking {
    memory: Memory,
    calls: AtomicU64,
    named: bool,
}

#[async_trait]
impl AuditSink for Panicking {
    async fn write(&self, record: AuditRecord) {
        self.memory.write(record).await;
    }

    async fn write_batch(&self, records: Vec<AuditRecord>) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        // This selects a fourth of the calls without a period. Only the highest bits of the product
        // have no period.
        if call.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 != 0 && call != 0 {
            for record in records {
                self.memory.write(record).await;
            }
            return;
        }
        assert!(self.named, "told to, before anything was taken");
        let mut lost = Vec::new();
        for (at, record) in records.into_iter().enumerate() {
            if at % 2 == 0 {
                lost.push(at);
            } else {
                self.memory.write(record).await;
            }
        }
        std::panic::resume_unwind(Box::new(PanickedWrites(lost)));
    }
}

#[test]
fn whatever_a_sink_panics_at_is_a_reported_loss_and_sessions_get_their_end() {
    for named in [false, true] {
        let sink = Arc::new(Panicking {
            named,
            ..Panicking::default()
        });
        let clock = ManualClock::at(1_763_805_600_000);
        let builder = AuditPipeline::builder(sink.clone()).clock(clock.clone());
        let pipeline = builder.heartbeat(Duration::from_secs(2)).build().unwrap();
        for n in 0..600 {
            let viewer = context(Role::Play, "cam");
            pipeline.on_event(&started(&viewer));
            if n % 10 == 0 {
                wait_until(|| pipeline.queue_depth() == 0);
                // The sink also panics at heartbeats, reports of losses and sweeps.
                clock.advance(Duration::from_secs(7));
            }
            pipeline.on_event(&ended(&viewer, Reason::ClientClosed));
        }
        wait_until(|| pipeline.queue_depth() == 0);
        clock.advance(Duration::from_secs(130));
        let monitor = pipeline.monitor();
        drop(pipeline);
        let counters = monitor.counters();
        assert_eq!(counters.offered, 1_200);
        assert_eq!(counters.accepted + counters.dropped, 1_200);
        assert!(counters.dropped > 0 && counters.last_loss_ms.is_some());
        let (findings, report) = sink.memory.check();
        assert_eq!(findings, [], "named: {named}");
        assert_eq!(report.open, []);
    }
}

#[test]
fn extreme_settings_are_refused_or_mean_never() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::builder(sink.clone())
        .heartbeat(Duration::MAX)
        .sync_interval(Duration::MAX)
        .close_deadline(Duration::MAX)
        .refusal_records_per_second(u32::MAX)
        .build()
        .unwrap();
    pipeline.on_event(&started(&context(Role::Play, "cam")));
    wait_until(|| sink.len() == 2);
    assert!(pipeline.status().is_healthy());
    drop(pipeline);
    assert_eq!(sink.check().0, []);
    for capacity in [usize::MAX, (1 << 24) + 1] {
        let refused = AuditPipeline::builder(sink.clone())
            .capacity(capacity)
            .build();
        let error = refused.err().unwrap();
        assert!(matches!(error, AuditError::Capacity { .. }), "{error}");
        let closed = AuditPipeline::new(sink.clone(), capacity);
        assert!(matches!(closed.status(), Status::Failing { .. }));
        closed.on_event(&started(&context(Role::Play, "cam")));
        assert_eq!(closed.dropped(), 1);
    }
}

/// A clock whose first million readings of `monotonic` panic. So the worker cannot even begin.
struct Broken(AtomicU64);

impl Clock for Broken {
    fn unix_ms(&self) -> u64 {
        1_763_805_600_000
    }
    fn monotonic(&self) -> Duration {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) > 1_000_000, "broken");
        Duration::ZERO
    }
}

#[test]
fn a_worker_that_is_dead_is_not_healthy() {
    let clock = Broken(AtomicU64::new(0));
    let pipeline = AuditPipeline::builder(Memory::new())
        .clock(clock)
        .build()
        .unwrap();
    wait_until(|| !pipeline.status().is_healthy());
    assert!(matches!(pipeline.status(), Status::Failing { .. }));
    pipeline.on_event(&started(&context(Role::Play, "cam")));
    assert_eq!(pipeline.dropped(), 1);
}

#[tokio::test]
async fn engine_pipeline_and_ledger_have_the_same_time() {
    let store: SharedStore = Arc::new(MemStore::new());
    let identity = Identity::from_seeds("example.com/audit", &[1; 32].into(), &[2; 32].into());
    let identity = identity.unwrap();
    Ledger::create(&store, &identity).unwrap();
    let clock = ManualClock::at(1_763_805_600_000);
    clock.advance(Duration::from_secs(5));
    let builder = Ledger::builder(store.clone(), identity);
    let (sink, _) = LedgerSink::open(builder, clock.clone()).unwrap();
    let sink = Arc::new(sink);
    let pipeline = Arc::new(AuditPipeline::builder(sink.clone()).build().unwrap());
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .audit(&pipeline, Policy::of(Mode::Strict))
        .build()
        .unwrap();
    clock.advance(Duration::from_secs(3_600));
    let attempt = Attempt::new(common::key("cam"), "test");
    let publication = engine.publish(attempt).await.unwrap();
    drop(publication);
    assert_eq!(engine.clock().monotonic(), Duration::from_secs(3_605));
    assert!(pipeline.close().await.durable);
    sink.close(Duration::from_secs(20)).unwrap();
    let reader = Reader::open(store).unwrap();
    let size = reader.checkpoint().unwrap().head().size;
    let times: Vec<_> = reader
        .entries(0..size)
        .unwrap()
        .map(|entry| parse_canonical(&entry.unwrap()).unwrap())
        .map(|record| (record.ts_ms, record.mono_ms.unwrap()))
        .collect();
    for (ts_ms, mono_ms) in &times {
        assert_eq!(ts_ms - mono_ms, 1_763_805_600_000, "{times:?}");
    }
    assert!(times.iter().any(|(_, mono_ms)| *mono_ms == 3_605_000));
}

/// The gate outside a runtime: it does not panic, and refuses at the deadline.
#[test]
fn a_strict_session_needs_no_runtime() {
    let refused = |sink: Arc<Memory>, deadline| {
        let pipeline = Arc::new(AuditPipeline::new(sink, 64));
        let policy = Policy::of(Mode::Strict).deadline(deadline);
        let engine = Engine::builder()
            .application(AppSpec::new("live"))
            .audit(&pipeline, policy)
            .build()
            .unwrap();
        let attempt = Attempt::new(common::key("cam"), "test");
        let published = common::block_on(engine.publish(attempt));
        published.map(drop).map_err(|denied| denied.reason)
    };
    let hangs = Memory::closed();
    let soon = Duration::from_millis(50);
    assert_eq!(refused(hangs.clone(), soon), Err(Reason::AuditUnavailable));
    hangs.open();
    assert_eq!(refused(Memory::new(), Duration::from_secs(20)), Ok(()));
    assert_eq!(refused(Memory::new(), Duration::MAX), Ok(()));
}

/// A sink that needs the runtime in which the pipeline is dropped.
struct NeedsHost(tokio::sync::mpsc::Sender<AuditRecord>);

#[async_trait]
impl AuditSink for NeedsHost {
    async fn write(&self, record: AuditRecord) {
        let _ = self.0.send(record).await;
    }
}

#[tokio::test]
async fn dropping_inside_the_runtime_that_the_sink_needs_neither_blocks_nor_loses() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let pipeline = AuditPipeline::new(Arc::new(NeedsHost(sender)), 64);
    for _ in 0..10 {
        pipeline.on_event(&started(&context(Role::Play, "cam")));
    }
    let monitor = pipeline.monitor();
    let clock = SystemClock::new();
    drop(pipeline);
    assert!(
        clock.monotonic() < Duration::from_secs(2),
        "as long as it is dropped"
    );
    // The runtime is free again, so the accepted records arrive.
    let mut arrived = 0;
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await {
        arrived += 1;
        if arrived == 10 {
            break;
        }
    }
    assert_eq!(arrived, 10);
    wait_until(|| monitor.report().is_some());
    let report = monitor.report().unwrap();
    assert_eq!((report.accepted, report.unwritten), (10, 0));
}

#[test]
fn what_a_dropped_pipeline_loses_can_be_counted_afterwards() {
    let builder = AuditPipeline::builder(Memory::closed()).boot_records(false);
    let pipeline = builder
        .close_deadline(Duration::from_millis(50))
        .build()
        .unwrap();
    for _ in 0..10 {
        pipeline.on_event(&started(&context(Role::Play, "cam")));
    }
    let monitor = pipeline.monitor();
    drop(pipeline);
    wait_until(|| monitor.report().is_some());
    let report = monitor.report().unwrap();
    assert!(report.timed_out && !report.durable);
    assert_eq!((report.accepted, report.unwritten), (10, 10));
}

#[tokio::test]
async fn an_offer_after_the_end_is_counted() {
    let pipeline = AuditPipeline::new(Memory::new(), 64);
    let report = pipeline.close().await;
    let kind = StreamEventKind::denied(Role::Play, Reason::Unauthorized, None);
    pipeline.on_event(&event(&context(Role::Play, "cam"), kind));
    assert_eq!(
        (report.dropped, pipeline.dropped(), pipeline.offered()),
        (0, 1, 1)
    );
}

/// A session is forgotten if the trail will never get its end.
#[tokio::test]
async fn a_plain_pipeline_forgets_sessions_that_are_gone() {
    let sink = Memory::new();
    let clock = ManualClock::at(1_763_805_600_000);
    let builder = AuditPipeline::builder(sink.clone()).clock(clock.clone());
    let pipeline = builder.boot_records(false).build().unwrap();
    let contexts: Vec<_> = (0..100).map(|_| context(Role::Play, "cam")).collect();
    for context in &contexts {
        pipeline.on_event(&started(context));
    }
    wait_until(|| sink.len() == 100);
    let weak: Vec<_> = contexts.iter().map(Arc::downgrade).collect();
    drop(contexts);
    assert!(weak.iter().all(|context| context.upgrade().is_some()));
    wait_until(|| {
        clock.advance(Duration::from_secs(61));
        weak.iter().all(|context| context.upgrade().is_none())
    });
}
