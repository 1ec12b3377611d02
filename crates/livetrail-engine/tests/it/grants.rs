//! What an authenticator grants: until when, and within which limits.

use std::time::Duration;

use crate::support::*;
use async_trait::async_trait;
use livetrail_engine::*;

const NOW_MS: u64 = 1_800_000_000_000;

/// Admits everyone on the same terms.
#[derive(Clone)]
struct Terms(Admission);

#[async_trait]
impl Authenticator for Terms {
    async fn authenticate(&self, _role: Role, _attempt: &Attempt) -> Verdict {
        Verdict::Allow(self.0.clone())
    }
}

fn engine(journal: &Journal, clock: &ManualClock, terms: Admission) -> Engine {
    let waits = AppSpec::new("live").wait_for_publisher(Duration::from_secs(60));
    Engine::builder()
        .application(waits)
        .observer(journal.clone())
        .clock(clock.clone())
        .authenticator(Terms(terms))
        .idle_timeout(Duration::ZERO)
        .build()
        .unwrap()
}

fn without_first_frame(engine: &Engine) {
    let mut limits = engine.limits();
    limits.first_frame_timeout = Duration::ZERO;
    engine.set_limits(limits);
}

fn until(seconds: u64) -> Admission {
    Admission::of("alice").expires_unix_ms(NOW_MS + seconds * 1_000)
}

#[tokio::test]
async fn sessions_end_when_their_grant_expires() {
    let (journal, clock) = (Journal::default(), ManualClock::at(NOW_MS));
    let engine = engine(&journal, &clock, until(60).end_at_expiry(true));
    without_first_frame(&engine);
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let playback = engine.play(attempt("cam")).await.unwrap();
    let lease = Duration::from_secs(300);
    let viewing = engine.watch(attempt("cam"), lease).await.unwrap();
    let shown = engine.sessions();
    assert!(
        shown
            .iter()
            .all(|s| s.expires_unix_ms == Some(NOW_MS + 60_000))
    );

    clock.advance(Duration::from_millis(59_999));
    engine.sweep();
    assert_eq!(engine.sessions().len(), 3, "not before its time");
    clock.advance(Duration::from_millis(1));
    engine.sweep();
    assert_eq!(publication.end_reason(), Some(Reason::TokenExpired));
    assert_eq!(playback.end_reason(), Some(Reason::TokenExpired));
    assert_eq!(viewing.end_reason(), Some(Reason::TokenExpired));
    for session in [publication.session(), playback.session(), viewing.session()] {
        let events = journal.of(session);
        let last = events.last().and_then(StreamEventKind::reason);
        assert_eq!((events.len(), last), (2, Some(Reason::TokenExpired)));
    }
}

#[tokio::test]
async fn the_engines_own_thread_ends_them() {
    let terms = until(0).end_at_expiry(true);
    let engine = engine(&Journal::default(), &ManualClock::at(NOW_MS), terms);
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let signal = publication.end_signal();
    let ended = tokio::time::timeout(Duration::from_secs(20), signal.wait());
    assert_eq!(ended.await.unwrap(), Reason::TokenExpired);
}

#[tokio::test]
async fn an_expiry_alone_ends_no_session_and_a_renewal_moves_the_end() {
    let (journal, clock) = (Journal::default(), ManualClock::at(NOW_MS));
    let lasting = engine(&journal, &clock, until(60));
    without_first_frame(&lasting);
    let publication = lasting.publish(attempt("cam")).await.unwrap();
    assert_eq!(lasting.sessions()[0].expires_unix_ms, None);
    clock.advance(Duration::from_secs(3_600));
    lasting.sweep();
    assert_eq!(publication.end_reason(), None);

    let session = publication.session();
    lasting.renew(session, Some(NOW_MS + 3_700_000)).unwrap();
    clock.advance(Duration::from_secs(60));
    lasting.sweep();
    assert_eq!(publication.end_reason(), None);
    lasting.renew(session, Some(NOW_MS + 3_720_000)).unwrap();
    clock.advance(Duration::from_secs(59));
    lasting.sweep();
    assert_eq!(publication.end_reason(), None);
    clock.advance(Duration::from_secs(1));
    lasting.sweep();
    assert_eq!(publication.end_reason(), Some(Reason::TokenExpired));
    assert!(lasting.renew(session, None).is_err(), "it has ended");
}

/// An encoder whose token has expired connects again with the next one, and its viewers stay.
#[tokio::test]
async fn viewers_wait_for_a_publisher_whose_grant_has_expired() {
    let (journal, clock) = (Journal::default(), ManualClock::at(NOW_MS));
    let engine = engine(&journal, &clock, until(60).end_at_expiry(true));
    without_first_frame(&engine);
    let first = engine.publish(attempt("cam")).await.unwrap();
    let viewer = engine.play(attempt("cam")).await.unwrap();
    engine.renew(viewer.session(), None).unwrap();
    clock.advance(Duration::from_secs(60));
    engine.sweep();
    assert_eq!(first.end_reason(), Some(Reason::TokenExpired));
    drop(first);
    assert_eq!(viewer.end_reason(), None);
    assert!(engine.publish(attempt("cam")).await.is_ok());
    assert_eq!(viewer.end_reason(), None);
}

