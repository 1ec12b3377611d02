//! Strangers cannot guess at full speed, fill the trail, take every slot, or write a secret into
//! the trail.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::*;
use async_trait::async_trait;
use livetrail_engine::*;

const SECRET: &str = "correct+horse/battery=staple";

fn from(ip: &str) -> SocketAddr {
    format!("{ip}:1").parse().unwrap()
}

fn keys() -> StaticKeys {
    StaticKeys::new([
        StaticKey::new("studio", SECRET),
        StaticKey::new("other", "another secret altogether"),
    ])
}

fn builder(journal: &Journal) -> EngineBuilder {
    Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
}

fn with(attempt: Attempt, token: &str) -> Attempt {
    attempt.credentials(Credentials::token(token))
}

/// Allows everyone, and counts the attempts that it was asked about.
#[derive(Clone, Default)]
struct External(Arc<AtomicUsize>);

#[async_trait]
impl Authenticator for External {
    async fn authenticate(&self, _role: Role, _attempt: &Attempt) -> Verdict {
        self.0.fetch_add(1, SeqCst);
        Verdict::Deny(Reason::Unauthorized)
    }
}

#[tokio::test]
async fn over_its_budget_an_address_is_judged_here_and_slowly() {
    let (journal, external, clock) = (
        Journal::default(),
        External::default(),
        ManualClock::at(1_800_000_000_000),
    );
    let engine = builder(&journal)
        .clock(clock.clone())
        .authenticator(keys())
        .authenticator(external.clone())
        .authenticator(AllowAll(Grant::Both))
        .build()
        .unwrap();
    let cam = || attempt("cam").peer(from("192.0.2.1"));
    let time = SystemClock::new();
    for n in 0..100 {
        let denied = engine.publish(with(cam(), "guess")).await.unwrap_err();
        assert_eq!(denied.reason, Reason::Unauthorized, "{n}");
        assert_eq!(denied.retry_after, None);
    }
    assert_eq!(external.0.load(SeqCst), 100);
    let began = time.monotonic();
    let denied = engine.publish(with(cam(), "guess")).await.unwrap_err();
    assert!(time.monotonic() - began >= Duration::from_millis(900));
    assert_eq!(denied.reason, Reason::RateLimited);
    assert_eq!(denied.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(external.0.load(SeqCst), 100, "nobody outside was asked");
    // The address does not learn either which applications and streams exist; a gateway's own
    // refusals look the same.
    let elsewhere = Attempt::new(StreamKey::parse("nope", "cam").unwrap(), "test");
    let denied = engine.play(elsewhere.peer(from("192.0.2.1"))).await;
    assert_eq!(denied.unwrap_err().reason, Reason::RateLimited);
    let denied = engine.refuse(Role::Play, cam(), Reason::BadName);
    assert_eq!(denied.reason, Reason::RateLimited);
    // The right key is admitted at once, from this address too; other addresses are not affected.
    let _publication = engine.publish(with(cam(), SECRET)).await.unwrap();
    let _playback = engine.play(with(cam(), SECRET)).await.unwrap();
    let other = attempt("cam").peer(from("192.0.2.2"));
    let denied = engine.publish(with(other, "guess")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::Unauthorized);
    clock.advance(Duration::from_millis(150));
    let denied = engine.publish(with(cam(), "guess")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::Unauthorized, "ten a second");
}

/// At most the maximum number of refusals is delayed; the others of a flood are refused at once.
#[tokio::test]
async fn a_flood_does_not_make_the_engine_wait_for_all_of_it() {
    let journal = Journal::default();
    let clock = ManualClock::at(0);
    let engine = builder(&journal)
        .clock(clock)
        .authenticator(keys())
        .build()
        .unwrap();
    let cam = || with(attempt("cam").peer(from("192.0.2.1")), "guess");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 + 1_000 {
        let engine = engine.clone();
        tasks.spawn(async move { engine.play(cam()).await.unwrap_err().reason });
    }
    let mut at_once = 0;
    let quick = tokio::time::timeout(Duration::from_millis(700), async {
        while let Some(reason) = tasks.join_next().await {
            at_once += 1;
            let _ = reason.unwrap();
        }
    });
    assert!(quick.await.is_err(), "some are delayed");
    assert_eq!(at_once, 100 + 1_000 - 32);
    assert_eq!(journal.events().len(), 1_100, "each has its outcome");
    while tasks.join_next().await.is_some() {}
}

/// An audience behind one address is not an attack, whether it stays or switches streams.
#[tokio::test]
async fn thousands_of_good_joins_from_one_address_cost_nothing() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = builder(&journal).clock(clock.clone()).build().unwrap();
    let cam = || attempt("cam").peer(from("192.0.2.1"));
    let _publication = engine.publish(cam()).await.unwrap();
    let mut viewers = Vec::new();
    for _ in 0..5_000 {
        viewers.push(engine.play(cam()).await.unwrap());
    }
    clock.advance(Duration::from_millis(1_500));
    drop(viewers);
    let denied = engine.play(attempt("none").peer(from("192.0.2.1"))).await;
    assert_eq!(denied.unwrap_err().reason, Reason::StreamNotFound);
}

