//! The trail for an operator while no server runs. Each command has its own boot, so that its
//! operation is recorded like everything else.

use std::{future::Future, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use livetrail_audit::{AuditPipeline, AuditRecord};
use livetrail_record::parse_canonical;
use tokio::runtime::Runtime;

use super::{
    Error, Settings, Trail, TrailView, clock,
    looked::notes::local_user,
    operations,
    personal::{Answered, Asked},
    retain::{self, Wanted},
    trail_directory,
};

/// The disk may take this long for one step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A trail that is open for an operator. Its methods wait for the disk, outside of a runtime.
///
/// ```
/// use livetrail_trail::{Maintenance, Settings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let data = std::env::temp_dir().join(format!("livetrail-care-doc-{}", std::process::id()));
/// let settings = Settings::new(&data).origin("example.com/host");
/// livetrail_trail::create(&settings)?;
/// let maintenance = Maintenance::begin(&settings, "a legal hold")?;
/// // Put the hold in force with `livetrail_ledger::set_hold` first.
/// let entry = maintenance.record_hold("case-17", Some(0))?;
/// assert!(entry > 0);
/// maintenance.end()?;
/// # std::fs::remove_dir_all(&data)?;
/// # Ok(()) }
/// ```
pub struct Maintenance {
    trail: Trail,
    pipeline: AuditPipeline,
    runtime: Runtime,
    /// The trail's directory.
    directory: PathBuf,
}

impl Maintenance {
    /// Opens the trail as a server would, closes on record what a crash left open, and records the
    /// purpose.
    ///
    /// # Errors
    /// [`Trail::open`] fails, or a sink or witness has not reported what it has seen.
    pub fn begin(settings: &Settings, what: &str) -> Result<Self, Error> {
        Ok(Self::open(settings, what)?)
    }

    fn open(settings: &Settings, what: &str) -> anyhow::Result<Self> {
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
            directory: trail_directory(&settings.data),
        })
    }

    /// Records what will be done, and returns when a checkpoint covers the record. Returns the
    /// index of the last entry then. If the record does not say who acts, it is the local user, by
    /// number.
    ///
    /// # Errors
    /// It cannot be recorded. Then the caller must not do it.
    pub fn record(&self, record: AuditRecord) -> Result<u64, Error> {
        let view = self.trail.view();
        let record = match record.by {
            None => record.with_by(local_user()),
            Some(_) => record,
        };
        let recorded = recorded(&self.pipeline, &view, record);
        Ok(self.runtime.block_on(recorded)?)
    }

    /// Records that a legal hold is set from this entry on, or that it is lifted. Returns the index
    /// of the last entry then. A hold must be in force before the record of it, and lifting it must
    /// be recorded before the hold ends.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn record_hold(&self, name: &str, from: Option<u64>) -> Result<u64, Error> {
        self.record(operations::held(name, from)?)
    }

    /// Records that the operator has confirmed the wall clock, which shows `wall_ms`. From then on
    /// it is the trail's time.
    ///
    /// # Errors
    /// It cannot be recorded, and does not count. Or the time cannot be written.
    pub fn confirm_clock(&self, wall_ms: u64) -> Result<(), Error> {
        self.record(operations::clock_confirmed(wall_ms)?)?;
        Ok(clock::keep(&self.directory, wall_ms)?)
    }

    /// Erases openings, or sets or lifts a hold on them, on record.
    ///
    /// # Errors
    /// It was not done, or not all of it: those of [`erase`](crate::personal::erase()) and
    /// [`hold`](crate::personal::hold()).
    pub fn run(&self, asked: &Asked) -> Result<Answered, Error> {
        let view = self.trail.view();
        self.runtime.block_on(asked.run(&self.pipeline, &view))
    }

    /// Removes entries, on record. Returns how many, and the first entry that is kept.
    ///
    /// # Errors
    /// The removal cannot be recorded; then the entries stay. Or they cannot be removed; then the
    /// next start does it.
    pub fn prune(&self, wanted: Wanted, policy: &str) -> Result<(u64, u64), Error> {
        Ok(self.remove(wanted, policy)?)
    }

    fn remove(&self, wanted: Wanted, policy: &str) -> anyhow::Result<(u64, u64)> {
        let view = self.trail.view();
        // This boot has closed what a crash left open.
        self.runtime.block_on(self.pipeline.sync())?;
        let plan = retain::plan(&view.reader, &[], wanted)?;
        let (entries, below) = (plan.entries(), plan.below);
        if entries > 0 {
            let by = Some(local_user());
            let done = retain::prune(&self.pipeline, &view, plan, policy, by);
            self.runtime.block_on(done)?;
        }
        Ok((entries, below))
    }

    /// Ends the boot, seals all of it, and releases the trail.
    ///
    /// # Errors
    /// The last records are not on disk, or not covered by a checkpoint.
    pub fn end(self) -> Result<(), Error> {
        let Self {
            trail,
            pipeline,
            runtime,
            directory: _,
        } = self;
        let ended = runtime.block_on(async {
            let report = pipeline.close().await;
            let sealed = trail.close(TIMEOUT).await;
            if !report.durable || !sealed {
                bail!("the operation was done, but its end is not sealed: the next start of the server seals it");
            }
            Ok(())
        });
        Ok(ended?)
    }
}

impl std::fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maintenance")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
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

/// The same for several records, which are covered together.
pub(super) async fn all_recorded(
    pipeline: &AuditPipeline,
    view: &TrailView,
    records: Vec<AuditRecord>,
) -> anyhow::Result<()> {
    let mut records = records.into_iter().peekable();
    while let Some(record) = records.next() {
        if records.peek().is_none() {
            recorded(pipeline, view, record).await?;
        } else {
            let what = record.action.label().to_owned();
            let recorded = pipeline.record(record);
            recorded.with_context(|| format!("{what} cannot be recorded"))?;
        }
    }
    Ok(())
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
