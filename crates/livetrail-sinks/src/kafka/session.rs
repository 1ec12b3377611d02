//! A producer that is the partition's only one until another one fences it off.

use std::time::Duration;

use livetrail_replica::{Erasure, Gap, ReplicaError, SealedRange};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::client::{ANSWER, Events, Isolation, SLICE, Wait};
use super::error;
use super::openings;
use super::record::{entry_headers, gap_headers, with_hand_overs};
use super::tail::Reading;
use super::target::KafkaTarget;

/// How long the brokers keep a transaction open after they last heard of it. Until then readers
/// wait behind it.
const TRANSACTION_MS: &str = "60000";

/// How long librdkafka waits for a request to fill.
const LINGER_MS: &str = "5";

/// The timeout of one `flush`. It waits that long even if all records arrived earlier, so a batch
/// may be late by this much.
const FLUSH_SLICE: Duration = Duration::from_millis(1);

/// The right to write a partition, and the index at which its log continues.
///
/// # Order of a commit
///
/// 1. `begin`: nothing is sent.
/// 2. The openings are sent, if the sink keeps them, and acknowledged.
/// 3. The entries are sent. After a crash from step 2 on, the transaction stays open. Nobody sees
///    it, and the next writer aborts it.
/// 4. `commit`, when all replicas have all records. After a crash here the brokers decide: all of
///    the batch counts, or nothing. The tail shows which.
pub(super) struct Session {
    producer: BaseProducer<Events>,
    events: Events,
    origin: String,
    entries: Lane,
    /// `None` if the sink keeps no openings.
    openings: Option<Lane>,
    next: u64,
    /// The erasure cursor. `None` if the log has never had an opening here.
    erased: Option<u64>,
}

/// A partition that a session writes.
struct Lane {
    topic: String,
    number: i32,
    /// The offset of the last committed record.
    last: Option<i64>,
    /// The end of the partition when it was last read, as the broker counts.
    end: i64,
}

impl Lane {
    fn new(reading: &Reading, last: Option<i64>) -> Result<Self, ReplicaError> {
        let partition = reading.partition();
        Ok(Self {
            topic: partition.target.topic().to_owned(),
            number: partition.number,
            last,
            end: reading.end(Isolation::Everything)?,
        })
    }

    /// Checks before anything is sent that the last written record is still there.
    ///
    /// This also protects the client library. If a topic disappears while the library sends, the
    /// library accepts answers about the topic's new brokers. Some brokers leave the topic's name
    /// out of those answers.
    fn is_still_there(&mut self, reading: &Reading) -> Result<(), ReplicaError> {
        let end = reading.end(Isolation::Everything)?;
        if end < self.end || (end == 0 && self.last.is_some()) {
            return Err(self.was_made_again());
        }
        self.end = end;
        Ok(())
    }

    fn record<'r>(&'r self, key: &'r [u8]) -> BaseRecord<'r, [u8], [u8]> {
        BaseRecord::to(&self.topic).partition(self.number).key(key)
    }

    fn was_made_again(&self) -> ReplicaError {
        ReplicaError::Unavailable {
            what: format!(
                "partition {} of topic `{}` has no record at offset {}, which was written there: the topic was made again, or lost its end",
                self.number,
                self.topic,
                self.last.unwrap_or_default()
            ),
            source: None,
        }
    }
}

impl Session {
    /// Fences off the earlier writer, lets the brokers abort its open transaction, and reads the
    /// tail again.
    pub(super) fn take_over(reading: &Reading) -> Result<Self, ReplicaError> {
        let partition = reading.partition();
        let events = Events::of(&partition.target);
        let producer = producer(&partition.target, partition.number, &events)?;
        let wait = Wait::of(ANSWER * 2);
        until_done(
            &producer,
            &events,
            &wait,
            "taking the partition over",
            || producer.init_transactions(SLICE),
        )?;
        reading.wait_until_decided()?;
        let tail = reading.tail()?;
        Ok(Self {
            entries: Lane::new(reading, tail.last_offset)?,
            openings: None,
            next: tail.next,
            erased: None,
            producer,
            events,
            origin: partition.origin.clone(),
        })
    }

    /// Also writes openings, into this partition, which no other writer has now.
    pub(super) fn keep_openings(&mut self, openings: &Reading) -> Result<(), ReplicaError> {
        openings.wait_until_decided()?;
        let found = openings::cursor(openings)?;
        self.erased = found.map(|found| found.next);
        self.openings = Some(Lane::new(openings, found.map(|found| found.offset))?);
        Ok(())
    }

