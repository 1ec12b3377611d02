//! The pipeline records each offer once, or counts and reports it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{Memory, context, ended, event, key, started, totals, wait_until};
use livetrail_audit::{
    AuditAction, AuditPipeline, AuditRecord, ClockState, Outcome, Reason, Refused, Status,
    open_sessions,
};
use livetrail_engine::{
    AppSpec, Attempt, Clock, CodecId, Engine, FrameFlags, ManualClock, MediaFrame, Observer, Role,
    StreamEventKind,
};
use livetrail_record::{BootEnd, LossCounts, TrailChecker, Value};

#[tokio::test]
async fn calling_a_hook_or_on_event_records_the_transition_once() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    let publisher = context(Role::Publish, "cam");
    pipeline.on_event(&started(&publisher));
    pipeline.on_publish_ended(&ended(&publisher, Reason::ClientClosed));
    let report = pipeline.close().await;
    assert_eq!(sink.labels(), ["publish_started", "publish_ended"]);
    assert_eq!(
        (
            report.offered,
            report.accepted,
            report.dropped,
            report.written
        ),
        (2, 2, 0, 2)
    );
    assert!(report.durable && !report.timed_out);
    assert_eq!(sink.flushes(), 1);
}

#[tokio::test]
async fn a_reason_of_a_host_is_on_record() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    let unpaid = Reason::host("subscription_expired").unwrap();
    let (viewer, other) = (context(Role::Play, "cam"), context(Role::Play, "other"));
    pipeline.on_event(&started(&viewer));
    pipeline.on_event(&ended(&viewer, unpaid.clone()));
    let kind = StreamEventKind::denied(Role::Play, unpaid.clone(), None);
    pipeline.on_event(&event(&other, kind));
    pipeline.close().await;
    let records = sink.records();
    let reasons: Vec<_> = records.iter().filter_map(|r| r.reason.clone()).collect();
    assert_eq!(reasons, [unpaid.clone(), unpaid]);
    assert_eq!(records[1].outcome, Some(Outcome::Success));
    for record in &records {
        let bytes = livetrail_record::encode_canonical(record).unwrap();
        let read = livetrail_record::parse_canonical(&bytes).unwrap();
        assert_eq!(read.reason, record.reason);
    }
}

