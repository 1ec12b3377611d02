//! Readers that are not connections: taps, which are not sessions, and viewings of many requests.

use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

use crate::support::*;
use livetrail_engine::*;

/// Shorter than the time after which a silent publisher ends.
const LEASE: Duration = Duration::from_secs(20);

fn engine(journal: &Journal, clock: &ManualClock) -> Engine {
    let app = AppSpec::new("live").gop_cache(100).subscriber_max_lag(10);
    Engine::builder()
        .application(app)
        .observer(journal.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap()
}

fn numbers(frames: &[Arc<SharedFrame>]) -> Vec<u64> {
    frames.iter().map(|frame| number(frame)).collect()
}

#[test]
fn a_tap_reads_from_the_current_gop_on_and_reports_nothing() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    assert!(matches!(
        engine.tap(&key("cam")),
        Err(Error::NoSuchStream { .. })
    ));
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    for frame in [config(1), keyframe(2), delta(3), keyframe(4), delta(5)] {
        publication.push(frame).unwrap();
    }
    let heard = journal.labels();
    let mut tap = engine.tap(&key("cam")).unwrap();
    let info = &engine.streams()[0];
    assert_eq!((info.taps, info.subscribers), (1, 0));
    assert_eq!(engine.sessions().len(), 1, "the publisher alone");
    let mut frames = Vec::new();
    tap.try_batch(&mut frames, 100).unwrap();
    assert_eq!(numbers(&frames), [1, 4, 5], "configurations, then the GOP");
    tap.try_batch(&mut frames, 100).unwrap();
    assert!(frames.is_empty());
    // A frame wakes it.
    let mut next = Box::pin(tap.next());
    assert!(poll_once(&mut next).is_none());
    publication.push(delta(6)).unwrap();
    assert_eq!(number(&poll_once(&mut next).unwrap().unwrap()), 6);
    drop(next);
    assert_eq!(journal.labels(), heard);
    drop(tap);
    assert_eq!(engine.streams()[0].taps, 0);
}

#[test]
fn a_tap_that_lags_goes_on_at_the_newest_keyframe_and_says_what_it_missed() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    publication.push(config(0)).unwrap();
    publication.push(keyframe(1)).unwrap();
    let mut tap = engine.tap(&key("cam")).unwrap();
    let mut frames = Vec::new();
    tap.try_batch(&mut frames, 1).unwrap();
    tap.try_batch(&mut frames, 1).unwrap();
    assert_eq!(numbers(&frames), [1]);
    for round in 0..100 {
        publication.push(keyframe(100 * round)).unwrap();
        for n in 1..20 {
            publication.push(delta(100 * round + n)).unwrap();
        }
    }
    assert_eq!(tap.skipped_frames(), 0);
    tap.try_batch(&mut frames, 100).unwrap();
    let newest: Vec<u64> = (9_900..9_920).collect();
    assert_eq!(numbers(&frames), [&[0], &newest[..]].concat());
    assert_eq!(tap.skipped_frames(), 99 * 20);
    assert_eq!(tap.lag(), 0);
    let quiet = ["publish_started"];
    assert_eq!(
        journal.labels(),
        quiet,
        "a tap is never reported or evicted"
    );
}

#[test]
fn a_tap_ends_with_its_stream_and_with_the_engine_after_the_last_frame() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut frames = Vec::new();
    for stops in [false, true] {
        let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
        publication.push(keyframe(1)).unwrap();
        let mut tap = engine.tap(&key("cam")).unwrap();
        if stops {
            assert!(block_on(engine.shutdown(PATIENCE)));
        } else {
            drop(publication);
        }
        assert!(block_on(tap.next_batch(&mut frames, 10)));
        assert_eq!(numbers(&frames), [1]);
        assert!(!block_on(tap.next_batch(&mut frames, 10)));
        let ended = tap.try_batch(&mut frames, 10).unwrap_err();
        assert_eq!(ended.reason, Reason::StreamEnded);
        assert!(block_on(tap.next()).is_none());
    }
    assert!(engine.tap(&key("cam")).is_err());
}

