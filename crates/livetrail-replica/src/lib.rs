//! Replicas of the ledger: any number of sinks outside. Each follows the ledger from its own
//! cursor.
//!
//! ```text
//! ledger ── published checkpoint ─▶ Replicator ── SealedRange ──▶ ReplicaSink ─▶ a table, a topic,
//!                                   (one per sink)                     │         a bucket, a file
//!                                       ▲                              │
//!                                       └────────── SinkCursor ◀───────┘
//!                                                    the truth: what the sink has committed
//! ```
//!
//! - **Sealed only.** A sink gets only entries that a signed and published checkpoint covers,
//!   together with the leaf hash of each.
//! - **At least once on the wire, exactly once in effect.** After any error the replicator asks the
//!   sink for its cursor, and continues from there. A repeated range changes nothing. The exception
//!   is a destination that cannot report what it holds ([`Delivery`]).
//! - **One history.** The same index with other bytes is a fork: the replicator raises an alarm,
//!   and that sink stops. If a checkpoint has the log's own signature and the ledger contradicts
//!   it, the ledger stops as well, at a start and while it runs.
//! - **Erasures follow.** Entries contain no personal data. A sink may keep openings
//!   ([`PersonalMode`]): then each goes out with its entry, and the replicator applies the erasures
//!   that the log names, from a cursor of their own ([`ReplicaSink::erase`]).
//! - **Each sink is asked what it has seen before anything new is signed** ([`ReplicaFloor`],
//!   [`ReplicaSink::sightings`]).

mod backoff;
mod call;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod eraser;
mod error;
mod floor;
mod judge;
mod options;
mod personal;
mod range;
mod replicas;
mod replicator;
#[cfg(feature = "serde")]
mod serialize;
mod sightings;
mod sink;
mod source;
mod status;

pub use error::{BoxError, ErrorClass, ReplicaError, StartError};
pub use floor::ReplicaFloor;
pub use judge::examine;
pub use livetrail_ledger::HandOver;
pub use options::{ReplicaOptions, ReplicaOptionsError};
pub use personal::{EntryOpening, Erasure, OpeningSource, PersonalMode};
pub use range::{RangeError, SealedRange};
pub use replicas::Replicas;
pub use replicator::{RecordEvent, ReplicaWatch, Replicator};
pub use sightings::Sightings;
pub use sink::{Delivery, Gap, ReplicaSink, SinkCursor};
pub use status::{ReplicaState, ReplicaStatus};
