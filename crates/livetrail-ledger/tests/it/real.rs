//! The ledger on a real file system.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use livetrail_ledger::{
    Access, Class, Cursor, Identity, Ledger, LedgerError, Options, Pressure, Reader, RealStore,
    Seed, SharedStore, Store as _, generate_seed, read_seed, write_seed,
};
use livetrail_tlog::{ProofFile, leaf_hash};

const LONG: Duration = Duration::from_secs(120);

fn identity() -> Identity {
    Identity::from_seeds(
        "example.com/audit",
        &Seed::new([1; 32]),
        &Seed::new([2; 32]),
    )
    .unwrap()
}

fn store(dir: &Path) -> SharedStore {
    Arc::new(RealStore::new(dir))
}

fn options() -> Options {
    let mut options = Options::default();
    options.queue_bytes = 256 << 10;
    options.segment_bytes = 1 << 20;
    options.ballast_bytes = 1 << 20;
    options.checkpoint_interval = Duration::from_millis(20);
    options
}

fn open(dir: &Path) -> Ledger {
    let builder = Ledger::builder(store(dir), identity()).options(options());
    builder.open().unwrap().0
}

fn entries(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|index| format!("entry {index}")).collect()
}

#[test]
fn what_is_written_early_is_what_was_written() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    store.write_early("tile", &bytes, Access::Tile).unwrap();
    assert_eq!(store.read("tile").unwrap(), bytes);
    let mode = fs::metadata(temp.path().join("tile")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o444);
    store.sync_files(&["tile".to_owned()]).unwrap();

    let mut file = store.preallocate("log", 1 << 20).unwrap();
    file.write_at(4096, &bytes).unwrap();
    file.begin_sync(4096, bytes.len() as u64);
    file.write_at(4196, b"after").unwrap();
    file.begin_sync(0, u64::MAX);
    file.sync().unwrap();
    let mut read = vec![0; bytes.len()];
    assert_eq!(file.read_at(4096, &mut read).unwrap(), read.len());
    assert_eq!(
        (&read[..100], &read[100..105]),
        (&bytes[..100], &b"after"[..])
    );
    assert_eq!(read[105..], bytes[105..]);
}

#[test]
fn a_trail_is_made_filled_closed_opened_again_and_read() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("new/trail");
    Ledger::create(&store(&dir), &identity()).unwrap();
    let mut next = 0;
    for life in 0..4 {
        let builder = Ledger::builder(store(&dir), identity()).options(options());
        let (ledger, report) = builder.open().unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.entries, next);
        for _ in 0..20 {
            let appended = ledger
                .append(Class::Strict, &entries(next..next + 777))
                .unwrap();
            next = appended.next;
            ledger.wait_durable(next, LONG).unwrap();
        }
        assert_eq!(ledger.pressure().min(Pressure::Warn), ledger.pressure());
        assert_eq!(ledger.close().unwrap().head().size, next, "life {life}");
    }
    let reader = Reader::open(store(&dir)).unwrap();
    let mut index = 0;
    for entry in reader.entries(0..next).unwrap() {
        assert_eq!(entry.unwrap(), format!("entry {index}").into_bytes());
        index += 1;
    }
    assert_eq!(index, next);
    let head = reader.checkpoint().unwrap().head();
    for index in [0, 255, 256, 30_000, next - 1] {
        let receipt = reader.inclusion_proof(index).unwrap();
        let receipt = ProofFile::parse(receipt.as_bytes()).unwrap();
        let leaf = leaf_hash(format!("entry {index}").as_bytes());
        head.verify_inclusion(index, &leaf, receipt.proof())
            .unwrap();
    }
    for old in [1, 777, 40_000, next] {
        let (older, proof) = reader.consistency_proof(old, next).unwrap();
        head.verify_consistency(&older, &proof).unwrap();
    }
    let stage = fs::read_dir(dir.join("private/stage")).unwrap().count();
    assert_eq!(stage, 0, "nothing is left in the stage");
}

#[test]
fn files_have_the_permissions_of_the_layout() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    Ledger::create(&store(dir), &identity()).unwrap();
    let ledger = open(dir);
    ledger.append(Class::Strict, &entries(0..300)).unwrap();
    ledger.set_cursor("s3", Some(Cursor::Required(7))).unwrap();
    ledger.close().unwrap();
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().mode() & 0o777;
    // The process's mask may remove bits, and adds none.
    for (path, most) in [
        ("checkpoint", Access::Checkpoint),
        ("tile/0/000", Access::Tile),
        ("tile/0/001.p/44", Access::Tile),
        ("tile/1/000.p/1", Access::Tile),
        ("tile/entries/000", Access::Entries),
        ("tile/entries/001.p/44", Access::Entries),
        ("private/log.json", Access::Private),
        ("private/intent", Access::Private),
        ("private/cursors/s3", Access::Private),
        ("private/wal/00000000000000000000.wal", Access::Private),
    ] {
        assert_eq!(mode(path) & !most.mode(), 0, "{path} is {:o}", mode(path));
        assert_ne!(mode(path) & 0o400, 0, "{path}");
    }
    assert_eq!(mode("private") & 0o077, 0, "private is private");
}

