//! Ends: reported once, in order, after their resources are free; and caused by observers that end
//! other sessions.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::*;
use async_trait::async_trait;
use livetrail_engine::*;

fn builder(journal: &Journal) -> EngineBuilder {
    Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
}

/// "One session per user", as two observers that each end the session whose start the other
/// reports.
#[test]
fn observers_may_end_each_others_sessions_from_two_threads() {
    struct EndsOthers {
        engine: std::sync::OnceLock<Engine>,
        barrier: std::sync::Barrier,
        armed: AtomicBool,
    }
    impl Observer for EndsOthers {
        fn on_play_started(&self, event: &StreamEvent) {
            if !self.armed.load(SeqCst) {
                return;
            }
            // Both threads are in here at once, each with its own session's event.
            self.barrier.wait();
            let engine = self.engine.get().unwrap();
            for other in engine.sessions() {
                if other.context.role == Role::Play && other.context.session != event.session {
                    let _ = engine.kick(other.context.session);
                }
            }
        }
    }
    let (journal, ends) = (
        Journal::default(),
        Arc::new(EndsOthers {
            engine: std::sync::OnceLock::new(),
            barrier: std::sync::Barrier::new(2),
            armed: AtomicBool::new(false),
        }),
    );
    let engine = builder(&journal).observer(ends.clone()).build().unwrap();
    assert!(ends.engine.set(engine.clone()).is_ok());
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    for round in 0..20 {
        ends.armed.store(true, SeqCst);
        let (done, heard) = std::sync::mpsc::sync_channel(2);
        for _ in 0..2 {
            let (engine, done) = (engine.clone(), done.clone());
            std::thread::spawn(move || {
                let played = block_on(engine.play(attempt("cam")));
                done.send(played.map(|playback| playback.session()))
                    .unwrap();
            });
        }
        for _ in 0..2 {
            let _ = heard
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("round {round}: the observers wait for each other"));
        }
        ends.armed.store(false, SeqCst);
    }
    let time = SystemClock::new();
    while engine.sessions().len() > 1 {
        assert!(time.monotonic() < PATIENCE);
        std::thread::yield_now();
    }
    assert_whole(&journal);
}

/// Each session has one start, then one end, and nothing after.
fn assert_whole(journal: &Journal) {
    let mut seen = std::collections::HashMap::new();
    for event in journal.events() {
        let events: &mut Vec<_> = seen.entry(event.session).or_default();
        events.push(event.kind.label());
    }
    for events in seen.values() {
        let one = matches!(
            events[..],
            ["play_started", "play_ended"] | ["publish_started"]
        );
        assert!(one, "{events:?}");
    }
}

#[tokio::test]
async fn an_observer_may_end_the_session_of_an_event() {
    #[derive(Default)]
    struct Kicks(std::sync::OnceLock<Engine>);
    impl Observer for Kicks {
        fn on_publish_started(&self, event: &StreamEvent) {
            self.0.get().unwrap().kick(event.session).unwrap();
        }
    }
    let (journal, kicks) = (Journal::default(), Arc::new(Kicks::default()));
    // The journal comes second, and still gets the start first.
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(kicks.clone())
        .observer(journal.clone())
        .build()
        .unwrap();
    assert!(kicks.0.set(engine.clone()).is_ok());
    let mut publication = engine.publish(attempt("cam")).await;
    if let Ok(publication) = &mut publication {
        assert!(publication.push(keyframe(0)).is_err());
    }
    drop(publication);
    assert_eq!(journal.labels(), ["publish_started", "publish_ended"]);
}

/// A chain of a thousand sessions, each of whose ends ends the next: deferred, not nested.
#[tokio::test]
async fn ends_that_end_others_do_not_nest() {
    #[derive(Default)]
    struct Dominoes(std::sync::OnceLock<Engine>);
    impl Observer for Dominoes {
        fn on_play_ended(&self, _event: &StreamEvent) {
            let engine = self.0.get().unwrap();
            let next = engine
                .sessions()
                .into_iter()
                .find(|session| session.context.role == Role::Play);
            if let Some(next) = next {
                let _ = engine.kick(next.context.session);
            }
        }
    }
    let (journal, dominoes) = (Journal::default(), Arc::new(Dominoes::default()));
    let engine = builder(&journal)
        .observer(dominoes.clone())
        .build()
        .unwrap();
    assert!(dominoes.0.set(engine.clone()).is_ok());
    let _publication = engine.publish(attempt("cam")).await.unwrap();
    let mut viewers = Vec::new();
    for _ in 0..1_000 {
        viewers.push(engine.play(attempt("cam")).await.unwrap());
    }
    let first = viewers.remove(0);
    drop(first);
    assert_eq!(engine.sessions().len(), 1);
    assert_whole(&journal);
}

