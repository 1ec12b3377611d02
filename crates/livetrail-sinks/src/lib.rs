//! Sinks of the ledger outside: each is a [`ReplicaSink`](livetrail_replica::ReplicaSink) in a module of its own, behind a
//! feature of its own; none knows another.
//!
//! | feature | module | where the records go |
//! |---|---|---|
//! | `file` | `file` | a file, one line a record |
//! | `kafka` | `kafka` | a partition of a topic of Kafka; with TLS and SCRAM behind `kafka-tls` |
//! | `otlp` | `otlp` | a collector of OpenTelemetry, over HTTP |
//! | `postgres` | `postgres` | an append-only table of PostgreSQL 13 or later |
//! | `s3` | `s3` | a bucket with Object Lock, as a site that any tile-log client can read |
//! | `stdout` | `stdout` | standard output, a line of JSON a record |
//! | `syslog` | `syslog` | a receiver of syslog (RFC 5424) over TLS |
//!
//! Each kind is a folder with everything that it is: its settings, what is wrong with them, how a
//! sink is made of them, and the sink. [`settings::Sink`] is what a host reads from its configuration.
//!
//! Where a place cannot say what it holds, module `local_cursor` (feature `local-cursor`) keeps the cursor. Of such a sink the suite holds as it
//! stands, but for an answer that is lost after the place has taken a batch: that batch comes again.
//!
//! All of them pass one suite, `livetrail_replica::conformance`, against a real server; the file, which holds one log and has no
//! server, those of its cases that apply.

#[cfg(feature = "local-cursor")]
mod at_least_once;
#[cfg(any(feature = "file", feature = "local-cursor"))]
mod blocking;
mod error;
#[cfg(feature = "file")]
pub mod file;
#[cfg(any(feature = "file", feature = "local-cursor"))]
mod hand_overs;
#[cfg(any(feature = "file", feature = "stdout"))]
mod json_line;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "local-cursor")]
pub mod local_cursor;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "s3")]
pub mod s3;
pub mod settings;
#[cfg(any(feature = "otlp", feature = "syslog"))]
mod severity;
#[cfg(feature = "stdout")]
pub mod stdout;
#[cfg(feature = "syslog")]
pub mod syslog;
#[cfg(any(feature = "otlp", feature = "postgres", feature = "syslog"))]
mod tls;

#[cfg(feature = "local-cursor")]
pub use at_least_once::{AtLeastOnce, Sent, Transport};
pub use error::SinksError;
