//! Random lives: appends, commits, checkpoints, closings, kills and power cuts in any order.

use std::sync::Arc;

use proptest::prelude::*;

use super::harness::{Core, Seen, check_names, check_whole, created, created_with_companions};
use crate::{
    layout,
    store::{Fault, FaultPlan, FaultStore, MemStore, Op, PowerCut, SharedStore},
};

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Commit,
    Integrate,
    Seal,
    Close,
    Kill,
    Cut(PowerCut),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..40).prop_map(Step::Append),
        2 => (200_u64..600).prop_map(Step::Append),
        4 => Just(Step::Commit),
        2 => Just(Step::Integrate),
        2 => Just(Step::Seal),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::Cut(PowerCut::Synced)),
        1 => any::<u64>().prop_map(|seed| Step::Cut(PowerCut::Prefix(seed))),
        2 => any::<u64>().prop_map(|seed| Step::Cut(PowerCut::Subset(seed))),
    ]
}

struct Trail {
    mem: MemStore,
    seen: Seen,
    core: Option<Core>,
    acked: u64,
}

impl Trail {
    fn new(companions: bool) -> Self {
        let (mem, seen) = if companions {
            (created_with_companions(), Seen::with_companions())
        } else {
            (created(), Seen::default())
        };
        Self {
            mem,
            seen,
            core: None,
            acked: 0,
        }
    }

    fn core(&mut self) -> &mut Core {
        let Self {
            mem,
            seen,
            core,
            acked,
        } = self;
        core.get_or_insert_with(|| {
            let store: SharedStore = Arc::new(mem.clone());
            let core = Core::open(&store, seen).unwrap();
            assert!(core.acked >= *acked, "lost {} of {acked}", core.acked);
            *acked = core.acked;
            assert_eq!(check_whole(mem, seen, core.acked), core.acked);
            check_names(mem, core.acked);
            core
        })
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(count) => self.core().append(count),
            Step::Commit => {
                self.core().commit().unwrap();
                self.acked = self.core().acked;
            }
            Step::Integrate => self.core().integrate().unwrap(),
            Step::Seal => {
                self.core().seal().unwrap();
                let durable = self.core().acked;
                check_whole(&self.mem, &self.seen, durable);
                check_names(&self.mem, durable);
            }
            Step::Close => {
                self.core();
                let core = self.core.take().unwrap();
                self.acked = core.appended;
                core.close().unwrap();
            }
            Step::Kill => self.core = None,
            Step::Cut(cut) => {
                self.core = None;
                self.mem = self.mem.power_cut(cut);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_that_was_durable_is_lost_and_no_tree_forks(
        steps in prop::collection::vec(step(), 1..30),
        companions: bool,
    ) {
        let mut trail = Trail::new(companions);
        for step in steps {
            trail.take(step);
        }
        trail.core();
    }
}

#[test]
fn a_cut_at_every_moment_of_a_batch_is_survived() {
    for seed in 0..300 {
        let mut trail = Trail::new(seed % 3 != 0);
        trail.take(Step::Append(30));
        trail.take(Step::Commit);
        trail.take(Step::Append(100));
        // Written and not synced: a commit whose sync is lost in the power cut.
        let before = trail.mem.copy();
        trail.take(Step::Commit);
        trail.core = None;
        let cut = if seed % 2 == 0 {
            PowerCut::Prefix(seed)
        } else {
            PowerCut::Subset(seed)
        };
        trail.mem = before.power_cut(cut);
        trail.acked = 30;
        trail.core();
    }
}

#[test]
fn what_a_start_counts_as_durable_is_on_the_disk_although_a_sync_had_failed() {
    let mem = created();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    core.append(10);
    core.commit().unwrap();
    core.append(20);
    faulty.arm(FaultPlan {
        op: Op::Sync,
        nth: 0,
        fault: Fault::KilledBefore,
    });
    core.commit().unwrap_err();
    drop(core);
    // The batch is in the page cache, and its sync has failed, so its pages count as clean: a sync
    // alone would keep nothing of it.
    mem.forget_unsynced(&layout::segment(0));
    let store: SharedStore = Arc::new(mem.clone());
    let core = Core::open(&store, &Seen::default()).unwrap();
    assert_eq!(core.acked, 30);
    drop(core);
    let after = mem.power_cut(PowerCut::Synced);
    // The bundles would have the entries; the log must have them too.
    let scan = crate::write::wal::scan_log(&after, &log_id(&after), 0).unwrap();
    assert_eq!(scan.next_index, 30);
}

fn log_id(store: &MemStore) -> crate::write::wal::LogId {
    let manifest = crate::manifest::Manifest::read(store).unwrap();
    manifest.log_id().unwrap()
}

#[test]
fn a_start_that_is_killed_over_and_over_comes_on_all_the_same() {
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    core.append(70_000);
    core.commit().unwrap();
    drop(core);
    let sealed = || {
        let reader = crate::Reader::open(Arc::new(mem.clone())).unwrap();
        reader.checkpoint().unwrap().head().size
    };
    for step in 1..=2 {
        let faulty = FaultStore::over_memory(mem.clone());
        // A checkpoint takes three: files, intent, checkpoint. The next one's files are the fourth.
        faulty.arm(FaultPlan {
            op: Op::SyncFiles,
            nth: 3,
            fault: Fault::KilledBefore,
        });
        let store: SharedStore = Arc::new(faulty);
        assert!(Core::open(&store, &Seen::default()).is_err());
        assert_eq!(sealed(), step << 15);
    }
    Core::open(&store, &Seen::default()).unwrap();
    assert_eq!(sealed(), 70_000);
}
