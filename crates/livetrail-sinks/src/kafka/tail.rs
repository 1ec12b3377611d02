//! Reads the partition: its end for the cursor, a part to compare, or all of it for an auditor.

use std::sync::Arc;
use std::time::Duration;

use livetrail_replica::{ErrorClass, ReplicaError, Sightings, SinkCursor};
use livetrail_tlog::Hash;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{ANSWER, Events, Isolation, SLICE, Wait, consumer};
use super::error;
use super::record::{Record, What, Wrong, checkpoints_in};
use super::target::KafkaTarget;
use crate::settings::Weakness;

/// How far before the end reading starts. Each attempt starts earlier, until it finds what it
/// needs. The last attempt reads everything.
pub(super) const BEFORE_END: [Offset; 5] = [
    Offset::OffsetTail(16),
    Offset::OffsetTail(1 << 12),
    Offset::OffsetTail(1 << 18),
    Offset::OffsetTail(1 << 24),
    Offset::Beginning,
];

/// How long a new client waits until it knows the partition's leader.
const LEADER: Duration = Duration::from_millis(200);

/// The maximum number of old events that are discarded before a read.
const MAX_STALE: usize = 100;

/// The committed end of the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The index after the last record.
    pub(super) next: u64,
    last_leaf: Option<Hash>,
    checkpoint: Option<Vec<u8>>,
    /// The offset of the last record.
    pub(super) last_offset: Option<i64>,
}

impl Tail {
    pub(super) fn cursor(self) -> SinkCursor {
        let mut cursor = SinkCursor::at(self.next);
        if let Some(leaf) = self.last_leaf {
            cursor = cursor.with_last_leaf(leaf);
        }
        match self.checkpoint {
            Some(note) => cursor.with_checkpoint(note),
            None => cursor,
        }
    }

    fn add(&mut self, record: Record) {
        self.next = record.next();
        self.last_offset = Some(record.offset);
        if record.checkpoint.is_some() {
            self.checkpoint = record.checkpoint;
        }
        self.last_leaf = match record.what {
            What::Entry { leaf, .. } => Some(leaf),
            What::Gap { .. } => None,
        };
    }
}

/// A partition of a topic, for one log.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) target: Arc<KafkaTarget>,
    pub(super) number: i32,
    pub(super) origin: String,
}

impl Partition {
    pub(super) fn new(target: &Arc<KafkaTarget>, number: i32, origin: &str) -> Self {
        Self {
            target: Arc::clone(target),
            number,
            origin: origin.to_owned(),
        }
    }

    /// Another partition for the same log.
    pub(super) fn beside(&self, number: i32) -> Self {
        Self::new(&self.target, number, &self.origin)
    }

    /// The partition of the log's openings. `None` if the sink keeps none.
    pub(super) fn of_openings(&self) -> Option<Self> {
        let target = Arc::new(self.target.of_openings(self.number)?);
        Some(Self::new(&target, self.number, &self.origin))
    }
}

/// A client that reads a partition. After an error the caller makes a new one.
pub(super) struct Reading {
    partition: Partition,
    events: Events,
    consumer: BaseConsumer<Events>,
    /// Used only for offsets: this client also sees open transactions.
    everything: BaseConsumer<Events>,
}

impl Reading {
    pub(super) fn new(partition: &Partition) -> Result<Self, ReplicaError> {
        let events = Events::of(&partition.target);
        let client = |isolation| consumer(&partition.target, &events, isolation);
        let (consumer, everything) = (
            client(Isolation::Committed)?,
            client(Isolation::Everything)?,
        );
        // A client that begins to read and does not know the partition's leader asks again only
        // after 500 ms. What is wrong, the read reports.
        let _ = consumer.fetch_metadata(Some(partition.target.topic()), LEADER);
        Ok(Self {
            partition: partition.clone(),
            events,
            consumer,
            everything,
        })
    }

    pub(super) const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The end of the partition: the last record and the newest checkpoint.
    pub(super) fn tail(&self) -> Result<Tail, ReplicaError> {
        for from in BEFORE_END {
            let mut tail = Tail::default();
            let complete = self.run(from, |record| {
                tail.add(record);
                Ok(true)
            })?;
            if complete || tail.checkpoint.is_some() {
                return Ok(tail);
            }
        }
        self.nothing_was_removed()?;
        Ok(Tail::default())
    }

    /// The index and the leaf hash of each entry from `first` up to `next`, as far as the entries
    /// are there.
    pub(super) fn leaves(&self, first: u64, next: u64) -> Result<Vec<(u64, Hash)>, ReplicaError> {
        let mut leaves = Vec::new();
        for from in BEFORE_END {
            leaves.clear();
            let mut begins_at = None;
            let complete = self.run(from, |record| {
                begins_at.get_or_insert_with(|| record.first());
                let after = record.next();
                match record.what {
                    What::Entry { index, leaf, .. } if (first..next).contains(&index) => {
                        leaves.push((index, leaf));
                    }
                    What::Entry { .. } | What::Gap { .. } => {}
                }
                Ok(after < next)
            })?;
            if complete || begins_at.is_some_and(|begins| begins <= first) {
                break;
            }
        }
        Ok(leaves)
    }