/// The new publisher waits for its gate while the old one continues; the gate refuses, and nothing
/// has changed.
#[tokio::test]
async fn a_publisher_is_replaced_when_the_new_one_has_passed_the_gates() {
    #[derive(Clone, Default)]
    struct Door(Arc<Mutex<Option<Result<(), Reason>>>>);
    #[async_trait]
    impl Gate for Door {
        async fn confirm(&self, _session: &SessionContext) -> Result<(), Reason> {
            loop {
                if let Some(answer) = &*self.0.lock().unwrap() {
                    return answer.clone();
                }
                tokio::task::yield_now().await;
            }
        }
    }
    let (journal, door) = (Journal::default(), Door::default());
    let app = AppSpec::new("live").duplicate_publisher(DuplicatePublisher::Replace);
    let engine = Engine::builder()
        .application(app)
        .observer(journal.clone())
        .gate(door.clone())
        .max_publishers(1)
        .build()
        .unwrap();
    let set = |answer| *door.0.lock().unwrap() = answer;
    set(Some(Ok(())));
    let mut old = engine.publish(attempt("cam")).await.unwrap();
    let mut viewer = engine.play(attempt("cam")).await.unwrap();
    set(None);
    let asked = engine.clone();
    let asked = tokio::spawn(async move { asked.publish(attempt("cam")).await });
    until(|| engine.sessions().len() == 3).await;
    old.push(keyframe(0)).unwrap();
    assert_eq!(number(&viewer.next().await.unwrap()), 0);
    set(Some(Err(Reason::AuditUnavailable)));
    let denied = asked.await.unwrap().unwrap_err();
    assert_eq!(denied.reason, Reason::AuditUnavailable);
    old.push(keyframe(1)).unwrap();
    assert_eq!(number(&viewer.next().await.unwrap()), 1);
    set(Some(Ok(())));
    let mut new = engine.publish(attempt("cam")).await.unwrap();
    assert_eq!(old.push(keyframe(2)).unwrap_err().reason, Reason::Replaced);
    new.push(keyframe(3)).unwrap();
    assert_eq!(engine.streams().len(), 1);
    drop(new);
    assert!(engine.streams().is_empty());
}

#[tokio::test]
async fn a_publisher_replaces_its_own_stale_session_and_no_other() {
    let keys = StaticKeys::new([
        StaticKey::new("a", "the secret of a"),
        StaticKey::new("b", "the secret of b"),
    ]);
    let journal = Journal::default();
    let engine = builder(&journal)
        .authenticator(keys)
        .authenticator(AllowAll(Grant::Both))
        .build()
        .unwrap();
    let with = |secret: &str| attempt("cam").credentials(Credentials::token(secret));
    let ghost = engine.publish(with("the secret of a")).await.unwrap();
    let other = engine.publish(with("the secret of b")).await.unwrap_err();
    assert_eq!(other.reason, Reason::AlreadyPublishing);
    let anonymous = engine.publish(attempt("cam")).await.unwrap_err();
    assert_eq!(anonymous.reason, Reason::AlreadyPublishing);
    let back = engine.publish(with("the secret of a")).await.unwrap();
    assert_eq!(ghost.end_reason(), Some(Reason::Replaced));
    drop((ghost, back));
    let anonymous = engine.publish(attempt("cam")).await.unwrap();
    let again = engine.publish(attempt("cam")).await.unwrap_err();
    assert_eq!(again.reason, Reason::AlreadyPublishing);
    drop(anonymous);
}

