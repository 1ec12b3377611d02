//! The index compared with reading everything: the same answers, whatever happened to its file.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use livetrail_ledger::{Access, Class, Identity, Ledger, MemStore, Reader, SharedStore};
use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, OpenSession, Personal, TrailChecker, Uuid,
    encode_canonical, encode_entry, name_token,
};
use livetrail_tlog::{Bundle, encode_bundle, parse_bundle};
use proptest::prelude::*;

use super::*;

mod personal;

const START_MS: u64 = 1_763_805_600_000;

/// The first record that is written as an entry of schema 2.
const FIRST_OF_SCHEMA_2: u64 = 100_000;

/// The secret of the application `vip`, whose streams' names are personal in schema 2.
const SECRET: [u8; 32] = [5; 32];

/// Pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// A trail under construction.
struct Writer {
    store: SharedStore,
    ledger: Ledger,
    numbers: Numbers,
    open: Vec<(Uuid, u64)>,
    seq: u64,
}

impl Writer {
    fn new(origin: &str, seed: u64) -> Self {
        let store: SharedStore = Arc::new(MemStore::new());
        let identity = Identity::from_seeds(origin, &[1; 32].into(), &[2; 32].into()).unwrap();
        Ledger::create(&store, &identity).unwrap();
        let (ledger, _) = Ledger::builder(Arc::clone(&store), identity)
            .open()
            .unwrap();
        Self {
            store,
            ledger,
            numbers: Numbers(seed),
            open: Vec::new(),
            seq: 0,
        }
    }

    /// The sessions of viewers of 200 streams: they start, last, and most of them end.
    fn record(&mut self) -> AuditRecord {
        let seq = self.seq;
        self.seq += 1;
        let action = match (seq, self.numbers.below(4)) {
            (0, _) => AuditAction::ServerStarted,
            (_, 0) if seq.is_multiple_of(50) => AuditAction::Heartbeat,
            (_, 0 | 1) if !self.open.is_empty() => AuditAction::PlayEnded,
            _ => AuditAction::PlayStarted,
        };
        let mut record = AuditRecord::new(action.clone(), "live");
        if matches!(action, AuditAction::PlayStarted | AuditAction::PlayEnded) {
            let (session, viewer) = if action == AuditAction::PlayEnded {
                let at = self.numbers.below(self.open.len() as u64) as usize;
                self.open.swap_remove(at)
            } else {
                let random = u128::from(self.numbers.below(1 << 30)) << 31
                    | u128::from(self.numbers.below(1 << 31));
                let id = u128::from(START_MS + seq) << 80 | 0x7 << 76 | random;
                let opened = (Uuid::from_u128(id), self.numbers.below(5_000));
                self.open.push(opened);
                opened
            };
            record = record
                .with_session(session)
                .with_stream(format!("cam-{}", viewer % 200))
                .with_principal(format!("viewer-{viewer}"));
            if viewer % 7 == 0 {
                record.app = "vip".to_owned();
            }
            if action == AuditAction::PlayEnded && viewer % 8 == 0 {
                record = record.with_detail("a host's words");
            }
        }
        // The clock goes back now and then.
        record
            .with_ts_ms(START_MS + seq * 10 - self.numbers.below(500))
            .with_boot(Uuid::from_u128(9))
            .with_node("n")
            .with_seq(seq)
    }

    fn append(&mut self, records: u64) {
        for _ in 0..records / 1_000 {
            let entries: Vec<Vec<u8>> = (0..1_000).map(|_| entry_of(&self.record())).collect();
            self.push(&entries);
        }
    }

    fn push(&self, entries: &[Vec<u8>]) {
        let appended = self.ledger.append(Class::Strict, entries).unwrap();
        let handle = self.ledger.handle();
        handle
            .wait_durable(appended.next, Duration::from_secs(60))
            .unwrap();
    }

    /// Waits until everything is published.
    fn publish(&self) -> Reader {
        let next = self.ledger.durable_entries();
        self.ledger
            .handle()
            .wait_sealed(next, Duration::from_secs(60))
            .unwrap();
        Reader::open(Arc::clone(&self.store)).unwrap()
    }
}

