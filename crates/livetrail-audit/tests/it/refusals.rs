//! Refused attempts become few records, and each attempt is counted. A verifier that does not know
//! about this finds no error.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Memory, context, ended, event, started, wait_until};
use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, Outcome, Reason};
use livetrail_engine::{
    AppSpec, Attempt, Engine, ManualClock, Observer, Role, SessionContext, SessionId, StreamEvent,
    StreamEventKind, StreamKey,
};
use livetrail_record::{TrailChecker, Value, encode_canonical, parse_canonical};

fn denied_from(peer: &str, role: Role, stream: &str, reason: Reason) -> StreamEvent {
    let key = StreamKey::parse("live", stream).unwrap();
    let mut context = SessionContext::new(SessionId::at(1_763_805_600_000), role, key);
    context.peer = Some(peer.parse().unwrap());
    context.protocol = "rtmp";
    event(
        &Arc::new(context),
        StreamEventKind::denied(role, reason, None),
    )
}

fn admitted_from(peer: &str, role: Role) -> Arc<SessionContext> {
    let mut context = SessionContext::clone(&context(role, "cam"));
    context.peer = Some(peer.parse().unwrap());
    Arc::new(context)
}

/// Returns the records as an older verifier reads them. It knows only one attempt per record. An
/// unknown field is extra to it, and an unknown action is not part of a session.
fn as_before(records: &[AuditRecord]) -> Vec<AuditRecord> {
    records
        .iter()
        .map(|record| {
            let mut record = parse_canonical(&encode_canonical(record).unwrap()).unwrap();
            let unknown = [
                ("x_distinct", record.distinct.take()),
                ("x_first", record.first_ts_ms.take()),
                ("x_last", record.last_ts_ms.take()),
                ("x_before", record.refused_before.take()),
            ];
            for (name, value) in unknown {
                if let Some(value) = value {
                    let value = Value::Integer(i64::try_from(value).unwrap());
                    record.extra.insert(name, value).unwrap();
                }
            }
            if record.action == AuditAction::AdminDenied {
                record.action = AuditAction::Other(record.action.label().to_owned());
            }
            record
        })
        .collect()
}

fn assert_sound(sink: &Memory) {
    for records in [sink.records(), as_before(&sink.records())] {
        let (findings, report) = TrailChecker::new().check(&records);
        assert_eq!(findings, []);
        assert_eq!(report.open, []);
    }
}

fn refusals(sink: &Memory) -> Vec<AuditRecord> {
    let records = sink.records().into_iter();
    records.filter(|r| r.action.is_refusal()).collect()
}

fn attempts(records: &[AuditRecord]) -> u64 {
    records.iter().map(|r| r.count.unwrap_or(1)).sum()
}

#[tokio::test]
async fn a_flood_of_refusals_is_two_records_with_numbers_of_their_own() {
    let sink = Memory::new();
    let clock = ManualClock::at(1_763_805_600_000);
    let pipeline = AuditPipeline::builder(sink.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    let viewer = context(Role::Play, "cam");
    pipeline.on_event(&started(&viewer));
    for n in 0..5_000 {
        let reason = Reason::Unauthorized;
        let peer = format!("192.0.2.66:{}", 1_024 + n);
        pipeline.on_event(&denied_from(
            &peer,
            Role::Publish,
            &format!("s{}", n % 9),
            reason,
        ));
        wait_until(|| pipeline.queue_depth() < 1_000);
    }
    pipeline.on_event(&ended(&viewer, Reason::ClientClosed));
    wait_until(|| pipeline.counters().refused_attempts == 5_000);
    clock.advance(Duration::from_secs(10));
    wait_until(|| refusals(&sink).len() == 2);
    let report = pipeline.close().await;
    assert_eq!(
        (report.offered, report.accepted, report.dropped),
        (5_002, 5_002, 0)
    );
    let found = refusals(&sink);
    let (first, rest) = (&found[0], &found[1]);
    assert_eq!((first.count, first.stream.as_deref()), (None, Some("s0")));
    assert!(first.peer.as_ref().unwrap().expose().ends_with(":1024"));
    assert_eq!((rest.count, rest.distinct), (Some(4_999), Some(9)));
    assert_eq!(rest.outcome, Some(Outcome::Denied));
    assert_eq!(rest.reason, Some(Reason::Unauthorized));
    assert_ne!(rest.session, first.session);
    assert!(rest.session.unwrap().get_version_num() == 7 && rest.seq.is_some());
    // The numbers are those of the server's start and stop, two of the viewer, and two of the
    // refusals. No attempt took a number.
    let seqs: Vec<_> = sink.records().iter().map(|r| r.seq.unwrap()).collect();
    assert_eq!(seqs.iter().max(), Some(&5));
    let counters = pipeline.counters();
    assert_eq!(
        (counters.aggregated_attempts, counters.refusal_records),
        (4_999, 2)
    );
    assert_eq!(counters.suppressed_attempts, 0);
    assert_sound(&sink);
}

#[tokio::test]
async fn closing_writes_out_what_was_counted_and_no_more_than_ten_seconds_worth() {
    let sink = Memory::new();
    let clock = ManualClock::at(1_763_805_600_000);
    let pipeline = AuditPipeline::builder(sink.clone())
        .clock(clock.clone())
        .refusal_records_per_second(4)
        .build()
        .unwrap();
    let mut offered = 0;
    for n in 0_u32..65_536 {
        let [_, _, c, d] = n.to_be_bytes();
        let reason = Reason::StreamNotFound;
        pipeline.on_event(&denied_from(
            &format!("10.0.{c}.{d}:1"),
            Role::Play,
            "cam",
            reason,
        ));
        offered += 1;
        if n % 256 == 0 {
            clock.advance(Duration::from_millis(100));
            // Some attempts find no slot in the lane. They are counted, too.
            std::thread::yield_now();
        }
    }
    let report = pipeline.close().await;
    assert_eq!(
        (report.offered, report.accepted, report.dropped),
        (offered, offered, 0)
    );
    let found = refusals(&sink);
    assert_eq!(attempts(&found), offered);
    // The bound: four per second for 26 s, those of the first second, and those that closing may
    // write.
    assert!(found.len() <= 4 * 27 + 4 * 10 + 4, "{}", found.len());
    assert_sound(&sink);
}

#[tokio::test]
async fn what_finds_no_slot_is_counted_while_the_sink_hangs() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::builder(sink.clone())
        .capacity(64)
        .build()
        .unwrap();
    sink.wait_for_call();
    let viewer = context(Role::Play, "cam");
    pipeline.on_event(&started(&viewer));
    for _ in 0..10_000 {
        let reason = Reason::Unauthorized;
        pipeline.on_event(&denied_from("192.0.2.66:1", Role::Play, "cam", reason));
    }
    pipeline.on_event(&ended(&viewer, Reason::ClientClosed));
    assert_eq!(
        pipeline.dropped(),
        0,
        "a flood of refusals displaces nothing"
    );
    sink.open();
    let report = pipeline.close().await;
    assert_eq!((report.offered, report.dropped), (10_002, 0));
    assert_eq!(attempts(&refusals(&sink)), 10_000);
    assert!(pipeline.counters().suppressed_attempts >= 10_000 - 64);
    assert_sound(&sink);
}

