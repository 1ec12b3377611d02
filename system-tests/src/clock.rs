//! The only module of the harness that reads clocks, and the only way to wait: for a condition,
//! with a deadline.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A stopwatch that runs since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests measure and bound real time; this is their clock module"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has run.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Milliseconds since 1970 UTC.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests compare records with real time; this is their clock module"
)]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Checks until `condition` gives something. Returns `None` if it does not within `timeout`.
pub fn poll<T>(timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let watch = Stopwatch::start();
    loop {
        // The time is read first, so that a condition that becomes true during the check still
        // counts.
        let late = watch.elapsed() >= timeout;
        if let Some(found) = condition() {
            return Some(found);
        }
        if late {
            return None;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Checks until `condition` gives something.
///
/// # Panics
/// When it does not within `timeout`; the message says `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, condition: impl FnMut() -> Option<T>) -> T {
    match poll(timeout, condition) {
        Some(found) => found,
        None => panic!("waited {timeout:?} in vain: {what}"),
    }
}

/// Checks until `condition` holds.
///
/// # Panics
/// When it does not within `timeout`; the message says `what` was waited for.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, timeout, || condition().then_some(()));
}
