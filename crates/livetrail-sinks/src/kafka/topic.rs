//! The topic: whether its settings keep records, and which partition a log has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use livetrail_replica::{ErrorClass, ReplicaError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use sha2::{Digest as _, Sha256};

use super::client::{ANSWER, Events, Isolation, SLICE, Wait, consumer};
use super::error;
use super::tail::{Partition, Reading};
use super::target::KafkaTarget;
use crate::error::SinksError;
use crate::settings::Weakness;

/// The message size that a topic must accept at least. The longest entry, its headers and a
/// checkpoint with cosignatures fit.
const MESSAGE_BYTES: u64 = 256 << 10;

/// The maximum number of events that are read per answer. A refusal is among the first ones.
const MAX_EVENTS: usize = 100;

/// The timeout of the first request, after which the events are read. It doubles with each attempt,
/// so slow brokers have enough time.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// The settings of a topic that `set_up` creates. A sink refuses other values and names them.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("unclean.leader.election.enable", "false"),
];

/// The settings of a topic of openings that `set_up_openings` creates. An erased opening is gone
/// after a day and one run of the cleaner. A reader that is up to a week behind still sees the
/// tombstone.
const OPENINGS_SETTINGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("max.compaction.lag.ms", "86400000"),
    ("segment.ms", "86400000"),
    ("delete.retention.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

/// How long an erased opening may wait for compaction, in milliseconds: 7 days.
const COMPACTION_LAG_MS: u64 = 604_800_000;

/// The settings that decide whether the topic keeps records. `set_up` reports them.
const SHOWN_SETTINGS: [&str; 10] = [
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
    "segment.ms",
    "delete.retention.ms",
    "min.insync.replicas",
    "unclean.leader.election.enable",
    "max.message.bytes",
];

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It has entries, and loses none.
    Entries,
    /// It has openings, and removes those that are erased.
    Openings,
}

impl Purpose {
    const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Entries => &SETTINGS,
            Self::Openings => &OPENINGS_SETTINGS,
        }
    }

    /// Reads the settings of the topic, and says what is wrong with them. For entries they may be
    /// unknown, if the target accepts it. An erasure counts only in a topic that is compacted.
    fn judge(
        self,
        target: &KafkaTarget,
        replicas: usize,
    ) -> Result<(Settings, Option<String>), ReplicaError> {
        let settings = settings(target);
        if self == Self::Entries && target.accepts(Weakness::UnknownSettings) {
            return Ok((settings.unwrap_or_default(), None));
        }
        let settings = settings?;
        let weakness = match self {
            Self::Entries => weakness(target, &settings, replicas),
            Self::Openings => openings_weakness(target, &settings, replicas),
        };
        Ok((settings, weakness))
    }
}

/// The result of [`set_up`], and the topic's state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSetUp {
    /// Whether this call created the topic.
    pub made: bool,
    /// The number of its partitions.
    pub partitions: usize,
    /// The number of replicas of the partition that has the fewest.
    pub replicas: usize,
    /// The settings that decide whether the topic keeps records, as far as the brokers report them.
    pub settings: Vec<(String, String)>,
    /// Why a sink would refuse the topic, in words. `None` if the topic keeps records.
    pub weakness: Option<String>,
}

