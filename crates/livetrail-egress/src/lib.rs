//! Sending to viewers: a few threads, each of which serves a share of all viewers from one [`Shard`](livetrail_engine::Shard).
//!
//! A viewer's connection keeps its task, which reads what the viewer says and waits for the socket when it is full; frames
//! never go through that task. When a frame comes, each thread wakes once, and writes it (and whatever else is due) to each of
//! its viewers with one vectored write from shared buffers; where the system has io_uring, those of many viewers are one system call.
//!
//! ```text
//!  connection's task ── seat, say, resume, leave ──▶ orders ─▶ thread: Shard ── sendmsg ──▶ sockets
//!        ▲                                                        │
//!        └──────────── bell: full, failed ◀───────────────────────┘
//! ```
//!
//! While a viewer sits here, everything that is written to its socket is written here: two writers would cut into each
//! other's messages.
//!
//! What the bytes are is a [`Format`]'s concern. Nothing here knows a protocol.

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

mod format;
mod rest;
mod seat;
mod sender;
mod socket;
mod thread;
mod unsent;

pub use format::Format;
pub use seat::{Egress, EgressConfig, IoUringUse, LeftSeat, Seat};
pub use unsent::Unsent;
