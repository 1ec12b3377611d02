//! Shards: viewers come, leave, become full, resume or are evicted, in any order. Each gets the
//! stream without a gap, and its record matches what it got.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::support::*;
use livetrail_engine::*;
use proptest::prelude::*;

fn engine(app: AppSpec) -> (Engine, Journal) {
    let journal = Journal::default();
    let engine = Engine::builder()
        .application(app)
        .observer(journal.clone())
        .clock(ManualClock::at(0))
        .idle_timeout(Duration::ZERO)
        .build()
        .unwrap();
    (engine, journal)
}

/// A shard's state of a viewer here: the frames it took, and how many it may take at once.
struct Plate {
    session: SessionId,
    got: Vec<MediaFrame>,
    appetite: usize,
}

/// Fills plates; those of viewers that have ended are kept.
#[derive(Default)]
struct Waiter {
    ended: HashMap<SessionId, (Vec<MediaFrame>, Reason)>,
    offered: usize,
}

impl Deliver<Plate> for Waiter {
    fn deliver(&mut self, _: ViewerId, plate: &mut Plate, frames: &[Arc<SharedFrame>]) -> usize {
        let taken = frames.len().min(plate.appetite);
        plate.appetite -= taken;
        self.offered += 1;
        plate
            .got
            .extend(frames[..taken].iter().map(|f| f.frame().clone()));
        taken
    }

    fn ended(&mut self, _: ViewerId, plate: Plate, reason: Reason) {
        let known = self.ended.insert(plate.session, (plate.got, reason));
        assert!(known.is_none(), "a viewer ends once");
    }
}

async fn join(engine: &Engine, shard: &mut Shard<Plate>, appetite: usize) -> ViewerId {
    let playback = engine.play(attempt("cam")).await.unwrap();
    let plate = Plate {
        session: playback.session(),
        got: Vec::new(),
        appetite,
    };
    shard.attach(playback, plate).unwrap()
}

fn numbers(frames: &[MediaFrame]) -> Vec<u64> {
    frames
        .iter()
        .filter(|f| !f.is_config())
        .map(number)
        .collect()
}

#[tokio::test]
async fn joining_and_resuming_offers_nothing_to_those_who_are_up_to_date() {
    let (engine, _journal) = engine(AppSpec::new("live"));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    let (mut shard, mut waiter) = (Shard::new(), Waiter::default());
    for _ in 0..100 {
        join(&engine, &mut shard, usize::MAX).await;
    }
    let slow = join(&engine, &mut shard, 1).await;
    shard.serve(&mut waiter);
    publication.push(delta(1)).unwrap();
    shard.serve(&mut waiter);
    publication.push(delta(2)).unwrap();
    // It took frame 0, and is full since frame 1.
    shard.state_mut(slow).unwrap().appetite = usize::MAX;
    shard.resume(slow);
    let late = join(&engine, &mut shard, usize::MAX).await;
    waiter.offered = 0;
    shard.serve_waiting(usize::MAX, &mut waiter);
    assert_eq!(waiter.offered, 2, "frame 2 is not asked of the others yet");
    assert_eq!(numbers(&shard.state_mut(slow).unwrap().got), [0, 1]);
    assert_eq!(
        numbers(&shard.state_mut(late).unwrap().got),
        [0, 1, 2],
        "who is new does not wait for the others"
    );
    shard.serve(&mut waiter);
    publication.push(delta(3)).unwrap();
    waiter.offered = 0;
    shard.serve(&mut waiter);
    assert_eq!(waiter.offered, 102, "all are up to date, the full one too");
    assert_eq!(numbers(&shard.state_mut(late).unwrap().got), [0, 1, 2, 3]);
}

#[tokio::test]
async fn without_a_picture_listeners_are_up_to_date_and_see_nothing_before_a_keyframe() {
    let clock = ManualClock::at(0);
    let engine = Engine::builder()
        .application(AppSpec::new("live").gop_cache(1))
        .clock(clock.clone())
        .idle_timeout(Duration::ZERO)
        .build()
        .unwrap();
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    for frame in [keyframe(0), delta(1)] {
        publication.push(frame).unwrap();
    }
    let (mut shard, mut waiter) = (Shard::new(), Waiter::default());
    let late = join(&engine, &mut shard, usize::MAX).await;
    shard.serve(&mut waiter);
    clock.advance(Duration::from_secs(1));
    for n in 2..6 {
        publication.push(audio(n)).unwrap();
        waiter.offered = 0;
        shard.serve_news(&mut waiter);
        // The shard reaches the new viewer in its turn, and from then on serves it with the others.
        assert_eq!(waiter.offered, usize::from(n > 2));
        shard.serve(&mut waiter);
    }
    // The shard does not poll for a while: the camera came back, and went again.
    publication.push(delta(6)).unwrap();
    clock.advance(Duration::from_secs(1));
    publication.push(audio(7)).unwrap();
    shard.serve(&mut waiter);
    publication.push(keyframe(8)).unwrap();
    publication.push(delta(9)).unwrap();
    shard.serve(&mut waiter);
    let got = numbers(&shard.state_mut(late).unwrap().got);
    assert_eq!(got, [2, 3, 4, 5, 7, 8, 9]);
}

