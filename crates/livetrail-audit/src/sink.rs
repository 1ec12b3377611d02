//! Destinations of records.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use livetrail_clock::Clock;
use livetrail_record::AuditRecord;

use crate::error::SinkError;

/// A destination for audit records. The host supplies one. [`AuditPipeline`](crate::AuditPipeline)
/// calls it from a thread of its own, one call at a time, in the order of the trail.
///
/// A sink handles its own failures: it retries and buffers as it decides, within a bound. While it
/// waits, the pipeline's queue fills, and then records are dropped, counted and reported. The
/// pipeline catches and counts a panic, and reports the records that the panic cost like dropped
/// ones.
///
/// A sink gets each record whole: with principal, address and program. A sink that cannot erase
/// must not store them. [`LedgerSink`](crate::LedgerSink) stores commitments in their place, if it
/// is opened with [`Openings`](crate::Openings).
///
/// The calls run in a tokio runtime that belongs to the pipeline's thread (current-thread, with
/// timers and I/O). So nothing is lost if the host's runtime shuts down first.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use async_trait::async_trait;
/// use livetrail_audit::{AuditPipeline, AuditRecord, AuditSink, Audited as _, Policy};
/// use livetrail_engine::{AppSpec, Attempt, Engine, StreamKey};
///
/// /// Keeps the actions of the latest records.
/// #[derive(Default)]
/// struct Latest(Mutex<Vec<String>>);
///
/// #[async_trait]
/// impl AuditSink for Latest {
///     async fn write(&self, record: AuditRecord) {
///         let mut actions = self.0.lock().unwrap();
///         actions.push(record.action.to_string());
///         // A sink keeps within a bound: this one forgets.
///         let excess = actions.len().saturating_sub(100);
///         actions.drain(..excess);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sink = Arc::new(Latest::default());
/// let pipeline = Arc::new(AuditPipeline::new(sink.clone(), 1_024));
/// let engine = Engine::builder()
///     .application(AppSpec::new("live"))
///     .audit(&pipeline, Policy::default())
///     .build()?;
/// drop(engine.publish(Attempt::new(StreamKey::parse("live", "cam")?, "example")).await?);
/// pipeline.close().await;
/// assert_eq!(*sink.0.lock().unwrap(), ["publish_started", "publish_ended"]);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait AuditSink: Send + Sync + 'static {
    /// Accepts one record.
    async fn write(&self, record: AuditRecord);

    /// Accepts several records in order. The pipeline passes at most 1,024. By default this calls
    /// [`write`](Self::write) for each record.
    ///
    /// # Panics
    /// This panics if `write` panicked for a record, after it has written the other records. The
    /// payload is [`PanickedWrites`]. After a panic with another payload, the pipeline assumes that
    /// none of the batch is written.
    async fn write_batch(&self, records: Vec<AuditRecord>) {
        let mut panicked = Vec::new();
        for (at, record) in records.into_iter().enumerate() {
            let mut write = pin!(self.write(record));
            let finished = std::future::poll_fn(|context| {
                match catch_unwind(AssertUnwindSafe(|| write.as_mut().poll(context))) {
                    Ok(Poll::Ready(())) => Poll::Ready(true),
                    Ok(Poll::Pending) => Poll::Pending,
                    Err(_) => Poll::Ready(false),
                }
            });
            if !finished.await {
                panicked.push(at);
            }
        }
        if !panicked.is_empty() {
            resume_unwind(Box::new(PanickedWrites(panicked)));
        }
    }

    /// Returns when all accepted records are durable, as far as this sink knows.
    ///
    /// # Errors
    /// The records are not durable, or not yet. The pipeline then refuses strict sessions.
    async fn flush(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether space is getting short, so that the least important records should be dropped. It
    /// must not block.
    fn short_of_room(&self) -> bool {
        false
    }

    /// Whether there is space for records of this class. The pipeline asks before each batch; this
    /// must not block.
    ///
    /// If there is no space, the sink does not get these records. The pipeline drops, counts and
    /// reports refusals and best-effort starts. It holds the others, within the queue's capacity,
    /// until there is space. The sink always gets essential records.
    ///
    /// By default a sink that is [short of space](Self::short_of_room) accepts neither refusals nor
    /// best-effort starts.
    fn takes(&self, class: RecordClass) -> bool {
        class >= RecordClass::Strict || !self.short_of_room()
    }

    /// The clock of the sink's destination, if it has one. It is the pipeline's clock by default.
    fn clock(&self) -> Option<Arc<dyn Clock>> {
        None
    }

    /// The current error of the sink, if there is one. Health checks call this; it must not block.
    fn failing(&self) -> Option<SinkError> {
        None
    }
}

/// The importance of a record if space is short, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RecordClass {
    /// A refused attempt, or a record that stands for many of them. Strangers can cause these
    /// without end.
    Refusal,
    /// The start of a session under a best-effort policy, and repeated events in sessions.
    BestEffort,
    /// The start of a session under a strict policy, and a host's own records.
    Strict,
    /// The end of a session that is on record, boots, losses, heartbeats, and operators' actions.
    Essential,
}

/// The writes of a batch that panicked, by their positions from 0. All other writes were done.
///
/// This is the payload of the panic in the default [`AuditSink::write_batch`]. An own
/// implementation may use it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanickedWrites(pub Vec<usize>);
