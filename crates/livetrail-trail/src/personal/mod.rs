//! The personal data of a trail: its openings in a vault, and their way there.
//!
//! ```text
//!  record ─▶ sink: entry with a commitment, and its opening, sealed (companion.rs, keys.rs)
//!                          │
//!              write-ahead log: both in one frame
//!                          │ before a checkpoint covers the entry
//!                 keep ────▶ vault: a row per session (keep.rs)
//! ```
//!
//! | operation | where |
//! |---|---|
//! | erasing on request | [`erase()`], [`ErasureRequest`] |
//! | legal holds | [`hold()`], [`lift`] |
//! | asking a running server for either | [`Asked`] |
//! | keeping requests that wait for approvals | [`Approval`] |
//! | showing personal fields | [`fill_in`], [`opening_of`] |
//!
//! The log is the list of erasures. At each start what the log names as erased is erased again
//! (`replay.rs`). The trail remembers which vault it has (`marker.rs`), so that an unmounted volume
//! is not mistaken for a trail without a vault.

mod approved;
mod ask;
mod companion;
mod disclose;
mod erase;
pub(crate) mod expire;
mod hold;
mod keep;
mod keys;
mod marker;
#[cfg(test)]
mod operation_tests;
pub(crate) mod replay;
mod request;
mod serving;
#[cfg(test)]
mod sink_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trail_tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use livetrail_clock::{Clock, SystemClock};
use livetrail_ledger::{MemStore, Reader, RealStore, SharedStore, generate_seed};
use livetrail_vault::{
    Erasure, KEY_FILE, MasterKey, Opened, Options, Record, Request, Retention, SessionId, Vault,
    VaultError,
};
use serde::Serialize;
use zeroize::Zeroizing;

pub use approved::Approval;
pub use ask::{
    ErasureReport, ErasureRequest, HoldOn, HoldReport, MAX_BASIS_BYTES, MAX_REQUEST_BYTES, Whose,
};
pub(crate) use ask::{RETENTION, Words};
pub use disclose::{Shown, fill_in, hide, opening_id, opening_of};
pub use erase::erase;
pub use hold::{hold, lift};
pub(crate) use keep::Companions;
use keys::{PERIOD, PeriodKeys};
pub(crate) use request::serve;
pub use request::{Answered, Asked};

use super::{Error, Settings, place, trail_directory};

/// A retired key that still waits after this long needs attention.
const OVERDUE: Duration = Duration::from_secs(600);

/// The vault of a trail, shared by all who need it.
///
/// An opening gets here from the write-ahead log, before a checkpoint covers its entry. After an
/// error the vault is opened again by the next call, which repairs it.
///
/// ```
/// use livetrail_trail::{Personal, Settings};
/// use livetrail_vault::{Query, Subject};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let name = format!("livetrail-personal-doc-{}", std::process::id());
/// # let data = std::env::temp_dir().join(name);
/// let settings = Settings::new(&data);
/// livetrail_trail::create(&settings)?;
/// // Next to a running server:
/// let personal = Personal::read_only(&settings)?;
/// let alice = Query::of(Subject::Principal("alice".into()));
/// let page = personal.with(|vault| vault.find(&alice, None, 10))?;
/// assert!(page.rows.is_empty());
/// # std::fs::remove_dir_all(&data)?;
/// # Ok(()) }
/// ```
pub struct Personal {
    place: Place,
    clock: Arc<dyn Clock>,
    vault: Mutex<Slot>,
    /// Held while a caller waits for the vault.
    gate: Mutex<()>,
    /// The keys of openings in the write-ahead log. `None` if the vault is open to read only.
    keys: Option<PeriodKeys>,
    /// The secrets of the applications whose names are personal.
    names: BTreeMap<String, Zeroizing<[u8; 32]>>,
    /// Sessions that are on record as erased, while the vault may not have erased them.
    owed: Mutex<BTreeSet<SessionId>>,
    /// Requests with all approvals that are repeated until they are done.
    ready: Mutex<BTreeMap<String, ErasureRequest>>,
    counts: Counts,
    failing: Mutex<Option<String>>,
    /// Dropped with this, which ends the thread.
    ticker: Mutex<Option<SyncSender<()>>>,
}

enum Slot {
    Open(Box<Vault>),
    /// An operation failed.
    Broken,
    Closed,
}

