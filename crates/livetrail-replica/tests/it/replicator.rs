//! The replicator under errors of every class, in simulated time: pauses, patience, gaps, the local
//! cursor, the end.

#![allow(
    clippy::disallowed_methods,
    reason = "the runtime's time is simulated here"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::ManualClock;
use livetrail_ledger::Cursor;
use livetrail_record::{AuditAction, AuditRecord, Value};
use livetrail_replica::conformance::TestLog;
use livetrail_replica::{
    Gap, ReplicaError, ReplicaOptions, ReplicaSink, ReplicaState, ReplicaWatch, Replicas,
    Replicator, SealedRange, SinkCursor,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const ORIGIN: &str = "example.com/a";

/// What the sink does instead of its work.
enum Trouble {
    Unavailable,
    Denied,
    Panic,
    Hang,
}

/// A sink that keeps the number of entries, and follows a test's script.
#[derive(Default)]
struct Scripted {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    troubles: VecDeque<Trouble>,
    /// The times at which `append` was called.
    calls: Vec<Instant>,
    down: bool,
    gaps: Vec<Gap>,
    largest_batch: usize,
}

impl Scripted {
    fn after(troubles: impl IntoIterator<Item = Trouble>) -> Arc<Self> {
        let sink = Self::default();
        sink.state.lock().unwrap().troubles = troubles.into_iter().collect();
        Arc::new(sink)
    }

    fn calls(&self) -> Vec<Instant> {
        self.state.lock().unwrap().calls.clone()
    }
}

#[async_trait]
impl ReplicaSink for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn cursor(&self, _: &str) -> Result<SinkCursor, ReplicaError> {
        let state = self.state.lock().unwrap();
        if state.down {
            return Err(ReplicaError::unavailable("down", "no route"));
        }
        Ok(SinkCursor::at(state.next))
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let trouble = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(Instant::now());
            state.largest_batch = state.largest_batch.max(range.len());
            state.troubles.pop_front()
        };
        match trouble {
            None => {}
            Some(Trouble::Unavailable) => {
                return Err(ReplicaError::unavailable("down", "no route"));
            }
            Some(Trouble::Denied) => {
                return Err(ReplicaError::denied("no right to INSERT", "refused"));
            }
            Some(Trouble::Panic) => panic!("a mistake in the sink"),
            Some(Trouble::Hang) => std::future::pending::<()>().await,
        }
        self.state.lock().unwrap().next = range.next();
        Ok(())
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let mut state = self.state.lock().unwrap();
        state.next = gap.missing.end;
        state.gaps.push(gap.clone());
        Ok(())
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}

type Events = Arc<Mutex<Vec<AuditRecord>>>;

struct Run {
    watch: ReplicaWatch,
    task: JoinHandle<()>,
    events: Events,
}

fn start(log: &TestLog, sink: &Arc<Scripted>, options: ReplicaOptions) -> Run {
    let events = Events::default();
    let recorded = Arc::clone(&events);
    let sink: Arc<dyn ReplicaSink> = sink.clone();
    let clock = Arc::new(ManualClock::at(1_764_000_060_000));
    let replicator = Replicator::new(log.handle(), log.reader(), sink, options, clock)
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

/// Waits in simulated time. Computation on other threads holds that time up.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut step = Duration::from_millis(10);
    for _ in 0..5_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(step).await;
        // Reaches a week in some hundred steps.
        step = step.mul_f64(1.01).min(Duration::from_mins(10));
    }
    panic!("{what}");
}

