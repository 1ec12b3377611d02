//! The trail on a ledger, from the engine's first event to a verifier that shares no code with the
//! writer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livetrail_audit::{
    AuditAction, AuditPipeline, AuditRecord, AuditSink, Audited as _, LedgerSink, Mode,
    OpenSession, Policies, Policy, open_sessions_of_ledger,
};
use livetrail_engine::{AppSpec, Attempt, Engine, Reason, StreamKey};
use livetrail_ledger::{
    Class, Identity, Ledger, MemStore, PowerCut, Reader, RealStore, SharedStore,
};
use livetrail_record::{
    EntryContext, Field, FieldValue, LossCounts, Opening, Uuid, Value, encode_canonical,
    encode_entry, parse_canonical,
};
use livetrail_verify::{Directory, Files, Options, Verdict, verify};

const PATIENCE: Duration = Duration::from_secs(20);

fn identity() -> Identity {
    Identity::from_seeds("example.com/audit", &[1; 32].into(), &[2; 32].into()).unwrap()
}

fn open(store: &SharedStore) -> Ledger {
    Ledger::builder(Arc::clone(store), identity())
        .open()
        .unwrap()
        .0
}

fn boot(store: &SharedStore, recovered: Vec<OpenSession>) -> (Arc<AuditPipeline>, Arc<LedgerSink>) {
    let sink = Arc::new(LedgerSink::new(open(store)));
    let pipeline = AuditPipeline::builder(sink.clone())
        .node("a".to_owned())
        .recovered(recovered);
    (Arc::new(pipeline.build().unwrap()), sink)
}

fn attempt(stream: &str) -> Attempt {
    Attempt::new(StreamKey::parse("live", stream).unwrap(), "test")
}

fn records(store: &SharedStore) -> Vec<AuditRecord> {
    let reader = Reader::open(Arc::clone(store)).unwrap();
    let size = reader.checkpoint().unwrap().head().size;
    let entries = reader.entries(0..size).unwrap();
    entries
        .map(|entry| parse_canonical(&entry.unwrap()).unwrap())
        .collect()
}