/// A viewer that joins and leaves all the time is admitted at a pace; a viewer from elsewhere is
/// not delayed.
#[tokio::test]
async fn clients_that_come_and_go_are_admitted_at_a_bounded_rate() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let mut limits = Limits::default();
    limits.short_sessions = Rate {
        per_second: 20,
        burst: 50,
    };
    let engine = builder(&journal)
        .clock(clock)
        .limits(limits)
        .build()
        .unwrap();
    let _publication = engine.publish(attempt("cam")).await.unwrap();
    let churner = || attempt("cam").peer(from("192.0.2.1"));
    for _ in 0..50 {
        drop(engine.play(churner()).await.unwrap());
    }
    // From now on 10 per second: the engine's clock stands still, the process's time continues.
    let time = SystemClock::new();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let engine = engine.clone();
        tasks.spawn(async move { engine.play(churner()).await.map(drop) });
    }
    tokio::task::yield_now().await;
    let began = time.monotonic();
    drop(
        engine
            .play(attempt("cam").peer(from("192.0.2.2")))
            .await
            .unwrap(),
    );
    assert!(time.monotonic() - began < Duration::from_millis(900));
    let (mut let_in, mut refused) = (0, 0);
    while let Some(played) = tasks.join_next().await {
        match played.unwrap() {
            Ok(()) => let_in += 1,
            Err(denied) => {
                assert_eq!(denied.reason, Reason::RateLimited);
                assert!(denied.retry_after.is_some());
                refused += 1;
            }
        }
    }
    assert_eq!(
        (let_in, refused),
        (21, 179),
        "as many as two seconds let in"
    );
    assert!(time.monotonic() >= Duration::from_millis(1_900));
}

#[tokio::test]
async fn publishers_are_limited_by_address_principal_and_application() {
    let journal = Journal::default();
    let mut limits = Limits::default();
    limits.max_publishers_per_address = 2;
    limits.max_publishers_per_principal = 3;
    limits.max_publishers_per_application = 4;
    let engine = builder(&journal)
        .application(AppSpec::new("one").max_publishers(1))
        .authenticator(keys())
        .limits(limits)
        .build()
        .unwrap();
    let mut n = 0;
    let mut publish = async |app: &str, ip: &str, token: &str| {
        n += 1;
        let key = StreamKey::parse(app, &format!("cam{n}")).unwrap();
        let attempt = Attempt::new(key, "test").peer(from(ip));
        let published = engine.publish(with(attempt, token)).await;
        published.map_err(|denied| denied.reason)
    };
    let limit = Some(Reason::LimitReached);
    let a = publish("live", "192.0.2.1", SECRET).await.unwrap();
    let b = publish("live", "192.0.2.1", SECRET).await.unwrap();
    let refused = publish("live", "192.0.2.1", SECRET).await;
    assert_eq!(refused.err(), limit, "two from one address");
    // An address of IPv6 is a network.
    let c = publish("live", "[2001:db8::1]", SECRET).await.unwrap();
    let refused = publish("live", "192.0.2.3", SECRET).await;
    assert_eq!(refused.err(), limit, "three of one principal");
    let other = "another secret altogether";
    let d = publish("live", "[2001:db8::2]", other).await.unwrap();
    let refused = publish("live", "192.0.2.3", other).await;
    assert_eq!(refused.err(), limit, "four in one application");
    let e = publish("one", "192.0.2.3", other).await.unwrap();
    let refused = publish("one", "192.0.2.4", other).await;
    assert_eq!(refused.err(), limit, "the application's own limit");
    drop((a, b, c, d, e));
    for _ in 0..3 {
        publish("live", "192.0.2.1", SECRET).await.unwrap();
    }
}

