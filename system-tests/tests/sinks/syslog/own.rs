//! Syslog only: trusted authorities, receivers that do not acknowledge, a lost cursor, a gap.

use livetrail_replica::conformance::TestLog;
use livetrail_replica::{Delivery, ErrorClass, Gap, ReplicaError, ReplicaSink as _};
use livetrail_sinks::syslog::{SyslogTarget, Transport};

use super::sink;
use system_tests::syslog::{Kind, Receiver};

const ORIGIN: &str = "example.com/a";

fn target(receiver: &Receiver) -> SyslogTarget {
    let address = receiver.address().to_string();
    SyslogTarget::parse(&address, Transport::Tls).unwrap()
}

fn entries(log: &TestLog) -> Vec<(u64, Vec<u8>)> {
    (0..)
        .zip(log.entries().into_iter().map(Vec::from))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_with_another_name_or_authority_gets_nothing() {
    let receiver = Receiver::start(Kind::Rsyslog);
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 10);
    for wrong in [
        target(&receiver).with_ca_file(receiver.file("other.pem")),
        target(&receiver)
            .with_ca_file(receiver.file("ca.pem"))
            .with_server_name("logs.example.com"),
    ] {
        let sink = sink(wrong, cursors.path());
        for error in [
            sink.health().await.unwrap_err(),
            sink.append(&log.range(0, 10)).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, ReplicaError::Certificate { .. }),
                "{error:?}"
            );
            assert_eq!(error.class(), ErrorClass::Permanent);
        }
    }
    let right = sink(
        target(&receiver).with_ca_file(receiver.file("ca.pem")),
        cursors.path(),
    );
    assert_eq!(right.delivery(), Delivery::AtLeastOnce);
    right.health().await.unwrap();
    assert_eq!(receiver.held(ORIGIN), []);
    right.append(&log.range(0, 10)).await.unwrap();
    assert_eq!(receiver.held(ORIGIN), entries(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_a_certificate_refuses_another_one() {
    let receiver = Receiver::start(Kind::RsyslogWithCertificates);
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 500);
    let target = || target(&receiver).with_ca_file(receiver.file("ca.pem"));
    let other = target().with_certificate(
        receiver.file("other-client.pem"),
        receiver.file("other-client.key"),
    );
    for wrong in [target(), other] {
        let sink = sink(wrong, cursors.path());
        let error = sink.append(&log.range(0, 500)).await.unwrap_err();
        assert!(
            matches!(error, ReplicaError::Certificate { .. }),
            "{error:?}"
        );
        assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 0);
    }
    assert_eq!(receiver.held(ORIGIN), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_acknowledge_is_trusted_only_if_configured() {
    let receiver = Receiver::start(Kind::RsyslogGtls);
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 10);
    let target = target(&receiver).with_ca_file(receiver.file("ca.pem"));
    let careful = sink(target.clone(), cursors.path());
    let error = careful.append(&log.range(0, 10)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Passing, "{error:?}");
    assert!(error.to_string().contains("accept_plain_close"), "{error}");
    assert_eq!(careful.cursor(ORIGIN).await.unwrap().next(), 0);
    let lenient = sink(target.taking_plain_close(), cursors.path());
    lenient.append(&log.range(0, 10)).await.unwrap();
    assert_eq!(lenient.cursor(ORIGIN).await.unwrap().next(), 10);
    let mut held = receiver.held(ORIGIN);
    assert_eq!(held.split_off(10), entries(&log));
    assert_eq!(held, entries(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_cursor_sends_again_and_a_gap_is_reported() {
    let receiver = Receiver::start(Kind::Rsyslog);
    let cursors = tempfile::tempdir().unwrap();
    let log = TestLog::with(ORIGIN, 300);
    let target = target(&receiver).with_ca_file(receiver.file("ca.pem"));
    let sink = sink(target, cursors.path());
    sink.append(&log.range(0, 200)).await.unwrap();
    let file = cursors.path().join("syslog/example.com_2Fa.cursor");
    let older = std::fs::read(&file).unwrap();
    sink.append(&log.range(200, 100)).await.unwrap();
    // Restored from an older copy, and then lost.
    std::fs::write(&file, older).unwrap();
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 200);
    sink.append(&log.range(200, 100)).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 0);
    sink.append(&log.range(0, 300)).await.unwrap();
    let held: Vec<_> = receiver
        .held(ORIGIN)
        .iter()
        .map(|(index, _)| *index)
        .collect();
    let wanted: Vec<_> = (0..300).chain(200..300).chain(0..300).collect();
    assert_eq!(held, wanted);

    let gap = Gap::new(ORIGIN, 300..556, "pruned before the sink came back");
    sink.skip(&gap).await.unwrap();
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 556);
    let received = std::fs::read_to_string(receiver.file("received")).unwrap();
    let last = received.lines().last().unwrap();
    assert_eq!(
        last,
        "[livetrail@32473 origin=\"example.com/a\" first_index=\"300\" next_index=\"556\"]\tpruned before the sink came back"
    );
}