/// Notes which viewers it was asked to touch, and whose turn it was.
#[derive(Default)]
struct Toucher(Vec<(bool, ViewerId)>);

impl Deliver<Option<ViewerId>> for Toucher {
    fn deliver(
        &mut self,
        _: ViewerId,
        _: &mut Option<ViewerId>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        frames.len()
    }

    fn deliver_live(
        &mut self,
        frames: &[Arc<SharedFrame>],
        viewers: &mut LiveViewers<'_, Option<ViewerId>>,
    ) {
        let notes = std::cell::RefCell::new(&mut self.0);
        viewers.for_each_touched(
            |own| notes.borrow_mut().push((true, own.unwrap())),
            |viewer, _| {
                notes.borrow_mut().push((false, viewer));
                frames.len()
            },
        );
    }

    fn ended(&mut self, _: ViewerId, _: Option<ViewerId>, _: Reason) {}
}

#[tokio::test]
async fn everybody_is_touched_once_before_it_is_their_turn_and_gets_one_turn() {
    let (engine, _journal) = engine(AppSpec::new("live"));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    let (mut shard, mut toucher) = (Shard::new(), Toucher::default());
    let mut viewers = Vec::new();
    for _ in 0..50 {
        let playback = engine.play(attempt("cam")).await.unwrap();
        let viewer = shard.attach(playback, None).unwrap();
        *shard.state_mut(viewer).unwrap() = Some(viewer);
        viewers.push(viewer);
    }
    shard.serve(&mut toucher);
    assert_eq!(toucher.0, [], "who is new is served alone");
    publication.push(delta(1)).unwrap();
    shard.serve(&mut toucher);
    for viewer in viewers {
        let of = |touched| toucher.0.iter().position(|note| *note == (touched, viewer));
        assert!(of(true) < of(false) && of(true).is_some());
    }
    assert_eq!(toucher.0.len(), 100);
}

/// Fills plates batch by batch, and skips every third batch.
#[derive(Default)]
struct Batcher {
    waiter: Waiter,
    sizes: Vec<usize>,
}

impl Deliver<Plate> for Batcher {
    fn deliver(
        &mut self,
        viewer: ViewerId,
        plate: &mut Plate,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        self.waiter.deliver(viewer, plate, frames)
    }

    fn deliver_live(&mut self, frames: &[Arc<SharedFrame>], viewers: &mut LiveViewers<'_, Plate>) {
        viewers.for_each_batch(7, |batch| {
            let sessions: Vec<_> = batch.states().map(|plate| plate.session).collect();
            self.sizes.push(sessions.len());
            if self.sizes.len().is_multiple_of(3) {
                return;
            }
            let mut sessions = sessions.into_iter();
            batch.take(|viewer, plate| {
                assert_eq!(sessions.next(), Some(plate.session));
                self.waiter.deliver(viewer, plate, frames)
            });
            assert_eq!(sessions.next(), None, "each has its turn");
        });
        viewers.for_each(|_, _| panic!("a frame is offered once"));
    }

    fn ended(&mut self, viewer: ViewerId, plate: Plate, reason: Reason) {
        self.waiter.ended(viewer, plate, reason);
    }
}

