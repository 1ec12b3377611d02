//! The audit trail of an engine.
//!
//! - [`AuditPipeline`] is an observer that records every transition.
//! - [`AuditSink`] is a destination of records.
//! - [`FileAuditSink`] writes them to a file.
//! - [`LedgerSink`] writes them to a Merkle log that strangers can verify. Any number of replicas
//!   (`livetrail-replica`) follow it. With [`Openings`] it has commitments in place of names.
//!
//! ```text
//!  engine ── StreamEvent ──▶ AuditPipeline (Observer): number, try_push
//!                                │ bounded queue              │ full: counted
//!                                ▼                            ▼
//!                            worker thread: batches, losses, heartbeats ──▶ AuditSink
//!                                ▲
//!  gate (strict policy) ── asks, with a deadline: is this session's first record durable?
//! ```
//!
//! An offer does not allocate, wait or make a system call. The worker records the counted losses as
//! soon as there is space. It also ends the sessions that would stay open.
//!
//! Each offered record ends in exactly one of two ways: the sink gets it, or
//! [`AuditPipeline::dropped`] counts it. If a dropped record had a number of the boot, a
//! `records_dropped` record reports it, too.

mod error;
mod file;
mod install;
#[cfg(feature = "ledger")]
mod ledger;
#[cfg(feature = "ledger")]
mod openings;
mod pipeline;
mod random;
mod sink;
mod trail;

pub use error::{AuditError, Refused, SinkError};
pub use file::FileAuditSink;
pub use install::Audited;
#[cfg(feature = "ledger")]
pub use ledger::{LedgerSink, open_sessions_of_ledger};
#[cfg(feature = "ledger")]
pub use openings::{OpeningOf, Openings};
pub use pipeline::{
    AuditGate, AuditPipeline, AuditPipelineBuilder, ClockState, CloseReport, Counters, Mode,
    Monitor, PipelineOptions, Policies, Policy, Status,
};
pub use sink::{AuditSink, PanickedWrites, RecordClass};
pub use trail::{FileTrail, LineFormat, Recovered, TrailLine, open_sessions};

pub use livetrail_record::{AuditAction, AuditRecord, OpenSession, Outcome, Personal, Reason};
