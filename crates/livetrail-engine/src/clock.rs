//! The one place that reads the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Where an engine gets its time from. Wall time is for showing, monotonic time for deciding.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970 (UTC). May jump.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed moment of this process. Never goes back.
    fn monotonic(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn unix_ms(&self) -> u64 {
        (**self).unix_ms()
    }
    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

/// The operating system's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    fn unix_ms(&self) -> u64 {
        // A clock before 1970 reads as 1970: a wrong time must not stop a stream.
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is told to move: an hour of a test passes in no time. Clones share it.
#[derive(Debug, Clone)]
pub struct ManualClock {
    unix_ms_at_zero: u64,
    monotonic_us: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock at `unix_ms` milliseconds since 1970.
    #[must_use]
    pub fn at(unix_ms: u64) -> Self {
        Self {
            unix_ms_at_zero: unix_ms,
            monotonic_us: Arc::default(),
        }
    }

    /// Moves both times forward, in whole microseconds; not beyond 2^64 of them.
    pub fn advance(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        let advanced = |now: u64| Some(now.saturating_add(us));
        let _ = self
            .monotonic_us
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, advanced);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms_at_zero
            .saturating_add(self.monotonic_us.load(Ordering::SeqCst) / 1_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.load(Ordering::SeqCst))
    }
}