#[tokio::test]
async fn every_kind_of_transition_has_its_record() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    let publisher = context(Role::Publish, "cam");
    let viewer = context(Role::Play, "cam");
    let denied = Reason::Unauthorized;
    pipeline.on_publish_started(&started(&publisher));
    pipeline.on_play_started(&started(&viewer));
    let kind = StreamEventKind::SubscriberLagged { skipped: 7 };
    pipeline.on_subscriber_lagged(&event(&viewer, kind));
    let kind = StreamEventKind::SubscriberEvicted { lag: 900 };
    pipeline.on_subscriber_evicted(&event(&viewer, kind));
    pipeline.on_play_ended(&ended(&viewer, Reason::Evicted));
    let kind = StreamEventKind::GopTruncated {
        frames: 300,
        bytes: 4_000,
        count: 1,
    };
    pipeline.on_gop_truncated(&event(&publisher, kind));
    pipeline.on_rate_limited(&event(
        &publisher,
        StreamEventKind::RateLimited { count: 12 },
    ));
    let kind = StreamEventKind::StreamReaped {
        idle: Duration::from_secs(30),
    };
    pipeline.on_stream_reaped(&event(&publisher, kind));
    pipeline.on_publish_ended(&ended(&publisher, Reason::Idle));
    let other = context(Role::Publish, "other");
    pipeline.on_publish_denied(&event(
        &other,
        StreamEventKind::denied(Role::Publish, denied.clone(), None),
    ));
    let other = context(Role::Play, "other");
    pipeline.on_play_denied(&event(
        &other,
        StreamEventKind::denied(Role::Play, denied, None),
    ));
    pipeline.close().await;

    let labels = [
        "publish_started",
        "play_started",
        "event",
        "subscriber_evicted",
        "play_ended",
        "event",
        "rate_limited",
        "stream_reaped",
        "publish_ended",
        "publish_denied",
        "play_denied",
    ];
    assert_eq!(sink.labels(), labels);
    let records = sink.records();
    let first = &records[0];
    assert_eq!(
        (first.app.as_str(), first.stream.as_deref()),
        ("live", Some("cam"))
    );
    assert_eq!(
        (first.ts_ms, first.mono_ms, first.seq),
        (1_763_805_600_123, Some(456), Some(0))
    );
    assert_eq!(first.session, Some(publisher.session.as_uuid()));
    assert_eq!(first.outcome, Some(Outcome::Success));
    assert_eq!(first.protocol.as_deref(), Some("rtmp"));
    assert_eq!(
        first.principal.as_ref().map(|p| p.expose()),
        Some("studio-1")
    );
    assert_eq!(
        first.peer.as_ref().map(|p| p.expose()),
        Some("192.0.2.7:4711")
    );
    assert_eq!(
        first.user_agent.as_ref().map(|p| p.expose()),
        Some("player 1.0")
    );
    assert_eq!(first.boot, Some(pipeline.boot()));
    assert_eq!(pipeline.boot().get_version_num(), 7);
    assert_eq!(
        records[2].action,
        AuditAction::Event("subscriber_lagged".into())
    );
    assert_eq!(
        (records[2].count, records[3].count, records[6].count),
        (Some(7), Some(900), Some(12))
    );
    assert_eq!(records[4].outcome, Some(Outcome::Failed));
    assert_eq!(
        records[5].action,
        AuditAction::Event("gop_truncated".into())
    );
    assert_eq!(
        (records[5].frames, records[5].bytes),
        (Some(300), Some(4_000))
    );
    assert_eq!(records[7].duration_ms, Some(30_000));
    let end = &records[8];
    assert_eq!(end.reason, Some(Reason::Idle));
    assert_eq!(
        (end.duration_ms, end.bytes, end.frames, end.dropped_frames),
        (Some(61_000), Some(1_000), Some(30), Some(2))
    );
    assert_eq!(
        (&records[9].outcome, &records[9].reason),
        (&Some(Outcome::Denied), &Some(Reason::Unauthorized))
    );
    let nonces: BTreeSet<_> = records.iter().map(|record| record.nonce.unwrap()).collect();
    assert_eq!(nonces.len(), records.len());
    let (findings, _) = TrailChecker::without_boot_records().check(&records);
    assert_eq!(findings, []);
}

#[test]
fn frames_are_not_wanted_and_not_recorded() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::new(sink.clone(), 4);
    assert!(!pipeline.wants_frames());
    let frame = MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, "x".into());
    pipeline.on_frame(&key("cam"), &frame);
    drop(pipeline);
    assert_eq!(sink.len(), 0);
}