#[derive(Debug, Default)]
struct Counts {
    kept: AtomicU64,
    erased: AtomicU64,
    not_kept: AtomicU64,
    lost: AtomicU64,
    /// Erasures that run now.
    erasing: AtomicU64,
}

/// Where the vault is.
enum Place {
    Directory(Options),
    ReadOnly(Options),
    Memory(SharedStore, MasterKey),
}

impl Place {
    fn open(&self, clock: &Arc<dyn Clock>) -> Result<(Vault, Opened), VaultError> {
        let clock = Arc::clone(clock);
        match self {
            Self::Directory(options) => Vault::open(options, clock),
            Self::ReadOnly(options) => {
                let vault = Vault::open_read_only(options, clock)?;
                Ok((vault, Opened::default()))
            }
            Self::Memory(store, key) => Vault::open_store(
                Arc::clone(store),
                key,
                livetrail_vault::Limits::default(),
                clock,
            ),
        }
    }

    /// The store of the vault's files.
    fn store(&self) -> SharedStore {
        match self {
            Self::Directory(options) | Self::ReadOnly(options) => {
                Arc::new(RealStore::new(&options.dir))
            }
            Self::Memory(store, _) => Arc::clone(store),
        }
    }
}

/// The vault of a new trail.
pub(crate) struct NewVault {
    id: SessionId,
    pub(crate) directory: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl NewVault {
    /// The trail remembers the vault from now on.
    pub(crate) fn mark(&self, trail: &SharedStore) -> anyhow::Result<()> {
        marker::write(trail, self.id)
    }
}

/// The state of the personal data of a trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PersonalStatus {
    /// Why the vault takes no openings now, if it does not. Meanwhile they stay in the write-ahead
    /// log, and no checkpoint covers their entries.
    pub failing: Option<String>,
    /// Openings that are in the write-ahead log and not yet in the vault.
    pub waiting: u64,
    /// How long the oldest retired key has waited for one of these openings, in seconds. 0 if none
    /// waits.
    pub waiting_seconds: u64,
    /// Openings have waited for more than ten minutes.
    pub overdue: bool,
    /// Openings that were put into the vault since the start.
    pub kept: u64,
    /// Openings since the start that were not kept because their session was erased.
    pub erased: u64,
    /// Openings of refusals since the start that were not kept, because of the vault's bounds.
    pub refusals_not_kept: u64,
    /// Openings since the start that could not be read in the write-ahead log and are not in the
    /// vault either, because its keys were lost.
    pub lost: u64,
}

impl PersonalStatus {
    /// Whether a person should check on the vault.
    #[must_use]
    pub const fn needs_attention(&self) -> bool {
        self.failing.is_some() || self.overdue || self.lost > 0
    }
}

/// The findings of opening the vault.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    opened: Opened,
    /// Sessions that the log names as erased, and that a restored vault had again.
    pub(crate) erased_again: u64,
}

impl Found {
    /// The findings for people. Empty if there is nothing to report.
    pub(crate) fn words(&self, status: &PersonalStatus) -> String {
        let mut words = String::new();
        if self.opened.created {
            words += "; the vault is new";
        }
        for (count, what) in [
            (
                self.opened.dropped,
                "unfinished rows dropped from the vault",
            ),
            (
                self.opened.finished_erasures,
                "erasures finished in the vault",
            ),
            (self.erased_again, "sessions erased again in the vault"),
            (self.opened.damaged, "damaged rows in the vault"),
            (status.lost, "openings lost with the keys of the vault"),
        ] {
            if count > 0 {
                words += &format!("; {what}: {count}");
            }
        }
        words
    }
}