#[tokio::test]
async fn a_grant_limits_its_principals_sessions_and_its_publishers_rate() {
    let mut rate = IngressLimit::default();
    rate.frames_per_second = Some(1);
    rate.burst = Duration::from_secs(1);
    let limits = AdmissionLimits::none().max_sessions(2).ingress(rate);
    let terms = Admission::of("alice").limits(limits);
    let (journal, clock) = (Journal::default(), ManualClock::at(NOW_MS));
    let engine = engine(&journal, &clock, terms);
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let viewer = engine.play(attempt("cam")).await.unwrap();
    let refused = engine.play(attempt("cam")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::LimitReached);
    let refused = engine.publish(attempt("other")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::LimitReached);
    drop(viewer);
    assert!(engine.play(attempt("cam")).await.is_ok());

    assert_eq!(publication.push(keyframe(0)).unwrap(), Pushed::Accepted);
    assert_eq!(publication.push(keyframe(1)).unwrap(), Pushed::Dropped);
}

#[tokio::test]
async fn a_reserved_name_is_refused_also_where_a_pattern_covers_it() {
    let journal = Journal::default();
    let reserved = AppName::new("api").unwrap();
    let engine = Engine::builder()
        .application(AppSpec::new("*"))
        .reserve_names([reserved])
        .observer(journal.clone())
        .build()
        .unwrap();
    let of = |app: &str| Attempt::new(StreamKey::parse(app, "cam").unwrap(), "test");
    let publish = engine.publish(of("api")).await.unwrap_err();
    let play = engine.play(of("api")).await.unwrap_err();
    engine.set_applications([AppSpec::new("*")]).unwrap();
    let asked = engine.authorize(of("api")).await.unwrap_err();
    for denied in [publish, play, asked] {
        assert_eq!(denied.reason, Reason::BadName);
    }
    let denied = ["publish_denied", "play_denied", "play_denied"];
    assert_eq!(journal.labels(), denied);
    assert!(engine.publish(of("apis")).await.is_ok());
}

#[tokio::test]
async fn a_pattern_stands_for_a_bounded_number_of_applications() {
    let engine = Engine::builder()
        .application(AppSpec::new("tenant-*").max_instances(2).max_viewers(1))
        .application(AppSpec::new("tenant-big-*").max_viewers(2))
        .application(AppSpec::new("tenant-0").max_viewers(3))
        .build()
        .unwrap();
    let of = |app: &str| Attempt::new(StreamKey::parse(app, "cam").unwrap(), "test");
    let refused = |denied: Denied| denied.reason;
    let one = engine.publish(of("tenant-1")).await.unwrap();
    let _two = engine.publish(of("tenant-2")).await.unwrap();
    let third = engine.publish(of("tenant-3")).await.unwrap_err();
    assert_eq!(refused(third), Reason::LimitReached);
    let other = engine.publish(of("live")).await.unwrap_err();
    assert_eq!(refused(other), Reason::AppNotFound);
    // Those with settings of their own do not count, and a longer pattern comes first.
    for (app, viewers) in [("tenant-0", 3), ("tenant-big-1", 2), ("tenant-1", 1)] {
        let publication = match app {
            "tenant-1" => None,
            app => Some(engine.publish(of(app)).await.unwrap()),
        };
        let mut watching = Vec::new();
        for _ in 0..viewers {
            watching.push(engine.play(of(app)).await.unwrap());
        }
        let more = engine.play(of(app)).await.unwrap_err();
        assert_eq!(refused(more), Reason::LimitReached, "{app}");
        drop((publication, watching));
    }
    drop(one);
    assert!(engine.publish(of("tenant-3")).await.is_ok());
}

#[tokio::test]
async fn viewers_whose_streams_do_not_fit_the_cap_are_refused_until_another_leaves() {
    let (journal, clock) = (Journal::default(), ManualClock::at(NOW_MS));
    let engine = engine(&journal, &clock, Admission::anyone());
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    for n in 1..=20 {
        clock.advance(Duration::from_millis(100));
        publication.push(delta(n)).unwrap();
    }
    let rate = engine.streams()[0].qos.video_bitrate_bps;
    assert!(rate > 0);
    let mut limits = engine.limits();
    limits.egress_bits_per_second = rate * 5 / 2;
    engine.set_limits(limits);
    let mut viewers = Vec::new();
    for _ in 0..2 {
        viewers.push(engine.play(attempt("cam")).await.unwrap());
    }
    let refused = engine.play(attempt("cam")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::LimitReached);
    assert!(journal.labels().contains(&"play_denied"));
    drop(viewers.pop());
    viewers.push(engine.play(attempt("cam")).await.unwrap());
    assert!(engine.play(attempt("cam")).await.is_err());
    // The engine's thread computes again what viewers need: of a stream that has stopped, nothing.
    clock.advance(Duration::from_secs(4));
    limits.viewer_bits_per_second = rate / 8;
    limits.egress_bits_per_second = rate;
    engine.set_limits(limits);
    let again = async {
        loop {
            if let Ok(capped) = engine.play(attempt("cam")).await {
                return capped;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let capped = tokio::time::timeout(Duration::from_secs(20), again).await;
    let capped = capped.unwrap();
    let cap = capped.egress_cap().map(EgressCap::bits_per_second);
    assert_eq!(cap, Some(rate / 8));
}
