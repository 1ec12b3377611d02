//! Companions: bytes that go through the write-ahead log with an entry and never reach the tree.
//!
//! An entry and its companion are one frame with one checksum, so no crash separates them. The
//! integrator gives the companions of durable entries to a store of the host, before the tree with
//! these entries is cut:
//!
//! 1. The frame is durable. *Crash: recovery gives the companion to the store.*
//! 2. The store keeps the companion. *Crash: the entry is not sealed yet, so recovery gives the
//!    same companion again.*
//! 3. The entry is sealed. *Crash: recovery gives nothing again that is sealed.*
//! 4. The segment is removed, when all its entries are in full bundles. *Crash: as in 3.*

use std::{fmt, io, ops::Range};

use crate::passing::{Blocked, Passing};

/// The longest companion of an entry: 96 KiB.
pub const MAX_COMPANION_BYTES: usize = 96 << 10;

/// The store is called when the collected companions have this many bytes, at the latest. In memory
/// are at most this and one companion.
const COLLECTED_BYTES: usize = 4 << 20;

/// The buffer of collected companions is kept for the next ones up to this capacity.
const SPARE_BYTES: usize = 256 << 10;

/// An entry to append, and the companion that goes with it through the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The entry: at most 65,535 bytes. It becomes a leaf of the tree, forever.
    pub bytes: &'a [u8],
    /// At most [`MAX_COMPANION_BYTES`]; empty for none. It never reaches the tree, and is removed
    /// with its segment of the write-ahead log.
    pub companion: &'a [u8],
}

impl<'a> Entry<'a> {
    /// An entry without a companion.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            companion: &[],
        }
    }
}

/// The output contains no companion, which may be personal data.
impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("bytes", &self.bytes)
            .field("companion_bytes", &self.companion.len())
            .finish()
    }
}

/// The companion of a durable entry.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Companion<'a> {
    /// The entry's index in the log.
    pub index: u64,
    /// As it was appended; never empty.
    pub bytes: &'a [u8],
}

/// The output contains no companion, which may be personal data.
impl fmt::Debug for Companion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion")
            .field("index", &self.index)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// Keeps the companions of a log's entries, outside the log.
///
/// ```
/// use std::{collections::BTreeMap, io, sync::{Arc, Mutex}};
/// use livetrail_ledger::{
///     Class, Companion, CompanionStore, Entry, Identity, Ledger, MemStore, Reader, SharedStore,
///     generate_seed,
/// };
///
/// /// In memory, so not for production: `keep` must be durable when it returns.
/// #[derive(Clone, Default)]
/// struct Kept(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);
///
/// impl CompanionStore for Kept {
///     fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
///         let mut kept = self.0.lock().map_err(|_| io::Error::other("another thread panicked"))?;
///         // The same companion may come again.
///         kept.extend(companions.iter().map(|one| (one.index, one.bytes.to_vec())));
///         Ok(())
///     }
/// }
///
/// let store: SharedStore = Arc::new(MemStore::new());
/// let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
/// Ledger::create(&store, &identity)?;
/// let kept = Kept::default();
/// let (ledger, _) = Ledger::builder(store.clone(), identity).companions(kept.clone()).open()?;
/// let entry = Entry { bytes: b"a commitment", companion: b"what it commits to" };
/// ledger.append_entries(Class::Strict, &[entry])?;
/// ledger.close()?;
/// assert_eq!(Reader::open(store)?.entry(0)?, b"a commitment");
/// assert_eq!(kept.0.lock().unwrap()[&0], b"what it commits to");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CompanionStore: Send {
    /// Keeps companions of durable entries. They must be durable when it returns, because their
    /// entries are sealed then, and their segment of the write-ahead log may be removed.
    ///
    /// One thread calls it, and the indexes ascend. There is at least one companion; together they
    /// have at most 4 MiB and one companion. After an error, after a crash, and when the log was
    /// closed before a checkpoint, the same companions are given again, perhaps with others.
    ///
    /// It blocks sealing, and, when it takes long, the integration of entries. Entries become
    /// durable meanwhile, until the backlog is full.
    ///
    /// # Errors
    /// The log tries again until it succeeds, and seals nothing meanwhile. Its status reports the
    /// error as [`retrying`](crate::Status::retrying). Missing space
    /// ([`StorageFull`](io::ErrorKind::StorageFull)) counts like missing space for the log itself.
    fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()>;
}

