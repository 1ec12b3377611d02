//! Companions on the running ledger: kept before their entries are sealed, whatever the store does.
//! The fault tables, the random lives and the fuzz body have companions, too.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use livetrail_tlog::{NoteSignature, VerifiedCheckpoint};

use super::harness::{Seen, check_whole, companion, created, entry, identity, small, with_keys};
use crate::{
    AppendError, Builder, CheckpointHook, Class, Companion, CompanionStore, Entry, ExternalFloor,
    Floor, Ledger, LedgerError, MAX_COMPANION_BYTES, MemStore, Options, SharedStore, Store as _,
    WaitError, write::wal::list_segments,
};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

/// A store in memory that fails on demand.
#[derive(Clone, Default)]
struct Vault(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: BTreeMap<u64, Vec<u8>>,
    /// The bytes of each call that succeeded.
    calls: Vec<usize>,
    fails: Option<io::ErrorKind>,
    failures: u64,
}

impl Vault {
    fn fail(&self, kind: Option<io::ErrorKind>) {
        self.0.lock().unwrap().fails = kind;
    }

    fn kept(&self) -> BTreeMap<u64, Vec<u8>> {
        self.0.lock().unwrap().kept.clone()
    }

    /// Waits until the store has failed once more.
    fn wait_for_failure(&self) {
        let before = self.0.lock().unwrap().failures;
        let wanted = before + 1;
        for _ in 0..30_000 {
            if self.0.lock().unwrap().failures >= wanted {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the store was not called");
    }
}

impl CompanionStore for Vault {
    fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        assert!(companions.is_sorted_by(|one, next| one.index < next.index));
        if let Some(kind) = state.fails {
            state.failures += 1;
            return Err(kind.into());
        }
        let bytes = companions.iter().map(|one| one.bytes.len()).sum();
        state.calls.push(bytes);
        let new = companions.iter().map(|one| (one.index, one.bytes.to_vec()));
        state.kept.extend(new);
        Ok(())
    }
}

/// At each signature the store has the companions of all entries under it.
struct AtSigning(Vault);

impl CheckpointHook for AtSigning {
    fn signed(&mut self, checkpoint: &VerifiedCheckpoint) -> Vec<NoteSignature> {
        assert_all_kept(&self.0, checkpoint.head().size);
        Vec::new()
    }
}

fn assert_all_kept(vault: &Vault, size: u64) {
    let wanted: BTreeMap<_, _> = (0..size)
        .map(|index| (index, companion(index)))
        .filter(|(_, companion)| !companion.is_empty())
        .collect();
    let mut kept = vault.kept();
    kept.retain(|index, _| *index < size);
    assert_eq!(kept, wanted, "below {size}");
}

fn builder(mem: &MemStore) -> Builder {
    let store: SharedStore = Arc::new(mem.clone());
    let mut options = small();
    options.queue_bytes = 256 << 10;
    options.segment_bytes = 512 << 10;
    options.space_interval = Duration::from_millis(5);
    Ledger::builder(store, identity()).options(options)
}

fn open(mem: &MemStore, vault: &Vault) -> Ledger {
    let builder = builder(mem).companions(vault.clone());
    builder.hook(AtSigning(vault.clone())).open().unwrap().0
}

fn append(ledger: &Ledger, range: std::ops::Range<u64>) {
    let owned: Vec<_> = range
        .map(|index| (entry(index), companion(index)))
        .collect();
    let entries: Vec<_> = owned
        .iter()
        .map(|(bytes, companion)| Entry { bytes, companion })
        .collect();
    ledger.append_entries(Class::Strict, &entries).unwrap();
}

/// A copy of the disk that has these durable entries and no checkpoint over them, as a kill leaves
/// it.
fn unsealed(mem: &MemStore, entries: std::ops::Range<u64>) -> MemStore {
    let vault = Vault::default();
    vault.fail(Some(io::ErrorKind::Other));
    let ledger = open(mem, &vault);
    let end = entries.end;
    append(&ledger, entries);
    ledger.wait_durable(end, LONG).unwrap();
    let left = mem.copy();
    ledger.halt("the test is done with it");
    left
}

#[test]
fn companions_are_kept_before_their_entries_are_signed_and_never_reach_the_tree() {
    let (mem, vault) = (created(), Vault::default());
    let ledger = open(&mem, &vault);
    let mut next = 0;
    for count in [1, 2, 300, 900] {
        append(&ledger, next..next + count);
        next += count;
        ledger.wait_sealed(next, LONG).unwrap();
        assert_all_kept(&vault, next);
    }
    ledger.close().unwrap();
    assert_eq!(check_whole(&mem, &Seen::default(), next), next);
    // Full bundles are sealed, so their segments go, and with them the companions.
    let needle = companion(700);
    for path in mem.paths() {
        let bytes = mem.read(&path).unwrap();
        let has = bytes.windows(needle.len()).any(|part| part == needle);
        assert!(!has || path.starts_with("private/wal/"), "{path}");
    }
}

#[test]
fn a_failing_store_delays_sealing_and_loses_nothing() {
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::StorageFull] {
        let (mem, vault) = (created(), Vault::default());
        let ledger = open(&mem, &vault);
        append(&ledger, 0..10);
        ledger.wait_sealed(10, LONG).unwrap();
        vault.fail(Some(kind));
        append(&ledger, 10..300);
        ledger.wait_durable(300, LONG).unwrap();
        vault.wait_for_failure();
        vault.wait_for_failure();
        let status = ledger.status();
        let retrying = status.retrying.clone().expect("it is reported");
        let words = retrying.to_string();
        assert_eq!(
            words,
            "cannot keep the companions of entry 10 and those after it"
        );
        assert!(status.stopped.is_none() && status.retries > 1, "{status:?}");
        assert_eq!(status.sealed.size, 10);
        let waited = ledger.wait_sealed(11, SHORT);
        assert!(matches!(waited, Err(WaitError::TimedOut)), "{waited:?}");
        // Entries are still accepted and become durable.
        let entries = [entry(300)];
        ledger.append(Class::Essential, &entries).unwrap();
        ledger.wait_durable(301, LONG).unwrap();
        vault.fail(None);
        ledger.wait_sealed(301, LONG).unwrap();
        assert!(ledger.status().retrying.is_none());
        assert_all_kept(&vault, 301);
        ledger.close().unwrap();
    }
}

