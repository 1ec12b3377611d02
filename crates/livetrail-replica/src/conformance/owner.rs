//! Cases for every sink: the trail's operator changes keys and copies, and the destination's owner
//! changes its content.

use livetrail_ledger::{Cursor, ExternalFloor, LedgerError};

use super::{Following, Manipulation, PATIENCE, Place, TestLog, assert_equal, wait_until};
use crate::floor::ReplicaFloor;
use crate::judge::examine;
use crate::status::ReplicaState;

const ORIGIN: &str = "example.com/a";

/// The question that a start asks.
async fn question(place: &impl Place, log: &TestLog) -> Box<dyn ExternalFloor> {
    let sinks = vec![(place.sink().await, true)];
    Box::new(ReplicaFloor::new(log.reader(), sinks, PATIENCE))
}

/// A start that asks the question first.
async fn restarted(place: &impl Place, log: TestLog) -> Result<TestLog, LedgerError> {
    let question = question(place, &log).await;
    tokio::task::block_in_place(|| log.restarted(Some(question)))
}

async fn assert_refused(place: &impl Place, old: TestLog) {
    match restarted(place, old).await {
        Err(LedgerError::FloorAhead { .. } | LedgerError::FloorRoot { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(log) => panic!("it starts with {} entries", log.size()),
    }
}

async fn follow_to_the_end(place: &impl Place, log: &TestLog) {
    Following::start(log, place.sink().await).finish(log).await;
}

/// Both keys change, one after the other: a follower continues, a start is allowed, and `examine`
/// agrees.
pub async fn new_keys_stop_no_sink<P: Place>() {
    let place = P::fresh().await;
    let mut log = TestLog::with(ORIGIN, 300);
    for (signer, cosigner) in [(3, 2), (3, 4), (5, 6)] {
        follow_to_the_end(&place, &log).await;
        log = tokio::task::block_in_place(|| log.with_keys(signer, cosigner));
        let examined = examine(place.sink().await.as_ref(), &log.reader()).await;
        examined.expect("examine reports that all is well");
        log = restarted(&place, log).await.expect("a start is let");
        assert!(log.handle().status().held.is_empty(), "it has answered");
        log.add(50);
    }
    follow_to_the_end(&place, &log).await;
    let examined = examine(place.sink().await.as_ref(), &log.reader()).await;
    examined.expect("examine reports that all is well");
    assert_equal(&place, &log).await;
    // A copy from before a change knows only the keys of that time. What those keys signed last
    // proves that it is old.
    assert_refused(&place, TestLog::with(ORIGIN, 200)).await;
}

/// A copy of the ledger that is older than what the destination has seen does not start; the newest
/// copy does.
pub async fn an_older_copy_does_not_start<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 200);
    follow_to_the_end(&place, &log).await;
    let yesterday = tokio::task::block_in_place(|| log.copy());
    log.add(200);
    follow_to_the_end(&place, &log).await;
    assert_refused(&place, yesterday).await;
    let log = restarted(&place, log).await.expect("the newest starts");
    log.add(10);
    follow_to_the_end(&place, &log).await;
    assert_equal(&place, &log).await;
}

/// Content of others in the destination hides nothing that it has seen: the older copy does not
/// start, and the newest does.
pub async fn foreign_content_hides_nothing_that_was_seen<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 200);
    follow_to_the_end(&place, &log).await;
    let yesterday = tokio::task::block_in_place(|| log.copy());
    log.add(200);
    follow_to_the_end(&place, &log).await;
    if !place.manipulate(&log, Manipulation::Foreign).await {
        return;
    }
    assert_refused(&place, yesterday).await;
    let log = restarted(&place, log).await.expect("the newest starts");
    assert!(log.handle().status().held.is_empty(), "it has answered");
    log.add(10);
    assert_eq!(log.size(), 410, "it signs on");
}

/// Entries that no checkpoint covers stop no start, and the ledger runs on; the sink raises an
/// alarm.
pub async fn a_claim_without_a_signature_stops_no_start<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 300);
    follow_to_the_end(&place, &log).await;
    if !place.manipulate(&log, Manipulation::Claimed).await {
        return;
    }
    let examined = examine(place.sink().await.as_ref(), &log.reader()).await;
    examined.expect_err("examine reports that something is wrong");
    let log = restarted(&place, log).await.expect("it starts");
    let following = Following::start(&log, place.sink().await);
    wait_until("it is an alarm", || {
        following.watch.status().state == ReplicaState::Forked
    })
    .await;
    log.add(10);
    assert_eq!(log.size(), 310, "it signs on");
    following.abort().await;
}

/// A destination that lost its content is reported, and gets all of it again.
pub async fn a_place_that_is_emptied_is_reported_and_filled_again<P: Place>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 300);
    let sink = place.sink().await;
    let name = sink.name().to_owned();
    follow_to_the_end(&place, &log).await;
    // The local copy of the cursor is written when a replicator ends, or some time later.
    let known = Cursor::Required(300);
    log.handle()
        .set_cursor(&name, Some(known))
        .expect("a cursor");
    drop(sink);
    if !place.manipulate(&log, Manipulation::Emptied).await {
        return;
    }
    let log = restarted(&place, log).await.expect("it starts");
    let following = Following::start(&log, place.sink().await);
    let watch = following.watch.clone();
    following.finish(&log).await;
    assert_eq!(watch.status().went_back, 1);
    assert_equal(&place, &log).await;
}
