//! Where records go.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use livetrail_clock::Clock;
use livetrail_record::AuditRecord;

use crate::error::SinkError;

/// A destination for audit records. The host supplies one; [`AuditPipeline`](crate::AuditPipeline) calls it from a thread of
/// its own, one call at a time, in the order of the trail.
///
/// A sink's failures are its own concern: it retries and buffers as it sees fit, within a bound. While it waits the
/// pipeline's queue fills, and then records are dropped, counted and reported. A panic is caught and counted, and the records
/// that it cost are reported like dropped ones.
///
/// The calls run in a tokio runtime that belongs to the pipeline's thread (current-thread, with timers and I/O), so that
/// nothing is lost when the host's runtime shuts down first.
#[async_trait]
pub trait AuditSink: Send + Sync + 'static {
    /// Takes one record.
    async fn write(&self, record: AuditRecord);

    /// Takes several, in order: at most 1,024 from the pipeline. Calls [`write`](Self::write) for each unless overridden.
    ///
    /// # Panics
    /// When `write` panicked for a record, after the others were written; the panic's payload is [`PanickedWrites`]. After a panic
    /// with another payload, none of the batch is taken to be written.
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

    /// Returns when everything that was taken is durable, as far as this sink can say.
    ///
    /// # Errors
    /// When it cannot be, or not yet: strict sessions are refused then.
    async fn flush(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether room is getting short, so that what is worth least is to be left out. It must not block.
    fn short_of_room(&self) -> bool {
        false
    }

    /// Whether there is room for records of this class. Asked before each batch; it must not block. What there is no room for is not
    /// handed over: refusals and best-effort starts are dropped, counted and reported; the others are held, within the
    /// queue's capacity, until there is room. Essential records are always handed over.
    ///
    /// Unless overridden, a sink that is [short of room](Self::short_of_room) takes neither refusals nor best-effort starts.
    fn takes(&self, class: RecordClass) -> bool {
        class >= RecordClass::Strict || !self.short_of_room()
    }

    /// The clock of what the sink writes to, if it has one: the pipeline's by default.
    fn clock(&self) -> Option<Arc<dyn Clock>> {
        None
    }

    /// What is wrong with the sink now, if anything. Health checks ask it; it must not block.
    fn failing(&self) -> Option<SinkError> {
        None
    }
}

/// How much a record is worth when room is short, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordClass {
    /// A refused attempt, or what many of them were made into: strangers can cause these without end.
    Refusal,
    /// How a session begins under a best-effort policy, and what happens in sessions again and again.
    BestEffort,
    /// How a session begins under a strict policy, and what a host records.
    Strict,
    /// How a session ends that is on record, boots, losses, heartbeats, what operators did.
    Essential,
}

/// Which writes of a batch panicked, by their places in it, from 0; all others were carried out. The payload of the panic of
/// [`AuditSink::write_batch`] where that is not overridden, and of one that wants to say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanickedWrites(pub Vec<usize>);