#[test]
fn a_store_that_fails_at_the_close_gets_the_same_companions_at_the_next_start() {
    let (mem, vault) = (created(), Vault::default());
    let ledger = open(&mem, &vault);
    vault.fail(Some(io::ErrorKind::StorageFull));
    append(&ledger, 0..40);
    let closed = ledger.close().unwrap_err().to_string();
    assert!(closed.contains("cannot keep the companions"), "{closed}");
    // A start with a store that fails is refused, signs nothing, and can be repeated.
    let refused = builder(&mem).companions(vault.clone()).open().map(|_| ());
    let words = refused.unwrap_err().to_string();
    assert_eq!(
        words,
        "cannot keep the companions of entry 1 and those after it"
    );
    vault.fail(None);
    let builder = builder(&mem).companions(vault.clone());
    let (ledger, report) = builder.hook(AtSigning(vault.clone())).open().unwrap();
    assert_eq!((report.sealed, report.entries), (0, 40));
    assert_all_kept(&vault, 40);
    drop(ledger);
    let calls = vault.0.lock().unwrap().calls.len();
    drop(open(&mem, &vault));
    let again = vault.0.lock().unwrap().calls.len();
    assert_eq!(calls, again, "what is sealed is not given again");
}

#[test]
fn a_log_with_unsealed_companions_is_refused_without_a_store() {
    let mem = unsealed(&created(), 0..60);
    let before = mem.paths();
    let error = builder(&mem).open().map(|_| ()).unwrap_err();
    assert!(
        matches!(error, LedgerError::CompanionsUnkept { index: 59 }),
        "{error}"
    );
    let words = error.to_string();
    assert!(
        words.contains("open the trail with its store of companions"),
        "{words}"
    );
    assert_eq!(mem.paths(), before, "nothing was changed");
    let vault = Vault::default();
    open(&mem, &vault).close().unwrap();
    assert_all_kept(&vault, 60);
    // All are kept now, so nothing can be lost.
    let (ledger, report) = builder(&mem).open().unwrap();
    assert!(report.is_clean());
    ledger.append(Class::Strict, &[entry(60)]).unwrap();
    ledger.close().unwrap();
    assert_eq!(check_whole(&mem, &Seen::default(), 61), 61);
}

#[test]
fn a_log_of_the_first_version_goes_on_with_companions() {
    let version = |mem: &MemStore, first: u64| mem.read(&crate::layout::segment(first)).unwrap()[8];
    let mem = created();
    let (ledger, _) = builder(&mem).open().unwrap();
    assert!(!ledger.takes_companions());
    let entries: Vec<_> = (0..20).map(entry).collect();
    ledger.append(Class::Strict, &entries).unwrap();
    ledger.close().unwrap();
    assert_eq!(version(&mem, 0), 1);
    let vault = Vault::default();
    let (ledger, _) = builder(&mem).companions(vault.clone()).open().unwrap();
    assert!(ledger.takes_companions());
    append(&ledger, 20..40);
    ledger.close().unwrap();
    assert_eq!(list_segments(&mem).unwrap(), [0, 20]);
    assert_eq!((version(&mem, 0), version(&mem, 20)), (1, 2));
    assert!(vault.kept().keys().all(|index| *index >= 20));
    assert_eq!(check_whole(&mem, &Seen::default(), 40), 40);
}

