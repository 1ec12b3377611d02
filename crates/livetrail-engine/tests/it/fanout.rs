//! The bus: a viewer gets the stream from a keyframe on, no frame missing and none twice, whenever
//! it joins.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::*;
use bytes::Bytes;
use livetrail_engine::*;
use proptest::prelude::*;

fn spec() -> AppSpec {
    AppSpec::new("live")
}

fn engine(app: AppSpec) -> (Engine, Journal, ManualClock) {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = Engine::builder()
        .application(app)
        .observer(journal.clone())
        .clock(clock.clone())
        .idle_timeout(Duration::ZERO)
        .build()
        .unwrap();
    (engine, journal, clock)
}

/// Takes all available frames.
fn drain(playback: &mut Playback) -> Vec<Arc<SharedFrame>> {
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    while playback.try_batch(&mut batch, 7).is_ok() && !batch.is_empty() {
        all.append(&mut batch);
    }
    all
}

fn numbers(frames: &[Arc<SharedFrame>]) -> Vec<u64> {
    frames
        .iter()
        .filter(|f| !f.is_config())
        .map(|f| number(f))
        .collect()
}

#[tokio::test]
async fn a_late_joiner_gets_configs_then_the_gop_then_live() {
    let (engine, ..) = engine(spec());
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(config(1)).unwrap();
    for n in 100..120 {
        publication
            .push(if n % 8 == 0 { keyframe(n) } else { delta(n) })
            .unwrap();
    }
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    publication.push(delta(120)).unwrap();
    let frames = drain(&mut playback);
    assert!(frames[0].is_config() && number(&frames[0]) == 1);
    assert_eq!(
        frames[0].dts, 112,
        "a configuration has the time of the frame it precedes"
    );
    assert_eq!(
        numbers(&frames),
        [112, 113, 114, 115, 116, 117, 118, 119, 120]
    );
}

#[tokio::test]
async fn a_configuration_that_changed_within_the_gop_comes_in_its_place() {
    let (engine, ..) = engine(spec());
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    for frame in [config(1), keyframe(10), delta(11), config(2), delta(12)] {
        publication.push(frame).unwrap();
    }
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    assert_eq!(
        drain(&mut playback)
            .iter()
            .map(|f| number(f))
            .collect::<Vec<_>>(),
        [1, 10, 11, 2, 12]
    );
    publication.push(keyframe(13)).unwrap();
    let mut later = engine.play(attempt("cam")).await.unwrap();
    assert_eq!(
        drain(&mut later)
            .iter()
            .map(|f| number(f))
            .collect::<Vec<_>>(),
        [2, 13]
    );
}

#[tokio::test]
async fn without_video_sound_is_joined_anywhere_and_with_it_at_a_keyframe() {
    let (engine, ..) = engine(spec());
    let mut publication = engine.publish(attempt("radio")).await.unwrap();
    publication.push(audio(0)).unwrap();
    let mut playback = engine.play(attempt("radio")).await.unwrap();
    publication.push(audio(1)).unwrap();
    assert_eq!(numbers(&drain(&mut playback)), [1]);

    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(config(0)).unwrap();
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    for frame in [audio(1), delta(2), keyframe(3), audio(4), delta(5)] {
        publication.push(frame).unwrap();
    }
    assert_eq!(numbers(&drain(&mut playback)), [3, 4, 5]);
}

#[tokio::test]
async fn a_gop_that_outgrows_its_cache_is_not_replayed_and_is_reported_once() {
    for app in [spec().gop_cache(10), spec().gop_cache_bytes(80)] {
        let (engine, journal, _clock) = engine(app);
        let mut publication = engine.publish(attempt("cam")).await.unwrap();
        publication.push(keyframe(0)).unwrap();
        for n in 1..30 {
            publication.push(delta(n)).unwrap();
        }
        let mut playback = engine.play(attempt("cam")).await.unwrap();
        publication.push(delta(30)).unwrap();
        publication.push(keyframe(31)).unwrap();
        assert_eq!(
            numbers(&drain(&mut playback)),
            [31],
            "from the next keyframe on"
        );
        let truncated: Vec<_> = journal
            .events()
            .into_iter()
            .filter(|e| matches!(e.kind, StreamEventKind::GopTruncated { .. }))
            .collect();
        assert_eq!(truncated.len(), 1);
        assert_eq!(
            truncated[0].kind,
            StreamEventKind::GopTruncated {
                frames: 11,
                bytes: 88,
                count: 1
            }
        );
    }
}

