//! The fan-out bus: one ring per stream, a single writer, many readers.
//!
//! The writer never waits for a reader. A reader is a *cursor*: a sequence number into the ring, not a queue. The replay
//! that a late joiner gets is a place in the same ring, so the join between replay and live has no seam: no frame can be
//! missing there and none can come twice.

mod cursor;
mod listener;
mod ring;
mod shard;
mod stream;
mod wire;

pub(crate) use cursor::{Cursor, Found};
pub(crate) use listener::{Listener, Wake};
pub use shard::{AttachError, Deliver, Shard, ViewerId};
pub(crate) use stream::{Stream, Writer};
pub use wire::{SharedFrame, WireFormat};
