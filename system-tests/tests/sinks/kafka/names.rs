//! Openings in a compacted topic: which topics are refused, and what is in one.

use livetrail_replica::conformance::{Place as _, TestLog, run_case};
use livetrail_replica::{Erasure, ErrorClass, ReplicaSink as _};
use livetrail_sinks::kafka::{KafkaSink, read_back};
use rdkafka::message::Message as _;
use tokio::task::block_in_place;

use super::own::make_topic;
use super::{NAMES, PARTITIONS, Topic, each_message, reader, target};

const ORIGIN: &str = "example.com/a";

/// Key and value of a message; one without a value is a tombstone.
type KeyAndValue = (String, Option<Vec<u8>>);

impl Topic {
    /// All messages with openings, in their order.
    async fn names(&self) -> Vec<KeyAndValue> {
        let client = reader(&self.broker.clients_address().to_string());
        block_in_place(|| {
            let mut all = Vec::new();
            each_message(&client, NAMES, PARTITIONS, &mut |message| {
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                all.push((key, message.payload().map(<[u8]>::to_vec)));
            });
            all
        })
    }
}

/// Without compaction an erased opening would stay for ever, so such a topic is refused, also if
/// the settings of the entries' topic are not asked for. Entries go on only into a right one.
#[test]
fn a_topic_that_would_keep_erased_openings_is_refused_in_words() {
    run_case(async {
        let topic = Topic::fresh().await;
        let address = format!("{},unknown-settings", topic.address());
        let refused = |more: String| {
            let target = target(&format!("{address}{more}"));
            async move {
                let sink = KafkaSink::new("kafka", target).unwrap();
                let error = sink.health().await.unwrap_err();
                assert_eq!(error.class(), ErrorClass::Permanent, "{error:?}");
                let cursor = sink.cursor(ORIGIN).await.unwrap_err();
                assert_eq!(error.to_string(), cursor.to_string());
                error.to_string()
            }
        };
        let words = refused("&openings=none".to_owned()).await;
        assert!(words.contains("there is no topic `none`"), "{words}");
        for (name, settings, wanted) in [
            (
                "kept",
                [
                    "cleanup.policy=delete",
                    "retention.ms=-1",
                    "retention.bytes=-1",
                ],
                "topic `kept`: `cleanup.policy` is delete",
            ),
            (
                "slow",
                [
                    "cleanup.policy=compact",
                    "max.compaction.lag.ms=604800001",
                    "segment.ms=1000",
                ],
                "accept it: `slow-erasure`",
            ),
            (
                "small",
                [
                    "cleanup.policy=compact",
                    "max.compaction.lag.ms=604800000",
                    "segment.ms=1000",
                ],
                "topic `small`: it has 1 partitions",
            ),
        ] {
            make_topic(&topic.broker, name, settings).await;
            let number = if name == "small" { 2 } else { 0 };
            let words = refused(format!("&openings={name}&partition={number}")).await;
            assert!(words.contains(wanted), "{words}");
        }
        let small = format!("{address}&openings=small&partition=0");
        let sink = KafkaSink::new("kafka", target(&small)).unwrap();
        sink.health().await.unwrap();
    });
}

/// A reader of the topic needs nothing else: an opening with the index of its entry, a message
/// without a value in its place, and the cursor at the end. The entries have no name.
#[test]
fn an_opening_is_a_message_and_its_erasure_is_one_without_a_value() {
    run_case(async {
        let topic = Topic::fresh().await;
        let address = topic.address_with_openings().await;
        let log = TestLog::with(ORIGIN, 5);
        let sessions = log.add_sessions(2);
        let sink = KafkaSink::new("kafka", target(&address)).unwrap();
        let range = log.range(0, 7);
        sink.append(&range).await.unwrap();
        let openings: Vec<KeyAndValue> = range
            .openings()
            .iter()
            .map(|one| {
                let key = format!("{ORIGIN} {}", one.opening.session());
                (key, Some(one.json()))
            })
            .collect();
        let cursor = |next: &str| (format!("{ORIGIN} erasures"), Some(next.into()));
        assert_eq!(openings.len(), 2);
        let mut wanted = [openings.clone(), vec![cursor("0")]].concat();
        assert_eq!(topic.names().await, wanted);

        log.erase(&sessions[..1]);
        sink.append(&log.range(7, 1)).await.unwrap();
        let first = openings.iter().zip(range.openings());
        let erased = first
            .filter(|(_, one)| one.session() == sessions[0])
            .map(|((key, _), _)| (key.clone(), None));
        wanted.extend(erased);
        wanted.push(cursor("8"));
        let erasure = Erasure::new(ORIGIN, 0..8, sessions[..1].to_vec());
        sink.erase(&erasure).await.unwrap();
        assert_eq!(topic.names().await, wanted);

        // Each question repeats the cursor: a later message lets the broker compact what is before
        // it. A process that does not write only reads.
        assert_eq!(sink.erasure_cursor(ORIGIN).await.unwrap(), 8);
        wanted.push(cursor("8"));
        assert_eq!(topic.names().await, wanted);
        let other = KafkaSink::new("kafka", target(&address)).unwrap();
        assert_eq!(other.erasure_cursor(ORIGIN).await.unwrap(), 8);
        assert_eq!(topic.names().await, wanted);

        let everything = topic.everything().await;
        for (_, opening) in &openings {
            let opening = opening.as_ref().unwrap();
            let part = &opening[..40];
            let there = everything.windows(part.len()).any(|bytes| bytes == part);
            assert!(!there, "an opening is among the entries");
        }
        let dir = tempfile::tempdir().unwrap();
        let read = block_in_place(|| read_back(&target(&address), ORIGIN, dir.path())).unwrap();
        assert_eq!((read.size, read.damage), (8, None));
    });
}

/// A topic of entries that is made again while that of openings stays: the cursor goes back with
/// the entries, so that all erasures come again.
#[test]
fn erasures_come_again_when_the_entries_went_back() {
    run_case(async {
        let topic = Topic::fresh().await;
        let address = topic.address_with_openings().await;
        let log = TestLog::new(ORIGIN);
        let sessions = log.add_sessions(4);
        let sink = || KafkaSink::new("kafka", target(&address)).unwrap();
        let first = sink();
        first.append(&log.range(0, 4)).await.unwrap();
        log.erase(&sessions[..2]);
        first.append(&log.range(4, 1)).await.unwrap();
        let erasure = Erasure::new(ORIGIN, 0..5, sessions[..2].to_vec());
        first.erase(&erasure).await.unwrap();
        assert_eq!(first.erasure_cursor(ORIGIN).await.unwrap(), 5);
        topic.make_again().await;
        drop(first);
        let second = sink();
        assert_eq!(second.erasure_cursor(ORIGIN).await.unwrap(), 0);
        second.append(&log.range(0, 3)).await.unwrap();
        assert_eq!(second.erasure_cursor(ORIGIN).await.unwrap(), 0);
        second.append(&log.range(3, 2)).await.unwrap();
        assert_eq!(second.erasure_cursor(ORIGIN).await.unwrap(), 0);
        second.erase(&erasure).await.unwrap();
        assert_eq!(second.erasure_cursor(ORIGIN).await.unwrap(), 5);
    });
}
