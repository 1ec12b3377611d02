//! What a host does with streams besides publishing and watching: keyframe requests, relays,
//! applications that come and go, and what it shows.

use std::{sync::Arc, time::Duration};

use crate::support::*;
use livetrail_engine::*;

fn engine(app: AppSpec) -> (Engine, ManualClock) {
    let clock = ManualClock::at(0);
    let engine = Engine::builder()
        .application(app)
        .clock(clock.clone())
        .idle_timeout(Duration::ZERO)
        .build()
        .unwrap();
    (engine, clock)
}

fn spec() -> AppSpec {
    AppSpec::new("live")
}

/// The numbers of the frames that are available, without configurations.
fn drained(playback: &mut Playback) -> Vec<u64> {
    let mut batch: Vec<Arc<SharedFrame>> = Vec::new();
    playback.try_batch(&mut batch, 100).unwrap();
    let media = batch.iter().filter(|frame| !frame.is_config());
    media.map(|frame| number(frame)).collect()
}

#[tokio::test]
async fn a_viewer_that_needs_a_keyframe_asks_the_publisher_for_it() {
    let (engine, clock) = engine(spec().gop_cache(2));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let mut requests = publication.keyframe_requests();
    clock.advance(Duration::from_secs(1));
    for frame in [keyframe(1), delta(2)] {
        publication.push(frame).unwrap();
    }
    // This viewer starts with the keyframe that is kept.
    let early = engine.play(attempt("cam")).await.unwrap();
    assert!(!requests.try_next());
    for n in 3..6 {
        publication.push(delta(n)).unwrap();
    }
    // The GOP has outgrown its cache, so these wait for the next keyframe.
    let late = engine.play(attempt("cam")).await.unwrap();
    let later = engine.play(attempt("cam")).await.unwrap();
    assert!(block_on(requests.next()), "one request for both");
    assert!(!requests.try_next());
    for _ in 0..1_000 {
        early.request_keyframe();
        engine.request_keyframe(&key("cam")).unwrap();
        engine.tap(&key("cam")).unwrap().request_keyframe();
    }
    assert!(!requests.try_next(), "not before half a second");
    let waits = tokio::spawn(async move { (requests.next().await, requests) });
    clock.advance(Duration::from_millis(500));
    publication.push(delta(6)).unwrap();
    let (asked, mut requests) = waits.await.unwrap();
    assert!(asked, "a frame passes on what came too early");
    late.request_keyframe();
    publication.push(keyframe(7)).unwrap();
    clock.advance(Duration::from_secs(10));
    publication.push(delta(8)).unwrap();
    assert!(!requests.try_next(), "a keyframe has come");
    drop((late, later, early, publication));
    assert!(!block_on(requests.next()), "the session has ended");
    assert!(matches!(
        engine.request_keyframe(&key("cam")),
        Err(Error::NoSuchStream { .. })
    ));
}

#[tokio::test]
async fn a_relay_copies_frames_and_passes_requests_for_keyframes_back() {
    let (engine, clock) = engine(spec());
    engine.add_application(AppSpec::new("mirror")).unwrap();
    let mirror = |stream| Attempt::new(StreamKey::parse("mirror", stream).unwrap(), "relay");
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let mut requests = publication.keyframe_requests();
    clock.advance(Duration::from_secs(1));
    for frame in [config(1), keyframe(2), delta(3)] {
        publication.push(frame).unwrap();
    }
    let mut source = engine.play(attempt("cam")).await.unwrap();
    let mut target = engine.publish(mirror("cam")).await.unwrap();
    let task = tokio::spawn(async move { relay(&mut source, &mut target).await });
    let copy = StreamKey::parse("mirror", "cam").unwrap();
    until(|| {
        engine
            .streams()
            .iter()
            .any(|s| s.qos.video_frames == 2 && s.publisher.key == copy)
    })
    .await;
    engine.request_keyframe(&copy).unwrap();
    assert!(requests.next().await);
    let mut viewer = engine.play(mirror("cam")).await.unwrap();
    assert_eq!(drained(&mut viewer), [2, 3]);
    drop(publication);
    let relayed = task.await.unwrap();
    assert_eq!((relayed.frames, relayed.side), (3, RelaySide::Source));
    assert_eq!(relayed.reason, Reason::StreamEnded);

    // The target ends while the source is silent.
    let _publication = engine.publish(attempt("cam")).await.unwrap();
    let mut source = engine.play(attempt("cam")).await.unwrap();
    let mut target = engine.publish(mirror("cam")).await.unwrap();
    let session = target.session();
    let task = tokio::spawn(async move { relay(&mut source, &mut target).await });
    tokio::task::yield_now().await;
    engine.kick(session).unwrap();
    let relayed = task.await.unwrap();
    assert_eq!(
        (relayed.side, relayed.reason),
        (RelaySide::Target, Reason::Kicked)
    );
}

