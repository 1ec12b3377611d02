//! Syslog: each record as a message of RFC 5424, over TLS (RFC 5425) or plain TCP, counted in octets (RFC 6587, section 3.4.1).
//!
//! ```text
//!  LENGTH SP <PRI>1 TIMESTAMP HOSTNAME livetrail PROCID MSGID [livetrail@ENTERPRISE index="…" leaf="…" origin="…" …] MSG
//!
//!  PRI         the facility, 13 (log audit) unless told otherwise, and a severity: error for losses, warning for refusals and evictions,
//!              notice for the server and its operators, informational for the rest
//!  TIMESTAMP   the record's, in UTC with milliseconds
//!  HOSTNAME    its node            PROCID   its boot            MSGID   its action
//!  MSG         its exact bytes, without a byte order mark, so that `leaf` can be computed again from them
//! ```
//!
//! - **An entry that is no record** has `encoding="base64"`, and is that in MSG. **Entries that were pruned** before an optional sink had them are a
//!   message with the MSGID `gap`, `first_index` and `next_index` (without the latter).
//! - **The enterprise number** is 32473, which is reserved for examples (RFC 5612): there is none of ours. Set your own if you have one.
//!
//! # What is promised, and what is not
//!
//! Syslog has no acknowledgement, and a connection that breaks takes along whatever the receiver had not read. So each batch has a connection of
//! its own, which is closed in order: a `close_notify`, and then the receiver's `close_notify` is waited for, with which it must answer when it comes upon
//! ours (RFC 5425, section 4.4), behind all messages. Only then does the cursor move. Without TLS it is the end of our direction, and the end of
//! the receiver's.
//!
//! - **Promised:** every message was read by the receiving *program*, in order, at least once. What is not known to be read is sent again.
//! - **Not promised:** that the program had written it anywhere. One that is killed while it keeps messages in memory loses those; how to make that
//!   window small is a matter of its configuration (docs/sinks.md).
//! - **Without TLS** the end of a connection is all there is to go by, and it looks the same when the receiver is killed, when something on the way
//!   gives up, and when somebody forges it: what is on its way then is lost.
//!
//! The cursor is in a file ([`local_cursor`](crate::local_cursor)), so what is in the receiver may be there twice after a crash.

mod build;
mod connection;
mod error;
mod message;
mod sink;
mod target;

pub use crate::settings::{DEFAULT_ENTERPRISE, DEFAULT_FACILITY, Transport};
pub use sink::{Receiver, SyslogSink};
pub use target::SyslogTarget;
