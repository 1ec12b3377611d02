//! The vault together with the trail: both in memory.

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord};
use livetrail_ledger::{
    Class, Fault, FaultPlan, FaultStore, Identity, Ledger, Op, PowerCut, Store as _,
};
use livetrail_record::{
    Opening, RecordView, Uuid, digest_to_base64, encode_canonical, name_token, parse_canonical,
};
use livetrail_vault::{
    Query, Selection, Subject,
    sealed::{SEGMENT_KEYS_FILE, SegmentKeys},
};
use zeroize::Zeroizing;

use super::{replay::erased_sessions, *};
use crate::{
    Trail, TrailView, Wanted,
    maintenance::{all_recorded, recorded},
    operations::erased,
    plan,
};

const TIMEOUT: Duration = Duration::from_secs(20);
const DAY_MS: u64 = 86_400_000;

fn identity() -> Identity {
    Identity::from_seeds("example.com/t", &[1; 32].into(), &[2; 32].into()).unwrap()
}

/// A trail and its vault.
#[derive(Clone)]
struct World {
    trail: MemStore,
    vault: MemStore,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        let mut settings = Settings::new("unused");
        settings.ledger.checkpoint_interval = Duration::from_millis(1);
        // Small files: each test has its own in memory.
        settings.ledger.queue_bytes = 256 << 10;
        settings.ledger.commit_bytes = 128 << 10;
        settings.ledger.segment_bytes = 512 << 10;
        settings.ledger.ballast_bytes = 0;
        settings.personal_names.insert("rooms".to_owned());
        let world = Self {
            trail: MemStore::new(),
            vault: MemStore::new(),
            settings,
        };
        let store: SharedStore = Arc::new(world.trail.clone());
        Ledger::create(&store, &identity()).unwrap();
        world
    }

    fn open(&self) -> (Trail, Arc<AuditPipeline>) {
        self.open_with(Arc::new(self.vault.clone()))
    }

    fn open_with(&self, vault: SharedStore) -> (Trail, Arc<AuditPipeline>) {
        let mut trail = self.try_open(vault).unwrap();
        let builder = trail.pipeline().heartbeat(Duration::ZERO);
        (trail, Arc::new(builder.build().unwrap()))
    }

    fn try_open(&self, vault: SharedStore) -> anyhow::Result<Trail> {
        let store: SharedStore = Arc::new(self.trail.clone());
        let key = MasterKey::new(Zeroizing::new([7; 32]));
        let place = Place::Memory(vault, key);
        let clock = Arc::new(SystemClock::new());
        let vault = Personal::open_at(place, &self.settings, &store, clock)?;
        Trail::of_store(store, identity(), self.settings.clone(), None, vault)
    }

    fn keys(&self) -> usize {
        let keys = SegmentKeys::open(Arc::new(self.vault.clone()), 64).unwrap();
        keys.segments().count()
    }
}

fn id(number: u128) -> SessionId {
    number.to_be_bytes()
}

fn started(number: u128) -> AuditRecord {
    AuditRecord::new(AuditAction::PlayStarted, "live")
        .with_session(Uuid::from_u128(number))
        .with_stream("cam")
        .with_principal("alice")
        .with_peer("192.0.2.7:50312")
        .with_user_agent("VLC/3")
}

async fn sealed(pipeline: &AuditPipeline, view: &TrailView, record: AuditRecord) {
    recorded(pipeline, view, record).await.unwrap();
}

async fn erase(pipeline: &Arc<AuditPipeline>, view: &TrailView, sessions: Vec<SessionId>) {
    let request = Request {
        id: "17".to_owned(),
        selection: Selection::Sessions(sessions),
    };
    let (pipeline, view) = (pipeline.clone(), view.clone());
    let runtime = tokio::runtime::Handle::current();
    let erased = tokio::task::spawn_blocking(move || {
        view.personal().erase(&request, &mut |sessions| {
            let record = erased(None, sessions).unwrap();
            // Sealing needs the vault meanwhile.
            let recorded = all_recorded(&pipeline, &view, vec![started(99), record]);
            runtime.block_on(recorded).unwrap();
            Ok(())
        })
    });
    erased.await.unwrap().unwrap();
}

