//! Cases for sinks that keep openings and erase them again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Following, Place, Server, TestLog, assert_equal, quick, wait_until};
use crate::error::ReplicaError;
use crate::options::ReplicaOptions;
use crate::personal::{Erasure, PersonalMode};
use crate::sink::ReplicaSink;

const ORIGIN: &str = "example.com/a";

/// A destination that can keep openings, and erase them again.
#[async_trait]
pub trait Erasing: Place {
    /// As [`sink`](Place::sink), and the sink keeps openings.
    async fn opening_sink(&self) -> Arc<dyn ReplicaSink>;

    /// Each opening that the destination holds for this origin, in any order: its identifier and
    /// its JSON. Reads it in another way than the sink does, and includes what a reader with all
    /// rights could still find, such as older versions.
    async fn openings(&self, origin: &str) -> Vec<([u8; 16], Vec<u8>)>;
}

/// Asserts that the destination holds the entries of the log, and exactly the openings that are not
/// erased.
async fn assert_erased(place: &impl Erasing, log: &TestLog) {
    let mut held = place.openings(log.origin()).await;
    held.sort();
    let wanted = log.openings_left();
    assert_eq!(held.len(), wanted.len(), "openings in the sink, and wanted");
    for (held, wanted) in held.iter().zip(&wanted) {
        assert_eq!(held.0, wanted.0, "another opening is there");
        assert!(held.1 == wanted.1, "an opening has other bytes");
    }
    assert_equal(place, log).await;
}

async fn wait_erased(following: &Following, log: &TestLog) {
    let size = log.size();
    wait_until("all erasures are applied", || {
        following.watch.status().erased_up_to == Some(size)
    })
    .await;
}

async fn follow_to_the_end(place: &impl Erasing, log: &TestLog) {
    let following = Following::start(log, place.opening_sink().await);
    wait_erased(&following, log).await;
    following.finish(log).await;
}

/// Openings go out with their entries. What the log names as erased is removed, and the entries
/// stay. A sink that keeps no openings gets none.
pub async fn erasures_follow_the_log<P: Erasing>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 10);
    let sink = place.opening_sink().await;
    assert_eq!(sink.personal(), PersonalMode::Opening);
    sink.health().await.expect("a new place is well");
    let following = Following::start(&log, sink);
    let sessions = log.add_sessions(300);
    wait_until("all entries are there", || {
        following.watch.status().cursor == Some(310)
    })
    .await;
    assert_erased(&place, &log).await;
    log.erase(&sessions[..100]);
    log.add(10);
    log.erase(&sessions[250..]);
    // One that is not there, or no longer.
    log.erase(&[sessions[0], [9; 16]]);
    wait_erased(&following, &log).await;
    let status = following.watch.status();
    assert_eq!(status.pending_erasures, 0, "{status:?}");
    assert!(status.erasure_error.is_none(), "{status:?}");
    following.finish(&log).await;
    assert_eq!(log.openings_left().len(), 150);
    assert_erased(&place, &log).await;
}

/// A sink that keeps no openings gets none.
pub async fn without_openings_only_entries_arrive<P: Erasing>() {
    let place = P::fresh().await;
    let log = TestLog::new(ORIGIN);
    log.add_sessions(20);
    let sink = place.sink().await;
    assert_eq!(sink.personal(), PersonalMode::None);
    Following::start(&log, sink).finish(&log).await;
    assert!(place.openings(ORIGIN).await.is_empty());
    assert_equal(&place, &log).await;
}

/// An erasure that is repeated changes nothing, the cursor never goes back, and a span that begins
/// behind the cursor is refused.
pub async fn a_repeated_erasure_changes_nothing<P: Erasing>() {
    let place = P::fresh().await;
    let log = TestLog::new(ORIGIN);
    let sessions = log.add_sessions(20);
    let sink = place.opening_sink().await;
    sink.append(&log.range(0, 20)).await.expect("a range");
    assert!(sink.erasure_cursor(ORIGIN).await.expect("a cursor") <= 20);
    let from = sink.erasure_cursor(ORIGIN).await.expect("a cursor");
    log.erase(&sessions[..2]);
    log.add(80);
    sink.append(&log.range(20, 81)).await.expect("a range");
    let first = Erasure::new(ORIGIN, from..21, sessions[..2].to_vec());
    for _ in 0..2 {
        sink.erase(&first).await.expect("erased");
        let cursor = sink.erasure_cursor(ORIGIN).await.expect("a cursor");
        assert_eq!(cursor, 21);
    }
    assert_erased(&place, &log).await;
    let other = place.opening_sink().await;
    let hole = Erasure::new(ORIGIN, 30..40, vec![sessions[3]]);
    match other.erase(&hole).await {
        Err(ReplicaError::CursorMoved {
            expected: 30,
            found: 21,
        }) => {}
        answer => panic!("a span beyond the cursor: {answer:?}"),
    }
    let nothing = Erasure::new(ORIGIN, 21..101, Vec::new());
    other.erase(&nothing).await.expect("the cursor moves");
    sink.erase(&first).await.expect("the same again");
    let cursor = sink.erasure_cursor(ORIGIN).await.expect("a cursor");
    assert_eq!(cursor, 101, "it does not go back");
    assert_erased(&place, &log).await;
}

