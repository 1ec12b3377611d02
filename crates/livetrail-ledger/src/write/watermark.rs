//! A number that only grows. A thread, or a task in any async runtime, can wait for a value.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::error::{Fatal, WaitError};

/// A counter of progress: this many entries are durable, or sealed.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    value: AtomicU64,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// The waiters: at most one waker per living future, none for a thread.
#[derive(Debug, Default)]
struct Waiting {
    /// By the awaited value, then by waiter.
    wakers: BTreeMap<(u64, u64), Waker>,
    next_id: u64,
    threads: usize,
    end: Option<End>,
}

/// Why it will no longer grow.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Closed,
    Stopped(Arc<Fatal>),
}

impl From<End> for WaitError {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self::Closed,
            End::Stopped(fatal) => Self::Stopped(fatal),
        }
    }
}

impl Watermark {
    pub(crate) fn new(value: u64) -> Self {
        Self {
            value: AtomicU64::new(value),
            ..Self::default()
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Grows to `value` and wakes those who waited for at most that.
    pub(crate) fn advance(&self, value: u64) {
        let mut waiting = self.waiting();
        self.value.store(value, Ordering::Release);
        let later = waiting.wakers.split_off(&(value.saturating_add(1), 0));
        let woken = std::mem::replace(&mut waiting.wakers, later);
        let threads = waiting.threads;
        drop(waiting);
        for waker in woken.into_values() {
            waker.wake();
        }
        if threads > 0 {
            self.changed.notify_all();
        }
    }

    /// Ends the growth and wakes all waiters.
    pub(crate) fn end(&self, end: End) {
        let mut waiting = self.waiting();
        waiting.end.get_or_insert(end);
        let woken = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        for waker in woken.into_values() {
            waker.wake();
        }
        self.changed.notify_all();
    }

    /// Blocks this thread until the value is at least `target`, or the timeout is over.
    pub(crate) fn wait(&self, target: u64, timeout: Duration) -> Result<(), WaitError> {
        let mut waiting = self.waiting();
        waiting.threads = waiting.threads.saturating_add(1);
        let (mut waiting, late) = self
            .changed
            .wait_timeout_while(waiting, timeout, |waiting| {
                self.get() < target && waiting.end.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.threads = waiting.threads.saturating_sub(1);
        if self.get() >= target {
            return Ok(());
        }
        match waiting.end.clone() {
            Some(end) => Err(end.into()),
            None => {
                debug_assert!(late.timed_out());
                Err(WaitError::TimedOut)
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when this many entries are durable, or sealed. Works in any runtime; dropping it only
/// stops the waiting.
///
/// It has no deadline: use the runtime's timeout. Do not poll it again after it has resolved.
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Reached {
    watermark: Arc<Watermark>,
    target: u64,
    /// The key of this future's waker.
    id: Option<u64>,
}

impl Reached {
    pub(crate) const fn new(watermark: Arc<Watermark>, target: u64) -> Self {
        Self {
            watermark,
            target,
            id: None,
        }
    }
}

impl Future for Reached {
    type Output = Result<(), WaitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.watermark.get() >= this.target {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = this.watermark.waiting();
        // Checked again, now that no advance can be missed.
        if this.watermark.get() >= this.target {
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = waiting.end.clone() {
            return Poll::Ready(Err(end.into()));
        }
        let id = *this.id.get_or_insert_with(|| {
            waiting.next_id = waiting.next_id.wrapping_add(1);
            waiting.next_id
        });
        waiting.wakers.insert((this.target, id), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.watermark.waiting().wakers.remove(&(self.target, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicUsize, task::Wake, thread};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_future_is_woken_when_its_target_is_reached_and_not_before() {
        let watermark = Arc::new(Watermark::new(0));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut reached = Reached::new(Arc::clone(&watermark), 5);
        assert!(Pin::new(&mut reached).poll(&mut cx).is_pending());
        watermark.advance(4);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        watermark.advance(5);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(matches!(
            Pin::new(&mut reached).poll(&mut cx),
            Poll::Ready(Ok(()))
        ));
    }

    #[test]
    fn a_dropped_future_leaves_nothing_behind() {
        let watermark = Arc::new(Watermark::new(0));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            let mut reached = Reached::new(Arc::clone(&watermark), 5);
            assert!(Pin::new(&mut reached).poll(&mut cx).is_pending());
        }
        assert!(watermark.waiting().wakers.is_empty());
    }

    #[test]
    fn the_end_wakes_everybody_with_its_reason() {
        let watermark = Arc::new(Watermark::new(3));
        let waiter = {
            let watermark = Arc::clone(&watermark);
            thread::spawn(move || watermark.wait(9, Duration::from_secs(60)))
        };
        watermark.end(End::Stopped(Arc::new(Fatal::Panicked)));
        assert!(matches!(waiter.join().unwrap(), Err(WaitError::Stopped(_))));
        assert!(
            watermark.wait(3, Duration::ZERO).is_ok(),
            "what is reached is reached"
        );
    }

    #[test]
    fn a_thread_gives_up_after_its_time() {
        let watermark = Watermark::new(0);
        assert!(matches!(
            watermark.wait(1, Duration::from_millis(1)),
            Err(WaitError::TimedOut)
        ));
    }
}