impl Personal {
    /// Opens the vault of a trail for a server or a command that changes the trail, or creates it.
    /// Erases again what the published log names as erased. `trail` is the store of the trail.
    pub(crate) fn open(
        settings: &Settings,
        trail: &SharedStore,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<(Arc<Self>, Found)> {
        Self::open_at(Place::Directory(options(settings)?), settings, trail, clock)
    }

    fn open_at(
        place: Place,
        settings: &Settings,
        trail: &SharedStore,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<(Arc<Self>, Found)> {
        let marked = marker::read(trail)?;
        marker::check(marked, &place.store(), trail)?;
        let (personal, mut found) = Self::new(place, settings, clock)?;
        let reader = Reader::open(Arc::clone(trail))?;
        if marked.is_none() {
            // A new one has nothing that could be erased. One that was there may be of another log.
            let size = reader.checkpoint()?.head().size;
            let replayed = if found.opened.created { size } else { 0 };
            let id = personal.with(|vault| {
                vault.set_replayed(replayed)?;
                Ok(vault.id())
            })?;
            marker::write(trail, id)?;
        }
        found.erased_again = personal.replay(&reader)?;
        Ok((personal, found))
    }

    /// Creates the vault of a new trail, or takes the one that is there. The trail remembers it
    /// after [`mark`](NewVault::mark).
    pub(crate) fn create(settings: &Settings) -> anyhow::Result<NewVault> {
        let options = options(settings)?;
        let (mut vault, opened) = Vault::open(&options, Arc::new(SystemClock::new()))
            .with_context(|| format!("cannot create the vault in {}", options.dir.display()))?;
        if !opened.created {
            vault.set_replayed(0)?;
        }
        Ok(NewVault {
            id: vault.id(),
            key_file: match &options.key_file {
                Some(file) => file.clone(),
                None => options.dir.join(KEY_FILE),
            },
            directory: options.dir,
        })
    }

    /// A new vault in memory, for a trail in memory.
    pub(crate) fn in_memory(
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<(Arc<Self>, Found)> {
        let key = MasterKey::new(generate_seed()?);
        let place = Place::Memory(Arc::new(MemStore::new()), key);
        Self::new(place, settings, clock)
    }

    /// Opens the vault of a trail to read it, also while a server has it open. What
    /// [`with`](Self::with) then shows is the vault of this moment; everything that writes is
    /// refused.
    ///
    /// # Errors
    /// There is no vault, it is not the vault of this trail, or its key is missing.
    pub fn read_only(settings: &Settings) -> Result<Self, Error> {
        Ok(Self::open_read_only(settings)?)
    }

    fn open_read_only(settings: &Settings) -> anyhow::Result<Self> {
        let options = options(settings)?;
        let trail: SharedStore = Arc::new(RealStore::new(trail_directory(&settings.data)));
        let place = Place::ReadOnly(options);
        marker::check(marker::read(&trail)?, &place.store(), &trail)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (vault, _) = place.open(&clock)?;
        Ok(Self::of(place, vault, None, settings, clock))
    }

    fn new(
        place: Place,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<(Arc<Self>, Found)> {
        let (vault, opened) = place.open(&clock)?;
        let keys = PeriodKeys::open(place.store())?;
        let personal = Arc::new(Self::of(place, vault, Some(keys), settings, clock));
        personal.start_ticker()?;
        let found = Found {
            opened,
            erased_again: 0,
        };
        Ok((personal, found))
    }

    fn of(
        place: Place,
        vault: Vault,
        keys: Option<PeriodKeys>,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let secret = |app: &String| vault.secret(format!("names of\0{app}").as_bytes());
        let names = settings.personal_names.iter();
        Self {
            names: names.map(|app| (app.clone(), secret(app))).collect(),
            place,
            clock,
            vault: Mutex::new(Slot::Open(Box::new(vault))),
            gate: Mutex::default(),
            keys,
            owed: Mutex::default(),
            ready: Mutex::default(),
            counts: Counts::default(),
            failing: Mutex::default(),
            ticker: Mutex::default(),
        }
    }

    /// Calls `act` with the vault. Waits for others that use it. After an error that leaves the
    /// vault unusable, the next call opens it again.
    ///
    /// `act` must not wait for the trail: a checkpoint waits until the openings of its entries are
    /// in the vault. To erase, call [`erase`](Self::erase) or [`erasing`](Self::erasing), which do
    /// not hold the vault while the erasure is put on record.
    ///
    /// # Errors
    /// Those of `act`; those of opening the vault again; [`VaultError::Closed`] after the trail was
    /// closed.
    pub fn with<T>(
        &self,
        act: impl FnOnce(&mut Vault) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        // Who waits has the gate, so a caller that comes back at once waits for them.
        let gate = lock(&self.gate);
        let mut slot = lock(&self.vault);
        drop(gate);
        if matches!(*slot, Slot::Broken) {
            let (mut vault, _) = self.place.open(&self.clock)?;
            self.settle(&mut vault)?;
            *slot = Slot::Open(Box::new(vault));
        }
        let Slot::Open(vault) = &mut *slot else {
            return Err(VaultError::Closed);
        };
        let done = act(vault);
        if vault.is_broken() {
            *slot = Slot::Broken;
        }
        done
    }

    /// Erases what is on record as erased, after an erasure that failed in the middle.
    fn settle(&self, vault: &mut Vault) -> Result<(), VaultError> {
        let mut owed = lock(&self.owed);
        if !owed.is_empty() {
            let sessions: Vec<SessionId> = owed.iter().copied().collect();
            vault.replay(&sessions)?;
            owed.clear();
        }
        Ok(())
    }

    /// Erases what a request selects, as [`Vault::erase`] does. `record` is called while the vault
    /// is not held, so it may wait for the trail. Afterwards the openings of erased sessions cannot
    /// be read in the write-ahead log either, after the next checkpoint.
    ///
    /// Sessions whose first record no checkpoint covers yet may not be in the vault. To select
    /// them by their names, wait for a checkpoint first.
    ///
    /// # Errors
    /// As [`Vault::erase`].
    pub fn erase(&self, request: &Request, record: &mut Record<'_>) -> Result<Erasure, VaultError> {
        self.erasing(|vault, record| vault.erase(request, record), record)
            .map(|(done, steps)| steps.added_to(done))
    }

    /// Erases openings that are older than their retention at this time, in milliseconds since
    /// 1970, as [`Vault::expire_at`] does. `record` may wait for the trail.
    ///
    /// # Errors
    /// As [`Vault::expire_at`].
    pub fn expire(
        &self,
        retention: &Retention,
        now_ms: u64,
        record: &mut Record<'_>,
    ) -> Result<Erasure, VaultError> {
        let expire =
            |vault: &mut Vault, record: &mut Record<'_>| vault.expire_at(retention, now_ms, record);
        self.erasing(expire, record)
            .map(|(done, steps)| steps.added_to(done))
    }

    /// Runs any erasure of the vault in steps. `step` is called with the vault until it calls
    /// nothing on record any more: first it chooses sessions; then `record` puts these on record
    /// while the vault is not held; then they are erased, and `step` chooses again. So `step` must
    /// be a call that can be repeated, such as [`Vault::run_waiting`].
    ///
    /// Returns the result of the last call of `step`, which erased nothing itself, and what the
    /// steps before it erased.
    ///
    /// # Errors
    /// Those of `step` and `record`. What was on record is erased, at the latest when the vault is
    /// opened again.
    pub fn erasing<T>(
        &self,
        mut step: impl FnMut(&mut Vault, &mut Record<'_>) -> Result<T, VaultError>,
        record: &mut Record<'_>,
    ) -> Result<(T, Steps), VaultError> {
        let _running = Running::begin(&self.counts.erasing);
        let mut steps = Steps::default();
        loop {
            let mut chosen: Vec<SessionId> = Vec::new();
            let done = self.with(|vault| {
                step(vault, &mut |sessions| {
                    chosen.extend_from_slice(sessions);
                    Err(Box::new(Paused))
                })
            });
            match done {
                Err(VaultError::Record(why)) if why.is::<Paused>() => {}
                done => {
                    let done = done?;
                    if steps.recorded > 0 {
                        self.change_key();
                    }
                    return Ok((done, steps));
                }
            }
            record(&chosen).map_err(VaultError::Record)?;
            lock(&self.owed).extend(chosen.iter().copied());
            // Others use the vault between the parts.
            let with_rows = self.with(|vault| vault.begin_erasure(&chosen))?;
            while self.with(Vault::erase_part)? {}
            let mut owed = lock(&self.owed);
            for session in &chosen {
                owed.remove(session);
            }
            drop(owed);
            steps.recorded = steps.recorded.saturating_add(wide(chosen.len()));
            steps.with_rows = steps.with_rows.saturating_add(with_rows);
        }
    }

    /// The state now. Waits for nothing.
    #[must_use]
    pub fn status(&self) -> PersonalStatus {
        let waiting = self.keys.as_ref().map(PeriodKeys::waiting);
        let waiting = waiting.unwrap_or_default();
        let now = self.clock.monotonic();
        let since = |since| now.saturating_sub(since) > OVERDUE;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PersonalStatus {
            failing: lock(&self.failing).clone(),
            waiting: waiting.openings,
            waiting_seconds: waiting
                .since
                .map_or(0, |since| now.saturating_sub(since).as_secs()),
            overdue: waiting.since.is_some_and(since),
            kept: count(&self.counts.kept),
            erased: count(&self.counts.erased),
            refusals_not_kept: count(&self.counts.not_kept),
            lost: count(&self.counts.lost),
        }
    }

    /// The secret of the tokens of stream names of this application, if its names are personal.
    #[must_use]
    pub fn name_secret(&self, app: &str) -> Option<[u8; 32]> {
        self.names.get(app).map(|secret| **secret)
    }

    /// The directory of the vault. `None` if it is in memory.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Directory(options) | Place::ReadOnly(options) => Some(options.dir.clone()),
            Place::Memory(..) => None,
        }
    }

    /// Recovery has given all openings of earlier processes to the vault.
    pub(crate) fn recovered(&self) {
        let Some(keys) = &self.keys else { return };
        if let Err(error) = keys.destroy_earlier() {
            self.warn_of_keys(&error);
        }
    }

    /// Retires the current key, and destroys the retired ones that nothing needs. This is what the
    /// thread does in each period.
    pub(crate) fn change_key(&self) {
        let Some(keys) = &self.keys else { return };
        let changed = keys.rotate(self.clock.monotonic());
        if let Err(error) = changed.and_then(|_| keys.destroy_retired()) {
            self.warn_of_keys(&error);
        }
    }

    fn warn_of_keys(&self, error: &VaultError) {
        tracing::warn!(
            "the keys of openings in the write-ahead log cannot be changed; the present one stays in use: {}",
            crate::chain(error)
        );
    }

    fn start_ticker(self: &Arc<Self>) -> anyhow::Result<()> {
        let (stop, stopped) = sync_channel::<()>(0);
        let weak: Weak<Self> = Arc::downgrade(self);
        let tick = move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let Some(personal) = weak.upgrade() else {
                    return;
                };
                personal.change_key();
            }
        };
        std::thread::Builder::new()
            .name("livetrail-openings".to_owned())
            .spawn(tick)
            .context("cannot start the thread livetrail-openings")?;
        *lock(&self.ticker) = Some(stop);
        Ok(())
    }

    /// Closes the vault and releases its directory. What is in the write-ahead log then can only be
    /// read by the next start, and nothing of it if everything is kept.
    pub(crate) fn close(&self) {
        drop(lock(&self.ticker).take());
        if let Some(keys) = &self.keys
            && let Err(error) = keys.destroy_kept()
        {
            self.warn_of_keys(&error);
        }
        *lock(&self.vault) = Slot::Closed;
    }
}

impl std::fmt::Debug for Personal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Personal")
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

/// What the steps of an erasure did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Steps {
    /// Sessions that were put on record.
    pub recorded: u64,
    /// Sessions among them that had rows.
    pub with_rows: u64,
}

impl Steps {
    /// The result of a whole request, of which the last call found this.
    fn added_to(self, mut last: Erasure) -> Erasure {
        let unknown = self.recorded.saturating_sub(self.with_rows);
        last.erased = last.erased.saturating_add(self.with_rows);
        last.unknown = last.unknown.saturating_add(unknown);
        last
    }
}

/// Counts an erasure while it runs.
struct Running<'a>(&'a AtomicU64);

impl<'a> Running<'a> {
    fn begin(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Leaves a call of the vault when it has chosen sessions.
#[derive(Debug)]
struct Paused;

impl std::fmt::Display for Paused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the sessions are put on record first")
    }
}

impl std::error::Error for Paused {}

/// The vault's options. The vault is never in the trail's directory, which can be served.
fn options(settings: &Settings) -> anyhow::Result<Options> {
    let directory = place::personal_directory(settings);
    let trail = trail_directory(&settings.data);
    if directory.starts_with(&trail) {
        bail!(
            "the vault of personal data cannot be in {}, which is published: choose another directory than {}",
            trail.display(),
            directory.display()
        );
    }
    let mut options = Options::new(directory);
    options.key_file.clone_from(&settings.vault_key_file);
    Ok(options)
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// No code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
