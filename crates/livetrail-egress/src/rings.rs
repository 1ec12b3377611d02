//! The io_uring rings of one egress's sender threads.

use std::{
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use livetrail_uring::Ring;
use tracing::{debug, info};

/// A thread whose ring was refused goes without one for this long, then for twice as long after
/// each further refusal, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether the threads of one egress write by io_uring, and how many do.
#[derive(Debug)]
pub(crate) struct Rings {
    name: String,
    wanted: bool,
    /// The number of threads that have a ring.
    in_use: AtomicUsize,
    logged: Once,
    /// The first pause after the kernel refused a ring.
    pub(crate) first_pause: Duration,
}

impl Rings {
    pub(crate) fn new(name: &str, wanted: bool) -> Self {
        Self {
            name: name.to_owned(),
            wanted,
            in_use: AtomicUsize::new(0),
            logged: Once::new(),
            first_pause: FIRST_PAUSE,
        }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// A ring for the calling thread. The outcome is the same for all threads, so it is logged
    /// once. `Err` says whether a ring may be available later.
    pub(crate) fn open(&self) -> Result<Ring, bool> {
        if !self.wanted {
            return Err(false);
        }
        match Ring::new() {
            Ok(ring) => {
                let name = &self.name;
                self.logged
                    .call_once(|| debug!(name, "io_uring works: one system call for many viewers"));
                self.in_use.fetch_add(1, Ordering::Relaxed);
                Ok(ring)
            }
            Err(error) => {
                let passing = error.is_passing();
                let error: &dyn std::error::Error = &error;
                let name = &self.name;
                self.logged
                    .call_once(|| info!(name, error, "no io_uring: one system call per viewer"));
                Err(passing)
            }
        }
    }

    /// A thread no longer has its ring.
    pub(crate) fn close(&self) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}