/// The loss records of a trail: the count, the first and the last number, and the counts by action.
fn losses(records: &[AuditRecord]) -> Vec<(u64, u64, u64, LossCounts)> {
    records
        .iter()
        .filter(|record| record.action == AuditAction::RecordsDropped)
        .map(|record| {
            let detail = record.detail.as_ref().unwrap().expose();
            (
                record.count.unwrap(),
                record.first_seq.unwrap(),
                record.last_seq.unwrap(),
                LossCounts::parse(detail).unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn what_a_full_queue_cannot_take_is_counted_and_reported() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::new(sink.clone(), 0);
    assert_eq!(pipeline.queue_capacity(), 1);
    let viewer = context(Role::Play, "cam");
    pipeline.on_event(&started(&viewer));
    sink.wait_for_call();
    pipeline.on_event(&ended(&viewer, Reason::Kicked));
    // One record is with the sink and one in the queue.
    for stream in ["a", "b", "c"] {
        pipeline.on_event(&started(&context(Role::Play, stream)));
    }
    let changed = pipeline.record(AuditRecord::new(AuditAction::AdminConfigChanged, ""));
    assert_eq!(changed, Err(Refused::Full));
    assert_eq!(
        (pipeline.offered(), pipeline.accepted(), pipeline.dropped()),
        (6, 2, 4)
    );
    sink.open();
    wait_until(|| losses(&sink.records()).len() == 1);
    let mut expected = LossCounts::new();
    expected.add("play_started", 3);
    expected.add("admin_config_changed", 1);
    assert_eq!(losses(&sink.records()), [(4, 2, 5, expected)]);
    let loss = sink.records().pop().unwrap();
    assert_eq!(loss.seq, Some(6));
    assert!(loss.first_ts_ms.is_some() && loss.last_ts_ms.is_some());
    let report = pipeline.close().await;
    assert_eq!((report.dropped, report.written), (4, 3));
    let (findings, report) = TrailChecker::without_boot_records().check(&sink.records());
    assert_eq!(findings, []);
    assert_eq!(report.boots[0].unsettled, 0);
}

#[tokio::test]
async fn a_loss_at_shutdown_is_reported_too() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::builder(sink.clone())
        .capacity(1)
        .build()
        .unwrap();
    sink.wait_for_call();
    for stream in ["a", "b", "c"] {
        pipeline.on_event(&started(&context(Role::Publish, stream)));
    }
    assert_eq!(pipeline.dropped(), 2);
    let (report, ()) = tokio::join!(pipeline.close(), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        sink.open();
    });
    assert_eq!(report.dropped, 2);
    let labels = [
        "server_started",
        "publish_started",
        "records_dropped",
        "publish_ended",
        "server_stopped",
    ];
    assert_eq!(sink.labels(), labels);
    let (findings, report) = sink.check();
    assert_eq!(findings, []);
    assert_eq!(report.boots[0].end, BootEnd::Stopped);
}

/// Producers, a small queue and a worker that reports and writes at the same time. Each number is
/// written, or exactly one report covers it. That includes the numbers that are lost at the very
/// end.
#[test]
fn under_pressure_every_number_is_written_or_reported_exactly_once() {
    let mut dropped_in_all = 0;
    for round in 0..20_u64 {
        let sink = Memory::new();
        let capacity = usize::try_from(1 + round % 7).unwrap();
        let pipeline = AuditPipeline::builder(sink.clone())
            .capacity(capacity)
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..2_000 {
                        let viewer = context(Role::Play, "cam");
                        pipeline.on_event(&started(&viewer));
                        if n % 64 == 0 {
                            std::thread::yield_now();
                        }
                        pipeline.on_event(&ended(&viewer, Reason::ClientClosed));
                    }
                });
            }
        });
        let (offered, accepted, dropped) =
            (pipeline.offered(), pipeline.accepted(), pipeline.dropped());
        assert_eq!(offered, 16_000);
        assert_eq!(accepted + dropped, offered);
        drop(pipeline);

        let records = sink.records();
        let (findings, report) = sink.check();
        assert_eq!(findings, [], "round {round}");
        assert_eq!(report.open, []);
        assert_eq!(report.boots[0].dropped, dropped);
        let written: BTreeSet<u64> = records.iter().map(|record| record.seq.unwrap()).collect();
        assert_eq!(written.len(), records.len(), "no number twice");
        let mut covered = 0;
        let mut end = None;
        for (count, first, last, _) in losses(&records) {
            assert!(
                end.is_none_or(|end| end < first),
                "ranges are disjoint and in order"
            );
            let holes = (first..=last).filter(|seq| !written.contains(seq)).count();
            assert_eq!(u64::try_from(holes).unwrap(), count);
            covered += count;
            end = Some(last);
        }
        assert_eq!(covered, dropped);
        dropped_in_all += dropped;
        let next = written.last().unwrap() + 1;
        assert_eq!(
            u64::try_from(written.len()).unwrap() + covered,
            next,
            "no number is missing"
        );
    }
    assert!(dropped_in_all > 0, "there was pressure");
}

#[test]
fn dropping_without_closing_drains_what_was_accepted() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::new(sink.clone(), 10_000);
    for _ in 0..5_000 {
        pipeline.on_event(&started(&context(Role::Play, "cam")));
    }
    assert_eq!(pipeline.dropped(), 0);
    drop(pipeline);
    assert_eq!(sink.len(), 5_000);
}

#[test]
fn the_hosts_runtime_may_go_first() {
    let sink = Memory::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let pipeline = runtime.block_on(async {
        let pipeline = AuditPipeline::new(sink.clone(), 10_000);
        for _ in 0..5_000 {
            pipeline.on_event(&started(&context(Role::Play, "cam")));
        }
        pipeline
    });
    runtime.shutdown_background();
    drop(pipeline);
    assert_eq!(sink.len(), 5_000);
}

