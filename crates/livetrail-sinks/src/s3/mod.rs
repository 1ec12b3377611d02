//! S3: a bucket whose objects cannot be overwritten or deleted, as a site that any tile-log client
//! can read.
//!
//! ```text
//!  PREFIX/ORIGIN/checkpoint                the newest checkpoint
//!  PREFIX/ORIGIN/checkpoints/SIZE          every checkpoint
//!  PREFIX/ORIGIN/tile/L/N[.p/W]            hashes    ┐ at the paths of tlog-tiles; written once
//!  PREFIX/ORIGIN/tile/entries/N[.p/W]      entries   ┘
//!  PREFIX/ORIGIN/commits/SIZE              the cursor: one commit for each batch
//!  PREFIX/ORIGIN/handover/ID               the checkpoint of a hand-over; ID is that of the key
//!  PREFIX/ORIGIN/personal/SESSION          an opening, if the sink keeps them; never locked
//! ```
//!
//! - `checkpoint` gets a new version each time. It is for clients that know no other key.
//! - Each object in `checkpoints` has its own size in its key. A verifier uses the largest one.
//! - A commit has the origin, the size and the root.
//! - SIZE has 20 digits, so that keys sort by size.
//! - ID is that of the replaced key.
//! - ORIGIN is the log's name. `_` and two hexadecimal digits replace each byte except letters,
//!   digits, `.` and `-`, so that it is one step of a path.
//!
//! # Reading
//!
//! The first version of an object counts, even if later versions or delete markers hide it. The
//! cursor is the largest commit whose tiles all match it. The sink logs and skips larger ones. It
//! reads the sightings only from checkpoints.
//!
//! # Commit order
//!
//! The sink puts each object with `If-None-Match: *`, and each object is a pure function of the log
//! at that size. So repeating a put changes nothing, and an object that has other bytes is a fork.
//! The steps of a batch, and the state after a crash at each of them:
//!
//! 0. Openings, if the sink keeps them: some are there, and erasures reach them.
//! 1. Bundles: some are there. Nobody reads beyond the last checkpoint, and the same batch puts the
//!    same ones again.
//! 2. Tiles: the state is the same as after step 1.
//! 3. New hand-overs if there are any, and `checkpoints/SIZE` if the batch ends at a checkpoint:
//!    readers see the batch, and the cursor does not cover it yet.
//! 4. `checkpoint`: the state is the same as after step 3.
//! 5. `commits/SIZE`: the batch is committed.

mod build;
mod client;
mod layout;
mod object;
mod openings;
mod options;
mod put;
mod set_up;
mod sightings;
mod sink;
mod site;
mod sizes;
mod store;

pub use build::unix_seconds;
pub use client::UnixSeconds;
pub use options::{Retention, S3Options, S3OptionsError};
pub use set_up::{BucketSetUp, set_up};
pub use sink::S3Sink;
