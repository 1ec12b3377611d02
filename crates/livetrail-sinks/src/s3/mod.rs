//! S3: a bucket whose objects can be neither overwritten nor deleted, as a site that any tile-log client can read.
//!
//! ```text
//!  PREFIX/ORIGIN/checkpoint                     the newest checkpoint, a new version each time; for clients that know nothing else
//!  PREFIX/ORIGIN/checkpoints/SIZE               every checkpoint, each under its own size: what a verifier takes the largest of
//!  PREFIX/ORIGIN/tile/L/N[.p/W]                 hashes    ┐ at the paths of tlog-tiles; written once
//!  PREFIX/ORIGIN/tile/entries/N[.p/W]           entries   ┘
//!  PREFIX/ORIGIN/commits/SIZE                   the cursor: one for each batch, with origin, size and root
//!  PREFIX/ORIGIN/handover/ID                    the checkpoint under which the key with this id was given up
//! ```
//!
//! SIZE has 20 digits, so that names stand in the order of sizes. ORIGIN is the log's name with everything but letters, digits, `.`
//! and `-` written as `_` and two hexadecimal digits, so that it is one step of a path.
//!
//! # Reading
//!
//! The first version of an object counts, whatever was put above it, delete markers included. The cursor is the largest commit behind which all
//! tiles are as it says; larger ones are logged and passed over. What the bucket has seen is read from the checkpoints alone.
//!
//! # Commit order
//!
//! Each object is put with `If-None-Match: *` and is a pure function of the log at that size. So doing it again changes nothing, and an
//! object that is there with other bytes is a fork. Where a batch is cut off:
//!
//! 1. bundles — some are there; nobody looks beyond the last checkpoint, and the same batch puts the same ones again
//! 2. tiles — as before
//! 3. hand-overs, if there are new ones, and `checkpoints/SIZE`, if the batch ends where a checkpoint does — readers see the batch; the cursor does not say so yet
//! 4. `checkpoint` — as before
//! 5. `commits/SIZE` — committed

mod build;
mod client;
mod layout;
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
