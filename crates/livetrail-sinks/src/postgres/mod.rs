//! PostgreSQL: an append-only table.
//!
//! ```text
//!  livetrail.records      typed columns, exact entry, leaf hash; a partition a month
//!  livetrail.commits      the cursor: a chain of ranges, one row a batch
//!  livetrail.checkpoints  the signed checkpoints under which they came
//! ```
//!
//! A batch is one transaction: first the row of `commits` that moves the cursor, which another writer at the same place loses; then
//! the records by binary `COPY`; then the checkpoint. No right but `INSERT` and `SELECT` is needed, and the schema refuses
//! `UPDATE`, `DELETE` and `TRUNCATE` by privileges and by triggers.

mod build;
mod connection;
mod copy;
mod error;
mod schema;
mod sink;
mod target;

pub use schema::{SCHEMA_VERSION, SetUp, set_up};
pub use sink::PostgresSink;
pub use target::PostgresTarget;
