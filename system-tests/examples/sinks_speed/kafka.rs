//! Kafka: Tansu with its records in an object store in the memory of this process.

use std::sync::Arc;
use std::time::Duration;

use livetrail_replica::conformance::TestLog;
use livetrail_sinks::kafka::{KafkaSink, KafkaTarget, set_up};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use system_tests::KafkaBroker;

use crate::{ORIGIN, Round, follow, in_turns, rate};

pub(crate) const BARE: &str = "librdkafka's idempotent producer, `acks=all`, the same keys and values, no headers, no transactions";

const TOPIC: &str = "audit";
const BARE_TOPIC: &str = "bare";

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn round(log: &TestLog, sink_first: bool) -> Round {
    let address = KafkaBroker::free_address();
    let broker = KafkaBroker::start(address, address);
    let target = |topic: &str| {
        let url = format!("kafka://{address}/{topic}?accept=one-replica");
        KafkaTarget::parse(&url).expect("an address")
    };
    for topic in [TOPIC, BARE_TOPIC] {
        set_up(&target(topic), 1, 1).expect("a topic");
    }
    let sink = || {
        let sink = KafkaSink::new("kafka", target(TOPIC)).expect("a sink");
        follow(log, Arc::new(sink))
    };
    let bare = || produce(log, &broker);
    in_turns(sink_first, sink, bare)
}

fn produce(log: &TestLog, broker: &KafkaBroker) -> f64 {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.clients_address().to_string())
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .create()
        .expect("a producer");
    let entries = log.entries();
    rate(log, || {
        for entry in &entries {
            let mut record = BaseRecord::to(BARE_TOPIC)
                .partition(0)
                .key(ORIGIN)
                .payload(&entry[..]);
            while let Err((error, again)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "a record is not taken");
                producer.poll(Duration::from_millis(5));
                record = again;
            }
        }
        producer.flush(PATIENCE).expect("all are acknowledged");
    })
}
