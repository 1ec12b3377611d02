//! A disk that fills: the dropped classes, the use of the reserve, and the log's automatic
//! recovery.

use std::{sync::Arc, thread, time::Duration};

use super::harness::{created, identity, small};
use crate::{
    Access, AppendError, Class, Fault, FaultPlan, FaultStore, Ledger, MemStore, Op, Options,
    Pressure, Reader, Store as _,
};

const LONG: Duration = Duration::from_secs(30);

fn open(mem: &MemStore, options: Options) -> Ledger {
    Ledger::builder(Arc::new(mem.clone()), identity())
        .options(options)
        .open()
        .unwrap()
        .0
}

fn await_that(condition: impl Fn() -> bool) -> bool {
    (0..6_000).any(|_| {
        thread::sleep(Duration::from_millis(5));
        condition()
    })
}

/// The data of others on the volume: the ledger's own are small in comparison.
const OTHERS_BYTES: usize = 100 << 20;

/// A ledger with a reserve of 2 MiB on a volume that others use too, measured often.
fn beside_others() -> (MemStore, Ledger) {
    let mem = created();
    mem.write("others", &vec![0; OTHERS_BYTES], Access::Private)
        .unwrap();
    let options = Options {
        space_interval: Duration::from_millis(2),
        ballast_bytes: 2 << 20,
        ..small()
    };
    let ledger = open(&mem, options);
    (mem, ledger)
}

fn used(mem: &MemStore) -> u64 {
    let space = mem.space().unwrap();
    space.total_bytes - space.available_bytes
}

/// Sets the volume's size so that this part of it is used, in thousandths.
fn use_up(mem: &MemStore, permille: u64) {
    mem.set_capacity(Some(used(mem) * 1000 / permille));
}

/// Appends an entry that is always accepted, and waits until a checkpoint covers it.
fn seal_an_end(ledger: &Ledger) {
    let end = ledger.append(Class::Essential, &["an end"]).unwrap();
    ledger.wait_durable(end.next, LONG).unwrap();
    ledger.wait_sealed(end.next, LONG).unwrap();
}

const CLASSES: [Class; 4] = [
    Class::Refusal,
    Class::BestEffort,
    Class::Strict,
    Class::Essential,
];

fn taken(ledger: &Ledger) -> [bool; 4] {
    CLASSES.map(|class| match ledger.append(class, &["an entry"]) {
        Ok(_) => true,
        Err(AppendError::NoSpace { .. }) => false,
        Err(error) => panic!("{error}"),
    })
}

#[test]
fn classes_are_refused_one_after_the_other_as_the_disk_fills() {
    let (mem, ledger) = beside_others();
    for (permille, wanted) in [
        (700, [true, true, true, true]),
        (850, [true, true, true, true]),
        (925, [false, true, true, true]),
        (960, [false, false, true, true]),
        (985, [false, false, false, true]),
        (925, [false, true, true, true]),
        (700, [true, true, true, true]),
    ] {
        use_up(&mem, permille);
        thread::sleep(Duration::from_millis(3));
        seal_an_end(&ledger);
        assert_eq!(taken(&ledger), wanted, "at {permille}");
    }
    ledger.close().unwrap();
}

#[test]
fn the_reserve_is_for_essential_entries_alone_and_checkpoints_fit_into_it() {
    let (mem, ledger) = beside_others();
    assert!(mem.exists("private/ballast").unwrap());
    // Others use up the rest of the volume: each write finds no space now.
    mem.set_capacity(Some(used(&mem)));
    thread::sleep(Duration::from_millis(3));
    for _ in 0..20 {
        seal_an_end(&ledger);
        assert_eq!(taken(&ledger), [false, false, false, true]);
    }
    assert!(!mem.exists("private/ballast").unwrap(), "it was of no use");
    // The reserve's space is free, and without it the volume is not full. It remains for essential
    // entries.
    use_up(&mem, 960);
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(3));
        seal_an_end(&ledger);
        assert_eq!(taken(&ledger), [false, false, false, true]);
    }
    use_up(&mem, 900);
    assert!(await_that(|| mem.exists("private/ballast").unwrap()));
    use_up(&mem, 700);
    assert!(await_that(|| ledger.pressure() == Pressure::Normal));
    assert_eq!(taken(&ledger), [true; 4]);
    ledger.close().unwrap();
}

