//! The vault of a trail, without the trail's log: see `tests/personal.rs` for both.

use std::io::ErrorKind;

use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_clock::ManualClock;
use livetrail_ledger::{Fault, FaultPlan, FaultStore, Op};
use livetrail_record::{EntryContext, Opening, Uuid, encode_entry};
use livetrail_vault::{NewRow, Query, RowKind, Selection, Subject};

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn session(number: u128) -> SessionId {
    number.to_be_bytes()
}

fn sessions(numbers: impl IntoIterator<Item = u128>) -> Vec<SessionId> {
    numbers.into_iter().map(session).collect()
}

/// A record of a session, and its opening.
fn record(action: AuditAction, number: u128, seq: u64) -> (AuditRecord, Opening) {
    let record = AuditRecord::new(action, "live")
        .with_boot(Uuid::from_u128(1))
        .with_seq(seq)
        .with_ts_ms(NOW_MS + seq)
        .with_session(Uuid::from_u128(number))
        .with_stream("cam")
        .with_principal(format!("name{}", number % 2))
        .with_peer("192.0.2.7:50312")
        .with_detail("why");
    let entry = encode_entry(&record, &EntryContext::new([9; 16])).unwrap();
    (record, entry.opening.unwrap())
}

/// The companion of such a record.
fn sealed(personal: &Personal, action: AuditAction, number: u128, seq: u64) -> Vec<u8> {
    let (record, opening) = record(action, number, seq);
    let mut companion = Vec::new();
    personal
        .seal_opening(&record, &opening, &mut companion)
        .unwrap();
    companion
}

fn keep(personal: &Personal, numbers: impl IntoIterator<Item = u128>) {
    let seal = |number: u128| {
        let seq = u64::try_from(number).unwrap();
        sealed(personal, AuditAction::PlayStarted, number, seq)
    };
    let companions: Vec<Vec<u8>> = numbers.into_iter().map(seal).collect();
    let companions: Vec<&[u8]> = companions.iter().map(Vec::as_slice).collect();
    personal.keep_companions(&companions).unwrap();
}

fn open(store: SharedStore, clock: &ManualClock) -> Arc<Personal> {
    let key = MasterKey::new(Zeroizing::new([7; 32]));
    let mut settings = Settings::new("unused");
    settings.personal_names.insert("rooms".to_owned());
    let place = Place::Memory(store, key);
    Personal::new(place, &settings, Arc::new(clock.clone()))
        .unwrap()
        .0
}

fn memory() -> (Arc<Personal>, ManualClock) {
    let clock = ManualClock::at(NOW_MS);
    (open(Arc::new(MemStore::new()), &clock), clock)
}

fn present(personal: &Personal) -> Vec<SessionId> {
    let all = Query::of(Subject::Anyone);
    let page = personal
        .with(|vault| vault.find(&all, None, 1_000))
        .unwrap();
    page.rows.iter().map(|row| row.session).collect()
}

fn request(selection: Selection) -> Request {
    Request {
        id: "17".to_owned(),
        selection,
    }
}

/// A waiting caller has its turn between the parts of an erasure.
#[test]
fn the_vault_is_not_held_from_the_beginning_to_the_end_of_an_erasure() {
    let (personal, _) = memory();
    let rows = livetrail_vault::PART_ROWS as u128 + 1;
    let row = NewRow {
        session: session(0),
        kind: RowKind::Session,
        app: "live",
        time_ms: NOW_MS,
        principal: None,
        peer: None,
        user_agent: None,
        stream: None,
        owner: None,
        opening: b"{}",
    };
    let new = sessions(0..rows)
        .into_iter()
        .map(|session| NewRow { session, ..row });
    let new: Vec<NewRow<'_>> = new.collect();
    personal.with(|vault| vault.insert(&new)).unwrap();
    let (is_ready, ready) = sync_channel(0);
    let other = Arc::clone(&personal);
    let watch = std::thread::spawn(move || {
        is_ready.send(()).unwrap();
        loop {
            let (is_erasing, is_over) = other
                .with(|vault| Ok((vault.is_erasing(), vault.is_erased(&session(0))?)))
                .unwrap();
            if is_erasing || is_over {
                return is_erasing;
            }
        }
    });
    ready.recv().unwrap();
    let request = request(Selection::Sessions(sessions(0..rows)));
    let done = personal.erase(&request, &mut |_| Ok(())).unwrap();
    assert_eq!(u128::from(done.erased), rows);
    assert!(watch.join().unwrap(), "it was held all the time");
}

