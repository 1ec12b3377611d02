//! Replicas of the ledger: any number of sinks outside, each of which follows it from its own cursor.
//!
//! ```text
//!  ledger ── published checkpoint ──▶ Replicator (one a sink) ── SealedRange ──▶ ReplicaSink ──▶ a table, a topic, a bucket, a file
//!                                         ▲                                         │
//!                                         └──────────────── SinkCursor ◀────────────┘  the truth: what the sink has committed
//! ```
//!
//! - **Sealed only.** What a sink gets is covered by a signed checkpoint that is published, with the leaf hash of each entry.
//! - **At least once on the wire, exactly once in effect.** After anything that went wrong the sink is asked where it is, and
//!   goes on from there. A range that comes again changes nothing, but where the place cannot say what it holds ([`Delivery`]).
//! - **One history.** The same index with other bytes is a fork: loud, and that sink stops. A checkpoint with the log's own signature that the
//!   ledger contradicts stops the ledger as well, at a start and while it runs.
//! - **What a sink has seen is asked before anything new is signed** ([`ReplicaFloor`], [`ReplicaSink::sightings`]).

mod backoff;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod floor;
mod judge;
mod options;
mod range;
mod replicas;
mod replicator;
mod sightings;
mod sink;
mod source;
mod status;

pub use error::{BoxError, ErrorClass, ReplicaError};
pub use floor::ReplicaFloor;
pub use judge::examine;
pub use livetrail_ledger::HandOver;
pub use options::{ReplicaOptions, ReplicaOptionsError};
pub use range::{RangeError, SealedRange};
pub use replicas::Replicas;
pub use replicator::{RecordEvent, ReplicaWatch, Replicator};
pub use sightings::Sightings;
pub use sink::{Delivery, Gap, ReplicaSink, SinkCursor};
pub use status::{ReplicaState, ReplicaStatus};
