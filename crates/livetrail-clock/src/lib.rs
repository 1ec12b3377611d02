//! The one place that reads the time.
//!
//! A host gives one [`Clock`] to the engine, the audit pipeline, the ledger and the replicas, so
//! that all of them have the same time. [`SystemClock`] is the operating system's,
//! [`ManualClock`] is for tests.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// A source of time. Wall time is for showing, monotonic time for deciding.
///
/// A clock of the host's own, whose wall time is a time server's and not the machine's:
///
/// ```
/// use std::time::Duration;
/// use livetrail_clock::{Clock, ManualClock};
///
/// struct Corrected<C> {
///     clock: C,
///     ahead_ms: u64,
/// }
///
/// impl<C: Clock> Clock for Corrected<C> {
///     fn unix_ms(&self) -> u64 {
///         self.clock.unix_ms().saturating_sub(self.ahead_ms)
///     }
///
///     fn monotonic(&self) -> Duration {
///         self.clock.monotonic()
///     }
/// }
///
/// let machine = ManualClock::at(10_000);
/// let clock = Corrected { clock: machine.clone(), ahead_ms: 2_500 };
/// assert_eq!((clock.unix_ms(), clock.unix_s()), (7_500, 7));
/// machine.advance(Duration::from_secs(3_600));
/// assert_eq!((clock.unix_s(), clock.monotonic()), (3_607, Duration::from_secs(3_600)));
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970 (UTC). May jump, stand still or be wrong.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed moment of this process. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Seconds since 1970 (UTC): [`unix_ms`](Self::unix_ms), rounded down.
    fn unix_s(&self) -> u64 {
        self.unix_ms() / 1_000
    }
}

/// Shows the wall time, so that structures with a clock can derive `Debug`.
impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.unix_ms()).finish()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn unix_ms(&self) -> u64 {
        (**self).unix_ms()
    }
    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
    fn unix_s(&self) -> u64 {
        (**self).unix_s()
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

/// A clock that stands still until [`advance`](Self::advance) moves it, so that an hour of a test
/// passes in no time. Clones share it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_and_its_clones_move_together_and_only_by_advance() {
        let clock = ManualClock::at(1_999);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        assert_eq!((shared.unix_ms(), shared.unix_s()), (1_999, 1));
        clock.advance(Duration::from_micros(1_500));
        assert_eq!((shared.unix_ms(), shared.unix_s()), (2_000, 2));
        assert_eq!(shared.monotonic(), Duration::from_micros(1_500));
        assert_eq!(format!("{shared:?}"), "Clock(2000)");
    }

    #[test]
    fn a_manual_clock_stops_at_its_end_and_does_not_wrap() {
        let clock = ManualClock::at(u64::MAX);
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.unix_ms(), u64::MAX);
        assert_eq!(clock.monotonic(), Duration::from_micros(u64::MAX));
    }

    #[test]
    fn the_systems_clock_agrees_with_itself() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert!(
            clock.unix_s() > 1_700_000_000,
            "it is later than November 2023"
        );
        assert!(clock.monotonic() >= before);
    }
}
