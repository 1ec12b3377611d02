//! The fault table of the crate's documentation: every operation of the disk × failed, failed but
//! persisted, cut short, killed before, killed after; then a start from what a process or a machine
//! finds afterwards.

use std::{collections::BTreeSet, io, sync::Arc, thread};

use livetrail_clock::ManualClock;
use livetrail_ledger::{Fault, FaultPlan, FaultStore, MemStore, Op, PowerCut, SharedStore};

use super::{NOW_MS, insert, insert_missing, present, request, session, sessions, try_open};
use crate::{HoldScope, Selection, SessionId, Subject, VaultError};

pub(super) const FAULTS: [Fault; 5] = [
    Fault::Error(io::ErrorKind::Other),
    Fault::ErrorButDone(io::ErrorKind::Other),
    Fault::Short,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

const COUNT: u32 = 30;

/// The answers that the caller of a vault has.
#[derive(Default)]
struct Told {
    /// Given to `insert`.
    given: BTreeSet<u32>,
    /// `insert` returned.
    kept: BTreeSet<u32>,
    /// On record as erased.
    log: Vec<SessionId>,
    /// The erasure returned.
    erased: BTreeSet<u32>,
}

impl Told {
    fn insert(
        &mut self,
        vault: &mut crate::Vault,
        numbers: std::ops::Range<u32>,
    ) -> Result<(), VaultError> {
        self.given.extend(numbers.clone());
        insert(vault, numbers.clone())?;
        self.kept.extend(numbers);
        Ok(())
    }

    fn erase(
        &mut self,
        vault: &mut crate::Vault,
        id: &str,
        selection: Selection,
        numbers: &[u32],
    ) -> Result<(), VaultError> {
        let log = &mut self.log;
        vault.erase(&request(id, selection), &mut |sessions| {
            log.extend_from_slice(sessions);
            Ok(())
        })?;
        self.erased.extend(numbers);
        Ok(())
    }
}

/// A short run: three batches, new segments, erasures in full segments and the active one, a
/// segment that is removed whole, a hold that is lifted.
fn live(store: &SharedStore, told: &mut Told) -> Result<(), VaultError> {
    let (mut vault, _) = try_open(store, &ManualClock::at(NOW_MS))?;
    told.insert(&mut vault, 0..3)?;
    told.insert(&mut vault, 3..10)?;
    told.erase(
        &mut vault,
        "a",
        Selection::Sessions(sessions([1, 9, 100])),
        &[1, 9],
    )?;
    told.insert(&mut vault, 10..15)?;
    vault.set_hold("h", &HoldScope::Sessions(sessions([2])))?;
    let by_name = Selection::Subject(Subject::Principal("name2".into()));
    told.erase(&mut vault, "b", by_name, &[7, 12])?;
    let log = &mut told.log;
    vault.lift_hold("h", &mut |sessions| {
        log.extend_from_slice(sessions);
        Ok(())
    })?;
    told.erased.insert(2);
    told.erase(
        &mut vault,
        "c",
        Selection::Sessions(sessions([0, 3])),
        &[0, 3],
    )
}

/// Opens what is left, and checks every promise.
fn come_back(mem: &MemStore, told: &Told, what: &str) {
    let store: SharedStore = Arc::new(mem.clone());
    let clock = ManualClock::at(NOW_MS);
    let (mut vault, _) =
        try_open(&store, &clock).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let check = vault.check().unwrap();
    assert!(check.is_good(), "{what}: {check:?}");
    let has: BTreeSet<u32> = present(&vault, COUNT).into_iter().collect();
    let logged: BTreeSet<u32> = (0..COUNT)
        .filter(|n| told.log.contains(&session(*n)))
        .collect();
    for number in &told.kept {
        assert!(
            has.contains(number) || logged.contains(number),
            "{what}: lost {number}"
        );
    }
    assert!(has.is_subset(&told.given), "{what}");
    assert!(
        has.is_disjoint(&told.erased),
        "{what}: {has:?} and {:?}",
        told.erased
    );
    // The log says what is erased.
    vault.replay(&told.log).unwrap();
    let has: BTreeSet<u32> = present(&vault, COUNT).into_iter().collect();
    assert!(has.is_disjoint(&logged), "{what}");
    for session in &told.log {
        assert!(vault.is_erased(session).unwrap(), "{what}");
    }
    // The batch is given again. No erased session comes back.
    let again = told.given.iter().copied();
    insert_missing(&mut vault, again.chain([25, 26]))
        .unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let expected: BTreeSet<u32> = told
        .given
        .difference(&logged)
        .copied()
        .chain([25, 26])
        .collect();
    assert_eq!(
        present(&vault, COUNT).into_iter().collect::<BTreeSet<_>>(),
        expected,
        "{what}"
    );
    assert!(vault.check().unwrap().is_good(), "{what}");
    drop(vault);
    let (vault, opened) = try_open(&store, &clock).unwrap();
    assert_eq!(opened, crate::Opened::default(), "{what}: a clean start");
    assert_eq!(present(&vault, COUNT).len(), expected.len(), "{what}");
}

#[test]
fn every_operation_failing_in_every_way_loses_nothing_and_brings_nobody_back() {
    let counted = FaultStore::over_memory(MemStore::new());
    let shared: SharedStore = Arc::new(counted.clone());
    live(&shared, &mut Told::default()).unwrap();
    let counts = counted.counts();
    for op in [
        Op::WriteAt,
        Op::Sync,
        Op::SyncFiles,
        Op::SyncDir,
        Op::Rename,
        Op::Remove,
        Op::Preallocate,
        Op::Write,
        Op::Len,
    ] {
        assert!(counts.contains_key(&op), "{op:?}");
    }
    let operations = counts
        .into_iter()
        .flat_map(|(op, count)| (0..count).map(move |nth| (op, nth)));
    let reads = |op: Op| {
        matches!(
            op,
            Op::Read | Op::ReadAt | Op::Open | Op::List | Op::Lock | Op::Len
        )
    };
    let plans: Vec<_> = operations
        .flat_map(|(op, nth)| FAULTS.map(|fault| FaultPlan { op, nth, fault }))
        .filter(|plan| !reads(plan.op) || (plan.fault == FAULTS[0] && plan.nth % 3 == 0))
        .enumerate()
        .collect();
    assert!(plans.len() > 400, "{}", plans.len());
    thread::scope(|scope| {
        for half in plans.chunks(plans.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(|(at, plan)| fail(*at, *plan)));
        }
    });
}

