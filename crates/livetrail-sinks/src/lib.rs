//! External sinks of the ledger. Each sink is a [`ReplicaSink`](livetrail_replica::ReplicaSink) in
//! a module of its own, behind a feature of its own. No sink depends on another.
//!
//! | feature | module | where the records go |
//! |---|---|---|
//! | `file` | `file` | a file, with one line per record |
//! | `kafka` | `kafka` | a partition of a topic of Kafka; with TLS and SCRAM behind `kafka-tls` |
//! | `otlp` | `otlp` | a collector of OpenTelemetry, over HTTP |
//! | `postgres` | `postgres` | an append-only table of PostgreSQL 13 or later |
//! | `s3` | `s3` | a bucket with Object Lock, as a site that any tile-log client can read |
//! | `stdout` | `stdout` | standard output, with a line of JSON per record |
//! | `syslog` | `syslog` | a receiver of syslog (RFC 5424) over TLS |
//! | `webhook` | `webhook` | a web service, as signed requests with events |
//!
//! The folder of a kind has everything about it: its settings, their checks, the code that builds a
//! sink from them, and the sink. A host reads [`settings::Sink`] from its configuration.
//!
//! If a destination cannot report what it holds, module `local_cursor` (feature `local-cursor`)
//! keeps the cursor. Such a sink passes the conformance suite with one exception: if the answer is
//! lost after the destination accepted a batch, that batch comes again.
//!
//! All sinks pass one suite, `livetrail_replica::conformance`, against a real server. The file sink
//! has no server and holds one log, so it passes the cases that apply to it.

#[cfg(feature = "local-cursor")]
mod at_least_once;
#[cfg(any(feature = "file", feature = "local-cursor"))]
mod blocking;
#[cfg(any(feature = "kafka", feature = "otlp", feature = "webhook"))]
mod clock;
mod error;
#[cfg(feature = "file")]
pub mod file;
#[cfg(any(feature = "file", feature = "local-cursor"))]
mod hand_overs;
#[cfg(any(feature = "file", feature = "stdout", feature = "webhook"))]
#[cfg_attr(
    not(any(feature = "file", feature = "stdout")),
    allow(dead_code, reason = "each sink uses a part of it")
)]
mod json_line;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "local-cursor")]
pub mod local_cursor;
#[cfg(any(feature = "file", feature = "local-cursor"))]
mod lock;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(any(feature = "otlp", feature = "webhook"))]
mod pause;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "s3")]
pub mod s3;
pub mod settings;
#[cfg(any(feature = "otlp", feature = "syslog"))]
mod severity;
#[cfg(feature = "stdout")]
pub mod stdout;
#[cfg_attr(
    not(all(feature = "file", feature = "stdout")),
    allow(dead_code, unused_imports, reason = "each sink uses a part of it")
)]
mod sys;
#[cfg(feature = "syslog")]
pub mod syslog;
#[cfg(any(
    feature = "otlp",
    feature = "postgres",
    feature = "syslog",
    feature = "webhook"
))]
#[cfg_attr(
    not(any(
        feature = "otlp",
        feature = "postgres",
        feature = "s3",
        feature = "syslog"
    )),
    allow(
        dead_code,
        reason = "web hooks have their own trust, and use the errors"
    )
)]
mod tls;
#[cfg(feature = "webhook")]
pub mod webhook;

#[cfg(feature = "local-cursor")]
pub use at_least_once::{AtLeastOnce, Sent, Transport};
pub use error::SinksError;
