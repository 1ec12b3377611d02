//! RTMP without I/O (Adobe RTMP 1.0, Enhanced RTMP v2): bytes in, events and bytes out. No sockets, no clocks, no tasks.
//!
//! # The drain rule
//!
//! [`ServerSession`] and [`ClientSession`] own an input and an output buffer. After each time that the host
//!
//! - appends to the input ([`input`](ServerSession::input)), or
//! - calls a method that acts (`accept_publish`, `refuse`, `close` …),
//!
//! it calls `poll_event` until that gives `None`, and then sends what `take_output` gives. Nothing is queued inside:
//! an event is made when it is asked for, so what a peer can make a session hold is bounded by [`ChunkLimits`] and by what the host appends.
//! After an error the session is over; what it still has as output is for the peer to read before the connection is closed.
//!
//! A session has no timers. Deadlines (handshake, first command, stalled writes) belong to the host.

mod chunk;
mod client;
mod digest;
mod handshake;
mod link;
mod message;
mod server;
mod status;
mod streams;

pub use chunk::{
    ChunkLimits, ChunkParts, ChunkReader, DEFAULT_CHUNK_BYTES, FrameChunks, Message, write_message,
};
pub use client::{ClientEvent, ClientSession};
pub use handshake::{ClientHandshake, ServerHandshake};
pub use server::{Accepts, Request, ServerEvent, ServerSession};
pub use status::Status;

/// The chunk size that we write with, both as server and as client: large enough that most frames are one chunk.
pub const OUT_CHUNK_BYTES: u32 = 65_536;

/// The message stream of every publish and play on a connection to us. One and the same for all players, so that a frame's
/// bytes are the same for all of them.
pub const MEDIA_STREAM_ID: u32 = 1;

#[cfg(test)]
mod tests;
