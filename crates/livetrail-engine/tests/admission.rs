//! Admission has an end, whatever authenticators and gates do; and what is waited for is given up when nobody needs it.

mod support;

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use livetrail_engine::*;
use support::*;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for ever, as an authenticator and as a gate, and counts who waits.
#[derive(Clone, Default)]
struct Hung {
    waiting: Arc<AtomicUsize>,
}

struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Hung {
    async fn wait<T>(&self) -> T {
        self.waiting.fetch_add(1, SeqCst);
        let _waits = Waits(self.waiting.clone());
        std::future::pending().await
    }

    async fn until(&self, n: usize) {
        until(|| self.waiting.load(SeqCst) == n).await;
    }
}

#[async_trait]
impl Authenticator for Hung {
    async fn authenticate(&self, _role: Role, _attempt: &Attempt) -> Verdict {
        self.wait().await
    }
}

#[async_trait]
impl Gate for Hung {
    async fn confirm(&self, _session: &SessionContext) -> Result<(), Reason> {
        self.wait().await
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("in time");
}

fn builder(journal: &Journal) -> EngineBuilder {
    Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
}

fn within(timeout: Duration) -> Limits {
    Limits {
        admission_timeout: timeout,
        ..Limits::default()
    }
}

fn only_event(journal: &Journal) -> (&'static str, Option<Reason>) {
    let events = journal.events();
    assert_eq!(events.len(), 1, "{events:?}");
    (events[0].kind.label(), events[0].kind.reason())
}

/// No runtime at all: neither an authenticator that never answers nor a gate needs one to be given up.
#[test]
fn an_authenticator_has_a_deadline_without_a_runtime() {
    let (journal, hung) = (Journal::default(), Hung::default());
    let engine = builder(&journal)
        .authenticator(hung.clone())
        .limits(within(Duration::from_millis(30)))
        .build()
        .unwrap();
    let denied = block_on(engine.publish(attempt("cam"))).unwrap_err();
    assert_eq!(denied.reason, Reason::AuthUnavailable);
    assert_eq!(
        only_event(&journal),
        ("publish_denied", Some(Reason::AuthUnavailable))
    );
    assert_eq!(hung.waiting.load(SeqCst), 0);
}

#[test]
fn a_gate_has_what_is_left_of_the_deadline() {
    let (journal, hung) = (Journal::default(), Hung::default());
    let engine = builder(&journal)
        .gate(hung.clone())
        .limits(within(Duration::from_millis(30)))
        .build()
        .unwrap();
    let denied = block_on(engine.publish(attempt("cam"))).unwrap_err();
    assert_eq!(denied.reason, Reason::AuditUnavailable);
    assert_eq!(journal.labels(), ["publish_started", "publish_ended"]);
    assert!(engine.sessions().is_empty());
    assert_eq!(hung.waiting.load(SeqCst), 0);
}

#[tokio::test]
async fn the_deadline_is_also_one_of_the_engines_clock() {
    let (journal, hung, clock) = (Journal::default(), Hung::default(), ManualClock::at(0));
    let engine = builder(&journal)
        .authenticator(hung.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    let asked = engine.clone();
    let asked = tokio::spawn(async move { asked.publish(attempt("cam")).await });
    hung.until(1).await;
    clock.advance(Duration::from_secs(9));
    engine.sweep();
    assert!(journal.events().is_empty());
    clock.advance(Duration::from_secs(1));
    engine.sweep();
    assert_eq!(
        asked.await.unwrap().unwrap_err().reason,
        Reason::AuthUnavailable
    );
}

/// An attempt that nobody polls any more has its outcome in time too.
#[tokio::test]
async fn the_deadline_holds_for_an_attempt_that_nobody_polls() {
    let (journal, hung) = (Journal::default(), Hung::default());
    let engine = builder(&journal)
        .authenticator(hung)
        .limits(within(Duration::from_millis(30)))
        .build()
        .unwrap();
    let mut forgotten = Box::pin(engine.publish(attempt("cam")));
    assert!(
        poll_once(&mut forgotten).is_none(),
        "it waits for the authenticator"
    );
    until(|| !journal.events().is_empty()).await;
    drop(forgotten);
    assert_eq!(
        only_event(&journal),
        ("publish_denied", Some(Reason::AuthUnavailable))
    );
}

#[tokio::test]
async fn a_gate_is_left_when_its_session_ends() {
    let (journal, hung) = (Journal::default(), Hung::default());
    let engine = builder(&journal).gate(hung.clone()).build().unwrap();
    let asked = engine.clone();
    let asked = tokio::spawn(async move { asked.publish(attempt("cam")).await });
    hung.until(1).await;
    engine.kick(engine.sessions()[0].context.session).unwrap();
    let denied = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    assert_eq!(denied.unwrap().unwrap_err().reason, Reason::Kicked);
    hung.until(0).await;
    assert_eq!(journal.labels(), ["publish_started", "publish_ended"]);
}

#[tokio::test]
async fn a_client_that_leaves_is_not_waited_for() {
    let (journal, hung) = (Journal::default(), Hung::default());
    let engine = builder(&journal).gate(hung.clone()).build().unwrap();
    let asked = engine.clone();
    let asked = tokio::spawn(async move { asked.publish(attempt("cam")).await });
    hung.until(1).await;
    asked.abort();
    hung.until(0).await;
    until(|| engine.sessions().is_empty()).await;
    assert_eq!(
        journal.events().last().unwrap().kind.reason(),
        Some(Reason::ClientClosed)
    );
}

#[tokio::test]
async fn a_shutdown_ends_what_waits_and_has_its_record_before_the_flush() {
    #[derive(Clone, Default)]
    struct AtFlush {
        journal: Journal,
        seen: Arc<Mutex<Vec<&'static str>>>,
    }
    #[async_trait]
    impl Observer for AtFlush {
        fn on_event(&self, event: &StreamEvent) {
            self.journal.on_event(event);
        }
        async fn flush(&self) {
            *self.seen.lock().unwrap() = self.journal.labels();
        }
    }
    /// Hangs for publishers alone, so that a viewer gets as far as the gate.
    struct ForPublishers(Hung);
    #[async_trait]
    impl Authenticator for ForPublishers {
        async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
            if role == Role::Play || attempt.key.stream_id.as_str() == "on" {
                return Verdict::Allow(None);
            }
            self.0.wait().await
        }
    }
    struct ForViewers(Hung);
    #[async_trait]
    impl Gate for ForViewers {
        async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
            match session.role {
                Role::Publish => Ok(()),
                Role::Play => self.0.wait().await,
            }
        }
    }
    let (observer, hung) = (AtFlush::default(), Hung::default());
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(observer.clone())
        .authenticator(ForPublishers(hung.clone()))
        .gate(ForViewers(hung.clone()))
        .build()
        .unwrap();
    let on = engine.publish(attempt("on")).await.unwrap();
    let (one, two) = (engine.clone(), engine.clone());
    let publisher = tokio::spawn(async move { one.publish(attempt("off")).await });
    let viewer = tokio::spawn(async move { two.play(attempt("on")).await });
    hung.until(2).await;
    assert!(engine.shutdown(PATIENCE).await);
    let mut seen = observer.seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "play_ended",
            "play_started",
            "publish_denied",
            "publish_ended",
            "publish_started"
        ]
    );
    assert_eq!(
        publisher.await.unwrap().unwrap_err().reason,
        Reason::ServerShutdown
    );
    assert_eq!(
        viewer.await.unwrap().unwrap_err().reason,
        Reason::ServerShutdown
    );
    assert_eq!(on.end_reason(), Some(Reason::ServerShutdown));
    assert_eq!(
        observer.journal.events().len(),
        5,
        "nothing after the flush"
    );
    hung.until(0).await;
}

