//! Web hooks only: the form of a request, the choice of events, what is given up, refusals, TLS.

use std::time::Duration;

use livetrail_replica::conformance::TestLog;
use livetrail_replica::{Delivery, ErrorClass, Gap, ReplicaError, ReplicaSink as _};
use livetrail_sinks::webhook::WebhookTarget;
use serde_json::{Value, json};
use system_tests::{HookReceiver, clock};

use super::{entry, held_by, sink, target};
use crate::otlp::own::certify;

const ORIGIN: &str = "example.com/a";

fn at(receiver: &HookReceiver) -> WebhookTarget {
    target(&format!("http://{}/", receiver.address()))
}

fn entries(log: &TestLog) -> Vec<(u64, Vec<u8>)> {
    (0..)
        .zip(log.entries().into_iter().map(Vec::from))
        .collect()
}

/// What each request said was lost.
fn lost_by(receiver: &HookReceiver) -> Vec<Value> {
    let requests = receiver.requests();
    requests
        .into_iter()
        .map(|mut one| one["lost"].take())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_its_events_and_a_gap_is_reported_once() {
    let receiver = HookReceiver::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 25);
    let sink = sink(at(&receiver).with_max_events(10), cursors.path());
    assert_eq!(sink.delivery(), Delivery::AtLeastOnce);
    sink.health().await.unwrap();
    sink.append(&log.range(0, 25)).await.unwrap();
    assert_eq!(held_by(&receiver, ORIGIN), entries(&log));
    let gap = Gap::new(ORIGIN, 25..281, "pruned before the sink came back");
    sink.skip(&gap).await.unwrap();
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 281);

    let requests = receiver.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|one| one["headers"].get("idempotency-key"))
        .collect();
    let named = ["0-9", "10-19", "20-24"].map(|part| json!(format!("\"{ORIGIN}/{part}\"")));
    let [one, two, three] = &named;
    assert_eq!(keys, [None, Some(one), Some(two), Some(three), None]);
    let lost = json!({"first_index": 25, "next_index": 281, "events": 256});
    assert_eq!(
        lost_by(&receiver),
        [json!(null), json!(null), json!(null), json!(null), lost]
    );
    for request in &requests {
        assert_eq!(request["headers"]["content-type"], "application/json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chosen_actions_are_sent_one_at_a_time_if_wanted() {
    let receiver = HookReceiver::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 40);
    let target = at(&receiver).with_actions(["play_den*"]).with_max_events(1);
    sink(target, cursors.path())
        .append(&log.range(0, 40))
        .await
        .unwrap();
    let received = receiver.received();
    assert!(
        !received.is_empty() && received.len() < 40,
        "{}",
        received.len()
    );
    assert_eq!(received.len(), receiver.requests().len());
    for (event, request) in received.iter().zip(receiver.requests()) {
        assert_eq!(event["record"]["action"], "play_denied");
        let (index, bytes) = entry(event);
        assert_eq!(bytes, entries(&log)[usize::try_from(index).unwrap()].1);
        let key = format!("\"{ORIGIN}/{index}\"");
        assert_eq!(request["headers"]["idempotency-key"], key);
    }
}

