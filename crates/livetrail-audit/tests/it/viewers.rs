//! What is on record of a viewer that consists of many requests.

use std::sync::Arc;
use std::time::Duration;

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord};
use livetrail_engine::{
    Admission, AppSpec, Attempt, Engine, ManualClock, SessionId, StreamKey, ViewerToken, Viewing,
};
use livetrail_record::{TrailChecker, Uuid, Value, encode_canonical, parse_canonical};

use crate::common::Memory;

const LEASE: Duration = Duration::from_secs(12);

const EXPIRES_MS: u64 = 1_796_200_000_000;

async fn watch(engine: &Engine, token: ViewerToken) -> Viewing {
    let key = StreamKey::parse("live", "cam").unwrap();
    let attempt = Attempt::new(key, "hls")
        .peer("192.0.2.1:4711".parse().unwrap())
        .admitted(Admission::of("alice"))
        .token(token);
    engine.watch(attempt, LEASE).await.unwrap()
}

fn of(records: &[AuditRecord], session: SessionId) -> Vec<AuditRecord> {
    let session = Some(session.as_uuid());
    let of_session = records.iter().filter(|record| record.session == session);
    of_session.cloned().collect()
}

fn text(record: &AuditRecord, name: &str) -> Option<String> {
    match record.extra.get(name)? {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_token_its_addresses_and_its_revocation_are_on_record() {
    let (sink, clock) = (Memory::new(), ManualClock::at(1_796_113_800_000));
    let pipeline = AuditPipeline::builder(sink.clone()).build().unwrap();
    let pipeline = Arc::new(pipeline);
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .clock(Arc::new(clock.clone()))
        .observer(pipeline.clone())
        .build()
        .unwrap();
    let key = StreamKey::parse("live", "cam").unwrap();
    let _publication = engine.publish(Attempt::new(key, "rtmp")).await.unwrap();
    let link = Uuid::from_u128(7);
    let token = ViewerToken::new(Uuid::from_u128(1), EXPIRES_MS).share(Some(link));

    let first = watch(&engine, token).await;
    for peer in ["192.0.2.2:1", "192.0.2.1:2"] {
        clock.advance(Duration::from_secs(1));
        first.touch_from(peer.parse().unwrap()).unwrap();
    }
    let sessions = [first.session()];
    drop(first);
    let second = watch(&engine, token).await;
    let sessions = [sessions[0], second.session()];
    engine.kick(second.session()).unwrap();
    pipeline.sync().await.unwrap();

    let records = sink.records();
    let (findings, _) = TrailChecker::new().check(&records);
    assert_eq!(findings, []);
    let first = of(&records, sessions[0]);
    let actions = |records: &[AuditRecord]| -> Vec<AuditAction> {
        records.iter().map(|record| record.action.clone()).collect()
    };
    let (shared, revoked) = (AuditAction::TokenShared, AuditAction::TokenRevoked);
    let ended = AuditAction::PlayEnded;
    let expected = [AuditAction::PlayStarted, shared, ended.clone()];
    assert_eq!(actions(&first), expected);
    let id = Some(token.id.to_string());
    let fields = [
        "counted_by",
        "viewer_token",
        "share_link",
        "resumed",
        "resumes",
    ];
    let values = fields.map(|name| text(&first[0], name));
    let by_token = Some("token".to_owned());
    assert_eq!(
        values,
        [
            by_token.clone(),
            id.clone(),
            Some(link.to_string()),
            None,
            None
        ]
    );
    assert_eq!(text(&first[1], "peers").as_deref(), Some("2"));
    assert_eq!(text(&first[2], "peers").as_deref(), Some("2"));
    assert_eq!(
        text(&first[2], "last_seen_ms").as_deref(),
        Some("1796113802000")
    );

    let second = of(&records, sessions[1]);
    assert_eq!(actions(&second), [AuditAction::PlayStarted, revoked, ended]);
    let values = fields.map(|name| text(&second[0], name));
    let before = Some(sessions[0].to_string());
    let resumed = Some("true".to_owned());
    assert_eq!(
        values,
        [
            by_token,
            id.clone(),
            Some(link.to_string()),
            resumed,
            before
        ]
    );
    assert_eq!(text(&second[1], "viewer_token"), id);
    assert_eq!(text(&second[1], "until_ms"), Some(EXPIRES_MS.to_string()));
    for record in &records {
        let bytes = encode_canonical(record).unwrap();
        assert_eq!(parse_canonical(&bytes).as_ref(), Ok(record));
    }
}

#[tokio::test]
async fn what_a_viewer_gets_from_caches_is_unknown_on_record() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::builder(sink.clone()).build().unwrap();
    let pipeline = Arc::new(pipeline);
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(pipeline.clone())
        .build()
        .unwrap();
    let key = StreamKey::parse("live", "cam").unwrap();
    let _publication = engine.publish(Attempt::new(key, "rtmp")).await.unwrap();
    let mut ended = Vec::new();
    for from_caches in [false, true] {
        let token = ViewerToken::new(Uuid::from_u128(from_caches.into()), u64::MAX);
        let viewing = watch(&engine, token.from_caches(from_caches)).await;
        viewing.count(3, 4_000);
        let session = viewing.session();
        drop(viewing);
        pipeline.sync().await.unwrap();
        let records = of(&sink.records(), session);
        let expected = from_caches.then(|| "caches".to_owned());
        assert_eq!(text(&records[0], "media_from"), expected);
        let last = records.last().unwrap();
        ended.push((last.bytes, last.frames, last.dropped_frames));
    }
    assert_eq!(ended, [(Some(4_000), Some(3), Some(0)), (None, None, None)]);
    let (findings, _) = TrailChecker::new().check(&sink.records());
    assert_eq!(findings, []);
}
