//! OTLP: each record is a log record of OpenTelemetry. The sink posts it as protobuf over HTTP
//! (OTLP 1.x, section OTLP/HTTP).
//!
//! ```text
//!  POST ENDPOINT/v1/logs            resource   service.name, livetrail.origin
//!  Content-Type:                    scope      livetrail, its version
//!    application/x-protobuf         record     time        the record's
//!  Content-Encoding: gzip                      severity    by the record, see below
//!    (by default)                              event name  the action
//!                                              body        the record's exact bytes as text
//!                                              attributes  livetrail.index, livetrail.leaf,
//!                                                          livetrail.action, livetrail.session, …
//! ```
//!
//! The severity is error for losses, warning for refusals and evictions, info 2 for the server and
//! its operators, and info for the rest. A reader can compute the leaf hash again from the body.
//!
//! - **An entry that is not a record** has its bytes as the body.
//! - **Entries that were pruned** before an optional sink received them are a record with the event
//!   name `gap`, `livetrail.first_index` and `livetrail.next_index`. The entry at the second index
//!   is not missing.
//! - **A batch** goes out in requests of at most [`MAX_REQUEST_ENTRIES`] records and about a
//!   mebibyte, one after the other. The cursor moves after the last one.
//!
//! # Guarantees
//!
//! - **Guaranteed:** the collector has answered each request with success, in order, at least once.
//!   If it is not known whether a request was answered, the sink sends it again.
//! - **Not guaranteed:** what the collector does then. Most collectors answer when they have a
//!   request in memory.
//! - **A partial success is an error.** If a collector rejects some records of a request, the sink
//!   reports how many, the range of entries and the reason at once, and the cursor stays. The
//!   specification wants a client to drop them; an audit trail must not.
//! - **429 and 503 with `Retry-After`**: the sink sends nothing before that time, for at most an
//!   hour.
//!
//! The cursor is in a file ([`local_cursor`](crate::local_cursor)), so the collector may have
//! records twice after a crash.

mod answer;
mod build;
mod client;
mod record;
mod sink;
mod target;

pub use record::MAX_REQUEST_ENTRIES;
pub use sink::{Collector, OtlpSink};
pub use target::OtlpTarget;
