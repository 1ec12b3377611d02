//! Kafka only: fencing, topics that would lose records, one log per partition, and an auditor who
//! reads the topic back.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use livetrail_replica::conformance::{Place as _, TestLog, run_case};
use livetrail_replica::{ErrorClass, Gap, ReplicaSink};
use livetrail_sinks::kafka::{KafkaSink, read_back};
use livetrail_verify::{Directory, Options, Policy, Report, Verdict, keys_in, verify};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use system_tests::{KafkaBroker, livetrail, run};
use tokio::task::block_in_place;

use super::{TOPIC, Topic, target};
use crate::fleet::Fleet;

const ORIGIN: &str = "example.com/a";

fn sink(address: &str) -> KafkaSink {
    KafkaSink::new("kafka", target(address)).unwrap()
}

async fn next(sink: &KafkaSink) -> u64 {
    sink.cursor(ORIGIN).await.unwrap().next()
}

/// A later writer takes the partition over; the earlier one notices before it can do harm.
#[test]
fn an_old_producer_is_fenced_off() {
    run_case(async {
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 900);
        let (zombie, heir) = (sink(&topic.address()), sink(&topic.address()));
        zombie.append(&log.range(0, 300)).await.unwrap();
        heir.append(&log.range(300, 300)).await.unwrap();
        // It still has the position 300.
        let refused = zombie.append(&log.range(300, 300)).await.unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Passing, "{refused:?}");
        assert_eq!(next(&zombie).await, 600);
        heir.append(&log.range(600, 300)).await.unwrap();
        assert_eq!(topic.held(ORIGIN).await.len(), 900);
    });
}

/// The answers are cut off after any number of bytes, also behind the commit.
#[test]
fn a_lost_answer_doubles_nothing_and_loses_nothing() {
    run_case(async {
        const BATCH: u64 = 25;
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 2_000);
        let sink = sink(&topic.address());
        sink.append(&log.range(0, 25)).await.unwrap();
        let before = topic.proxy.passed().1;
        sink.append(&log.range(BATCH, 25)).await.unwrap();
        let bytes = topic.proxy.passed().1 - before;
        let mut at = 2 * BATCH;
        for part in 1..=8 {
            let before = topic.proxy.passed().1;
            let cut_after = bytes * part / 8;
            topic.proxy.cut_after_replies(cut_after.max(1));
            let answer = sink.append(&log.range(at, 25)).await;
            let passed = topic.proxy.passed().1 - before;
            topic.proxy.cut_after_replies(u64::MAX);
            assert!(passed >= cut_after, "{passed} of {cut_after} bytes came");
            let now = next(&sink).await;
            assert!(
                now == at || now == at + BATCH,
                "{now} is neither before nor after {at}"
            );
            assert!(answer.is_err() || now > at, "said to be there, and is not");
            at = now;
        }
        assert!(at > 2 * BATCH, "nothing was committed");
        let held = topic.held(ORIGIN).await;
        let indexes: Vec<_> = held.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, (0..at).collect::<Vec<_>>());
    });
}

/// A topic that is not there, or would lose records, is refused with an error that says what to do.
#[test]
fn a_topic_that_loses_records_is_refused_in_words() {
    run_case(async {
        let topic = Topic::fresh().await;
        let brokers = topic.broker.clients_address();
        let refused = |address: String| async move {
            let error = sink(&address).health().await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Permanent, "{error:?}");
            error.to_string()
        };
        let words = refused(format!("kafka://{brokers}/{TOPIC}")).await;
        assert!(words.ends_with("accept it: `one-replica`"), "{words}");
        let words = refused(format!("kafka://{brokers}/other")).await;
        assert!(words.contains("there is no topic `other`"), "{words}");
        let words = refused(format!(
            "kafka://{brokers}/{TOPIC}?partition=99&accept=one-replica"
        ))
        .await;
        assert!(words.contains("8 partitions"), "{words}");
        for (name, settings, accept) in [
            (
                "compacted",
                [
                    "cleanup.policy=compact",
                    "retention.ms=-1",
                    "retention.bytes=-1",
                ],
                "compaction",
            ),
            (
                "short",
                [
                    "cleanup.policy=delete",
                    "retention.ms=604800000",
                    "retention.bytes=-1",
                ],
                "retention",
            ),
        ] {
            make_topic(&topic.broker, name, settings).await;
            let address = format!("kafka://{brokers}/{name}?accept=one-replica");
            let words = refused(address.clone()).await;
            assert!(words.contains(&format!("`{accept}`")), "{words}");
            sink(&format!("{address},{accept}")).health().await.unwrap();
        }
    });
}