/// Runs with one fault, then starts again after the process was killed, or after the power was cut
/// in one way or the other.
fn fail(at: usize, plan: FaultPlan) {
    let mem = MemStore::new();
    let faulty = FaultStore::over_memory(mem.clone());
    faulty.arm(plan);
    let store: SharedStore = Arc::new(faulty.clone());
    let mut told = Told::default();
    let done = live(&store, &mut told).is_ok();
    assert!(faulty.fired());
    let seed = u64::try_from(at).unwrap();
    let cuts = [
        PowerCut::All,
        PowerCut::Synced,
        PowerCut::Prefix(seed),
        PowerCut::Subset(seed),
        PowerCut::Subset(!seed),
        PowerCut::Prefix(!seed),
    ];
    // Names change in any order, so faults around them meet every cut.
    let names = matches!(plan.op, Op::Remove | Op::Rename | Op::SyncDir);
    let (first, step) = if names { (0, 1) } else { (at % 4, 4) };
    for cut in cuts.iter().skip(first).step_by(step) {
        let what = format!("{plan:?}, {cut:?}, {done}");
        come_back(&mem.power_cut(*cut), &told, &what);
    }
}

/// The files of a process that was killed in the middle of an erasure.
#[test]
fn a_start_that_fails_in_any_way_can_be_made_again() {
    let mut left = Vec::new();
    for (op, nth) in [
        (Op::Sync, 9),
        (Op::Sync, 10),
        (Op::Rename, 4),
        (Op::Remove, 0),
        (Op::WriteAt, 12),
    ] {
        let mem = MemStore::new();
        let faulty = FaultStore::over_memory(mem.clone());
        faulty.arm(FaultPlan {
            op,
            nth,
            fault: Fault::KilledAfter,
        });
        let store: SharedStore = Arc::new(faulty.clone());
        let mut told = Told::default();
        assert!(live(&store, &mut told).is_err());
        left.push((mem.copy(), told));
    }
    for (mem, told) in left {
        let counted = FaultStore::over_memory(mem.copy());
        let shared: SharedStore = Arc::new(counted.clone());
        try_open(&shared, &ManualClock::at(NOW_MS)).unwrap();
        for (op, count) in counted.counts() {
            for nth in 0..count {
                // One fault each: all of them meet all operations in the other table.
                for fault in FAULTS
                    .into_iter()
                    .skip(usize::try_from(nth % 5).unwrap())
                    .take(1)
                {
                    let copy = mem.copy();
                    let faulty = FaultStore::over_memory(copy.clone());
                    faulty.arm(FaultPlan { op, nth, fault });
                    let store: SharedStore = Arc::new(faulty.clone());
                    let first = try_open(&store, &ManualClock::at(NOW_MS)).is_ok();
                    let cut = if nth % 2 == 0 {
                        PowerCut::Synced
                    } else {
                        PowerCut::Subset(nth)
                    };
                    let what = format!("{op:?} {nth} {fault:?} {cut:?} {first}");
                    come_back(&copy.power_cut(cut), &told, &what);
                }
            }
        }
    }
}