fn entry_of(record: &AuditRecord) -> Vec<u8> {
    if record.seq < Some(FIRST_OF_SCHEMA_2) {
        return encode_canonical(record).unwrap();
    }
    let context = EntryContext::new([9; 16]);
    let context = match record.app.as_str() {
        "vip" => context.with_name_secret(&SECRET),
        _ => context,
    };
    encode_entry(record, &context).unwrap().bytes
}

/// The records of the trail before they were written: schema 2 takes their names away.
fn originals() -> Vec<AuditRecord> {
    let mut writer = Writer::new("example.com/audit", 1);
    (0..TRAIL.1.len()).map(|_| writer.record()).collect()
}

/// A trail of two whole segments and some more records, first of schema 1, then of schema 2. No
/// test changes it.
static TRAIL: LazyLock<(SharedStore, Vec<AuditRecord>)> = LazyLock::new(|| {
    let mut writer = Writer::new("example.com/audit", 1);
    writer.append(2 * SEGMENT_RECORDS + 9_000);
    let reader = writer.publish();
    let records = scan(&reader, Filter::default())
        .unwrap()
        .map(|found| found.unwrap().record)
        .collect();
    (Arc::clone(&writer.store), records)
});

fn reader() -> Reader {
    Reader::open(Arc::clone(&TRAIL.0)).unwrap()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(FILE_NAME)
    }

    fn open(&self, reader: &Reader) -> Index {
        Index::open(self.0.path(), reader).unwrap()
    }

    /// An index that is caught up.
    fn caught_up(&self, reader: &Reader) -> Index {
        let mut index = self.open(reader);
        let done = index.catch_up(reader, &mut |_| true).unwrap();
        assert!(done.published - done.indexed < SEGMENT_RECORDS);
        index
    }
}

fn found(hits: Hits<'_>) -> Vec<u64> {
    hits.map(|found| found.unwrap().index).collect()
}

/// The result of checking every record.
fn wanted(filter: &Filter) -> Vec<u64> {
    let entries = filter.entries.clone().unwrap_or(0..u64::MAX);
    (0..)
        .zip(&TRAIL.1)
        .filter(|(index, record)| entries.contains(index) && filter.fits(record))
        .map(|(index, _)| index)
        .collect()
}

fn a_filter() -> impl Strategy<Value = Filter> {
    let record = (0..TRAIL.1.len()).prop_map(|at| TRAIL.1[at].clone());
    let parts = (any::<u8>(), 0..8_usize, any::<u8>(), 0..4_usize);
    (record, parts, 0..TRAIL.1.len() as u64, 0..200_000_u64).prop_map(
        |(record, (set, session, other, sets), at, length)| {
            // Sessions near by and anywhere, and ids of openings that are no session.
            let some = [0, 1, 50, 2_000][sets];
            let some = (0..some).map(|step| &TRAIL.1[(at as usize + step * 37) % TRAIL.1.len()]);
            let ids = some.chain([&record]).filter_map(|record| match other % 3 {
                0 => segment::opening_of(record),
                _ => record.session,
            });
            let set_of_ids = SessionSet::new(ids.map(Uuid::into_bytes)).unwrap();
            let is_set = |bit: u8| set >> bit & 1 == 1;
            let id = record.session.map(|id| id.to_string()).unwrap_or_default();
            let tail = id.get(id.len().saturating_sub(12)..).unwrap_or_default();
            let head = id.get(..13).unwrap_or_default();
            Filter {
                app: is_set(0).then(|| record.app.clone()),
                stream: record.stream.clone().filter(|_| is_set(1)),
                session: match session {
                    0 => Some(id.clone()),
                    1 => Some(tail.to_owned()),
                    2 => Some(head.to_owned()),
                    3 => Some("0123".to_owned()),
                    _ => None,
                },
                actions: match other % 4 {
                    0 => vec![record.action.label().to_owned()],
                    1 => vec!["heartbeat".to_owned(), "play_denied".to_owned()],
                    _ => vec![],
                },
                principal: record
                    .principal
                    .as_ref()
                    .filter(|_| is_set(2))
                    .map(|p| p.expose().to_owned()),
                stream_tokens: vec![name_token(&SECRET, "cam-3")],
                sessions: is_set(6).then_some(set_of_ids),
                details: is_set(7) && other.is_multiple_of(5),
                since_ms: is_set(3).then(|| record.ts_ms.saturating_sub(length)),
                until_ms: is_set(4).then(|| record.ts_ms.saturating_add(length)),
                entries: is_set(5).then(|| at..at.saturating_add(length)),
            }
        },
    )
}

