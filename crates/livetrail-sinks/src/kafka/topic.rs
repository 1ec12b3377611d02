//! The topic: whether its settings keep what is written, and which partition a log has.

use std::collections::BTreeMap;
use std::sync::Arc;

use livetrail_audit::replica::ReplicaError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use sha2::{Digest as _, Sha256};

use super::client::{ANSWER, Events, consumer};
use super::error;
use super::tail::{Partition, Reading};
use super::target::{KafkaTarget, Weakness};
use crate::error::SinksError;

/// What a topic must take at least: the longest entry, its headers and a checkpoint with cosignatures.
const MESSAGE_BYTES: u64 = 256 << 10;

/// What `set_up` makes. Everything else is refused by name when a sink starts.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("unclean.leader.election.enable", "false"),
];

/// Makes the topic, with settings that keep what is written. `false` when it is there already: its settings are left alone.
///
/// Blocks its thread: call it outside of a runtime, or where that is allowed.
///
/// # Errors
/// [`SinksError`].
pub fn set_up(target: &KafkaTarget, partitions: u16, replicas: u8) -> Result<bool, SinksError> {
    target.check()?;
    let failed = |source: KafkaError| SinksError::Setup {
        step: format!("make topic `{}`", target.topic()),
        place: target.place(),
        source: Box::new(error::of(source, "the brokers say")),
    };
    let admin: AdminClient<Events> = target
        .config()
        .create_with_context(Events::default())
        .map_err(failed)?;
    let in_sync = (replicas.saturating_sub(1)).clamp(1, 2).to_string();
    let replication = TopicReplication::Fixed(i32::from(replicas));
    let mut topic = NewTopic::new(target.topic(), i32::from(partitions), replication);
    for (name, value) in SETTINGS {
        topic = topic.set(name, value);
    }
    topic = topic.set("min.insync.replicas", &in_sync);
    let options = AdminOptions::new()
        .request_timeout(Some(ANSWER))
        .operation_timeout(Some(ANSWER));
    let answers = wait_for(admin.create_topics(&[topic], &options)).map_err(failed)?;
    match answers.into_iter().next() {
        Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(failed(KafkaError::AdminOp(code))),
        Some(Ok(_)) | None => Ok(true),
    }
}

/// The partition that this log has, after the topic's settings were found to keep what is written there.
pub(super) fn place(target: &Arc<KafkaTarget>, origin: &str) -> Result<Partition, ReplicaError> {
    let shape = check(target)?;
    let number = match target.partition() {
        Some(number) => number,
        None => by_hash(origin, shape.replicas.len()),
    };
    let partition = Partition::new(target, number, origin);
    if target.partition().is_none() {
        is_nowhere_else(&partition, &shape)?;
    }
    Ok(partition)
}

/// The partition of a log that is read, whatever the topic's settings are.
pub(super) fn locate(target: &Arc<KafkaTarget>, origin: &str) -> Result<Partition, ReplicaError> {
    let number = match target.partition() {
        Some(number) => number,
        None => by_hash(origin, Shape::ask(target)?.replicas.len()),
    };
    Ok(Partition::new(target, number, origin))
}

/// The topic is there, and keeps what is written.
pub(super) fn check(target: &KafkaTarget) -> Result<Shape, ReplicaError> {
    let shape = Shape::ask(target)?;
    let topic = target.topic();
    let replicas = match target.partition() {
        Some(number) => shape.replicas.get(&number),
        None => shape.replicas.values().min(),
    };
    let Some(replicas) = replicas else {
        return Err(ReplicaError::unsuitable(format!(
            "topic `{topic}` has {} partitions, and none of the number that is set",
            shape.replicas.len()
        )));
    };
    if !target.accepts(Weakness::UnknownSettings) {
        let settings = settings(target)?;
        if let Some(words) = weakness(target, &settings, *replicas) {
            return Err(ReplicaError::unsuitable(format!(
                "topic `{topic}`: {words}"
            )));
        }
    }
    Ok(shape)
}