fn opening(view: &TrailView, session: SessionId) -> Option<Opening> {
    let row = view.personal().with(|vault| vault.get(&session)).unwrap();
    row.map(|row| Opening::parse(&row.opening).unwrap())
}

fn entries(view: &TrailView) -> Vec<AuditRecord> {
    let size = view.reader.checkpoint().unwrap().head().size;
    let entries = view.reader.entries(0..size).unwrap();
    entries
        .map(|entry| parse_canonical(&entry.unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn an_entry_is_of_schema_2_and_its_opening_is_in_the_vault_when_a_checkpoint_covers_it() {
    let world = World::new();
    let (trail, pipeline) = world.open();
    let view = trail.view();
    sealed(&pipeline, &view, started(5)).await;
    let size = view.reader.checkpoint().unwrap().head().size;
    let bytes = view.reader.entry(size - 1).unwrap();
    let entry = RecordView::parse(&bytes).unwrap();
    let record = entry.to_record();
    assert_eq!((record.v, record.principal, record.peer), (2, None, None));
    let found = opening(&view, id(5)).unwrap();
    let commitment = digest_to_base64(&found.commitment());
    assert_eq!(entry.personal, Some(commitment.as_str()));
    assert_eq!(found.get("principal").unwrap().expose(), "alice");
    let alice = Query::of(Subject::Principal("alice".into()));
    let page = view.personal().with(|vault| vault.find(&alice, None, 9));
    assert_eq!(page.unwrap().rows.len(), 1);
    assert!(!view.health().needs_attention());
    assert_eq!(view.health().personal.waiting, 0);
    assert!(trail.shutdown(&pipeline, TIMEOUT).await.is_clean());
    // Nothing in the write-ahead log can be read after that.
    assert_eq!(world.keys(), 0);
    for path in world.trail.paths() {
        let bytes = world.trail.read(&path).unwrap();
        for canary in ["alice", "192.0.2.7", "VLC/3"] {
            let found = bytes
                .windows(canary.len())
                .any(|at| at == canary.as_bytes());
            assert!(!found, "{canary} in {path}");
        }
    }
}

#[tokio::test]
async fn an_opening_that_only_the_write_ahead_log_has_survives_a_kill_and_a_power_cut() {
    let mut world = World::new();
    world.settings.ledger.checkpoint_interval = Duration::from_secs(3_600);
    let (trail, pipeline) = world.open();
    let view = trail.view();
    // The first checkpoint is made at once, the next one after an hour.
    pipeline.sync().await.unwrap();
    view.handle.sealed(1).await.unwrap();
    pipeline.record(started(5)).unwrap();
    pipeline.sync().await.unwrap();
    assert!(opening(&view, id(5)).is_none());
    let after = [
        (world.trail.copy(), world.vault.copy()),
        (
            world.trail.power_cut(PowerCut::Synced),
            world.vault.power_cut(PowerCut::Synced),
        ),
    ];
    for (trail, vault) in after {
        let after = World {
            trail,
            vault,
            settings: world.settings.clone(),
        };
        let (trail, pipeline) = after.open();
        let view = trail.view();
        assert!(opening(&view, id(5)).is_some());
        let entry = entries(&view)
            .into_iter()
            .find(|entry| entry.session.is_some());
        assert_eq!(entry.unwrap().v, 2);
        assert_eq!(
            after.keys(),
            1,
            "those of the earlier process are destroyed"
        );
        assert_eq!(view.health().personal.lost, 0);
        drop((trail, pipeline));
    }
}

#[tokio::test]
async fn a_restored_vault_erases_again_at_the_start_and_a_later_one_stays_as_it_is() {
    let world = World::new();
    let (trail, pipeline) = world.open();
    let view = trail.view();
    for number in [5, 6] {
        sealed(&pipeline, &view, started(number)).await;
    }
    let restored = world.vault.copy();
    erase(&pipeline, &view, vec![id(5)]).await;
    assert!(opening(&view, id(5)).is_none() && opening(&view, id(99)).is_some());
    assert!(trail.shutdown(&pipeline, TIMEOUT).await.is_clean());
    for (vault, again) in [(world.vault.clone(), 0), (restored, 1)] {
        let trail = world.try_open(Arc::new(vault)).unwrap();
        let view = trail.view();
        assert_eq!(trail.vault.erased_again, again);
        let words = format!("sessions erased again in the vault: {again}");
        assert_eq!(trail.started_detail().contains(&words), again > 0);
        assert!(opening(&view, id(5)).is_none() && opening(&view, id(6)).is_some());
    }
}

#[tokio::test]
async fn a_full_disk_of_the_vault_holds_checkpoints_up_and_loses_nothing() {
    let world = World::new();
    let store = FaultStore::over_memory(world.vault.clone());
    let (trail, pipeline) = world.open_with(Arc::new(store.clone()));
    let view = trail.view();
    sealed(&pipeline, &view, started(5)).await;
    for op in [Op::WriteAt, Op::Sync] {
        store.arm(FaultPlan {
            op,
            nth: 0,
            fault: Fault::Error(std::io::ErrorKind::StorageFull),
        });
        let number = if op == Op::Sync { 7 } else { 6 };
        sealed(&pipeline, &view, started(number)).await;
        assert!(store.fired());
        assert!(opening(&view, id(number)).is_some());
    }
    assert_eq!(view.health().personal.failing, None);
    assert!(trail.shutdown(&pipeline, TIMEOUT).await.is_clean());
}

#[tokio::test]
async fn openings_expire_at_180_days_on_record_while_their_entries_stay_for_400() {
    let world = World::new();
    let (trail, pipeline) = world.open();
    let view = trail.view();
    for number in 1..=300 {
        pipeline.record(started(number)).unwrap();
    }
    sealed(&pipeline, &view, started(301)).await;
    let now_ms = SystemClock::new().unix_ms();
    let mut retention = Retention::default();
    retention.default = Some(Duration::from_millis(180 * DAY_MS));
    for (days, expired) in [(179, 0), (181, 301), (399, 0)] {
        let now_ms = now_ms + days * DAY_MS;
        let count = expire::expire(&pipeline, &view, &retention, now_ms).await;
        assert_eq!(count.unwrap(), expired, "after {days} days");
        let wanted = Wanted::Before(now_ms - 400 * DAY_MS);
        assert_eq!(plan(&view.reader, &[], wanted).unwrap().entries(), 0);
    }
    let wanted = Wanted::Before(now_ms + DAY_MS);
    assert_eq!(plan(&view.reader, &[], wanted).unwrap().entries(), 256);
    let all = entries(&view);
    let erased = all
        .iter()
        .find(|entry| entry.action == AuditAction::AdminErased);
    let erased = erased.unwrap();
    assert_eq!(erased_sessions(erased).len(), 301);
    let basis = erased.extra.get("basis").unwrap();
    assert_eq!(basis, &livetrail_record::Value::Text("retention".into()));
    let personal = view.personal().status();
    assert!(!personal.needs_attention());
}

#[tokio::test]
async fn no_opening_is_kept_longer_than_its_entry() {
    let world = World::new();
    let (trail, pipeline) = world.open();
    let view = trail.view();
    for number in 1..=300 {
        let record = started(number).with_ts_ms(number as u64);
        pipeline.record(record).unwrap();
    }
    sealed(&pipeline, &view, started(301)).await;
    let retention = Retention::default();
    let now_ms = SystemClock::new().unix_ms();
    let expire = || expire::expire(&pipeline, &view, &retention, now_ms);
    assert_eq!(expire().await.unwrap(), 0, "without a retention they stay");
    let below = plan(&view.reader, &[], Wanted::Below(256)).unwrap();
    crate::retain::prune(&pipeline, &view, below, "test", None)
        .await
        .unwrap();
    let first = view.reader.first_index().unwrap();
    assert_eq!(first, 256);
    let expired = expire().await.unwrap();
    let first = parse_canonical(&view.reader.entry(first).unwrap()).unwrap();
    assert_eq!(expired, first.ts_ms - 1);
    // A vault that was restored from before the removal has nothing of it either.
    assert!(opening(&view, id(1)).is_none());
}

#[tokio::test]
async fn personal_names_of_streams_are_tokens_in_the_entries() {
    let world = World::new();
    let (trail, pipeline) = world.open();
    let view = trail.view();
    let mut record = started(5).with_stream("dr-smith-room");
    record.app = "rooms".to_owned();
    sealed(&pipeline, &view, record).await;
    let secret = view.personal().name_secret("rooms").unwrap();
    let entry = entries(&view).pop().unwrap();
    assert_eq!(entry.stream, Some(name_token(&secret, "dr-smith-room")));
    let found = opening(&view, id(5)).unwrap();
    assert_eq!(found.get("stream").unwrap().expose(), "dr-smith-room");
    drop((trail, pipeline));
}

#[tokio::test]
async fn refusals_beyond_the_bounds_of_the_vault_are_counted_on_record() {
    let world = World::new();
    let (trail, pipeline) = world.open();
    let view = trail.view();
    let personal = view.personal();
    let companions: Vec<Vec<u8>> = (1..=610)
        .map(|number| {
            let mut record = started(number);
            record.action = AuditAction::PlayDenied;
            let mut opening = Opening::new(Uuid::from_u128(number), [9; 16]);
            opening.insert("principal", "alice").unwrap();
            let mut companion = Vec::new();
            personal
                .seal_opening(&record, &opening, &mut companion)
                .unwrap();
            companion
        })
        .collect();
    let companions: Vec<&[u8]> = companions.iter().map(Vec::as_slice).collect();
    personal.keep_companions(&companions).unwrap();
    for _ in 0..2 {
        let retention = Retention::default();
        expire::keep(&pipeline, &view, &retention, 0).await.unwrap();
    }
    sealed(&pipeline, &view, started(1_000)).await;
    let all = entries(&view);
    let dropped = all
        .iter()
        .filter(|entry| entry.action == AuditAction::OpeningsDropped);
    let counts: Vec<_> = dropped.map(|entry| entry.count).collect();
    assert_eq!(counts, [Some(10)]);
}

#[tokio::test]
async fn a_trail_of_an_earlier_version_gets_a_vault_and_keeps_to_it() {
    let world = World::new();
    let store: SharedStore = Arc::new(world.trail.clone());
    let (ledger, _) = Ledger::builder(store, identity()).open().unwrap();
    let old = encode_canonical(&started(1).with_ts_ms(1)).unwrap();
    ledger
        .append(Class::Strict, std::slice::from_ref(&old))
        .unwrap();
    ledger.close().unwrap();
    let (trail, pipeline) = world.open();
    let view = trail.view();
    assert!(trail.started_detail().contains("the vault is new"));
    sealed(&pipeline, &view, started(2)).await;
    assert_eq!(view.reader.entry(0).unwrap(), old);
    assert!(opening(&view, id(1)).is_none() && opening(&view, id(2)).is_some());
    assert!(trail.shutdown(&pipeline, TIMEOUT).await.is_clean());
    let refused = world.try_open(Arc::new(MemStore::new())).err().unwrap();
    let refused = refused.to_string();
    assert!(refused.contains("has no vault: mount"), "{refused}");
    // The keys are lost, and with them everything that no vault has.
    world.trail.remove("private/vault").unwrap();
    let trail = world.try_open(Arc::new(MemStore::new())).unwrap();
    assert!(trail.started_detail().contains("the vault is new"));
    assert!(world.vault.read(SEGMENT_KEYS_FILE).is_ok());
}