impl CompanionStore for Box<dyn CompanionStore> {
    fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
        self.as_mut().keep(companions)
    }
}

/// The store of companions, and those of integrated entries that it does not have yet.
pub(crate) struct Keeper {
    store: Box<dyn CompanionStore>,
    /// One after the other.
    bytes: Vec<u8>,
    /// Where each is in `bytes`.
    collected: Vec<(u64, Range<usize>)>,
}

impl Keeper {
    pub(crate) fn new(store: Box<dyn CompanionStore>) -> Self {
        Self {
            store,
            bytes: Vec::new(),
            collected: Vec::new(),
        }
    }

    /// Collects the companion of an entry, if it has one. When there are many, `keep` is due.
    pub(crate) fn collect(&mut self, index: u64, companion: &[u8]) {
        if companion.is_empty() {
            return;
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(companion);
        self.collected.push((index, from..self.bytes.len()));
    }

    /// Whether some companions are collected and not kept.
    pub(crate) const fn has_some(&self) -> bool {
        !self.collected.is_empty()
    }

    /// Whether no more should be collected.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes.len() >= COLLECTED_BYTES
    }

    /// Gives the collected companions to the store. After an error the next call gives the same
    /// ones.
    pub(crate) fn keep(&mut self) -> Result<(), Blocked> {
        let Some((first, _)) = self.collected.first() else {
            return Ok(());
        };
        let first = *first;
        let companions: Vec<_> = self
            .collected
            .iter()
            .map(|(index, range)| Companion {
                index: *index,
                bytes: self.bytes.get(range.clone()).unwrap_or_default(),
            })
            .collect();
        self.store.keep(&companions).map_err(|source| {
            // Whatever the error: the entries are durable, and nothing is sealed without it.
            Blocked::Passing(Passing {
                op: "keep",
                path: format!("the companions of entry {first} and those after it"),
                source,
            })
        })?;
        self.collected.clear();
        self.bytes.clear();
        self.bytes.shrink_to(SPARE_BYTES);
        Ok(())
    }
}

/// Only the number of companions, which may be personal data.
impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("collected", &self.collected.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Fails every other time.
    #[derive(Clone, Default)]
    struct Flaky(Arc<Mutex<Calls>>);

    #[derive(Default)]
    struct Calls {
        all: u32,
        /// Index and length of each companion.
        kept: Vec<(u64, usize)>,
    }

    impl CompanionStore for Flaky {
        fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
            let mut calls = self.0.lock().unwrap();
            calls.all += 1;
            if calls.all % 2 == 1 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let seen = companions.iter().map(|one| (one.index, one.bytes.len()));
            calls.kept.extend(seen);
            Ok(())
        }
    }

    #[test]
    fn companions_are_collected_up_to_a_bound_and_given_again_after_an_error() {
        let store = Flaky::default();
        let mut keeper = Keeper::new(Box::new(store.clone()));
        keeper.collect(3, b"");
        assert!(!keeper.has_some() && keeper.keep().is_ok());
        assert_eq!(store.0.lock().unwrap().all, 0, "nothing to keep");
        let mut index = 4;
        while !keeper.is_full() {
            keeper.collect(index, &vec![7; MAX_COMPANION_BYTES]);
            index += 2;
        }
        assert!(keeper.bytes.len() < COLLECTED_BYTES + MAX_COMPANION_BYTES);
        match keeper.keep() {
            Err(Blocked::Passing(passing)) => {
                let words = passing.to_string();
                assert_eq!(
                    words,
                    "cannot keep the companions of entry 4 and those after it"
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(keeper.has_some());
        keeper.keep().unwrap();
        assert!(!keeper.has_some() && keeper.bytes.capacity() <= SPARE_BYTES);
        let wanted: Vec<_> = (4..index)
            .step_by(2)
            .map(|at| (at, MAX_COMPANION_BYTES))
            .collect();
        assert_eq!(store.0.lock().unwrap().kept, wanted);
    }

    #[test]
    fn no_debug_output_has_a_companion() {
        let entry = Entry {
            bytes: b"entry",
            companion: b"PERSONAL",
        };
        let companion = Companion {
            index: 1,
            bytes: b"PERSONAL",
        };
        let bytes = format!("{:?}", b"PERSONAL");
        let shown = format!("{entry:?} {companion:?}");
        assert!(!shown.contains(&bytes), "{shown}");
    }
}