fn assert_sound(trail: &Path) {
    let report = verify(&Directory::new(trail), &Options::default(), &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
}

/// Runs an engine with a strict trail on this store, a publisher and a refused viewer.
async fn live_for_a_moment(pipeline: &Arc<AuditPipeline>) {
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Arc::clone(pipeline))
        .gate(pipeline.gate(Policy::of(Mode::Strict)))
        .build()
        .unwrap();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    assert_eq!(
        engine.play(attempt("none")).await.unwrap_err().reason,
        Reason::StreamNotFound
    );
    publication.end(Reason::ClientClosed);
    assert!(engine.shutdown(Duration::from_secs(2)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_boots_on_disk_are_sound_to_the_independent_verifier() {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("trail");
    std::fs::create_dir(&trail).unwrap();
    let store: SharedStore = Arc::new(RealStore::new(&trail));
    Ledger::create(&store, &identity()).unwrap();
    for _ in 0..2 {
        let (pipeline, sink) = boot(&store, Vec::new());
        live_for_a_moment(&pipeline).await;
        let report = pipeline.close().await;
        assert!(report.durable && report.dropped == 0, "{report:?}");
        sink.close(PATIENCE).unwrap();
    }
    let labels: Vec<_> = records(&store)
        .iter()
        .map(|r| r.action.label().to_owned())
        .collect();
    let one = [
        "server_started",
        "publish_started",
        "play_denied",
        "publish_ended",
        "server_stopped",
    ];
    assert_eq!(labels, [one, one].concat());
    assert_sound(&trail);
}

/// A trail continues from schema 1 to schema 2 in the same log. A session that began in the first
/// one ends in the second.
#[tokio::test]
async fn entries_of_both_schemas_in_one_log_are_sound_to_the_independent_verifier() {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("trail");
    std::fs::create_dir(&trail).unwrap();
    let store: SharedStore = Arc::new(RealStore::new(&trail));
    Ledger::create(&store, &identity()).unwrap();
    let placed = |boot: u128, seq: u64, record: AuditRecord| {
        record
            .with_node("a")
            .with_boot(Uuid::from_u128(boot))
            .with_seq(seq)
            .with_mono_ms(seq * 1_000)
            .with_ts_ms(1_763_805_600_000 + (boot * 60_000) as u64 + seq * 1_000)
    };
    let of = |session: u128, action| {
        AuditRecord::new(action, "live")
            .with_stream("cam")
            .with_session(Uuid::from_u128(session))
            .with_principal("canary")
            .with_peer("192.0.2.7:4711")
    };
    let first = [
        AuditRecord::new(AuditAction::ServerStarted, ""),
        of(1, AuditAction::PublishStarted),
        of(2, AuditAction::PlayStarted),
        of(2, AuditAction::PlayEnded),
    ];
    let second = [
        AuditRecord::new(AuditAction::ServerStarted, ""),
        of(1, AuditAction::PublishEnded)
            .with_reason(Reason::ServerCrash)
            .with_inferred(true),
        of(3, AuditAction::PlayStarted).with_user_agent("player/1"),
        of(3, AuditAction::PlayEnded).with_reason(Reason::ClientClosed),
        of(4, AuditAction::PlayDenied)
            .with_count(5)
            .with_first_ts_ms(1_763_805_720_000)
            .with_last_ts_ms(1_763_805_721_000),
        AuditRecord::new(AuditAction::ServerStopped, ""),
    ];
    let entries = (0..).zip(first);
    let entries: Vec<_> = entries
        .map(|(seq, record)| encode_canonical(&placed(1, seq, record)).unwrap())
        .collect();
    let ledger = open(&store);
    ledger.append(Class::Strict, &entries).unwrap();
    ledger.close().unwrap();
    let mut openings = Vec::new();
    let entries = (0..).zip(second).map(|(seq, record)| {
        let salt = [seq as u8; 16];
        let entry = encode_entry(&placed(2, seq, record), &EntryContext::new(salt)).unwrap();
        openings.extend(entry.opening);
        entry.bytes
    });
    let entries: Vec<_> = entries.collect();
    let ledger = open(&store);
    ledger.append(Class::Strict, &entries).unwrap();
    ledger.close().unwrap();

    let records = records(&store);
    let schemas: Vec<u32> = records.iter().map(|record| record.v).collect();
    assert_eq!(schemas, [vec![1; 4], vec![2; 6]].concat());
    assert_sound(&trail);
    let canary = |entry: &Vec<u8>| String::from_utf8_lossy(entry).contains("canary");
    assert!(!entries.iter().any(canary));
    // The entries commit to the openings, in the same order.
    let personal = Field::named("personal").unwrap();
    let committed = records.iter().filter_map(|record| personal.get(record));
    let opened = openings
        .iter()
        .map(|opening| FieldValue::Digest(opening.commitment()));
    assert!(committed.eq(opened));
    let sessions: Vec<Uuid> = openings.iter().map(Opening::session).collect();
    assert_eq!(sessions, [Uuid::from_u128(3), Uuid::from_u128(4)]);
}

/// A record that the gate confirmed to a strict session survives a power cut. The next boot ends
/// the sessions that it finds open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_the_next_boot_closes_what_was_open() {
    let disk = MemStore::new();
    let store: SharedStore = Arc::new(disk.clone());
    Ledger::create(&store, &identity()).unwrap();
    let sink = Arc::new(LedgerSink::new(open(&store)));
    let pipeline = AuditPipeline::builder(sink.clone())
        .node("a".to_owned())
        .build()
        .unwrap();
    let pipeline = Arc::new(pipeline);
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Arc::clone(&pipeline))
        .gate(pipeline.gate(Policy::of(Mode::Strict)))
        .build()
        .unwrap();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let session = publication.session().as_uuid();
    // This is the moment of the cut: the next boot has only the synced data.
    let after: SharedStore = Arc::new(disk.power_cut(PowerCut::Synced));
    drop(publication);

    drop(
        Ledger::builder(Arc::clone(&after), identity())
            .open()
            .unwrap(),
    );
    let open = open_sessions_of_ledger(&Reader::open(Arc::clone(&after)).unwrap()).unwrap();
    assert_eq!(
        open.iter().map(|o| o.session).collect::<Vec<_>>(),
        [session]
    );
    let (next, next_sink) = boot(&after, open);
    assert!(next.close().await.durable);
    next_sink.close(PATIENCE).unwrap();
    let last: Vec<_> = records(&after)
        .into_iter()
        .filter(|r| r.session == Some(session))
        .collect();
    assert_eq!(last.len(), 2);
    assert_eq!(last[1].action, AuditAction::PublishEnded);
    assert!(last[1].inferred);
    assert_eq!(last[1].reason, Some(Reason::ServerCrash));
    let reader = Reader::open(after).unwrap();
    assert_eq!(open_sessions_of_ledger(&reader).unwrap(), []);
    drop((engine, pipeline, sink));
}

/// A full disk holds records and refuses strict sessions. When there is space again, no record is
/// missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_loud_and_loses_nothing_that_was_accepted() {
    let disk = MemStore::new();
    let store: SharedStore = Arc::new(disk.clone());
    Ledger::create(&store, &identity()).unwrap();
    let sink = Arc::new(LedgerSink::new(open(&store)));
    let pipeline = AuditPipeline::new(sink.clone(), 10_000);
    let record = |n: u64| AuditRecord::new(AuditAction::Event(format!("n{n}")), "live");
    pipeline.record(record(0)).unwrap();
    pipeline.sync().await.unwrap();
    disk.set_capacity(Some(1));
    // The test offers records until the sink reports the full disk, however often the ledger
    // checks.
    let noticed = tokio::time::timeout(Duration::from_secs(10), async {
        let mut n = 1;
        while sink.failing().is_none() {
            pipeline.record(record(n)).unwrap();
            n += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        n
    });
    let offered = noticed.await.expect("a full disk is noticed");
    pipeline.record(record(offered)).unwrap();
    let synced = tokio::time::timeout(Duration::from_millis(200), pipeline.sync()).await;
    assert!(
        !matches!(synced, Ok(Ok(()))),
        "nothing is durable that is not in the ledger"
    );
    disk.set_capacity(None);
    let report = pipeline.close().await;
    assert!(report.durable && report.dropped == 0, "{report:?}");
    sink.close(PATIENCE).unwrap();
    let labels: Vec<_> = records(&store).iter().map(|r| r.action.clone()).collect();
    let expected: Vec<_> = (0..=offered)
        .map(|n| AuditAction::Event(format!("n{n}")))
        .collect();
    assert_eq!(labels, expected);
}

/// If a log stops while nothing comes in, the trail's health reports it.
#[tokio::test]
async fn a_log_that_stops_while_nothing_comes_in_is_failing_at_once() {
    let store: SharedStore = Arc::new(MemStore::new());
    Ledger::create(&store, &identity()).unwrap();
    let (pipeline, sink) = boot(&store, Vec::new());
    pipeline.sync().await.unwrap();
    assert!(pipeline.status().is_healthy());
    sink.handle().halt("a witness has seen more");
    assert!(!pipeline.status().is_healthy());
    let words = sink.failing().unwrap().to_string();
    assert!(words.contains("a witness has seen more"), "{words}");
    // The earlier durable records say nothing about new ones.
    pipeline
        .record(AuditRecord::new(AuditAction::Event("late".into()), "live"))
        .unwrap();
    assert!(pipeline.sync().await.is_err());
    assert!(!pipeline.close().await.durable);
}

/// A trail on a disk whose size the test sets, with an engine under the server's policy.
struct Disk {
    disk: MemStore,
    store: SharedStore,
    sink: Arc<LedgerSink>,
    pipeline: Arc<AuditPipeline>,
    engine: Engine,
}

impl Disk {
    fn new(policies: impl Into<Policies>) -> Self {
        let disk = MemStore::new();
        let store: SharedStore = Arc::new(disk.clone());
        Ledger::create(&store, &identity()).unwrap();
        let mut options = livetrail_ledger::Options::default();
        options.space_interval = Duration::from_millis(1);
        options.queue_bytes = 128 << 10;
        options.segment_bytes = 1 << 20;
        options.ballast_bytes = 0;
        let builder = Ledger::builder(store.clone(), identity()).options(options);
        let sink = Arc::new(LedgerSink::new(builder.open().unwrap().0));
        let pipeline = AuditPipeline::builder(sink.clone()).node("a").build();
        let pipeline = Arc::new(pipeline.unwrap());
        let engine = Engine::builder()
            .application(AppSpec::new("live"))
            .audit(&pipeline, policies)
            .build()
            .unwrap();
        Self {
            disk,
            store,
            sink,
            pipeline,
            engine,
        }
    }

    /// Fills the disk to this many thousandths, and makes the ledger check it.
    async fn fill(&self, per_mille: u64) {
        let space = self.store.space().unwrap();
        let used = space.total_bytes - space.available_bytes;
        self.disk.set_capacity(Some(used * 1_000 / per_mille));
        // The ledger measures the space again after its `space_interval`.
        std::thread::sleep(Duration::from_millis(2));
        let look = AuditRecord::new(AuditAction::from_label("admin_looked"), "");
        self.pipeline.record(look).unwrap();
        self.pipeline.sync().await.unwrap();
    }

    /// Ends everything and checks that the trail is sound. Returns the trail's records.
    async fn end(self) -> Vec<AuditRecord> {
        assert!(self.engine.shutdown(PATIENCE).await);
        self.end_without_flush().await
    }

    async fn end_without_flush(self) -> Vec<AuditRecord> {
        let report = self.pipeline.close().await;
        assert!(report.durable && report.unwritten == 0, "{report:?}");
        self.sink.close(PATIENCE).unwrap();
        let files: std::collections::BTreeMap<_, _> = self
            .disk
            .paths()
            .into_iter()
            .map(|path| (path.clone(), self.store.read(&path).unwrap()))
            .collect();
        let report = verify(&Files(files), &Options::default(), &mut |_, _| {}).unwrap();
        assert_eq!(report.verdict, Verdict::Sound, "{report}");
        records(&self.store)
    }
}

fn labels(records: &[AuditRecord], stream: &str) -> Vec<String> {
    let of_stream = records
        .iter()
        .filter(|r| r.stream.as_deref() == Some(stream));
    of_stream.map(|r| r.action.label().to_owned()).collect()
}

/// The number of lost records with this action, and the number of refused attempts for which they
/// stood.
fn lost(records: &[AuditRecord], action: &str) -> (u64, i64) {
    let losses = records
        .iter()
        .filter(|r| r.action == AuditAction::RecordsDropped);
    let (mut of_action, mut attempts) = (0, 0);
    for loss in losses {
        let detail = loss.detail.as_ref().unwrap().expose();
        of_action += LossCounts::parse(detail).unwrap().get(action);
        if let Some(Value::Integer(more)) = loss.extra.get("refused_attempts") {
            attempts += more;
        }
    }
    (of_action, attempts)
}

/// From 90 % of the disk on, only refused attempts are dropped, whatever the policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_90_percent_on_refusals_alone_are_dropped_counted_and_reported() {
    let disk = Disk::new(Policy::of(Mode::Strict));
    let publication = disk.engine.publish(attempt("cam")).await.unwrap();
    disk.sink.handle().wait_sealed(2, PATIENCE).unwrap();
    disk.fill(920).await;
    assert!(disk.sink.short_of_room() && disk.sink.failing().is_none());
    let playback = disk.engine.play(attempt("cam")).await.unwrap();
    for _ in 0..9 {
        disk.engine.play(attempt("none")).await.unwrap_err();
    }
    drop(playback);
    publication.end(Reason::ClientClosed);
    let counters = disk.pipeline.monitor();
    let records = disk.end().await;
    let expected = [
        "publish_started",
        "play_started",
        "play_ended",
        "publish_ended",
    ];
    assert_eq!(labels(&records, "cam"), expected);
    assert!(labels(&records, "none").is_empty());
    // The losses are the first record of its kind, and the record that stands for the other eight
    // attempts.
    assert_eq!(lost(&records, "play_denied"), (2, 9));
    let counters = counters.counters();
    assert_eq!((counters.dropped, counters.lost_attempts), (9, 9));
}

