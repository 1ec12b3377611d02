//! Calls of the sink. A call catches the sink's panics, and ends if the pipeline gives up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use livetrail_record::AuditRecord;
use tokio::runtime::Runtime;

use crate::error::SinkError;
use crate::pipeline::shared::{HUNG_AFTER, Shared};
use crate::pipeline::sync::Ordering;
use crate::sink::PanickedWrites;

/// The result of a call of the sink.
pub(super) enum Called<T> {
    /// The call returned this value.
    Done(T),
    /// The pipeline gave up before the call returned.
    GivenUp,
    /// The call panicked. The value has the writes that panicked, if the sink reports them.
    Panicked(Option<PanickedWrites>),
}

/// The sink, and the runtime in which it is called.
pub(super) struct SinkCall {
    shared: Arc<Shared>,
    runtime: Runtime,
}

impl SinkCall {
    pub(super) const fn new(shared: Arc<Shared>, runtime: Runtime) -> Self {
        Self { shared, runtime }
    }

    pub(super) fn write_batch(&self, records: Vec<AuditRecord>) -> Called<()> {
        // The call is inside the future, so a panic before the first await is caught, too.
        let sink = &self.shared.sink;
        self.call(async move { sink.write_batch(records).await })
    }

    pub(super) fn flush(&self) -> Called<Result<(), SinkError>> {
        let sink = &self.shared.sink;
        self.call(async move { sink.flush().await })
    }

    /// Ends the runtime at once. Tasks that the sink left running must not delay the end.
    pub(super) fn shutdown(self) {
        self.runtime.shutdown_background();
    }

    /// Runs a call of the sink to its end, or until the pipeline gives up. Catches and counts a
    /// panic.
    fn call<T>(&self, call: impl Future<Output = T>) -> Called<T> {
        if self.shared.abort.load(Ordering::Acquire) {
            return Called::GivenUp;
        }
        self.shared.set_busy(true);
        let shared = &self.shared;
        let run = AssertUnwindSafe(|| self.runtime.block_on(watched(shared, call)));
        let result = catch_unwind(run);
        self.shared.set_busy(false);
        match result {
            Ok(Some(value)) => Called::Done(value),
            Ok(None) => Called::GivenUp,
            Err(payload) => {
                let writes = payload
                    .downcast::<PanickedWrites>()
                    .ok()
                    .map(|writes| *writes);
                let panics = writes
                    .as_ref()
                    .map_or(1, |PanickedWrites(places)| places.len());
                self.shared
                    .sink_panics
                    .fetch_add(panics as u64, Ordering::Relaxed);
                tracing::error!(panics, "the audit sink panicked");
                Called::Panicked(writes)
            }
        }
    }
}

/// Waits for the sink. Logs if that takes long, and gives up if the pipeline does.
async fn watched<T>(shared: &Shared, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut slow = pin!(tokio::time::sleep(HUNG_AFTER));
    let mut logged = false;
    loop {
        tokio::select! {
            biased;
            value = &mut call => return Some(value),
            () = shared.abort_signal.notified() => return None,
            () = &mut slow, if !logged => {
                logged = true;
                tracing::error!("the audit sink has not answered for one second");
            }
        }
    }
}