/// Evenly, and the same for ever while the number of partitions is the same.
fn by_hash(origin: &str, partitions: usize) -> i32 {
    let digest = Sha256::digest(origin.as_bytes());
    let first = digest
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let partitions = u64::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(first % partitions).unwrap_or(0)
}

/// With more partitions than before the hash may name another one: the log must not begin there anew.
fn is_nowhere_else(partition: &Partition, shape: &Shape) -> Result<(), ReplicaError> {
    if Reading::new(partition)?.tail()?.next > 0 {
        return Ok(());
    }
    let others = shape
        .replicas
        .keys()
        .filter(|other| **other != partition.number);
    for other in others {
        if Reading::new(&partition.beside(*other))?.is_its()? {
            return Err(ReplicaError::unsuitable(format!(
                "the log is in partition {other} of topic `{}`, which has more partitions now than then: set `partition={other}`",
                partition.target.topic()
            )));
        }
    }
    Ok(())
}

/// Partitions, and how many replicas each has.
pub(super) struct Shape {
    replicas: BTreeMap<i32, usize>,
}

impl Shape {
    fn ask(target: &KafkaTarget) -> Result<Self, ReplicaError> {
        let events = Events::default();
        let client = consumer(target, &events)?;
        let topic = target.topic();
        let metadata = client.fetch_metadata(Some(topic), ANSWER);
        // What came beside the answer is only seen when it is asked for.
        let _ = client.poll(std::time::Duration::ZERO);
        events.check()?;
        let metadata =
            metadata.map_err(|error| error::of(error, "the brokers do not tell of the topic"))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let missing = || {
            ReplicaError::unsuitable(format!(
                "there is no topic `{topic}`, or we may not see it: make it, as `livetrail trail sinks init` does, or grant `Describe`"
            ))
        };
        let found = found.ok_or_else(missing)?;
        match found.error().map(Code::from) {
            None => {}
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Err(missing()),
            Some(code) => return Err(error::of_code(code, "the brokers do not tell of the topic")),
        }
        let replicas: BTreeMap<_, _> = found
            .partitions()
            .iter()
            .map(|partition| (partition.id(), partition.replicas().len()))
            .collect();
        if replicas.is_empty() {
            return Err(missing());
        }
        Ok(Self { replicas })
    }
}

type Settings = BTreeMap<String, String>;

fn settings(target: &KafkaTarget) -> Result<Settings, ReplicaError> {
    let doing = "the brokers do not tell the topic's settings (grant `DescribeConfigs`, or accept `unknown-settings`)";
    let failed = |error| error::of(error, doing);
    let admin: AdminClient<Events> = target
        .config()
        .create_with_context(Events::default())
        .map_err(failed)?;
    let topic = [ResourceSpecifier::Topic(target.topic())];
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answers = wait_for(admin.describe_configs(&topic, &options)).map_err(failed)?;
    let answer = answers.into_iter().next();
    let answer = answer.unwrap_or(Err(Code::UnsupportedVersion));
    let resource = answer.map_err(|code| error::of_code(code, doing))?;
    let told = resource.entries.into_iter();
    Ok(told
        .filter_map(|entry| Some((entry.name, entry.value?)))
        .collect())
}