static INDEXED: LazyLock<Place> = LazyLock::new(|| {
    let place = Place::new();
    place.caught_up(&reader());
    place
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_query_is_answered_as_by_reading_every_record(filter in a_filter()) {
        let reader = reader();
        let wanted = wanted(&filter);
        let mut index = INDEXED.open(&reader);
        prop_assert_eq!(index.indexed(), 2 * SEGMENT_RECORDS);
        prop_assert_eq!(found(index.find(&reader, filter.clone()).unwrap()), &wanted[..]);
        for (skip, most) in [(0, 0), (0, 1), (0, 7), (0, usize::MAX), (2, 3)] {
            let mut hits = index.find(&reader, filter.clone()).unwrap();
            let rest = &wanted[hits.by_ref().take(skip).count()..];
            let last = hits.newest(most).unwrap();
            let last: Vec<_> = last.iter().map(|found| found.index).collect();
            prop_assert_eq!(&last, &rest[rest.len().saturating_sub(most)..]);
            prop_assert!(hits.next().is_none());
        }
    }
}

#[test]
fn reading_everything_answers_the_same() {
    let mut filter = Filter::default();
    assert_eq!(
        found(scan(&reader(), filter.clone()).unwrap()),
        wanted(&filter)
    );
    filter.stream = Some("cam-3".into());
    assert_eq!(
        found(scan(&reader(), filter.clone()).unwrap()),
        wanted(&filter)
    );
}

#[test]
fn a_question_for_one_session_reads_the_bundles_that_have_it_and_what_is_not_indexed() {
    let reader = reader();
    let mut index = INDEXED.open(&reader);
    let rest = (TRAIL.1.len() as u64 - index.indexed()).div_ceil(256);
    let at = TRAIL.1.iter().position(|r| r.session.is_some()).unwrap();
    let id = TRAIL.1[at].session.unwrap().to_string();
    let by_its_end = Filter {
        session: Some(id[24..].to_owned()),
        ..Filter::default()
    };
    let whole = Filter {
        session: Some(id),
        ..Filter::default()
    };
    for filter in [whole, by_its_end] {
        let mut hits = index.find(&reader, filter).unwrap();
        let count = hits.by_ref().count() as u64;
        assert!((1..=2).contains(&count));
        assert!(hits.bundles_read() <= rest + 4, "{}", hits.bundles_read());
    }
}

#[test]
fn the_last_of_a_long_trail_are_found_without_reading_the_rest() {
    let reader = reader();
    let mut index = INDEXED.open(&reader);
    let rest = (TRAIL.1.len() as u64 - index.indexed()).div_ceil(256);
    let mut hits = index.find(&reader, Filter::default()).unwrap();
    let last = hits.newest(300).unwrap();
    let end = TRAIL.1.len() as u64;
    let indices: Vec<_> = last.iter().map(|found| found.index).collect();
    assert_eq!(indices, (end - 300..end).collect::<Vec<_>>());
    assert!(hits.bundles_read() <= 3, "{}", hits.bundles_read());
    // Fewer than wanted, and long ago.
    let at = TRAIL.1.iter().position(|r| r.session.is_some()).unwrap();
    let filter = Filter {
        session: Some(TRAIL.1[at].session.unwrap().to_string()),
        ..Filter::default()
    };
    let mut hits = index.find(&reader, filter.clone()).unwrap();
    let last = hits.newest(10).unwrap();
    let indices: Vec<_> = last.iter().map(|found| found.index).collect();
    assert_eq!(indices, wanted(&filter));
    assert!(hits.bundles_read() <= rest + 4, "{}", hits.bundles_read());
}

fn replayed(reader: &Reader) -> Vec<OpenSession> {
    let mut checker = TrailChecker::new();
    for found in scan(reader, Filter::default()).unwrap() {
        checker.feed(&found.unwrap().record);
    }
    checker.finish().1.open
}

#[test]
fn what_is_open_is_what_replaying_all_of_it_says_as_the_trail_grows() {
    let mut writer = Writer::new("example.com/audit", 7);
    let place = Place::new();
    let mut kept = None;
    for records in [1_000, SEGMENT_RECORDS - 536, 50_000, SEGMENT_RECORDS] {
        writer.append(records);
        let reader = writer.publish();
        let wanted = replayed(&reader);
        assert!(!wanted.is_empty());
        // One index opened again, before and after it has caught up, and one open all the time.
        assert_eq!(place.open(&reader).open_sessions(&reader).unwrap(), wanted);
        assert_eq!(
            place.caught_up(&reader).open_sessions(&reader).unwrap(),
            wanted
        );
        let kept = kept.get_or_insert_with(|| place.open(&reader));
        kept.catch_up(&reader, &mut |_| true).unwrap();
        assert_eq!(kept.open_sessions(&reader).unwrap(), wanted);
    }
}

#[test]
fn an_entry_that_is_not_a_record_is_reported_and_hides_nothing() {
    let mut writer = Writer::new("example.com/audit", 7);
    writer.append(1_000);
    writer.push(&[b"no record".to_vec()]);
    writer.append(SEGMENT_RECORDS);
    let reader = writer.publish();
    let place = Place::new();
    let mut index = place.caught_up(&reader);
    assert_eq!(index.indexed(), SEGMENT_RECORDS);
    for mut index in [index, place.open(&reader)] {
        let error = index.open_sessions(&reader).unwrap_err();
        assert!(
            matches!(error, IndexError::Entry { index: 1_000, .. }),
            "{error}"
        );
    }
    index = place.open(&reader);
    let mut hits = index.find(&reader, Filter::default()).unwrap();
    assert_eq!(
        hits.by_ref().filter(Result::is_ok).count() as u64,
        1_000 + SEGMENT_RECORDS / 1_000 * 1_000
    );
    assert_eq!(hits.unreadable(), 1);
}

#[test]
fn an_index_of_another_log_or_of_another_history_is_recreated() {
    let place = Place::new();
    let first = reader();
    place.caught_up(&first);
    for (origin, seed) in [("example.com/other", 1), ("example.com/audit", 2)] {
        let mut writer = Writer::new(origin, seed);
        writer.append(SEGMENT_RECORDS + 1_464);
        let other = writer.publish();
        assert_eq!(place.open(&other).indexed(), 0, "{origin}");
        assert_eq!(place.caught_up(&other).indexed(), SEGMENT_RECORDS);
        assert_eq!(place.open(&other).indexed(), SEGMENT_RECORDS);
        // A copy of the trail from before it was indexed.
        let mut younger = Writer::new(origin, seed);
        younger.append(1_000);
        assert_eq!(place.open(&younger.publish()).indexed(), 0, "{origin}");
        place.caught_up(&first);
    }
}

#[test]
fn with_any_damage_to_the_file_the_answers_are_right_and_it_is_recreated() {
    let mut writer = Writer::new("example.com/audit", 5);
    writer.append(SEGMENT_RECORDS + 2_464);
    let reader = writer.publish();
    let filter = Filter {
        stream: Some("cam-7".into()),
        ..Filter::default()
    };
    let wanted = found(scan(&reader, filter.clone()).unwrap());
    let open = replayed(&reader);
    let place = Place::new();
    place.caught_up(&reader);
    let sound = fs::read(place.file()).unwrap();
    let mut damaged_files: Vec<Vec<u8>> = vec![
        b"no database".repeat(1_000),
        vec![],
        sound[..sound.len() / 2].to_vec(),
    ];
    let mut numbers = Numbers(3);
    for _ in 0..8 {
        let mut damaged = sound.clone();
        for _ in 0..20 {
            damaged[numbers.below(sound.len() as u64) as usize] ^= 1 << numbers.below(8);
        }
        damaged_files.push(damaged);
    }
    // In the first page, which has the header and the tables' names.
    for at in (0..1_000).step_by(197) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0xff;
        damaged_files.push(damaged);
    }
    for (number, damaged) in damaged_files.into_iter().enumerate() {
        fs::write(place.file(), damaged).unwrap();
        let mut index = place.open(&reader);
        assert_eq!(
            found(index.find(&reader, filter.clone()).unwrap()),
            wanted,
            "wreck {number}"
        );
        assert_eq!(
            index.open_sessions(&reader).unwrap(),
            open,
            "wreck {number}"
        );
        index.catch_up(&reader, &mut |_| true).unwrap();
        assert_eq!(
            found(index.find(&reader, filter.clone()).unwrap()),
            wanted,
            "wreck {number}"
        );
    }
}