#[tokio::test]
async fn a_shutdown_keeps_its_deadline_and_lets_others_run() {
    struct Slow;
    impl Observer for Slow {
        fn on_play_ended(&self, _event: &StreamEvent) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    #[derive(Default)]
    struct Flushed(AtomicBool);
    #[async_trait]
    impl Observer for Flushed {
        async fn flush(&self) {
            self.0.store(true, SeqCst);
        }
    }
    let flushed = Arc::new(Flushed::default());
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Slow)
        .observer(flushed.clone())
        .build()
        .unwrap();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let mut viewers = Vec::new();
    for _ in 0..2_000 {
        viewers.push(engine.play(attempt("cam")).await.unwrap());
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let other = tokio::spawn(async move {
        loop {
            count.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let time = SystemClock::new();
    assert!(!engine.shutdown(Duration::from_millis(100)).await);
    let took = time.monotonic();
    assert!(took < Duration::from_secs(3), "{took:?} of at least 4 s");
    assert!(ran.load(SeqCst) > 3, "{ran:?}");
    assert!(
        flushed.0.load(SeqCst),
        "flushed although the ends were late"
    );
    other.abort();
    until(|| engine.sessions().is_empty()).await;
    drop((publication, viewers));
}

#[tokio::test]
async fn every_observer_is_flushed_whatever_the_others_do() {
    #[derive(Default)]
    struct Flushed(AtomicBool);
    #[async_trait]
    impl Observer for Flushed {
        async fn flush(&self) {
            tokio::task::yield_now().await;
            self.0.store(true, SeqCst);
        }
    }
    struct Panics;
    #[async_trait]
    impl Observer for Panics {
        async fn flush(&self) {
            tokio::task::yield_now().await;
            panic!("a fault on purpose");
        }
    }
    struct Hangs;
    #[async_trait]
    impl Observer for Hangs {
        async fn flush(&self) {
            std::future::pending().await
        }
    }
    let flushed = Arc::new(Flushed::default());
    let engine = Engine::builder()
        .observer(Hangs)
        .observer(Panics)
        .observer(flushed.clone())
        .build()
        .unwrap();
    assert!(!engine.shutdown(Duration::from_millis(100)).await);
    assert!(flushed.0.load(SeqCst));
    assert_eq!(engine.totals().observer_panics, 1);
}

#[test]
fn a_shutdown_needs_no_runtime() {
    let journal = Journal::default();
    let engine = builder(&journal).build().unwrap();
    let publication = block_on(engine.publish(attempt("cam"))).unwrap();
    assert!(block_on(engine.shutdown(Duration::MAX)));
    assert_eq!(publication.end_reason(), Some(Reason::ServerShutdown));
}

/// The first session's runtime is gone, the next has no timers: sessions are looked after all the same.
#[test]
fn timeouts_outlive_every_runtime() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = builder(&journal).clock(clock.clone()).build().unwrap();
    let first = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let early = first.block_on(engine.publish(attempt("early"))).unwrap();
    drop(first);
    let without_timers = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let late = without_timers
        .block_on(engine.publish(attempt("late")))
        .unwrap();
    clock.advance(Duration::from_secs(31));
    let time = SystemClock::new();
    while early.end_reason().is_none() || late.end_reason().is_none() {
        assert!(time.monotonic() < PATIENCE, "not reaped");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(early.end_reason(), Some(Reason::Idle));
}

#[tokio::test]
async fn a_publisher_that_sends_nothing_is_ended_early() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = builder(&journal).clock(clock.clone()).build().unwrap();
    let silent = engine.publish(attempt("silent")).await.unwrap();
    let mut slow = engine.publish(attempt("slow")).await.unwrap();
    slow.push(config(0)).unwrap();
    clock.advance(Duration::from_millis(4_900));
    engine.sweep();
    assert_eq!(silent.end_reason(), None);
    clock.advance(Duration::from_millis(100));
    engine.sweep();
    assert_eq!(silent.end_reason(), Some(Reason::Idle));
    assert_eq!(slow.end_reason(), None);
    assert_eq!(
        journal.of(silent.session())[1],
        StreamEventKind::StreamReaped {
            idle: Duration::from_secs(5)
        }
    );
}

/// "One session for each user", as two observers that each end what they hear the other start.
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
async fn an_observer_may_end_the_session_that_it_hears_of() {
    #[derive(Default)]
    struct Kicks(std::sync::OnceLock<Engine>);
    impl Observer for Kicks {
        fn on_publish_started(&self, event: &StreamEvent) {
            self.0.get().unwrap().kick(event.session).unwrap();
        }
    }
    let (journal, kicks) = (Journal::default(), Arc::new(Kicks::default()));
    // The journal comes second, and hears the start first all the same.
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

/// The new publisher waits for its gate while the old one goes on; the gate refuses, and nothing has happened.
#[tokio::test]
async fn a_publisher_is_replaced_when_the_new_one_has_passed_the_gates() {
    #[derive(Clone, Default)]
    struct Door(Arc<Mutex<Option<Result<(), Reason>>>>);
    #[async_trait]
    impl Gate for Door {
        async fn confirm(&self, _session: &SessionContext) -> Result<(), Reason> {
            loop {
                if let Some(answer) = *self.0.lock().unwrap() {
                    return answer;
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
async fn a_publisher_replaces_its_own_ghost_and_nobody_elses() {
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

/// Whoever hears the end of a publisher, by any way, can publish at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_heard_when_the_stream_is_free() {
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
        publication.end(reason);
        let ended = journal.of(session).last().and_then(StreamEventKind::reason);
        assert_eq!(ended, Some(Reason::InternalError), "{reason}");
    }
    let denied = engine.publish(attempt("crash")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::InternalError);
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

#[tokio::test]
async fn sessions_end_whose_credentials_were_revoked() {
    let (journal, hung) = (Journal::default(), Hung::default());
    /// Lets everybody in as who they say they are; "late" at the second time only.
    #[derive(Clone)]
    struct Names(Hung, Arc<AtomicUsize>);
    #[async_trait]
    impl Authenticator for Names {
        async fn authenticate(&self, _role: Role, attempt: &Attempt) -> Verdict {
            let name = attempt.credentials.token.as_ref().map(|t| t.expose());
            if name == Some("late") && self.1.fetch_add(1, SeqCst) == 0 {
                self.0.waiting.fetch_add(1, SeqCst);
                while self.0.waiting.load(SeqCst) == 1 {
                    tokio::task::yield_now().await;
                }
                return Verdict::Allow(Some("late".into()));
            }
            match name {
                Some("late") | None => Verdict::Deny(Reason::Unauthorized),
                Some(name) => Verdict::Allow(Some(name.into())),
            }
        }
    }
    let names = Names(hung.clone(), Arc::default());
    let engine = builder(&journal)
        .authenticator(names.clone())
        .build()
        .unwrap();
    let by = |stream: &str, who: &str| attempt(stream).credentials(Credentials::token(who));
    let gone = engine.publish(by("a", "gone")).await.unwrap();
    let stays = engine.publish(by("b", "stays")).await.unwrap();
    let asked = engine.clone();
    let late = by("c", "late");
    let late = tokio::spawn(async move { asked.publish(late).await });
    hung.until(1).await;
    let revoked = |context: &SessionContext| context.principal.as_deref() != Some("stays");
    assert_eq!(engine.revoke(revoked), 1);
    assert_eq!(gone.end_reason(), Some(Reason::CredentialsRevoked));
    assert_eq!(stays.end_reason(), None);
    hung.waiting.store(2, SeqCst);
    let denied = late.await.unwrap().unwrap_err();
    assert_eq!(denied.reason, Reason::Unauthorized, "asked again");
}

#[test]
fn nothing_extreme_is_taken_for_something_else() {
    let engine = Engine::builder()
        .application(
            AppSpec::new("live")
                .subscriber_stall_timeout(Duration::MAX)
                .wait_for_publisher(Duration::MAX)
                .ingress_limit(IngressLimit {
                    bytes_per_second: Some(u64::MAX),
                    frames_per_second: Some(u64::MAX),
                    burst: Duration::MAX,
                    patience: Duration::MAX,
                }),
        )
        .limits(Limits {
            max_publishers: usize::MAX,
            max_publishers_per_address: usize::MAX,
            max_sessions_per_address: usize::MAX,
            max_subscribers_per_stream: usize::MAX,
            idle_timeout: Duration::MAX,
            first_frame_timeout: Duration::MAX,
            admission_timeout: Duration::MAX,
            attempts: Rate {
                per_second: u32::MAX,
                burst: u32::MAX,
            },
            short_sessions: Rate {
                per_second: u32::MAX,
                burst: u32::MAX,
            },
            ..Limits::default()
        })
        .build()
        .unwrap();
    let peer = "192.0.2.1:1".parse().unwrap();
    for _ in 0..3 {
        let mut publication = block_on(engine.publish(attempt("cam").peer(peer))).unwrap();
        let playback = block_on(engine.play(attempt("cam").peer(peer))).unwrap();
        assert_eq!(publication.push(keyframe(0)), Ok(Pushed::Accepted));
        engine.sweep();
        assert_eq!(publication.end_reason(), None);
        drop((playback, publication));
    }
    let clock = ManualClock::at(u64::MAX);
    clock.advance(Duration::MAX);
    clock.advance(Duration::MAX);
    assert_eq!(clock.unix_ms(), u64::MAX);
    assert_eq!(clock.monotonic(), Duration::from_micros(u64::MAX));
    for app in [
        AppSpec::new("a").gop_cache(usize::MAX),
        AppSpec::new("a").subscriber_max_lag(u64::MAX),
        AppSpec::new("a").subscriber_max_lag(0),
    ] {
        assert!(Engine::builder().application(app).build().is_err());
    }
}

/// Runs a future on this thread alone, with no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Thread(std::thread::Thread);
    impl std::task::Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Thread(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