#[test]
fn an_opening_is_kept_once_and_is_the_one_that_the_entry_commits_to() {
    let (personal, _) = memory();
    let companion = sealed(&personal, AuditAction::PlayStarted, 5, 1);
    assert_eq!(personal.status().waiting, 1);
    for _ in 0..2 {
        personal.keep_companions(&[&companion]).unwrap();
    }
    assert_eq!((personal.status().waiting, personal.status().kept), (0, 1));
    assert_eq!(present(&personal), sessions([5]));
    let row = personal.with(|vault| vault.get(&session(5))).unwrap();
    let opening = Opening::parse(&row.unwrap().opening).unwrap();
    let (_, expected) = record(AuditAction::PlayStarted, 5, 1);
    assert_eq!(opening.commitment(), expected.commitment());
    for subject in [
        Subject::Principal("name1".into()),
        Subject::Network {
            address: "192.0.2.0".parse().unwrap(),
            bits: 24,
        },
    ] {
        let found = personal.with(|vault| vault.find(&Query::of(subject), None, 2));
        assert_eq!(found.unwrap().rows.len(), 1);
    }
    // What is no companion does not stop the log.
    personal.keep_companions(&[b"", b"\x02foreign"]).unwrap();
    assert!(personal.status().needs_attention());
}

#[test]
fn late_records_of_an_erased_session_create_no_opening() {
    let (personal, _) = memory();
    keep(&personal, [5]);
    let late = [
        sealed(&personal, AuditAction::PlayStarted, 5, 2),
        sealed(&personal, AuditAction::PlayEnded, 5, 3),
        sealed(&personal, AuditAction::PlayEnded, 6, 4),
    ];
    let erase = request(Selection::Sessions(sessions([5])));
    personal.erase(&erase, &mut |_| Ok(())).unwrap();
    let late: Vec<&[u8]> = late.iter().map(Vec::as_slice).collect();
    personal.keep_companions(&late).unwrap();
    assert_eq!(personal.status().erased, 2);
    let part = livetrail_record::session_of(Uuid::from_u128(1), 4);
    assert_eq!(present(&personal), [*part.as_bytes()]);
}

#[test]
fn a_later_text_is_erased_together_with_its_session_by_whatever_selects_it() {
    for selection in [
        Selection::Sessions(sessions([5])),
        Selection::Subject(Subject::Principal("name1".into())),
    ] {
        let (personal, _) = memory();
        keep(&personal, [5, 6]);
        let ended = sealed(&personal, AuditAction::PlayEnded, 5, 9);
        personal.keep_companions(&[&ended]).unwrap();
        let mut noted = Vec::new();
        let done = personal.erase(&request(selection), &mut |sessions| {
            noted.extend_from_slice(sessions);
            Ok(())
        });
        let part = livetrail_record::session_of(Uuid::from_u128(1), 9);
        noted.sort_unstable();
        assert_eq!(noted, [session(5), *part.as_bytes()]);
        assert_eq!(done.unwrap().erased, 2);
        assert_eq!(present(&personal), sessions([6]));
    }
}

#[test]
fn an_erasure_is_put_on_record_while_the_vault_takes_openings() {
    let (personal, _) = memory();
    keep(&personal, 0..8);
    let mut recorded = 0;
    let name = Selection::Subject(Subject::Principal("name0".into()));
    let done = personal.erase(&request(name), &mut |sessions| {
        recorded += sessions.len();
        // A checkpoint over the record needs this.
        keep(&personal, [100 + 1]);
        Ok(())
    });
    let done = done.unwrap();
    assert_eq!((recorded, done.erased, done.unknown), (4, 4, 0));
    assert_eq!(present(&personal), sessions([1, 3, 5, 7, 101]));
    let listed = Selection::Sessions(sessions([0, 1, 70]));
    let done = personal.erase(&request(listed), &mut |_| Ok(())).unwrap();
    assert_eq!((done.erased, done.unknown, done.already), (1, 1, 3));
}