/// A second writer that still has the openings of a range that the log has erased since does not
/// bring them back.
pub async fn an_opening_that_comes_late_does_not_stay<P: Erasing>() {
    let place = P::fresh().await;
    let log = TestLog::new(ORIGIN);
    let sessions = log.add_sessions(40);
    let late = log.range(0, 40);
    assert_eq!(late.openings().len(), 40);
    log.erase(&sessions[10..30]);
    follow_to_the_end(&place, &log).await;
    match place.opening_sink().await.append(&late).await {
        Ok(()) | Err(ReplicaError::CursorMoved { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
    assert_erased(&place, &log).await;
}

/// Two writers of the same log, by mistake, while sessions are erased.
pub async fn two_processes_at_once_erase_the_same<P: Erasing>() {
    let place = P::fresh().await;
    let log = TestLog::new(ORIGIN);
    let both = [
        Following::start(&log, place.opening_sink().await),
        Following::start(&log, place.opening_sink().await),
    ];
    for _ in 0..8 {
        let sessions = log.add_sessions(50);
        log.erase(&sessions[..40]);
    }
    for following in both {
        wait_erased(&following, &log).await;
        following.finish(&log).await;
    }
    assert_erased(&place, &log).await;
}

/// Our process ends between any two steps, also in the middle of an erasure, over and over.
pub async fn our_process_may_end_in_an_erasure<P: Erasing>() {
    let place = P::fresh().await;
    let log = TestLog::new(ORIGIN);
    let mut cut_short = 0;
    for round in 0..20_u64 {
        let sessions = log.add_sessions(30);
        log.erase(&sessions[..20]);
        let options = ReplicaOptions {
            batch_records: 16,
            ..quick()
        };
        let following = Following::start_with(&log, place.opening_sink().await, options);
        // From right at the start to some erasures later.
        tokio::time::sleep(Duration::from_micros(round * round * 100)).await;
        let status = following.watch.status();
        following.abort().await;
        cut_short += u32::from(status.erased_up_to != Some(log.size()));
    }
    assert!(cut_short > 0, "it was never cut short");
    follow_to_the_end(&place, &log).await;
    assert_erased(&place, &log).await;
}

/// The server is killed while sessions are erased, and comes back: the erasures arrive.
pub async fn an_erasure_survives_an_outage<P: Erasing + Server>() {
    let place = P::fresh().await;
    let log = TestLog::new(ORIGIN);
    let mut sessions = log.add_sessions(200);
    let following = Following::start(&log, place.opening_sink().await);
    wait_until("all entries are there", || {
        following.watch.status().cursor == Some(200)
    })
    .await;
    // It is slow, so that the kill comes in the middle.
    place.proxy().slow_down(Duration::from_millis(1));
    for _ in 0..10 {
        log.erase(&sessions.split_off(sessions.len() - 15));
    }
    wait_until("some erasures are applied", || {
        following.watch.status().erased_up_to > Some(201)
    })
    .await;
    place.kill().await;
    log.erase(&sessions[..10]);
    wait_until("it is noticed", || {
        let status = following.watch.status();
        status.erasure_error.is_some() || status.last_error.is_some()
    })
    .await;
    assert!(following.watch.status().erased_up_to < Some(log.size()));
    place.proxy().slow_down(Duration::ZERO);
    place.restart().await;
    wait_erased(&following, &log).await;
    following.finish(&log).await;
    assert_eq!(log.openings_left().len(), 40);
    assert_erased(&place, &log).await;
}