#[tokio::test]
async fn the_cache_counts_pictures_and_not_the_sound_between_them() {
    let (engine, journal, _clock) = engine(spec().gop_cache(10));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    for n in 1..40 {
        let frame = if n % 4 == 0 { delta(n) } else { audio(n) };
        publication.push(frame).unwrap();
    }
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    let all: Vec<_> = (0..40).collect();
    assert_eq!(
        numbers(&drain(&mut playback)),
        all,
        "10 pictures, 30 sounds"
    );
    // Endless sound is bounded too.
    publication.push(audio(40)).unwrap();
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    assert!(numbers(&drain(&mut playback)).is_empty());
    assert_eq!(
        journal
            .labels()
            .iter()
            .filter(|l| **l == "gop_truncated")
            .count(),
        1
    );
}

#[tokio::test]
async fn long_gops_are_reported_once_a_second_and_without_a_cache_not_at_all() {
    for (app, expected) in [
        (spec().gop_cache(1), vec![1, 19, 20]),
        (spec().gop_cache(0), vec![]),
        (spec().gop_cache_bytes(0), vec![]),
    ] {
        let (engine, journal, clock) = engine(app);
        let mut publication = engine.publish(attempt("cam")).await.unwrap();
        for n in 0..60 {
            publication.push(keyframe(2 * n)).unwrap();
            publication.push(delta(2 * n + 1)).unwrap();
            clock.advance(Duration::from_millis(50));
        }
        let counts: Vec<_> = journal
            .events()
            .iter()
            .filter_map(|event| match event.kind {
                StreamEventKind::GopTruncated { count, .. } => Some(count),
                _ => None,
            })
            .collect();
        let near = counts.len() == expected.len()
            && counts
                .iter()
                .zip(&expected)
                .all(|(a, b): (&u64, &u64)| a.abs_diff(*b) <= 1);
        assert!(near, "{counts:?}");
        let mut playback = engine.play(attempt("cam")).await.unwrap();
        publication.push(keyframe(120)).unwrap();
        assert!(numbers(&drain(&mut playback)).ends_with(&[120]));
    }
}

#[tokio::test]
async fn sound_goes_on_when_the_camera_is_switched_off() {
    let (engine, _journal, clock) = engine(spec().gop_cache(2));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    for frame in [config(0), keyframe(1), delta(2), delta(3)] {
        publication.push(frame).unwrap();
    }
    // Less than a second after the last picture there is one to wait for.
    let mut early = engine.play(attempt("cam")).await.unwrap();
    clock.advance(Duration::from_millis(999));
    publication.push(audio(4)).unwrap();
    assert!(numbers(&drain(&mut early)).is_empty());
    clock.advance(Duration::from_millis(1));
    publication.push(audio(5)).unwrap();
    let mut late = engine.play(attempt("cam")).await.unwrap();
    publication.push(audio(6)).unwrap();
    assert_eq!(numbers(&drain(&mut early)), [5, 6]);
    assert_eq!(numbers(&drain(&mut late)), [6]);
    // The camera comes back: no picture before a keyframe.
    for frame in [delta(7), audio(8), keyframe(9), audio(10), delta(11)] {
        publication.push(frame).unwrap();
    }
    assert_eq!(numbers(&drain(&mut early)), [9, 10, 11]);
}

#[tokio::test]
async fn sound_waits_two_seconds_for_a_keyframe_that_is_far_away() {
    let (engine, _journal, clock) = engine(spec().gop_cache(2));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    for frame in [keyframe(0), delta(1), delta(2)] {
        publication.push(frame).unwrap();
    }
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    let mut got = Vec::new();
    for n in 0..30 {
        publication.push(delta(3 + 2 * n)).unwrap();
        publication.push(audio(4 + 2 * n)).unwrap();
        got.extend(numbers(&drain(&mut playback)));
        clock.advance(Duration::from_millis(100));
    }
    // The first was held back at 0 s, the one at 2 s was not.
    let expected: Vec<_> = (20..30).map(|n| 4 + 2 * n).collect();
    assert_eq!(got, expected);
    publication.push(keyframe(70)).unwrap();
    publication.push(delta(71)).unwrap();
    assert_eq!(numbers(&drain(&mut playback)), [70, 71]);
}