pub(crate) fn local_cursor(log: &TestLog) -> Option<Cursor> {
    let cursors = log.handle().cursors().unwrap();
    cursors
        .into_iter()
        .find_map(|(name, cursor)| (name == "scripted").then_some(cursor))
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_after_growing_pauses_within_their_bounds() {
    let log = TestLog::with(ORIGIN, 10);
    let sink = Scripted::after((0..12).map(|_| Trouble::Unavailable));
    let run = start(&log, &sink, ReplicaOptions::default());
    until("it arrives", || run.watch.status().cursor == Some(10)).await;
    let calls = sink.calls();
    assert_eq!(calls.len(), 13);
    let mut total = Duration::ZERO;
    for (nth, pair) in calls.windows(2).enumerate() {
        let pause = pair[1] - pair[0];
        let bound = Duration::from_millis(100 << nth).min(Duration::from_secs(30));
        assert!(
            pause <= bound + Duration::from_millis(20),
            "{nth}: {pause:?}"
        );
        total += pause;
    }
    // The mean is 70 s; a value below 5 s occurs once in some millions of runs.
    assert!(
        total > Duration::from_secs(5),
        "{total:?}: not spread but zero"
    );
    let status = run.watch.status();
    assert_eq!((status.errors, status.records), (12, 10));
    assert!(status.last_error.is_none() && status.failing.is_zero());
}

#[tokio::test(start_paused = true)]
async fn an_error_for_a_person_is_reported_at_once_and_tried_again_now_and_then() {
    let log = TestLog::with(ORIGIN, 10);
    let sink = Scripted::after([Trouble::Denied, Trouble::Panic]);
    let options = ReplicaOptions::default();
    let every = options.reprobe_interval;
    let run = start(&log, &sink, options);
    until("it is said", || {
        run.watch.status().state == ReplicaState::Blocked
    })
    .await;
    let status = run.watch.status();
    assert_eq!(status.last_error.unwrap(), "no right to INSERT: refused");
    assert_eq!(status.lag_records, 10);
    // The first record is a minute older than the clock.
    assert!(status.lag >= Duration::from_secs(60), "{:?}", status.lag);
    until("the panic is said", || {
        let error = run.watch.status().last_error;
        error.is_some_and(|error| error.contains("a mistake in the sink"))
    })
    .await;
    until("it goes on", || run.watch.status().cursor == Some(10)).await;
    let calls = sink.calls();
    assert_eq!(calls.len(), 3);
    for pair in calls.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= every && pause < every * 2, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repaired_sink_is_tried_at_once_on_notice() {
    let log = TestLog::with(ORIGIN, 10);
    let sink = Scripted::after([Trouble::Denied]);
    let options = ReplicaOptions::default();
    let every = options.reprobe_interval;
    let run = start(&log, &sink, options);
    until("it is said", || {
        run.watch.status().state == ReplicaState::Blocked
    })
    .await;
    run.watch.retry();
    until("it goes on", || run.watch.status().cursor == Some(10)).await;
    let calls = sink.calls();
    assert!(calls[1] - calls[0] < every / 2, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_deadline() {
    let log = TestLog::with(ORIGIN, 10);
    let sink = Scripted::after([Trouble::Hang]);
    let run = start(&log, &sink, ReplicaOptions::default());
    until("it arrives", || run.watch.status().cursor == Some(10)).await;
    let calls = sink.calls();
    let pause = calls[1] - calls[0];
    assert!(pause >= Duration::from_secs(30), "{pause:?}");
    assert!(pause < Duration::from_secs(31), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn entries_are_gathered_for_a_while_and_a_full_batch_does_not_wait() {
    let log = TestLog::with(ORIGIN, 10);
    let sink = Scripted::after([]);
    let mut options = ReplicaOptions::default();
    options.batch_records = 100;
    options.batch_interval = Duration::from_secs(30);
    let started = Instant::now();
    let run = start(&log, &sink, options);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(sink.calls().is_empty());
    log.add(5);
    until("it arrives", || run.watch.status().cursor == Some(15)).await;
    let calls = sink.calls();
    assert_eq!(calls.len(), 1);
    let waited = calls[0] - started;
    assert!(waited >= Duration::from_secs(30), "{waited:?}");
    assert!(waited < Duration::from_secs(32), "{waited:?}");

    // A full batch goes out at once, and the rest of it later.
    log.add(150);
    let added = Instant::now();
    until("all arrives", || run.watch.status().cursor == Some(165)).await;
    assert!(
        added.elapsed() < Duration::from_secs(2),
        "{:?}",
        added.elapsed()
    );
    assert_eq!(sink.calls().len(), 3);

    // The remaining entries are sent at the end.
    log.add(1);
    let closed = Instant::now();
    run.watch.close(Duration::from_secs(20));
    run.task.await.unwrap();
    assert_eq!(run.watch.status().cursor, Some(166));
    assert!(
        closed.elapsed() < Duration::from_secs(2),
        "{:?}",
        closed.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn batches_keep_to_their_bounds() {
    let log = TestLog::with(ORIGIN, 3_000);
    let sink = Scripted::after([]);
    let mut options = ReplicaOptions::default();
    options.batch_records = 300;
    let run = start(&log, &sink, options.clone());
    until("it arrives", || run.watch.status().cursor == Some(3_000)).await;
    assert_eq!(sink.state.lock().unwrap().largest_batch, 300);
    assert_eq!(sink.calls().len(), 10);

    let sink = Scripted::after([]);
    let entry = log.entries()[0].len();
    options.batch_bytes = entry * 10;
    let run = start(&log, &sink, options);
    until("it arrives", || run.watch.status().cursor == Some(3_000)).await;
    let largest = sink.state.lock().unwrap().largest_batch;
    assert!((5..=11).contains(&largest), "{largest}");
}

#[tokio::test(start_paused = true)]
async fn retention_is_held_back_by_a_required_sink_from_the_start_and_for_ever() {
    let log = TestLog::with(ORIGIN, 700);
    let sink = Scripted::after([]);
    sink.state.lock().unwrap().down = true;
    let run = start(&log, &sink, ReplicaOptions::default());
    until("it has failed for a week", || {
        run.watch.status().failing > Duration::from_hours(7 * 24)
    })
    .await;
    assert_eq!(local_cursor(&log), Some(Cursor::Required(0)));
    assert!(!run.watch.status().left_behind);
    sink.state.lock().unwrap().down = false;
    until("the cursor follows", || {
        local_cursor(&log) == Some(Cursor::Required(700))
    })
    .await;
    assert!(run.events.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_required_is_left_behind_after_its_time_and_on_record() {
    let log = TestLog::with(ORIGIN, 700);
    let sink = Scripted::after([]);
    let mut options = ReplicaOptions::default();
    options.required = false;
    options.patience = Duration::from_hours(1);
    let run = start(&log, &sink, options);
    until("it follows", || {
        local_cursor(&log) == Some(Cursor::Required(700))
    })
    .await;
    sink.state.lock().unwrap().down = true;
    sink.state
        .lock()
        .unwrap()
        .troubles
        .push_back(Trouble::Unavailable);
    log.add(50);
    until("it is waited for", || {
        run.watch.status().failing > Duration::from_mins(50)
    })
    .await;
    assert_eq!(local_cursor(&log), Some(Cursor::Required(700)));
    until("it is left behind", || run.watch.status().left_behind).await;
    until("retention knows", || {
        local_cursor(&log) == Some(Cursor::Optional(700))
    })
    .await;
    {
        let events = run.events.lock().unwrap();
        assert_eq!(events.len(), 1, "once: {events:?}");
        assert_eq!(events[0].action, AuditAction::AdminReplicaLeftBehind);
        assert_eq!(
            events[0].extra.get("sink"),
            Some(&Value::Text("scripted".to_owned()))
        );
        assert_eq!(
            events[0].extra.get("first_index"),
            Some(&Value::Integer(700))
        );
    }
    sink.state.lock().unwrap().down = false;
    until("it is waited for again", || {
        local_cursor(&log) == Some(Cursor::Required(750))
    })
    .await;
    assert!(!run.watch.status().left_behind);
}

#[tokio::test(start_paused = true)]
async fn what_was_pruned_is_skipped_on_record_by_one_that_is_not_required() {
    let log = TestLog::with(ORIGIN, 2_000);
    log.prune_below(1_024);
    let sink = Scripted::after([]);
    let mut options = ReplicaOptions::default();
    options.required = false;
    let run = start(&log, &sink, options);
    until("the rest arrives", || {
        run.watch.status().cursor == Some(2_000)
    })
    .await;
    let gaps = sink.state.lock().unwrap().gaps.clone();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].missing, 0..1_024);
    let status = run.watch.status();
    assert_eq!((status.skipped_records, status.records), (1_024, 976));
    {
        let events = run.events.lock().unwrap();
        assert_eq!(events[0].action, AuditAction::AdminReplicaGap);
        assert_eq!(
            events[0].extra.get("next_index"),
            Some(&Value::Integer(1_024))
        );
    }

    let required = Scripted::after([]);
    let run = start(&log, &required, ReplicaOptions::default());
    until("a required one refuses", || {
        run.watch.status().state == ReplicaState::Blocked
    })
    .await;
    assert_eq!(run.watch.status().records, 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_sends_what_is_sealed_and_one_that_hangs_does_not_hold_it_up() {
    let log = TestLog::with(ORIGIN, 3_000);
    let sink = Scripted::after([Trouble::Unavailable, Trouble::Unavailable]);
    let run = start(&log, &sink, ReplicaOptions::default());
    run.watch.close(Duration::from_secs(60));
    run.task.await.unwrap();
    assert_eq!(sink.state.lock().unwrap().next, 3_000);
    assert_eq!(run.watch.status().state, ReplicaState::Ended);
    assert_eq!(local_cursor(&log), Some(Cursor::Required(3_000)));

    let sink = Scripted::after([Trouble::Hang]);
    let run = start(&log, &sink, ReplicaOptions::default());
    until("it hangs", || sink.calls().len() == 1).await;
    let asked = Instant::now();
    run.watch.close(Duration::from_secs(5));
    run.task.await.unwrap();
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn many_replicas_run_next_to_each_other() {
    let log = TestLog::with(ORIGIN, 1_000);
    let sinks = [Scripted::after([]), Scripted::after([])];
    let mut replicas = Replicas::new();
    for sink in &sinks {
        let sink: Arc<dyn ReplicaSink> = sink.clone();
        let clock = Arc::new(ManualClock::at(0));
        let options = ReplicaOptions::default();
        let replicator = Replicator::new(log.handle(), log.reader(), sink, options, clock);
        replicas.start(replicator.unwrap()).unwrap();
    }
    let ended = replicas.close(Duration::from_secs(20));
    assert_eq!(ended.len(), 2);
    for (sink, status) in sinks.iter().zip(ended) {
        assert_eq!(sink.state.lock().unwrap().next, 1_000, "{status:?}");
        assert_eq!(status.state, ReplicaState::Ended);
    }
}

#[tokio::test(start_paused = true)]
async fn intervals_beyond_what_a_clock_says_are_never_over() {
    let log = TestLog::with(ORIGIN, 10);
    let sink = Scripted::after([]);
    let mut options = ReplicaOptions::default();
    options.recheck_interval = Duration::MAX;
    options.cursor_interval = Duration::MAX;
    let run = start(&log, &sink, options);
    until("it arrives", || run.watch.status().cursor == Some(10)).await;
    until("its first place is written", || {
        local_cursor(&log).is_some()
    })
    .await;
    log.add(5);
    until("the rest arrives", || run.watch.status().cursor == Some(15)).await;
    run.watch.close(Duration::MAX);
    run.task.await.unwrap();
    assert_eq!(local_cursor(&log), Some(Cursor::Required(15)));
}
