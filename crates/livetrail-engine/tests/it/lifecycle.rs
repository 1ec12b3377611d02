//! Sessions: each ends exactly once, with the right reason, for any cause; and each outcome is one
//! event.

use std::{sync::Arc, time::Duration};

use crate::support::*;
use async_trait::async_trait;
use livetrail_engine::*;

fn engine(journal: &Journal, clock: &ManualClock) -> EngineBuilder {
    Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
        .clock(clock.clone())
}

fn setup() -> (Journal, ManualClock, Engine) {
    let (journal, clock) = (Journal::default(), ManualClock::at(1_800_000_000_000));
    let engine = engine(&journal, &clock).build().unwrap();
    (journal, clock, engine)
}

#[tokio::test]
async fn a_publish_and_a_play_are_two_events_each_with_totals() {
    let (journal, clock, engine) = setup();
    let mut events = engine.subscribe_events();
    let mut publication = engine
        .publish(attempt("cam").user_agent("obs"))
        .await
        .unwrap();
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    for n in 0..3 {
        publication
            .push(if n == 0 { keyframe(0) } else { delta(n) })
            .unwrap();
    }
    for n in 0..3 {
        assert_eq!(number(&playback.next().await.unwrap()), n);
    }
    clock.advance(Duration::from_millis(1_500));
    let (publisher, viewer) = (publication.session(), playback.session());
    playback.end(Reason::NetworkError);
    drop(publication);
    let mut totals = SessionTotals::default();
    totals.duration = Duration::from_millis(1_500);
    totals.bytes = 24;
    totals.frames = 3;
    assert_eq!(
        journal.of(publisher),
        [
            StreamEventKind::PublishStarted,
            StreamEventKind::PublishEnded {
                reason: Reason::ClientClosed,
                totals,
                detail: None,
            }
        ]
    );
    assert_eq!(
        journal.of(viewer),
        [
            StreamEventKind::PlayStarted,
            StreamEventKind::PlayEnded {
                reason: Reason::NetworkError,
                totals,
                detail: None,
            }
        ]
    );
    let all = journal.events();
    assert_eq!(all[0].context.user_agent.as_deref(), Some("obs"));
    assert_eq!(
        (all[0].ts_ms, all[3].ts_ms, all[3].mono_ms),
        (1_800_000_000_000, 1_800_000_001_500, 1_500)
    );
    for event in all {
        assert_eq!(
            events.recv().await.unwrap(),
            event,
            "the event stream says the same"
        );
    }
    assert!(engine.sessions().is_empty() && engine.streams().is_empty());
    let counts = engine.totals();
    assert_eq!(
        (
            counts.publish.started,
            counts.publish.frames,
            counts.play.bytes
        ),
        (1, 3, 24)
    );
    assert_eq!((counts.publish.live, counts.play.live), (0, 0));
}

#[tokio::test]
async fn refusals_are_one_event_with_the_reason() {
    let (journal, _clock, engine) = setup();
    let mut limits = Limits::default();
    limits.max_publishers = 1;
    limits.max_subscribers_per_stream = 1;
    engine.set_limits(limits);
    let denied = |result: Result<Publication, Denied>| result.map(|_| ()).unwrap_err().reason;
    let elsewhere = Attempt::new(StreamKey::parse("nope", "cam").unwrap(), "test");
    assert_eq!(denied(engine.publish(elsewhere).await), Reason::AppNotFound);
    assert_eq!(
        engine.play(attempt("cam")).await.unwrap_err().reason,
        Reason::StreamNotFound
    );
    let _publication = engine.publish(attempt("cam")).await.unwrap();
    assert_eq!(
        denied(engine.publish(attempt("cam")).await),
        Reason::AlreadyPublishing
    );
    assert_eq!(
        denied(engine.publish(attempt("cam2")).await),
        Reason::LimitReached
    );
    let _playback = engine.play(attempt("cam")).await.unwrap();
    let refused = engine.play(attempt("cam")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::LimitReached);
    assert_eq!(
        refused.to_string(),
        "play of live/cam refused: limit_reached"
    );
    assert_eq!(
        journal.of(refused.session),
        [StreamEventKind::PlayDenied {
            reason: Reason::LimitReached,
            detail: None
        }]
    );
    assert_eq!(
        journal.labels(),
        [
            "publish_denied",
            "play_denied",
            "publish_started",
            "publish_denied",
            "publish_denied",
            "play_started",
            "play_denied"
        ]
    );
    assert_eq!(engine.totals().publish.denied, 3);
}

