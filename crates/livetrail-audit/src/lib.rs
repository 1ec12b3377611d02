//! The audit trail of an engine: [`AuditPipeline`] is an observer that records every transition, [`AuditSink`] is where the
//! records go, [`FileAuditSink`] writes them to a file, [`LedgerSink`] to a Merkle log that strangers can verify, which any number
//! of replicas (`livetrail-replica`) follow.
//!
//! ```text
//!  engine ── StreamEvent ──▶ AuditPipeline (Observer): number, try_push; no allocation, no system call, no wait
//!                                │ bounded queue              │ full: counted, and recorded as soon as there is room
//!                                ▼                            ▼
//!                            worker thread: batches, losses, heartbeats, sessions left open ──▶ AuditSink
//!                                ▲
//!  gate (strict policy) ── asks, with a deadline: is this session's first record durable?
//! ```
//!
//! What is offered ends in exactly one of these: with the sink, or counted by [`AuditPipeline::dropped`] and, as far as
//! it had a number of the boot, reported by a `records_dropped` record.

mod error;
mod file;
mod install;
#[cfg(feature = "ledger")]
mod ledger;
mod pipeline;
mod sink;
mod trail;

pub use error::{AuditError, Refused, SinkError};
pub use file::FileAuditSink;
pub use install::Audited;
#[cfg(feature = "ledger")]
pub use ledger::{LedgerSink, open_sessions_of_ledger};
pub use pipeline::{
    AuditGate, AuditPipeline, AuditPipelineBuilder, CloseReport, Counters, Mode, Monitor, Policy,
    Status,
};
pub use sink::{AuditSink, PanickedWrites, RecordClass};
pub use trail::{FileTrail, Recovered, TrailLine, open_sessions};

pub use livetrail_record::{AuditAction, AuditRecord, OpenSession, Outcome, Personal, Reason};
