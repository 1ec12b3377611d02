//! Viewers that wait for a publisher: for the first, and while an encoder reconnects.

use std::{sync::Arc, time::Duration};

use crate::support::*;
use livetrail_engine::*;

const GRACE: Duration = Duration::from_secs(10);

fn setup(grace: Duration) -> (Journal, ManualClock, Engine) {
    let (journal, clock) = (Journal::default(), ManualClock::at(1_800_000_000_000));
    let key = StaticKey::new("studio", "a secret of the studio").grant(Grant::Publish);
    let engine = Engine::builder()
        .application(AppSpec::new("live").wait_for_publisher(grace))
        .authenticator(StaticKeys::new([key]))
        .authenticator(AllowAll(Grant::Both))
        .observer(journal.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    (journal, clock, engine)
}

fn studio() -> Attempt {
    attempt("cam").credentials(Credentials::token("a secret of the studio"))
}

/// The frames that a viewer can take now: kind, number, time.
fn taken(playback: &mut Playback) -> Vec<(&'static str, u64, i64)> {
    let mut frames = Vec::new();
    let mut all = Vec::new();
    while playback.try_batch(&mut frames, 64).is_ok() && !frames.is_empty() {
        all.extend(frames.iter().map(|frame| {
            let kind = match (frame.is_config(), frame.is_keyframe()) {
                (true, _) => "config",
                (_, true) => "keyframe",
                _ => "delta",
            };
            (kind, number(frame), frame.dts)
        }));
    }
    all
}

#[tokio::test]
async fn a_viewer_may_come_before_the_publisher() {
    let (journal, _clock, engine) = setup(GRACE);
    let mut early = engine.play(attempt("cam")).await.unwrap();
    let mut second = engine.play(attempt("cam")).await.unwrap();
    assert!(taken(&mut early).is_empty());
    assert!(engine.streams().is_empty());
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    for frame in [config(1), keyframe(2), delta(3)] {
        publication.push(frame).unwrap();
    }
    let expected = [("config", 1, 1), ("keyframe", 2, 2), ("delta", 3, 3)];
    assert_eq!(taken(&mut early), expected);
    assert_eq!(taken(&mut second), expected);
    assert_eq!(
        journal.labels(),
        ["play_started", "play_started", "publish_started"]
    );
    assert_eq!(engine.streams()[0].subscribers, 2);
}

#[tokio::test]
async fn viewers_stay_while_an_encoder_reconnects() {
    let (journal, clock, engine) = setup(GRACE);
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let mut viewer = engine.play(attempt("cam")).await.unwrap();
    for frame in [config(1), keyframe(100), delta(140)] {
        publication.push(frame).unwrap();
    }
    let before = taken(&mut viewer);
    assert_eq!(before.last(), Some(&("delta", 140, 140)));
    publication.end(Reason::NetworkError);
    clock.advance(Duration::from_secs(9));
    engine.sweep();
    assert!(taken(&mut viewer).is_empty());
    assert_eq!(viewer.end_reason(), None);
    assert!(engine.streams().is_empty());
    // A viewer that comes now waits as well.
    let mut late = engine.play(attempt("cam")).await.unwrap();
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    // A new encoder: other configurations, times from the beginning, and no keyframe at first.
    for frame in [config(7), delta(20), keyframe(60), delta(100)] {
        publication.push(frame).unwrap();
    }
    let at = 140 + 9_000;
    let expected = [
        ("config", 7, at),
        ("keyframe", 60, at),
        ("delta", 100, at + 40),
    ];
    assert_eq!(taken(&mut viewer), expected, "the stream's time goes on");
    assert_eq!(taken(&mut late), expected);
    // A viewer that joins later gets the new configuration alone.
    let mut later = engine.play(attempt("cam")).await.unwrap();
    assert_eq!(taken(&mut later).len(), 3);
    clock.advance(Duration::from_secs(11));
    publication.push(keyframe(200)).unwrap();
    engine.sweep();
    drop(publication);
    clock.advance(GRACE);
    engine.sweep();
    taken(&mut viewer);
    assert!(viewer.try_batch(&mut Vec::new(), 1).is_err());
    assert_eq!(viewer.end_reason(), Some(Reason::StreamEnded));
    let of_viewer = journal.of(viewer.session());
    assert_eq!(of_viewer.len(), 2, "one session through both publishers");
}

#[tokio::test]
async fn waiting_has_an_end() {
    let (_journal, clock, engine) = setup(GRACE);
    let mut early = engine.play(attempt("cam")).await.unwrap();
    let waits = tokio::spawn(async move { (early.next().await.is_none(), early.end_reason()) });
    clock.advance(GRACE - Duration::from_millis(1));
    engine.sweep();
    assert_eq!(engine.sessions().len(), 1);
    clock.advance(Duration::from_millis(1));
    engine.sweep();
    assert_eq!(waits.await.unwrap(), (true, Some(Reason::StreamNotFound)));
    until(|| engine.sessions().is_empty()).await;
    // A publisher whose viewers have left takes its stream with it; the next one starts from
    // scratch.
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(1)).unwrap();
    drop(engine.play(attempt("cam")).await.unwrap());
    drop(publication);
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(2)).unwrap();
    let mut viewer = engine.play(attempt("cam")).await.unwrap();
    assert_eq!(taken(&mut viewer), [("keyframe", 2, 2)]);
    // A publisher that an operator ended does not come back.
    engine.kick(publication.session()).unwrap();
    taken(&mut viewer);
    assert_eq!(viewer.end_reason(), Some(Reason::StreamEnded));
    // After a stop no publisher comes back either.
    let waiting = engine.play(attempt("other")).await.unwrap();
    assert!(engine.shutdown(PATIENCE).await);
    assert_eq!(waiting.end_reason(), Some(Reason::ServerShutdown));
}