#[test]
fn nothing_is_erased_that_is_not_on_record() {
    let (personal, _) = memory();
    keep(&personal, 0..4);
    let all = request(Selection::Subject(Subject::Anyone));
    let refused = personal.erase(&all, &mut |_| Err("the log is full".into()));
    assert!(matches!(refused, Err(VaultError::Record(_))), "{refused:?}");
    assert_eq!(present(&personal).len(), 4);
}

#[test]
fn after_an_error_of_the_disk_the_vault_opens_again_and_keeps_what_is_given_again() {
    let clock = ManualClock::at(NOW_MS);
    let store = FaultStore::over_memory(MemStore::new());
    let personal = open(Arc::new(store.clone()), &clock);
    keep(&personal, [1]);
    let companion = sealed(&personal, AuditAction::PlayStarted, 2, 2);
    let fail = |op| FaultPlan {
        op,
        nth: 0,
        fault: Fault::Error(ErrorKind::StorageFull),
    };
    store.arm(fail(Op::WriteAt));
    assert!(personal.keep_companions(&[&companion]).is_err());
    let failing = personal.status().failing.unwrap();
    assert!(failing.contains("write"), "{failing}");
    assert!(personal.status().needs_attention());
    personal.keep_companions(&[&companion]).unwrap();
    assert_eq!(personal.status().failing, None);
    assert_eq!(present(&personal), sessions([1, 2]));
    // An erasure that is on record and was not done is done when the vault is opened again.
    let erase = request(Selection::Sessions(sessions([1])));
    let failed = personal.erase(&erase, &mut |_| {
        store.arm(fail(Op::Write));
        Ok(())
    });
    assert!(failed.is_err());
    assert_eq!(present(&personal), sessions([2]));
}

#[test]
fn the_key_of_a_period_is_destroyed_once_its_openings_are_kept_also_when_idle() {
    let mem = MemStore::new();
    let clock = ManualClock::at(NOW_MS);
    let personal = open(Arc::new(mem.clone()), &clock);
    let first = sealed(&personal, AuditAction::PlayStarted, 1, 1);
    let alive = || {
        let keys = livetrail_vault::sealed::SegmentKeys::open(Arc::new(mem.clone()), 64).unwrap();
        keys.segments().count()
    };
    clock.advance(PERIOD);
    personal.change_key();
    assert_eq!(alive(), 2, "the opening still needs its key");
    personal.keep_companions(&[&first]).unwrap();
    assert_eq!(alive(), 1, "the last one destroys it");
    // Idle: nothing comes after it.
    keep(&personal, [2]);
    personal.change_key();
    assert_eq!(alive(), 1);
    personal.change_key();
    // Given again after that, it is in the vault already.
    personal.keep_companions(&[&first]).unwrap();
    assert_eq!((personal.status().lost, present(&personal).len()), (0, 2));
    clock.advance(OVERDUE + PERIOD);
    assert!(!personal.status().overdue);
    sealed(&personal, AuditAction::PlayStarted, 3, 3);
    personal.change_key();
    clock.advance(OVERDUE + PERIOD);
    assert!(personal.status().overdue);
}

#[test]
fn after_a_kill_an_opening_is_read_with_the_key_of_the_earlier_process() {
    let mem = MemStore::new();
    let clock = ManualClock::at(NOW_MS);
    let before = open(Arc::new(mem.clone()), &clock);
    keep(&before, [1]);
    let both = [1, 2].map(|number| sealed(&before, AuditAction::PlayStarted, number, 9));
    drop(before);
    let personal = open(Arc::new(mem.clone()), &clock);
    let both: Vec<&[u8]> = both.iter().map(Vec::as_slice).collect();
    personal.keep_companions(&both).unwrap();
    personal.recovered();
    assert_eq!(present(&personal), sessions([1, 2]));
    assert_eq!((personal.status().kept, personal.status().lost), (1, 0));
    // Nobody can read them any more, and they are not needed.
    personal.keep_companions(&both).unwrap();
    assert_eq!(personal.status().lost, 0);
    personal.close();
    assert!(matches!(
        personal.with(|vault| vault.get(&session(1))),
        Err(VaultError::Closed)
    ));
    let keys = livetrail_vault::sealed::SegmentKeys::open(Arc::new(mem), 64).unwrap();
    assert_eq!(keys.segments().count(), 0);
}

