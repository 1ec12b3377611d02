//! Calls of a sink: a panic becomes an error, and an error one line.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::error::ReplicaError;

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