    /// Reads all committed records in order, until `each` returns `false`.
    pub(super) fn all(
        &self,
        each: impl FnMut(Record) -> Result<bool, ReplicaError>,
    ) -> Result<(), ReplicaError> {
        self.run(Offset::Beginning, each)?;
        Ok(())
    }

    /// Calls `each` with every committed message from this offset on, whatever it is.
    pub(super) fn messages(
        &self,
        from: Offset,
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), ReplicaError> {
        self.start_at(&self.consumer, from)?;
        let read = self.each_message(&self.consumer, |message| {
            each(message);
            Ok(true)
        });
        let _ = self.consumer.unassign();
        read
    }

    /// The origin of the first committed record, for a partition whose log is not known yet, so
    /// that its origin here is empty. `None` if the partition has no record.
    pub(super) fn first_origin(&self) -> Result<Option<String>, ReplicaError> {
        self.start_at(&self.consumer, Offset::Beginning)?;
        let mut first = None;
        let read = self.each_message(&self.consumer, |message| {
            first = match Record::parse(message, &self.partition.origin) {
                Err(Wrong::Origin(other)) => Some(other),
                Err(wrong) => return Err(self.wrong(wrong)),
                // It has the origin of this partition, which is empty here.
                Ok(_) => return Err(self.wrong(Wrong::Foreign(message.offset()))),
            };
            Ok(false)
        });
        let _ = self.consumer.unassign();
        read.map(|()| first)
    }

