//! Deadlines that need no runtime. The first deadline starts one thread, which ends every wait that
//! takes longer than its deadline.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use livetrail_clock::{Clock as _, SystemClock};
use tokio::sync::oneshot;

use super::lock::lock;

/// How long the thread stays if there are no deadlines.
const IDLE: Duration = Duration::from_secs(10);

/// The deadlines that have not passed, by time and then by the order of the calls. There are as
/// many as waiting sessions.
#[derive(Debug)]
pub(crate) struct Timer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: SystemClock,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    asked: u64,
    is_running: bool,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                clock: SystemClock::new(),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
        }
    }

    /// Returns the future's result, or `None` if it takes longer than the deadline. Works in every
    /// runtime and outside one.
    ///
    /// A deadline after the end of time means no deadline. If the operating system provides no
    /// thread, this does not wait.
    pub(crate) async fn within<T>(
        &self,
        deadline: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(at) = self.inner.clock.monotonic().checked_add(deadline) else {
            return Some(future.await);
        };
        let mut over = self.at(at);
        let mut future = std::pin::pin!(future);
        tokio::select! {
            biased;
            value = &mut future => Some(value),
            _ = &mut over => None,
        }
    }

    /// Returns a receiver that ends at this time.
    fn at(&self, at: Duration) -> oneshot::Receiver<()> {
        let (sender, over) = oneshot::channel();
        let mut state = lock(&self.inner.state);
        // Deadlines of waits that have ended are removed before their time.
        state.waiting.retain(|_, sender| !sender.is_closed());
        state.asked += 1;
        let key = (at, state.asked);
        state.waiting.insert(key, sender);
        if !state.is_running {
            let inner = Arc::clone(&self.inner);
            let thread = std::thread::Builder::new()
                .name("audit-deadline".to_owned())
                .spawn(move || inner.run());
            state.is_running = thread.is_ok();
            if !state.is_running {
                // Dropping the senders ends the waits.
                state.waiting.clear();
            }
        }
        drop(state);
        self.inner.changed.notify_one();
        over
    }
}

impl Inner {
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            let now = self.clock.monotonic();
            while let Some(first) = state.waiting.first_entry()
                && first.key().0 <= now
            {
                let _ = first.remove().send(());
            }
            let pause = match state.waiting.first_key_value() {
                Some(((at, _), _)) => at.saturating_sub(now),
                None => IDLE,
            };
            let (next, waited) = self
                .changed
                .wait_timeout(state, pause)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && state.waiting.is_empty() {
                state.is_running = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                std::task::Poll::Ready(value) => return value,
                std::task::Poll::Pending => std::thread::park(),
            }
        }
    }

    #[test]
    fn a_deadline_passes_without_a_runtime_and_what_is_faster_is_not_held_up() {
        let timer = Timer::new();
        let never = std::future::pending::<()>;
        assert_eq!(
            block_on(timer.within(Duration::from_millis(5), never())),
            None
        );
        let at_once = std::future::ready(7);
        let long = Duration::from_secs(3_600);
        assert_eq!(block_on(timer.within(long, at_once)), Some(7));
        let at_once = std::future::ready(7);
        assert_eq!(block_on(timer.within(Duration::MAX, at_once)), Some(7));
        // The longer deadline was requested first and does not delay the shorter one.
        let mut longer = std::pin::pin!(timer.within(long, never()));
        block_on(async {
            tokio::select! {
                biased;
                over = &mut longer => panic!("{over:?}"),
                over = timer.within(Duration::from_millis(5), never()) => assert_eq!(over, None),
            }
        });
    }
}
