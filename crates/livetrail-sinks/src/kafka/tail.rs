//! Reading the partition: its end, for the cursor; a part of it, to compare; all of it, for an auditor.

use std::sync::Arc;
use std::time::Duration;

use livetrail_audit::replica::{ErrorClass, ReplicaError, SinkCursor};
use livetrail_tlog::Hash;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{ANSWER, Events, SLICE, Wait, consumer};
use super::error;
use super::record::{Record, What, Wrong};
use super::target::KafkaTarget;

/// How far before the end reading begins: more each time until it holds what is looked for, then everything.
const BEFORE_END: [Offset; 5] = [
    Offset::OffsetTail(16),
    Offset::OffsetTail(1 << 12),
    Offset::OffsetTail(1 << 18),
    Offset::OffsetTail(1 << 24),
    Offset::Beginning,
];

/// Events of earlier that are left behind before anything is read.
const MAX_STALE: usize = 100;

/// The end of what is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The next index.
    pub(super) next: u64,
    last_leaf: Option<Hash>,
    checkpoint: Option<Vec<u8>>,
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
        if record.checkpoint.is_some() {
            self.checkpoint = record.checkpoint;
        }
        self.last_leaf = match record.what {
            What::Entry { leaf, .. } => Some(leaf),
            What::Gap { .. } => None,
        };
    }
}

/// A partition of a topic, as one log's.
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

    /// Another partition, as the same log's.
    pub(super) fn beside(&self, number: i32) -> Self {
        Self::new(&self.target, number, &self.origin)
    }
}

/// A client that reads a partition. After an error another one is made.
pub(super) struct Reading {
    partition: Partition,
    events: Events,
    consumer: BaseConsumer<Events>,
}

impl Reading {
    pub(super) fn new(partition: &Partition) -> Result<Self, ReplicaError> {
        let events = Events::of(&partition.target);
        let consumer = consumer(&partition.target, &events)?;
        Ok(Self {
            partition: partition.clone(),
            events,
            consumer,
        })
    }

    pub(super) const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Its end: the last record, and the newest checkpoint.
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

    /// Index and leaf hash of the entries from `first` to before `next`, as far as they are there.
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

    /// Everything, in order, until the end of what is committed.
    pub(super) fn all(
        &self,
        mut each: impl FnMut(Record) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        self.run(Offset::Beginning, |record| each(record).map(|()| true))?;
        Ok(())
    }

    /// Whether this log is in there; another one, or something else, is not.
    pub(super) fn is_its(&self) -> Result<bool, ReplicaError> {
        match self.tail() {
            Ok(tail) => Ok(tail.next > 0),
            Err(ReplicaError::Unsuitable { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with every record from there on, until the end or until it says that it has enough. Indexes follow each
    /// other without a hole. `true` when that was everything there is.
    fn run(
        &self,
        from: Offset,
        mut each: impl FnMut(Record) -> Result<bool, ReplicaError>,
    ) -> Result<bool, ReplicaError> {
        self.start_at(from)?;
        let answer = self.run_on(from, &mut each);
        // Else it would go on fetching.
        let _ = self.consumer.unassign();
        answer
    }

    fn run_on(
        &self,
        from: Offset,
        each: &mut dyn FnMut(Record) -> Result<bool, ReplicaError>,
    ) -> Result<bool, ReplicaError> {
        let mut next = None;
        let mut complete = from == Offset::Beginning;
        let mut wait = Wait::of(ANSWER);
        loop {
            let record = match self.consumer.poll(SLICE) {
                None => {
                    wait.check(&self.events, "reading the partition")?;
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => {
                    self.judge(error)?;
                    wait.check(&self.events, "reading the partition")?;
                    continue;
                }
                Some(Ok(message)) => Record::parse(&message, &self.partition.origin),
            };
            wait.renew(ANSWER);
            let record = record.map_err(|wrong| self.wrong(wrong))?;
            if next.is_none() {
                complete |= record.offset == 0;
            }
            follows(next, &record)?;
            next = Some(record.next());
            if !each(record)? {
                break;
            }
        }
        Ok(complete && next.is_some())
    }

    fn start_at(&self, from: Offset) -> Result<(), ReplicaError> {
        // Connections that broke while nobody asked are made anew by themselves.
        for _ in 0..MAX_STALE {
            if self.consumer.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        self.events.begin();
        let topic = self.partition.target.topic();
        let mut assigned = TopicPartitionList::new();
        assigned
            .add_partition_offset(topic, self.partition.number, from)
            .and_then(|()| self.consumer.assign(&assigned))
            .map_err(|error| error::of(error, "a partition cannot be read"))
    }

    /// What passes by itself is waited for; the client tries again.
    fn judge(&self, error: KafkaError) -> Result<(), ReplicaError> {
        // It has no group to speak of.
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

    /// A partition without any record is a new one, unless it begins later than it was made.
    fn nothing_was_removed(&self) -> Result<(), ReplicaError> {
        let (topic, number) = (self.partition.target.topic(), self.partition.number);
        let (low, _) = self
            .consumer
            .fetch_watermarks(topic, number, ANSWER)
            .map_err(|error| error::of(error, "the partition's offsets are not told"))?;
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
