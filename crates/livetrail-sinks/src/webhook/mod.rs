//! Web hooks: a web service gets events as signed requests, in the order of the trail.
//!
//! ```text
//!  POST URL                          {"origin":"example.com/audit",
//!  Content-Type: application/json     "lost":{"first_index":3,"next_index":9,"events":2},
//!  Idempotency-Key: "ORIGIN/17-18"    "events":[
//!  Livetrail-Timestamp: SECONDS         {"index":17,"leaf":"BASE64","record":{…}},
//!  Livetrail-Signature: v1=HEX          {"index":18,"leaf":"BASE64","record":{…}}]}
//! ```
//!
//! - **An event** is a record whose action the settings choose, with its index in the log and its
//!   leaf hash. With names in clear it also has its opening. If all actions are chosen, entries
//!   that are not records are events, too, with `entry_base64`.
//! - **The signature** is that of [`livetrail_request`].
//! - **The key** `Idempotency-Key` names the log and the indexes of the request's first and last
//!   event, or of its only one.
//! - **`lost`** is there if events before these were given up and no request has reported it yet.
//!   `events` is their number, or an upper bound if they were pruned.
//!
//! Any 2xx accepts a request. The answer's body means nothing. No redirect is followed.
//!
//! # Guarantees
//!
//! - **Guaranteed:** the service has accepted each event, in the order of the log, at least once;
//!   or the event is counted as lost.
//! - **An event may come again** with the same index, if it is not known whether its request was
//!   accepted. A service that remembers the last index of each origin recognises it. Within one
//!   process, what was accepted is not sent again.
//! - **Events become too old.** An event that is older than [`WebhookTarget::with_max_age`] is not
//!   sent any more. Nothing else is given up, whatever the service answers.
//! - **429 and 503 with `Retry-After`**: the sink sends nothing before that time, for at most an
//!   hour.
//!
//! The cursor is in a file ([`local_cursor`](crate::local_cursor)), with the events that were lost
//! and are not yet reported.

mod answer;
mod body;
mod build;
mod hook;
mod sink;
mod target;

pub use sink::{Hook, WebhookSink};
pub use target::WebhookTarget;