#[test]
fn what_waits_for_the_store_is_bounded() {
    let (mem, vault) = (created(), Vault::default());
    let store: SharedStore = Arc::new(mem.clone());
    let options = Options {
        ballast_bytes: 0,
        // No checkpoint is due but the first and the one of the close.
        checkpoint_interval: LONG,
        ..Options::default()
    };
    let builder = Ledger::builder(store, identity()).options(options);
    let (ledger, _) = builder.companions(vault.clone()).open().unwrap();
    let companion = vec![7; MAX_COMPANION_BYTES];
    let entry = Entry {
        bytes: b"entry",
        companion: &companion,
    };
    const COUNT: u64 = 100;
    for _ in 0..COUNT {
        ledger.append_entries(Class::Strict, &[entry]).unwrap();
    }
    ledger.close().unwrap();
    let kept = vault.0.lock().unwrap();
    assert_eq!(kept.kept.len() as u64, COUNT);
    assert!(kept.calls.len() >= 3, "{:?}", kept.calls);
    let most = kept.calls.iter().max().unwrap();
    assert!(*most <= (4 << 20) + MAX_COMPANION_BYTES, "{:?}", kept.calls);
}

#[test]
fn a_call_with_an_invalid_companion_takes_nothing() {
    let (mem, vault) = (created(), Vault::default());
    let long = vec![0; MAX_COMPANION_BYTES + 1];
    let good = Entry {
        bytes: b"entry",
        companion: b"companion",
    };
    let bad = Entry {
        bytes: b"entry",
        companion: &long,
    };
    let ledger = open(&mem, &vault);
    let error = ledger
        .try_append_entries(Class::Strict, &[good, bad])
        .unwrap_err();
    assert!(
        matches!(error, AppendError::CompanionTooLong { at: 1, bytes } if bytes == long.len()),
        "{error}"
    );
    assert!(error.to_string().contains("may have 98,304"), "{error}");
    drop(ledger);
    let (ledger, _) = builder(&mem).open().unwrap();
    let plain = Entry::new(b"entry");
    let error = ledger
        .append_entries(Class::Strict, &[plain, plain, good])
        .unwrap_err();
    assert!(
        matches!(error, AppendError::NoCompanionStore { at: 2 }),
        "{error}"
    );
    assert_eq!(ledger.status().appended, 0);
    let appended = ledger.append_entries(Class::Strict, &[plain]).unwrap();
    assert_eq!((appended.first, appended.next), (0, 1));
}

/// A party that never answers.
struct Silent;

impl ExternalFloor for Silent {
    fn largest_seen(&mut self) -> Vec<Floor> {
        Vec::new()
    }

    fn unanswered(&self) -> Vec<String> {
        vec!["sink bucket".to_owned()]
    }
}

#[test]
fn companions_are_kept_also_while_nothing_can_be_signed() {
    let (mem, vault) = (created(), Vault::default());
    let builder = builder(&mem).companions(vault.clone()).floor(Silent);
    let (ledger, _) = builder.open().unwrap();
    append(&ledger, 0..200);
    ledger.wait_durable(200, LONG).unwrap();
    for _ in 0..30_000 {
        if vault.kept().len() == 133 {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_all_kept(&vault, 200);
    append(&ledger, 200..220);
    assert_eq!(ledger.close().unwrap().head().size, 0);
    assert_all_kept(&vault, 220);
}

#[test]
fn a_change_of_keys_gives_companions_to_the_store_first() {
    let sealed = created();
    let vault = Vault::default();
    let ledger = open(&sealed, &vault);
    append(&ledger, 0..5);
    ledger.close().unwrap();
    let mem = unsealed(&sealed, 5..50);
    let new = with_keys(3, 2);
    let refused = builder(&mem).rotate_to(&new).map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, LedgerError::CompanionsUnkept { .. }),
        "{refused}"
    );
    let handed_over = builder(&mem)
        .companions(vault.clone())
        .rotate_to(&new)
        .unwrap();
    assert_eq!(handed_over.head().size, 50);
    assert_all_kept(&vault, 50);
}