#[test]
fn openings_expire_at_the_time_that_is_given_and_on_record() {
    let (personal, _) = memory();
    keep(&personal, [1, 2]);
    let mut retention = Retention::default();
    retention.default = Some(180 * DAY);
    let mut noted = Vec::new();
    for (days, left) in [(0, 2), (179, 2), (181, 0), (400, 0)] {
        let now_ms = NOW_MS + days * 86_400_000;
        let expired = personal.expire(&retention, now_ms, &mut |sessions| {
            noted.extend_from_slice(sessions);
            Ok(())
        });
        expired.unwrap();
        assert_eq!(present(&personal).len(), left, "after {days} days");
    }
    assert_eq!(noted, sessions([1, 2]));
}

#[test]
fn refusals_beyond_the_bound_are_counted_and_their_key_is_not_needed() {
    let (personal, _) = memory();
    let companions: Vec<Vec<u8>> = (0..700)
        .map(|number| sealed(&personal, AuditAction::PlayDenied, number, 1))
        .collect();
    let companions: Vec<&[u8]> = companions.iter().map(Vec::as_slice).collect();
    personal.keep_companions(&companions).unwrap();
    assert_eq!(personal.status().refusals_not_kept, 100);
    assert_eq!(personal.status().waiting, 0);
    assert_eq!(personal.take_not_kept().unwrap(), 100);
    assert_eq!(personal.take_not_kept().unwrap(), 0);
}

#[test]
fn a_secret_of_names_belongs_to_the_application_and_stays_the_same() {
    let mem = MemStore::new();
    let clock = ManualClock::at(NOW_MS);
    let secret = |app: &str| open(Arc::new(mem.clone()), &clock).name_secret(app);
    assert!(secret("rooms").is_some());
    assert_eq!(secret("rooms"), secret("rooms"));
    assert_eq!(secret("live"), None);
}

mod directories {
    use super::*;

    fn trail(data: &std::path::Path) -> (Settings, SharedStore) {
        let settings = Settings::new(data);
        std::fs::create_dir_all(data.join("trail/private")).unwrap();
        let store: SharedStore = Arc::new(RealStore::new(data.join("trail")));
        (settings, store)
    }

    #[test]
    fn a_missing_vault_and_another_one_are_refused_in_words() {
        let data = tempfile::tempdir().unwrap();
        let (settings, store) = trail(data.path());
        let vault = Personal::create(&settings).unwrap();
        vault.mark(&store).unwrap();
        assert_eq!(vault.directory, data.path().join("personal"));
        let mode = std::fs::metadata(&vault.directory).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
        assert_eq!(mode & 0o7777, 0o700);
        Personal::read_only(&settings).unwrap();
        let refused = |settings: &Settings| Personal::read_only(settings).unwrap_err().to_string();
        let mut elsewhere = settings.clone();
        elsewhere.personal = Some(data.path().join("unmounted"));
        let words = refused(&elsewhere);
        assert!(words.contains("has no vault: mount its volume"), "{words}");
        assert!(!data.path().join("unmounted").exists());
        let (other, other_store) = trail(&data.path().join("other"));
        let vault = Personal::create(&other).unwrap();
        vault.mark(&other_store).unwrap();
        elsewhere.personal = Some(place::personal_directory(&other));
        let words = refused(&elsewhere);
        assert!(words.contains("another vault"), "{words}");
        // The way out that the words name.
        std::fs::remove_file(data.path().join("trail/private/vault")).unwrap();
        Personal::create(&elsewhere).unwrap().mark(&store).unwrap();
        Personal::read_only(&elsewhere).unwrap();
    }

    #[test]
    fn the_vault_is_never_in_the_trails_directory() {
        let data = tempfile::tempdir().unwrap();
        let (mut settings, _) = trail(data.path());
        settings.personal = Some(data.path().join("trail/personal"));
        let refused = Personal::create(&settings).err().unwrap().to_string();
        assert!(refused.contains("which is published"), "{refused}");
    }
}
