//! The ordered stop of an engine, within a deadline.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, atomic::Ordering::SeqCst},
    task::Poll,
    time::Duration,
};

use crate::{
    engine::{Engine, Inner},
    event::{Reason, Role},
    janitor,
    lifecycle::SessionCore,
    timers::{Outcome, Purpose},
};

/// The interval between two checks whether sessions and attempts are over.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

impl Engine {
    /// Stops the engine within `deadline` from now. It refuses attempts (`server_shutdown`),
    /// including those that wait for an authenticator or a gate. It ends all sessions
    /// (`server_shutdown`), viewers before publishers. It then lets observers flush, all at once.
    ///
    /// Returns true if all of that was done in time. A thread of the engine ends the sessions, and
    /// continues after the deadline; a quarter of the time is reserved for flushing. No runtime is
    /// needed.
    ///
    /// If the future is dropped after its first poll, the engine continues to refuse attempts and
    /// to end its sessions, but does not let observers flush. A second call does all steps again.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let inner = &self.inner;
        let began = inner.timers.now();
        let left = |part: Duration| part.saturating_sub(inner.timers.now().saturating_sub(began));
        inner.stopping.store(true, SeqCst);
        let cores = {
            let mut registry = inner.registry();
            registry.closed = true;
            registry.in_order()
        };
        refuse_waiting(inner);
        end_all(inner, cores);
        let for_ends = deadline - deadline / 4;
        let over = inner.within(left(for_ends), inner.until_over()).await;
        let flushed = inner.within(left(deadline), inner.observers.flush()).await;
        over && flushed
    }
}

/// Refuses the attempts that wait for an authenticator, or for their turn.
fn refuse_waiting(inner: &Inner) {
    for ticket in inner.timers.stop() {
        match &ticket.purpose {
            Purpose::Attempt(context, _) => {
                janitor::stop_attempt(inner, &ticket, context, Reason::ServerShutdown);
            }
            Purpose::Sleep => {
                ticket.settle(Outcome::Came);
            }
            // Its session is ended with the others.
            Purpose::Gate(..) => {}
        }
        ticket.wake();
    }
}

/// Ends all sessions in the order of their starts, so that the trail of an end reads like that of a
/// beginning. Viewers end first, because they would otherwise end with their stream.
fn end_all(inner: &Arc<Inner>, cores: Vec<Arc<SessionCore>>) {
    if cores.is_empty() {
        return;
    }
    let cores = Arc::new(cores);
    let on_thread = (inner.clone(), cores.clone());
    // Observers get each event. That may take longer than the deadline, and must not keep a runtime
    // from its other tasks.
    let spawned = std::thread::Builder::new()
        .name("livetrail-stop".to_owned())
        .spawn(move || end_in_order(&on_thread.0, &on_thread.1));
    if let Err(error) = spawned {
        tracing::warn!(%error, "cannot start a thread to end the sessions; ending them here");
        end_in_order(inner, &cores);
    }
}

fn end_in_order(inner: &Inner, cores: &[Arc<SessionCore>]) {
    for role in [Role::Play, Role::Publish] {
        for core in cores.iter().filter(|core| core.context.role == role) {
            core.end(Reason::ServerShutdown);
        }
    }
    // No publisher will come.
    let kept = inner.registry().kept.take_all();
    for stream in kept {
        stream.close();
    }
}

impl Inner {
    /// Ready when no attempt is being decided and no session is left.
    async fn until_over(self: &Arc<Self>) {
        while self.deciding.load(SeqCst) > 0 || !self.registry().sessions.is_empty() {
            self.sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether `what` is done in time. It is started in any case.
    async fn within(self: &Arc<Self>, time: Duration, what: impl Future<Output = ()>) -> bool {
        let mut what = std::pin::pin!(what);
        let mut late = std::pin::pin!(self.sleep(time));
        poll_fn(|cx| {
            if what.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            late.as_mut().poll(cx).map(|()| false)
        })
        .await
    }
}
