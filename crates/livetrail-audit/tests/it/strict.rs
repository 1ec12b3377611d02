//! The strict policy: no media before the session's first record is durable.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Memory, context, key, started, wait_until};
use livetrail_audit::{AuditPipeline, Mode, Policies, Policy, Status};
use livetrail_engine::{AppSpec, Attempt, Engine, Gate, Observer, Reason, Role, SessionContext};

fn strict() -> Policy {
    Policy::of(Mode::Strict)
}

async fn confirm(gate: &impl Gate, session: &SessionContext) -> Result<(), Reason> {
    gate.confirm(session).await
}

#[tokio::test]
async fn a_session_starts_when_its_first_record_is_synced() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    let gate = pipeline.gate(strict());
    let publisher = context(Role::Publish, "cam");
    pipeline.on_event(&started(&publisher));
    let confirmed = confirm(&gate, &publisher);
    tokio::pin!(confirmed);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut confirmed).await;
    assert!(early.is_err(), "the sink has it not yet");
    sink.open();
    assert_eq!(confirmed.await, Ok(()));
    assert_eq!((sink.len(), sink.flushes()), (1, 1));
    assert_eq!(pipeline.durable(), 1);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the deadline is in real time")]
async fn a_hung_sink_is_a_refusal_after_the_deadline_and_never_a_hang() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    let gate = pipeline.gate(strict().deadline(Duration::from_millis(1_200)));
    let publisher = context(Role::Publish, "cam");
    pipeline.on_event(&started(&publisher));
    let begun = std::time::Instant::now();
    assert_eq!(
        confirm(&gate, &publisher).await,
        Err(Reason::AuditUnavailable)
    );
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_200) && took < Duration::from_secs(3));
    assert!(
        matches!(pipeline.status(), Status::Failing { .. }),
        "red within a second"
    );
    sink.open();
    wait_until(|| pipeline.status().is_healthy());
}

#[tokio::test]
async fn a_session_whose_first_record_was_dropped_is_refused() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::new(sink.clone(), 1);
    let gate = pipeline.gate(strict());
    let sessions: Vec<_> = (0..3).map(|_| context(Role::Publish, "cam")).collect();
    pipeline.on_event(&started(&sessions[0]));
    sink.wait_for_call();
    pipeline.on_event(&started(&sessions[1]));
    pipeline.on_event(&started(&sessions[2]));
    assert_eq!(pipeline.dropped(), 1);
    sink.open();
    assert_eq!(confirm(&gate, &sessions[0]).await, Ok(()));
    assert_eq!(confirm(&gate, &sessions[1]).await, Ok(()));
    assert_eq!(
        confirm(&gate, &sessions[2]).await,
        Err(Reason::AuditUnavailable)
    );
}

#[tokio::test]
async fn a_sync_that_fails_refuses_and_is_visible_until_one_succeeds() {
    let sink = Memory::new();
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    let gate = pipeline.gate(strict());
    let publisher = context(Role::Publish, "cam");
    pipeline.on_event(&started(&publisher));
    sink.fail_syncs(true);
    assert_eq!(
        confirm(&gate, &publisher).await,
        Err(Reason::AuditUnavailable)
    );
    assert!(matches!(pipeline.status(), Status::Failing { .. }));
    assert_eq!((pipeline.sync_errors(), pipeline.durable()), (1, 0));
    sink.fail_syncs(false);
    assert_eq!(confirm(&gate, &publisher).await, Ok(()));
    assert!(pipeline.status().is_healthy());
}

#[tokio::test]
async fn a_record_that_the_sink_panicked_at_is_not_durable() {
    let sink = Memory::panicking_at("bad");
    let pipeline = AuditPipeline::new(sink, 64);
    let gate = pipeline.gate(strict());
    let publisher = context(Role::Publish, "bad");
    pipeline.on_event(&started(&publisher));
    assert_eq!(
        confirm(&gate, &publisher).await,
        Err(Reason::AuditUnavailable)
    );
}

#[tokio::test]
async fn the_policy_is_by_role_and_a_closed_pipeline_refuses() {
    let pipeline = AuditPipeline::new(Memory::new(), 64);
    let gate = pipeline.gate(Policy::default());
    let (publisher, viewer) = (context(Role::Publish, "cam"), context(Role::Play, "cam"));
    assert_eq!(
        confirm(&gate, &viewer).await,
        Ok(()),
        "best effort asks nobody"
    );
    assert_eq!(
        confirm(&gate, &publisher).await,
        Err(Reason::AuditUnavailable),
        "never offered"
    );
    pipeline.close().await;
    assert_eq!(confirm(&gate, &viewer).await, Ok(()));
    assert_eq!(
        confirm(&gate, &publisher).await,
        Err(Reason::AuditUnavailable)
    );
}

#[tokio::test]
async fn an_application_has_its_own_policy_and_another_one_is_put_in_force() {
    let pipeline = AuditPipeline::new(Memory::new(), 64);
    let live = || "live".parse().unwrap();
    let relaxed = Policies::new(Policy::of(Mode::BestEffort));
    let gate = pipeline.gate(relaxed.clone().application(live(), strict()));
    let handle = gate.clone();
    let viewer = context(Role::Play, "cam");
    let unrecorded = Err(Reason::AuditUnavailable);
    assert_eq!(confirm(&gate, &viewer).await, unrecorded, "never offered");
    assert!(handle.is_strict());
    handle.exchange(relaxed);
    assert_eq!(confirm(&gate, &viewer).await, Ok(()));
    assert!(!gate.is_strict());
    handle.exchange(strict());
    assert_eq!(confirm(&gate, &viewer).await, unrecorded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_share_one_sync() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::new(sink.clone(), 1_024);
    let gate = Arc::new(pipeline.gate(strict()));
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let session = context(Role::Publish, "cam");
            pipeline.on_event(&started(&session));
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.confirm(&session).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    sink.open();
    for confirmed in waiting {
        assert_eq!(confirmed.await.unwrap(), Ok(()));
    }
    assert!(
        sink.flushes() <= 5,
        "{} syncs for 200 sessions",
        sink.flushes()
    );
}

#[tokio::test]
async fn an_engine_lets_nothing_flow_that_is_not_on_the_record() {
    let sink = Memory::new();
    let pipeline = Arc::new(AuditPipeline::builder(sink.clone()).build().unwrap());
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Arc::clone(&pipeline))
        .gate(pipeline.gate(Policy::default().deadline(Duration::from_millis(100))))
        .build()
        .unwrap();
    let publication = engine
        .publish(Attempt::new(key("cam"), "rtmp"))
        .await
        .unwrap();
    sink.shut();
    let refused = engine
        .publish(Attempt::new(key("other"), "rtmp"))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::AuditUnavailable);
    drop(publication);
    sink.open();
    pipeline.close().await;
    assert_eq!(sink.check().0, []);
    let reasons: Vec<_> = sink
        .records()
        .iter()
        .filter_map(|r| r.reason.clone())
        .collect();
    assert!(reasons.contains(&Reason::AuditUnavailable));
}
