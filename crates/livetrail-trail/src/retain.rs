//! Retention: decides which entries a policy removes, records that, and then removes them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, OpenSession};
use livetrail_clock::{Clock, SystemClock};
use livetrail_ledger::{Cursor, LedgerError, Reader, Store, Witness, set_hold};
use livetrail_record::parse_canonical;
use livetrail_tlog::{Bundle, TILE_WIDTH};

use super::{
    Retention, TrailView,
    clock::{self, TrailTime, kernel_ms, take_confirmation, witness_times_ms},
    hold_notes,
    index::open_sessions,
    keys,
    maintenance::recorded,
    personal::expire,
};
use crate::operations;

/// A running server checks this often whether holds have changed.
const HOLDS_INTERVAL: Duration = Duration::from_secs(5);

/// Bounds of the time between two removals. The time is a tenth of the age at which entries are
/// removed.
const PRUNE_INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3_600)];

/// A policy about size is checked at least this often.
const SIZE_INTERVAL: Duration = Duration::from_secs(60);

/// Entries of a bundle.
const BUNDLE: u64 = TILE_WIDTH as u64;

/// The entries to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wanted {
    /// Everything below this entry.
    Below(u64),
    /// Everything recorded before this time, in milliseconds since 1970.
    Before(u64),
}

/// The entries to remove, and the records that must be repeated because of that.
#[derive(Debug, Default)]
pub struct Plan {
    /// The first entry that was kept before.
    pub first: u64,
    /// The first entry that is kept after.
    pub below: u64,
    /// Records of key changes that are removed. Without them nobody would know why older
    /// checkpoints have other keys.
    rotations: Vec<AuditRecord>,
}

impl Plan {
    /// Number of entries that are removed.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.below.saturating_sub(self.first)
    }
}

/// Plans what to remove. The beginning of an open session is never removed, because the next start
/// could not close the session.
///
/// # Errors
/// The trail cannot be read.
pub fn plan(reader: &Reader, open: &[OpenSession], wanted: Wanted) -> Result<Plan, LedgerError> {
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

/// The first entry that is not old enough, and the key changes before it. An entry is as old as the
/// youngest entry before it, so that a clock that went back makes nothing older.
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
        if record.action == AuditAction::AdminKeyRotated {
            rotations.push((index, keys::again(reader, record)));
        }
    }
    Ok((bound, rotations))
}

/// Records that the entries of a plan are removed, and then removes them. `by` is the operator, if
/// it is not the policy. Returns the number of removed bundles.
///
/// # Errors
/// The removal cannot be recorded; then the entries stay. Or the entries cannot be removed; then
/// the next start does it.
pub(crate) async fn prune(
    pipeline: &AuditPipeline,
    view: &TrailView,
    plan: Plan,
    policy: &str,
    by: Option<String>,
) -> anyhow::Result<u64> {
    let (mut record, below) = (operations::pruned(plan.below, policy)?, plan.below);
    record.by = by;
    for rotation in plan.rotations {
        recorded(pipeline, view, rotation).await?;
    }
    let index = recorded(pipeline, view, record).await?;
    let handle = view.handle.clone();
    Ok(tokio::task::spawn_blocking(move || handle.prune(below, index)).await??)
}

/// Maintains retention until the server stops.
pub(super) struct Keeper {
    pub(super) pipeline: Arc<AuditPipeline>,
    pub(super) view: TrailView,
    pub(super) retention: Retention,
    pub(super) openings: livetrail_vault::Retention,
    pub(super) directory: PathBuf,
    pub(super) witnesses: Vec<Witness>,
    pub(super) time: TrailTime,
    pub(super) clock: SystemClock,
}

impl Keeper {
    /// Records holds that were set or lifted and who has read the trail, and removes what the
    /// policy does not keep: entries, and openings in the vault.
    pub(super) async fn run(mut self, stopping: impl Future<Output = ()>) {
        tokio::pin!(stopping);
        let [least, most] = PRUNE_INTERVALS;
        let mut interval = (self.retention.age.unwrap_or(most) / 10).clamp(least, most);
        if self.retention.bytes.is_some() {
            interval = interval.min(SIZE_INTERVAL);
        }
        let mut prunes = tokio::time::interval(interval);
        let mut holds = tokio::time::interval(HOLDS_INTERVAL);
        let mut openings = tokio::time::interval(expire::interval(&self.openings));
        for interval in [&mut prunes, &mut holds, &mut openings] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        self.view.holds.begin(&self.view.reader);
        record_left_holds(&self.pipeline, &self.view, &self.directory);
        loop {
            tokio::select! {
                () = &mut stopping => {
                    record_holds(&self.pipeline, &self.view, &self.directory);
                    self.view.looks.keep(&self.directory, &self.pipeline, true);
                    self.read_clocks(None);
                    return;
                }
                _ = holds.tick() => {
                    record_holds(&self.pipeline, &self.view, &self.directory);
                    self.view.looks.keep(&self.directory, &self.pipeline, false);
                    if let Some((confirmed, by)) = take_confirmation(&self.directory) {
                        self.confirmed(confirmed, by);
                        self.prune_or_log().await;
                    }
                }
                _ = openings.tick() => {
                    let trail_ms = self.read_clocks(None);
                    let kept = expire::keep(&self.pipeline, &self.view, &self.openings, trail_ms);
                    if let Err(error) = kept.await {
                        tracing::error!("the vault of personal data is not kept: {error:#}");
                    }
                }
                _ = prunes.tick() => {
                    // The end of a hold is recorded before the entries that it held are removed.
                    record_holds(&self.pipeline, &self.view, &self.directory);
                    self.prune_or_log().await;
                }
            }
        }
    }