#[test]
fn a_tap_never_mixes_the_frames_of_two_publishers() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let app = AppSpec::new("live").wait_for_publisher(PATIENCE);
    let engine = Engine::builder()
        .application(app)
        .observer(journal.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let _viewing = block_on(engine.watch(attempt("cam"), LEASE)).unwrap();
    publication.push(keyframe(1)).unwrap();
    let mut tap = engine.tap(&key("cam")).unwrap();
    publication.push(delta(2)).unwrap();
    assert!(!tap.is_paused());
    drop(publication);
    assert!(tap.is_paused());
    // One that sends nothing is not noticed.
    drop(block_on(engine.publish(attempt("cam"))).unwrap());
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    assert!(!tap.is_paused());
    publication.push(config(3)).unwrap();
    publication.push(keyframe(4)).unwrap();
    let mut frames = Vec::new();
    tap.try_batch(&mut frames, 100).unwrap();
    assert_eq!((numbers(&frames), tap.publishers()), (vec![1, 2], 0));
    tap.try_batch(&mut frames, 100).unwrap();
    assert_eq!((numbers(&frames), tap.publishers()), (vec![3, 4], 1));
    publication.push(delta(5)).unwrap();
    tap.try_batch(&mut frames, 100).unwrap();
    assert_eq!((numbers(&frames), tap.publishers()), (vec![5], 1));
}

#[test]
fn whoever_is_authorized_has_no_session_and_a_refusal_is_reported() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let viewer = StaticKey::new("alice", "a-secret-of-a-viewer").grant(Grant::Play);
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
        .clock(Arc::new(clock.clone()))
        .authenticator(StaticKeys::new([viewer]))
        .build()
        .unwrap();
    let with = |token: &str| attempt("cam").credentials(Credentials::token(token));
    let host = attempt("cam").admitted(Admission::anyone());
    let right = || block_on(engine.authorize(with("a-secret-of-a-viewer")));
    assert_eq!(right().unwrap_err().reason, Reason::StreamNotFound);
    let _publication = block_on(engine.publish(host)).unwrap();
    assert_eq!(right().unwrap().principal.as_deref(), Some("alice"));
    let wrong = block_on(engine.authorize(with("another-secret"))).unwrap_err();
    assert_eq!(wrong.reason, Reason::Unauthorized);
    engine.set_draining(true);
    assert_eq!(right().unwrap_err().reason, Reason::ServerDraining);
    let all = [
        "play_denied",
        "publish_started",
        "play_denied",
        "play_denied",
    ];
    assert_eq!(journal.labels(), all);
    assert_eq!(engine.sessions().len(), 1);
}

/// The reason and totals of a session's only end.
fn end_of(journal: &Journal, session: SessionId) -> (Reason, SessionTotals) {
    let ends: Vec<_> = journal
        .of(session)
        .into_iter()
        .filter_map(|kind| match kind {
            StreamEventKind::PlayEnded { reason, totals, .. } => Some((reason, totals)),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends.into_iter().next().unwrap()
}

#[test]
fn a_viewing_lives_while_it_is_touched_and_ends_idle_with_its_totals() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let viewing = block_on(engine.watch(attempt("cam"), LEASE)).unwrap();
    let session = viewing.session();
    assert_eq!(engine.streams()[0].subscribers, 1);
    // A cursor that takes nothing would lag and be evicted.
    for n in 0..100 {
        publication.push(keyframe(n)).unwrap();
        clock.advance(LEASE / 2);
        publication.push(delta(n)).unwrap();
        engine.sweep();
        viewing.touch().unwrap();
        viewing.count(2, 1_000);
    }
    let lags: Vec<_> = engine.sessions().iter().map(|info| info.lag).collect();
    assert_eq!(lags, [0, 0]);
    clock.advance(LEASE - Duration::from_millis(1));
    publication.push(delta(0)).unwrap();
    engine.sweep();
    assert_eq!(viewing.end_reason(), None, "a millisecond is left");
    clock.advance(Duration::from_millis(1));
    engine.sweep();
    assert_eq!(viewing.end_reason(), Some(Reason::Idle));
    assert_eq!(viewing.touch().unwrap_err().reason, Reason::Idle);
    viewing.count(1, 1);
    drop(viewing);
    let (reason, totals) = end_of(&journal, session);
    assert_eq!(reason, Reason::Idle);
    assert_eq!((totals.frames, totals.bytes), (200, 100_000));
    assert_eq!(totals.duration, LEASE / 2 * 100 + LEASE);
    assert_eq!(engine.streams()[0].subscribers, 0);
    assert_eq!(engine.totals().play.bytes, 100_000);
}

#[test]
fn the_last_requests_of_a_stream_that_has_ended_are_served_for_one_lease() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let viewing = block_on(engine.watch(attempt("cam"), LEASE)).unwrap();
    drop(publication);
    for _ in 0..3 {
        clock.advance(LEASE / 4);
        engine.sweep();
        viewing.touch().unwrap();
        viewing.count(1, 10);
    }
    clock.advance(LEASE / 4);
    engine.sweep();
    let ended = viewing.touch().unwrap_err();
    assert_eq!(ended.reason, Reason::StreamEnded);
    let (reason, totals) = end_of(&journal, viewing.session());
    assert_eq!((reason, totals.bytes), (Reason::StreamEnded, 30));
}