#[tokio::test]
async fn keyframes_of_a_second_camera_begin_no_gop() {
    let (engine, _journal, _clock) = engine(spec());
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let second = |frame: MediaFrame| MediaFrame { track: 1, ..frame };
    for frame in [
        keyframe(0),
        second(keyframe(1)),
        delta(2),
        second(keyframe(3)),
        delta(4),
    ] {
        publication.push(frame).unwrap();
    }
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    assert_eq!(numbers(&drain(&mut playback)), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn what_describes_a_track_is_kept_next_to_its_configuration() {
    let (engine, _journal, _clock) = engine(spec());
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let colours = |n| video(n, FrameFlags::CONFIG | FrameFlags::METADATA);
    for frame in [colours(0), config(1), colours(2), keyframe(3)] {
        publication.push(frame).unwrap();
    }
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    let frames = drain(&mut playback);
    let seen: Vec<_> = frames.iter().map(|f| (f.is_config(), number(f))).collect();
    assert_eq!(seen, [(true, 2), (true, 1), (false, 3)]);
}

#[tokio::test]
async fn streams_share_one_budget_and_publishers_are_refused_beyond_it() {
    const MIB: usize = 1 << 20;
    let engine = Engine::builder()
        .application(spec())
        .stream_memory(8 * MIB as u64)
        .clock(ManualClock::at(0))
        .build()
        .unwrap();
    let large = |n, flags| MediaFrame {
        payload: vec![0; MIB / 8].into(),
        ..video(n, flags)
    };
    let mut one = engine.publish(attempt("one")).await.unwrap();
    let mut two = engine.publish(attempt("two")).await.unwrap();
    one.push(large(0, FrameFlags::KEYFRAME)).unwrap();
    for n in 1..80 {
        one.push(large(n, FrameFlags::NONE)).unwrap();
    }
    let used = || engine.totals().buffered_bytes as usize;
    assert!((5 * MIB..9 * MIB).contains(&used()), "{}", used());
    // It grows to its share, and the other shrinks.
    two.push(large(0, FrameFlags::KEYFRAME)).unwrap();
    let (mut refused, mut most) = (0, 0);
    for n in 80..200 {
        one.push(large(n, FrameFlags::NONE)).unwrap();
        two.push(large(n, FrameFlags::NONE)).unwrap();
        most = most.max(used());
        match engine.publish(attempt("three")).await {
            Err(denied) => {
                assert_eq!(denied.reason, Reason::MemoryLimit);
                refused += 1;
            }
            Ok(third) => drop(third),
        }
    }
    assert!(refused > 0);
    assert!(
        most < 11 * MIB,
        "the limit, and a floor and a frame each: {most}"
    );
    // A viewer that joins gets the available frames, and nothing keeps freed ones.
    two.push(keyframe(200)).unwrap();
    let mut viewer = engine.play(attempt("two")).await.unwrap();
    assert_eq!(numbers(&drain(&mut viewer)), [200]);
    drop((one, two));
    assert_ne!(used(), 0, "the viewer has the ring");
    drop(viewer);
    assert_eq!(used(), 0);
    engine.publish(attempt("three")).await.unwrap();
}

#[test]
fn settings_with_which_nobody_could_watch_are_refused() {
    let build = |app: AppSpec| Engine::builder().application(app).build();
    assert!(matches!(
        build(spec().subscriber_max_lag(0)),
        Err(Error::NoLag { .. })
    ));
    for app in [
        spec().subscriber_max_lag(u64::MAX),
        spec().gop_cache(usize::MAX),
        spec().ring_capacity(usize::MAX),
    ] {
        assert!(matches!(build(app), Err(Error::RingTooLarge { .. })));
    }
    build(spec().gop_cache(1 << 19).gop_cache_bytes(usize::MAX)).unwrap();
}

#[tokio::test]
async fn a_slow_viewer_is_moved_to_the_newest_keyframe_counted_and_evicted_past_its_budget() {
    let (engine, journal, clock) = engine(
        spec()
            .gop_cache(20)
            .subscriber_max_lag(20)
            .subscriber_lag_budget(2),
    );
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(config(0)).unwrap();
    publication.push(keyframe(0)).unwrap();
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    assert_eq!(numbers(&drain(&mut playback)), [0]);
    let mut n = 1;
    let mut overrun = |publication: &mut Publication| {
        for _ in 0..30 {
            clock.advance(Duration::from_millis(40));
            publication
                .push(if n % 10 == 0 { keyframe(n) } else { delta(n) })
                .unwrap();
            n += 1;
        }
    };
    overrun(&mut publication);
    let frames = drain(&mut playback);
    assert!(frames[0].is_config(), "configurations come again");
    assert_eq!(numbers(&frames), [30]);
    overrun(&mut publication);
    assert_eq!(numbers(&drain(&mut playback)), [60]);
    overrun(&mut publication);
    assert!(numbers(&drain(&mut playback)).is_empty());
    assert_eq!(playback.end_reason(), Some(Reason::Evicted));
    let kinds = journal.of(playback.session());
    let labels: Vec<_> = kinds.iter().map(StreamEventKind::label).collect();
    assert_eq!(
        labels,
        [
            "play_started",
            "subscriber_lagged",
            "subscriber_lagged",
            "subscriber_lagged",
            "subscriber_evicted",
            "play_ended"
        ]
    );
    let Some(StreamEventKind::PlayEnded {
        reason: Reason::Evicted,
        totals,
        ..
    }) = kinds.last()
    else {
        panic!()
    };
    assert_eq!((totals.frames, totals.dropped_frames), (6, 29 + 29 + 29));
}

#[tokio::test]
async fn a_viewer_that_nobody_polls_is_evicted_by_the_janitor() {
    let app = spec()
        .subscriber_max_lag(10)
        .subscriber_stall_timeout(Duration::from_secs(3));
    let (engine, journal, clock) = engine(app);
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let stuck = engine.play(attempt("cam")).await.unwrap();
    let mut awake = engine.play(attempt("cam")).await.unwrap();
    for n in 0..200 {
        clock.advance(Duration::from_millis(40));
        publication
            .push(if n % 25 == 0 { keyframe(n) } else { delta(n) })
            .unwrap();
        drain(&mut awake);
        engine.sweep();
    }
    assert_eq!(stuck.end_reason(), Some(Reason::Evicted));
    assert_eq!(awake.end_reason(), None);
    assert_eq!(stuck.end_signal().wait().await, Reason::Evicted);
    assert!(matches!(
        journal.of(stuck.session())[1],
        StreamEventKind::SubscriberEvicted { .. }
    ));
}

#[tokio::test]
async fn a_replay_longer_than_the_lag_allows_is_not_lag() {
    let (engine, journal, _clock) = engine(spec().gop_cache(500).subscriber_max_lag(10));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    for n in 1..400 {
        publication.push(delta(n)).unwrap();
    }
    let mut playback = engine.play(attempt("cam")).await.unwrap();
    assert_eq!(numbers(&drain(&mut playback)).len(), 400);
    assert_eq!(journal.labels(), ["publish_started", "play_started"]);
}

/// A payload that counts how many of its kind are left.
struct Counted {
    number: [u8; 8],
    _counted: Arc<()>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.number
    }
}

#[tokio::test]
async fn a_stream_holds_no_more_frames_than_its_gops_and_the_lag_need() {
    let (engine, journal, _clock) = engine(spec().subscriber_max_lag(50));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let (left, mut slow) = (Arc::new(()), None);
    for n in 0..1_000u64 {
        let mut frame = if n % 25 == 0 { keyframe(n) } else { delta(n) };
        frame.payload = Bytes::from_owner(Counted {
            number: n.to_be_bytes(),
            _counted: left.clone(),
        });
        publication.push(frame).unwrap();
        if n == 900 {
            slow = Some(engine.play(attempt("cam")).await.unwrap());
        }
        if n == 949 {
            let behind = drain(slow.as_mut().unwrap());
            assert_eq!(numbers(&behind), (900..950).collect::<Vec<_>>());
        }
    }
    let held = Arc::strong_count(&left) - 1;
    // The lag and a GOP, and those that share the oldest one's segment.
    assert!((50..=77 + 15).contains(&held), "{held} of 1000 are held");
    let behind = drain(slow.as_mut().unwrap());
    assert_eq!(numbers(&behind), (950..1_000).collect::<Vec<_>>());
    assert_eq!(journal.labels(), ["publish_started", "play_started"]);
}

/// Collects what a shard delivers, per viewer; takes at most `appetite` frames at once.
#[derive(Default)]
struct Plates {
    by_viewer: HashMap<ViewerId, (Vec<u64>, Option<Reason>)>,
    appetite: usize,
}

impl Deliver<()> for Plates {
    fn deliver(&mut self, viewer: ViewerId, _state: &mut (), frames: &[Arc<SharedFrame>]) -> usize {
        let taken = frames.len().min(self.appetite);
        let plate = &mut self.by_viewer.entry(viewer).or_default().0;
        plate.extend(
            frames[..taken]
                .iter()
                .filter(|f| !f.is_config())
                .map(|f| number(f)),
        );
        taken
    }
    fn ended(&mut self, viewer: ViewerId, _state: (), reason: Reason) {
        self.by_viewer.entry(viewer).or_default().1 = Some(reason);
    }
}

#[tokio::test]
async fn a_shard_serves_viewers_of_several_streams_and_resumes_the_full_ones() {
    let (engine, ..) = engine(spec());
    let mut a = engine.publish(attempt("a")).await.unwrap();
    let mut b = engine.publish(attempt("b")).await.unwrap();
    let (mut shard, mut plates) = (
        Shard::new(),
        Plates {
            appetite: usize::MAX,
            ..Plates::default()
        },
    );
    for frame in [config(0), keyframe(1), delta(2)] {
        a.push(frame).unwrap();
    }
    let early = shard
        .attach(engine.play(attempt("a")).await.unwrap(), ())
        .unwrap();
    let other = shard
        .attach(engine.play(attempt("b")).await.unwrap(), ())
        .unwrap();
    shard.ready().await;
    shard.serve(&mut plates);
    a.push(delta(3)).unwrap();
    b.push(keyframe(10)).unwrap();
    let late = shard
        .attach(engine.play(attempt("a")).await.unwrap(), ())
        .unwrap();
    shard.ready().await;
    shard.serve(&mut plates);
    plates.appetite = 1;
    a.push(delta(4)).unwrap();
    a.push(delta(5)).unwrap();
    shard.serve(&mut plates);
    shard.serve(&mut plates);
    assert_eq!(plates.by_viewer[&early].0, [1, 2, 3, 4], "full: left alone");
    plates.appetite = usize::MAX;
    shard.resume(early);
    shard.resume(late);
    shard.serve(&mut plates);
    assert_eq!(plates.by_viewer[&early].0, [1, 2, 3, 4, 5]);
    assert_eq!(plates.by_viewer[&late].0, [1, 2, 3, 4, 5]);
    assert_eq!(plates.by_viewer[&other].0, [10]);
    let (playback, ()) = shard.detach(other).unwrap();
    playback.end(Reason::ClientClosed);
    drop(a);
    shard.ready().await;
    shard.serve(&mut plates);
    assert_eq!(plates.by_viewer[&early].1, Some(Reason::StreamEnded));
    assert!(shard.is_empty());
    b.push(delta(11)).unwrap();
    assert_eq!(plates.by_viewer[&other].0, [10]);
}

/// Checks a viewer's sequence: from a keyframe on, each frame once and in order.
fn assert_gapless(numbers: &[u64], gop: u64) {
    if let Some(first) = numbers.first() {
        assert_eq!(first % gop, 0, "begins with a keyframe");
    }
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "after {} comes {}", pair[0], pair[1]);
    }
}

