//! A deadline that needs no runtime: one thread, started with the first, ends what waits for longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use livetrail_clock::{Clock as _, SystemClock};
use tokio::sync::oneshot;

use super::shared::lock;

/// How long the thread stays when nothing waits.
const IDLE: Duration = Duration::from_secs(10);

/// Deadlines that have not passed, by the time and in the order of asking. There are as many as sessions that wait.
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

    /// Gives what the future gives, or `None` when it takes longer. Works in every runtime and in none.
    ///
    /// A deadline after the end of time means no deadline. Where the operating system gives no
    /// thread, nothing is waited for.
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

    /// Ends when the time has come.
    fn at(&self, at: Duration) -> oneshot::Receiver<()> {
        let (sender, over) = oneshot::channel();
        let mut state = lock(&self.inner.state);
        // Those that have their answer are not kept until their time.
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
                // Dropping the sender is the answer.
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
        // The shorter one is not held up by the longer one that was asked for before.
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
