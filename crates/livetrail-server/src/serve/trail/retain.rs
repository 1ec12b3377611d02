//! Retention: which entries may go by a policy, and letting them go, on record first.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, OpenSession};
use livetrail_engine::{Clock, SystemClock};
use livetrail_ledger::{Cursor, LedgerError, Reader};
use livetrail_record::{Value, parse_canonical};

use super::{TrailView, index::open_sessions, keys, maintenance::recorded};

/// How often a running server looks whether holds have changed.
const HOLDS_INTERVAL: Duration = Duration::from_secs(5);

/// How often entries are let go, at most and at least: a tenth of the time that they are kept for.
const PRUNE_INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3_600)];

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything below this entry.
    Below(u64),
    /// Everything that was recorded before this time, in milliseconds since 1970.
    Before(u64),
}

/// What goes, and what must be said once more because of that.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The first entry that was kept before.
    pub(crate) first: u64,
    /// The first entry that is kept after.
    pub(crate) below: u64,
    /// Records of changes of keys that go: without them nobody would know why older checkpoints have other keys.
    rotations: Vec<AuditRecord>,
}

impl Plan {
    /// How many entries go.
    pub(crate) const fn entries(&self) -> u64 {
        self.below.saturating_sub(self.first)
    }
}

/// Looks at what is to go. Never the beginning of a session that is still open: the next start could not close it.
///
/// # Errors
/// The trail cannot be read.
pub(crate) fn plan(
    reader: &Reader,
    open: &[OpenSession],
    wanted: Wanted,
) -> Result<Plan, LedgerError> {
    let first = reader.first_index()?;
    let oldest_open = open.iter().map(|session| session.index).min();
    let most = match wanted {
        Wanted::Below(below) => below,
        Wanted::Before(_) => u64::MAX,
    };
    let most = most.min(oldest_open.unwrap_or(u64::MAX));
    let bound = reader.prunable_below(most)?;
    let (aged, rotations) = survey(reader, first, bound, wanted)?;
    let below = reader.prunable_below(aged)?;
    Ok(Plan {
        first,
        below,
        rotations: rotations
            .into_iter()
            .filter_map(|(index, record)| (index < below).then_some(record))
            .collect(),
    })
}

/// Up to where entries are old enough, and the changes of keys among them. An entry counts as old as the youngest before it, so that a clock that
/// went back makes nothing older.
fn survey(
    reader: &Reader,
    first: u64,
    bound: u64,
    wanted: Wanted,
) -> Result<(u64, Vec<(u64, AuditRecord)>), LedgerError> {
    let mut rotations = Vec::new();
    for (index, entry) in (first..).zip(reader.entries(first..bound)?) {
        let Ok(record) = parse_canonical(&entry?) else {
            continue;
        };
        if matches!(wanted, Wanted::Before(time_ms) if record.ts_ms >= time_ms) {
            return Ok((index, rotations));
        }
        if record.action.label() == "admin_key_rotated" {
            rotations.push((index, keys::again(reader, record)));
        }
    }
    Ok((bound, rotations))
}

/// Records that the entries of a plan go, and lets them go. Gives how many bundles were removed.
///
/// # Errors
/// It cannot be recorded: then they stay. Or they cannot be removed: then the next start does it.
pub(crate) async fn prune(
    pipeline: &AuditPipeline,
    view: &TrailView,
    plan: Plan,
    policy: &str,
) -> anyhow::Result<u64> {
    let (record, below) = (pruning(&plan, policy)?, plan.below);
    for rotation in plan.rotations {
        recorded(pipeline, view, rotation).await?;
    }
    let index = recorded(pipeline, view, record).await?;
    let handle = view.handle.clone();
    Ok(tokio::task::spawn_blocking(move || handle.prune(below, index)).await??)
}

/// The range is that of all that has ever gone: records of former prunings go as well.
fn pruning(plan: &Plan, policy: &str) -> anyhow::Result<AuditRecord> {
    let last = i64::try_from(plan.below.saturating_sub(1))?;
    let record = AuditRecord::new(AuditAction::AdminPruned, "");
    Ok(record
        .with_extra("first_index", Value::Integer(0))?
        .with_extra("last_index", Value::Integer(last))?
        .with_extra("policy", Value::Text(policy.to_owned()))?)
}

