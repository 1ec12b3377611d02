//! OTLP only: the form of a record, a collector on the way, refusals, invalid answers, TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use livetrail_replica::conformance::TestLog;
use livetrail_replica::{Delivery, ErrorClass, Gap, ReplicaError, ReplicaSink as _};
use livetrail_sinks::otlp::OtlpTarget;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use system_tests::{OtlpCollector, Rotel, clock};

use super::{entry, held_by, sink, target};
use crate::page::PATIENCE;

const ORIGIN: &str = "example.com/a";

fn entries(log: &TestLog) -> Vec<(u64, Vec<u8>)> {
    (0..)
        .zip(log.entries().into_iter().map(Vec::from))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_says_what_it_is_and_a_gap_what_is_missing() {
    let receiver = OtlpCollector::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 2);
    let target = target(receiver.address())
        .with_header("x-tenant", "seven")
        .unwrap();
    let plain = sink(target.clone().uncompressed(), cursors.path());
    assert_eq!(plain.delivery(), Delivery::AtLeastOnce);
    plain.append(&log.range(0, 1)).await.unwrap();
    let packed = sink(target.with_service_name("studio"), cursors.path());
    packed.append(&log.range(1, 1)).await.unwrap();
    let gap = Gap::new(ORIGIN, 2..258, "pruned before the sink came back");
    packed.skip(&gap).await.unwrap();
    assert_eq!(packed.cursor(ORIGIN).await.unwrap().next(), 258);

    let received = receiver.received();
    let resource = json!({"service.name": "livetrail", "livetrail.origin": ORIGIN});
    assert_eq!(received[0]["resource"], resource);
    let refused = &received[1];
    assert_eq!(refused["resource"]["service.name"], "studio");
    assert_eq!(refused["scope"], "livetrail");
    assert_eq!(refused["event"], "play_denied");
    assert_eq!(refused["severity_text"], "warning");
    assert_eq!(refused["severity"], 13);
    assert_eq!(refused["time"], 1_764_000_000_250_000_000_u64);
    assert_eq!(refused["attributes"]["livetrail.reason"], "unauthorized");
    assert_eq!(entry(refused), entries(&log)[1]);
    assert_eq!(received[2]["event"], "gap");
    assert_eq!(received[2]["attributes"]["livetrail.first_index"], 2);
    assert_eq!(received[2]["attributes"]["livetrail.next_index"], 258);

    let requests = receiver.requests();
    for request in &requests {
        assert_eq!(request["path"], "/v1/logs");
        assert_eq!(request["headers"]["content-type"], "application/x-protobuf");
        assert_eq!(request["headers"]["x-tenant"], "seven");
    }
    assert_eq!(requests[0]["headers"].get("content-encoding"), None);
    assert_eq!(requests[1]["headers"]["content-encoding"], "gzip");
}

/// What another's collector reads and sends on is what was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_on_the_way_passes_every_record_on() {
    let receiver = OtlpCollector::start();
    let rotel = Rotel::before(&receiver);
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 5_000);
    let sink = sink(target(rotel.address()), cursors.path());
    sink.health().await.unwrap();
    sink.append(&log.range(0, 5_000)).await.unwrap();
    clock::wait_until("the collector has sent all on", PATIENCE, || {
        held_by(&receiver, ORIGIN).len() >= 5_000
    });
    // It sends on from several queues.
    let mut held = held_by(&receiver, ORIGIN);
    held.sort();
    assert_eq!(held, entries(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_range_goes_out_in_requests_of_a_bounded_size() {
    let receiver = OtlpCollector::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 5_000);
    let sink = sink(target(receiver.address()), cursors.path());
    sink.append(&log.range(0, 5_000)).await.unwrap();
    let requests = receiver.requests();
    let counts = requests
        .iter()
        .map(|request| request["records"].as_u64().unwrap());
    assert_eq!(counts.collect::<Vec<_>>(), [2_048, 2_048, 904]);
    assert_eq!(held_by(&receiver, ORIGIN), entries(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_records_are_reported_with_their_number_and_the_cursor_stays() {
    let receiver = OtlpCollector::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 20);
    let sink = sink(target(receiver.address()), cursors.path());
    sink.append(&log.range(0, 10)).await.unwrap();
    receiver.behaves("{\"rejected\": 3, \"words\": \"too old\"}");
    let error = sink.append(&log.range(10, 10)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
    let words =
        "rejected 3 of the 10 records with the indexes 10 to 19; the collector's message may";
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 10);
    // A warning is not a refusal.
    receiver.behaves("{\"words\": \"nearly full\"}");
    sink.append(&log.range(10, 10)).await.unwrap();
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_asks_for_a_pause_gets_it() {
    let receiver = OtlpCollector::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 10);
    let sink = sink(target(receiver.address()), cursors.path());
    receiver.behaves("{\"status\": 429, \"headers\": {\"Retry-After\": \"2\"}}");
    let since = clock::Stopwatch::start();
    let error = sink.append(&log.range(0, 10)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Passing, "{error:?}");
    receiver.behaves("{}");
    let error = sink.append(&log.range(0, 10)).await.unwrap_err();
    assert!(error.to_string().contains("left alone"), "{error}");
    assert_eq!(receiver.requests().len(), 1, "nothing is sent before");
    while let Err(error) = sink.append(&log.range(0, 10)).await {
        assert!(error.to_string().contains("left alone"), "{error}");
        assert!(since.elapsed() < PATIENCE, "for ever: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(since.elapsed() >= Duration::from_secs(2));
    assert_eq!(receiver.requests().len(), 2);
    assert_eq!(held_by(&receiver, ORIGIN), entries(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_class_of_what_must_be_done() {
    let receiver = OtlpCollector::start();
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 10);
    let sink = sink(target(receiver.address()), cursors.path());
    for (status, class) in [
        (400, ErrorClass::Permanent),
        (401, ErrorClass::Permanent),
        (404, ErrorClass::Permanent),
        (500, ErrorClass::Passing),
        (503, ErrorClass::Passing),
    ] {
        receiver.behaves(&format!("{{\"status\": {status}}}"));
        let error = sink.append(&log.range(0, 10)).await.unwrap_err();
        assert_eq!(error.class(), class, "{error:?}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 0);
    }
}

/// An authority, and its certificate for this address.
pub(crate) fn certify(folder: &Path, address: SocketAddr) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new([address.ip().to_string()]).unwrap();
    certificate
        .distinguished_name
        .push(DnType::CommonName, "a collector");
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_collector_must_be_who_it_says_it_is() {
    let receiver = OtlpCollector::start_with(certify);
    let another = tempfile::tempdir().unwrap();
    certify(another.path(), receiver.address());
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 10);
    let target = OtlpTarget::parse(&format!("https://{}", receiver.address())).unwrap();
    let wrong = target.clone().with_ca_file(another.path().join("ca.pem"));
    let error = sink(wrong, cursors.path())
        .append(&log.range(0, 10))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ReplicaError::Certificate { .. }),
        "{error:?}"
    );
    let right = sink(target.with_ca_file(receiver.file("ca.pem")), cursors.path());
    right.health().await.unwrap();
    right.append(&log.range(0, 10)).await.unwrap();
    assert_eq!(held_by(&receiver, ORIGIN), entries(&log));
}
