//! The ledger with its threads, in memory.

use std::{sync::Arc, thread, time::Duration};

use super::harness::{Seen, Still, check_whole, created, entry, identity, small};
use crate::{
    AppendError, Class, Identity, Ledger, Options, Reader, Seed, WaitError,
    store::{Fault, FaultPlan, FaultStore, MemStore, Op, SharedStore, Store as _},
    upkeep::recover::create,
};

const LONG: Duration = Duration::from_secs(60);

fn open(mem: &MemStore, options: Options) -> Ledger {
    let store: SharedStore = Arc::new(mem.clone());
    let (ledger, _) = Ledger::builder(store, identity())
        .options(options)
        .open()
        .unwrap();
    ledger
}

fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(entry).collect()
}

#[test]
fn what_is_appended_becomes_durable_then_sealed_and_can_be_proved() {
    let mem = created();
    let ledger = open(&mem, small());
    let mut next = 0;
    for count in [1, 10, 300, 1000] {
        let appended = ledger
            .append(Class::Strict, &entries(next..next + count))
            .unwrap();
        assert_eq!((appended.first, appended.next), (next, next + count));
        next += count;
        ledger.wait_durable(next, LONG).unwrap();
    }
    ledger.wait_sealed(next, LONG).unwrap();
    let reader = Reader::open(Arc::new(mem.clone())).unwrap();
    let proof = reader.inclusion_proof(700).unwrap();
    let proof = livetrail_tlog::ProofFile::parse(proof.as_bytes()).unwrap();
    assert_eq!(proof.index(), 700);
    let head = ledger.close().unwrap().head();
    head.verify_inclusion(700, &livetrail_tlog::leaf_hash(&entry(700)), proof.proof())
        .unwrap();
    let (old, proof) = reader.consistency_proof(11, 1311).unwrap();
    head.verify_consistency(&old, &proof).unwrap();
    let read: Result<Vec<_>, _> = reader.entries(0..u64::MAX).unwrap().collect();
    assert_eq!(read.unwrap(), entries(0..1311));
    assert_eq!(check_whole(&mem, &Seen::default(), 1311), 1311);
}

#[test]
fn many_threads_append_and_every_entry_has_one_place() {
    let mem = created();
    let ledger = open(&mem, small());
    let mut taken = thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let handle = ledger.handle();
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    for i in 0..500_u64 {
                        let bytes = format!("{thread} {i}");
                        let appended = handle.append(Class::Strict, &[&bytes]).unwrap();
                        taken.push((appended.first, bytes.into_bytes()));
                    }
                    let (last, _) = taken.last().unwrap();
                    handle.wait_durable(last + 1, LONG).unwrap();
                    taken
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    taken.sort();
    assert_eq!(ledger.close().unwrap().head().size, 2000);
    let reader = Reader::open(Arc::new(mem)).unwrap();
    let read: Vec<_> = (0..)
        .zip(reader.entries(0..2000).unwrap().map(Result::unwrap))
        .collect();
    assert_eq!(read, taken);
}

#[test]
fn a_future_resolves_without_a_runtime() {
    let mem = created();
    let ledger = open(&mem, small());
    let appended = ledger.append(Class::Strict, &entries(0..3)).unwrap();
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(ledger.durable(appended.next));
    while future.as_mut().poll(&mut cx).is_pending() {
        thread::park_timeout(LONG);
    }
    assert!(ledger.durable_entries() >= 3);
}

#[test]
fn an_entry_too_long_or_a_call_too_large_takes_nothing() {
    let mem = created();
    let ledger = open(&mem, small());
    let error = ledger
        .append(Class::Strict, &[vec![0; 3], vec![0; 65_536]])
        .unwrap_err();
    assert!(matches!(
        error,
        AppendError::EntryTooLong {
            at: 1,
            bytes: 65_536
        }
    ));
    let error = ledger
        .append(Class::Strict, &vec![vec![0; 60_000]; 3])
        .unwrap_err();
    assert!(matches!(error, AppendError::TooMuch { .. }), "{error}");
    ledger
        .append(Class::Strict, &[vec![7; 65_535], vec![]])
        .unwrap();
    assert_eq!(ledger.close().unwrap().head().size, 2);
    let reader = Reader::open(Arc::new(mem)).unwrap();
    assert_eq!(reader.entry(0).unwrap(), vec![7; 65_535]);
    assert_eq!(reader.entry(1).unwrap(), b"");
}

#[test]
fn an_idle_ledger_does_not_touch_the_store() {
    let mem = created();
    let faulty = FaultStore::over_memory(mem);
    let store: SharedStore = Arc::new(faulty.clone());
    let (ledger, _) = Ledger::builder(store, identity())
        .options(small())
        .open()
        .unwrap();
    let appended = ledger.append(Class::Strict, &entries(0..300)).unwrap();
    ledger.wait_sealed(appended.next, LONG).unwrap();
    // The sealer may still be removing files or preparing a segment; afterwards nothing happens.
    let mut before = faulty.counts();
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(20));
        let now = faulty.counts();
        if now == before {
            break;
        }
        before = now;
    }
    thread::sleep(Duration::from_millis(200));
    assert_eq!(faulty.counts(), before);
    ledger.close().unwrap();
}