/// Prints `is made: partitions 1, replicas 3, cleanup.policy=delete …`.
impl fmt::Display for TopicSetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.made {
            "is made"
        } else {
            "is there already"
        };
        let (partitions, replicas) = (self.partitions, self.replicas);
        write!(f, "{what}: partitions {partitions}, replicas {replicas},")?;
        if self.settings.is_empty() {
            return f.write_str(" its settings are not told");
        }
        for (name, value) in &self.settings {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// Creates the topic with settings that keep records. An existing topic stays as it is. In both
/// cases this function then reads the topic's state.
///
/// It blocks its thread: call it outside a runtime, or where blocking is allowed.
///
/// # Errors
/// [`SinksError`].
pub fn set_up(
    target: &KafkaTarget,
    partitions: u16,
    replicas: u8,
) -> Result<TopicSetUp, SinksError> {
    set_up_for(Purpose::Entries, target, partitions, replicas)
}

/// The same for the topic of openings, which is compacted. `None` if the target has no such topic.
///
/// It must have at least as many partitions as the topic of entries.
///
/// It blocks its thread: call it outside a runtime, or where blocking is allowed.
///
/// # Errors
/// [`SinksError`].
pub fn set_up_openings(
    target: &KafkaTarget,
    partitions: u16,
    replicas: u8,
) -> Result<Option<TopicSetUp>, SinksError> {
    let last = i32::from(partitions.saturating_sub(1));
    let Some(target) = target.of_openings(target.partition().unwrap_or(last)) else {
        return Ok(None);
    };
    set_up_for(Purpose::Openings, &target, partitions, replicas).map(Some)
}

fn set_up_for(
    purpose: Purpose,
    target: &KafkaTarget,
    partitions: u16,
    replicas: u8,
) -> Result<TopicSetUp, SinksError> {
    target.check()?;
    let failed = |step: &str, source: ReplicaError| SinksError::Setup {
        step: format!("{step} topic `{}`", target.topic()),
        place: target.place(),
        source: Box::new(source),
    };
    let reach = Shape::find(target).map_err(|error| failed("look for", error))?;
    let made = match reach {
        Some(_) => false,
        None => {
            make(purpose, target, partitions, replicas).map_err(|error| failed("make", error))?
        }
    };
    let look_at = || {
        let shape = Shape::appearing(target)?;
        let replicas = shape.fewest(target).unwrap_or_default();
        let (known, weakness) = purpose.judge(target, replicas)?;
        let known = SHOWN_SETTINGS
            .iter()
            .filter_map(|name| known.get_key_value(*name));
        Ok(TopicSetUp {
            made,
            partitions: shape.replicas.len(),
            replicas,
            settings: known
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            weakness: shape.lacks(target).or(weakness),
        })
    };
    look_at().map_err(|error| failed("look at", error))
}

/// Creates the topic. `false` if another program was faster.
fn make(
    purpose: Purpose,
    target: &KafkaTarget,
    partitions: u16,
    replicas: u8,
) -> Result<bool, ReplicaError> {
    let events = Events::of(target);
    let failed = |error| error::of(error, "the brokers do not make it");
    let admin: AdminClient<Events> = target
        .config()
        .create_with_context(events)
        .map_err(failed)?;
    let in_sync = (replicas.saturating_sub(1)).clamp(1, 2).to_string();
    let replication = TopicReplication::Fixed(i32::from(replicas));
    let mut topic = NewTopic::new(target.topic(), i32::from(partitions), replication);
    for (name, value) in purpose.settings() {
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

/// The log's partition, if the topic's settings keep records.
pub(super) fn place(target: &Arc<KafkaTarget>, origin: &str) -> Result<Partition, ReplicaError> {
    let shape = check(target)?;
    let number = match target.partition() {
        Some(number) => number,
        None => by_hash(origin, shape.replicas.len()),
    };
    check_openings(target, Some(number))?;
    let partition = Partition::new(target, number, origin);
    if target.partition().is_none() {
        is_nowhere_else(&partition, &shape)?;
    }
    Ok(partition)
}

/// The log's partition for reading, whatever the topic's settings are.
pub(super) fn locate(target: &Arc<KafkaTarget>, origin: &str) -> Result<Partition, ReplicaError> {
    let number = match target.partition() {
        Some(number) => number,
        None => by_hash(origin, Shape::ask(target)?.replicas.len()),
    };
    Ok(Partition::new(target, number, origin))
}

/// All partitions that may hold the log, whatever the topic's settings are. The expected one comes
/// first. After partitions were added, the log may be in another one.
pub(super) fn everywhere(
    target: &Arc<KafkaTarget>,
    origin: &str,
) -> Result<Vec<Partition>, ReplicaError> {
    let own = locate(target, origin)?;
    let mut all = vec![own.clone()];
    if target.partition().is_none() {
        let shape = Shape::ask(target)?;
        let others = shape.replicas.keys().filter(|other| **other != own.number);
        all.extend(others.map(|other| own.beside(*other)));
    }
    Ok(all)
}

/// The numbers of the partitions: the configured one alone, or all.
pub(super) fn numbers(target: &KafkaTarget) -> Result<Vec<i32>, ReplicaError> {
    match target.partition() {
        Some(number) => Ok(vec![number]),
        None => Ok(Shape::ask(target)?.replicas.into_keys().collect()),
    }
}

/// Checks that the topic exists and keeps records.
pub(super) fn check(target: &KafkaTarget) -> Result<Shape, ReplicaError> {
    check_for(Purpose::Entries, target)
}

/// Checks that the topic of openings exists, if the sink keeps them, and that what is erased there
/// will be removed. `number` is the log's partition, if it is known.
pub(super) fn check_openings(
    target: &KafkaTarget,
    number: Option<i32>,
) -> Result<(), ReplicaError> {
    let number = number.or(target.partition()).unwrap_or(0);
    match target.of_openings(number) {
        Some(openings) => check_for(Purpose::Openings, &openings).map(drop),
        None => Ok(()),
    }
}

fn check_for(purpose: Purpose, target: &KafkaTarget) -> Result<Shape, ReplicaError> {
    let shape = Shape::ask(target)?;
    let topic = target.topic();
    let (Some(replicas), None) = (shape.fewest(target), shape.lacks(target)) else {
        let words = shape.lacks(target).unwrap_or_default();
        return Err(ReplicaError::unsuitable(format!(
            "topic `{topic}`: {words}"
        )));
    };
    match purpose.judge(target, replicas)? {
        (_, Some(words)) => Err(ReplicaError::unsuitable(format!(
            "topic `{topic}`: {words}"
        ))),
        (_, None) => Ok(shape),
    }
}

/// Selects a partition by hash. Logs are spread evenly, and a log keeps its partition as long as
/// the number of partitions stays the same.
fn by_hash(origin: &str, partitions: usize) -> i32 {
    let digest = Sha256::digest(origin.as_bytes());
    let first = digest
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let partitions = u64::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(first % partitions).unwrap_or(0)
}

/// Checks that no other partition holds the log. After partitions were added, the hash may name
/// another one, and the log must not start there from scratch.
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

/// The partitions, and the number of replicas of each.
pub(super) struct Shape {
    replicas: BTreeMap<i32, usize>,
}

impl Shape {
    fn ask(target: &KafkaTarget) -> Result<Self, ReplicaError> {
        Self::find(target)?.ok_or_else(|| {
            ReplicaError::unsuitable(format!(
                "there is no topic `{}`, or we may not see it: make it, as `livetrail trail sinks init kafka` does, or grant `Describe`",
                target.topic()
            ))
        })
    }

    /// Waits until all brokers know the topic: a new topic takes time to spread.
    fn appearing(target: &KafkaTarget) -> Result<Self, ReplicaError> {
        let wait = Wait::of(ANSWER);
        loop {
            if let Some(shape) = Self::find(target)? {
                return Ok(shape);
            }
            wait.check(&Events::of(target), "the topic is not to be seen yet")?;
            std::thread::sleep(SLICE);
        }
    }

    /// `None` if there is no such topic.
    fn find(target: &KafkaTarget) -> Result<Option<Self>, ReplicaError> {
        let events = Events::of(target);
        let client = consumer(target, &events, Isolation::Committed)?;
        let topic = target.topic();
        let metadata = metadata(&client, &events, topic)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(Code::from) {
            None => {}
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Ok(None),
            Some(code) => return Err(error::of_code(code, "the brokers do not tell of the topic")),
        }
        let replicas: BTreeMap<_, _> = found
            .partitions()
            .iter()
            .map(|partition| (partition.id(), partition.replicas().len()))
            .collect();
        Ok((!replicas.is_empty()).then_some(Self { replicas }))
    }

    /// The replicas of the configured partition, or of the one that has the fewest.
    fn fewest(&self, target: &KafkaTarget) -> Option<usize> {
        match target.partition() {
            Some(number) => self.replicas.get(&number),
            None => self.replicas.values().min(),
        }
        .copied()
    }

    /// Says that the configured partition does not exist.
    fn lacks(&self, target: &KafkaTarget) -> Option<String> {
        let number = target.partition()?;
        (!self.replicas.contains_key(&number)).then(|| {
            format!(
                "it has {} partitions, numbered from 0, and none of the number {number} that is set",
                self.replicas.len()
            )
        })
    }
}

/// Asks the brokers for metadata. The answer and the events come in any order, and an event may say
/// more about a refusal.
fn metadata(
    client: &BaseConsumer<Events>,
    events: &Events,
    topic: &str,
) -> Result<Metadata, ReplicaError> {
    let wait = Wait::of(ANSWER);
    let mut look = FIRST_LOOK;
    loop {
        let answer = client.fetch_metadata(Some(topic), look);
        look = look.saturating_mul(2).min(ANSWER);
        // librdkafka hands out an event only when a caller asks for it, one at a time.
        for _ in 0..MAX_EVENTS {
            let _ = client.poll(Duration::ZERO);
        }
        events.check()?;
        match answer {
            Ok(metadata) => return Ok(metadata),
            Err(error) => {
                let error = error::of(error, "the brokers do not tell of the topic");
                if error.class() != ErrorClass::Passing {
                    return Err(error);
                }
                wait.check(events, "the brokers do not tell of the topic")?;
            }
        }
    }
}

type Settings = BTreeMap<String, String>;

fn settings(target: &KafkaTarget) -> Result<Settings, ReplicaError> {
    let doing = "the brokers do not tell the topic's settings (grant `DescribeConfigs`, or accept `unknown-settings`)";
    let failed = |error| error::of(error, doing);
    let admin: AdminClient<Events> = target
        .config()
        .create_with_context(Events::of(target))
        .map_err(failed)?;
    let topic = [ResourceSpecifier::Topic(target.topic())];
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answers = wait_for(admin.describe_configs(&topic, &options)).map_err(failed)?;
    let answer = answers.into_iter().next();
    let answer = answer.unwrap_or(Err(Code::UnsupportedVersion));
    let resource = answer.map_err(|code| error::of_code(code, doing))?;
    let known = resource.entries.into_iter();
    Ok(known
        .filter_map(|entry| Some((entry.name, entry.value?)))
        .collect())
}

/// Says what is wrong with the topic, unless the target accepts it.
fn weakness(target: &KafkaTarget, settings: &Settings, replicas: usize) -> Option<String> {
    let get = |name: &str| settings.get(name).map(String::as_str);
    let refused = |weakness, words| refused(target, weakness, words);
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
    compaction
        .into_iter()
        .chain(short)
        .flatten()
        .next()
        .or_else(|| weak_copies(target, settings, replicas))
}

/// The same for a topic of openings.
fn openings_weakness(target: &KafkaTarget, settings: &Settings, replicas: usize) -> Option<String> {
    let get = |name: &str| settings.get(name).map(String::as_str);
    let policy = get("cleanup.policy").unwrap_or("not told");
    if policy != "compact" {
        return Some(format!(
            "`cleanup.policy` is {policy}, and only compaction removes an opening that is erased. Set it to `compact`"
        ));
    }
    let lag = get("max.compaction.lag.ms").unwrap_or("not told");
    let is_bounded = lag.parse().is_ok_and(|lag: u64| lag <= COMPACTION_LAG_MS);
    let slow = (!is_bounded).then(|| {
        refused(
            target,
            Weakness::SlowErasure,
            format!("`max.compaction.lag.ms` is {lag}, so that an erased opening may stay for longer than a week. Set it to {COMPACTION_LAG_MS} or less"),
        )
    });
    slow.flatten()
        .or_else(|| weak_copies(target, settings, replicas))
}

/// The error for a weakness, unless the target accepts it.
fn refused(target: &KafkaTarget, weakness: Weakness, words: String) -> Option<String> {
    let accept = format!("{words}, or accept it: `{}`", weakness.name());
    (!target.accepts(weakness)).then_some(accept)
}

/// Says what is wrong with the copies that the brokers keep of a topic, unless the target accepts
/// it.
fn weak_copies(target: &KafkaTarget, settings: &Settings, replicas: usize) -> Option<String> {
    let get = |name: &str| settings.get(name).map(String::as_str);
    let refused = |weakness, words| refused(target, weakness, words);
    // Without this setting, `acks=all` counts all replicas. A broker that does not report it may
    // replicate in another way than Kafka.
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
    [alone, unclean, small]
        .into_iter()
        .flatten()
        .flatten()
        .next()
}

/// Waits on this thread, which must not belong to a runtime.
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
                words.contains(changed.0) && words.ends_with(&format!("accept it: `{name}`")),
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
    fn openings_need_a_topic_that_is_compacted_in_bounded_time() {
        let judged = |accept: &str, changed: &[(&str, &str)]| {
            let settings = OPENINGS_SETTINGS
                .iter()
                .chain(&[("min.insync.replicas", "2")])
                .chain(changed)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let address = format!("kafka://127.0.0.1:9092/audit?openings=names{accept}");
            let target = KafkaTarget::parse(&address).unwrap();
            openings_weakness(&target.of_openings(0).unwrap(), &settings, 3)
        };
        assert_eq!(judged("", &[]), None);
        for policy in ["delete", "compact,delete"] {
            let words = judged("&accept=compaction", &[("cleanup.policy", policy)]).unwrap();
            assert!(words.ends_with("Set it to `compact`"), "{words}");
        }
        // Kafka's default, and a broker that does not report it.
        for lag in ["9223372036854775807", ""] {
            let slow = [("max.compaction.lag.ms", lag)];
            let words = judged("", &slow).unwrap();
            assert!(words.ends_with("accept it: `slow-erasure`"), "{words}");
            assert_eq!(judged("&accept=slow-erasure", &slow), None);
        }
        let alone = judged("", &[("min.insync.replicas", "1")]).unwrap();
        assert!(alone.ends_with("accept it: `one-replica`"), "{alone}");
    }

    #[test]
    fn a_broker_that_does_not_report_its_retention_is_refused() {
        let target = KafkaTarget::parse("kafka://127.0.0.1:9092/audit").unwrap();
        let words = weakness(&target, &Settings::new(), 3).unwrap();
        assert!(words.contains("`cleanup.policy` is not told"), "{words}");
    }

    #[test]
    fn the_partition_of_a_log_is_the_same_for_ever() {
        assert_eq!(by_hash("example.com/a", 12), by_hash("example.com/a", 12));
        // The expected values come from another implementation of SHA-256. A change here would move
        // every log to another partition.
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
