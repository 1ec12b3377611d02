//! Cases for sinks whose destination is behind a server and a network.

use std::time::Duration;

use super::{Following, PATIENCE, Server, TestLog, assert_equal, quick, wait_until, wait_within};
use crate::ReplicaOptions;
use crate::status::ReplicaState;

const ORIGIN: &str = "example.com/a";

/// The server is killed twice while entries go out, and comes back.
pub async fn the_server_is_killed_and_comes_back<P: Server>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 6_000);
    // This slows the proxy, so that the kill comes in the middle.
    place.proxy().slow_down(Duration::from_millis(1));
    let following = Following::start(&log, place.sink().await);
    for part in [1_000, 3_000] {
        wait_until("some entries are there", || {
            following.watch.status().cursor >= Some(part)
        })
        .await;
        place.kill().await;
        assert!(
            following.watch.status().cursor < Some(log.size()),
            "too late"
        );
        let before = following.watch.status().errors;
        wait_until("it is noticed", || {
            let status = following.watch.status();
            status.state == ReplicaState::Retrying && status.errors > before + 1
        })
        .await;
        log.add(100);
        place.restart().await;
    }
    place.proxy().slow_down(Duration::ZERO);
    following.finish(&log).await;
    assert_equal(&place, &log).await;
}

/// The connection breaks after any number of bytes.
pub async fn the_connection_breaks_in_the_middle_of_a_batch<P: Server>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 2_000);
    let sink = place.sink().await;
    sink.append(&log.range(0, 500))
        .await
        .expect("the first range");
    let before = place.proxy().passed().0;
    sink.append(&log.range(500, 500)).await.expect("a range");
    let bytes = place.proxy().passed().0 - before;
    let mut broken = 0;
    for part in 1..=10 {
        let sink = place.sink().await;
        let next = sink.cursor(ORIGIN).await.expect("a cursor").next();
        place.proxy().cut_after_requests(bytes * part / 11);
        broken += u32::from(sink.append(&log.range(next, 500)).await.is_err());
        if next + 500 >= log.size() {
            log.add(500);
        }
    }
    assert!(broken > 5, "the connection broke {broken} times of 10");
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    assert_equal(&place, &log).await;
}

/// The reply is lost from any byte on. At the last bytes the server has committed and the sink does
/// not know it.
pub async fn a_reply_that_is_lost_after_the_commit_doubles_nothing<P: Server>() {
    // All batches lie within the first bundle. If a sink keeps bundles, each batch then causes the
    // same number of replies.
    const BATCH: u64 = 25;
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 4_000);
    // The second process does what all later ones do; the first may have to create something.
    let mut next = 0;
    let mut bytes = 0;
    for _ in 0..2 {
        let sink = place.sink().await;
        sink.cursor(ORIGIN).await.expect("a cursor");
        let before = place.proxy().passed().1;
        sink.append(&log.range(next, BATCH as usize))
            .await
            .expect("a range");
        bytes = place.proxy().passed().1 - before;
        next += BATCH;
    }
    let mut unknown = 0;
    for left in [1, 2, 6, 12, 24, bytes / 2, bytes - 1] {
        let sink = place.sink().await;
        assert_eq!(sink.cursor(ORIGIN).await.expect("a cursor").next(), next);
        place.proxy().cut_after_replies(bytes.saturating_sub(left));
        let answer = sink.append(&log.range(next, BATCH as usize)).await;
        // The rest of the limit must not cut the next connection.
        place.proxy().cut_after_replies(u64::MAX);
        let sink = place.sink().await;
        let now = sink.cursor(ORIGIN).await.expect("a cursor").next();
        assert!(
            now == next || now == next + BATCH,
            "{now} is neither before nor after"
        );
        unknown += u32::from(answer.is_err() && now > next);
        next = now;
    }
    assert!(unknown > 0, "no answer was lost after its commit");
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    assert_equal(&place, &log).await;
}