    /// Offers the checkpoints in the partition, whatever else it holds. This includes those of
    /// other logs, damaged ones, aborted ones and those behind an open transaction.
    ///
    /// If the last records are valid and a signed checkpoint covers them, that checkpoint is the
    /// newest. Otherwise everything is read.
    pub(super) fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        match self.tail() {
            Ok(tail) => {
                let newest = tail.checkpoint.and_then(|note| seen.offer(&note));
                let is_undecided =
                    self.end(Isolation::Committed)? < self.end(Isolation::Everything)?;
                if newest.is_some_and(|head| head.size >= tail.next) && !is_undecided {
                    return Ok(());
                }
            }
            Err(error) if error.class() == ErrorClass::Passing => return Err(error),
            Err(_) => {}
        }
        let client = &self.everything;
        self.start_at(client, Offset::Beginning)?;
        let read = self.each_message(client, |message| {
            for note in checkpoints_in(message) {
                seen.offer(&note);
            }
            Ok(true)
        });
        let _ = client.unassign();
        read
    }

    /// Checks that the log begins with entry 0 here. If the topic was created again while its log
    /// continued, it has a hole instead.
    pub(super) fn has_its_head(&self) -> Result<(), ReplicaError> {
        if self.partition.target.accepts(Weakness::Retention) {
            return Ok(());
        }
        let mut first = None;
        self.run(Offset::Beginning, |record| {
            first = Some(record.first());
            Ok(false)
        })?;
        let Some(first) = first.filter(|first| *first > 0) else {
            return Ok(());
        };
        let (number, topic) = (self.partition.number, self.partition.target.topic());
        Err(ReplicaError::unsuitable(format!(
            "partition {number} of topic `{topic}` begins with entry {first}: what was before it is gone. Was the topic deleted and made again, or its \
             head removed? Name a new topic or another partition: everything is written there again"
        )))
    }

    /// The offset after the last record that such a client sees. Use it only to compare two of
    /// these values, because some brokers count offsets differently.
    pub(super) fn end(&self, isolation: Isolation) -> Result<i64, ReplicaError> {
        let client = match isolation {
            Isolation::Committed => &self.consumer,
            Isolation::Everything => &self.everything,
        };
        let (topic, number) = (self.partition.target.topic(), self.partition.number);
        let (_, end) = client
            .fetch_watermarks(topic, number, ANSWER)
            .map_err(|error| error::of(error, "the partition's offsets are not known"))?;
        Ok(end)
    }

    /// Waits until no transaction in the partition is open. Behind an open transaction nobody sees
    /// the committed records, and the sink would write them again.
    pub(super) fn wait_until_decided(&self) -> Result<(), ReplicaError> {
        let wait = Wait::of(ANSWER);
        while self.end(Isolation::Committed)? < self.end(Isolation::Everything)? {
            let what = "a transaction is open in the partition, which only the server should write to: what stands behind it is not seen until it ends";
            wait.check(&self.events, what)?;
            std::thread::sleep(SLICE);
        }
        Ok(())
    }

    /// Whether this partition holds this log. `false` if it is empty or holds another log or other
    /// records.
    pub(super) fn is_its(&self) -> Result<bool, ReplicaError> {
        match self.tail() {
            Ok(tail) => Ok(tail.next > 0),
            Err(ReplicaError::Unsuitable { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with every record from this offset on, until the end or until `each` returns
    /// `false`.
    ///
    /// The indexes must be consecutive. The result is `true` if the read covered the whole
    /// partition and found a record.
    fn run(
        &self,
        from: Offset,
        mut each: impl FnMut(Record) -> Result<bool, ReplicaError>,
    ) -> Result<bool, ReplicaError> {
        self.start_at(&self.consumer, from)?;
        let mut next = None;
        let mut complete = from == Offset::Beginning;
        let answer = self.each_message(&self.consumer, |message| {
            let record = Record::parse(message, &self.partition.origin);
            let record = record.map_err(|wrong| self.wrong(wrong))?;
            if next.is_none() {
                complete |= record.offset == 0;
            }
            follows(next, &record)?;
            next = Some(record.next());
            each(record)
        });
        // Without this the client would continue to fetch.
        let _ = self.consumer.unassign();
        answer.map(|()| complete && next.is_some())
    }

    /// Calls `each` with every message, until the end or until `each` returns `false`.
    fn each_message(
        &self,
        client: &BaseConsumer<Events>,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<bool, ReplicaError>,
    ) -> Result<(), ReplicaError> {
        let mut wait = Wait::of(ANSWER);
        loop {
            match client.poll(SLICE) {
                None => wait.check(&self.events, "reading the partition")?,
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) => {
                    self.judge(error)?;
                    wait.check(&self.events, "reading the partition")?;
                }
                Some(Ok(message)) => {
                    wait.renew(ANSWER);
                    if !each(&message)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn start_at(&self, client: &BaseConsumer<Events>, from: Offset) -> Result<(), ReplicaError> {
        // Discards old events. librdkafka itself reconnects when a connection breaks between two
        // calls.
        for _ in 0..MAX_STALE {
            if client.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        self.events.begin();
        let topic = self.partition.target.topic();
        let mut assigned = TopicPartitionList::new();
        assigned
            .add_partition_offset(topic, self.partition.number, from)
            .and_then(|()| client.assign(&assigned))
            .map_err(|error| error::of(error, "a partition cannot be read"))
    }

    /// Decides about an error. The client itself tries again after a temporary error, so the caller
    /// waits.
    fn judge(&self, error: KafkaError) -> Result<(), ReplicaError> {
        // The client never joins a group, so this error does not matter.
        if error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed) {
            return Ok(());
        }
        let topic = self.partition.target.topic();
        let error = error::of(error, &format!("topic `{topic}` cannot be read"));
        match error.class() {
            ErrorClass::Passing => self.events.check(),
            ErrorClass::Permanent | ErrorClass::Fork => self.events.check().and(Err(error)),
        }
    }

    fn wrong(&self, wrong: Wrong) -> ReplicaError {
        let (number, topic) = (self.partition.number, self.partition.target.topic());
        match wrong {
            Wrong::Damaged(what) => ReplicaError::Damaged {
                what: format!("{what} (partition {number} of topic `{topic}`)"),
                source: None,
            },
            Wrong::Origin(other) => ReplicaError::unsuitable(format!(
                "partition {number} of topic `{topic}` holds the log `{other}`, and a partition takes one log: name another with `partition=`"
            )),
            Wrong::Foreign(offset) => ReplicaError::unsuitable(format!(
                "partition {number} of topic `{topic}` holds at offset {offset} what is no record of a trail: give the trail a topic of its own"
            )),
        }
    }

    /// Checks that an empty partition is new: records were removed if its first offset is above 0.
    fn nothing_was_removed(&self) -> Result<(), ReplicaError> {
        let (topic, number) = (self.partition.target.topic(), self.partition.number);
        let (low, _) = self
            .consumer
            .fetch_watermarks(topic, number, ANSWER)
            .map_err(|error| error::of(error, "the partition's offsets are not known"))?;
        if low > 0 {
            return Err(ReplicaError::unsuitable(format!(
                "all records of partition {number} of topic `{topic}` before offset {low} were removed: the place of the trail is not known any more. Name another partition, or a new topic whose settings keep records"
            )));
        }
        Ok(())
    }
}

fn follows(next: Option<u64>, record: &Record) -> Result<(), ReplicaError> {
    match next {
        Some(next) if record.first() != next => Err(ReplicaError::Damaged {
            what: format!(
                "after index {next} (without it) comes index {} at offset {}",
                record.first(),
                record.offset
            ),
            source: None,
        }),
        _ => Ok(()),
    }
}
