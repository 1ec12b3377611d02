//! Where a ledger gets its time from: the one place of this crate that reads a clock.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

/// Wall time for the cosignature, monotonic time for deciding when a checkpoint is due.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Seconds since 1970 (UTC). May jump, stand still or be wrong: it is written down, nothing depends on it.
    fn unix_s(&self) -> u64;

    /// Time since some fixed moment of this process. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
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
    fn unix_s(&self) -> u64 {
        // A clock before 1970 reads as 1970: a wrong time must not stop the log.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