#[tokio::test]
async fn a_closed_pipeline_refuses_counts_and_reports_the_same_again() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::new(sink.clone(), 8);
    pipeline.on_event(&started(&context(Role::Play, "cam")));
    let report = pipeline.close().await;
    assert!(matches!(pipeline.status(), Status::Closed));
    pipeline.on_event(&started(&context(Role::Play, "cam")));
    let late = pipeline.record(AuditRecord::new(AuditAction::Event("late".into()), "live"));
    assert_eq!(late, Err(Refused::Closed));
    assert_eq!((pipeline.offered(), pipeline.dropped()), (3, 2));
    assert_eq!(pipeline.close().await, report);
    assert!(pipeline.sync().await.is_err());
    assert_eq!(sink.len(), 1);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the bound is in real time")]
fn a_hung_sink_holds_up_drop_and_close_no_longer_than_stated() {
    let sink = Memory::closed();
    let start = std::time::Instant::now();
    let deadline = Duration::from_millis(200);
    let pipeline = AuditPipeline::builder(sink)
        .close_deadline(deadline)
        .build()
        .unwrap();
    pipeline.on_event(&started(&context(Role::Play, "cam")));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let report = runtime.block_on(pipeline.close());
    assert!(report.timed_out && !report.durable);
    assert_eq!(report.accepted, 1);
    drop(pipeline);
    assert!(start.elapsed() < Duration::from_secs(3));
}

