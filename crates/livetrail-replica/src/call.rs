//! Calls of a sink: they come one at a time, a panic becomes an error, and an error one line.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::ReplicaError;

/// The turns of a sink, which several loops call.
#[derive(Clone)]
pub(crate) struct Turns {
    /// Held during each call.
    turn: Arc<Mutex<()>>,
    /// The deadline of each call.
    after: Duration,
}

impl Turns {
    pub(crate) fn new(after: Duration) -> Self {
        Self {
            turn: Arc::default(),
            after,
        }
    }

    /// Calls the sink with a deadline, when no other call of it runs. A panic in the sink becomes
    /// an error.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ReplicaError>>,
    ) -> Result<T, ReplicaError> {
        let _turn = self.turn.lock().await;
        let after = self.after;
        timeout(after, caught(call))
            .await
            .unwrap_or(Err(ReplicaError::TimedOut { after }))
    }
}

/// Runs work that may block on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReplicaError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ReplicaError::unavailable("the runtime is shutting down", error))
}

/// Turns a panic of the sink into an error: it must not end the replicator.
pub(crate) async fn caught<T>(
    call: impl Future<Output = Result<T, ReplicaError>>,
) -> Result<T, ReplicaError> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)))
            .unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic.as_ref()))))
    })
    .await
}

fn panicked(panic: &(dyn Any + Send)) -> ReplicaError {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    ReplicaError::Panicked {
        what: words.unwrap_or_else(|| "nothing".to_owned()),
    }
}

/// The error and its causes, in one line.
pub(crate) fn chain(error: &ReplicaError) -> String {
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
