//! Runs work that may wait for a disk away from the runtime's threads.

use livetrail_replica::ReplicaError;

/// Runs work that may block on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReplicaError> + Send + 'static,
) -> Result<T, ReplicaError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => Err(ReplicaError::Panicked {
            what: error.to_string(),
        }),
        Err(error) => Err(ReplicaError::unavailable(
            "the runtime is shutting down",
            error,
        )),
    }
}
