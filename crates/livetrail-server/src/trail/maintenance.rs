//! The trail for an operator while no server runs. Each command has its own boot, so that its deed
//! is recorded like everything else.

use std::{future::Future, time::Duration};

use anyhow::{Context, bail};
use livetrail_audit::{AuditPipeline, AuditRecord};
use livetrail_record::parse_canonical;
use tokio::runtime::Runtime;

use super::{
    Settings, Trail, TrailView,
    retain::{self, Wanted},
};

/// The disk may take this long for one step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A trail that is open for an operator.
pub(crate) struct Maintenance {
    trail: Trail,
    pipeline: AuditPipeline,
    runtime: Runtime,
}

impl Maintenance {
    /// Opens the trail as a server would, closes on record what a crash left open, and records the
    /// purpose.
    ///
    /// # Errors
    /// [`Trail::open`] fails, or a sink or witness has not reported what it has seen.
    pub(crate) fn begin(settings: &Settings, what: &str) -> anyhow::Result<Self> {
        let mut trail = Trail::open_for(settings, false)?;
        let held = trail.view().handle.status().held;
        if !held.is_empty() {
            bail!(
                "{} has not said what it has seen of this trail, and without that nothing new is signed: try again when it answers, or set \
                 `required = false` for it",
                held.join(", ")
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let detail = format!("{}; {what}", trail.started_detail());
        let node = last_node(&trail.view()).unwrap_or_else(|| settings.node.clone());
        let pipeline = trail
            .pipeline()
            .node(node)
            .heartbeat(Duration::ZERO)
            .close_deadline(TIMEOUT)
            .started_detail(detail)
            .build()?;
        Ok(Self {
            trail,
            pipeline,
            runtime,
        })
    }

    /// Records what will be done, and returns when a checkpoint covers the record. Returns the
    /// index of the last entry then.
    ///
    /// # Errors
    /// It cannot be recorded. Then the caller must not do it.
    pub(crate) fn record(&self, record: AuditRecord) -> anyhow::Result<u64> {
        let view = self.trail.view();
        self.runtime
            .block_on(recorded(&self.pipeline, &view, record))
    }

    /// Removes entries, on record. Returns how many, and the first entry that is kept.
    ///
    /// # Errors
    /// [`retain::prune`] fails.
    pub(crate) fn prune(&self, wanted: Wanted, policy: &str) -> anyhow::Result<(u64, u64)> {
        let view = self.trail.view();
        // This boot has closed what a crash left open.
        self.runtime.block_on(self.pipeline.sync())?;
        let plan = retain::plan(&view.reader, &[], wanted)?;
        let (entries, below) = (plan.entries(), plan.below);
        if entries > 0 {
            let done = retain::prune(&self.pipeline, &view, plan, policy);
            self.runtime.block_on(done)?;
        }
        Ok((entries, below))
    }

    /// Ends the boot, seals all of it, and releases the trail.
    ///
    /// # Errors
    /// The last records are not on disk, or not covered by a checkpoint.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Self {
            trail,
            pipeline,
            runtime,
        } = self;
        runtime.block_on(async {
            let report = pipeline.close().await;
            let sealed = trail.close(TIMEOUT).await;
            if !report.durable || !sealed {
                bail!("it was done, but the end of it is not sealed: the next start of the server sees to that");
            }
            Ok(())
        })
    }
}

/// Records something and waits until a checkpoint covers it. Returns the index of the last entry
/// then.
pub(super) async fn recorded(
    pipeline: &AuditPipeline,
    view: &TrailView,
    record: AuditRecord,
) -> anyhow::Result<u64> {
    let what = record.action.label().to_owned();
    let recorded = pipeline.record(record);
    recorded.with_context(|| format!("{what} cannot be recorded"))?;
    within(pipeline.sync(), &what).await??;
    let entries = view.handle.durable_entries();
    within(view.handle.sealed(entries), &what).await??;
    entries
        .checked_sub(1)
        .with_context(|| format!("{what} is not in the trail"))
}

async fn within<T>(done: impl Future<Output = T>, what: &str) -> anyhow::Result<T> {
    tokio::time::timeout(TIMEOUT, done)
        .await
        .with_context(|| format!("{what} was not recorded within {TIMEOUT:?}"))
}

/// The node of the boot before. If that boot crashed, the same node closes it.
fn last_node(view: &TrailView) -> Option<String> {
    let size = view.handle.checkpoint().head().size;
    let entry = view.reader.entry(size.checked_sub(1)?).ok()?;
    parse_canonical(&entry).ok()?.node
}