    /// The index after the last record.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn is_for(&self, origin: &str) -> bool {
        self.origin == origin
    }

    /// How far erasures are applied. A log without openings has nothing to erase.
    pub(super) fn erased(&self) -> u64 {
        self.erased
            .map_or(self.next, |erased| erased.min(self.next))
    }

    /// Checks before anything is sent that the last written entry is still there.
    pub(super) fn is_still_there(&mut self, reading: &Reading) -> Result<(), ReplicaError> {
        self.entries.is_still_there(reading)
    }

    /// Checks the same of the openings.
    pub(super) fn has_its_openings(&mut self, openings: &Reading) -> Result<(), ReplicaError> {
        match &mut self.openings {
            Some(lane) => lane.is_still_there(openings),
            None => Ok(()),
        }
    }

    /// Commits a range, which starts at `next`. After an error this session is no longer usable.
    pub(super) fn write(&mut self, range: &SealedRange) -> Result<(), ReplicaError> {
        let last = range.next().saturating_sub(1);
        let is_covered = range.checkpoint().head().size <= range.next();
        self.begin()?;
        self.send_openings(range)?;
        for (index, entry, leaf) in range.iter() {
            // A checkpoint that covers later entries would look like a truncated end. It is written
            // with the last of the entries that it covers.
            let note = (index == last && is_covered).then(|| &range.note()[..]);
            let mut headers = entry_headers(index, leaf, note);
            if index == last {
                headers = with_hand_overs(headers, range.hand_overs());
            }
            self.send_entry(entry, headers)?;
        }
        self.commit()?;
        self.next = range.next();
        Ok(())
    }

    /// Sends the openings of a range, and the cursor.
    fn send_openings(&mut self, range: &SealedRange) -> Result<(), ReplicaError> {
        let went_back = self.erased.is_some_and(|erased| erased > range.first());
        if self.openings.is_none() || (range.openings().is_empty() && !went_back) {
            return Ok(());
        }
        for one in range.openings() {
            let key = openings::key(&self.origin, one.session());
            self.send_opening(&key, Some(&one.json()), Some(openings::headers(one)))?;
        }
        // From here on the log has openings. Erasures that later entries name are not applied yet.
        let first = range.first();
        self.send_cursor(self.erased.map_or(first, |erased| erased.min(first)))?;
        self.flush()
    }

    /// Puts a tombstone in the place of each opening, and moves the cursor.
    pub(super) fn erase(&mut self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let cursor = self.erased().max(erasure.span.end);
        self.begin()?;
        for session in &erasure.sessions {
            self.send_opening(&openings::key(&self.origin, *session), None, None)?;
        }
        self.send_cursor(cursor)?;
        self.commit()
    }

    /// Writes the cursor again, if the log has one: see [`openings`].
    pub(super) fn repeat_cursor(&mut self) -> Result<(), ReplicaError> {
        if self.erased.is_none() || self.openings.is_none() {
            return Ok(());
        }
        self.begin()?;
        self.send_cursor(self.erased())?;
        self.commit()
    }

    /// Puts a gap on record.
    pub(super) fn write_gap(&mut self, gap: &Gap) -> Result<(), ReplicaError> {
        self.begin()?;
        let headers = gap_headers(gap.missing.start, gap.missing.end);
        self.send_entry(gap.reason.as_bytes(), headers)?;
        self.commit()?;
        self.next = gap.missing.end;
        Ok(())
    }

    fn begin(&self) -> Result<(), ReplicaError> {
        self.producer.poll(Duration::ZERO);
        self.events.begin();
        self.producer
            .begin_transaction()
            .map_err(|error| error::of(error, "a transaction cannot be begun"))
    }

    fn send_entry(&self, value: &[u8], headers: OwnedHeaders) -> Result<(), ReplicaError> {
        let mut record = self.entries.record(self.origin.as_bytes());
        record.payload = Some(value);
        self.send(record.headers(headers))
    }

    /// Sends a record of the partition of openings. One without a value is a tombstone.
    fn send_opening(
        &self,
        key: &str,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<(), ReplicaError> {
        let Some(lane) = &self.openings else {
            return Err(ReplicaError::unsuitable("the sink keeps no openings"));
        };
        let mut record = lane.record(key.as_bytes());
        record.payload = value;
        record.headers = headers;
        self.send(record)
    }

    fn send_cursor(&mut self, next: u64) -> Result<(), ReplicaError> {
        let key = openings::cursor_key(&self.origin);
        self.send_opening(&key, Some(next.to_string().as_bytes()), None)?;
        // If the commit fails, this session is not used again.
        self.erased = Some(next);
        Ok(())
    }

    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), ReplicaError> {
        let mut wait = None;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(SLICE);
                    wait.get_or_insert_with(|| Wait::of(ANSWER))
                        .check(&self.events, "the queue of records is full")?;
                }
                Err((error, _)) => {
                    let broken = error.rdkafka_error_code().is_some_and(is_consequence);
                    let error = error::of(error, "a record cannot be sent");
                    return Err(if broken { self.cause(error) } else { error });
                }
            }
        }
    }

    /// Waits until the brokers have all records that were sent.
    fn flush(&self) -> Result<(), ReplicaError> {
        let wait = Wait::of(ANSWER * 2);
        let sent = until_done(
            &self.producer,
            &self.events,
            &wait,
            "committing a batch",
            || self.producer.flush(FLUSH_SLICE),
        );
        sent.map_err(|error| {
            let broken = self.events.undelivered().is_some_and(is_consequence);
            if broken { self.cause(error) } else { error }
        })
    }

    fn commit(&mut self) -> Result<(), ReplicaError> {
        self.flush()?;
        // A topic was created again between the check before sending and now. Nothing of this batch
        // counts, as if the process had been killed here.
        for lane in std::iter::once(&self.entries).chain(&self.openings) {
            let delivered = self.events.delivered(&lane.topic);
            if delivered.is_some_and(|(least, _)| lane.last.is_some_and(|last| least <= last)) {
                return Err(lane.was_made_again());
            }
        }
        let wait = Wait::of(ANSWER);
        until_done(
            &self.producer,
            &self.events,
            &wait,
            "committing a batch",
            || self.producer.commit_transaction(SLICE),
        )?;
        for lane in std::iter::once(&mut self.entries).chain(&mut self.openings) {
            if let Some((_, largest)) = self.events.delivered(&lane.topic) {
                lane.last = Some(largest);
            }
        }
        Ok(())
    }

    /// Finds out why the transaction is broken: the answer to a commit reports it. The commit
    /// itself can no longer succeed, and the records of the transaction were only discarded.
    fn cause(&self, consequence: ReplicaError) -> ReplicaError {
        match self.producer.commit_transaction(SLICE) {
            Err(error) if !is_unfinished(&error) => error::of(error, "committing a batch"),
            Ok(()) | Err(_) => consequence,
        }
    }
}

