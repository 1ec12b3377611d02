//! The runtime's clock: this module alone reads it.
//!
//! Waits are bounded by it, so a test that pauses the runtime's time passes an hour in no time. The
//! time that is recorded or compared with other processes comes from a
//! [`Clock`](livetrail_engine::Clock).

use tokio::time::Instant;

/// The runtime's time now.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
