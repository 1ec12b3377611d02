//! The trail on a ledger, from the engine's first event to a verifier that shares no code with the writer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livetrail_audit::{
    AuditAction, AuditPipeline, AuditRecord, AuditSink, LedgerSink, Mode, OpenSession, Policy,
    open_sessions_of_ledger,
};
use livetrail_engine::{AppSpec, Attempt, Engine, Reason, StreamKey};
use livetrail_ledger::{Identity, Ledger, MemStore, PowerCut, Reader, RealStore, SharedStore};
use livetrail_record::parse_canonical;
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

/// An engine with a strict trail on this store, a publisher and a refused viewer.
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

/// What a strict session was told is durable survives a power cut, and the next boot closes what it finds open.
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
    // The moment of the cut: only what is synced is there in the next life.
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
    assert_eq!(last[1].reason, Some(livetrail_record::Reason::ServerCrash));
    let reader = Reader::open(after).unwrap();
    assert_eq!(open_sessions_of_ledger(&reader).unwrap(), []);
    drop((engine, pipeline, sink));
}

/// A full disk holds records back and refuses strict sessions; when there is room again nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_loud_and_loses_nothing_that_was_accepted() {
    let disk = MemStore::new();
    let store: SharedStore = Arc::new(disk.clone());
    Ledger::create(&store, &identity()).unwrap();
    let sink = Arc::new(LedgerSink::new(open(&store)));
    let pipeline = AuditPipeline::new(sink.clone(), 10_000);
    let record = |n: u64| AuditRecord::new(AuditAction::Event(format!("n{n}")), "live");
    pipeline.record(record(0));
    pipeline.sync().await.unwrap();
    disk.set_capacity(Some(1));
    // Long enough to be noticed, however often the ledger looks.
    let noticed = tokio::time::timeout(Duration::from_secs(10), async {
        let mut n = 1;
        while sink.failing().is_none() {
            pipeline.record(record(n));
            n += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        n
    });
    let offered = noticed.await.expect("a full disk is noticed");
    pipeline.record(record(offered));
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

/// A log that stopped while nothing came in says so to whoever asks for the trail's health.
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
    // What was durable before does not stand for what comes now.
    pipeline.record(AuditRecord::new(AuditAction::Event("late".into()), "live"));
    assert!(pipeline.sync().await.is_err());
    assert!(!pipeline.close().await.durable);
}

/// From 90 % of the disk on, viewers' sessions are let in and left out, the loss is on record, and what they end with and publishers are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_nearly_full_disk_best_effort_is_left_out_counted_and_reported() {
    let disk = MemStore::new();
    let store: SharedStore = Arc::new(disk.clone());
    Ledger::create(&store, &identity()).unwrap();
    let mut options = livetrail_ledger::Options::default();
    options.space_interval = Duration::ZERO;
    options.queue_bytes = 128 << 10;
    options.segment_bytes = 1 << 20;
    options.ballast_bytes = 0;
    let builder = Ledger::builder(store.clone(), identity()).options(options);
    let sink = Arc::new(LedgerSink::new(builder.open().unwrap().0));
    let policy = Policy::default();
    let pipeline = AuditPipeline::builder(sink.clone()).sheds(policy);
    let pipeline = Arc::new(pipeline.build().unwrap());
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Arc::clone(&pipeline))
        .gate(pipeline.gate(policy))
        .build()
        .unwrap();
    let publication = engine.publish(attempt("cam")).await.unwrap();
    sink.handle().wait_sealed(2, PATIENCE).unwrap();
    // So few records want no zeros for the next segment: from now on the trail grows by records alone.
    let space = store.space().unwrap();
    let used = space.total_bytes - space.available_bytes;
    disk.set_capacity(Some(used * 100 / 93));
    // The next commit looks.
    pipeline.record(AuditRecord::new(AuditAction::Event("look".into()), "live"));
    pipeline.sync().await.unwrap();
    assert!(sink.short_of_room() && sink.failing().is_none());

    let playback = engine.play(attempt("cam")).await.unwrap();
    for _ in 0..9 {
        engine.play(attempt("none")).await.unwrap_err();
    }
    drop(playback);
    pipeline.sync().await.unwrap();
    publication.end(Reason::ClientClosed);
    assert!(engine.shutdown(Duration::from_secs(2)).await);
    let report = pipeline.close().await;
    assert!(report.durable, "{report:?}");
    assert_eq!(report.dropped, 10);
    sink.close(PATIENCE).unwrap();

    let records = records(&store);
    let of = |action: AuditAction| records.iter().filter(move |r| r.action == action);
    let lost: u64 = of(AuditAction::RecordsDropped)
        .filter_map(|r| r.count)
        .sum();
    assert_eq!(lost, 10);
    assert!(of(AuditAction::RecordsDropped).count() <= 3, "{records:?}");
    assert_eq!(of(AuditAction::PlayDenied).count(), 0);
    assert_eq!(of(AuditAction::PlayEnded).count(), 1);
    let files: std::collections::BTreeMap<_, _> = disk
        .paths()
        .into_iter()
        .map(|path| (path.clone(), store.read(&path).unwrap()))
        .collect();
    let report = verify(&Files(files), &Options::default(), &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert_eq!(report.sessions.dropped, 10, "{report}");
}
