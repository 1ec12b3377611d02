//! The events that librdkafka reports separately from its answers, and how long a wait may take.

use std::collections::BTreeMap;
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
use crate::clock;

/// How often a wait checks whether it can still succeed.
pub(super) const SLICE: Duration = Duration::from_millis(20);

/// How long a wait for one answer of a broker may take.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// The events of one client, which come separately from its answers. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Events {
    /// The broker addresses that the target names.
    addresses: Arc<str>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// librdkafka reports that it can reach no broker; this is its text.
    down: Option<String>,
    /// Why the last broken connection broke. Empty if none broke.
    broke: String,
    /// The broker refuses our login, or we do not trust its certificate.
    refused: Option<(Code, String)>,
    /// The error of the first record that a broker did not accept.
    undelivered: Option<Code>,
    /// The smallest and the largest offset of the accepted records of each topic, at most two.
    delivered: BTreeMap<String, (i64, i64)>,
}

impl Events {
    /// No event has come yet.
    pub(super) fn of(target: &KafkaTarget) -> Self {
        Self {
            addresses: target.brokers().into(),
            seen: Arc::default(),
        }
    }

    /// Forgets the earlier events. librdkafka itself reconnects when a connection breaks between
    /// two calls.
    ///
    /// The reason of the last broken connection is kept. If librdkafka cannot connect again, it may
    /// report that without repeating the reason.
    pub(super) fn begin(&self) {
        let mut seen = self.seen();
        *seen = Seen {
            broke: std::mem::take(&mut seen.broke),
            ..Seen::default()
        };
    }

    /// Returns an error if waiting longer is of no use.
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

    /// Why a broker did not accept the first record that failed.
    pub(super) fn undelivered(&self) -> Option<Code> {
        self.seen().undelivered
    }

    /// The smallest and the largest offset of the topic's records accepted since `begin`.
    pub(super) fn delivered(&self, topic: &str) -> Option<(i64, i64)> {
        self.seen().delivered.get(topic).copied()
    }

    /// Checks that the brokers accepted all records that were sent.
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
                let (topic, offset) = (message.topic(), message.offset());
                match seen.delivered.get_mut(topic) {
                    Some((least, largest)) => {
                        *least = offset.min(*least);
                        *largest = offset.max(*largest);
                    }
                    None => {
                        seen.delivered.insert(topic.to_owned(), (offset, offset));
                    }
                }
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                seen.undelivered.get_or_insert(code);
            }
        }
    }
}

/// A wait with a deadline.
#[derive(Debug)]
pub(super) struct Wait(Instant);

impl Wait {
    pub(super) fn of(most: Duration) -> Self {
        Self(clock::now() + most)
    }

    /// Starts the wait again from now.
    pub(super) fn renew(&mut self, most: Duration) {
        self.0 = clock::now() + most;
    }

    /// Checks that time is left, and that the awaited event can still come.
    pub(super) fn check(&self, events: &Events, what: &str) -> Result<(), ReplicaError> {
        events.check()?;
        if self.0 <= clock::now() {
            return Err(ReplicaError::Unavailable {
                what: format!("no answer of a broker in time: {what}"),
                source: None,
            });
        }
        Ok(())
    }
}

/// Which transactions a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// The client sees committed records, up to the first open transaction.
    Committed,
    /// The client sees all records, including those of aborted and open transactions.
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
        // The client never joins this group. librdkafka requires a name to read an assigned
        // partition.
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

    /// Nobody listens on this port, because only root may.
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
    fn a_reason_outlives_its_attempt_and_without_one_librdkafkas_words_are_reported() {
        let events = Events::of(&target());
        let report = |code, words| events.error(KafkaError::Global(code), words);
        let said = || events.check().unwrap_err().to_string();
        let down = || report(Code::AllBrokersDown, "1/1 brokers are down");
        down();
        assert!(said().ends_with("127.0.0.1:1: 1/1 brokers are down"));
        report(Code::BrokerTransportFailure, "refused");
        let whole = "127.0.0.1:1: 1/1 brokers are down; of the last connection: refused";
        assert!(said().ends_with(whole));
        events.begin();
        events.check().unwrap();
        down();
        assert!(said().ends_with(whole));
    }
}
