//! Brokers' answers that a healthy broker does not give on request: librdkafka's own cluster of
//! three brokers, in this process, gives them. It has no topic settings, and shows readers aborted
//! records.

use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::conformance::{Access, Place, TestLog, run_case};
use livetrail_replica::{ErrorClass, ReplicaError, ReplicaSink};
use livetrail_sinks::kafka::KafkaSink;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use super::{TOPIC, held, reader, target};

const ORIGIN: &str = "example.com/a";

const BATCH: usize = 50;

/// Three brokers, and a topic with one partition.
struct Cluster(BaseProducer);

impl Cluster {
    fn start() -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "3")
            .create()
            .unwrap();
        let cluster = Self(producer);
        cluster.mock().create_topic(TOPIC, 1, 3).unwrap();
        cluster
    }

    fn mock(&self) -> MockCluster<'_, DefaultProducerContext> {
        self.0.client().mock_cluster().expect("it was asked for")
    }

    fn connect(&self) -> KafkaSink {
        let brokers = self.mock().bootstrap_servers();
        let address = format!("kafka://{brokers}/{TOPIC}?partition=0&accept=unknown-settings");
        KafkaSink::new("kafka", target(&address)).unwrap()
    }

    /// The indexes that are there, in the order in which they are.
    async fn indexes(&self) -> Vec<u64> {
        let held = self.held(ORIGIN).await;
        held.into_iter().map(|(index, _)| index).collect()
    }
}

#[async_trait]
impl Place for Cluster {
    async fn fresh() -> Self {
        Self::start()
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(self.connect())
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        let (client, origin) = (reader(&self.mock().bootstrap_servers()), origin.to_owned());
        let read = tokio::task::spawn_blocking(move || held(&client, 1, &origin));
        read.await.unwrap()
    }
}

/// The right to write the topic.
#[async_trait]
impl Access for Cluster {
    async fn revoke(&self) {
        let denied = Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        self.mock().topic_error(TOPIC, denied).unwrap();
    }

    async fn grant(&self) {
        let none = Answer::RD_KAFKA_RESP_ERR_NO_ERROR;
        self.mock().topic_error(TOPIC, none).unwrap();
    }
}

livetrail_replica::replica_conformance!(Cluster: access);