/// Thousands join and leave while a publisher publishes at full speed from another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_is_missing_or_double_however_one_joins() {
    const GOP: u64 = 16;
    // The lag is larger than everything that is published: a slow viewer must still get everything.
    let (engine, ..) = engine(spec().gop_cache(64).subscriber_max_lag(400_000));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                publication
                    .push(if n % GOP == 0 { keyframe(n) } else { delta(n) })
                    .unwrap();
                n += 1;
                if n % GOP == 0 {
                    std::thread::sleep(Duration::from_micros(250));
                }
            }
        }
    });
    let sharded = tokio::spawn({
        let engine = engine.clone();
        async move {
            let (mut shard, mut plates) = (
                Shard::new(),
                Plates {
                    appetite: 5,
                    ..Plates::default()
                },
            );
            let mut joined = Vec::new();
            for i in 0..3_000usize {
                joined.push(
                    shard
                        .attach(engine.play(attempt("cam")).await.unwrap(), ())
                        .unwrap(),
                );
                shard.ready().await;
                plates.appetite = 1 + i % 9;
                shard.serve(&mut plates);
                for viewer in &joined {
                    shard.resume(*viewer);
                }
                if i % 3 == 0 {
                    shard.detach(joined.swap_remove(i % joined.len()));
                }
                if joined.len() > 50 {
                    shard.detach(joined.remove(0));
                }
            }
            plates
        }
    });
    let mut singles = Vec::new();
    for i in 0..3_000usize {
        let engine = engine.clone();
        singles.push(tokio::spawn(async move {
            let mut playback = engine.play(attempt("cam")).await.unwrap();
            let mut all = Vec::new();
            while all.len() < 20 + i % 200 {
                match playback.next().await {
                    Some(frame) => all.push(number(&frame)),
                    None => break,
                }
            }
            all
        }));
        if i % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for single in singles {
        let numbers = single.await.unwrap();
        assert!(numbers.len() >= 20);
        assert_gapless(&numbers, GOP);
    }
    let plates = sharded.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    publisher.join().unwrap();
    // A viewer that is detached before its first frame came has no plate.
    assert!(plates.by_viewer.len() > 2_000);
    assert!(plates.by_viewer.values().map(|p| p.0.len()).sum::<usize>() > 10_000);
    for (numbers, _) in plates.by_viewer.values() {
        assert_gapless(numbers, GOP);
    }
}