pub(super) async fn make_topic(broker: &KafkaBroker, name: &str, settings: [&str; 3]) {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;

    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", broker.clients_address().to_string())
        .create()
        .unwrap();
    let mut topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    for (name, value) in settings
        .iter()
        .map(|setting| setting.split_once('=').unwrap())
    {
        topic = topic.set(name, value);
    }
    let made = admin
        .create_topics(&[topic], &AdminOptions::new())
        .await
        .unwrap();
    made.into_iter().next().unwrap().unwrap();
}

/// A partition holds one log, and nothing else is accepted.
#[test]
fn another_log_in_the_same_partition_is_refused() {
    run_case(async {
        let topic = Topic::fresh().await;
        let address = |number| format!("{}&partition={number}", topic.address());
        let log = TestLog::with("example.com/b", 10);
        sink(&address(3)).append(&log.range(0, 10)).await.unwrap();
        let refused = sink(&address(3)).cursor(ORIGIN).await.unwrap_err();
        let words = refused.to_string();
        assert!(
            words.contains("partition 3") && words.contains("`example.com/b`"),
            "{words}"
        );
        produce(&topic.broker, 4, ORIGIN, b"somebody's", OwnedHeaders::new());
        let refused = sink(&address(4)).cursor(ORIGIN).await.unwrap_err();
        assert!(
            refused.to_string().contains("a topic of its own"),
            "{refused}"
        );
        // When the hash no longer leads there, the log is searched for before a new one would
        // begin.
        let elsewhere = TestLog::with(ORIGIN, 10);
        sink(&address(5))
            .append(&elsewhere.range(0, 10))
            .await
            .unwrap();
        let refused = sink(&topic.address()).cursor(ORIGIN).await.unwrap_err();
        assert!(
            refused.to_string().contains("set `partition=5`"),
            "{refused}"
        );
    });
}

pub(super) fn produce(
    broker: &KafkaBroker,
    partition: i32,
    key: &str,
    value: &[u8],
    headers: OwnedHeaders,
) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.clients_address().to_string())
        .create()
        .unwrap();
    let record = BaseRecord::to(TOPIC)
        .partition(partition)
        .key(key)
        .payload(value)
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// Entries that were pruned before the sink had them leave a record of that.
#[test]
fn a_gap_is_on_record_and_the_log_goes_on_behind_it() {
    run_case(async {
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 1_000);
        let sink = sink(&topic.address());
        sink.append(&log.range(0, 100)).await.unwrap();
        let gap = Gap::new(ORIGIN, 100..512, "pruned before the sink came back");
        sink.skip(&gap).await.unwrap();
        let cursor = sink.cursor(ORIGIN).await.unwrap();
        assert_eq!((cursor.next(), cursor.last_leaf()), (512, None));
        assert!(sink.skip(&gap).await.is_err(), "the same gap again");
        sink.append(&log.range(512, 488)).await.unwrap();
        assert_eq!(next(&sink).await, 1_000);
        let dir = tempfile::tempdir().unwrap();
        let target = target(&topic.address());
        let error = block_in_place(|| read_back(&target, ORIGIN, dir.path())).unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.starts_with("entries 100 to 512"), "{error}");
    });
}

/// The verifier's report of what was read back.
fn audit(dir: &std::path::Path, log: &TestLog) -> Report {
    let mut policy = Policy::default();
    for key in log.reader().verifier_keys() {
        for key in keys_in(&key.to_string()).unwrap() {
            policy.add(key).unwrap();
        }
    }
    let options = Options {
        policy,
        boot_records: false,
        ..Options::default()
    };
    verify(&Directory::new(dir), &options, &mut |_, _| {}).unwrap()
}