#[test]
fn a_full_disk_refuses_then_recovers_by_itself_with_one_continuous_log() {
    let mem = created();
    let mut options = small();
    options.space_interval = Duration::from_millis(5);
    options.ballast_bytes = 200 << 10;
    mem.set_capacity(Some(3 << 20));
    let ledger = open(&mem, options);
    let piece: Vec<_> = vec![vec![1; 2000]; 20];
    let mut refused = 0;
    let mut taken = 0;
    while refused < 3 {
        match ledger.append(Class::BestEffort, &piece) {
            Ok(_) => taken += 20,
            Err(AppendError::NoSpace { pressure }) => {
                assert!(pressure >= Pressure::ShedBestEffort);
                refused += 1;
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 100_000, "a volume of 3 MiB takes no end of entries");
    }
    let mut strict_refused = false;
    for _ in 0..2000 {
        match ledger.append(Class::Strict, &piece) {
            Ok(_) => taken += 20,
            Err(AppendError::NoSpace { pressure }) => {
                assert_eq!(pressure, Pressure::RefuseStrict);
                strict_refused = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(strict_refused);
    // Now the loss is reported, in the space that the ballast has left.
    let appended = ledger
        .append(Class::Essential, &["records_dropped"])
        .unwrap();
    taken += 1;
    mem.set_capacity(Some(64 << 20));
    ledger.wait_sealed(appended.next, LONG).unwrap();
    let mut tries = 0;
    while ledger.pressure() != Pressure::Normal {
        tries += 1;
        assert!(tries < 3000, "space returned and nobody noticed");
        thread::sleep(Duration::from_millis(10));
    }
    ledger.append(Class::BestEffort, &piece).unwrap();
    taken += 20;
    assert_eq!(ledger.close().unwrap().head().size, taken);
    let reader = Reader::open(Arc::new(mem)).unwrap();
    assert_eq!(
        reader
            .entries(0..taken)
            .unwrap()
            .filter(Result::is_ok)
            .count() as u64,
        taken
    );
}

#[test]
fn an_append_that_waits_for_the_queue_fails_when_the_disk_is_full() {
    let mem = created();
    let faulty = FaultStore::over_memory(mem.clone());
    let options = Options {
        segment_bytes: 140 << 10,
        space_interval: Duration::from_millis(5),
        ..small()
    };
    let (ledger, _) = Ledger::builder(Arc::new(faulty.clone()), identity())
        .options(options)
        .open()
        .unwrap();
    let first = ledger
        .append(Class::Strict, &[vec![1; 50_000], vec![1; 30_000]])
        .unwrap();
    ledger.wait_durable(first.next, LONG).unwrap();
    ledger.wait_sealed(first.next, LONG).unwrap();
    // The committer hangs while it creates the next segment, when the disk still has space.
    faulty.arm(FaultPlan {
        op: Op::Preallocate,
        nth: 0,
        fault: Fault::Hang,
    });
    let second = ledger
        .append(Class::Strict, &[vec![2; 50_000], vec![2; 30_000]])
        .unwrap();
    let _hastened = ledger.durable(second.next);
    assert!(await_that(|| faulty.fired()));
    mem.set_capacity(Some(1));

    let handle = ledger.handle();
    let waiting = thread::spawn(move || {
        loop {
            if let Err(error) = handle.append(Class::Strict, &[vec![3; 40_000]]) {
                return error;
            }
        }
    });
    // Three fit; the fourth waits.
    assert!(await_that(|| ledger.status().queue_bytes > 120_000));
    thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished(), "the queue has no room for it");
    faulty.release();
    assert!(await_that(|| waiting.is_finished()), "it waits for ever");
    let error = waiting.join().unwrap();
    assert!(matches!(error, AppendError::NoSpace { .. }), "{error}");

    mem.set_capacity(None);
    let next = second.next.saturating_add(3);
    ledger.wait_sealed(next, LONG).unwrap();
    assert_eq!(ledger.close().unwrap().head().size, next);
}
