//! The keys of openings that are in the write-ahead log: one for each period.
//!
//! ```text
//!  ticker ─ every PERIOD ─▶ rotate: the next key is made, durably, and becomes the current one
//!  sink ─ seal, with the current key: counted
//!  integrator ─ keep: counted; the last one of a retired key destroys it
//! ```
//!
//! A key is retired when the next one takes its place. It is destroyed when everything that was
//! sealed with it is in the vault. Then nobody can read these openings in the write-ahead log, in
//! its spare segments, or in freed blocks of the disk.
//!
//! Keys of an earlier process are needed by recovery alone. They are destroyed when recovery has
//! given everything to the vault.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use livetrail_ledger::{SharedStore, generate_seed};
use livetrail_vault::{
    VaultError,
    sealed::{SegmentKey, SegmentKeys},
};

/// A key is used for at most about this long.
pub(crate) const PERIOD: Duration = Duration::from_secs(60);

/// The maximum number of keys that are alive. If the vault takes nothing for this many periods,
/// the newest key stays in use.
const MOST_KEYS: u32 = 64;

/// The key that openings are sealed with now.
struct Current {
    key: SegmentKey,
    sealed: AtomicU64,
}

/// What is known about a key that is no longer used.
#[derive(Debug, Clone, Copy)]
struct Retired {
    since: Duration,
    sealed: u64,
}

struct Alive {
    /// The keys that are on the disk.
    file: Option<SegmentKeys>,
    retired: BTreeMap<u64, Retired>,
    /// How many openings of each key of this process are in the vault.
    kept: BTreeMap<u64, u64>,
    /// Keys of earlier processes.
    earlier: Vec<u64>,
}

/// The keys of all periods that are not over.
pub(crate) struct PeriodKeys {
    store: SharedStore,
    current: RwLock<Arc<Current>>,
    alive: Mutex<Alive>,
}

/// The state of the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Openings that are sealed and not yet in the vault.
    pub(crate) openings: u64,
    /// Since when the oldest retired key waits to be destroyed, in monotonic time.
    pub(crate) since: Option<Duration>,
}

impl PeriodKeys {
    /// Opens the file of keys in the vault's store, and makes the first key.
    pub(crate) fn open(store: SharedStore) -> Result<Self, VaultError> {
        let mut file = SegmentKeys::open(Arc::clone(&store), MOST_KEYS)?;
        let earlier: Vec<u64> = file.segments().collect();
        let key = match create(&mut file) {
            // Many starts in a row that did not get to the end of recovery. The last key serves on.
            Err(VaultError::Full { .. }) => {
                let last = earlier.last().copied().unwrap_or_default();
                file.get(last)?
            }
            created => created?,
        };
        let earlier = earlier.into_iter().filter(|old| *old != key.segment());
        Ok(Self {
            alive: Mutex::new(Alive {
                earlier: earlier.collect(),
                file: Some(file),
                retired: BTreeMap::new(),
                kept: BTreeMap::new(),
            }),
            current: RwLock::new(Arc::new(Current {
                key,
                sealed: AtomicU64::new(0),
            })),
            store,
        })
    }