#[tokio::test]
async fn a_command_that_must_not_wait_does_not_wait() {
    let (_journal, _clock, engine) = setup(Duration::ZERO);
    let denied = engine.play(attempt("cam")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::StreamNotFound);
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let mut viewer = engine.play(attempt("cam")).await.unwrap();
    drop(publication);
    assert!(viewer.next().await.is_none());
    assert_eq!(viewer.end_reason(), Some(Reason::StreamEnded));
}

/// The stale session's handle still exists when its successor is admitted: it passes the stream on
/// when it is dropped.
#[tokio::test]
async fn viewers_stay_when_a_publisher_replaces_its_stale_session() {
    let (_journal, _clock, engine) = setup(GRACE);
    let mut ghost = engine.publish(studio()).await.unwrap();
    let mut viewer = engine.play(attempt("cam")).await.unwrap();
    ghost.push(keyframe(1)).unwrap();
    let asked = engine.clone();
    let asked = tokio::spawn(async move { asked.publish(studio()).await });
    assert_eq!(ghost.end_signal().wait().await, Reason::Replaced);
    assert!(ghost.push(keyframe(2)).is_err());
    drop(ghost);
    let mut publication = asked.await.unwrap().unwrap();
    publication.push(keyframe(3)).unwrap();
    let numbers: Vec<_> = taken(&mut viewer).iter().map(|frame| frame.1).collect();
    assert_eq!(numbers, [1, 3]);
    assert_eq!(engine.streams().len(), 1);
    // A publisher whose handle is never dropped cannot have a successor: that is refused, and its
    // viewers end in time.
    let refused = engine.publish(studio()).await.unwrap_err();
    assert_eq!(refused.reason, Reason::AlreadyPublishing);
    assert_eq!(publication.end_reason(), Some(Reason::Replaced));
}

