//! RTMP without I/O (Adobe RTMP 1.0, Enhanced RTMP v2): bytes in, events and bytes out. No sockets,
//! no clocks, no tasks.
//!
//! # The drain rule
//!
//! [`ServerSession`] and [`ClientSession`] own an input and an output buffer. Each time after the
//! host
//!
//! - appends to the input ([`input`](ServerSession::input)), or
//! - calls a method that acts (`accept`, `refuse`, `close` …),
//!
//! it calls `poll_event` until that returns `None`, and then sends the bytes of `take_output`.
//!
//! A session queues no events: it makes an event when the host polls. [`ChunkLimits`] and the bytes
//! that the host appends bound what a peer can make a session hold. After an error the session is
//! over. The host still sends its output, so that the peer can read the reason, and then closes the
//! connection.
//!
//! A session has no timers. Deadlines (handshake, first command, stalled writes) belong to the
//! host.

mod chunk;
mod client;
mod digest;
mod handshake;
mod hops;
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

/// The chunk size of our output, as server and as client: large enough that most frames are one
/// chunk.
pub const OUT_CHUNK_BYTES: u32 = 65_536;

/// The message stream of each publish and play on a connection to us. All players share it, so that
/// a frame's bytes are the same for all of them.
pub const MEDIA_STREAM_ID: u32 = 1;

#[cfg(test)]
mod tests;
