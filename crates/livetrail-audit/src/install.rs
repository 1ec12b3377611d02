//! One call that makes an engine an audited one.

use std::sync::Arc;

use livetrail_engine::EngineBuilder;

use crate::pipeline::{AuditPipeline, Policy};

/// Puts an engine on record: implemented for [`EngineBuilder`]. The engine itself knows nothing of audits.
pub trait Audited: Sized {
    /// Installs the pipeline as an observer, its [gate](AuditPipeline::gate) with this policy, and its clock, so that the times of all
    /// records have one origin. While the sink is short of room, how sessions of this policy's best-effort roles begin is left out.
    ///
    /// A ledger below the pipeline has that clock, too, when it is opened with [`LedgerSink::open`](crate::LedgerSink::open).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use livetrail_audit::{AuditPipeline, Audited as _, FileAuditSink, Policy};
    /// use livetrail_engine::{AppSpec, Engine};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("livetrail-audited-{}.tsv", std::process::id()));
    /// let pipeline = Arc::new(AuditPipeline::builder(Arc::new(FileAuditSink::open(&path)?)).build()?);
    /// let engine = Engine::builder()
    ///     .application(AppSpec::new("live"))
    ///     .audit(&pipeline, Policy::default())
    ///     .build()?;
    /// # drop((engine, pipeline));
    /// # std::fs::remove_file(&path)?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    fn audit(self, pipeline: &Arc<AuditPipeline>, policy: Policy) -> Self;
}

impl Audited for EngineBuilder {
    fn audit(self, pipeline: &Arc<AuditPipeline>, policy: Policy) -> Self {
        pipeline.shed(policy);
        self.clock(pipeline.clock())
            .observer(Arc::clone(pipeline))
            .gate(pipeline.gate(policy))
    }
}
