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
//! - **One history.** The same index with other bytes is a fork: loud, and that sink stops.

mod backoff;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod options;
mod range;
mod replicas;
mod replicator;
mod sink;
mod source;
mod status;

pub use error::{BoxError, ErrorClass, ReplicaError};
pub use options::{ReplicaOptions, ReplicaOptionsError};
pub use range::{RangeError, SealedRange};
pub use replicas::{ReplicaFloor, Replicas};
pub use replicator::{RecordEvent, ReplicaWatch, Replicator};
pub use sink::{Delivery, Gap, ReplicaSink, SinkCursor};
pub use status::{ReplicaState, ReplicaStatus};