/// Whether this code only reports that another error broke the record's transaction.
const fn is_consequence(code: Code) -> bool {
    matches!(
        code,
        Code::PurgeQueue | Code::PurgeInflight | Code::State | Code::Fatal
    )
}

/// Repeats the step until it succeeds or fails for good.
fn until_done(
    producer: &BaseProducer<Events>,
    events: &Events,
    wait: &Wait,
    what: &str,
    mut step: impl FnMut() -> Result<(), KafkaError>,
) -> Result<(), ReplicaError> {
    loop {
        let error = match step() {
            Ok(()) => return events.check_delivered(),
            Err(error) => error,
        };
        producer.poll(Duration::ZERO);
        if !is_unfinished(&error) {
            // An event that came separately from the answer has more details, if there is one.
            return events.check().and(Err(error::of(error, what)));
        }
        wait.check(events, what)?;
    }
}

fn is_unfinished(error: &KafkaError) -> bool {
    match error {
        KafkaError::Flush(code) => *code == Code::OperationTimedOut,
        KafkaError::Transaction(error) => error.is_retriable(),
        _ => false,
    }
}

fn producer(
    target: &KafkaTarget,
    number: i32,
    events: &Events,
) -> Result<BaseProducer<Events>, ReplicaError> {
    let mut config = target.config();
    config
        .set(
            "transactional.id",
            format!("livetrail.{}.{number}", target.topic()),
        )
        .set("transaction.timeout.ms", TRANSACTION_MS)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        // This makes requests fewer and fuller. A batch waits this long at most once.
        .set("linger.ms", LINGER_MS)
        // The caller bounds a batch. These limits are twice that bound.
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "1048576");
    config
        .create_with_context(events.clone())
        .map_err(|error| error::of(error, "a client that writes cannot be made"))
}
