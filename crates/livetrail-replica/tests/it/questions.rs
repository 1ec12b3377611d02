//! What sinks are asked at a start and while they follow, and what a ledger does with the answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::SystemClock;
use livetrail_ledger::{Cursor, ExternalFloor, LedgerError, SeenTree};
use livetrail_record::{AuditAction, AuditRecord, Value};
use livetrail_replica::conformance::TestLog;
use livetrail_replica::{
    ReplicaError, ReplicaFloor, ReplicaOptions, ReplicaSink, ReplicaState, ReplicaWatch,
    Replicator, SealedRange, Sightings, SinkCursor, examine,
};
use tokio::task::JoinHandle;

const ORIGIN: &str = "example.com/a";

const LONG: Duration = Duration::from_secs(60);

/// A destination whose owner does what a test says.
#[derive(Default)]
struct Place(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    next: u64,
    /// Checkpoints and other notes, as they are stored.
    notes: Vec<Vec<u8>>,
    /// It answers no question.
    hangs: bool,
    /// It shows its notes, and then reports an error.
    is_broken: bool,
    /// The next range meets another history.
    forks: bool,
    hand_overs: Vec<u64>,
}

impl Place {
    fn at(next: u64, notes: impl IntoIterator<Item = Vec<u8>>) -> Arc<Self> {
        let place = Self::default();
        place.inside(|inside| {
            inside.next = next;
            inside.notes = notes.into_iter().collect();
        });
        Arc::new(place)
    }

