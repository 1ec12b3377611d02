//! The loop that applies erasures, in simulated time: it waits for the entries, pauses on its own,
//! and reports what is overdue.

#![allow(
    clippy::disallowed_methods,
    reason = "the runtime's time is simulated here"
)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::ManualClock;
use livetrail_ledger::Cursor;
use livetrail_record::{AuditAction, AuditRecord, Value};
use livetrail_replica::conformance::TestLog;
use livetrail_replica::{
    Erasure, PersonalMode, ReplicaError, ReplicaOptions, ReplicaSink, ReplicaState, ReplicaWatch,
    Replicator, SealedRange, SinkCursor,
};
use tokio::task::JoinHandle;

use crate::replicator::{local_cursor, until};

const ORIGIN: &str = "example.com/a";

/// A sink with openings that a test can make fail.
struct Scripted {
    mode: PersonalMode,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    erased_up_to: u64,
    openings: BTreeSet<[u8; 16]>,
    appends: Vec<usize>,
    spans: Vec<std::ops::Range<u64>>,
    /// What fails now.
    no_append: bool,
    no_erase: bool,
}

#[async_trait]
impl ReplicaSink for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn personal(&self) -> PersonalMode {
        self.mode
    }

    async fn cursor(&self, _: &str) -> Result<SinkCursor, ReplicaError> {
        Ok(SinkCursor::at(self.state.lock().unwrap().next))
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let mut state = self.state.lock().unwrap();
        if state.no_append {
            return Err(ReplicaError::unavailable("down", "no route"));
        }
        state.next = range.next();
        state.appends.push(range.openings().len());
        let sessions = range.openings().iter().map(|one| one.session());
        state.openings.extend(sessions);
        Ok(())
    }

    async fn erasure_cursor(&self, _: &str) -> Result<u64, ReplicaError> {
        Ok(self.state.lock().unwrap().erased_up_to)
    }

    async fn erase(&self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let mut state = self.state.lock().unwrap();
        if state.no_erase {
            return Err(ReplicaError::denied("no right to DELETE", "refused"));
        }
        assert!(erasure.span.start <= state.erased_up_to, "{erasure:?}");
        assert!(erasure.span.end <= state.next, "{erasure:?}");
        state.erased_up_to = state.erased_up_to.max(erasure.span.end);
        state.openings.retain(|session| !erasure.names(session));
        state.spans.push(erasure.span.clone());
        Ok(())
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}

struct Run {
    sink: Arc<Scripted>,
    watch: ReplicaWatch,
    task: JoinHandle<()>,
    events: Arc<Mutex<Vec<AuditRecord>>>,
    clock: Arc<ManualClock>,
}

fn start(log: &TestLog, mode: PersonalMode, options: ReplicaOptions) -> Run {
    let sink = Arc::new(Scripted {
        mode,
        state: Mutex::default(),
    });
    follow(log, sink, options)
}