#[tokio::test]
async fn the_end_of_a_publisher_ends_its_viewers_after_the_last_frame() {
    let (journal, _clock, engine) = setup();
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    drop(publication);
    assert_eq!(number(&playback.next().await.unwrap()), 0);
    assert!(playback.next().await.is_none());
    assert_eq!(playback.end_reason(), Some(Reason::StreamEnded));
    assert!(playback.next().await.is_none(), "and stays so");
    drop(playback);
    assert_eq!(
        journal.labels(),
        [
            "publish_started",
            "play_started",
            "publish_ended",
            "play_ended"
        ]
    );
}

#[tokio::test]
async fn a_waiting_viewer_wakes_when_its_stream_ends_or_it_is_kicked() {
    let (journal, _clock, engine) = setup();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let mut first = engine.play(attempt("cam")).await.unwrap();
    let mut second = engine.play(attempt("cam")).await.unwrap();
    let (id, signal) = (second.session(), second.end_signal());
    let first = tokio::spawn(async move { (first.next().await.is_none(), first.end_reason()) });
    let second = tokio::spawn(async move { (second.next().await.is_none(), second.end_reason()) });
    let signal = tokio::spawn(async move { signal.wait().await });
    tokio::task::yield_now().await;
    let ended = engine.kick(id).unwrap();
    assert_eq!((ended.session, ended.role), (id, Role::Play));
    assert_eq!(second.await.unwrap(), (true, Some(Reason::Kicked)));
    assert_eq!(signal.await.unwrap(), Reason::Kicked);
    assert!(matches!(engine.kick(id), Err(Error::NoSuchSession)));
    drop(publication);
    assert_eq!(first.await.unwrap(), (true, Some(Reason::StreamEnded)));
    assert_eq!(
        journal
            .labels()
            .iter()
            .filter(|l| **l == "play_ended")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_session_ends_once_on_panic_and_on_abort() {
    let (journal, _clock, engine) = setup();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let (panicking, aborted) = (
        engine.play(attempt("cam")).await.unwrap(),
        engine.play(attempt("cam")).await.unwrap(),
    );
    let ids = (panicking.session(), aborted.session());
    let task = tokio::spawn(async move {
        let _held = panicking;
        panic!("a fault on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    let task = tokio::spawn(async move {
        let mut held = aborted;
        held.next().await;
    });
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let reason = |id| match &journal.of(id)[..] {
        [
            StreamEventKind::PlayStarted,
            StreamEventKind::PlayEnded { reason, .. },
        ] => reason.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (reason(ids.0), reason(ids.1)),
        (Reason::InternalError, Reason::ClientClosed)
    );
    drop(publication);
}

#[tokio::test]
async fn an_attempt_that_is_given_up_is_recorded() {
    struct Never;
    #[async_trait]
    impl Authenticator for Never {
        async fn authenticate(&self, _role: Role, _attempt: &Attempt) -> Verdict {
            std::future::pending().await
        }
    }
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock)
        .authenticator(Never)
        .build()
        .unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(5), engine.publish(attempt("cam"))).await;
    assert!(gone.is_err());
    assert_eq!(
        journal
            .events()
            .iter()
            .map(|e| e.kind.clone())
            .collect::<Vec<_>>(),
        [StreamEventKind::PublishDenied {
            reason: Reason::ClientClosed,
            detail: None
        }]
    );
}

#[tokio::test]
async fn a_gate_that_refuses_ends_the_session_it_saw_start() {
    struct Shut;
    #[async_trait]
    impl Gate for Shut {
        async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
            if session.role == Role::Publish {
                Err(Reason::AuditUnavailable)
            } else {
                Ok(())
            }
        }
    }
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock).gate(Shut).build().unwrap();
    let denied = engine.publish(attempt("cam")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::AuditUnavailable);
    assert_eq!(journal.labels(), ["publish_started", "publish_ended"]);
    assert!(engine.streams().is_empty());
}