#[test]
fn two_that_catch_up_at_once_and_one_that_asks_do_not_disturb_each_other() {
    let reader = reader();
    let place = Place::new();
    let filter = Filter {
        principal: Some("viewer-7".into()),
        ..Filter::default()
    };
    let wanted = wanted(&filter);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| place.caught_up(&reader).indexed()))
            .collect();
        while !others.iter().all(|other| other.is_finished()) {
            let mut index = place.open(&reader);
            assert_eq!(found(index.find(&reader, filter.clone()).unwrap()), wanted);
        }
        for other in others {
            assert_eq!(other.join().unwrap(), 2 * SEGMENT_RECORDS);
        }
    });
}

#[test]
fn it_stops_at_the_limit_and_continues_there() {
    let reader = reader();
    let place = Place::new();
    let mut index = place.open(&reader);
    let done = index.catch_up(&reader, &mut |_| false).unwrap();
    assert_eq!(done.indexed, SEGMENT_RECORDS);
    let mut steps = Vec::new();
    let mut index = place.open(&reader);
    index
        .catch_up(&reader, &mut |progress| {
            steps.push(progress.indexed);
            true
        })
        .unwrap();
    assert_eq!(steps, [2 * SEGMENT_RECORDS]);
}

/// A copy of the trail that a test can change.
fn copy() -> SharedStore {
    let mut writer = Writer::new("example.com/audit", 11);
    writer.append(SEGMENT_RECORDS + 2_464);
    writer.publish();
    let store = Arc::clone(&writer.store);
    writer.ledger.close().unwrap();
    store
}