/// From the topic alone the verifier finds a trail sound, and one with a changed entry not sound.
#[test]
fn an_auditor_reads_the_topic_back_and_finds_what_was_changed() {
    run_case(async {
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 1_500);
        let sink = sink(&topic.address());
        for first in [0, 500, 1_000] {
            sink.append(&log.range(first, 500)).await.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let read =
            block_in_place(|| read_back(&target(&topic.address()), ORIGIN, dir.path())).unwrap();
        assert_eq!((read.size, read.entries), (1_500, 1_500));
        let report = audit(dir.path(), &log);
        assert_eq!(report.verdict, Verdict::Sound, "{report}");
        assert_eq!(report.figures.entries, 1_500, "{report}");

        // Somebody with all rights recreates a topic, with another entry and the leaf hash that
        // fits it.
        let small = TestLog::with("example.com/c", 40);
        let mut entries = small.entries();
        entries[7] = entries[3].clone();
        let note = small.range(39, 1).note().clone();
        for (index, entry) in entries.iter().enumerate() {
            let leaf = livetrail_tlog::leaf_hash(entry).to_string();
            let headers = [
                ("index", index.to_string().into_bytes()),
                ("leaf", leaf.into_bytes()),
            ];
            let note = (index == 39).then(|| ("checkpoint", note.to_vec()));
            let headers = headers.into_iter().chain(note);
            let headers = headers.fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header {
                    key,
                    value: Some(&value),
                })
            });
            produce(&topic.broker, 0, small.origin(), entry, headers);
        }
        let dir = tempfile::tempdir().unwrap();
        let address = format!("{}&partition=0", topic.address());
        let read =
            block_in_place(|| read_back(&target(&address), small.origin(), dir.path())).unwrap();
        assert_eq!(read.size, 40);
        let report = audit(dir.path(), &small);
        assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    });
}

/// Several servers write to one topic: all their logs are read back, and checked with their keys.
#[test]
fn the_logs_of_several_servers_are_read_back_verified_and_queried_as_a_whole() {
    run_case(async {
        let topic = Topic::fresh().await;
        block_in_place(|| {
            let address = |number| format!("{}&partition={number}", topic.address());
            let fleet = Fleet::follow(|number| Arc::new(sink(&address(number))));
            let dir = tempfile::tempdir().unwrap();
            let config = dir.path().join("audit.toml");
            let settings = format!(
                "[[sink]]\nname = \"topic\"\n[sink.kafka]\nbrokers = [\"{}\"]\ntopic = \"{TOPIC}\"\naccept = [\"one-replica\"]\n",
                topic.broker.clients_address()
            );
            std::fs::write(&config, settings).unwrap();
            let copies = dir.path().join("copies");
            let mut command = Command::new(livetrail());
            command.args(["trail", "sinks", "read", "kafka", "--all", "--config"]);
            command.arg(&config).arg("--to").arg(&copies);
            let read = run("sinks read kafka", &command, Duration::from_secs(120)).success();
            assert!(read.stdout.contains(": 3 logs. Now: "), "{}", read.stdout);
            let copies = copies.to_str().unwrap();
            fleet.check(&[copies]);
            assert_eq!(
                fleet.follow_page("--fleet copies", &[("copies", copies)]),
                2
            );
        });
    });
}

/// A topic that is deleted and created again while its log continues: noticed with the next batch,
/// and all of it is written again, from entry 0 on.
#[test]
fn a_topic_that_was_made_again_is_noticed_at_once_and_has_no_hole() {
    run_case(async {
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 300);
        let sink = sink(&topic.address());
        sink.append(&log.range(0, 300)).await.unwrap();
        topic.make_again().await;
        log.add(100);
        let refused = sink.append(&log.range(300, 100)).await.unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Passing, "{refused:?}");
        assert_eq!(next(&sink).await, 0, "{refused}");
        assert_eq!(topic.held(ORIGIN).await.len(), 0, "nothing was written");
        sink.append(&log.range(0, 400)).await.unwrap();
        assert_eq!(topic.held(ORIGIN).await.len(), 400);
    });
}