#[tokio::test]
async fn a_bounded_number_of_viewers_waits() {
    let (_journal, clock, engine) = setup(GRACE);
    let mut limits = Limits::default();
    limits.max_waiting_viewers = 2;
    engine.set_limits(limits);
    let _a = engine.play(attempt("a")).await.unwrap();
    let _b = engine.play(attempt("b")).await.unwrap();
    let denied = engine.play(attempt("a")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::LimitReached);
    let denied = engine.play(attempt("c")).await.unwrap_err();
    assert_eq!(denied.reason, Reason::LimitReached);
    let _publication = engine.publish(attempt("a")).await.unwrap();
    let _more = engine.play(attempt("a")).await.unwrap();
    let _c = engine.play(attempt("c")).await.unwrap();
    engine.set_limits(Limits::default());
    let mut waiting = Vec::new();
    let reason = loop {
        match engine.play(attempt(&format!("s{}", waiting.len()))).await {
            Ok(playback) => waiting.push(playback),
            Err(denied) => break denied.reason,
        }
        assert!(
            waiting.len() < 300,
            "streams that nobody publishes are bounded"
        );
    };
    assert_eq!(reason, Reason::LimitReached);
    drop(waiting);
    clock.advance(Duration::from_secs(1));
    engine.sweep();
    let _d = engine.play(attempt("d")).await.unwrap();
}

/// Publishers come and go under viewers that stay: nothing is sent twice, no time goes back, each
/// session ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_come_and_go_under_viewers_that_stay() {
    let journal = Journal::default();
    let key = StaticKey::new("studio", "a secret of the studio").grant(Grant::Publish);
    let engine = Engine::builder()
        .application(AppSpec::new("live").wait_for_publisher(PATIENCE))
        .authenticator(StaticKeys::new([key]))
        .authenticator(AllowAll(Grant::Play))
        .observer(journal.clone())
        .build()
        .unwrap();
    let mut viewers = Vec::new();
    for _ in 0..4 {
        let mut playback = engine.play(attempt("cam")).await.unwrap();
        viewers.push(tokio::spawn(async move {
            let (mut last, mut frames) = (i64::MIN, 0u32);
            while let Some(frame) = playback.next().await {
                assert!(frame.dts >= last, "{} after {last}", frame.dts);
                (last, frames) = (frame.dts, frames + 1);
            }
            (frames, playback.end_reason())
        }));
    }
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let engine = engine.clone();
        publishers.spawn(async move {
            for _ in 0..30 {
                // It is refused if the previous publisher has not released the stream in time; the
                // next attempt follows.
                let Ok(mut publication) = engine.publish(studio()).await else {
                    continue;
                };
                for n in 0..20 {
                    if publication.push(keyframe(n)).is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(done) = publishers.join_next().await {
        done.unwrap();
    }
    assert_eq!(engine.sessions().len(), 4, "the viewers");
    assert!(engine.shutdown(PATIENCE).await);
    for viewer in viewers {
        let (frames, reason) = viewer.await.unwrap();
        assert!(frames > 0);
        assert_eq!(reason, Some(Reason::ServerShutdown));
    }
    let mut open = std::collections::HashSet::new();
    for event in journal.events() {
        match event.kind.label() {
            "play_started" | "publish_started" => assert!(open.insert(event.session)),
            "play_ended" | "publish_ended" => assert!(open.remove(&event.session)),
            _ => {}
        }
    }
    assert!(open.is_empty());
}

/// A shard's viewers as well: its group stays, and continues with the next publisher.
#[tokio::test]
async fn a_shards_viewers_stay() {
    struct Takes(Vec<u64>);
    impl Deliver<()> for Takes {
        fn deliver(&mut self, _: ViewerId, _: &mut (), frames: &[Arc<SharedFrame>]) -> usize {
            self.0.extend(frames.iter().map(|frame| number(frame)));
            frames.len()
        }

        fn ended(&mut self, _: ViewerId, _: (), reason: Reason) {
            panic!("ended: {reason}");
        }
    }
    let (_journal, _clock, engine) = setup(GRACE);
    let mut shard = Shard::new();
    let viewer = engine.play(attempt("cam")).await.unwrap();
    shard.attach(viewer, ()).unwrap();
    let mut takes = Takes(Vec::new());
    for round in 0..3 {
        let mut publication = engine.publish(attempt("cam")).await.unwrap();
        publication.push(keyframe(2 * round)).unwrap();
        publication.push(delta(2 * round + 1)).unwrap();
        shard.serve(&mut takes);
        drop(publication);
        shard.serve(&mut takes);
    }
    assert_eq!(takes.0, [0, 1, 2, 3, 4, 5]);
}