/// A sink that blocks its thread cannot be interrupted.
#[test]
#[allow(clippy::disallowed_methods, reason = "the bound is in real time")]
fn a_sink_that_blocks_its_thread_holds_up_drop_no_longer_than_stated() {
    struct Blocking;
    #[async_trait::async_trait]
    impl livetrail_audit::AuditSink for Blocking {
        async fn write(&self, _record: AuditRecord) {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    let start = std::time::Instant::now();
    let deadline = Duration::from_millis(200);
    let builder = AuditPipeline::builder(Arc::new(Blocking)).close_deadline(deadline);
    drop(builder.build().unwrap());
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_panicking_sink_is_survived_and_costs_only_the_record_it_panicked_at() {
    let sink = Memory::panicking_at("bad");
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    for stream in ["a", "bad", "b", "bad", "c"] {
        pipeline.on_event(&started(&context(Role::Play, stream)));
    }
    wait_until(|| {
        losses(&sink.records())
            .iter()
            .map(|loss| loss.0)
            .sum::<u64>()
            == 2
    });
    pipeline.on_event(&started(&context(Role::Play, "d")));
    let report = pipeline.close().await;
    assert_eq!(report.sink_panics, 2);
    assert_eq!((report.offered, report.accepted, report.dropped), (6, 4, 2));
    assert_eq!(pipeline.sink_panics(), 2);
    let streams: Vec<_> = sink
        .records()
        .into_iter()
        .filter_map(|r| r.stream)
        .collect();
    assert_eq!(streams, ["a", "b", "c", "d"]);
    let (findings, _) = TrailChecker::without_boot_records().check(&sink.records());
    assert_eq!(findings, []);
}

#[tokio::test]
async fn a_boot_begins_beats_and_ends() {
    let sink = Memory::new();
    let clock = ManualClock::at(1_000_000);
    let pipeline = AuditPipeline::builder(sink.clone())
        .clock(clock.clone())
        .node("edge-1")
        .started_detail("version 1")
        .build()
        .unwrap();
    let publisher = context(Role::Publish, "cam");
    pipeline.on_event(&started(&publisher));
    wait_until(|| sink.len() == 2);
    for beats in 1..=3 {
        clock.advance(Duration::from_secs(60));
        wait_until(|| sink.len() == 2 + beats);
    }
    pipeline.on_event(&ended(&publisher, Reason::ClientClosed));
    pipeline.close().await;
    let labels = [
        "server_started",
        "publish_started",
        "heartbeat",
        "heartbeat",
        "heartbeat",
        "publish_ended",
        "server_stopped",
    ];
    assert_eq!(sink.labels(), labels);
    let records = sink.records();
    assert_eq!((records[0].seq, records[0].ts_ms), (Some(0), 1_000_000));
    assert_eq!(
        records[0].detail.as_ref().map(|d| d.expose()),
        Some("version 1")
    );
    assert_eq!(
        (records[2].last_seq, records[2].ts_ms),
        (Some(1), 1_060_000)
    );
    assert!(
        records
            .iter()
            .all(|record| record.node.as_deref() == Some("edge-1"))
    );
    assert_eq!(sink.check().0, []);
}

/// A clock whose wall time can be set while its monotonic time continues.
#[derive(Clone)]
struct Stepped {
    clock: ManualClock,
    ahead_ms: Arc<AtomicU64>,
}

impl Clock for Stepped {
    fn unix_ms(&self) -> u64 {
        self.clock.unix_ms() + self.ahead_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

#[tokio::test]
async fn a_boot_and_its_beats_say_how_good_the_clock_is_and_that_it_was_set() {
    let sink = Memory::new();
    let clock = Stepped {
        clock: ManualClock::at(1_000_000),
        ahead_ms: Arc::default(),
    };
    let pipeline = AuditPipeline::builder(sink.clone())
        .clock(clock.clone())
        .clock_state(|| {
            Some(ClockState {
                is_synced: true,
                error_us: 1_500,
            })
        })
        .build()
        .unwrap();
    wait_until(|| sink.len() == 1);
    // The first step is smaller than what is reported.
    for (beats, ahead_ms) in [(1, 400), (2, 3_600_400), (3, 3_600_000), (4, 0)] {
        clock.ahead_ms.store(ahead_ms, Ordering::SeqCst);
        clock.clock.advance(Duration::from_secs(60));
        wait_until(|| sink.len() == 1 + beats);
    }
    pipeline.close().await;
    let records = sink.records();
    for record in &records[..5] {
        assert!(record.clock_synced, "{record:?}");
        assert_eq!(record.clock_error_us, Some(1_500));
    }
    let steps = records
        .iter()
        .map(|record| record.extra.get("clock_step_ms").cloned());
    let step = |ms| Some(Value::Integer(ms));
    assert_eq!(
        steps.collect::<Vec<_>>(),
        [None, None, step(3_600_000), None, step(-3_600_000), None]
    );
}

#[tokio::test]
async fn an_end_that_finds_no_slot_waits_and_is_written_as_it_was() {
    let sink = Memory::new();
    let clock = ManualClock::at(1_000_000);
    let pipeline = AuditPipeline::builder(sink.clone())
        .clock(clock.clone())
        .capacity(1)
        .build()
        .unwrap();
    let (gone, alive) = (context(Role::Play, "gone"), context(Role::Play, "alive"));
    pipeline.on_event(&started(&gone));
    wait_until(|| sink.len() == 2);
    pipeline.on_event(&started(&alive));
    wait_until(|| sink.len() == 3);
    sink.shut();
    pipeline.on_event(&started(&context(Role::Publish, "a")));
    wait_until(|| pipeline.queue_depth() == 0);
    pipeline.on_event(&started(&context(Role::Publish, "b")));
    // A session whose start was dropped may lose its end, too.
    let unheard = context(Role::Play, "c");
    pipeline.on_event(&started(&unheard));
    pipeline.on_event(&ended(&unheard, Reason::ClientClosed));
    assert_eq!(pipeline.dropped(), 2);
    pipeline.on_event(&ended(&gone, Reason::ClientClosed));
    assert_eq!(
        (pipeline.dropped(), pipeline.counters().waiting_ends),
        (2, 1)
    );
    let session = gone.session.as_uuid();
    drop(gone);
    sink.open();
    wait_until(|| sink.labels().contains(&"records_dropped".to_owned()));
    let of_gone = |record: &AuditRecord| record.session == Some(session);
    let end = sink.records().into_iter().filter(of_gone).nth(1).unwrap();
    assert_eq!(
        (end.reason, end.inferred),
        (Some(Reason::ClientClosed), false)
    );
    for _ in 0..3 {
        let before = sink.len();
        clock.advance(Duration::from_secs(61));
        wait_until(|| sink.len() > before);
    }
    let inferred = |records: &[AuditRecord]| -> Vec<_> {
        records
            .iter()
            .filter(|r| r.inferred)
            .map(|r| r.session.unwrap())
            .collect()
    };
    assert!(inferred(&sink.records()).is_empty());
    pipeline.on_event(&ended(&alive, Reason::ClientClosed));
    pipeline.close().await;
    assert_eq!(inferred(&sink.records()).len(), 2, "those that were live");
    assert_eq!(sink.check().0, []);
}

#[tokio::test]
async fn a_crash_is_closed_by_the_next_boot_from_the_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trail.tsv");
    let boot = || async {
        let recovered = open_sessions(&path).unwrap();
        let sink = Arc::new(livetrail_audit::FileAuditSink::open(&path).unwrap());
        let count = recovered.open.len();
        let builder = AuditPipeline::builder(sink).recovered(recovered.open);
        (count, builder.build().unwrap())
    };
    let (_, first) = boot().await;
    first.on_event(&started(&context(Role::Publish, "cam")));
    first.on_event(&started(&context(Role::Play, "cam")));
    first.sync().await.unwrap();
    // The process is gone, so the test ignores what the first boot still writes.
    let mut crashed = std::fs::read(&path).unwrap();
    first.close().await;
    crashed.extend_from_slice(b"1763805600123\tplay_sta");
    std::fs::write(&path, crashed).unwrap();

    let (count, second) = boot().await;
    assert_eq!(count, 2);
    second.close().await;
    let records: Vec<_> = livetrail_audit::FileTrail::open(&path)
        .unwrap()
        .map(|line| line.unwrap().record)
        .collect();
    let labels: Vec<_> = records.iter().map(|record| record.action.label()).collect();
    let expected = [
        "server_started",
        "publish_started",
        "play_started",
        "server_started",
        "publish_ended",
        "play_ended",
        "server_stopped",
    ];
    assert_eq!(labels, expected);
    assert_eq!(records[3].count, Some(2));
    assert!(records[4].inferred && records[4].reason == Some(Reason::ServerCrash));
    let (findings, report) = TrailChecker::new().check(&records);
    assert_eq!(findings, []);
    assert_eq!(report.open, []);
}

#[tokio::test]
async fn an_engine_with_the_pipeline_leaves_a_sound_trail() {
    let sink = Memory::new();
    let pipeline = Arc::new(AuditPipeline::builder(sink.clone()).build().unwrap());
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Arc::clone(&pipeline))
        .build()
        .unwrap();
    let mut publication = engine
        .publish(Attempt::new(key("cam"), "rtmp"))
        .await
        .unwrap();
    let playback = engine
        .play(Attempt::new(key("cam"), "http-flv"))
        .await
        .unwrap();
    assert!(
        engine
            .publish(Attempt::new(key("cam"), "rtmp"))
            .await
            .is_err()
    );
    let frame = MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, "x".into());
    publication.push(frame).unwrap();
    drop(playback);
    drop(publication);
    pipeline.close().await;
    let expected = [
        "server_started",
        "publish_started",
        "play_started",
        "publish_denied",
        "play_ended",
        "publish_ended",
        "server_stopped",
    ];
    assert_eq!(sink.labels(), expected);
    let (findings, report) = sink.check();
    assert_eq!(findings, []);
    assert_eq!(report.closed_sessions, 3);
    assert_eq!(sink.records()[5].frames, Some(1));
    let _ = totals();
}

#[cfg(feature = "serde")]
#[test]
fn a_status_is_serialized_with_the_causes_of_its_error() {
    let json = |status: Status| serde_json::to_value(status).unwrap();
    let error = std::io::Error::other("the disk is gone");
    let failing = Status::Failing {
        since_ms: 5,
        error: livetrail_audit::SinkError::Write(Arc::new(error)),
    };
    assert_eq!(
        json(failing),
        serde_json::json!({
            "state": "failing",
            "since_ms": 5,
            "error": "writing failed: the disk is gone",
        })
    );
    let healthy = serde_json::json!({ "state": "healthy" });
    assert_eq!(json(Status::Healthy), healthy);
}
