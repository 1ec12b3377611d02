//! Sinks of the ledger outside: each is a [`ReplicaSink`](livetrail_audit::replica::ReplicaSink) in a module of its own, behind a
//! feature of its own; none knows another.
//!
//! | feature | module | where the records go |
//! |---|---|---|
//! | `postgres` | `postgres` | an append-only table of PostgreSQL 13 or later |
//!
//! All of them pass one suite, `livetrail_audit::replica::conformance`, against a real server.

mod error;
#[cfg(feature = "postgres")]
pub mod postgres;

pub use error::SinksError;