#[test]
fn the_next_segments_zeros_keep_pace_with_the_log_and_none_are_left_half_made() {
    let mem = created();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let options = Options {
        segment_bytes: 1 << 20,
        ..small()
    };
    let open = || {
        let builder = Ledger::builder(store.clone(), identity()).options(options.clone());
        builder.open().unwrap().0
    };
    let has = |name: &str| mem.paths().iter().any(|path| path == name);
    let (spare, half) = ("private/wal/spare", "private/wal/spare.new");
    let fill = |ledger: &Ledger, bytes: usize| {
        let appended = ledger.append(Class::Strict, &[vec![7; bytes]]).unwrap();
        ledger.wait_durable(appended.next, LONG).unwrap();
    };

    let ledger = open();
    assert!(has(spare), "one is made at the start");
    fill(&ledger, 100);
    assert!(!has(spare), "it is in use");
    let before = faulty.counts();
    ledger.wait_sealed(1, LONG).unwrap();
    thread::sleep(Duration::from_millis(50));
    let zeros = faulty.counts()[&Op::WriteAt] - before[&Op::WriteAt];
    assert_eq!(zeros, 0, "a few records want no zeros");
    for _ in 0..2 {
        fill(&ledger, 60_000);
    }
    let made = await_that(|| faulty.counts()[&Op::WriteAt] > before[&Op::WriteAt] + 2 && has(half));
    assert!(made && !has(spare), "as many as the log is far");
    ledger.close().unwrap();
    assert!(!has(half), "half of one is of no use");

    let ledger = open();
    for _ in 0..12 {
        fill(&ledger, 60_000);
    }
    // Each commit asks for at most one more piece.
    let whole = await_that(|| {
        fill(&ledger, 10);
        has(spare)
    });
    assert!(whole, "whole before it is needed");
    assert!(!has(half));
    let preallocated = faulty.counts()[&Op::Preallocate];
    for _ in 0..6 {
        fill(&ledger, 60_000);
    }
    assert!(
        mem.paths()
            .iter()
            .filter(|path| path.ends_with(".wal"))
            .count()
            > 1
    );
    assert!(
        faulty.counts()[&Op::Preallocate] <= preallocated + 1,
        "the spare was used"
    );
    ledger.close().unwrap();
}

fn await_that(condition: impl Fn() -> bool) -> bool {
    (0..2_000).any(|_| {
        thread::sleep(Duration::from_millis(5));
        condition()
    })
}

#[test]
fn handles_outlive_the_ledger_and_say_that_it_is_closed() {
    let mem = created();
    let ledger = open(&mem, small());
    let handle = ledger.handle();
    let appended = handle.append(Class::Strict, &entries(0..5)).unwrap();
    drop(ledger);
    assert!(
        handle.wait_sealed(appended.next, Duration::ZERO).is_ok(),
        "closing seals"
    );
    let error = handle.append(Class::Strict, &entries(5..6)).unwrap_err();
    assert!(matches!(error, AppendError::Closed) && error.is_final());
    assert!(matches!(
        handle.wait_durable(6, LONG),
        Err(WaitError::Closed)
    ));
}

#[test]
fn a_log_that_cannot_be_written_stops_and_says_why_to_everybody() {
    let mem = created();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let (ledger, _) = Ledger::builder(store, identity())
        .options(small())
        .open()
        .unwrap();
    faulty.arm(FaultPlan {
        op: Op::Sync,
        nth: 0,
        fault: Fault::KilledBefore,
    });
    let appended = ledger.append(Class::Strict, &entries(0..5)).unwrap();
    let error = ledger.wait_durable(appended.next, LONG).unwrap_err();
    assert!(matches!(error, WaitError::Stopped(_)), "{error}");
    let error = ledger.append(Class::Strict, &entries(5..6)).unwrap_err();
    assert!(matches!(error, AppendError::Stopped(_)), "{error}");
    assert!(ledger.status().stopped.is_some());
    ledger.close().unwrap_err();
    let ledger = open(&mem, small());
    assert!(ledger.close().unwrap().head().size <= 5);
}

