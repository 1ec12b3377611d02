//! Kafka: one partition of a topic a log.
//!
//! ```text
//!  key         the log's origin
//!  value       the entry's bytes
//!  headers     index       decimal
//!              leaf        the entry's leaf hash, base64
//!              checkpoint  on the last record of a batch: the signed checkpoint that covers it, a note, if all that it covers is there
//!              hand_over   on the same, after a change of keys: the id of the key that was given up, LF, the checkpoint of the hand-over
//! ```
//!
//! - **The cursor is the last record.** It is read from the partition itself, by consuming to its end; no group, no offset kept
//!   elsewhere, which would expire. The first record must be entry 0: a topic that was made again has a hole instead.
//! - **A batch is one transaction** of an idempotent producer, acknowledged by all replicas. Readers with `read_committed` see all
//!   of it or nothing.
//! - **One writer.** The transactional id names topic and partition, so whoever comes later fences off who was there before. The
//!   tail is read again after that, and only then is anything written.
//!   Nothing is written behind a transaction that is open, nor where the last record is no longer where it was.
//! - **A topic that would lose records is refused**: see [`Weakness`]. What it has seen is read all the same.

mod build;
mod client;
mod error;
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
pub use site::{ReadBack, read_back};
pub use target::KafkaTarget;
pub use topic::{TopicSetUp, set_up};
