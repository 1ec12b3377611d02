//! A partition of a topic of Kafka.

mod conformance;
mod faults;
mod gate;
mod login;
mod names;
mod outage;
mod own;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{Erasing, Manipulation, Place, Proxy, Server, TestLog};
use livetrail_sinks::kafka::{KafkaSink, KafkaTarget, set_up, set_up_openings};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use system_tests::KafkaBroker;

/// The logs of the suite get one each, by their hash.
const PARTITIONS: u16 = 8;

const TOPIC: &str = "audit";

/// The topic of openings.
const NAMES: &str = "audit-names";

/// A broker with the topic, behind a proxy that all clients use, because the broker gives its
/// address.
pub(crate) struct Topic {
    pub(crate) broker: KafkaBroker,
    pub(crate) proxy: Proxy,
}

impl Topic {
    /// Its address. It has one replica of everything.
    pub(crate) fn address(&self) -> String {
        format!(
            "kafka://{}/{TOPIC}?accept=one-replica",
            self.broker.clients_address()
        )
    }

    /// The same, with openings. Their topic is made if there is none.
    async fn address_with_openings(&self) -> String {
        let address = format!("{}&openings={NAMES}", self.address());
        let target = target(&address);
        let made = tokio::task::spawn_blocking(move || set_up_openings(&target, PARTITIONS, 1));
        let made = made.await.unwrap().unwrap().unwrap();
        assert_eq!(made.weakness, None, "{made:?}");
        address
    }
}

pub(crate) fn target(address: &str) -> KafkaTarget {
    KafkaTarget::parse(address).unwrap()
}

#[async_trait]
impl Place for Topic {
    async fn fresh() -> Self {
        let address = KafkaBroker::free_address();
        let proxy = Proxy::start(address).await.unwrap();
        let broker = KafkaBroker::start(address, proxy.address());
        let topic = Self { broker, proxy };
        let target = target(&topic.address());
        let made = tokio::task::spawn_blocking(move || set_up(&target, PARTITIONS, 1));
        let made = made.await.unwrap().unwrap();
        assert!(made.made, "the topic was there");
        assert_eq!(made.weakness, None, "{made:?}");
        topic
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(KafkaSink::new("kafka", target(&self.address())).unwrap())
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        let client = reader(&self.broker.clients_address().to_string());
        let origin = origin.to_owned();
        tokio::task::spawn_blocking(move || held(&client, PARTITIONS, &origin))
            .await
            .unwrap()
    }

    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        use rdkafka::message::{Header, OwnedHeaders};

        let (origin, size) = (log.origin(), log.size());
        let partition = self.partition_of(origin).await;
        match what {
            Manipulation::Emptied => self.make_again().await,
            Manipulation::Foreign => {
                own::produce(
                    &self.broker,
                    partition,
                    "somebody",
                    b"else",
                    OwnedHeaders::new(),
                );
            }
            Manipulation::Claimed => {
                let leaf = livetrail_tlog::leaf_hash(b"forged").to_string();
                let index = size.to_string();
                let headers = [("index", &index), ("leaf", &leaf)];
                let headers = headers
                    .iter()
                    .fold(OwnedHeaders::new(), |all, (key, value)| {
                        all.insert(Header {
                            key,
                            value: Some(value.as_bytes()),
                        })
                    });
                own::produce(&self.broker, partition, origin, b"forged", headers);
            }
        }
        true
    }
}

#[async_trait]
impl Erasing for Topic {
    async fn opening_sink(&self) -> Arc<dyn ReplicaSink> {
        let target = target(&self.address_with_openings().await);
        Arc::new(KafkaSink::new("kafka", target).unwrap())
    }

    /// What is left after compaction, computed as any consumer does it. The broker of the tests
    /// compacts nothing.
    async fn openings(&self, origin: &str) -> Vec<([u8; 16], Vec<u8>)> {
        self.address_with_openings().await;
        let client = reader(&self.broker.clients_address().to_string());
        let read = move || {
            let mut newest = BTreeMap::new();
            each_message(&client, NAMES, PARTITIONS, &mut |message| {
                let key = std::str::from_utf8(message.key().unwrap()).unwrap();
                newest.insert(key.to_owned(), message.payload().map(<[u8]>::to_vec));
            });
            newest
        };
        let newest = tokio::task::spawn_blocking(read).await.unwrap();
        let of_it = newest.into_iter().filter_map(|(key, value)| {
            let session = key.strip_prefix(origin)?.strip_prefix(' ')?;
            let digits = session.replace('-', "");
            let session = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
            Some((session, value?))
        });
        of_it.collect()
    }
}

