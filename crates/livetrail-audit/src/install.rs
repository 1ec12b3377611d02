//! One call that adds an audit trail to an engine.

use std::sync::Arc;

use livetrail_engine::EngineBuilder;

use crate::pipeline::{AuditPipeline, Policies};

/// Adds an audit trail to an engine: implemented for [`EngineBuilder`]. The engine itself does not
/// know about audits.
pub trait Audited: Sized {
    /// Installs the pipeline as an observer, its [gate](AuditPipeline::gate) with this policy, and
    /// its clock. With one clock, the times of all records have the same origin. While the sink is
    /// short of space, the pipeline drops the start records of this policy's best-effort roles.
    ///
    /// A ledger below the pipeline has that clock, too, if
    /// [`LedgerSink::open`](crate::LedgerSink::open) opened it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use livetrail_audit::{AuditPipeline, Audited as _, FileAuditSink, Policy};
    /// use livetrail_engine::{AppSpec, Engine};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let name = format!("livetrail-audited-{}.tsv", std::process::id());
    /// # let path = std::env::temp_dir().join(name);
    /// let sink = Arc::new(FileAuditSink::open(&path)?);
    /// let pipeline = Arc::new(AuditPipeline::builder(sink).build()?);
    /// let engine = Engine::builder()
    ///     .application(AppSpec::new("live"))
    ///     .audit(&pipeline, Policy::default())
    ///     .build()?;
    /// # drop((engine, pipeline));
    /// # std::fs::remove_file(&path)?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    fn audit(self, pipeline: &Arc<AuditPipeline>, policies: impl Into<Policies>) -> Self;
}

impl Audited for EngineBuilder {
    fn audit(self, pipeline: &Arc<AuditPipeline>, policies: impl Into<Policies>) -> Self {
        let policies = policies.into();
        pipeline.shed(policies.clone());
        self.clock(pipeline.clock())
            .observer(Arc::clone(pipeline))
            .gate(pipeline.gate(policies))
    }
}