/// A range whose rest fails is sent from there on, and its beginning is not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_not_sent_again_when_the_rest_fails() {
    let receiver = HookReceiver::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 35);
    let sink = sink(at(&receiver).with_max_events(10), cursors.path());
    receiver.behaves("{\"until\": 2}");
    let error = sink.append(&log.range(0, 30)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Passing, "{error:?}");
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 0);
    receiver.behaves("{}");
    // Meanwhile the log has grown.
    sink.append(&log.range(0, 35)).await.unwrap();
    assert_eq!(held_by(&receiver, ORIGIN), entries(&log));
    // If the cursor is lost later, everything comes again.
    crate::cursors::manipulate(
        cursors.path(),
        &log,
        livetrail_replica::conformance::Manipulation::Emptied,
    );
    sink.append(&log.range(0, 35)).await.unwrap();
    assert_eq!(held_by(&receiver, ORIGIN).len(), 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_too_old_are_counted_and_reported_with_the_next_ones() {
    let receiver = HookReceiver::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 4_000);
    let first: Value = serde_json::from_slice(&log.entries()[2_000]).unwrap();
    let time = Duration::from_millis(first["ts_ms"].as_u64().expect("a time"));
    let age = Duration::from_millis(clock::wall_ms()) - time;
    let some = sink(at(&receiver).with_max_age(age), cursors.path());
    some.append(&log.range(0, 3_000)).await.unwrap();
    let held = held_by(&receiver, ORIGIN);
    // Some more have become too old since the age was computed.
    let begin = held[0].0;
    assert!((2_000..2_900).contains(&begin), "{begin}");
    let rest: Vec<_> = entries(&log)
        .drain(usize::try_from(begin).unwrap()..3_000)
        .collect();
    assert_eq!(held, rest);
    let lost = json!({"first_index": 0, "next_index": begin, "events": begin});
    assert_eq!(lost_by(&receiver)[0], lost);
    assert_eq!(lost_by(&receiver)[1], json!(null));
    assert_eq!(some.lost(), begin);

    // Nothing is left to send, so the next process reports it.
    let none = sink(
        at(&receiver).with_max_age(Duration::from_secs(1)),
        cursors.path(),
    );
    let before = receiver.requests().len();
    none.append(&log.range(3_000, 500)).await.unwrap();
    assert_eq!((receiver.requests().len(), none.lost()), (before, 500));
    let all = sink(at(&receiver), cursors.path());
    assert_eq!(all.cursor(ORIGIN).await.unwrap().next(), 3_500);
    for (first, reported) in [
        (
            3_500,
            json!({"first_index": 3_000, "next_index": 3_500, "events": 500}),
        ),
        (3_510, json!(null)),
    ] {
        all.append(&log.range(first, 10)).await.unwrap();
        assert_eq!(lost_by(&receiver).pop(), Some(reported));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_class_of_what_must_be_done_and_pauses_are_kept() {
    let receiver = HookReceiver::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 10);
    let url = format!("http://{}/", receiver.address());
    let other = WebhookTarget::new(&url, &"x".repeat(32)).unwrap();
    let error = sink(other, cursors.path()).health().await.unwrap_err();
    assert!(matches!(error, ReplicaError::Denied { .. }), "{error:?}");
    let hook = sink(at(&receiver), cursors.path());
    for (status, class) in [
        (302, ErrorClass::Permanent),
        (404, ErrorClass::Permanent),
        (422, ErrorClass::Permanent),
        (500, ErrorClass::Passing),
        (429, ErrorClass::Passing),
    ] {
        let wait = "{\"Retry-After\": \"3600\", \"Location\": \"/\"}";
        receiver.behaves(&format!("{{\"status\": {status}, \"headers\": {wait}}}"));
        let error = hook.append(&log.range(0, 10)).await.unwrap_err();
        assert_eq!(error.class(), class, "{error:?}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(hook.cursor(ORIGIN).await.unwrap().next(), 0);
    }
    receiver.behaves("{}");
    let before = receiver.requests().len();
    let error = hook.append(&log.range(0, 10)).await.unwrap_err();
    assert!(error.to_string().contains("left alone"), "{error}");
    assert_eq!(receiver.requests().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_service_must_be_who_it_says_it_is() {
    let receiver = HookReceiver::start_with(certify);
    let another = tempfile::tempdir().unwrap();
    certify(another.path(), receiver.address());
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 10);
    let target = target(&format!("https://{}/", receiver.address()));
    let wrong = target.clone().with_ca_file(another.path().join("ca.pem"));
    let error = sink(wrong, cursors.path()).health().await.unwrap_err();
    assert!(
        matches!(error, ReplicaError::Certificate { .. }),
        "{error:?}"
    );
    let right = sink(target.with_ca_file(receiver.file("ca.pem")), cursors.path());
    right.append(&log.range(0, 10)).await.unwrap();
    assert_eq!(held_by(&receiver, ORIGIN), entries(&log));
}
