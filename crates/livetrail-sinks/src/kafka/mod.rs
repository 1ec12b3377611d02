//! Kafka: each log has one partition of a topic.
//!
//! ```text
//!  key         the log's origin
//!  value       the entry's bytes
//!  headers     index       decimal
//!              leaf        the entry's leaf hash, base64
//!              checkpoint  a note: the signed checkpoint that covers the batch
//!              hand_over   the id of the replaced key, LF, the checkpoint of the hand-over
//! ```
//!
//! The last record of a batch has the header `checkpoint` if all entries that the checkpoint covers
//! are there. After a change of keys it has the header `hand_over`, too.
//!
//! - **The cursor is the last record.** The sink reads it from the partition itself, by consuming
//!   to the end. It uses no consumer group and keeps no offset elsewhere, because those would
//!   expire. The first record must be entry 0: a topic that was created again has a hole instead.
//! - **A batch is one transaction** of an idempotent producer, and all replicas acknowledge it.
//!   Readers with `read_committed` see all of the batch or nothing.
//! - **One writer.** The transactional id names the topic and the partition, so a later writer
//!   fences off the earlier one. The later writer then reads the tail again before it writes
//!   anything. It writes nothing behind an open transaction, and nothing if the last record is no
//!   longer where it was.
//! - **The sink refuses a topic that could drop records**: see [`Weakness`]. The sink still reads
//!   the checkpoints in such a topic.
//! - **Openings**, which have names, are in another topic, which is compacted
//!   ([`KafkaTarget::with_openings`]). An erasure is a record without a value there.

mod build;
mod client;
mod error;
mod openings;
mod record;
mod session;
mod sink;
mod site;
mod tail;
mod target;
mod topic;
mod writer;

pub use crate::settings::{SaslMechanism, Weakness};
pub use sink::KafkaSink;
pub use site::{ReadBack, TopicCopy, read_back, read_back_all};
pub use target::KafkaTarget;
pub use topic::{TopicSetUp, set_up, set_up_openings};