/// A partition that begins with a later entry has a gap, and is never accepted.
#[test]
fn a_partition_without_its_head_is_refused_in_words() {
    run_case(async {
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 60);
        let range = log.range(50, 10);
        let address = format!("{}&partition=3", topic.address());
        for (index, entry, leaf) in range.iter() {
            let (index, leaf) = (index.to_string(), leaf.to_string());
            let note = (index == "59").then_some(("checkpoint", range.note().to_vec()));
            let headers = [("index", index.into_bytes()), ("leaf", leaf.into_bytes())];
            let headers = headers.into_iter().chain(note);
            let headers = headers.fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header {
                    key,
                    value: Some(&value),
                })
            });
            produce(&topic.broker, 3, ORIGIN, entry, headers);
        }
        let refused = sink(&address).cursor(ORIGIN).await.unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Permanent, "{refused:?}");
        let words = refused.to_string();
        assert!(words.contains("begins with entry 50"), "{words}");
        let taken = sink(&format!("{address}&accept=one-replica,retention"));
        assert_eq!(next(&taken).await, 60);
    });
}

/// Nobody can read past another writer's open transaction: the sink waits for its end, and nothing
/// is written twice.
#[test]
fn behind_a_foreign_transaction_that_is_open_nothing_is_written_twice() {
    run_case(async {
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 300);
        let first = sink(&topic.address());
        first.append(&log.range(0, 100)).await.unwrap();
        let producer: BaseProducer = ClientConfig::new()
            .set(
                "bootstrap.servers",
                topic.broker.clients_address().to_string(),
            )
            .set("transactional.id", "somebody else")
            .create()
            .unwrap();
        let soon = Duration::from_secs(20);
        block_in_place(|| {
            producer.init_transactions(soon).unwrap();
            producer.begin_transaction().unwrap();
            // The one that the origin's hash names.
            let record = BaseRecord::to(TOPIC).partition(2);
            let sent = producer.send(record.key("somebody").payload("else"));
            sent.map_err(|(error, _)| error).unwrap();
            producer.flush(soon).unwrap();
        });
        // It has the partition, and continues without a check.
        first.append(&log.range(100, 100)).await.unwrap();
        drop(first);
        // Another process sees 100 entries, and must not write after them.
        let heir = sink(&topic.address());
        let refused = heir.append(&log.range(100, 200)).await.unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Passing, "{refused:?}");
        assert!(
            refused.to_string().contains("a transaction is open"),
            "{refused}"
        );
        block_in_place(|| producer.abort_transaction(soon)).unwrap();
        let held = topic.held(ORIGIN).await;
        let indexes: Vec<_> = held.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, (0..200).collect::<Vec<_>>());
    });
}

/// The entries that a signed checkpoint covers before foreign data in the partition are read back,
/// and the rest is reported.
#[test]
fn of_a_damaged_partition_the_signed_part_is_read_back() {
    run_case(async {
        let topic = Topic::fresh().await;
        let log = TestLog::with(ORIGIN, 500);
        let sink = sink(&topic.address());
        sink.append(&log.range(0, 500)).await.unwrap();
        produce(&topic.broker, 2, "somebody", b"else", OwnedHeaders::new());
        let dir = tempfile::tempdir().unwrap();
        let target = target(&topic.address());
        let read = block_in_place(|| read_back(&target, ORIGIN, dir.path())).unwrap();
        assert_eq!((read.size, read.entries, read.unreadable), (500, 500, 0));
        let damage = read.damage.unwrap();
        assert!(damage.contains("what is no record of a trail"), "{damage}");
        assert_eq!(audit(dir.path(), &log).verdict, Verdict::Sound);
        // A name that is not the log's, and a partition that has another.
        let dir = tempfile::tempdir().unwrap();
        let error = block_in_place(|| read_back(&target, "example.com/aa", dir.path()));
        let error = error.unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.contains("holds the log `example.com/a`"), "{error}");
        let elsewhere = super::target(&format!("{}&partition=5", topic.address()));
        let error = block_in_place(|| read_back(&elsewhere, ORIGIN, dir.path()));
        let error = error.unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.contains("has nothing of the log"), "{error}");
    });
}
