//! The durable log: group-commit WAL, integration, signing, recovery, readers.
//!
//! | task | where |
//! |---|---|
//! | creating and opening a trail | [`Ledger`], [`Builder`], [`Options`], [`RecoveryReport`] |
//! | appending, waiting for durable and sealed, status | [`Handle`], [`Reached`], [`Status`] |
//! | bytes that go with an entry and never reach the tree | [`Entry`], [`CompanionStore`] |
//! | the log's origin and keys | [`Identity`], [`Cosigner`], [`generate_seed`] |
//! | key files | [`read_seed`], [`write_seed`] |
//! | other parties | [`CheckpointHook`], [`ExternalFloor`], [`Floor`], [`SeenTree`] |
//! | witnesses | [`Witness`], [`Witnesses`], [`WitnessFloor`], [`WitnessTransport`] |
//! | new keys for a log | [`Builder::rotate_to`], [`Reader::retired_keys`] |
//! | a full disk | [`Pressure`], [`Class`] |
//! | temporary errors, and those that stop the log | [`Passing`], [`Fatal`] |
//! | replicas | [`Cursor`], [`Reader::sealed_bundle`] |
//! | retention and legal holds | [`Handle::prune`], [`prunable_below`], [`set_hold`] |
//! | reading a trail, also one that another process writes | [`Reader`] |
//! | the interface to the disk | [`Store`], [`RealStore`], [`MemStore`], [`FaultStore`] |
//!
//! An entry is bytes; this crate does not know their meaning. The write-ahead log is the truth. All
//! other files are a pure function of its durable prefix, so recomputing them after a crash gives
//! the same bytes.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use livetrail_ledger::{Class, Identity, Ledger, MemStore, Reader, SharedStore, generate_seed};
//!
//! let store: SharedStore = Arc::new(MemStore::new());
//! let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
//! Ledger::create(&store, &identity)?;
//! let (ledger, report) = Ledger::builder(Arc::clone(&store), identity).open()?;
//! assert!(report.is_clean());
//!
//! let appended = ledger.append(Class::Strict, &["a record", "another"])?;
//! ledger.wait_durable(appended.next, Duration::from_secs(2))?;
//! let checkpoint = ledger.close()?;
//! assert_eq!(checkpoint.head().size, 2);
//!
//! let reader = Reader::open(store)?;
//! assert_eq!(reader.entry(1)?, b"another");
//! println!("{}", reader.inclusion_proof(1)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    any(test, feature = "fuzz"),
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod error;
mod identity;
mod layout;
mod manifest;
mod options;
mod own_keys;
mod passing;
mod read;
mod serialize;
mod store;
#[cfg(any(test, feature = "fuzz"))]
mod tests;
mod upkeep;
mod witness;
mod write;

pub use error::{AppendError, Fatal, LedgerError, WaitError};
pub use identity::{Cosigner, Identity, Seed, generate_seed, read_seed, write_seed};
pub use livetrail_clock::{Clock, SystemClock};
pub use options::Options;
pub use own_keys::HandOver;
pub use passing::Passing;
pub use read::proven::ProvenLeaves;
pub use read::reader::{Entries, Reader};
pub use read::sealed::SealedBundle;
pub use store::{
    Access, Fault, FaultPlan, FaultStore, File, Listed, Lock, MemStore, Op, PowerCut,
    RESERVED_FILES, RealStore, SECTOR_BYTES, SharedStore, Space, Store,
};
pub use upkeep::cursor::{Cursor, prunable_below, set_hold};
pub use upkeep::recover::{ExternalFloor, Floor, RecoveryReport, SeenTree};
pub use upkeep::space::{Class, Pressure};
#[cfg(feature = "witness-http")]
pub use witness::HttpTransport;
pub use witness::{
    MAX_ANSWER_BYTES, MAX_WITNESSES, RawAnswer, Witness, WitnessEvent, WitnessFloor,
    WitnessOptions, WitnessStatus, WitnessTransport, Witnesses,
};
pub use write::companion::{Companion, CompanionStore, Entry, MAX_COMPANION_BYTES};
pub use write::ledger::{Appended, Builder, CommitTimes, Handle, Ledger, Status};
pub use write::seal::CheckpointHook;
pub use write::watermark::Reached;

/// Parses any bytes as the last segment of a write-ahead log: a result, never a panic. For fuzzing.
#[doc(hidden)]
pub fn fuzz_wal_segment(bytes: &[u8]) {
    write::wal::fuzz_segment(bytes);
}

/// Runs any bytes as a sequence of operations, faults, kills and power cuts: all invariants hold
/// after each. For fuzzing.
///
/// # Panics
/// When an invariant is violated; the fuzzer looks for that.
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub fn fuzz_operations(bytes: &[u8]) {
    tests::operations::run(bytes);
}
