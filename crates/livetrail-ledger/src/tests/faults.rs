//! The fault table: every operation of the store × every way to fail, then every way to restart.

use std::{collections::BTreeMap, io, sync::Arc, thread};

use rustix::io::Errno;

use super::harness::{
    Core, Ended, Seen, Still, check_names, check_whole, created, created_with_companions, identity,
};
use crate::error::LedgerError;
use crate::store::{Fault, FaultPlan, FaultStore, MemStore, Op, PowerCut, SharedStore};
use crate::upkeep::recover::create;

const FAULTS: [Fault; 6] = [
    Fault::Error(io::ErrorKind::Other),
    Fault::Error(io::ErrorKind::StorageFull),
    Fault::ErrorButDone(io::ErrorKind::Other),
    Fault::Short,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

/// A short life: partial and full bundles, three checkpoints, a second segment, an unsealed batch.
fn live(store: &SharedStore, seen: &Seen, reported: &mut Reported) -> Result<(), Ended> {
    let Ok(mut core) = Core::open(store, seen) else {
        return Ok(());
    };
    let result = steps(&mut core, reported);
    reported.appended = reported.appended.max(core.appended);
    result
}

#[derive(Default)]
struct Reported {
    acked: u64,
    appended: u64,
}

fn steps(core: &mut Core, reported: &mut Reported) -> Result<(), Ended> {
    for (count, seal) in [(3, true), (250, false), (9, true), (120, true), (40, false)] {
        core.append(count);
        core.commit()?;
        reported.acked = core.acked;
        core.integrate()?;
        if seal {
            core.seal()?;
        }
    }
    Ok(())
}

/// Opens the remains of a crash, checks everything, and continues once.
fn come_back(mem: &MemStore, seen: &Seen, reported: &Reported, what: &str) {
    let store: SharedStore = Arc::new(mem.clone());
    let seen = seen.copy();
    let mut core = Core::open(&store, &seen).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        core.acked >= reported.acked,
        "{what}: lost what was durable"
    );
    assert!(
        core.acked <= reported.appended.max(reported.acked),
        "{what}: more than was appended"
    );
    assert_eq!(check_whole(mem, &seen, core.acked), core.acked, "{what}");
    check_names(mem, core.acked);
    core.append(5);
    let end = core.appended;
    core.close()
        .unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let core = Core::open(&store, &seen).unwrap();
    assert!(core.report().is_clean(), "{what}: {:?}", core.report());
    assert_eq!(core.report().entries, end, "{what}");
}

fn counts() -> BTreeMap<Op, u64> {
    let store = FaultStore::over_memory(created_with_companions());
    let shared: SharedStore = Arc::new(store.clone());
    let seen = Seen::with_companions();
    live(&shared, &seen, &mut Reported::default()).unwrap();
    store.counts()
}

#[test]
fn every_operation_failing_in_every_way_loses_nothing_and_forks_nothing() {
    let plans: Vec<_> = counts()
        .into_iter()
        .flat_map(|(op, count)| (0..count).map(move |nth| (op, nth)))
        .flat_map(|(op, nth)| FAULTS.map(|fault| FaultPlan { op, nth, fault }))
        .filter(|plan| changes(plan.op) || distinct_for_reading(plan.fault))
        .collect();
    assert!(plans.len() > 500, "{} faults", plans.len());
    let fresh = created_with_companions();
    thread::scope(|scope| {
        for half in plans.chunks(plans.len().div_ceil(2)) {
            scope.spawn(|| {
                half.iter()
                    .for_each(|plan| fail_and_come_back(&fresh, *plan))
            });
        }
    });
}

/// The remains of a killed process: a checkpoint, an intent without its checkpoint, and entries
/// that only the log has. The companions of the intended entries were kept, those of the last were
/// not.
fn crashed() -> (MemStore, Seen, Reported) {
    let mem = created_with_companions();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let (seen, mut reported) = (Seen::with_companions(), Reported::default());
    let mut core = Core::open(&store, &seen).unwrap();
    for count in [260, 20] {
        core.append(count);
        core.commit().unwrap();
        core.integrate().unwrap();
        if count == 20 {
            core.append(15);
            core.commit().unwrap();
        }
        // The second checkpoint is intended and not published: the third rename, after those of
        // the companions and of the intent.
        faulty.arm(FaultPlan {
            op: Op::Rename,
            nth: if count == 260 { 99 } else { 2 },
            fault: Fault::KilledBefore,
        });
        assert_eq!(core.seal().is_ok(), count == 260);
    }
    (reported.acked, reported.appended) = (core.acked, core.appended);
    (mem, seen, reported)
}

