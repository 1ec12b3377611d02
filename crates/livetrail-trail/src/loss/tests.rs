//! The next start reports the records that a stopped log did not take.

use livetrail_ledger::{Identity, Ledger, RealStore, SharedStore};
use livetrail_record::TrailChecker;

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn identity() -> Identity {
    Identity::from_seeds("example.com/test", &[1; 32].into(), &[2; 32].into()).unwrap()
}

struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Ledger::create(&Self::store_in(folder.path()), &identity()).unwrap();
        Self { folder }
    }

    fn store_in(data: &Path) -> SharedStore {
        Arc::new(RealStore::new(data.join("trail")))
    }

    /// Starts a boot. Returns its sink and its note.
    fn boot(&self) -> (Arc<LedgerSink>, Arc<LossNote>, NotedSink) {
        let store = Self::store_in(self.folder.path());
        let (ledger, _) = Ledger::builder(store.clone(), identity()).open().unwrap();
        let sink = Arc::new(LedgerSink::new(ledger));
        let reader = Reader::open(store).unwrap();
        let note = LossNote::begin(self.folder.path(), sink.handle(), &reader).unwrap();
        let note = Arc::new(note);
        let noted = NotedSink::new(sink.clone(), Some(note.clone()));
        (sink, note, noted)
    }

    fn records(&self) -> Vec<AuditRecord> {
        let reader = Reader::open(Self::store_in(self.folder.path())).unwrap();
        let entries = reader.entries(0..u64::MAX).unwrap();
        entries
            .map(|entry| parse_canonical(&entry.unwrap()).unwrap())
            .collect()
    }
}

fn record(boot: Uuid, seq: u64, action: AuditAction) -> AuditRecord {
    let mut record = AuditRecord::new(action, "live").with_boot(boot);
    record.seq = Some(seq);
    record.node = Some("one".to_owned());
    record
}

fn session(boot: Uuid, seq: u64, action: AuditAction) -> AuditRecord {
    record(boot, seq, action).with_session(Uuid::from_u128(u128::from(seq / 2) + 1))
}

/// The log has one of two sessions. Then it stops, and three more records come.
async fn stopped(data: &Data, boot: Uuid, ends: bool) {
    let (sink, note, noted) = data.boot();
    let recorded = vec![
        record(boot, 0, AuditAction::ServerStarted),
        session(boot, 2, AuditAction::PlayStarted),
        record(boot, 1, AuditAction::Heartbeat),
        session(boot, 3, AuditAction::PlayEnded),
    ];
    noted.write_batch(recorded).await;
    noted.flush().await.unwrap();
    sink.handle().halt("the disk went away");
    note.look();
    let lost = vec![
        session(boot, 4, AuditAction::PlayStarted),
        session(boot, 5, AuditAction::PlayEnded),
    ];
    noted.write_batch(lost).await;
    noted
        .write_batch(vec![record(boot, 6, AuditAction::ServerStopped)])
        .await;
    assert!(noted.flush().await.is_err());
    assert!(sink.close(LONG).is_err());
    if ends {
        note.end();
    }
}