/// From 95 % on, the starts of sessions of a best-effort role are dropped, too. Their ends and
/// strict roles are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_95_percent_on_best_effort_starts_are_dropped_counted_and_reported() {
    let disk = Disk::new(Policy::default());
    let first = disk.engine.publish(attempt("cam")).await.unwrap();
    disk.sink.handle().wait_sealed(2, PATIENCE).unwrap();
    disk.fill(954).await;
    let playback = disk.engine.play(attempt("cam")).await.unwrap();
    disk.engine.play(attempt("none")).await.unwrap_err();
    drop(playback);
    disk.pipeline.sync().await.unwrap();
    let second = disk.engine.publish(attempt("two")).await.unwrap();
    drop((first, second));
    let records = disk.end().await;
    let expected = ["publish_started", "play_ended", "publish_ended"];
    assert_eq!(labels(&records, "cam"), expected);
    assert_eq!(
        labels(&records, "two"),
        ["publish_started", "publish_ended"]
    );
    assert_eq!(lost(&records, "play_started").0, 1);
    assert_eq!(lost(&records, "play_denied"), (1, 1));
}

/// An application whose viewers are strict keeps their starts, whatever the policy of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_95_percent_on_the_policy_of_the_application_decides() {
    let live = "live".parse().unwrap();
    let relaxed = Policies::new(Policy::of(Mode::BestEffort));
    let disk = Disk::new(relaxed.application(live, Policy::of(Mode::Strict)));
    let publication = disk.engine.publish(attempt("cam")).await.unwrap();
    disk.fill(954).await;
    let playback = disk.engine.play(attempt("cam")).await.unwrap();
    drop((playback, publication));
    let records = disk.end().await;
    let expected = [
        "publish_started",
        "play_started",
        "play_ended",
        "publish_ended",
    ];
    assert_eq!(labels(&records, "cam"), expected);
}