#[tokio::test]
async fn applications_come_and_go_while_the_engine_runs() {
    let (engine, _) = engine(spec());
    let stage = || Attempt::new(StreamKey::parse("stage", "cam").unwrap(), "test");
    let denied = engine.publish(stage()).await.unwrap_err();
    assert_eq!(denied.reason, Reason::AppNotFound);
    engine
        .add_application(AppSpec::new("stage").gop_cache(7))
        .unwrap();
    let again = engine.add_application(AppSpec::new("stage"));
    assert!(matches!(again, Err(Error::DuplicateApp { .. })));
    let _publication = engine.publish(stage()).await.unwrap();
    let all = engine.applications();
    let all: Vec<_> = all
        .iter()
        .map(|(n, s)| (n.as_str(), s.gop_cache_frames))
        .collect();
    assert_eq!(all, [("live", 1_024), ("stage", 7)]);
    let name = AppName::new("stage").unwrap();
    assert!(engine.remove_application(&name) && !engine.remove_application(&name));
    assert_eq!(engine.streams().len(), 1, "the session goes on");
    let denied = engine.play(stage()).await.unwrap_err();
    assert_eq!(denied.reason, Reason::AppNotFound);
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn what_is_shown_is_serialized_with_names_and_milliseconds() {
    let (engine, clock) = engine(spec());
    let peer = "192.0.2.7:1".parse().unwrap();
    let mut publication = engine.publish(attempt("cam").peer(peer)).await.unwrap();
    publication.push(config(1)).unwrap();
    clock.advance(Duration::from_millis(1_500));
    let stream = serde_json::to_value(&engine.streams()[0]).unwrap();
    assert_eq!(stream["uptime_ms"], 1_500);
    assert_eq!(stream["codecs"], serde_json::json!(["h264"]));
    assert_eq!(stream["publisher"]["stream"], "cam");
    assert_eq!(stream["publisher"]["peer"], "192.0.2.7:1");
    assert_eq!(stream["publisher"]["role"], "publish");
    let session = serde_json::to_value(&engine.sessions()[0]).unwrap();
    let id = publication.session().to_string();
    assert_eq!(session["context"]["session"], id);
    assert_eq!(session["totals"]["frames"], 1);
    let totals = serde_json::to_value(engine.totals()).unwrap();
    assert_eq!(totals["publish"]["live"], 1);
    assert_eq!(serde_json::to_value(Reason::Kicked).unwrap(), "kicked");
}

#[cfg(feature = "serde")]
#[test]
fn an_event_is_serialized_with_its_label_and_its_session() {
    let key = StreamKey::parse("live", "cam").unwrap();
    let session = SessionId::at(1);
    let context = Arc::new(SessionContext::new(session, Role::Play, key));
    let json = |kind| {
        let event = StreamEvent::new(context.clone(), kind, 5, 7);
        serde_json::to_value(event).unwrap()
    };
    let mut totals = SessionTotals::default();
    totals.duration = Duration::from_millis(1_500);
    let detail = Detail::new("two minutes");
    assert_eq!(
        json(StreamEventKind::ended(
            Role::Play,
            Reason::Idle,
            totals,
            detail
        )),
        serde_json::json!({
            "kind": "play_ended",
            "reason": "idle",
            "totals": { "duration_ms": 1_500, "bytes": 0, "frames": 0, "dropped_frames": 0 },
            "detail": "two minutes",
            "ts_ms": 5,
            "mono_ms": 7,
            "context": {
                "session": session.to_string(),
                "role": "play",
                "app": "live",
                "stream": "cam",
                "protocol": "internal",
            },
        })
    );
    let idle = Duration::from_secs(2);
    assert_eq!(
        json(StreamEventKind::StreamReaped { idle })["idle_ms"],
        2_000
    );
    let reason = Reason::Idle;
    for kind in [
        StreamEventKind::PublishStarted,
        StreamEventKind::PlayStarted,
        StreamEventKind::ended(Role::Publish, reason.clone(), totals, None),
        StreamEventKind::denied(Role::Publish, reason.clone(), None),
        StreamEventKind::denied(Role::Play, reason, None),
        StreamEventKind::SubscriberLagged { skipped: 1 },
        StreamEventKind::SubscriberEvicted { lag: 1 },
        StreamEventKind::RateLimited { count: 1 },
        StreamEventKind::StreamReaped { idle },
        StreamEventKind::GopTruncated {
            frames: 1,
            bytes: 1,
            count: 1,
        },
    ] {
        let label = kind.label();
        let json = json(kind);
        assert_eq!(json["kind"], label);
        assert!(json.get("detail").is_none());
    }
}