#[test]
fn a_start_after_a_crash_that_fails_in_any_way_can_be_made_again() {
    let (left, seen, reported) = crashed();
    let counted = FaultStore::over_memory(left.copy());
    let store: SharedStore = Arc::new(counted.clone());
    let core = Core::open(&store, &seen).unwrap();
    assert_eq!(core.report().completed, Some(280), "{:?}", core.report());
    let plans = counted
        .counts()
        .into_iter()
        .flat_map(|(op, count)| (0..count).map(move |nth| (op, nth)))
        .flat_map(|(op, nth)| FAULTS.map(|fault| FaultPlan { op, nth, fault }))
        .filter(|plan| changes(plan.op) || distinct_for_reading(plan.fault));
    for plan in plans {
        let mem = left.copy();
        let faulty = FaultStore::over_memory(mem.clone());
        faulty.arm(plan);
        let store: SharedStore = Arc::new(faulty.clone());
        let started = Core::open(&store, &seen).is_ok();
        let what = format!("{plan:?}, started: {started}");
        assert!(faulty.fired(), "{what}");
        // Then the process is killed, or the power is cut in one way or the other.
        let after = match plan.nth % 3 {
            0 => mem,
            1 => mem.power_cut(PowerCut::Synced),
            _ => mem.power_cut(PowerCut::Subset(plan.nth)),
        };
        come_back(&after, &seen, &reported, &what);
    }
}

#[test]
fn the_tables_have_every_operation_of_a_store() {
    let (left, seen, _) = crashed();
    let starting = FaultStore::over_memory(left);
    let store: SharedStore = Arc::new(starting.clone());
    Core::open(&store, &seen).unwrap();
    let (living, starting) = (counts(), starting.counts());
    let missing: Vec<_> = Op::ALL
        .into_iter()
        .filter(|op| !living.contains_key(op) && !starting.contains_key(op))
        .collect();
    // Only the running ledger asks for free space: if that fails, the last answer counts.
    assert_eq!(missing, [Op::Space]);
}

#[test]
fn a_creation_that_fails_in_any_way_can_be_made_again_or_was_made() {
    let counted = FaultStore::over_memory(MemStore::new());
    create(&counted, &identity(), &Still).unwrap();
    let mut made = 0;
    let counts = counted.counts();
    let all = counts
        .iter()
        .flat_map(|(op, count)| (0..*count).map(move |nth| (*op, nth)));
    for (op, nth) in all {
        for fault in FAULTS {
            let mem = MemStore::new();
            let faulty = FaultStore::over_memory(mem.clone());
            let plan = FaultPlan { op, nth, fault };
            faulty.arm(plan);
            let first = create(&faulty, &identity(), &Still);
            for cut in [
                PowerCut::Synced,
                PowerCut::Prefix(nth),
                PowerCut::Subset(nth),
            ] {
                let after = mem.power_cut(cut);
                let again = create(&after, &identity(), &Still);
                let there = matches!(&again, Err(LedgerError::Exists { .. }));
                assert!(again.is_ok() || there, "{plan:?}, {cut:?}: {again:?}");
                assert!(first.is_err() || there, "{plan:?}, {cut:?}: it was made");
                made += usize::from(there);
                let store: SharedStore = Arc::new(after);
                let core = Core::open(&store, &Seen::default());
                let core = core.unwrap_or_else(|error| panic!("{plan:?}, {cut:?}: {error}"));
                assert_eq!(core.acked, 0);
            }
        }
    }
    assert!(made > 0, "some faults come when all is done");
}

/// Whether the operation changes anything. For one that only reads, it makes no difference whether
/// it was done.
pub(super) fn changes(op: Op) -> bool {
    !matches!(
        op,
        Op::Read | Op::Open | Op::List | Op::Exists | Op::Space | Op::ReadAt
    )
}