fn replace(store: &SharedStore, path: &str, bytes: Option<&[u8]>) {
    store.remove(path).unwrap();
    if let Some(bytes) = bytes {
        store.write(path, bytes, Access::Tile).unwrap();
    }
}

#[test]
fn each_entry_handed_out_is_proven_and_a_missing_one_is_reported() {
    let store = copy();
    let reader = Reader::open(Arc::clone(&store)).unwrap();
    let place = Place::new();
    let mut index = place.caught_up(&reader);
    let bundle = Bundle::new(3, 256).unwrap();
    let sound = store.read(&bundle.to_string()).unwrap();
    let mut entries: Vec<Vec<u8>> = parse_bundle(bundle, &sound)
        .unwrap()
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    let changed = String::from_utf8(entries[5].clone())
        .unwrap()
        .replace("\"node\":\"n\"", "\"node\":\"x\"");
    entries[5] = changed.into_bytes();
    replace(
        &store,
        &bundle.to_string(),
        Some(&encode_bundle(&entries).unwrap()),
    );
    let filter = Filter {
        entries: Some(700..900),
        ..Filter::default()
    };
    let answers: Vec<_> = index.find(&reader, filter.clone()).unwrap().collect();
    assert_eq!(
        answers.len(),
        768 - 700 + 1,
        "everything before the changed bundle, then the error"
    );
    assert!(matches!(
        answers.last(),
        Some(Err(IndexError::EntryChanged { index: 773 }))
    ));

    replace(&store, &bundle.to_string(), None);
    let mut hits = index.find(&reader, filter).unwrap();
    assert_eq!(hits.by_ref().count(), 768 - 700);
    assert_eq!(hits.absent().first(), Some(&(768..1_024)));
    assert_eq!(hits.absent().len(), 1);
}