#[test]
fn partial_files_go_when_the_full_one_is_published() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    Ledger::create(&store(dir), &identity()).unwrap();
    let ledger = open(dir);
    let mut next = 0;
    for count in [10, 20, 300] {
        next = ledger
            .append(Class::Strict, &entries(next..next + count))
            .unwrap()
            .next;
        ledger.wait_sealed(next, LONG).unwrap();
    }
    ledger.close().unwrap();
    assert!(!dir.join("tile/0/000.p").exists());
    assert!(!dir.join("tile/entries/000.p").exists());
    let reader = Reader::open(store(dir)).unwrap();
    let old = reader.file("tile/entries/000.p/10".parse().unwrap());
    let full = fs::read(dir.join("tile/entries/000")).unwrap();
    assert!(
        full.starts_with(&old.unwrap()),
        "an old partial one is cut from the full one"
    );
    let old = reader.file("tile/0/000.p/30".parse().unwrap()).unwrap();
    assert_eq!(old.len(), 30 * 32);
}

#[test]
fn a_reader_follows_a_trail_that_is_being_written() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    Ledger::create(&store(dir), &identity()).unwrap();
    let ledger = open(dir);
    let reader = Reader::open(store(dir)).unwrap();
    let mut older = reader.checkpoint().unwrap().head();
    for round in 0..30_u64 {
        let appended = ledger.append(Class::Strict, &entries(round * 100..round * 100 + 100));
        ledger.wait_sealed(appended.unwrap().next, LONG).unwrap();
        let head = reader.checkpoint().unwrap().head();
        assert!(head.size >= (round + 1) * 100);
        let (old, proof) = reader.consistency_proof(older.size, head.size).unwrap();
        assert_eq!(old, older);
        head.verify_consistency(&old, &proof).unwrap();
        let last = reader.entry(head.size - 1).unwrap();
        assert_eq!(last, format!("entry {}", head.size - 1).into_bytes());
        older = head;
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_has_ended() {
    let temp = tempfile::tempdir().unwrap();
    Ledger::create(&store(temp.path()), &identity()).unwrap();
    let ledger = open(temp.path());
    let second = Ledger::builder(store(temp.path()), identity()).open();
    let error = second.map(|_| ()).unwrap_err();
    assert!(matches!(error, LedgerError::Locked { .. }), "{error}");
    ledger.close().unwrap();
    open(temp.path()).close().unwrap();
}

#[test]
fn opening_never_makes_a_trail() {
    let temp = tempfile::tempdir().unwrap();
    for dir in [temp.path().to_owned(), temp.path().join("not/there")] {
        let error = Ledger::builder(store(&dir), identity()).open();
        let error = error.map(|_| ()).unwrap_err();
        assert!(matches!(error, LedgerError::NoTrail { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_torn_tail_is_cut_and_a_damaged_log_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    Ledger::create(&store(dir), &identity()).unwrap();
    let ledger = open(dir);
    let appended = ledger.append(Class::Strict, &entries(0..100)).unwrap();
    ledger.wait_sealed(appended.next, LONG).unwrap();
    ledger.close().unwrap();
    let wal = dir.join("private/wal/00000000000000000000.wal");
    let whole = fs::read(&wal).unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(&[9, 0, 0, 0, 1, 2, 3]);
    fs::write(&wal, &torn).unwrap();
    let (ledger, report) = Ledger::builder(store(dir), identity()).open().unwrap();
    assert_eq!(report.torn_at, Some(whole.len() as u64));
    assert_eq!(report.entries, 100);
    drop(ledger);
    assert_eq!(fs::read(&wal).unwrap(), whole);
    let mut damaged = whole;
    damaged[4200] ^= 1;
    fs::write(&wal, &damaged).unwrap();
    let error = Ledger::builder(store(dir), identity()).open();
    let error = error.map(|_| ()).unwrap_err();
    assert!(matches!(error, LedgerError::WalCorrupt { .. }), "{error}");
    assert_eq!(fs::read(&wal).unwrap(), damaged, "and left as it was");
}

#[test]
fn keys_are_for_their_owner_alone_and_never_overwritten() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("signer");
    let seed = generate_seed().unwrap();
    assert_ne!(*seed, *generate_seed().unwrap());
    assert!(matches!(
        read_seed(&path).unwrap_err(),
        LedgerError::KeyMissing { .. }
    ));
    write_seed(&path, &seed).unwrap();
    assert_eq!(*read_seed(&path).unwrap(), *seed);
    assert!(
        write_seed(&path, &seed).is_err(),
        "a key is not overwritten"
    );
    for mode in [0o640, 0o604, 0o644, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let words = read_seed(&path).unwrap_err().to_string();
        assert!(words.contains("chmod 600"), "{words}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "not a key\n").unwrap();
    assert!(matches!(
        read_seed(&path).unwrap_err(),
        LedgerError::KeyFile { .. }
    ));
}

#[test]
fn a_volume_says_how_full_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let space = RealStore::new(temp.path()).space().unwrap();
    assert!(space.total_bytes > 0 && space.available_bytes <= space.total_bytes);
}