fn distinct_for_reading(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Error(io::ErrorKind::Other) | Fault::KilledBefore
    )
}

fn fail_and_come_back(fresh: &MemStore, plan: FaultPlan) {
    let mem = fresh.copy();
    let faulty = FaultStore::over_memory(mem.clone());
    faulty.arm(plan);
    let store: SharedStore = Arc::new(faulty.clone());
    let seen = Seen::with_companions();
    let mut reported = Reported::default();
    let ended = live(&store, &seen, &mut reported);
    drop(store);
    let what = format!("{plan:?}, {ended:?}");
    assert!(faulty.fired(), "{what}");
    let seed = plan.nth;
    for cut in [
        PowerCut::Synced,
        PowerCut::Prefix(seed),
        PowerCut::Subset(seed),
    ] {
        let after = mem.power_cut(cut);
        come_back(&after, &seen, &reported, &format!("{what}, {cut:?}"));
    }
    come_back(&mem, &seen, &reported, &format!("{what}, process killed"));
}

/// Errors of the system that pass: too many files (this process, this machine), no memory, not now,
/// interrupted.
const PASSING: [Errno; 6] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::AGAIN,
    Errno::INTR,
    Errno::NOSPC,
];

#[test]
fn a_passing_error_at_any_step_needs_no_restart() {
    let fresh = created_with_companions();
    let opening = {
        let counted = FaultStore::over_memory(fresh.copy());
        let store: SharedStore = Arc::new(counted.clone());
        Core::open(&store, &Seen::with_companions()).unwrap();
        counted.counts()
    };
    let living = counts();
    let mut tried = 0;
    for op in Op::ALL {
        // Opening is not the running log: a failure there is reported, and the start is repeated.
        let from = opening.get(&op).copied().unwrap_or(0);
        let steps = living.get(&op).copied().unwrap_or(0).saturating_sub(from);
        for nth in 0..steps {
            let numbers = PASSING.map(Errno::raw_os_error);
            let done = numbers.iter().cycle().nth(tried).copied();
            let faults = numbers.map(Fault::ErrorNumber).into_iter();
            for fault in faults.chain(done.map(Fault::ErrorNumberButDone)) {
                passes(&fresh, FaultPlan { op, nth, fault });
                tried += 1;
            }
        }
    }
    assert!(tried > 800, "{tried} faults");
}

fn passes(fresh: &MemStore, plan: FaultPlan) {
    let mem = fresh.copy();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let seen = Seen::with_companions();
    let mut core = Core::open(&store, &seen).unwrap();
    faulty.arm(plan);
    let mut reported = Reported::default();
    steps(&mut core, &mut reported).unwrap_or_else(|error| panic!("{plan:?}: {error:?}"));
    core.close()
        .unwrap_or_else(|error| panic!("{plan:?}: {error:?}"));
    assert!(faulty.fired(), "{plan:?}");
    assert_eq!(reported.acked, 422, "{plan:?}");
    assert_eq!(check_whole(&mem, &seen, 422), 422, "{plan:?}");
    // All of it is durable, not only present.
    let after = mem.power_cut(PowerCut::Synced);
    assert_eq!(check_whole(&after, &seen, 422), 422, "{plan:?}");
}

#[test]
fn a_sync_of_the_log_that_fails_is_not_repeated_on_that_file() {
    // The pages count as clean after the error. If the same file were synced again, the power cut
    // would lose the batch.
    let syncs = counts()[&Op::Sync];
    for nth in 0..syncs {
        let mem = created();
        let faulty = FaultStore::over_memory(mem.clone());
        faulty.arm(FaultPlan {
            op: Op::Sync,
            nth,
            fault: Fault::Error(io::ErrorKind::Other),
        });
        let store: SharedStore = Arc::new(faulty);
        let mut reported = Reported::default();
        live(&store, &Seen::default(), &mut reported).unwrap();
        assert_eq!(reported.acked, 422, "it went on in a new segment");
        let after: SharedStore = Arc::new(mem.power_cut(PowerCut::Synced));
        assert_eq!(Core::open(&after, &Seen::default()).unwrap().acked, 422);
    }
}