#[tokio::test]
async fn a_second_publisher_replaces_the_first_where_that_is_the_policy() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let app = AppSpec::new("live").duplicate_publisher(DuplicatePublisher::Replace);
    let engine = Engine::builder()
        .application(app)
        .observer(journal.clone())
        .clock(clock)
        .build()
        .unwrap();
    let mut old = engine.publish(attempt("cam")).await.unwrap();
    let mut viewer = engine.play(attempt("cam")).await.unwrap();
    let mut new = engine.publish(attempt("cam")).await.unwrap();
    assert_eq!(old.push(keyframe(0)).unwrap_err().reason, Reason::Replaced);
    assert!(new.push(keyframe(1)).is_ok());
    assert!(viewer.next().await.is_none());
    let old_id = old.session();
    drop(old);
    assert_eq!(
        engine.streams().len(),
        1,
        "the old one's end does not take the new one away"
    );
    assert!(matches!(
        journal.of(old_id)[..],
        [
            StreamEventKind::PublishStarted,
            StreamEventKind::PublishEnded {
                reason: Reason::Replaced,
                ..
            }
        ]
    ));
    assert_eq!(
        journal.labels()[..4],
        [
            "publish_started",
            "play_started",
            "publish_started",
            "publish_ended"
        ]
    );
}

/// Nobody calls `sweep` here: the engine checks streams by itself, also after a time without any.
#[tokio::test]
async fn idle_streams_are_reaped_again_after_a_time_without_any() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock)
        .idle_timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    for _ in 0..3 {
        let mut silent = engine.publish(attempt("silent")).await.unwrap();
        clock.advance(Duration::from_secs(11));
        let reaped = tokio::time::timeout(Duration::from_secs(10), async {
            while silent.push(delta(0)).is_ok() {
                clock.advance(Duration::from_secs(11));
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        reaped.await.expect("reaped within two sweeps");
        // This is longer than the time between two sweeps: the next sweep finds no streams.
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(engine.sessions().is_empty());
    }
}

#[tokio::test]
async fn an_idle_stream_is_reaped_and_a_live_one_is_not() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock)
        .idle_timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let mut live = engine.publish(attempt("live")).await.unwrap();
    let mut silent = engine.publish(attempt("silent")).await.unwrap();
    silent.push(delta(0)).unwrap();
    for n in 0..11 {
        clock.advance(Duration::from_secs(1));
        live.push(delta(n)).unwrap();
        engine.sweep();
    }
    assert_eq!(silent.push(delta(0)).unwrap_err().reason, Reason::Idle);
    let mut totals = SessionTotals::default();
    totals.duration = Duration::from_secs(10);
    totals.bytes = 8;
    totals.frames = 1;
    assert_eq!(
        journal.of(silent.session())[1..],
        [
            StreamEventKind::StreamReaped {
                idle: Duration::from_secs(10)
            },
            StreamEventKind::PublishEnded {
                reason: Reason::Idle,
                totals,
                detail: None,
            }
        ]
    );
    assert_eq!(journal.of(live.session()).len(), 1);
}

#[tokio::test]
async fn a_flood_is_dropped_reported_once_a_second_and_ended_in_the_end() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let mut limit = IngressLimit::default();
    limit.frames_per_second = Some(10);
    limit.burst = Duration::from_secs(1);
    limit.patience = Duration::from_secs(3);
    let app = AppSpec::new("live").ingress_limit(limit);
    let engine = Engine::builder()
        .application(app)
        .observer(journal.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    let (mut accepted, mut dropped) = (0u64, 0u64);
    let ended = loop {
        let n = accepted + dropped;
        match publication.push(if n.is_multiple_of(10) {
            keyframe(n)
        } else {
            delta(n)
        }) {
            Ok(Pushed::Accepted) => accepted += 1,
            Ok(Pushed::Dropped) => dropped += 1,
            Ok(other) => panic!("{other:?}"),
            Err(ended) => break ended.reason,
        }
        clock.advance(Duration::from_millis(10));
    };
    assert_eq!(ended, Reason::RateLimited);
    let kinds = journal.of(publication.session());
    let counts: Vec<u64> = kinds
        .iter()
        .filter_map(|k| {
            if let StreamEventKind::RateLimited { count } = k {
                Some(*count)
            } else {
                None
            }
        })
        .collect();
    assert!(
        (3..=5).contains(&counts.len()),
        "about one a second for 3 s: {counts:?}"
    );
    assert_eq!(counts[0], 1, "the first hit is reported at once");
    let Some(StreamEventKind::PublishEnded { totals, .. }) = kinds.last() else {
        panic!("{kinds:?}")
    };
    assert_eq!((totals.frames, totals.dropped_frames), (accepted, dropped));
    // The delivered frames can be decoded: after a gap the next video frame is a keyframe.
    let mut last = None;
    while let Some(frame) = playback.next().await {
        let n = number(&frame);
        assert!(
            last.is_none_or(|last| n == last + 1) || frame.is_keyframe(),
            "{last:?} then {n}"
        );
        last = Some(n);
    }
}

