//! OTLP: each record as a log record of OpenTelemetry, posted as protobuf over HTTP (OTLP 1.x, section OTLP/HTTP).
//!
//! ```text
//!  POST ENDPOINT/v1/logs            resource   service.name, livetrail.origin
//!  Content-Type:                    scope      livetrail, its version
//!    application/x-protobuf         record     time          the record's
//!  Content-Encoding: gzip             severity      error for losses, warning for refusals and evictions, info 2 for the server and its
//!    (unless told otherwise)                        operators, info for the rest
//!                                     event name    the action
//!                                     body          the record's exact bytes as text, so that the leaf hash can be computed again
//!                                     attributes    livetrail.index, livetrail.leaf, livetrail.action, livetrail.session, …
//! ```
//!
//! - **An entry that is no record** has its bytes as the body. **Entries that were pruned** before an optional sink had them are a record with the event
//!   name `gap`, and `livetrail.first_index` and `livetrail.next_index` (without the latter).
//! - **A batch** goes out in requests of at most [`MAX_REQUEST_ENTRIES`] records and about a mebibyte, one after the other; the cursor moves after the last.
//!
//! # What is promised, and what is not
//!
//! - **Promised:** the collector has answered each request with success, in order, at least once. What is not known to be answered is sent again.
//! - **Not promised:** what it does then. Most collectors answer when they have a request in memory.
//! - **A partial success is none**: when a collector rejects some records of a request, that is said at once with how many, of which entries and why, and the cursor
//!   stays. The specification would have a client drop them; an audit trail must not.
//! - **429 and 503 with `Retry-After`**: nothing is sent before that time, at most an hour.
//!
//! The cursor is in a file ([`local_cursor`](crate::local_cursor)), so what is in the collector may be there twice after a crash.

mod answer;
mod build;
mod client;
mod record;
mod sink;
mod target;

pub use record::MAX_REQUEST_ENTRIES;
pub use sink::{Collector, OtlpSink};
pub use target::OtlpTarget;