#[derive(Debug, Clone)]
enum Op {
    Push { key: bool, config: bool },
    Join,
    Read { viewer: usize, limit: usize },
    Shard,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (prop::bool::weighted(0.15), prop::bool::weighted(0.05)).prop_map(|(key, config)| Op::Push { key, config }),
        1 => Just(Op::Join),
        3 => (0..8usize, 1..40usize).prop_map(|(viewer, limit)| Op::Read { viewer, limit }),
        1 => Just(Op::Shard),
    ];
    prop::collection::vec(op, 1..300)
}

proptest! {
    /// In any order of events, each run between two resyncs has no gap, starts with a keyframe, and
    /// has the newest configuration before it; the counts match the skipped frames.
    #[test]
    fn every_run_is_gapless_and_every_loss_is_counted(ops in ops()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async move {
            let (engine, ..) = engine(spec().gop_cache(30).subscriber_max_lag(25).subscriber_lag_budget(u32::MAX));
            let mut publication = engine.publish(attempt("cam")).await.unwrap();
            let mut sent: Vec<MediaFrame> = Vec::new();
            let mut viewers: Vec<(Playback, Vec<MediaFrame>)> = Vec::new();
            let (mut shard, mut plates) = (Shard::new(), Plates { appetite: 13, ..Plates::default() });
            publication.push(config(0)).unwrap();
            sent.push(config(0));
            for op in ops {
                match op {
                    Op::Push { key, config } => {
                        let n = sent.len() as u64;
                        let flags = match (key, config) {
                            (_, true) => FrameFlags::CONFIG,
                            (true, false) => FrameFlags::KEYFRAME,
                            (false, false) => FrameFlags::NONE,
                        };
                        sent.push(video(n, flags));
                        publication.push(video(n, flags)).unwrap();
                    }
                    Op::Join => {
                        viewers.push((engine.play(attempt("cam")).await.unwrap(), Vec::new()));
                        shard.attach(engine.play(attempt("cam")).await.unwrap(), ()).unwrap();
                    }
                    Op::Read { viewer, limit } => {
                        if let Some((playback, got)) = viewers.get_mut(viewer) {
                            let mut batch = Vec::new();
                            playback.try_batch(&mut batch, limit).unwrap();
                            got.extend(batch.iter().map(|f| f.frame().clone()));
                        }
                    }
                    Op::Shard => shard.serve(&mut plates),
                }
            }
            for (_, got) in &viewers {
                check_runs(&sent, got);
            }
        });
    }
}

fn check_runs(sent: &[MediaFrame], got: &[MediaFrame]) {
    let mut config = None;
    let mut last: Option<u64> = None;
    for frame in got {
        let n = number(frame);
        if frame.is_config() {
            config = Some(n);
            continue;
        }
        let newest = sent[..n as usize]
            .iter()
            .rev()
            .find(|f| f.is_config())
            .map(number);
        assert_eq!(
            config, newest,
            "before {n} the newest configuration was handed out"
        );
        let hole = last.map_or(1, |last| {
            sent[last as usize + 1..n as usize]
                .iter()
                .filter(|f| !f.is_config())
                .count()
        });
        assert!(
            hole == 0 || frame.is_keyframe(),
            "after a hole ({last:?} to {n}) comes a keyframe"
        );
        assert!(last.is_none_or(|last| n > last), "{n} after {last:?}");
        last = Some(n);
    }
}