fn assert_sound(records: &[AuditRecord]) {
    let (findings, _) = TrailChecker::new().check(records);
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn what_is_missing_is_reported_exactly_and_once() {
    let data = Data::new();
    let boot = Uuid::from_u128(7);
    stopped(&data, boot, true).await;
    let next = Uuid::from_u128(8);
    for start in 0..2 {
        let (sink, note, noted) = data.boot();
        noted
            .write_batch(vec![
                record(next, 0, AuditAction::ServerStarted),
                record(next, 1, AuditAction::ServerStopped),
            ])
            .await;
        if start == 0 {
            noted.flush().await.unwrap();
            sink.close(LONG).unwrap();
            note.end();
        }
    }
    let records = data.records();
    let losses: Vec<_> = records
        .iter()
        .filter(|record| record.action == AuditAction::RecordsDropped)
        .collect();
    assert_eq!(losses.len(), 1, "{records:?}");
    let loss = losses[0];
    assert_eq!((loss.boot, loss.seq), (Some(boot), Some(7)));
    assert_eq!(
        (loss.count, loss.first_seq, loss.last_seq),
        (Some(3), Some(4), Some(6))
    );
    let detail = loss.detail.as_ref().unwrap().expose();
    assert_eq!(detail, "play_ended:1,play_started:1,server_stopped:1");
    assert_eq!(loss.node.as_deref(), Some("one"));
    assert!(
        records
            .iter()
            .all(|record| record.action != AuditAction::LogStopped)
    );
    assert_sound(&records[..7]);
}

#[tokio::test]
async fn a_kill_after_the_log_stopped_is_reported_with_what_is_known_and_that_more_may_be_missing()
{
    let data = Data::new();
    let boot = Uuid::from_u128(7);
    stopped(&data, boot, false).await;
    let (sink, ..) = data.boot();
    sink.close(LONG).unwrap();
    let records = data.records();
    let [.., loss, unknown] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!((loss.count, loss.last_seq), (Some(3), Some(6)));
    assert_eq!(unknown.action, AuditAction::LogStopped);
    assert_eq!((unknown.boot, unknown.seq), (None, None));
    let words = unknown.detail.as_ref().unwrap().expose();
    assert!(words.contains("the disk went away"), "{words}");
    assert!(words.contains("more records may be missing"), "{words}");
    assert_sound(&records);
}

#[tokio::test]
async fn what_the_disk_did_not_take_is_kept_in_memory_and_reported_once() {
    let data = Data::new();
    let boot = Uuid::from_u128(7);
    let path = note_file(data.folder.path());
    // The disk has nothing of what was written after the start.
    let (sink, ..) = data.boot();
    sink.close(LONG).unwrap();
    let running = std::fs::read(&path).unwrap();
    stopped(&data, boot, false).await;
    std::fs::write(&path, &running).unwrap();
    for _ in 0..2 {
        let (sink, note, _) = data.boot();
        sink.close(LONG).unwrap();
        note.end();
        assert!(Spare::of(data.folder.path()).read().is_none());
    }
    let records = data.records();
    let [.., loss, unknown] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!(records.len(), 6, "{records:?}");
    assert_eq!((loss.count, loss.last_seq), (Some(3), Some(6)));
    assert_eq!(unknown.action, AuditAction::LogStopped);
    assert_sound(&records);
}

#[tokio::test]
async fn a_log_that_stopped_and_ended_in_order_leaves_nothing_in_memory() {
    let data = Data::new();
    stopped(&data, Uuid::from_u128(7), true).await;
    assert!(Spare::of(data.folder.path()).read().is_none());
}

#[test]
fn what_others_put_in_memory_counts_for_nothing() {
    let data = tempfile::tempdir().unwrap();
    let spare = Spare::of(data.path());
    let target = data.path().join("target");
    std::fs::write(&target, framed("state stopped\n")).unwrap();
    std::os::unix::fs::symlink(&target, spare.path().unwrap()).unwrap();
    assert!(spare.read().is_none(), "a link");
    assert!(spare.write("state stopped\n").is_err(), "a link");
    assert_eq!(std::fs::read(&target).unwrap(), framed("state stopped\n"));
    spare.remove();
    assert!(target.exists());
    std::fs::create_dir(spare.path().unwrap()).unwrap();
    assert!(spare.read().is_none(), "a directory");
    std::fs::remove_dir(spare.path().unwrap()).unwrap();
    spare.write("state stopped\n").unwrap();
    assert!(spare.read().is_some(), "our own");
    spare.remove();
    assert!(spare.read().is_none());
}

#[tokio::test]
async fn a_kill_while_the_log_works_and_an_orderly_end_leave_nothing_to_report() {
    let data = Data::new();
    for ends in [false, true, false] {
        let (sink, note, noted) = data.boot();
        let boot = Uuid::now_v7();
        noted
            .write_batch(vec![record(boot, 0, AuditAction::ServerStarted)])
            .await;
        noted.flush().await.unwrap();
        sink.close(LONG).unwrap();
        if ends {
            note.end();
        }
    }
    let all = data.records();
    assert_eq!(all.len(), 3, "{all:?}");
}

#[tokio::test]
async fn a_note_that_is_damaged_is_a_loss_of_unknown_extent() {
    let data = Data::new();
    let (sink, ..) = data.boot();
    sink.close(LONG).unwrap();
    let file = note_file(data.folder.path());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (sink, ..) = data.boot();
    sink.close(LONG).unwrap();
    let records = data.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].action, AuditAction::LogStopped);
    assert_sound(&records);
}

#[test]
fn a_note_is_read_back_and_none_that_differs_in_a_byte_is_believed() {
    let mut counts = LossCounts::new();
    counts.add("play_started", 3);
    let stop = Stop {
        at_ms: 1_700_000_000_000,
        missing: Missing {
            boot: Some(Uuid::from_u128(5)),
            last_seq: 99,
            counts,
        },
    };
    let why = format!("cannot write\n{}", "ä".repeat(WHY_BYTES));
    for is_all in [false, true] {
        let mut bytes = framed(&text_of(&stop, &why, is_all));
        bytes.resize(NOTE_BYTES, 0);
        let Said::Stopped {
            at_ms,
            why,
            missing,
            is_all: all,
        } = parse(&bytes)
        else {
            panic!("not read back");
        };
        assert_eq!((at_ms, &missing, all), (stop.at_ms, &stop.missing, is_all));
        assert!(why.starts_with("cannot writeä"), "{why}");
        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
        for at in 0..end {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(parse(&changed), Said::Unreadable, "byte {at}");
        }
    }
    assert_eq!(parse(&framed("state running\n")), Said::Nothing);
    assert_eq!(parse(b""), Said::Nothing);
    assert_eq!(parse(&[0; 10]), Said::Nothing);
}