/// Looks after retention until the server stops: records holds that were set or lifted, and lets go of what is older than `retention`.
pub(super) async fn keep(
    pipeline: Arc<AuditPipeline>,
    view: TrailView,
    retention: Option<Duration>,
    directory: PathBuf,
    stopping: impl Future<Output = ()>,
) {
    tokio::pin!(stopping);
    let [least, most] = PRUNE_INTERVALS;
    let mut prunes = tokio::time::interval((retention.unwrap_or(most) / 10).clamp(least, most));
    let mut holds = tokio::time::interval(HOLDS_INTERVAL);
    for interval in [&mut prunes, &mut holds] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    let mut known = holds_of(&view);
    loop {
        tokio::select! {
            () = &mut stopping => return record_holds(&pipeline, &view, &mut known),
            _ = holds.tick() => record_holds(&pipeline, &view, &mut known),
            _ = prunes.tick(), if retention.is_some() => {
                // A hold is on record as lifted before what it held goes.
                record_holds(&pipeline, &view, &mut known);
                let age = retention.unwrap_or_default();
                if let Err(error) = prune_older(&pipeline, &view, age, directory.clone()).await {
                    tracing::error!("old records cannot be removed: {error:#}");
                }
            }
        }
    }
}

fn holds_of(view: &TrailView) -> Option<BTreeMap<String, u64>> {
    let cursors = view.reader.cursors().ok()?;
    let holds = cursors
        .into_iter()
        .filter_map(|(name, cursor)| match cursor {
            Cursor::Hold(from) => Some((name, from)),
            Cursor::Required(_) | Cursor::Optional(_) => None,
        });
    Some(holds.collect())
}

fn record_holds(
    pipeline: &AuditPipeline,
    view: &TrailView,
    known: &mut Option<BTreeMap<String, u64>>,
) {
    let Some(now) = holds_of(view) else { return };
    let before = known.replace(now.clone()).unwrap_or_else(|| now.clone());
    let set = now
        .iter()
        .filter(|(name, from)| before.get(*name) != Some(from));
    let set = set.map(|(name, from)| (name, Some(*from)));
    let lifted = before.keys().filter(|name| !now.contains_key(*name));
    for (name, from) in set.chain(lifted.map(|name| (name, None))) {
        tracing::info!(hold = name, from, "a legal hold was changed");
        if let Ok(record) = hold_record(name, from)
            && let Err(error) = pipeline.record(record)
        {
            tracing::error!(hold = name, %error, "the change of a legal hold is not on record");
        }
    }
}

async fn prune_older(
    pipeline: &AuditPipeline,
    view: &TrailView,
    age: Duration,
    directory: PathBuf,
) -> anyhow::Result<()> {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let wanted = Wanted::Before(SystemClock::new().unix_ms().saturating_sub(age_ms));
    let reader = Arc::clone(&view.reader);
    let plan = tokio::task::spawn_blocking(move || -> anyhow::Result<Plan> {
        // Most of the time nothing is old enough: then it costs one bundle.
        let plan = plan(&reader, &[], wanted)?;
        if plan.entries() == 0 {
            return Ok(plan);
        }
        let open = open_sessions(Some(&directory), &reader)?;
        Ok(self::plan(&reader, &open, wanted)?)
    });
    let plan = plan.await??;
    if plan.entries() == 0 {
        return Ok(());
    }
    let (entries, below) = (plan.entries(), plan.below);
    let policy = format!("older than {}", span(age));
    prune(pipeline, view, plan, &policy).await?;
    tracing::info!(entries, below, "records were removed by policy");
    Ok(())
}

/// As it is written in the configuration.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds > 0 && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// The record of a hold that was set (from this entry on) or lifted.
pub(crate) fn hold_record(name: &str, from: Option<u64>) -> anyhow::Result<AuditRecord> {
    let record = AuditRecord::new(AuditAction::AdminHeld, "");
    let record = record.with_extra("hold", Value::Text(name.to_owned()))?;
    Ok(match from {
        Some(from) => record.with_extra("from_index", Value::Integer(i64::try_from(from)?))?,
        None => record.with_extra("lifted", Value::Bool(true))?,
    })
}
