//! Random operations, with starts, power cuts and faults between them, compared with a model.

use std::{collections::BTreeSet, sync::Arc};

use livetrail_clock::ManualClock;
use livetrail_ledger::{Fault, FaultPlan, FaultStore, MemStore, Op, PowerCut, SharedStore};
use proptest::prelude::*;

use super::{NOW_MS, insert_missing, present, request, session, sessions, try_open};
use crate::{Selection, Subject};

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<u32>),
    Erase(Vec<u32>),
    EraseName(u32),
    Restart(Option<u64>),
    Fail(u8, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let numbers = || prop::collection::vec(0_u32..40, 1..12);
    prop_oneof![
        4 => numbers().prop_map(Step::Insert),
        2 => numbers().prop_map(Step::Erase),
        1 => (0_u32..5).prop_map(Step::EraseName),
        1 => prop::option::of(any::<u64>()).prop_map(Step::Restart),
        2 => (0_u8..5, 0_u64..8).prop_map(|(op, nth)| Step::Fail(op, nth)),
    ]
}

#[test]
fn a_key_of_which_a_part_was_overwritten_is_erased_by_the_next_start() {
    let clock = ManualClock::at(NOW_MS);
    let mem = MemStore::new();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let mut vault = try_open(&store, &clock).unwrap().0;
    // The second batch says that the first one was synced.
    insert_missing(&mut vault, vec![37]).unwrap();
    insert_missing(&mut vault, vec![0]).unwrap();
    faulty.arm(FaultPlan {
        op: Op::WriteAt,
        nth: 0,
        fault: Fault::Short,
    });
    let selection = Selection::Sessions(sessions(vec![37]));
    vault
        .erase(&request("r", selection), &mut |_| Ok(()))
        .unwrap_err();
    drop(vault);

    let store: SharedStore = Arc::new(FaultStore::over_memory(mem.power_cut(PowerCut::All)));
    let (vault, opened) = try_open(&store, &clock).unwrap();
    assert_eq!(opened.finished_erasures, 1);
    assert_eq!(present(&vault, 40), [0]);
    let check = vault.check().unwrap();
    assert!(check.is_good(), "{check:?}");
    assert_eq!((check.rows, check.erased), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_vault_has_what_it_was_given_and_not_told_to_erase(steps in prop::collection::vec(step(), 1..24)) {
        let clock = ManualClock::at(NOW_MS);
        let mut mem = MemStore::new();
        let mut faulty = FaultStore::over_memory(mem.clone());
        let mut store: SharedStore = Arc::new(faulty.clone());
        let mut vault = Some(try_open(&store, &clock).unwrap().0);
        let (mut given, mut kept, mut log) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (at, step) in steps.into_iter().enumerate() {
            let open = vault.as_mut().unwrap();
            let mut restart = None;
            match step {
                Step::Insert(numbers) => {
                    given.extend(numbers.iter().copied());
                    if insert_missing(open, numbers.clone()).is_ok() {
                        kept.extend(numbers);
                    } else {
                        restart = Some(None);
                    }
                }
                Step::Erase(numbers) => {
                    let selection = Selection::Sessions(sessions(numbers));
                    let done = open.erase(&request("r", selection), &mut |some| {
                        log.extend(some.iter().map(|id| u32::from_be_bytes(id[12..].try_into().unwrap())));
                        Ok(())
                    });
                    restart = done.is_err().then_some(None);
                }
                Step::EraseName(name) => {
                    let selection = Selection::Subject(Subject::Principal(format!("name{name}")));
                    let done = open.erase(&request("r", selection), &mut |some| {
                        log.extend(some.iter().map(|id| u32::from_be_bytes(id[12..].try_into().unwrap())));
                        Ok(())
                    });
                    restart = done.is_err().then_some(None);
                }
                Step::Restart(cut) => restart = Some(cut),
                Step::Fail(op, nth) => {
                    let op = [Op::WriteAt, Op::Sync, Op::SyncFiles, Op::Rename, Op::Remove][usize::from(op)];
                    let fault = [Fault::Short, Fault::KilledAfter, Fault::ErrorButDone(std::io::ErrorKind::Other)][usize::try_from(nth % 3).unwrap()];
                    faulty.arm(FaultPlan { op, nth, fault });
                }
            }
            if let Some(cut) = restart {
                drop(vault.take());
                mem = mem.power_cut(cut.map_or(PowerCut::All, PowerCut::Subset));
                faulty = FaultStore::over_memory(mem.clone());
                store = Arc::new(faulty.clone());
                let mut fresh = try_open(&store, &clock).unwrap().0;
                let erased: Vec<_> = log.iter().copied().map(session).collect();
                fresh.replay(&erased).unwrap();
                let has: BTreeSet<u32> = present(&fresh, 40).into_iter().collect();
                let wanted: BTreeSet<u32> = kept.difference(&log).copied().collect();
                prop_assert!(wanted.is_subset(&has), "step {}: {:?} not in {:?}", at, wanted, has);
                prop_assert!(has.is_subset(&given) && has.is_disjoint(&log), "step {}", at);
                let check = fresh.check().unwrap();
                prop_assert!(check.is_good(), "step {}: {:?}", at, check);
                vault = Some(fresh);
            }
        }
    }
}
