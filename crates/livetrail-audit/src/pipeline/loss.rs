//! Counts the records that the full queue could not accept, without a lock on either side.
//!
//! There are two banks of counters. Producers add to the active one, and the worker reads the other
//! one. The worker makes the other bank active, and reads the earlier one when no producer is
//! inside it any longer. A producer first counts itself as inside, and then checks that the bank is
//! still active. Both sides change the count of producers inside (the worker adds zero), so one
//! change comes after the other. Either the worker sees the producer inside, or the producer sees
//! the worker's change of banks.
//!
//! The module is self-contained (its atomics come from `super::sync`), so the model checker runs
//! exactly this code.

use livetrail_record::LossKind;

use super::sync::{AtomicU64, AtomicUsize, Ordering};

/// The number of kinds of records.
const KINDS: usize = LossKind::ALL.len();

/// The lost records, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The count for each kind, by [`LossKind::index`].
    counts: [u64; KINDS],
    /// The lowest number that was lost.
    pub(crate) first_seq: u64,
    /// The highest number that was lost.
    pub(crate) last_seq: u64,
    /// The earliest time of a lost record, in milliseconds since 1970.
    pub(crate) first_ts_ms: u64,
    /// The latest time of a lost record.
    pub(crate) last_ts_ms: u64,
}

impl Loss {
    /// A loss of this many records of one kind. `seq` and `ts_ms` have the first and the last
    /// number and time.
    pub(crate) fn of_kind(kind: LossKind, count: u64, seq: (u64, u64), ts_ms: (u64, u64)) -> Self {
        let mut counts = [0; KINDS];
        counts[kind.index()] = count;
        Self {
            counts,
            first_seq: seq.0,
            last_seq: seq.1,
            first_ts_ms: ts_ms.0,
            last_ts_ms: ts_ms.1,
        }
    }

    /// The count for this kind.
    pub(crate) fn count(&self, kind: LossKind) -> u64 {
        self.counts[kind.index()]
    }

    /// The count for all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another loss.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum += more;
        }
        self.first_seq = self.first_seq.min(other.first_seq);
        self.last_seq = self.last_seq.max(other.last_seq);
        self.first_ts_ms = self.first_ts_ms.min(other.first_ts_ms);
        self.last_ts_ms = self.last_ts_ms.max(other.last_ts_ms);
        self
    }
}

/// A set of counters.
#[derive(Debug)]
struct Bank {
    /// The producers that have entered and not left.
    inside: AtomicUsize,
    counts: [AtomicU64; KINDS],
    first_seq: AtomicU64,
    last_seq: AtomicU64,
    first_ts_ms: AtomicU64,
    last_ts_ms: AtomicU64,
}

impl Bank {
    fn new() -> Self {
        Self {
            inside: AtomicUsize::new(0),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            first_seq: AtomicU64::new(u64::MAX),
            last_seq: AtomicU64::new(0),
            first_ts_ms: AtomicU64::new(u64::MAX),
            last_ts_ms: AtomicU64::new(0),
        }
    }

    /// Reads and empties the bank. No producer may be inside.
    fn take(&self) -> Option<Loss> {
        let loss = Loss {
            counts: std::array::from_fn(|kind| self.counts[kind].swap(0, Ordering::Relaxed)),
            first_seq: self.first_seq.swap(u64::MAX, Ordering::Relaxed),
            last_seq: self.last_seq.swap(0, Ordering::Relaxed),
            first_ts_ms: self.first_ts_ms.swap(u64::MAX, Ordering::Relaxed),
            last_ts_ms: self.last_ts_ms.swap(0, Ordering::Relaxed),
        };
        (loss.total() > 0).then_some(loss)
    }
}

/// Both banks, and which one is active.
#[derive(Debug)]
pub(crate) struct LossBanks {
    banks: [Bank; 2],
    active: AtomicUsize,
    /// The count of all lost records.
    total: AtomicU64,
}

impl LossBanks {
    pub(crate) fn new() -> Self {
        Self {
            banks: [Bank::new(), Bank::new()],
            active: AtomicUsize::new(0),
            total: AtomicU64::new(0),
        }
    }

    /// Counts one lost record. This takes a handful of atomic operations. It repeats them only if
    /// the worker changed banks in between, which happens at most once per batch.
    pub(crate) fn lose(&self, kind: LossKind, seq: u64, ts_ms: u64) {
        let bank = loop {
            let active = self.active.load(Ordering::Acquire);
            let bank = &self.banks[active];
            bank.inside.fetch_add(1, Ordering::AcqRel);
            if self.active.load(Ordering::Acquire) == active {
                break bank;
            }
            bank.inside.fetch_sub(1, Ordering::Release);
        };
        bank.counts[kind.index()].fetch_add(1, Ordering::Relaxed);
        bank.first_seq.fetch_min(seq, Ordering::Relaxed);
        bank.last_seq.fetch_max(seq, Ordering::Relaxed);
        bank.first_ts_ms.fetch_min(ts_ms, Ordering::Relaxed);
        bank.last_ts_ms.fetch_max(ts_ms, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        bank.inside.fetch_sub(1, Ordering::Release);
    }

    /// The count of all lost records so far.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// The worker's side of the banks. There is only one.
#[derive(Debug, Default)]
pub(crate) struct Harvester {
    /// The bank that is no longer active but had a producer inside.
    leaving: Option<usize>,
    /// The count of lost records that were taken so far.
    pub(crate) taken: u64,
}

impl Harvester {
    /// Takes the lost records. `None` if there are none, or if a producer is counting now; then the
    /// caller asks again later.
    pub(crate) fn take(&mut self, banks: &LossBanks) -> Option<Loss> {
        let old = match self.leaving {
            Some(old) => old,
            None if banks.total() == self.taken => return None,
            None => {
                let old = banks.active.load(Ordering::Relaxed);
                banks.active.store(1 - old, Ordering::Release);
                old
            }
        };
        let bank = &banks.banks[old];
        if bank.inside.fetch_add(0, Ordering::AcqRel) > 0 {
            self.leaving = Some(old);
            return None;
        }
        self.leaving = None;
        let loss = bank.take()?;
        self.taken += loss.total();
        Some(loss)
    }
}
