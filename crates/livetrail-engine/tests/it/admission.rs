//! Admission ends in time, whatever authenticators and gates do; a wait is given up when nobody
//! needs its result.

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

/// Waits forever, as an authenticator and as a gate, and counts the waiting attempts.
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

fn builder(journal: &Journal) -> EngineBuilder {
    Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
}

fn within(timeout: Duration) -> Limits {
    let mut limits = Limits::default();
    limits.admission_timeout = timeout;
    limits
}

fn only_event(journal: &Journal) -> (&'static str, Option<Reason>) {
    let events = journal.events();
    assert_eq!(events.len(), 1, "{events:?}");
    (events[0].kind.label(), events[0].kind.reason())
}

/// There is no runtime: neither an authenticator nor a gate that never answers needs one to be
/// given up.
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

/// An attempt that nobody polls any longer also has its outcome in time.
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
    /// Hangs for publishers only, so that a viewer reaches the gate.
    struct ForPublishers(Hung);
    #[async_trait]
    impl Authenticator for ForPublishers {
        async fn authenticate(&self, role: Role, attempt: &Attempt) -> Verdict {
            if role == Role::Play || attempt.key.stream_id.as_str() == "on" {
                return Verdict::Allow(Admission::anyone());
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

/// The first session's runtime is gone, the next has no timers: sessions still end in time.
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

#[tokio::test]
async fn sessions_end_whose_credentials_were_revoked() {
    let (journal, hung) = (Journal::default(), Hung::default());
    /// Admits each client under the name that it sends; "late" only at the second time.
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
                return Verdict::Allow(Admission::of("late"));
            }
            match name {
                Some("late") | None => Verdict::Deny(Reason::Unauthorized),
                Some(name) => Verdict::Allow(Admission::of(name)),
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
fn extreme_values_are_not_confused_with_others() {
    let mut ingress = IngressLimit::default();
    ingress.bytes_per_second = Some(u64::MAX);
    ingress.frames_per_second = Some(u64::MAX);
    ingress.burst = Duration::MAX;
    ingress.patience = Duration::MAX;
    let rate = Rate {
        per_second: u32::MAX,
        burst: u32::MAX,
    };
    let mut limits = Limits::default();
    limits.max_publishers = usize::MAX;
    limits.max_publishers_per_address = usize::MAX;
    limits.max_sessions_per_address = usize::MAX;
    limits.max_subscribers_per_stream = usize::MAX;
    limits.idle_timeout = Duration::MAX;
    limits.first_frame_timeout = Duration::MAX;
    limits.admission_timeout = Duration::MAX;
    limits.attempts = rate;
    limits.short_sessions = rate;
    let engine = Engine::builder()
        .application(
            AppSpec::new("live")
                .subscriber_stall_timeout(Duration::MAX)
                .wait_for_publisher(Duration::MAX)
                .ingress_limit(ingress),
        )
        .limits(limits)
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