    /// Calls `seal` with the current key. What it seals counts as one opening that must be kept.
    pub(crate) fn seal<T>(
        &self,
        seal: impl FnOnce(&SegmentKey) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let current = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            // Counted under the lock, so that the count of a retired key is final.
            current.sealed.fetch_add(1, Ordering::AcqRel);
            Arc::clone(&current)
        };
        let sealed = seal(&current.key);
        if sealed.is_err() {
            self.kept([current.key.segment()]);
        }
        sealed
    }

    /// The key with this number. `None` if it was destroyed.
    pub(crate) fn get(&self, number: u64) -> Result<Option<SegmentKey>, VaultError> {
        self.with(|alive, store| match alive.file(store)?.get(number) {
            Ok(key) => Ok(Some(key)),
            Err(VaultError::NoSegmentKey { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Whether the key is one of an earlier process, or was destroyed.
    pub(crate) fn is_earlier(&self, number: u64) -> bool {
        let is_current = self.current().key.segment() == number;
        let alive = lock(&self.alive);
        !is_current && !alive.retired.contains_key(&number)
    }

    /// Notes that openings that were sealed with these keys are in the vault, or will never be.
    pub(crate) fn kept(&self, keys: impl IntoIterator<Item = u64>) {
        let mut alive = lock(&self.alive);
        for key in keys {
            let kept = alive.kept.entry(key).or_default();
            *kept = kept.saturating_add(1);
        }
    }

    /// Makes the next key and retires the current one, if the current one was used. Returns whether
    /// it did.
    pub(crate) fn rotate(&self, now: Duration) -> Result<bool, VaultError> {
        if self.current().sealed.load(Ordering::Acquire) == 0 {
            return Ok(false);
        }
        let key = self.with(|alive, store| create(alive.file(store)?))?;
        let next = Arc::new(Current {
            key,
            sealed: AtomicU64::new(0),
        });
        let before = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, next)
        };
        let retired = Retired {
            since: now,
            sealed: before.sealed.load(Ordering::Acquire),
        };
        lock(&self.alive)
            .retired
            .insert(before.key.segment(), retired);
        Ok(true)
    }

    /// Destroys the retired keys of which everything is in the vault. Returns how many.
    pub(crate) fn destroy_retired(&self) -> Result<usize, VaultError> {
        let done: Vec<u64> = {
            let alive = lock(&self.alive);
            let kept = |key: &u64| alive.kept.get(key).copied().unwrap_or_default();
            let done = alive.retired.iter();
            done.filter(|(key, retired)| kept(key) >= retired.sealed)
                .map(|(key, _)| *key)
                .collect()
        };
        for key in &done {
            self.with(|alive, store| {
                alive.file(store)?.destroy(*key)?;
                alive.retired.remove(key);
                alive.kept.remove(key);
                Ok(())
            })?;
        }
        Ok(done.len())
    }

    /// Destroys the keys of earlier processes: everything that was sealed with them is in the
    /// vault.
    pub(crate) fn destroy_earlier(&self) -> Result<usize, VaultError> {
        let mut count = 0;
        while let Some(key) = { lock(&self.alive).earlier.last().copied() } {
            self.with(|alive, store| {
                alive.file(store)?.destroy(key)?;
                alive.earlier.pop();
                alive.kept.remove(&key);
                Ok(())
            })?;
            count += 1;
        }
        Ok(count)
    }

    /// Destroys every key of this process of which everything is in the vault, at its end. Nothing
    /// may be sealed afterwards.
    pub(crate) fn destroy_kept(&self) -> Result<(), VaultError> {
        self.destroy_retired()?;
        let current = self.current();
        let (number, sealed) = (
            current.key.segment(),
            current.sealed.load(Ordering::Acquire),
        );
        self.with(|alive, store| {
            if alive.kept.get(&number).copied().unwrap_or_default() >= sealed {
                alive.file(store)?.destroy(number)?;
            }
            Ok(())
        })
    }

    /// How many openings are on their way.
    pub(crate) fn waiting(&self) -> Waiting {
        let current = self.current();
        let sealed = current.sealed.load(Ordering::Acquire);
        let alive = lock(&self.alive);
        let kept = |key: &u64| alive.kept.get(key).copied().unwrap_or_default();
        let retired = alive.retired.iter();
        let retired = retired.map(|(key, retired)| retired.sealed.saturating_sub(kept(key)));
        let now = sealed.saturating_sub(kept(&current.key.segment()));
        Waiting {
            openings: retired.fold(now, u64::saturating_add),
            since: alive.retired.values().map(|retired| retired.since).min(),
        }
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses the file. After an error it is opened again at the next use.
    fn with<T>(
        &self,
        act: impl FnOnce(&mut Alive, &SharedStore) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let mut alive = lock(&self.alive);
        let done = act(&mut alive, &self.store);
        if !matches!(done, Ok(_) | Err(VaultError::Full { .. })) {
            alive.file = None;
        }
        done
    }
}

impl std::fmt::Debug for PeriodKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeriodKeys").finish_non_exhaustive()
    }
}

impl Alive {
    fn file(&mut self, store: &SharedStore) -> Result<&mut SegmentKeys, VaultError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => SegmentKeys::open(Arc::clone(store), MOST_KEYS)?,
        };
        Ok(self.file.insert(file))
    }
}

