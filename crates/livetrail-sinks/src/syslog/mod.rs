//! Syslog: each record is a message of RFC 5424, over TLS (RFC 5425) or plain TCP. The length of
//! each message precedes it (RFC 6587, section 3.4.1).
//!
//! ```text
//!  LENGTH SP <PRI>1 TIMESTAMP HOSTNAME livetrail PROCID MSGID [livetrail@ENTERPRISE …] MSG
//!
//!  PRI         the facility, by default 13 (log audit), and the severity
//!  TIMESTAMP   the record's, in UTC with milliseconds
//!  HOSTNAME    its node            PROCID   its boot            MSGID   its action
//!  […]         index="…" leaf="…" origin="…" …
//!  MSG         its exact bytes, without a byte order mark
//! ```
//!
//! The severity is error for losses, warning for refusals and evictions, notice for the server and
//! its operators, and informational for the rest. A reader can compute `leaf` again from MSG.
//!
//! - **An entry that is not a record** has `encoding="base64"`, and MSG is its base64 form.
//! - **Entries that were pruned** before an optional sink received them are a message with the
//!   MSGID `gap`, `first_index` and `next_index`. The entry at the second index is not missing.
//! - **The enterprise number** is 32473, which is reserved for examples (RFC 5612), because we have
//!   no number of our own. Set yours if you have one.
//!
//! # Guarantees
//!
//! Syslog has no acknowledgement. If a connection breaks, the data that the receiver has not read
//! is lost. So each batch has a connection of its own, and the sink closes it in order. It sends a
//! `close_notify` and waits for the receiver's. The receiver must answer when it reads ours, which
//! is after all messages (RFC 5425, section 4.4). Only then does the cursor move. Without TLS, the
//! end of each direction of the TCP connection takes the place of `close_notify`.
//!
//! - **Guaranteed:** the receiving *program* has read every message, in order, at least once. If it
//!   is not known whether a message was read, the sink sends it again.
//! - **Not guaranteed:** that the program has written the message anywhere. A program that is
//!   killed loses the messages in its memory. Its configuration determines how many that are
//!   (docs/sinks.md).
//! - **Without TLS** the sink sees only the end of a connection. It looks the same if the receiver
//!   is killed, if a device on the way gives up, and if someone forges it. The data on the way is
//!   then lost.
//!
//! The cursor is in a file ([`local_cursor`](crate::local_cursor)), so the receiver may have
//! messages twice after a crash.

mod build;
mod connection;
mod error;
mod message;
mod sink;
mod target;

pub use crate::settings::{DEFAULT_ENTERPRISE, DEFAULT_FACILITY, Transport};
pub use sink::{Receiver, SyslogSink};
pub use target::SyslogTarget;