    async fn prune_or_log(&mut self) {
        if let Err(error) = self.prune().await {
            tracing::error!("old records cannot be removed: {error:#}");
        }
    }

    async fn prune(&mut self) -> anyhow::Result<()> {
        let trail_ms = self.read_clocks(None);
        if let Some(age) = self.retention.age {
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let wanted = Wanted::Before(trail_ms.saturating_sub(age_ms));
            let policy = format!("older than {}", span(age));
            self.let_go(wanted, &policy).await?;
        }
        if let Some(bytes) = self.retention.bytes {
            let (reader, directory) = (Arc::clone(&self.view.reader), self.directory.clone());
            let below = move || beyond(&reader, &directory, bytes);
            let below = tokio::task::spawn_blocking(below).await??;
            let policy = format!("more than {bytes} bytes");
            self.let_go(Wanted::Below(below), &policy).await?;
        }
        Ok(())
    }

    async fn let_go(&self, wanted: Wanted, policy: &str) -> anyhow::Result<()> {
        let (reader, directory) = (Arc::clone(&self.view.reader), self.directory.clone());
        let plan = tokio::task::spawn_blocking(move || -> anyhow::Result<Plan> {
            // Most of the time there is nothing to remove. Then this costs one bundle.
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
        prune(&self.pipeline, &self.view, plan, policy, None).await?;
        tracing::info!(entries, below, "records were removed by policy");
        Ok(())
    }

    /// Returns trail time and keeps it. Reports once when retention must wait, and once when it
    /// continues.
    fn read_clocks(&mut self, confirmed: Option<u64>) -> u64 {
        let (directory, view, witnesses) = (&self.directory, &self.view, &self.witnesses);
        let others = || {
            let mut others = witness_times_ms(directory, &view.reader, witnesses);
            others.extend(kernel_ms());
            others.extend(confirmed);
            others
        };
        let (wall_ms, monotonic) = (self.clock.unix_ms(), self.clock.monotonic());
        let read = self.time.read(wall_ms, monotonic, others);
        let waits = read.ahead.is_some();
        if self.view.watch.set_retention_waits(waits) != waits {
            self.log_clock(read.ahead);
        }
        // A trail that was not opened in a directory cannot keep the time.
        if self.directory.join("private").is_dir()
            && let Err(error) = clock::keep(&self.directory, read.trail_ms)
        {
            tracing::warn!("the trail's time is not kept: {error:#}");
        }
        read.trail_ms
    }

    fn log_clock(&self, ahead: Option<Duration>) {
        let (action, words) = match ahead {
            Some(ahead) => (
                AuditAction::RetentionWaits,
                format!(
                    "the wall clock is {} s ahead of the trail's time, and nothing agrees with it: no record counts as older for it until a synchronised \
                     clock or a witness does, or `livetrail trail confirm-clock` is run",
                    ahead.as_secs()
                ),
            ),
            None => (
                AuditAction::RetentionContinues,
                "another source agrees with the wall clock, or it went back".to_owned(),
            ),
        };
        tracing::warn!("retention: {words}");
        let mut record = AuditRecord::new(action.clone(), "");
        record.detail = Some(words.into());
        if let Err(error) = self.pipeline.record(record) {
            tracing::warn!(%error, %action, "this is not on record");
        }
    }

    /// An operator confirmed the wall clock, which showed this time then.
    fn confirmed(&mut self, wall_ms: u64, by: Option<String>) {
        let recorded = operations::clock_confirmed(wall_ms).and_then(|mut record| {
            record.by = by;
            self.pipeline.record(record).map_err(Into::into)
        });
        if let Err(error) = recorded {
            tracing::error!(
                "the confirmation of the clock cannot be recorded and does not count: {error:#}"
            );
            return;
        }
        tracing::info!(wall_ms, "an operator confirmed the clock");
        self.read_clocks(Some(wall_ms));
    }
}

/// The entry below which bundles must be removed, so that the others have at most `bytes` bytes.
/// Reads the length of each bundle that exists.
fn beyond(reader: &Reader, directory: &Path, bytes: u64) -> anyhow::Result<u64> {
    let size = reader.checkpoint()?.head().size;
    let first = reader.first_index()? / BUNDLE;
    let lengths = (first..size / BUNDLE)
        .map(|number| {
            let bundle = Bundle::new(number, TILE_WIDTH)?;
            let length = std::fs::metadata(directory.join(bundle.to_string()));
            Ok((number, length.map_or(0, |file| file.len())))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut total: u64 = lengths.iter().map(|(_, length)| length).sum();
    let mut below = first;
    for (number, length) in lengths {
        if total <= bytes {
            break;
        }
        total = total.saturating_sub(length);
        below = number.saturating_add(1);
    }
    Ok(below.saturating_mul(BUNDLE))
}

/// The legal holds of a trail that are on record.
#[derive(Debug, Default)]
pub(crate) struct KnownHolds(Mutex<Option<BTreeMap<String, u64>>>);

impl KnownHolds {
    /// Notes the holds of a start. An operation may have changed some before.
    fn begin(&self, reader: &Reader) {
        let mut known = self.lock();
        if known.is_none() {
            *known = holds_of(reader);
        }
    }

    /// Changes a hold that its caller puts on record.
    pub(crate) fn change(
        &self,
        store: &dyn Store,
        name: &str,
        from: Option<u64>,
    ) -> Result<(), LedgerError> {
        let mut known = self.lock();
        set_hold(store, name, from)?;
        if let Some(known) = known.as_mut() {
            match from {
                Some(from) => known.insert(name.to_owned(), from),
                None => known.remove(name),
            };
        }
        Ok(())
    }

    /// The holds that changed since the last call, and how: those that commands changed.
    fn changed(&self, reader: &Reader) -> Vec<(String, Option<u64>)> {
        let mut known = self.lock();
        let Some(now) = holds_of(reader) else {
            return Vec::new();
        };
        let before = known.replace(now.clone()).unwrap_or_else(|| now.clone());
        let lifted = before.keys().filter(|name| !now.contains_key(*name));
        let lifted = lifted.map(|name| (name.clone(), None));
        let set = now
            .iter()
            .filter(|(name, from)| before.get(*name) != Some(from));
        let set = set.map(|(name, from)| (name.clone(), Some(*from)));
        set.chain(lifted).collect()
    }

    /// Code that holds this lock cannot panic.
    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<String, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn holds_of(reader: &Reader) -> Option<BTreeMap<String, u64>> {
    let cursors = reader.cursors().ok()?;
    let holds = cursors
        .into_iter()
        .filter_map(|(name, cursor)| match cursor {
            Cursor::Hold(from) => Some((name, from)),
            Cursor::Required(_) | Cursor::Optional(_) => None,
        });
    Some(holds.collect())
}

/// Records the changes of holds that commands have made since the last call.
fn record_holds(pipeline: &AuditPipeline, view: &TrailView, directory: &Path) {
    for (name, from) in view.holds.changed(&view.reader) {
        let by = hold_notes::take(directory, &name, from);
        record_hold(pipeline, &name, from, by);
    }
}

/// Records the changes of holds that an earlier process did not record before it was killed.
fn record_left_holds(pipeline: &AuditPipeline, view: &TrailView, directory: &Path) {
    let Some(holds) = holds_of(&view.reader) else {
        return;
    };
    for note in hold_notes::left(directory) {
        let by = hold_notes::take(directory, &note.name, note.from);
        // The command may have ended before it changed the hold.
        if holds.get(&note.name).copied() == note.from {
            record_hold(pipeline, &note.name, note.from, by);
        }
    }
}

fn record_hold(pipeline: &AuditPipeline, name: &str, from: Option<u64>, by: Option<String>) {
    tracing::info!(hold = name, from, "a legal hold was changed");
    if let Ok(mut record) = operations::held(name, from) {
        record.by = by;
        if let Err(error) = pipeline.record(record) {
            tracing::error!(hold = name, %error, "the change of a legal hold is not on record");
        }
    }
}

/// The time in the form of the configuration.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds > 0 && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use livetrail_ledger::{Class, Identity, Ledger, RealStore, SharedStore};

    use super::*;

    #[test]
    fn a_policy_about_size_takes_whole_bundles_the_oldest_first_and_no_more_than_it_must() {
        let folder = tempfile::tempdir().unwrap();
        let store: SharedStore = Arc::new(RealStore::new(folder.path()));
        let identity =
            Identity::from_seeds("example.com/test", &[1; 32].into(), &[2; 32].into()).unwrap();
        Ledger::create(&store, &identity).unwrap();
        let (ledger, _) = Ledger::builder(store.clone(), identity).open().unwrap();
        for _ in 0..10 {
            ledger
                .append(Class::Essential, &vec![[7_u8; 98]; 100])
                .unwrap();
        }
        ledger.close().unwrap();
        // There are three full bundles of 256 entries with 100 bytes each, and a partial one that
        // is never counted.
        let reader = Reader::open(store).unwrap();
        let below = |bytes| beyond(&reader, folder.path(), bytes).unwrap();
        assert_eq!(below(76_800), 0);
        assert_eq!(below(76_799), 256);
        assert_eq!(below(51_200), 256);
        assert_eq!(below(51_199), 512);
        assert_eq!(below(0), 768);
    }
}