#[test]
fn a_full_queue_is_an_error_without_waiting_and_a_delay_with_it() {
    let mem = created();
    let ledger = open(&mem, small());
    let piece = vec![vec![0; 1000]; 60];
    let mut full = 0;
    let mut taken = 0;
    for _ in 0..400 {
        match ledger.try_append(Class::Strict, &piece) {
            Ok(_) => taken += 60,
            Err(AppendError::QueueFull) => {
                full += 1;
                ledger.append(Class::Strict, &piece).unwrap();
                taken += 60;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(ledger.close().unwrap().head().size, taken);
    assert!(full > 0, "the queue has a bound");
}

#[test]
fn a_halted_ledger_signs_nothing_more() {
    let mem = created();
    let ledger = open(&mem, small());
    ledger.halt("witness.example has seen 99 entries");
    let error = ledger.append(Class::Strict, &entries(0..1)).unwrap_err();
    assert!(matches!(error, AppendError::Stopped(_)));
    let fatal = ledger.close().unwrap_err();
    assert!(fatal.to_string().contains("witness.example"), "{fatal}");
}

#[test]
fn a_witness_line_is_added_to_the_published_checkpoint_and_kept() {
    let mem = created();
    let ledger = open(&mem, small());
    let appended = ledger.append(Class::Strict, &entries(0..7)).unwrap();
    ledger.wait_sealed(appended.next, LONG).unwrap();
    let name = livetrail_tlog::KeyName::new("witness.example/w").unwrap();
    let witness = livetrail_tlog::CosignatureSigner::from_seed(name, &[9; 32]);
    let mut note = ledger.checkpoint().note().clone();
    note.add_signature_of(&witness.at(1_700_000_001)).unwrap();
    let line = note.signatures().last().unwrap().clone();
    assert!(ledger.add_cosignatures(&ledger.checkpoint(), vec![line]));
    let mut tries = 0;
    while ledger.checkpoint().note() != &note {
        tries += 1;
        assert!(tries < 3000, "the line does not come");
        thread::sleep(Duration::from_millis(10));
    }
    ledger.close().unwrap();
    assert_eq!(mem.read("checkpoint").unwrap(), note.encode().into_bytes());
    let kept = mem.read("private/checkpoints/00000000000000000007.note");
    assert_eq!(kept.unwrap(), note.encode().into_bytes());
    let ledger = open(&mem, small());
    assert_eq!(
        ledger.checkpoint().note(),
        &note,
        "a foreign line is no reason to refuse"
    );
}

#[test]
fn a_line_that_comes_after_the_next_checkpoint_is_kept_with_the_one_that_it_signs() {
    let mem = created();
    let ledger = open(&mem, small());
    let appended = ledger.append(Class::Strict, &entries(0..7)).unwrap();
    ledger.wait_sealed(appended.next, LONG).unwrap();
    let older = ledger.checkpoint();
    let appended = ledger.append(Class::Strict, &entries(7..9)).unwrap();
    ledger.wait_sealed(appended.next, LONG).unwrap();
    let mut note = older.note().clone();
    for seed in [8, 9] {
        let name = livetrail_tlog::KeyName::new(format!("witness{seed}.example")).unwrap();
        let witness = livetrail_tlog::CosignatureSigner::from_seed(name, &[seed; 32]);
        note.add_signature_of(&witness.at(1_700_000_001)).unwrap();
        let line = note.signatures().last().unwrap().clone();
        assert!(ledger.add_cosignatures(&older, vec![line]));
    }
    // A checkpoint of another log.
    let stranger = MemStore::new();
    let other = Identity::from_seeds(
        "example.com/audit",
        &Seed::new([7; 32]),
        &Seed::new([2; 32]),
    );
    create(&stranger, &other.unwrap(), &Still).unwrap();
    let theirs = Reader::open(Arc::new(stranger)).unwrap();
    let line = note.signatures().last().unwrap().clone();
    assert!(ledger.add_cosignatures(&theirs.checkpoint().unwrap(), vec![line]));
    ledger.close().unwrap();
    let kept = mem.read("private/checkpoints/00000000000000000007.note");
    assert_eq!(kept.unwrap(), note.encode().into_bytes(), "with both lines");
    assert!(
        mem.read("private/checkpoints/00000000000000000000.note")
            .is_err()
    );
    let published = Reader::open(Arc::new(mem)).unwrap().checkpoint().unwrap();
    assert_eq!(published.head().size, 9);
    assert_eq!(published.note().signatures().len(), 2, "its own alone");
}

#[test]
fn closing_does_not_wait_for_ever_for_a_disk_that_hangs() {
    let faulty = FaultStore::over_memory(created());
    let store: SharedStore = Arc::new(faulty.clone());
    let (ledger, _) = Ledger::builder(Arc::clone(&store), identity())
        .options(small())
        .open()
        .unwrap();
    faulty.arm(FaultPlan {
        op: Op::Sync,
        nth: 0,
        fault: Fault::Hang,
    });
    let handle = ledger.handle();
    let appended = ledger.append(Class::Strict, &entries(0..3)).unwrap();
    let late = handle.wait_durable(appended.next, Duration::from_millis(20));
    assert!(matches!(late, Err(WaitError::TimedOut)));
    let fatal = ledger.close_within(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(*fatal, crate::Fatal::Hung), "{fatal}");
    let late = handle.wait_durable(appended.next, LONG);
    assert!(matches!(late, Err(WaitError::Stopped(_))));
    let again = Ledger::builder(store, identity()).open().map(|_| ());
    assert!(matches!(again, Err(crate::LedgerError::Locked { .. })));
    faulty.release();
}

#[test]
fn closing_with_a_deadline_is_closing_when_nothing_hangs() {
    let ledger = open(&created(), small());
    ledger.append(Class::Strict, &entries(0..3)).unwrap();
    let closed = ledger.close_within(LONG).unwrap();
    assert_eq!(closed.head().size, 3);
}