#[tokio::test]
async fn one_that_replaces_its_stale_session_is_not_stopped_by_limits() {
    let journal = Journal::default();
    let mut limits = Limits::default();
    limits.max_publishers = 1;
    limits.max_publishers_per_address = 1;
    limits.max_publishers_per_principal = 1;
    limits.max_publishers_per_application = 1;
    limits.max_sessions_per_address = 1;
    let engine = builder(&journal)
        .authenticator(keys())
        .limits(limits)
        .build()
        .unwrap();
    let cam = || with(attempt("cam").peer(from("192.0.2.1")), SECRET);
    let ghost = engine.publish(cam()).await.unwrap();
    let back = engine.publish(cam()).await.unwrap();
    assert_eq!(ghost.end_reason(), Some(Reason::Replaced));
    let viewer = engine.play(cam()).await.unwrap_err();
    assert_eq!(
        viewer.reason,
        Reason::LimitReached,
        "sessions of an address"
    );
    drop((ghost, back));
    engine.publish(cam()).await.unwrap();
}

/// No event contains a secret, whichever field it arrives in, and however it is written.
#[tokio::test]
async fn no_secret_reaches_an_event() {
    let journal = Journal::default();
    let engine = builder(&journal)
        .application(AppSpec::new("key:studio"))
        .authenticator(keys())
        .authenticator(AllowAll(Grant::Both))
        .build()
        .unwrap();
    let percent = SECRET
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect::<String>();
    let without_slash = SECRET.replace('/', "%2F");
    let texts = [
        without_slash.clone(),
        format!("cam?token={without_slash}"),
        format!("cam%3Ftoken={without_slash}"),
        format!("cam;token={without_slash}"),
        format!("x{percent}y"),
        "battery=staple".to_owned(),
    ];
    for text in &texts {
        let in_stream = StreamKey::parse("live", text).unwrap();
        let _ = engine.play(Attempt::new(in_stream, "test")).await;
        let in_app = StreamKey::parse(text, "cam").unwrap();
        let _ = engine.play(Attempt::new(in_app, "test")).await;
        let in_agent = attempt("cam").user_agent(&format!("{}{text}", "x".repeat(250)));
        let publication = engine.publish(in_agent).await.unwrap();
        publication.end_with(Reason::ProtocolError, &format!("cannot parse {text}"));
        let sanitized = StreamKey::sanitized(text.as_bytes(), text.as_bytes());
        engine.refuse(
            Role::Publish,
            Attempt::new(sanitized, "test"),
            Reason::BadName,
        );
        assert_eq!(engine.scrub(text), "key:studio");
        let why = format!("not a name: {text}");
        engine.refuse_with(Role::Play, attempt("cam"), Reason::BadName, &why);
    }
    let both = StreamKey::parse("correct+horse", "battery=staple").unwrap();
    let _ = engine.publish(Attempt::new(both, "test")).await;
    let in_instance: StreamKey = format!("live/{SECRET}").parse().unwrap();
    let _ = engine.play(Attempt::new(in_instance, "test")).await;
    assert!(journal.events().len() > 4 * texts.len());
    for event in journal.events() {
        let text = format!("{event:?}").to_lowercase();
        for part in ["horse", "battery", &percent[..9]] {
            assert!(!text.contains(part), "{part} is in {text}");
        }
    }
    let named = |event: &StreamEvent| event.context.key.stream_id.as_str() == "key:studio";
    assert!(journal.events().iter().any(named));
    assert_eq!(engine.scrub("cam"), "cam");
}
