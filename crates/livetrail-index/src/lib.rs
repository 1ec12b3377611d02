//! A query index over a ledger's trail, derived from it and never trusted.
//!
//! | task | where |
//! |---|---|
//! | opening, catching up with the trail | [`Index`], [`Progress`] |
//! | queries | [`Filter`], [`Index::find`], [`scan`] |
//! | queries for a person, whose sessions the vault knows | [`Filter::sessions`], [`SessionSet`] |
//! | entries of sessions that have an opening of their own | [`Filter::details_of`] |
//! | results, each record proven to be in the signed tree | [`Hits`], [`Hit`] |
//! | the sessions that a trail leaves open | [`Index::open_sessions`] |
//!
//! The index knows in which bundles of 256 entries a record *may* be. The entries themselves are
//! always read from the ledger and checked against the filter, and every result is proven to be in
//! the tree that the checkpoint signs. So a wrong index can hide a record from a query, but can
//! never make one up. [`scan`] queries without the index, and the verifier does not use it.
//!
//! The file has no name of a person, and no hash of one that could be guessed: no principal, peer
//! or user agent. Entries of schema 2 do not have them either; those of schema 1 have them in
//! clear. A query by principal reads every bundle that has such an entry, which is every bundle of
//! the part of the log that is of schema 1. Hashes of applications, actions, streams and ids of
//! sessions are in the file. An application whose streams' names are personal has keyed tokens in
//! their place in its entries: see [`Filter::accept_token`].
//!
//! Only whole segments of [`SEGMENT_RECORDS`] records are indexed; a query reads the records after
//! them from the ledger. So a slowly growing trail writes nothing here for hours, and a fast one
//! writes a few bytes per record, always at the end.
//!
//! The file is a SQLite database: another process can query while one writes, and a crash at any
//! moment leaves the last whole segment. It is recreated when it is missing, damaged, of another
//! format, or of another log. The file of an older format is removed.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use livetrail_index::{Filter, Index};
//! use livetrail_ledger::{Class, Identity, Ledger, MemStore, Reader, SharedStore, generate_seed};
//! use livetrail_record::{AuditAction, AuditRecord, encode_canonical};
//!
//! let store: SharedStore = Arc::new(MemStore::new());
//! let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
//! Ledger::create(&store, &identity)?;
//! let (ledger, _) = Ledger::builder(Arc::clone(&store), identity).open()?;
//! let record = AuditRecord::new(AuditAction::Heartbeat, "live").with_ts_ms(1);
//! let appended = ledger.append(Class::Strict, &[encode_canonical(&record)?])?;
//! ledger.wait_durable(appended.next, Duration::from_secs(5))?;
//! ledger.close()?;
//!
//! let dir = tempfile::tempdir()?;
//! let reader = Reader::open(store)?;
//! let mut index = Index::open(dir.path(), &reader)?;
//! index.catch_up(&reader, &mut |_| true)?;
//! let mut filter = Filter::default();
//! filter.app = Some("live".into());
//! let found = index.find(&reader, filter)?.next().unwrap()?;
//! assert_eq!((found.index, found.record), (0, record));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod candidates;
mod database;
mod error;
mod filter;
mod hits;
mod index;
mod key;
mod segment;
mod sessions;
mod sys;
#[cfg(test)]
mod tests;

pub use error::IndexError;
pub use filter::Filter;
pub use hits::{Hit, Hits, scan};
pub use index::{FILE_NAME, Index, Progress};
pub use segment::SEGMENT_RECORDS;
pub use sessions::{MAX_SESSIONS, SessionSet};