/// An owner that learns of the end of a publisher, in any way, can publish at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_reported_when_the_stream_is_free() {
    struct Slow;
    impl Observer for Slow {
        fn on_publish_ended(&self, _event: &StreamEvent) {
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    let journal = Journal::default();
    let engine = builder(&journal).observer(Slow).build().unwrap();
    for round in 0..6 {
        let mut publication = engine.publish(attempt("cam")).await.unwrap();
        let (kicker, session) = (engine.clone(), publication.session());
        let kick = tokio::task::spawn_blocking(move || kicker.kick(session).unwrap());
        if round % 2 == 0 {
            assert_eq!(publication.end_signal().wait().await, Reason::Kicked);
        } else {
            while publication.push(keyframe(0)).is_ok() {}
        }
        assert_eq!(publication.end_reason(), Some(Reason::Kicked));
        assert!(engine.streams().is_empty());
        let next = engine.publish(attempt("cam")).await;
        assert!(next.is_ok(), "round {round}: {next:?}");
        kick.await.unwrap();
        drop((next, publication));
    }
}

#[tokio::test]
async fn a_host_cannot_say_what_only_the_engine_knows() {
    struct Lies;
    #[async_trait]
    impl Gate for Lies {
        async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
            match session.key.stream_id.as_str() {
                "crash" => Err(Reason::ServerCrash),
                _ => Ok(()),
            }
        }
    }
    let journal = Journal::default();
    let engine = builder(&journal).gate(Lies).build().unwrap();
    for reason in [
        Reason::ServerCrash,
        Reason::Evicted,
        Reason::Idle,
        Reason::Replaced,
        Reason::StreamEnded,
    ] {
        let publication = engine.publish(attempt("cam")).await.unwrap();
        let session = publication.session();
        publication.end(reason.clone());
        let ended = journal.of(session).last().and_then(StreamEventKind::reason);
        assert_eq!(ended, Some(Reason::InternalError), "{reason}");
    }
    let denied = engine.publish(attempt("crash")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::InternalError);
}

#[tokio::test]
async fn a_host_has_reasons_of_its_own() {
    struct Subscriptions(Reason);
    #[async_trait]
    impl Authenticator for Subscriptions {
        async fn authenticate(&self, _: Role, attempt: &Attempt) -> Verdict {
            match attempt.key.stream_id.as_str() {
                "unpaid" => Verdict::Deny(self.0.clone()),
                "invalid" => Verdict::Deny(Reason::from_label("a b=c\n")),
                _ => Verdict::Allow(Admission::anyone()),
            }
        }
    }
    let journal = Journal::default();
    let unpaid = Reason::host("subscription_expired").unwrap();
    let engine = builder(&journal).authenticator(Subscriptions(unpaid.clone()));
    let engine = engine.build().unwrap();
    let denied = engine.publish(attempt("unpaid")).await.unwrap_err();
    assert_eq!(denied.reason, unpaid);
    assert_eq!(
        journal.of(denied.session),
        [StreamEventKind::denied(Role::Publish, unpaid.clone(), None)]
    );
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let session = publication.session();
    publication.end(unpaid.clone());
    let ended = journal.of(session).last().and_then(StreamEventKind::reason);
    assert_eq!(ended, Some(unpaid));
    let denied = engine.publish(attempt("invalid")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::InternalError, "not a label");
}

#[tokio::test]
async fn an_end_may_say_more_than_its_reason() {
    let journal = Journal::default();
    let engine = builder(&journal).build().unwrap();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let session = publication.session();
    publication.end_with(Reason::ProtocolError, "codec id 2\nis not supported");
    let Some(StreamEventKind::PublishEnded { detail, .. }) = journal.of(session).pop() else {
        panic!("no end");
    };
    assert_eq!(detail.unwrap().as_str(), "codec id 2 is not supported");
    let denied = engine.refuse_with(Role::Play, attempt("cam"), Reason::BadName, "no UTF-8");
    assert_eq!(
        journal.of(denied.session),
        [StreamEventKind::PlayDenied {
            reason: Reason::BadName,
            detail: Detail::new("no UTF-8"),
        }]
    );
}

/// The wall clock goes back between two sessions; their order is the one in which they started.
#[tokio::test]
async fn sessions_are_in_order_whatever_the_wall_clock_does() {
    #[derive(Clone)]
    struct Back(Arc<AtomicUsize>);
    impl Clock for Back {
        fn unix_ms(&self) -> u64 {
            1_800_000_000_000 - self.0.load(SeqCst) as u64 * 1_000
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(SeqCst) as u64)
        }
    }
    let (journal, clock) = (Journal::default(), Back(Arc::default()));
    let engine = builder(&journal).clock(clock.clone()).build().unwrap();
    let mut publications = Vec::new();
    for n in 0..5 {
        publications.push(engine.publish(attempt(&format!("cam{n}"))).await.unwrap());
        clock.0.fetch_add(1, SeqCst);
    }
    let started: Vec<_> = publications.iter().map(Publication::session).collect();
    let listed: Vec<_> = engine
        .sessions()
        .iter()
        .map(|s| s.context.session)
        .collect();
    assert_eq!(listed, started);
    let before = journal.events().len();
    assert!(engine.shutdown(PATIENCE).await);
    let ended = journal.events().split_off(before);
    let ended: Vec<_> = ended.iter().map(|event| event.session).collect();
    assert_eq!(ended, started);
}