#[tokio::test]
async fn shutdown_ends_everything_refuses_the_rest_and_flushes() {
    #[derive(Clone, Default)]
    struct Flushed(Arc<std::sync::atomic::AtomicBool>);
    #[async_trait]
    impl Observer for Flushed {
        async fn flush(&self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let (journal, clock, flushed) = (Journal::default(), ManualClock::at(0), Flushed::default());
    let engine = engine(&journal, &clock)
        .observer(flushed.clone())
        .build()
        .unwrap();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let playback = engine.play(attempt("cam")).await.unwrap();
    assert!(engine.shutdown(Duration::from_secs(1)).await);
    assert_eq!(publication.end_reason(), Some(Reason::ServerShutdown));
    assert_eq!(playback.end_reason(), Some(Reason::ServerShutdown));
    assert_eq!(
        engine.publish(attempt("cam")).await.unwrap_err().reason,
        Reason::ServerShutdown
    );
    assert!(flushed.0.load(std::sync::atomic::Ordering::SeqCst));
    drop((publication, playback));
    assert_eq!(
        journal.labels(),
        [
            "publish_started",
            "play_started",
            "play_ended",
            "publish_ended",
            "publish_denied"
        ]
    );
}

#[tokio::test]
async fn a_shutdown_ends_viewers_and_then_publishers_in_the_order_in_which_they_began() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock).build().unwrap();
    let mut publications = Vec::new();
    let mut playbacks = Vec::new();
    for n in 0..20 {
        let stream = format!("cam{n}");
        publications.push(engine.publish(attempt(&stream)).await.unwrap());
        clock.advance(Duration::from_millis(1));
        playbacks.push(engine.play(attempt(&stream)).await.unwrap());
        clock.advance(Duration::from_millis(1));
    }
    let begun = journal.events();
    assert!(engine.shutdown(Duration::from_secs(1)).await);
    let ended = journal.events().split_off(begun.len());
    let of = |role| {
        let of_role = begun.iter().filter(move |event| event.context.role == role);
        of_role.map(|event| event.session)
    };
    let order: Vec<_> = of(Role::Play).chain(of(Role::Publish)).collect();
    assert_eq!(order.len(), 40);
    let ended: Vec<_> = ended.iter().map(|event| event.session).collect();
    assert_eq!(ended, order);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_longer_than_its_deadline() {
    struct Hung;
    #[async_trait]
    impl Observer for Hung {
        async fn flush(&self) {
            std::future::pending().await
        }
    }
    let engine = Engine::builder().observer(Hung).build().unwrap();
    assert!(!engine.shutdown(Duration::from_millis(20)).await);
}

#[tokio::test]
async fn a_panicking_observer_harms_nobody() {
    struct Faulty;
    impl Observer for Faulty {
        fn on_event(&self, _event: &StreamEvent) {
            panic!("a fault on purpose");
        }
        fn on_frame(&self, _key: &StreamKey, _frame: &MediaFrame) {
            panic!("another one");
        }
    }
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Faulty)
        .observer(journal.clone())
        .clock(clock)
        .build()
        .unwrap();
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    assert_eq!(publication.push(keyframe(0)).unwrap(), Pushed::Accepted);
    drop(publication);
    assert_eq!(journal.labels(), ["publish_started", "publish_ended"]);
    assert_eq!(engine.totals().observer_panics, 3);
}

#[test]
fn a_wrong_configuration_is_refused_in_words() {
    let text = |builder: EngineBuilder| builder.build().map(|_| ()).unwrap_err().to_string();
    let twice = Engine::builder()
        .application(AppSpec::new("a"))
        .application(AppSpec::new("a"));
    assert_eq!(text(twice), "application a: configured twice");
    assert_eq!(
        text(Engine::builder().application(AppSpec::new("a/b"))),
        "application \"a/b\": not a name"
    );
    let large = AppSpec::new("a").ring_capacity(usize::MAX);
    assert!(text(Engine::builder().application(large)).contains("1048576"));
}