fn follow(log: &TestLog, sink: Arc<Scripted>, options: ReplicaOptions) -> Run {
    let events: Arc<Mutex<Vec<AuditRecord>>> = Arc::default();
    let recorded = Arc::clone(&events);
    let clock = Arc::new(ManualClock::at(1_764_000_060_000));
    let replicator = Replicator::new(
        log.handle(),
        log.reader(),
        Arc::clone(&sink) as Arc<dyn ReplicaSink>,
        options,
        Arc::clone(&clock) as Arc<dyn livetrail_clock::Clock>,
    )
    .unwrap()
    .with_openings(log.openings())
    .recording(Arc::new(move |record| {
        recorded.lock().unwrap().push(record);
    }));
    Run {
        sink,
        watch: replicator.watch(),
        task: tokio::spawn(replicator.run()),
        events,
        clock,
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_erase_gets_entries_and_the_overdue_erasure_is_an_alert() {
    let log = TestLog::new(ORIGIN);
    let sessions = log.add_sessions(20);
    let run = start(&log, PersonalMode::Opening, ReplicaOptions::default());
    let status = || run.watch.status();
    until("the openings are there", || {
        status().cursor == Some(20) && status().erased_up_to == Some(20)
    })
    .await;
    run.sink.state.lock().unwrap().no_erase = true;
    log.erase(&sessions[..5]);
    log.add(30);
    until("the error is reported", || status().erasure_error.is_some()).await;
    until("entries arrive", || status().cursor == Some(51)).await;
    let seen = status();
    assert_eq!(seen.state, ReplicaState::Following, "{seen:?}");
    assert_eq!(seen.erased_up_to, Some(20));
    assert_eq!(seen.pending_erasures, 1);
    assert_eq!(
        seen.erasure_error.as_deref(),
        Some("no right to DELETE: refused")
    );
    assert!(!seen.erasure_overdue, "{seen:?}");
    // The records of erasures are not pruned before they are applied.
    until("retention waits", || {
        local_cursor(&log) == Some(Cursor::Required(20))
    })
    .await;
    run.clock.advance(Duration::from_hours(24));
    until("it is overdue", || status().erasure_overdue).await;
    assert!(status().erasure_lag >= Duration::from_hours(24));
    run.sink.state.lock().unwrap().no_erase = false;
    until("it is applied", || status().erased_up_to == Some(51)).await;
    let seen = status();
    assert!(
        seen.erasure_lag.is_zero() && !seen.erasure_overdue,
        "{seen:?}"
    );
    assert!(seen.erasure_error.is_none() && seen.pending_erasures == 0);
    assert_eq!(run.sink.state.lock().unwrap().openings.len(), 15);
    run.watch.close(Duration::from_secs(20));
    run.task.await.unwrap();
    assert_eq!(local_cursor(&log), Some(Cursor::Required(51)));
    // A start does not read again what has no erasures.
    assert_eq!(run.sink.state.lock().unwrap().erased_up_to, 51);
}

#[tokio::test(start_paused = true)]
async fn an_erasure_that_waits_for_an_outage_is_counted() {
    let log = TestLog::new(ORIGIN);
    let sessions = log.add_sessions(20);
    let run = start(&log, PersonalMode::Opening, ReplicaOptions::default());
    let status = || run.watch.status();
    until("it follows", || status().cursor == Some(20)).await;
    run.sink.state.lock().unwrap().no_append = true;
    log.erase(&sessions[..5]);
    log.erase(&sessions[5..6]);
    until("both are seen", || status().pending_erasures == 2).await;
    assert!(status().erasure_lag >= Duration::from_secs(30));
    assert!(
        run.sink
            .state
            .lock()
            .unwrap()
            .spans
            .iter()
            .all(|span| span.end <= 20)
    );
    run.sink.state.lock().unwrap().no_append = false;
    until("both are applied", || status().erased_up_to == Some(22)).await;
    assert_eq!(run.sink.state.lock().unwrap().openings.len(), 14);
}

#[tokio::test(start_paused = true)]
async fn a_destination_whose_older_copy_is_restored_gets_its_erasures_again() {
    let log = TestLog::new(ORIGIN);
    let sessions = log.add_sessions(20);
    log.erase(&sessions[..5]);
    let run = start(&log, PersonalMode::Opening, ReplicaOptions::default());
    let status = || run.watch.status();
    until("it is applied", || status().erased_up_to == Some(21)).await;
    {
        let mut state = run.sink.state.lock().unwrap();
        state.openings.extend(&sessions);
        state.erased_up_to = 0;
    }
    run.watch.retry();
    until("it is applied again", || {
        run.sink.state.lock().unwrap().openings.len() == 15
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn large_openings_make_a_batch_shorter() {
    let log = TestLog::new(ORIGIN);
    log.add_sessions(40);
    let mut options = ReplicaOptions::default();
    options.batch_bytes = 20_000;
    let run = start(&log, PersonalMode::Opening, options.clone());
    until("all arrives", || run.watch.status().cursor == Some(40)).await;
    let before = run.sink.state.lock().unwrap().appends.clone();
    options.batch_bytes = 1_000;
    let run = start(&log, PersonalMode::Opening, options);
    until("all arrives", || run.watch.status().cursor == Some(40)).await;
    let after = run.sink.state.lock().unwrap().appends.clone();
    assert_eq!(before.iter().sum::<usize>(), 40);
    assert_eq!(after.iter().sum::<usize>(), 40);
    assert!(after.len() > before.len(), "{before:?} {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_gets_names_for_ever_is_on_record_and_one_without_names_gets_none() {
    let log = TestLog::new(ORIGIN);
    log.add_sessions(3);
    let run = start(&log, PersonalMode::Clear, ReplicaOptions::default());
    until("all arrives", || run.watch.status().cursor == Some(3)).await;
    assert_eq!(run.sink.state.lock().unwrap().appends, [3]);
    let status = run.watch.status();
    assert_eq!(status.personal, PersonalMode::Clear);
    assert_eq!(status.erased_up_to, None);
    {
        let events = run.events.lock().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].action, AuditAction::AdminSinkUnerasable);
        let sink = events[0].extra.get("sink");
        assert_eq!(sink, Some(&Value::Text("scripted".to_owned())));
    }
    let run = start(&log, PersonalMode::None, ReplicaOptions::default());
    until("all arrives", || run.watch.status().cursor == Some(3)).await;
    assert_eq!(run.sink.state.lock().unwrap().appends, [0]);
    assert!(run.events.lock().unwrap().is_empty());
}
