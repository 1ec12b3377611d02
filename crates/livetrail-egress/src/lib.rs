//! Sending to viewers: a few threads, each of which serves a share of all viewers from one
//! [`Shard`](livetrail_engine::Shard).
//!
//! A viewer's connection keeps its task, which reads from the viewer and waits for the socket when
//! it is full. Frames never pass through that task. For a new frame each thread wakes once, and
//! writes it (and all else that is due) to each of its viewers with one vectored write from shared
//! buffers. With io_uring, one system call writes to many viewers.
//!
//! ```text
//!  connection's task ── attach, send, resume, detach ──▶ thread: Shard ── sendmsg ──▶ sockets
//!        ▲                                                │
//!        └──────────── WriteSignal: full, failed ◀────────┘
//! ```
//!
//! While a viewer is attached, only the thread writes to its socket: a second writer would
//! interleave with its messages.
//!
//! A [`Format`] defines the bytes. Nothing here knows a protocol.
//!
//! A viewer may have a [`Cipher`]. The thread then encrypts the same bytes for this viewer alone,
//! all that is due at once. Frames are skipped before they are encrypted, and never afterwards: so
//! at most 64 KiB are encrypted ahead of a socket, and they count in the engine's memory budget.

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

mod abandoned;
mod cipher;
mod clock;
mod egress;
mod format;
mod meter;
mod output;
mod prepared;
mod rings;
mod sender;
mod signal;
mod socket;
mod sys;
mod thread;
mod uncarried;
mod unsent;
mod unwritten;
mod viewer;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use cipher::{Cipher, Encrypt};
pub use egress::{Egress, EgressConfig, IoUringUse};
pub use format::Format;
pub use output::Output;
pub use uncarried::Uncarried;
pub use unsent::Unsent;
pub use viewer::{Detached, ViewerHandle};

/// Nothing that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
