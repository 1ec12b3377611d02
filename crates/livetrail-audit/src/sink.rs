//! Where records go.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;

use async_trait::async_trait;
use livetrail_record::AuditRecord;

use crate::error::SinkError;

/// A destination for audit records. The host supplies one; [`AuditPipeline`](crate::AuditPipeline) calls it from a thread of
/// its own, one call at a time, in the order of the trail.
///
/// A sink's failures are its own concern: it retries and buffers as it sees fit, within a bound. While it waits the
/// pipeline's queue fills, and then records are dropped, counted and reported. A panic is caught and counted.
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
    /// When `write` panicked for a record, after the others were written; the panic's payload is [`PanickedWrites`].
    async fn write_batch(&self, records: Vec<AuditRecord>) {
        let mut panicked = 0;
        for record in records {
            let mut write = pin!(self.write(record));
            let finished = std::future::poll_fn(|context| {
                match catch_unwind(AssertUnwindSafe(|| write.as_mut().poll(context))) {
                    Ok(Poll::Ready(())) => Poll::Ready(true),
                    Ok(Poll::Pending) => Poll::Pending,
                    Err(_) => Poll::Ready(false),
                }
            });
            if !finished.await {
                panicked += 1;
            }
        }
        if panicked > 0 {
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

    /// Whether room is getting short, so that what is worth least is to be left out: see
    /// [`AuditPipelineBuilder::sheds`](crate::AuditPipelineBuilder::sheds). Asked once a batch; it must not block.
    fn short_of_room(&self) -> bool {
        false
    }

    /// What is wrong with the sink now, if anything. Health checks ask it; it must not block.
    fn failing(&self) -> Option<SinkError> {
        None
    }
}

/// How many writes of a batch panicked; all others were carried out. The payload of the panic of
/// [`AuditSink::write_batch`] where that is not overridden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanickedWrites(pub u64);
