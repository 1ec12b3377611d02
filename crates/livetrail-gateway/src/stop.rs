//! The signal that a gateway stops.

use tokio::sync::watch;

/// Signals a connection that its gateway stops. Cloning gives another handle to the same signal.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// The signal and its sender.
    pub(crate) fn channel() -> (watch::Sender<bool>, Self) {
        let (stop, stopping) = watch::channel(false);
        (stop, Self(stopping))
    }

    /// Completes when the gateway stops; at once if it has stopped.
    ///
    /// Cancel safe: clone the signal before, to wait again. Needs no runtime.
    pub async fn wait(mut self) {
        // A gateway that no longer exists has stopped as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
