//! The settings of a pipeline that are numbers and times, with their defaults.

use std::time::Duration;

/// Settings of a pipeline. [`AuditPipeline::builder`](crate::AuditPipeline::builder) begins with
/// the defaults.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use livetrail_audit::{AuditPipeline, FileAuditSink, PipelineOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("livetrail-options-{}.tsv", std::process::id()));
///
/// let mut options = PipelineOptions::default();
/// options.heartbeat = Duration::from_secs(10);
/// let sink = Arc::new(FileAuditSink::open(&path)?);
/// let pipeline = AuditPipeline::builder(sink).options(options).build()?;
/// # drop(pipeline);
/// # std::fs::remove_file(&path)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// The number of records in the queue: at most 2^24; 0 means 1.
    pub capacity: usize,
    /// The interval of `heartbeat` records. Zero means never.
    pub heartbeat: Duration,
    /// The interval of syncs while records come in and nobody waits for a sync. Zero means never.
    pub sync_interval: Duration,
    /// The maximum number of records of refused attempts per second, over all addresses.
    pub refusal_records_per_second: u32,
    /// The time that [`AuditPipeline::close`](crate::AuditPipeline::close) may take.
    pub close_deadline: Duration,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            capacity: 65_536,
            heartbeat: Duration::from_secs(60),
            sync_interval: Duration::from_secs(1),
            refusal_records_per_second: 10,
            close_deadline: Duration::from_secs(30),
        }
    }
}