/// From 97 % on, only essential records are written. They include the ends of sessions that are on
/// record, although earlier starts still wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_97_percent_on_ends_are_written_and_strict_starts_wait_or_are_refused() {
    let policy = Policy::default().deadline(Duration::from_millis(300));
    let disk = Disk::new(policy);
    let honest = disk.engine.publish(attempt("cam")).await.unwrap();
    let viewer = disk.engine.play(attempt("cam")).await.unwrap();
    disk.pipeline.sync().await.unwrap();
    disk.fill(975).await;
    assert!(disk.sink.failing().is_some());
    // This strict session waits for space and is refused. Both of its records are held.
    let refused = disk.engine.publish(attempt("late")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::AuditUnavailable);
    let note = AuditRecord::new(AuditAction::Event("a host's".into()), "live").with_stream("note");
    disk.pipeline.record(note).unwrap();
    // The ends of sessions on record are written now, before the held records.
    let entries = disk.sink.handle().durable_entries();
    drop((viewer, honest));
    let written = async {
        while disk.sink.handle().durable_entries() < entries + 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, written).await;
    in_time.expect("the ends are written without room for anything else");
    let held = async {
        while disk.pipeline.counters().held_records < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), disk.pipeline.sync())
            .await
            .is_err(),
        "what is held back is not durable"
    );
    // If a start finds space before its deadline, it is admitted.
    let patient = disk.pipeline.gate(policy.deadline(PATIENCE));
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .clock(disk.pipeline.clock())
        .observer(Arc::clone(&disk.pipeline))
        .gate(patient)
        .build()
        .unwrap();
    let (publication, ()) = tokio::join!(engine.publish(attempt("patient")), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        disk.disk.set_capacity(None);
    });
    drop(publication.unwrap());
    let records = disk.end().await;
    assert_eq!(lost(&records, "publish_started"), (0, 0));
    let pair = ["publish_started", "publish_ended"];
    assert_eq!(labels(&records, "late"), pair);
    assert_eq!(labels(&records, "patient"), pair);
    assert_eq!(labels(&records, "note"), ["event"]);
    let at = |label: &str, stream: &str| {
        records
            .iter()
            .position(|r| r.action.label() == label && r.stream.as_deref() == Some(stream))
            .unwrap()
    };
    assert!(at("publish_ended", "cam") < at("publish_started", "late"));
}

/// If the disk stays full, closing does not wait for it, and the held records are a reported loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_on_a_full_disk_reports_what_was_held_back() {
    let disk = Disk::new(Policy::default().deadline(Duration::from_millis(100)));
    let honest = disk.engine.publish(attempt("cam")).await.unwrap();
    disk.pipeline.sync().await.unwrap();
    disk.fill(975).await;
    disk.engine.publish(attempt("late")).await.unwrap_err();
    drop(honest);
    let held = async {
        while disk.pipeline.counters().held_records < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap();
    disk.engine.play(attempt("none")).await.unwrap_err();
    let records = disk.end_without_flush().await;
    assert_eq!(
        labels(&records, "cam"),
        ["publish_started", "publish_ended"]
    );
    assert!(labels(&records, "late").is_empty());
    assert_eq!(lost(&records, "publish_started").0, 1);
    assert_eq!(lost(&records, "publish_ended").0, 1);
    assert_eq!(records.last().unwrap().action, AuditAction::ServerStopped);
}
