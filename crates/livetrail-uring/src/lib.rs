//! Many sends with one system call, by io_uring; freed memory back to the system; and what the
//! kernel says about its clock.
//!
//! The kernel gets a message and a socket for each send, tries each once without waiting, and
//! reports the results, all within one call of [`Ring::send`]. The data are borrowed for that call
//! only, as for `writev`. So callers need not know io_uring's rules about who owns a buffer, and
//! for how long.
//!
//! This is one of the two crates of Livetrail that have unsafe code. It does not know streams,
//! viewers or protocols.
//!
//! # When the process aborts
//!
//! In two cases this crate calls [`std::process::abort`], which ends the whole program at once,
//! without unwinding and without destructors. Each is a bug of the kernel or of this crate:
//!
//! - The kernel refuses, for a reason that does not pass, to report the result of a send that it
//!   has taken.
//! - This crate panics while the kernel may hold addresses of borrowed memory.
//!
//! If it returned instead, the kernel could read memory that has a new owner. A panic of the
//! caller's iterator is not such a case. A host that cannot accept this turns io_uring off
//! (`io_uring = "off"`, `EgressConfig::io_uring`): then this crate is not used.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod clock;
mod heap;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod ring;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::io;

pub use clock::{KernelClock, kernel_clock};
pub use heap::return_freed_memory;
pub use ring::Ring;

/// The maximum number of sends that the kernel gets at once; more sends go to it in several
/// batches.
///
/// A ring's memory is proportional: 64 bytes in the kernel per send and 32 per result, 28 KiB in
/// all with its indices. Since 5.12 Linux counts this as the process's memory (and not towards its
/// limit on locked memory). In addition there are 72 bytes per send here.
pub const BATCH: usize = 256;

/// Why the kernel cannot, or can no longer, take many sends at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused to create a ring.
    #[error("cannot create an io_uring: {}", hint(source))]
    Setup {
        /// The kernel's error.
        source: io::Error,
    },
    /// A ring was created, but cannot send.
    #[error("created an io_uring, but a first send with it failed")]
    Probe {
        /// The error of that send.
        source: io::Error,
    },
    /// A ring that worked has stopped working.
    #[error("io_uring accepts no further sends")]
    Enter {
        /// The kernel's error.
        source: io::Error,
    },
}

impl Error {
    /// Whether a new ring may work later. It will not if the system has no io_uring or forbids it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Setup { source } | Self::Probe { source } => {
                let errno = source.raw_os_error();
                ring::passes(source) || errno.is_some_and(|errno| LACKS.contains(&errno))
            }
            // It worked before, so the system has it.
            Self::Enter { .. } => true,
        }
    }
}

/// Out of memory or descriptors at this moment.
#[cfg(target_os = "linux")]
const LACKS: [i32; 3] = [libc::ENOMEM, libc::EMFILE, libc::ENFILE];
#[cfg(not(target_os = "linux"))]
const LACKS: [i32; 0] = [];

/// The meaning of the system's error, as far as it is known.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "a seccomp filter (such as a container's) or the sysctl `kernel.io_uring_disabled` forbids it"
        }
        io::ErrorKind::Unsupported => "the system has no io_uring",
        io::ErrorKind::InvalidInput => "Linux 6.1 or later is needed",
        _ => "the kernel refused",
    }
}