#[tokio::test]
async fn a_success_after_refusals_from_its_address_says_how_many() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::builder(sink.clone()).build().unwrap();
    let reason = Reason::Unauthorized;
    for port in 1..=41 {
        let peer = format!("192.0.2.66:{port}");
        pipeline.on_event(&denied_from(&peer, Role::Publish, "cam", reason.clone()));
    }
    pipeline.on_event(&denied_from(
        "192.0.2.67:1",
        Role::Publish,
        "cam",
        reason.clone(),
    ));
    let broke_in = admitted_from("192.0.2.66:99", Role::Publish);
    let other = admitted_from("192.0.2.99:1", Role::Play);
    pipeline.on_event(&started(&broke_in));
    pipeline.on_event(&started(&other));
    // This refusal comes after the success, so it does not count for it.
    pipeline.on_event(&denied_from(
        "192.0.2.66:1",
        Role::Publish,
        "cam",
        reason.clone(),
    ));
    pipeline.on_event(&ended(&broke_in, Reason::ClientClosed));
    pipeline.on_event(&ended(&other, Reason::ClientClosed));
    let again = admitted_from("192.0.2.66:100", Role::Play);
    pipeline.on_event(&started(&again));
    pipeline.on_event(&ended(&again, Reason::ClientClosed));
    pipeline.close().await;
    let before = |context: &Arc<SessionContext>| {
        let session = Some(context.session.as_uuid());
        let records = sink.records().into_iter();
        let mut of_session = records.filter(move |r| r.session == session);
        of_session.next().unwrap().refused_before
    };
    assert_eq!(
        [&broke_in, &other, &again].map(before),
        [Some(41), None, Some(1)]
    );
    assert_sound(&sink);
}

#[tokio::test]
async fn refused_tokens_are_counted_by_address_and_a_host_may_count_connections_itself() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::builder(sink.clone()).build().unwrap();
    for port in 1..=300 {
        let record = AuditRecord::new(AuditAction::AdminDenied, "")
            .with_reason(Reason::Unauthorized)
            .with_protocol("http-api")
            .with_peer(format!("192.0.2.66:{port}"));
        pipeline.record(record).unwrap();
        wait_until(|| pipeline.queue_depth() < 50);
    }
    let connections = AuditRecord::new(AuditAction::PublishDenied, "-")
        .with_session(SessionId::at(1).as_uuid())
        .with_reason(Reason::AddressDenied)
        .with_peer("192.0.2.66:9")
        .with_count(12_345);
    pipeline.record(connections).unwrap();
    pipeline.close().await;
    let found: Vec<_> = refusals(&sink)
        .into_iter()
        .map(|r| (r.action.label().to_owned(), r.count, r.session.is_some()))
        .collect();
    assert_eq!(
        found,
        [
            ("admin_denied".to_owned(), None, false),
            ("publish_denied".to_owned(), Some(12_345), true),
            ("admin_denied".to_owned(), Some(299), false),
        ]
    );
    assert_sound(&sink);
}

#[tokio::test]
async fn an_engine_that_refuses_leaves_a_sound_trail() {
    let sink = Memory::new();
    let pipeline = Arc::new(AuditPipeline::builder(sink.clone()).build().unwrap());
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Arc::clone(&pipeline))
        .build()
        .unwrap();
    let attempt = |app: &str, stream: &str| {
        let key = StreamKey::parse(app, stream).unwrap();
        Attempt::new(key, "rtmp").peer("192.0.2.7:1".parse().unwrap())
    };
    for n in 0..50 {
        let stream = format!("none{n}");
        engine.play(attempt("live", &stream)).await.unwrap_err();
        engine.play(attempt(&stream, "cam")).await.unwrap_err();
    }
    let publication = engine.publish(attempt("live", "cam")).await.unwrap();
    drop(publication);
    pipeline.close().await;
    assert_eq!(attempts(&refusals(&sink)), 100);
    assert!(refusals(&sink).len() <= 6);
    assert_sound(&sink);
}
