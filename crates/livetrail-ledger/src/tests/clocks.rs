//! Wall clocks that are wrong: the time is recorded, and nothing depends on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use livetrail_tlog::MAX_TIMESTAMP_S;

use super::harness::{Seen, check_whole, created, entry, identity, small};
use crate::{
    Class, Clock, Ledger, MemStore, PowerCut, Reader, SharedStore, SystemClock, manifest::Intent,
};

const LONG: Duration = Duration::from_secs(60);
const NOW_S: u64 = 1_763_805_600;

/// A wall clock that is set by hand; monotonic time continues.
#[derive(Debug)]
struct Set(AtomicU64, SystemClock);

impl Clock for Set {
    fn unix_ms(&self) -> u64 {
        self.unix_s().saturating_mul(1_000)
    }
    fn unix_s(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn monotonic(&self) -> Duration {
        self.1.monotonic()
    }
}

fn open(mem: &MemStore, clock: &Arc<Set>) -> Ledger {
    let store: SharedStore = Arc::new(mem.clone());
    let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
    let builder = Ledger::builder(store, identity()).options(small());
    builder.clock(clock).open().unwrap().0
}

fn append(ledger: &Ledger, count: u64) {
    let first = ledger.status().appended;
    let entries: Vec<_> = (first..first + count).map(entry).collect();
    let next = ledger.append(Class::Strict, &entries).unwrap().next;
    ledger.wait_sealed(next, LONG).unwrap();
}

fn signed_s(ledger: &Ledger) -> Option<u64> {
    ledger.checkpoint().log_cosignatures()[0].timestamp_s
}

#[test]
fn steps_a_frozen_clock_and_a_boot_in_1970_change_nothing_but_the_time_in_the_cosignature() {
    let mut mem = created();
    let clock = Arc::new(Set(AtomicU64::new(NOW_S), SystemClock::new()));
    let mut size = 0;
    for (life, time_s) in [
        NOW_S,
        NOW_S - 3_600,
        NOW_S - 3_600,
        NOW_S + 3_600,
        0,
        1,
        MAX_TIMESTAMP_S,
        u64::MAX,
        NOW_S,
    ]
    .into_iter()
    .enumerate()
    {
        // Booted with the clock as it was set last, then a step while it runs.
        let ledger = open(&mem, &clock);
        assert_eq!(ledger.status().sealed.size, size, "life {life}");
        append(&ledger, 30);
        clock.0.store(time_s, Ordering::SeqCst);
        append(&ledger, 30);
        size += 60;
        let wanted = time_s.clamp(1, MAX_TIMESTAMP_S);
        assert_eq!(signed_s(&ledger), Some(wanted), "life {life}");
        assert_eq!(Intent::read(&mem).unwrap().unix_s, wanted);
        // The power is cut while it works.
        let left = mem.power_cut(PowerCut::Subset(u64::try_from(life).unwrap()));
        drop(ledger);
        mem = left;
    }
    assert_eq!(check_whole(&mem, &Seen::default(), size), size);
    let head = Reader::open(Arc::new(mem)).unwrap().checkpoint().unwrap();
    assert_eq!(head.head().size, size);
}
