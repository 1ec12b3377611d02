//! The regular work on the vault of a trail that is kept: openings expire, on record; refusals that
//! were not kept are counted on record.

use std::{sync::Arc, time::Duration};

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord};
use livetrail_ledger::Reader;
use livetrail_record::parse_canonical;
use livetrail_vault::{Retention, SessionId};
use tokio::runtime::Handle;

use crate::{
    TrailView,
    maintenance::all_recorded,
    operations::{MAX_SESSIONS, erased},
};

/// Bounds of the time between two looks. The time is a tenth of the shortest retention.
const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// How often [`keep`] is due.
pub(crate) fn interval(retention: &Retention) -> Duration {
    let [least, most] = INTERVALS;
    let ages = retention.apps.values().chain([&retention.default]);
    let shortest = ages.flatten().min();
    shortest.map_or(most, |age| (*age / 10).clamp(least, most))
}

/// Does what is due now: at `trail_ms`, the time of the trail.
pub(crate) async fn keep(
    pipeline: &Arc<AuditPipeline>,
    view: &TrailView,
    retention: &Retention,
    trail_ms: u64,
) -> anyhow::Result<()> {
    expire(pipeline, view, retention, trail_ms).await?;
    let personal = Arc::clone(view.personal());
    let reader = Arc::clone(&view.reader);
    let not_kept = tokio::task::spawn_blocking(move || -> anyhow::Result<u64> {
        personal.note_replayed(&reader, false)?;
        Ok(personal.take_not_kept()?)
    });
    let not_kept = not_kept.await??;
    if not_kept > 0 {
        tracing::warn!(
            openings = not_kept,
            "openings of refusals were not kept: the vault has a bound for them"
        );
        let record = AuditRecord::new(AuditAction::OpeningsDropped, "").with_count(not_kept);
        pipeline.record(record)?;
    }
    Ok(())
}

/// Erases the openings that are older than their retention at this time, on record. Returns how
/// many.
pub(crate) async fn expire(
    pipeline: &Arc<AuditPipeline>,
    view: &TrailView,
    retention: &Retention,
    trail_ms: u64,
) -> anyhow::Result<u64> {
    let turn = Arc::clone(&view.turn);
    let _turn = turn.lock().await;
    let (pipeline, view) = (Arc::clone(pipeline), view.clone());
    let (runtime, retention) = (Handle::current(), retention.clone());
    let expired = tokio::task::spawn_blocking(move || -> anyhow::Result<u64> {
        let Some(retention) = bounded(retention, &view.reader, trail_ms)? else {
            return Ok(0);
        };
        let expired = view.personal().expire(&retention, trail_ms, &mut |gone| {
            let recorded = record(&pipeline, &view, gone);
            runtime.block_on(recorded).map_err(Into::into)
        })?;
        Ok(expired.erased)
    });
    let expired = expired.await??;
    if expired > 0 {
        tracing::info!(openings = expired, "openings were erased by policy");
    }
    Ok(expired)
}

async fn record(
    pipeline: &AuditPipeline,
    view: &TrailView,
    sessions: &[SessionId],
) -> anyhow::Result<()> {
    let records = sessions.chunks(MAX_SESSIONS).map(|some| erased(None, some));
    all_recorded(pipeline, view, records.collect::<anyhow::Result<_>>()?).await
}

/// No opening is kept longer than its entry. `None` if nothing can expire.
fn bounded(
    mut retention: Retention,
    reader: &Reader,
    now_ms: u64,
) -> anyhow::Result<Option<Retention>> {
    let first = reader.first_index()?;
    if first > 0 && first < reader.checkpoint()?.head().size {
        let entry = parse_canonical(&reader.entry(first)?)?;
        let oldest = Duration::from_millis(now_ms.saturating_sub(entry.ts_ms));
        let ages = retention.apps.values_mut().chain([&mut retention.default]);
        ages.for_each(|age| *age = Some(age.map_or(oldest, |age| age.min(oldest))));
    }
    let expires = retention.default.is_some() || retention.apps.values().any(Option::is_some);
    Ok(expires.then_some(retention))
}