    fn inside<T>(&self, change: impl FnOnce(&mut Inside) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    async fn answer(&self) {
        while self.inside(|inside| inside.hangs) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn working(&self) -> Result<(), ReplicaError> {
        if self.inside(|inside| inside.is_broken) {
            return Err(ReplicaError::unsuitable("somebody has changed a setting"));
        }
        Ok(())
    }
}

#[async_trait]
impl ReplicaSink for Place {
    fn name(&self) -> &str {
        "place"
    }

    async fn cursor(&self, _: &str) -> Result<SinkCursor, ReplicaError> {
        self.answer().await;
        self.working()?;
        Ok(SinkCursor::at(self.inside(|inside| inside.next)))
    }

    async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        self.answer().await;
        for note in self.inside(|inside| inside.notes.clone()) {
            seen.offer(&note);
        }
        self.working()
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        if self.inside(|inside| inside.forks) {
            return Err(ReplicaError::Fork {
                index: range.first(),
                ours: range.leaves()[0],
                theirs: livetrail_tlog::leaf_hash(b"other"),
            });
        }
        self.inside(|inside| {
            inside.next = range.next();
            inside.notes.push(range.note().to_vec());
            let sizes = range.hand_overs().iter().map(|one| one.size);
            inside.hand_overs.extend(sizes);
        });
        Ok(())
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}

/// The newest checkpoint of a log.
fn newest(log: &TestLog) -> Vec<u8> {
    log.range(log.size() - 1, 1).note().to_vec()
}

struct Run {
    watch: ReplicaWatch,
    task: JoinHandle<()>,
    events: Arc<Mutex<Vec<AuditRecord>>>,
}

fn follow(log: &TestLog, place: &Arc<Place>) -> Run {
    follow_with(log, place, ReplicaOptions::default())
}

fn follow_with(log: &TestLog, place: &Arc<Place>, options: ReplicaOptions) -> Run {
    let events = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&events);
    let clock = Arc::new(SystemClock::new());
    let replicator = Replicator::new(log.handle(), log.reader(), place.clone(), options, clock)
        .unwrap()
        .recording(Arc::new(move |record| {
            recorded.lock().unwrap().push(record);
        }));
    Run {
        watch: replicator.watch(),
        task: tokio::spawn(replicator.run()),
        events,
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

fn floor(log: &TestLog, place: &Arc<Place>, required: bool, patience: Duration) -> ReplicaFloor {
    ReplicaFloor::new(log.reader(), vec![(place.clone(), required)], patience)
}

#[test]
fn without_knowledge_of_all_sinks_none_is_dismissed() {
    let log = TestLog::with(ORIGIN, 1);
    let floor = |sinks| ReplicaFloor::new(log.reader(), sinks, LONG);
    let place = || -> Arc<dyn ReplicaSink> { Place::at(0, []) };
    assert!(!floor(vec![]).dismisses("sink place"));
    assert!(floor(vec![]).and_no_others().dismisses("sink place"));
    let required = floor(vec![(place(), true)]).and_no_others();
    assert!(!required.dismisses("sink place"));
    assert!(floor(vec![(place(), false)]).dismisses("sink place"));
}

fn restart(
    log: TestLog,
    place: &Arc<Place>,
    required: bool,
    patience: Duration,
) -> Result<TestLog, LedgerError> {
    let floor = floor(&log, place, required, patience);
    log.restarted(Some(Box::new(floor)))
}

#[test]
fn what_our_own_keys_signed_is_believed_and_no_claim_without_a_signature() {
    let yesterday = TestLog::with(ORIGIN, 200);
    let today = TestLog::with(ORIGIN, 300);
    let signed = newest(&today);
    let other = newest(&TestLog::with("example.com/b", 900));
    let forged = {
        let mut forged = signed.clone();
        forged.splice(..0, []);
        let text = String::from_utf8(forged).unwrap();
        text.replacen("\n300\n", "\n999\n", 1).into_bytes()
    };
    let rubbish = vec![0; 10];
    let seen = |place: &Arc<Place>| {
        let mut floor = floor(&yesterday, place, true, LONG);
        let seen = floor.largest_seen();
        assert!(floor.unanswered().is_empty());
        assert_eq!(seen[0].source_name, "sink place");
        seen[0].seen
    };
    let claims = Place::at(1_000, [other, forged, rubbish]);
    assert_eq!(seen(&claims), SeenTree::Size(0));
    // The signed note stands between others.
    claims.inside(|inside| inside.notes.insert(1, signed));
    match seen(&claims) {
        SeenTree::Tree(head) => assert_eq!(head.size, 300),
        other => panic!("{other:?}"),
    }
    let refused = restart(yesterday, &claims, false, LONG).unwrap_err();
    assert!(matches!(
        refused,
        LedgerError::FloorAhead { theirs: 300, .. }
    ));
    // Today's copy starts, whatever is claimed.
    restart(today, &claims, true, LONG).unwrap();
}

#[test]
fn what_is_found_before_an_error_or_the_deadline_counts() {
    let yesterday = TestLog::with(ORIGIN, 200);
    let signed = newest(&TestLog::with(ORIGIN, 300));
    let broken = Place::at(300, [signed]);
    broken.inside(|inside| inside.is_broken = true);
    let refused = restart(yesterday, &broken, false, LONG).unwrap_err();
    assert!(matches!(
        refused,
        LedgerError::FloorAhead { theirs: 300, .. }
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_of_a_required_sink_that_is_known_nothing_is_signed_until_it_comes() {
    let log = TestLog::with(ORIGIN, 100);
    let place = Place::at(0, []);
    let run = follow(&log, &place);
    until("it follows", || run.watch.status().cursor == Some(100)).await;
    run.watch.close(LONG);
    run.task.await.unwrap();

    place.inside(|inside| inside.hangs = true);
    let short = Duration::from_millis(50);
    let log = restart(log, &place, true, short).unwrap();
    assert_eq!(log.handle().status().held, ["sink place"]);
    let entry = log.entries()[0].clone();
    let appended = log
        .handle()
        .append(livetrail_ledger::Class::Strict, &[entry])
        .unwrap();
    log.handle().wait_durable(appended.next, LONG).unwrap();
    let run = follow(&log, &place);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(log.size(), 100, "it is recorded and not signed");
    place.inside(|inside| inside.hangs = false);
    until("it is signed", || log.size() == 101).await;
    until("it arrives", || run.watch.status().cursor == Some(101)).await;
    assert!(log.handle().status().held.is_empty());
    run.task.abort();
}

#[test]
fn a_sink_that_is_new_or_not_required_holds_nothing_up() {
    let short = Duration::from_millis(50);
    let place = Place::at(0, []);
    place.inside(|inside| inside.hangs = true);
    let log = restart(TestLog::with(ORIGIN, 100), &place, true, short).unwrap();
    assert!(log.handle().status().held.is_empty());
    log.handle()
        .set_cursor("place", Some(Cursor::Required(100)))
        .unwrap();
    let log = restart(log, &place, false, short).unwrap();
    assert!(log.handle().status().held.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_late_and_proves_an_older_copy_stops_the_log_before_it_signs() {
    let log = TestLog::with(ORIGIN, 200);
    log.handle()
        .set_cursor("place", Some(Cursor::Required(200)))
        .unwrap();
    let place = Place::at(300, [newest(&TestLog::with(ORIGIN, 300))]);
    place.inside(|inside| inside.hangs = true);
    let log = restart(log, &place, true, Duration::from_millis(50)).unwrap();
    let run = follow(&log, &place);
    place.inside(|inside| inside.hangs = false);
    until("the log stops", || log.handle().status().stopped.is_some()).await;
    assert_eq!(log.size(), 200);
    // The replicator stops the log first, and then reports its own state.
    let forked = || run.watch.status().state == ReplicaState::Forked;
    until("the sink is forked", forked).await;
    run.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_without_a_signature_makes_the_sink_forked_and_the_log_goes_on() {
    let log = TestLog::with(ORIGIN, 100);
    let place = Place::at(500, []);
    let run = follow(&log, &place);
    until("it is forked", || {
        run.watch.status().state == ReplicaState::Forked
    })
    .await;
    log.add(10);
    assert_eq!(log.size(), 110);
    // A person has fixed it and asks for a retry.
    place.inside(|inside| inside.next = 100);
    run.watch.retry();
    until("it follows", || run.watch.status().cursor == Some(110)).await;
    run.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_that_is_met_while_it_runs_stops_the_log_if_our_own_key_signed_the_other_tree() {
    let log = TestLog::with(ORIGIN, 100);
    let place = Place::at(0, []);
    let run = follow(&log, &place);
    until("it follows", || run.watch.status().cursor == Some(100)).await;
    // A fork without a proof stops the sink alone.
    place.inside(|inside| inside.forks = true);
    log.add(1);
    until("it is forked", || {
        run.watch.status().state == ReplicaState::Forked
    })
    .await;
    assert!(log.handle().status().stopped.is_none());
    // Another server with the same key wrote there.
    let other = TestLog::with(ORIGIN, 100);
    other.add_other(20, "other");
    place.inside(|inside| inside.notes.push(newest(&other)));
    run.watch.retry();
    until("the log stops", || log.handle().status().stopped.is_some()).await;
    run.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_lost_what_it_had_is_reported_at_a_start_and_while_it_follows() {
    let log = TestLog::with(ORIGIN, 100);
    let place = Place::at(0, []);
    log.handle()
        .set_cursor("place", Some(Cursor::Required(80)))
        .unwrap();
    let mut options = ReplicaOptions::default();
    options.recheck_interval = Duration::from_millis(20);
    let run = follow_with(&log, &place, options);
    until("it follows", || run.watch.status().cursor == Some(100)).await;
    assert_eq!(run.watch.status().went_back, 1);
    place.inside(|inside| inside.next = 30);
    until("it is noticed", || run.watch.status().went_back == 2).await;
    until("it is mended", || place.inside(|inside| inside.next) == 100).await;
    let told = |record: &AuditRecord| {
        let number = |name: &str| match record.extra.get(name) {
            Some(Value::Integer(number)) => *number,
            other => panic!("{name}: {other:?}"),
        };
        (number("first_index"), number("next_index"))
    };
    let events = run.events.lock().unwrap().clone();
    let went_back = AuditAction::AdminReplicaWentBack;
    assert!(events.iter().all(|record| record.action == went_back));
    let told: Vec<_> = events.iter().map(told).collect();
    assert_eq!(told, [(0, 80), (30, 100)]);
    run.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_stop_no_sink_and_their_hand_over_comes_with_the_entry_behind_it() {
    let log = TestLog::with(ORIGIN, 100);
    let place = Place::at(0, []);
    let run = follow(&log, &place);
    until("it follows", || run.watch.status().cursor == Some(100)).await;
    run.watch.close(LONG);
    run.task.await.unwrap();
    let log = log.with_keys(3, 2).with_keys(3, 4);
    examine(place.as_ref(), &log.reader()).await.unwrap();
    let log = restart(log, &place, true, LONG).unwrap();
    let run = follow(&log, &place);
    log.add(5);
    until("it goes on", || run.watch.status().cursor == Some(105)).await;
    assert_eq!(place.inside(|inside| inside.hand_overs.clone()), [100, 100]);
    log.add(5);
    until("it goes on", || run.watch.status().cursor == Some(110)).await;
    assert_eq!(place.inside(|inside| inside.hand_overs.len()), 2);
    run.task.abort();
    // The holder of the keys that were given up signs more: that counts for nothing.
    let forged = newest(&TestLog::with(ORIGIN, 400));
    place.inside(|inside| inside.notes.push(forged));
    examine(place.as_ref(), &log.reader()).await.unwrap();
    restart(log, &place, true, LONG).unwrap();
}

#[tokio::test]
async fn a_sink_that_a_person_asks_is_judged_as_by_the_server() {
    let log = TestLog::with(ORIGIN, 100);
    let place = Place::at(100, [newest(&log)]);
    let reader = log.reader();
    let cursor = examine(place.as_ref(), &reader).await.unwrap();
    assert_eq!(cursor.next(), 100);
    place.inside(|inside| {
        inside.notes.push(newest(&TestLog::with(ORIGIN, 200)));
    });
    let error = examine(place.as_ref(), &reader).await.unwrap_err();
    assert!(matches!(
        error,
        ReplicaError::Ahead {
            ours: 100,
            theirs: 200
        }
    ));
}
