//! PostgreSQL: an append-only table.
//!
//! ```text
//!  livetrail.records      typed columns, exact entry, leaf hash; one partition per month
//!  livetrail.commits      the cursor: a chain of ranges, one row per batch
//!  livetrail.checkpoints  the signed checkpoints of the batches
//!  livetrail.openings     names, if the sink keeps openings; not append-only
//!  livetrail.erasures     the cursor of erasures
//! ```
//!
//! A batch is one transaction. It adds the row of `commits` that moves the cursor, then the records
//! by binary `COPY`, then the checkpoint. If two writers add a row at the same index, one of them
//! fails at the first step. The sink needs only the privileges `INSERT` and `SELECT`. The schema
//! refuses `UPDATE`, `DELETE` and `TRUNCATE` by privileges and by triggers.

mod build;
mod connection;
mod copy;
mod error;
mod openings;
mod reader;
mod schema;
mod sink;
mod target;

pub use reader::{
    MAX_PERSON_ROWS, PersonQuery, PersonRow, PostgresReader, RecordQuery, StoredLog, StoredRecord,
    StoredRecords,
};
pub use schema::{SCHEMA_VERSION, SetUp, set_up};
pub use sink::PostgresSink;
pub use target::PostgresTarget;
