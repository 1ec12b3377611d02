//! Many sends with one system call, by io_uring; and freed memory back to the system.
//!
//! The kernel is handed a message and a socket for each of many, tries each once without waiting, and says what became of it, all
//! within one call of [`Ring::send`]. What is sent is borrowed for the length of that call, as it is for a `writev`; so nothing of
//! io_uring's concern for who owns a buffer, and for how long, is seen outside.
//!
//! This is the one crate of Livetrail that has unsafe code. It knows nothing of streams, viewers or protocols.
//!
//! # When the process is aborted
//!
//! In two cases, each of which is a bug of the kernel or of this crate, this crate calls [`std::process::abort`], and with it the program
//! that uses it ends at once, without unwinding and without destructors: when the kernel refuses, for a reason that does not pass, to say
//! what became of a send that it has taken; and when this crate panics while the kernel may have addresses of lent memory. To return
//! would let the kernel read memory that has a new owner. A panic of the caller's iterator is not such a case. A host that cannot accept
//! this does without io_uring (`io_uring = "off"`, `EgressConfig::io_uring`): then this crate is not used.

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

mod heap;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod ring;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::io;

pub use heap::return_freed_memory;
pub use ring::Ring;

/// Sends that the kernel is given at once; more are given to it one such batch after the other.
///
/// A ring's memory is in proportion: 64 bytes in the kernel for each and 32 for what becomes of it, 28 KiB in all with its indices,
/// which Linux counts to the process's memory since 5.12 (and not to what it may lock); and 72 bytes here.
pub const BATCH: usize = 256;

/// Why sends cannot be, or are no longer, handed to the kernel together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel gives no ring.
    #[error("io_uring is not to be had here: {}", hint(source))]
    Setup {
        /// What it answered.
        source: io::Error,
    },
    /// There is a ring, and nothing can be sent with it.
    #[error("io_uring is there, but a first send with it failed")]
    Probe {
        /// What became of that send.
        source: io::Error,
    },
    /// A ring that worked works no more.
    #[error("io_uring took no more sends")]
    Enter {
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// Whether a new ring may work at another time. Where a ring could not be made because the system has none, or forbids it, it
    /// will not.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Setup { source } | Self::Probe { source } => {
                let errno = source.raw_os_error();
                ring::passes(source) || errno.is_some_and(|errno| LACKS.contains(&errno))
            }
            // It worked, so the system has it.
            Self::Enter { .. } => true,
        }
    }
}

/// Too little memory or too few descriptors at this moment.
#[cfg(target_os = "linux")]
const LACKS: [i32; 3] = [libc::ENOMEM, libc::EMFILE, libc::ENFILE];
#[cfg(not(target_os = "linux"))]
const LACKS: [i32; 0] = [];

/// What a system's refusal means, as far as it is known.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "a seccomp filter, as of a container, or the sysctl `kernel.io_uring_disabled` forbids it"
        }
        io::ErrorKind::Unsupported => "the system has no io_uring",
        io::ErrorKind::InvalidInput => "Linux 6.1 or later is needed",
        _ => "the kernel gives no ring",
    }
}