#[test]
fn a_viewing_ends_like_any_session_and_its_requests_learn_why() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let watch = || block_on(engine.watch(attempt("cam"), LEASE)).unwrap();

    let (kicked, dropped, ended, stopped) = (watch(), watch(), watch(), watch());
    let sessions = [&kicked, &dropped, &ended, &stopped].map(Viewing::session);
    let context = engine.kick(kicked.session()).unwrap();
    assert_eq!(context.session, kicked.session());
    assert_eq!(kicked.touch().unwrap_err().reason, Reason::Kicked);
    drop(dropped);
    ended.end_with(Reason::ProtocolError, "a request that nobody could read");
    assert!(block_on(engine.shutdown(PATIENCE)));
    assert_eq!(stopped.touch().unwrap_err().reason, Reason::ServerShutdown);
    let reasons = sessions.map(|session| end_of(&journal, session).0);
    let expected = [
        Reason::Kicked,
        Reason::ClientClosed,
        Reason::ProtocolError,
        Reason::ServerShutdown,
    ];
    assert_eq!(reasons, expected);
    let late = block_on(engine.watch(attempt("cam"), LEASE)).unwrap_err();
    assert_eq!(late.reason, Reason::ServerShutdown);
}

#[test]
fn the_engines_own_thread_ends_a_viewing_that_nobody_touches() {
    let journal = Journal::default();
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
        .build()
        .unwrap();
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let lease = Duration::from_millis(100);
    let viewing = block_on(engine.watch(attempt("cam"), lease)).unwrap();
    assert_eq!(block_on(viewing.end_signal().wait()), Reason::Idle);
    assert_eq!(end_of(&journal, viewing.session()).0, Reason::Idle);
}

#[test]
fn requests_sweeps_and_kicks_from_many_threads_end_each_viewing_once() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    for round in 0..50 {
        publication.push(keyframe(round)).unwrap();
        let viewing = Arc::new(block_on(engine.watch(attempt("cam"), LEASE)).unwrap());
        let session = viewing.session();
        clock.advance(LEASE);
        // The publisher is not silent.
        publication.push(delta(round)).unwrap();
        let barrier = Arc::new(Barrier::new(4));
        let run = |what: fn(&Engine, &Viewing) -> bool| {
            let (engine, viewing) = (engine.clone(), viewing.clone());
            let barrier = barrier.clone();
            std::thread::spawn(move || {
                barrier.wait();
                what(&engine, &viewing)
            })
        };
        let sweeps = |engine: &Engine, _: &Viewing| {
            engine.sweep();
            false
        };
        let touch = run(|_, viewing| viewing.touch().is_ok());
        let kick = run(|engine, viewing| engine.kick(viewing.session()).is_ok());
        let sweeps = [run(sweeps), run(sweeps)];
        let (touched, kicked) = (touch.join().unwrap(), kick.join().unwrap());
        for sweep in sweeps {
            sweep.join().unwrap();
        }
        let (reason, _) = end_of(&journal, session);
        match reason {
            Reason::Kicked => assert!(kicked),
            Reason::Idle => assert!(!touched, "a touch that succeeds keeps the lease"),
            other => panic!("{other}"),
        }
    }
}