#[async_trait]
impl Server for Topic {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    async fn kill(&self) {
        self.broker.kill();
    }

    async fn restart(&self) {
        self.broker.restart();
    }
}

impl Topic {
    /// Keys, headers and contents of all committed messages, one after the other.
    pub(crate) async fn everything(&self) -> Vec<u8> {
        let client = reader(&self.broker.clients_address().to_string());
        let read = move || {
            let mut all = Vec::new();
            each_message(&client, TOPIC, PARTITIONS, &mut |message| {
                all.extend_from_slice(message.key().unwrap_or_default());
                all.extend_from_slice(message.payload().unwrap_or_default());
                for header in message.headers().iter().flat_map(|all| all.iter()) {
                    all.extend_from_slice(header.key.as_bytes());
                    all.extend_from_slice(header.value.unwrap_or_default());
                }
            });
            all
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// The partition in which a log is.
    async fn partition_of(&self, origin: &str) -> i32 {
        let client = reader(&self.broker.clients_address().to_string());
        let origin = origin.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let mut found = None;
            each_message(&client, TOPIC, PARTITIONS, &mut |message| {
                if message.key() == Some(origin.as_bytes()) {
                    found = Some(message.partition());
                }
            });
            found
        });
        found.await.unwrap().expect("it is in one")
    }

    /// Deletes the topic and rebuilds it, with nothing in it.
    pub(crate) async fn make_again(&self) {
        use rdkafka::admin::{AdminClient, AdminOptions};
        use rdkafka::client::DefaultClientContext;

        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set(
                "bootstrap.servers",
                self.broker.clients_address().to_string(),
            )
            .create()
            .unwrap();
        let deleted = admin.delete_topics(&[TOPIC], &AdminOptions::new()).await;
        deleted.unwrap().into_iter().next().unwrap().unwrap();
        let target = target(&self.address());
        let made = tokio::task::spawn_blocking(move || set_up(&target, PARTITIONS, 1));
        assert!(made.await.unwrap().unwrap().made, "it was deleted");
    }
}

/// A client that reads committed messages.
fn reader(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", brokers)
        .set("group.id", "auditor")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        // How long the broker waits for records at the end of a partition before it says so.
        .set("fetch.wait.max.ms", "10");
    client
}

/// What any consumer sees of a log: the committed messages of all partitions, from the beginning.
fn held(client: &ClientConfig, partitions: u16, origin: &str) -> Vec<(u64, Vec<u8>)> {
    let mut held = Vec::new();
    each(client, partitions, origin, &mut |index, entry| {
        held.push((index, entry.to_vec()));
    });
    held
}

/// The same, one after the other.
fn each(client: &ClientConfig, partitions: u16, origin: &str, found: &mut dyn FnMut(u64, &[u8])) {
    each_message(client, TOPIC, partitions, &mut |message| {
        if message.key() == Some(origin.as_bytes()) {
            let headers = message.headers().unwrap();
            let index = headers.iter().find(|header| header.key == "index").unwrap();
            let index = std::str::from_utf8(index.value.unwrap()).unwrap();
            found(index.parse().unwrap(), message.payload().unwrap());
        }
    });
}

/// All committed messages of the topic's first partitions, in order within each.
fn each_message(
    client: &ClientConfig,
    topic: &str,
    partitions: u16,
    found: &mut dyn FnMut(&BorrowedMessage<'_>),
) {
    let patience = Duration::from_secs(20);
    let consumer: BaseConsumer = client.create().unwrap();
    // A client that does not know a partition's leader yet asks again only after 500 ms.
    consumer.fetch_metadata(Some(topic), patience).unwrap();
    let mut unread: BTreeSet<i32> = (0..i32::from(partitions)).collect();
    let mut assigned = TopicPartitionList::new();
    for partition in &unread {
        assigned
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assigned).unwrap();
    while !unread.is_empty() {
        match consumer.poll(patience) {
            Some(Ok(message)) => found(&message),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => panic!("topic {topic}: {error}"),
            None => panic!("topic {topic}: no answer for partitions {unread:?}"),
        }
    }
}
