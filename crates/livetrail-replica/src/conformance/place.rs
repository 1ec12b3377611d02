//! Cases for every sink.

use std::sync::Arc;
use std::time::Duration;

use super::{Following, Place, TestLog, assert_equal, quick, wait_until};
use crate::ReplicaOptions;
use crate::error::ReplicaError;
use crate::status::ReplicaState;

const ORIGIN: &str = "example.com/a";

/// Entries that are sealed while a sink follows, in steps of odd sizes, all arrive, once and in
/// order.
pub async fn everything_arrives_once_in_order<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 300);
    let sink = place.sink().await;
    sink.health().await.expect("a new place is well");
    assert_eq!(sink.cursor(ORIGIN).await.expect("a cursor").next(), 0);
    let following = Following::start(&log, Arc::clone(&sink));
    for step in [1, 255, 256, 257, 1_000, 3] {
        log.add(step);
    }
    following.finish(&log).await;
    assert_equal(&place, &log).await;
    let next = sink.cursor(ORIGIN).await.expect("a cursor").next();
    assert_eq!(next, log.size());
}

/// A range that is there already, as a whole or in part, is not written again.
pub async fn a_repeated_range_changes_nothing<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 700);
    let sink = place.sink().await;
    sink.append(&log.range(0, 300)).await.expect("new");
    let again: [(u64, usize); 4] = [(0, 300), (100, 100), (299, 1), (200, 300)];
    for (first, count) in again {
        match sink.append(&log.range(first, count)).await {
            Ok(()) | Err(ReplicaError::CursorMoved { .. }) => {}
            Err(error) => panic!("entries {first} and on, again: {error:?}"),
        }
    }
    let beyond = sink.append(&log.range(600, 10)).await;
    assert!(beyond.is_err(), "a range beyond the cursor leaves a hole");
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    assert_equal(&place, &log).await;
}

/// Another entry for an existing index is a fork, and changes nothing.
pub async fn other_bytes_for_the_same_index_are_a_fork<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 300);
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    let other = TestLog::new(ORIGIN);
    other.add_other(300, "other");
    match place.sink().await.append(&other.range(0, 300)).await {
        Err(ReplicaError::Fork { index: 0, .. } | ReplicaError::CursorMoved { .. }) => {}
        answer => panic!("other bytes for index 0: {answer:?}"),
    }
    assert_forked(&other, &place).await;
    assert_equal(&place, &log).await;
}

/// A log that is longer than the sink's content and has another history below the sink's cursor.
pub async fn a_log_that_forked_earlier_is_found_at_the_cursor<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 300);
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    let other = TestLog::with(ORIGIN, 250);
    other.add_other(100, "other");
    assert_forked(&other, &place).await;
    assert_equal(&place, &log).await;
}

/// A ledger that has less than the sink is an older copy: it causes an alarm, and nothing is
/// written.
pub async fn an_older_copy_of_the_ledger_is_refused<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 300);
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    assert_forked(&TestLog::with(ORIGIN, 200), &place).await;
    assert_equal(&place, &log).await;
}

async fn assert_forked(log: &TestLog, place: &impl Place) {
    let following = Following::start(log, place.sink().await);
    wait_until("the fork is found", || {
        let status = following.watch.status();
        assert_eq!(
            status.records, 0,
            "it wrote into another history: {status:?}"
        );
        status.state == ReplicaState::Forked
    })
    .await;
    following.abort().await;
}

/// Two logs use one destination at the same time.
pub async fn another_origin_in_the_same_place_is_left_alone<P: Place>() {
    let place = P::fresh().await;
    let logs = [
        TestLog::with(ORIGIN, 700),
        TestLog::with("example.com/b", 500),
    ];
    let mut following = Vec::new();
    for log in &logs {
        following.push(Following::start(log, place.sink().await));
    }
    for (log, following) in logs.iter().zip(following) {
        following.finish(log).await;
        assert_equal(&place, log).await;
    }
}

/// Two writers of the same log, by mistake.
pub async fn two_processes_at_once_write_each_entry_once<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 3_000);
    let first = Following::start(&log, place.sink().await);
    let second = Following::start(&log, place.sink().await);
    log.add(500);
    first.finish(&log).await;
    second.finish(&log).await;
    assert_equal(&place, &log).await;
}

/// Our process ends between any two steps, over and over.
pub async fn our_process_may_end_at_any_moment<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 3_000);
    let mut cut_short = 0;
    for round in 0..25_u64 {
        let options = ReplicaOptions {
            batch_records: 64,
            ..quick()
        };
        let following = Following::start_with(&log, place.sink().await, options);
        // From right at the start to some batches later.
        let lives = Duration::from_micros(round * round * 40);
        tokio::time::sleep(lives).await;
        let status = following.watch.status();
        following.abort().await;
        cut_short += u32::from(status.cursor != Some(log.size()));
    }
    assert!(cut_short > 0, "it was never cut short");
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    assert_equal(&place, &log).await;
}

/// The sink was away for a day, at one record per second.
pub async fn a_days_backlog_arrives<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 86_400);
    let options = ReplicaOptions {
        batch_records: ReplicaOptions::default().batch_records,
        ..quick()
    };
    Following::start_with(&log, place.sink().await, options)
        .finish(&log)
        .await;
    assert_equal(&place, &log).await;
}