/// What is wrong with the topic, in words, unless it was accepted.
fn weakness(target: &KafkaTarget, settings: &Settings, replicas: usize) -> Option<String> {
    let get = |name: &str| settings.get(name).map(String::as_str);
    let refused = |weakness: Weakness, words: String| {
        let accept = format!("{words}, or accept it with `accept={}`", weakness.name());
        (!target.accepts(weakness)).then_some(accept)
    };
    let policy = get("cleanup.policy").unwrap_or("not told");
    let compaction = (policy != "delete").then(|| {
        refused(
            Weakness::Compaction,
            format!("`cleanup.policy` is {policy}, so that records would be removed for newer ones of the same log. Set it to `delete`"),
        )
    });
    let short =
        ["retention.ms", "retention.bytes"]
            .into_iter()
            .find_map(|name| {
                let value = get(name).unwrap_or("not told");
                (value != "-1").then(|| {
            refused(
                Weakness::Retention,
                format!("`{name}` is {value}, so that old records would be removed. Set it to -1"),
            )
        })
            });
    // A broker that does not tell has its own way, as those without replicas of Kafka's kind.
    let in_sync: usize = get("min.insync.replicas")
        .and_then(|value| value.parse().ok())
        .unwrap_or(replicas);
    let alone = (replicas < 2 || in_sync < 2).then(|| {
        refused(
            Weakness::OneReplica,
            format!("it has {replicas} replicas and `min.insync.replicas` {in_sync}, so that one broker's disk may hold the only copy. Have 3 and 2"),
        )
    });
    let unclean = (get("unclean.leader.election.enable") == Some("true")).then(|| {
        refused(
            Weakness::UncleanElection,
            "`unclean.leader.election.enable` is true, so that a broker that lacks records may take over. Set it to false".to_owned(),
        )
    });
    let small = get("max.message.bytes")
        .and_then(|value| value.parse::<u64>().ok())
        .filter(|most| *most < MESSAGE_BYTES)
        .map(|most| {
            Some(format!(
                "`max.message.bytes` is {most}. Set it to {MESSAGE_BYTES} or more"
            ))
        });
    [compaction, short, alone, unclean, small]
        .into_iter()
        .flatten()
        .flatten()
        .next()
}

/// Waits on this thread, which is no runtime's.
fn wait_for<T>(answer: impl Future<Output = Result<T, KafkaError>>) -> Result<T, KafkaError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|_| KafkaError::Canceled)?.block_on(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(address: &str, changed: &[(&str, &str)], replicas: usize) -> Option<String> {
        let mut settings: Settings = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        settings.insert("min.insync.replicas".to_owned(), "2".to_owned());
        settings.insert("max.message.bytes".to_owned(), "1048588".to_owned());
        for (name, value) in changed {
            settings.insert((*name).to_owned(), (*value).to_owned());
        }
        let target = KafkaTarget::parse(&format!("kafka://127.0.0.1:9092/audit{address}")).unwrap();
        weakness(&target, &settings, replicas)
    }

    #[test]
    fn settings_that_lose_records_are_refused_in_words_unless_accepted() {
        assert_eq!(judged("", &[], 3), None);
        for (changed, replicas, name) in [
            (("cleanup.policy", "compact"), 3, "compaction"),
            (("cleanup.policy", "compact,delete"), 3, "compaction"),
            (("retention.ms", "604800000"), 3, "retention"),
            (("retention.bytes", "1073741824"), 3, "retention"),
            (("min.insync.replicas", "1"), 3, "one-replica"),
            (("min.insync.replicas", "2"), 1, "one-replica"),
            (
                ("unclean.leader.election.enable", "true"),
                3,
                "unclean-election",
            ),
        ] {
            let words = judged("", &[changed], replicas).unwrap();
            assert!(
                words.contains(changed.0) && words.ends_with(&format!("`accept={name}`")),
                "{words}"
            );
            assert_eq!(
                judged(&format!("?accept={name}"), &[changed], replicas),
                None
            );
        }
        let words = judged("?accept=retention", &[("max.message.bytes", "1000")], 3).unwrap();
        assert!(words.contains("max.message.bytes"), "{words}");
    }

    #[test]
    fn what_a_broker_does_not_tell_about_keeping_is_refused() {
        let target = KafkaTarget::parse("kafka://127.0.0.1:9092/audit").unwrap();
        let words = weakness(&target, &Settings::new(), 3).unwrap();
        assert!(words.contains("`cleanup.policy` is not told"), "{words}");
    }

    #[test]
    fn the_partition_of_a_log_is_the_same_for_ever() {
        assert_eq!(by_hash("example.com/a", 12), by_hash("example.com/a", 12));
        // From another implementation of SHA-256: a change here would move every log.
        assert_eq!(
            (by_hash("example.com/a", 8), by_hash("example.com/b", 8)),
            (2, 6)
        );
        let used: std::collections::BTreeSet<_> = (0..100)
            .map(|number| by_hash(&format!("log-{number}"), 4))
            .collect();
        assert_eq!(used.len(), 4);
        assert_eq!(by_hash("a", 0), 0);
    }
}