/// Temporary errors, at any point of a batch: throttling, an election, too few replicas, a leader's
/// late answer, a coordinator that moves, a broken connection. A refusal behind each in the same
/// queue shows that the client got that far.
#[test]
fn what_passes_by_itself_costs_nothing() {
    use Answer::*;
    let faults = [
        (Api::Produce, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        (Api::Produce, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
        (Api::Produce, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS),
        (Api::Produce, RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED),
        (Api::Produce, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR),
        (Api::Produce, RD_KAFKA_RESP_ERR__TRANSPORT),
        (
            Api::AddPartitionsToTxn,
            RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        ),
        (
            Api::AddPartitionsToTxn,
            RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
        ),
        (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR__TRANSPORT),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
        (Api::EndTxn, RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
        (Api::EndTxn, RD_KAFKA_RESP_ERR__TRANSPORT),
    ];
    run_case(async move {
        let cluster = Cluster::start();
        let log = TestLog::with(ORIGIN, 10_000);
        let sink = cluster.connect();
        let mut next = 0;
        for (api, fault) in faults {
            cluster.mock().request_errors(api, &[fault]);
            next = goes_on(&sink, &log, next).await;
            let refusal = RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
            cluster.mock().request_errors(api, &[fault, refusal]);
            let refused = loop {
                match sink.append(&log.range(next, BATCH)).await {
                    Ok(()) => panic!("{api:?} {fault:?}: the queue of answers was not used"),
                    Err(error) if error.class() == ErrorClass::Permanent => break error,
                    Err(_) => next = sink.cursor(ORIGIN).await.unwrap().next(),
                }
            };
            assert!(
                matches!(refused, ReplicaError::Denied { .. }),
                "{api:?} {fault:?}: {refused:?}"
            );
            next = sink.cursor(ORIGIN).await.unwrap().next();
            next = goes_on(&sink, &log, next).await;
        }
        let indexes = cluster.indexes().await;
        assert_eq!(indexes, (0..next).collect::<Vec<_>>());
    });
}

/// Writes a batch, and repeats it after temporary errors. Returns the next index.
async fn goes_on(sink: &KafkaSink, log: &TestLog, mut next: u64) -> u64 {
    let wanted = next + BATCH as u64;
    for _ in 0..10 {
        let count = usize::try_from(wanted - next).unwrap();
        match sink.append(&log.range(next, count)).await {
            Ok(()) => return wanted,
            Err(error) => assert_eq!(error.class(), ErrorClass::Passing, "{error:?}"),
        }
        next = place_of(sink).await;
        if next == wanted {
            return wanted;
        }
    }
    panic!("ten times and it is not there");
}

/// The next index, asked for again after a temporary error: on a busy machine an answer may come
/// too late.
async fn place_of(sink: &KafkaSink) -> u64 {
    for _ in 0..10 {
        match sink.cursor(ORIGIN).await {
            Ok(cursor) => return cursor.next(),
            Err(error) => assert_eq!(error.class(), ErrorClass::Passing, "{error:?}"),
        }
    }
    panic!("ten times and there is no answer");
}

/// An error that a person must fix is distinguished from a temporary one, in every answer. Once the
/// error is fixed, the sink continues.
#[test]
fn refusals_are_distinguished_from_passing_errors() {
    use Answer::*;
    use ErrorClass::{Passing, Permanent};
    let answers = [
        (
            Api::Produce,
            RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Permanent,
            "grant `Read`, `Write`",
        ),
        (
            Api::Produce,
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            Permanent,
            "do not take it",
        ),
        (
            Api::AddPartitionsToTxn,
            RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Permanent,
            "grant `Read`, `Write`",
        ),
        (
            Api::InitProducerId,
            RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            Permanent,
            "begin with `livetrail.`",
        ),
        (
            Api::InitProducerId,
            RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT,
            Permanent,
            "transaction.max.timeout.ms",
        ),
        (
            Api::EndTxn,
            RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
            Passing,
            "fenced off",
        ),
        (
            Api::EndTxn,
            RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
            Passing,
            "fenced off",
        ),
    ];
    run_case(async move {
        let cluster = Cluster::start();
        let log = TestLog::with(ORIGIN, 10_000);
        let mut next = 0;
        for (api, answer, class, words) in answers {
            let sink = cluster.connect();
            cluster.mock().request_errors(api, &[answer]);
            let error = sink.append(&log.range(next, BATCH)).await.unwrap_err();
            assert_eq!(error.class(), class, "{api:?} {answer:?}: {error:?}");
            let error = error.to_string();
            assert!(error.contains(words), "{api:?} {answer:?}: {error}");
            next = sink.cursor(ORIGIN).await.unwrap().next();
            next = goes_on(&sink, &log, next).await;
        }
        let indexes = cluster.indexes().await;
        assert_eq!(indexes, (0..next).collect::<Vec<_>>());
    });
}

/// Leader and coordinator die and come back, one after the other, while batches are written.
#[test]
fn brokers_die_one_after_the_other() {
    run_case(async {
        let cluster = Cluster::start();
        let log = TestLog::with(ORIGIN, 2_000);
        let sink = cluster.connect();
        let id = format!("livetrail.{TOPIC}.0");
        let mut next = 0;
        for (leader, coordinator, heir) in [(1, 2, 3), (2, 3, 1), (3, 1, 2)] {
            let lead = |broker| {
                cluster
                    .mock()
                    .partition_leader(TOPIC, 0, Some(broker))
                    .unwrap();
            };
            let coordinate = |broker| {
                let of = MockCoordinator::Transaction(id.clone());
                cluster.mock().coordinator(of, broker).unwrap();
            };
            lead(leader);
            coordinate(coordinator);
            next = goes_on(&sink, &log, next).await;
            lead(heir);
            cluster.mock().broker_down(leader).unwrap();
            next = goes_on(&sink, &log, next).await;
            cluster.mock().broker_up(leader).unwrap();
            coordinate(heir);
            cluster.mock().broker_down(coordinator).unwrap();
            next = goes_on(&sink, &log, next).await;
            cluster.mock().broker_up(coordinator).unwrap();
        }
        let indexes = cluster.indexes().await;
        assert_eq!(indexes, (0..next).collect::<Vec<_>>());
    });
}
