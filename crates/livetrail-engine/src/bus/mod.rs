//! The fan-out bus: one ring of frames per stream, a single writer, many readers.
//!
//! The writer never waits for a reader. A reader is a *cursor*: a sequence number into the ring,
//! not a queue. The replay for a late joiner is a position in the same ring, so there is no seam
//! between replay and live: no frame can be missing there, and none can come twice.

mod budget;
mod cursor;
mod deliver;
mod listener;
mod marks;
mod news;
mod ring;
#[cfg(test)]
mod ring_tests;
mod shard;
mod slab;
mod spread;
mod stream;
mod wire;

pub(crate) use budget::Budget;
pub use budget::HeldBytes;
pub(crate) use cursor::{Cursor, Found};
pub use deliver::{Deliver, LiveBatch, LiveViewers, ViewerId};
pub(crate) use listener::Listener;
pub(crate) use news::News;
pub use shard::{AttachError, Shard};
pub use spread::{Placed, Spread};
pub use stream::Carries;
pub(crate) use stream::{Stream, Writer};
pub use wire::{SharedFrame, WireFormat};

/// The maximum number of frames in a stream's ring.
pub(crate) const MAX_RING_FRAMES: usize = 1 << 20;