#[tokio::test]
async fn batches_have_all_viewers_that_are_up_to_date_and_a_skipped_one_has_taken_nothing() {
    let (engine, _journal) = engine(AppSpec::new("live"));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    let (mut shard, mut batcher) = (Shard::new(), Batcher::default());
    let mut viewers = Vec::new();
    for n in 0..40 {
        // Some are full at once, and some after a while.
        let appetite = if n % 5 == 0 { 1 + n } else { usize::MAX };
        viewers.push(join(&engine, &mut shard, appetite).await);
    }
    shard.serve(&mut batcher);
    publication.push(delta(1)).unwrap();
    shard.serve(&mut batcher);
    assert_eq!(batcher.sizes, [7, 7, 7, 7, 7, 5]);
    for n in 2..=30 {
        for &viewer in &viewers {
            shard.resume(viewer);
        }
        publication.push(delta(n)).unwrap();
        shard.serve(&mut batcher);
    }
    for &viewer in &viewers {
        shard.state_mut(viewer).unwrap().appetite = usize::MAX;
        shard.resume(viewer);
    }
    shard.serve(&mut batcher);
    for viewer in viewers {
        let got = numbers(&shard.state_mut(viewer).unwrap().got);
        assert_eq!(got, (0..=30).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_few_at_a_time_wait_their_turn_and_lose_nothing() {
    let (engine, _journal) = engine(AppSpec::new("live"));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    let (mut shard, mut waiter) = (Shard::new(), Waiter::default());
    let mut viewers = Vec::new();
    for n in 1..=50 {
        viewers.push(join(&engine, &mut shard, usize::MAX).await);
        publication.push(delta(n)).unwrap();
        shard.serve_news(&mut waiter);
    }
    let mut turns = 0;
    while shard.has_waiting() {
        shard.serve_waiting(8, &mut waiter);
        turns += 1;
    }
    assert_eq!(turns, 7);
    publication.push(delta(51)).unwrap();
    shard.serve(&mut waiter);
    for viewer in viewers {
        let got = numbers(&shard.state_mut(viewer).unwrap().got);
        assert_eq!(got, (0..=51).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_session_that_is_ended_elsewhere_leaves_the_shard_and_a_name_is_not_used_again() {
    let (engine, journal) = engine(AppSpec::new("live"));
    let mut publication = engine.publish(attempt("cam")).await.unwrap();
    publication.push(keyframe(0)).unwrap();
    let (mut shard, mut waiter) = (Shard::new(), Waiter::default());
    let kicked = join(&engine, &mut shard, usize::MAX).await;
    let stays = join(&engine, &mut shard, usize::MAX).await;
    shard.serve(&mut waiter);
    let session = shard.state_mut(kicked).unwrap().session;
    engine.kick(session).unwrap();
    shard.ready().await;
    shard.serve_news(&mut waiter);
    assert_eq!(waiter.ended[&session].1, Reason::Kicked);
    assert_eq!(shard.len(), 1);
    // Its slot belongs to another viewer now.
    let next = join(&engine, &mut shard, usize::MAX).await;
    assert_ne!(kicked, next);
    assert!(shard.state_mut(kicked).is_none() && shard.detach(kicked).is_none());
    shard.resume(kicked);
    shard.serve(&mut waiter);
    publication.push(delta(1)).unwrap();
    shard.serve(&mut waiter);
    for viewer in [stays, next] {
        assert_eq!(numbers(&shard.state_mut(viewer).unwrap().got), [0, 1]);
    }
    let (playback, _) = shard.detach(next).unwrap();
    let session = playback.session();
    drop(playback);
    let ended = journal.of(session);
    assert!(
        matches!(ended.last(), Some(StreamEventKind::PlayEnded { totals, .. }) if totals.frames == 2)
    );
}

#[derive(Debug, Clone)]
enum Op {
    Push { key: bool, config: bool },
    Sound,
    Join { appetite: usize },
    Feed { viewer: usize, appetite: usize },
    Leave { viewer: usize },
    Kick { viewer: usize },
    News,
    Waiting { limit: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (prop::bool::weighted(0.15), prop::bool::weighted(0.05)).prop_map(|(key, config)| Op::Push { key, config }),
        2 => Just(Op::Sound),
        2 => (0..60usize).prop_map(|appetite| Op::Join { appetite }),
        4 => (0..8usize, 0..60usize).prop_map(|(viewer, appetite)| Op::Feed { viewer, appetite }),
        1 => (0..8usize).prop_map(|viewer| Op::Leave { viewer }),
        1 => (0..8usize).prop_map(|viewer| Op::Kick { viewer }),
        4 => Just(Op::News),
        4 => (1..4usize).prop_map(|limit| Op::Waiting { limit }),
    ];
    prop::collection::vec(op, 1..250)
}

proptest! {
    /// In any order of events, each viewer gets runs without a gap, each from a keyframe and with
    /// the newest configuration. In the end all remaining viewers are at the end of the stream, and
    /// each record matches exactly what its viewer took.
    #[test]
    fn with_viewers_that_come_and_go_every_run_is_gapless_and_the_records_are_right(ops in ops(), with_video in any::<bool>()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async move {
            let app = AppSpec::new("live").gop_cache(30).subscriber_max_lag(25).subscriber_lag_budget(u32::MAX);
            let (engine, journal) = engine(app);
            let mut publication = engine.publish(attempt("cam")).await.unwrap();
            let (mut shard, mut waiter) = (Shard::new(), Waiter::default());
            let (mut sent, mut viewers): (Vec<MediaFrame>, Vec<ViewerId>) = (Vec::new(), Vec::new());
            let mut left: HashMap<SessionId, Vec<MediaFrame>> = HashMap::new();
            for op in ops {
                match op {
                    Op::Push { key, config } if with_video => {
                        let flags = match (key, config) {
                            (_, true) => FrameFlags::CONFIG,
                            (true, false) => FrameFlags::KEYFRAME,
                            (false, false) => FrameFlags::NONE,
                        };
                        sent.push(video(sent.len() as u64, flags));
                        publication.push(sent[sent.len() - 1].clone()).unwrap();
                    }
                    Op::Push { .. } | Op::Sound => {
                        sent.push(audio(sent.len() as u64));
                        publication.push(sent[sent.len() - 1].clone()).unwrap();
                    }
                    Op::Join { appetite } => viewers.push(join(&engine, &mut shard, appetite).await),
                    Op::Feed { viewer, appetite } => {
                        if let Some(plate) = viewers.get(viewer).and_then(|v| shard.state_mut(*v)) {
                            plate.appetite += appetite;
                            shard.resume(viewers[viewer]);
                        }
                    }
                    Op::Leave { viewer } if viewer < viewers.len() => {
                        if let Some((_, plate)) = shard.detach(viewers.swap_remove(viewer)) {
                            left.insert(plate.session, plate.got);
                        }
                    }
                    Op::Kick { viewer } => {
                        if let Some(plate) = viewers.get(viewer).and_then(|v| shard.state_mut(*v)) {
                            let _ = engine.kick(plate.session);
                        }
                    }
                    Op::Leave { .. } => {}
                    Op::News => shard.serve_news(&mut waiter),
                    Op::Waiting { limit } => shard.serve_waiting(limit, &mut waiter),
                }
            }
            for viewer in &viewers {
                if let Some(plate) = shard.state_mut(*viewer) {
                    plate.appetite = usize::MAX;
                    shard.resume(*viewer);
                }
            }
            shard.serve(&mut waiter);
            // A viewer that has lost frames resumes here at the latest.
            let n = sent.len() as u64;
            sent.push(if with_video { keyframe(n) } else { audio(n) });
            publication.push(sent[sent.len() - 1].clone()).unwrap();
            shard.serve(&mut waiter);
            let last = numbers(&sent).last().copied();
            let mut stayed = 0;
            for viewer in &viewers {
                if let Some(plate) = shard.state_mut(*viewer) {
                    stayed += 1;
                    let at = numbers(&plate.got).last().copied();
                    assert_eq!(at, last);
                }
            }
            assert_eq!(shard.len(), stayed);
            drop(publication);
            shard.serve(&mut waiter);
            assert!(shard.is_empty(), "the stream is over for everybody");
            let ended = waiter.ended.into_iter().map(|(session, (got, _))| (session, got));
            for (session, got) in left.into_iter().chain(ended) {
                check_runs(&sent, &got);
                check_totals(&journal, session, &got);
            }
        });
    }
}

fn check_totals(journal: &Journal, session: SessionId, got: &[MediaFrame]) {
    let events = journal.of(session);
    let Some(StreamEventKind::PlayEnded { totals, .. }) = events.last() else {
        panic!("the last event is not its end: {events:?}");
    };
    let bytes: usize = got.iter().map(|frame| frame.payload.len()).sum();
    assert_eq!(
        (totals.frames, totals.bytes),
        (got.len() as u64, bytes as u64)
    );
}

/// Runs between two gaps: in order, from a keyframe on if there is video, with the newest
/// configuration before.
fn check_runs(sent: &[MediaFrame], got: &[MediaFrame]) {
    let (mut config, mut last) = (None, None);
    for frame in got {
        let n = number(frame);
        if frame.is_config() {
            config = Some(n);
            continue;
        }
        let before = &sent[..n as usize];
        let newest = before.iter().rev().find(|f| f.is_config()).map(number);
        assert_eq!(
            config, newest,
            "before {n} the newest configuration was handed out"
        );
        let hole =
            last.is_none_or(|last: u64| before[last as usize + 1..].iter().any(|f| !f.is_config()));
        let video = sent[..=n as usize]
            .iter()
            .any(|f| f.kind == MediaKind::Video);
        assert!(
            !hole || !video || frame.is_keyframe(),
            "after a hole ({last:?} to {n}) comes a keyframe"
        );
        assert!(last.is_none_or(|last| n > last), "{n} after {last:?}");
        last = Some(n);
    }
}
