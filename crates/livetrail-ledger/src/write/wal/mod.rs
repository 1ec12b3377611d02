//! The write-ahead log: the truth of a trail. All other files are a pure function of its durable
//! prefix.
//!
//! ```text
//! private/wal/<20-digit first index>.wal
//!
//! segment: │ header, 4,096 bytes │ batch │ batch │ … │ zeros up to the preallocated length │
//! batch:   │ mark │ record │ record │ … │        written with one pwrite, then one fdatasync
//! record:  an entry, or an entry and its companion, under one checksum
//! ```
//!
//! A mark is written only after the sync of the batch before it has succeeded. So a valid mark
//! proves that every record before it was durable, and recovery can distinguish a torn tail (damage
//! within the last batch) from corruption (damage before a mark). A batch never spans two segments,
//! and a segment gets its name only with a durable header: so the same holds for a segment that has
//! a successor.

mod batch;
mod fuzz;
mod record;
mod scan;
mod segment;
mod spare;
mod writer;

pub(crate) use batch::Batch;
pub(crate) use record::{HEAD_BYTES, framed_bytes};
pub(crate) use scan::{Scan, Tail, scan_log};
pub(crate) use segment::{HEADER_BYTES, LogId};
pub(crate) use writer::Writer;

pub(crate) use fuzz::fuzz_segment;
pub(crate) use scan::{list_segments, replay};
pub(crate) use spare::{Spare, discard_spare, prepare_spare};