/// Many at once, ended from all sides at once: each exactly once, nothing after its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_has_one_start_and_one_end_under_contention() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock)
        .idle_timeout(Duration::ZERO)
        .build()
        .unwrap();
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let mut tasks = Vec::new();
    for i in 0..2_000u64 {
        let engine = engine.clone();
        tasks.push(tokio::spawn(async move {
            let mut playback = engine.play(attempt("cam")).await.unwrap();
            let id = playback.session();
            let kicker = engine.clone();
            let kick = tokio::spawn(async move { kicker.kick(id).is_ok() });
            if i % 2 == 0 {
                playback.next().await;
            }
            drop(playback);
            let _ = kick.await;
            id
        }));
        publication.push(keyframe(i)).unwrap();
    }
    for task in tasks {
        let id = task.await.unwrap();
        let kinds = journal.of(id);
        // A task that did not run while the publisher continued has fallen behind, and that is on
        // record too.
        let [
            StreamEventKind::PlayStarted,
            between @ ..,
            StreamEventKind::PlayEnded { .. },
        ] = &kinds[..]
        else {
            panic!("{kinds:?}");
        };
        let lagged = |kind: &_| matches!(kind, StreamEventKind::SubscriberLagged { .. });
        assert!(between.iter().all(lagged), "{kinds:?}");
    }
}

#[test]
fn a_draining_engine_admits_nobody_and_keeps_its_sessions() {
    let (_journal, _clock, engine) = setup();
    let mut limits = engine.limits();
    limits.attempts.burst = 3;
    engine.set_limits(limits);
    let here = || attempt("cam").peer("192.0.2.7:5000".parse().unwrap());
    let mut cam = block_on(engine.publish(here())).unwrap();
    assert!(!engine.set_draining(true) && engine.is_draining());
    // These refusals use up no budget.
    for _ in 0..10 {
        let denied = block_on(engine.play(here())).unwrap_err();
        assert_eq!(denied.reason, Reason::ServerDraining);
    }
    assert!(cam.push(keyframe(0)).is_ok() && !engine.is_idle());
    assert!(engine.set_draining(false) && !engine.is_draining());
    let viewer = block_on(engine.play(here())).unwrap();
    drop((viewer, cam));
    assert!(engine.is_idle());
}

#[test]
fn pages_have_each_session_once_although_others_come_and_go() {
    let (_journal, _clock, engine) = setup();
    let publish = |stream: &str| block_on(engine.publish(attempt(stream))).unwrap();
    let mut published: Vec<_> = (0..20).map(|n| publish(&format!("cam{n:02}"))).collect();
    let everyone = |_: &SessionContext| true;
    let first = engine.sessions_after(None, 8, everyone);
    assert_eq!(first.sessions.len(), 8);
    // One that was listed ends, one that was not ends, and one more starts.
    published.remove(12);
    published.remove(3);
    let _late = publish("late");
    let second = engine.sessions_after(first.next, 8, everyone);
    let third = engine.sessions_after(second.next, 8, everyone);
    assert_eq!(third.next, None);
    let pages = [&first, &second, &third];
    let ids = pages.iter().flat_map(|page| &page.sessions);
    let names: Vec<_> = ids
        .map(|info| info.context.key.stream_id.to_string())
        .collect();
    let wanted = (0..20).filter(|n| *n != 12).map(|n| format!("cam{n:02}"));
    assert_eq!(names, wanted.chain(["late".to_owned()]).collect::<Vec<_>>());

    let page = engine.streams_after(None, 5, everyone);
    let last = &page.streams[4].0.publisher.key;
    assert!(page.has_more && last.stream_id.as_str() == "cam05");
    let rest = engine.streams_after(Some(last), 100, everyone);
    assert!(!rest.has_more && rest.streams.len() == 14);
    let of_cam1 = |session: &SessionContext| session.key.stream_id.as_str().starts_with("cam1");
    let ended = engine.kick_all(of_cam1, 4);
    assert_eq!(ended.len(), 4);
    assert_eq!(engine.sessions_after(None, 100, of_cam1).sessions.len(), 5);
}