/// The reply is lost from any byte on, and the destination cannot report what it has committed. The
/// batch goes out again, and the cursor moves only with a reply.
pub async fn a_reply_that_is_lost_loses_nothing<P: Server>() {
    const BATCH: u64 = 25;
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 1_000);
    let sink = place.sink().await;
    sink.append(&log.range(0, BATCH as usize))
        .await
        .expect("a range");
    let bytes = place.proxy().passed().1;
    let mut lost = 0;
    for left in [1, 2, 6, 12, 24, bytes / 2] {
        let sink = place.sink().await;
        let next = sink.cursor(ORIGIN).await.expect("a cursor").next();
        place.proxy().cut_after_replies(bytes.saturating_sub(left));
        let answer = sink.append(&log.range(next, BATCH as usize)).await;
        // The rest of the limit must not cut the next connection.
        place.proxy().cut_after_replies(u64::MAX);
        let now = sink.cursor(ORIGIN).await.expect("a cursor").next();
        let wanted = if answer.is_ok() { next + BATCH } else { next };
        assert_eq!(now, wanted, "{left} bytes before the end: {answer:?}");
        lost += u32::from(answer.is_err());
    }
    assert!(lost > 0, "no answer was lost");
    Following::start(&log, place.sink().await)
        .finish(&log)
        .await;
    assert_equal(&place, &log).await;
}

/// A server that does not answer in time is asked again, and nothing is written twice.
pub async fn a_slow_server_is_given_up_and_asked_again<P: Server>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 1_000);
    let options = ReplicaOptions {
        attempt_timeout: Duration::from_millis(250),
        ..quick()
    };
    place.proxy().slow_down(Duration::from_millis(300));
    let following = Following::start_with(&log, place.sink().await, options);
    wait_until("it is given up", || {
        let status = following.watch.status();
        let late = |error: String| error.contains("no answer within");
        status.last_error.is_some_and(late) && status.errors >= 2
    })
    .await;
    assert_eq!(following.watch.status().state, ReplicaState::Retrying);
    place.proxy().slow_down(Duration::ZERO);
    following.finish(&log).await;
    assert_equal(&place, &log).await;
}

/// An hour's outage at 1,000 records per second, with the server killed twice more while the sink
/// catches up. Afterwards ledger and sink are equal, and an independent program verifies that the
/// sink's content is complete.
///
/// Time and records are scaled down, to one three-hundredth of the records.
pub async fn a_long_outage_costs_nothing<P: Server>() {
    let records = 12_000;
    // The proxy is slow on purpose and lets some thousand records per second pass; the machine may
    // also be busy.
    let patience = PATIENCE + Duration::from_secs(records / 1_000);
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 1_000);
    let options = ReplicaOptions {
        batch_records: 2_000,
        ..quick()
    };
    let following = Following::start_with(&log, place.sink().await, options);
    let reached = |part: u64| following.watch.status().cursor >= Some(part);
    wait_until("it follows", || reached(1_000)).await;
    place.kill().await;
    for _ in 0..10 {
        log.add(records / 10);
    }
    wait_until("the outage is noticed", || {
        following.watch.status().state == ReplicaState::Retrying
    })
    .await;
    assert!(following.watch.status().lag_records >= records / 10 * 10);
    // The slow proxy makes sure that the kill comes in the middle even on a fast machine.
    place.proxy().slow_down(Duration::from_millis(1));
    for part in [1, 2] {
        place.restart().await;
        let caught_up = || reached(1_000 + records * part / 3);
        wait_within(patience, "it catches up", caught_up).await;
        place.kill().await;
        assert!(!reached(log.size()), "too late to kill it in the middle");
    }
    place.proxy().slow_down(Duration::ZERO);
    place.restart().await;
    following.finish_within(&log, patience).await;
    assert_equal(&place, &log).await;
    place.verify(&log).await;
}
