//! What librdkafka tells beside its answers, and how long we listen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livetrail_audit::replica::ReplicaError;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::time::Instant;

use super::error;
use super::target::KafkaTarget;

/// How often a wait looks whether it makes sense to wait on.
pub(super) const SLICE: Duration = Duration::from_millis(20);

/// The longest that one answer of a broker is waited for.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// What came beside the answers of one client. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Events(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// No broker can be reached, and the newest reason.
    down: bool,
    reason: String,
    /// We are not let in, or do not believe who answers.
    refused: Option<(Code, String)>,
    /// The first record that was not taken.
    undelivered: Option<Code>,
}

impl Events {
    /// Forgets what was before: connections that broke while nobody asked are made anew by themselves.
    pub(super) fn begin(&self) {
        *self.seen() = Seen::default();
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
        if seen.down {
            return Err(ReplicaError::Unavailable {
                what: format!("no broker can be reached: {}", seen.reason),
                source: None,
            });
        }
        Ok(())
    }

    /// Why the first record was not taken that was not.
    pub(super) fn undelivered(&self) -> Option<Code> {
        self.seen().undelivered
    }

    /// Whether everything that was sent was taken.
    pub(super) fn check_delivered(&self) -> Result<(), ReplicaError> {
        match self.undelivered() {
            Some(code) => Err(error::of_code(code, "a record was not taken")),
            None => Ok(()),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            Code::AllBrokersDown => seen.down = true,
            _ if error::is_refusal(code, reason) => {
                seen.refused
                    .get_or_insert_with(|| (code, reason.to_owned()));
            }
            _ => reason.clone_into(&mut seen.reason),
        }
    }
}

impl ConsumerContext for Events {}

impl ProducerContext for Events {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
            self.seen().undelivered.get_or_insert(code);
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

/// A client that reads what is committed, from where it is told to.
pub(super) fn consumer(
    target: &KafkaTarget,
    events: &Events,
) -> Result<BaseConsumer<Events>, ReplicaError> {
    let mut config = target.config();
    config
        // It never joins: librdkafka wants a name here to read a partition that it is told.
        .set("group.id", "livetrail")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "10")
        .set("queued.max.messages.kbytes", "16384");
    config
        .create_with_context(events.clone())
        .map_err(|error| error::of(error, "a client that reads cannot be made"))
}
