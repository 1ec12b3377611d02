//! What librdkafka tells beside its answers, and how long we listen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livetrail_replica::ReplicaError;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::time::Instant;

use super::error;
use super::target::KafkaTarget;

/// How often a wait looks whether it makes sense to wait on.
pub(super) const SLICE: Duration = Duration::from_millis(20);

/// The longest that one answer of a broker is waited for.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// What came beside the answers of one client. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Events {
    /// Where we looked for brokers at first.
    addresses: Arc<str>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// No broker can be reached, in librdkafka's words.
    down: Option<String>,
    /// Why the last connection broke that did, if any has.
    broke: String,
    /// We are not let in, or do not believe who answers.
    refused: Option<(Code, String)>,
    /// The first record that was not taken.
    undelivered: Option<Code>,
    /// The least and the largest offset of those that were.
    delivered: Option<(i64, i64)>,
}

impl Events {
    /// Nothing has come yet.
    pub(super) fn of(target: &KafkaTarget) -> Self {
        Self {
            addresses: target.brokers().into(),
            seen: Arc::default(),
        }
    }

    /// Forgets what was before: connections that broke while nobody asked are made anew by themselves. Why the last one broke is kept: when none
    /// can be made, librdkafka may say so without saying that again.
    pub(super) fn begin(&self) {
        let mut seen = self.seen();
        *seen = Seen {
            broke: std::mem::take(&mut seen.broke),
            ..Seen::default()
        };
    }

    /// Whether waiting on makes sense.
    pub(super) fn check(&self) -> Result<(), ReplicaError> {
        let seen = self.seen();
        if let Some((code, reason)) = &seen.refused {
            return Err(error::refused(*code, reason));
        }
        if let Some(code) = seen.undelivered {
            return Err(error::of_code(code, "a record was not taken"));
        }
        if let Some(words) = &seen.down {
            let broke = match seen.broke.as_str() {
                "" => String::new(),
                broke => format!("; of the last connection: {broke}"),
            };
            return Err(ReplicaError::Unavailable {
                what: format!(
                    "no broker can be reached at {}: {words}{broke}",
                    self.addresses
                ),
                source: None,
            });
        }
        Ok(())
    }

    /// Why the first record was not taken that was not.
    pub(super) fn undelivered(&self) -> Option<Code> {
        self.seen().undelivered
    }

    /// The least and the largest offset of the records that were taken since the beginning.
    pub(super) fn delivered(&self) -> Option<(i64, i64)> {
        self.seen().delivered
    }

    /// Whether everything that was sent was taken.
    pub(super) fn check_delivered(&self) -> Result<(), ReplicaError> {
        match self.undelivered() {
            Some(code) => Err(error::of_code(code, "a record was not taken")),
            None => Ok(()),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Events {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        let mut seen = self.seen();
        match code {
            Code::AllBrokersDown => seen.down = Some(reason.to_owned()),
            _ if error::is_refusal(code, reason) => {
                seen.refused
                    .get_or_insert_with(|| (code, reason.to_owned()));
            }
            _ => reason.clone_into(&mut seen.broke),
        }
    }
}

impl ConsumerContext for Events {}

impl ProducerContext for Events {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut seen = self.seen();
        match result {
            Ok(message) => {
                let offset = message.offset();
                let (least, largest) = seen.delivered.unwrap_or((offset, offset));
                seen.delivered = Some((least.min(offset), largest.max(offset)));
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                seen.undelivered.get_or_insert(code);
            }
        }
    }
}

/// A wait with an end.
#[derive(Debug)]
pub(super) struct Wait(Instant);

impl Wait {
    pub(super) fn of(most: Duration) -> Self {
        Self(Instant::now() + most)
    }

    /// From now on again.
    pub(super) fn renew(&mut self, most: Duration) {
        self.0 = Instant::now() + most;
    }

    /// Whether there is any time left, and what is awaited can still come.
    pub(super) fn check(&self, events: &Events, what: &str) -> Result<(), ReplicaError> {
        events.check()?;
        if self.0 <= Instant::now() {
            return Err(ReplicaError::Unavailable {
                what: format!("no answer of a broker in time: {what}"),
                source: None,
            });
        }
        Ok(())
    }
}

/// What a client sees of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// What is committed, up to the first transaction that is open.
    Committed,
    /// Everything that ever stood there, also what was aborted or is open.
    Everything,
}

/// A client that reads from a given offset.
pub(super) fn consumer(
    target: &KafkaTarget,
    events: &Events,
    isolation: Isolation,
) -> Result<BaseConsumer<Events>, ReplicaError> {
    let isolation = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Everything => "read_uncommitted",
    };
    let mut config = target.config();
    config
        // It never joins: librdkafka wants a name here to read a partition that it is told.
        .set("group.id", "livetrail")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "10")
        .set("queued.max.messages.kbytes", "16384");
    config
        .create_with_context(events.clone())
        .map_err(|error| error::of(error, "a client that reads cannot be made"))
}

#[cfg(test)]
mod tests {
    use livetrail_replica::ReplicaSink as _;

    use super::*;
    use crate::kafka::KafkaSink;

    /// Nobody listens there: it takes root to.
    const NOBODY: &str = "127.0.0.1:1";

    fn target() -> KafkaTarget {
        KafkaTarget::new(&[NOBODY], "audit").unwrap()
    }

    #[test]
    fn brokers_that_cannot_be_reached_are_named_with_the_reason() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let sink = KafkaSink::new("topic", target()).unwrap();
        let said = runtime
            .block_on(sink.cursor("example.com/log"))
            .unwrap_err();
        let said = said.to_string();
        assert!(said.contains(&format!("reached at {NOBODY}: ")), "{said}");
        assert!(said.contains("Connection refused"), "{said}");
    }

    #[test]
    fn a_reason_outlives_the_attempt_that_it_came_in_and_without_one_librdkafkas_words_are_told() {
        let events = Events::of(&target());
        let tell = |code, words| events.error(KafkaError::Global(code), words);
        let said = || events.check().unwrap_err().to_string();
        let down = || tell(Code::AllBrokersDown, "1/1 brokers are down");
        down();
        assert!(said().ends_with("127.0.0.1:1: 1/1 brokers are down"));
        tell(Code::BrokerTransportFailure, "refused");
        let whole = "127.0.0.1:1: 1/1 brokers are down; of the last connection: refused";
        assert!(said().ends_with(whole));
        events.begin();
        events.check().unwrap();
        down();
        assert!(said().ends_with(whole));
    }
}