/// Makes a key with a number that no other key of this log had.
fn create(file: &mut SegmentKeys) -> Result<SegmentKey, VaultError> {
    let random = generate_seed().map_err(VaultError::Key)?;
    let (words, _) = random.as_chunks::<8>();
    let number = words.first().copied().map_or(0, u64::from_be_bytes);
    file.create(number)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use livetrail_ledger::{Fault, FaultPlan, FaultStore, MemStore, Op, Store as _};
    use livetrail_vault::sealed::SEGMENT_KEYS_FILE;

    use super::*;

    fn seal(keys: &PeriodKeys) -> (u64, Vec<u8>) {
        keys.seal(|key| Ok((key.segment(), key.seal(1, b"opening")?)))
            .unwrap()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_retired_key_is_destroyed_when_the_last_of_its_openings_is_kept() {
        let mem = MemStore::new();
        let keys = PeriodKeys::open(Arc::new(mem.clone())).unwrap();
        assert!(!keys.rotate(at(1)).unwrap(), "an unused key stays");
        let (first, sealed) = seal(&keys);
        seal(&keys);
        assert!(keys.rotate(at(60)).unwrap());
        let (second, _) = seal(&keys);
        assert_ne!(first, second);
        assert_eq!(keys.waiting().openings, 3);
        keys.kept([first, second]);
        assert_eq!(keys.destroy_retired().unwrap(), 0);
        assert_eq!(keys.waiting().since, Some(at(60)));
        let key = keys.get(first).unwrap().unwrap();
        assert_eq!(key.open(1, &sealed).unwrap().as_slice(), b"opening");
        keys.kept([first]);
        assert_eq!(keys.destroy_retired().unwrap(), 1);
        assert!(keys.get(first).unwrap().is_none());
        assert!(keys.get(second).unwrap().is_some(), "it is in use");
        assert_eq!(keys.waiting(), Waiting::default());
        // Nothing of the key is left in the file.
        let file = mem.read(SEGMENT_KEYS_FILE).unwrap();
        let slots = file[64..].chunks(64).filter(|slot| **slot != [0; 64]);
        assert_eq!(slots.count(), 1);
    }

    #[test]
    fn a_failed_sealing_waits_for_nothing() {
        let keys = PeriodKeys::open(Arc::new(MemStore::new())).unwrap();
        let failed = keys.seal(|_| Err::<(), _>(VaultError::Unsealable));
        assert!(failed.is_err());
        keys.rotate(at(60)).unwrap();
        assert_eq!(keys.destroy_retired().unwrap(), 1);
    }

    #[test]
    fn keys_of_an_earlier_process_last_until_recovery_is_over() {
        let mem = MemStore::new();
        let (number, sealed) = {
            let keys = PeriodKeys::open(Arc::new(mem.clone())).unwrap();
            seal(&keys)
        };
        let keys = PeriodKeys::open(Arc::new(mem)).unwrap();
        assert!(keys.is_earlier(number));
        assert!(!keys.is_earlier(seal(&keys).0));
        let key = keys.get(number).unwrap().unwrap();
        assert!(key.open(1, &sealed).is_ok());
        keys.kept([number]);
        assert_eq!(keys.destroy_earlier().unwrap(), 1);
        assert!(keys.get(number).unwrap().is_none());
        assert_eq!(keys.destroy_earlier().unwrap(), 0);
    }

    #[test]
    fn after_an_error_the_file_is_opened_again_and_the_current_key_stays_in_use() {
        let store = FaultStore::over_memory(MemStore::new());
        let keys = PeriodKeys::open(Arc::new(store.clone())).unwrap();
        let (first, _) = seal(&keys);
        store.arm(FaultPlan {
            op: Op::WriteAt,
            nth: 0,
            fault: Fault::Error(ErrorKind::StorageFull),
        });
        assert!(keys.rotate(at(60)).is_err());
        assert_eq!(seal(&keys).0, first);
        assert!(keys.rotate(at(120)).unwrap());
        assert_ne!(seal(&keys).0, first);
    }

    #[test]
    fn a_vault_that_takes_nothing_leaves_the_newest_key_in_use() {
        let keys = PeriodKeys::open(Arc::new(MemStore::new())).unwrap();
        let mut periods = 0;
        loop {
            seal(&keys);
            periods += 1;
            match keys.rotate(at(periods)) {
                Ok(rotated) => assert!(rotated),
                Err(error) => break assert!(matches!(error, VaultError::Full { .. }), "{error}"),
            }
        }
        assert_eq!(periods, u64::from(MOST_KEYS));
        seal(&keys);
        assert_eq!(keys.waiting().openings, u64::from(MOST_KEYS) + 1);
    }
}
