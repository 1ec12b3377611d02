//! Entries that commit to personal fields, from the engine's first event to the openings that a
//! vault keeps and the independent verifier.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livetrail_audit::{
    AuditAction, AuditPipeline, AuditRecord, AuditSink as _, Audited as _, LedgerSink, Mode,
    OpenSession, OpeningOf, Openings, Policy, open_sessions_of_ledger,
};
use livetrail_clock::SystemClock;
use livetrail_engine::{AppSpec, Attempt, Engine, Reason, StreamKey};
use livetrail_ledger::{
    Companion, CompanionStore, Identity, Ledger, LedgerError, MAX_COMPANION_BYTES, MemStore,
    PowerCut, Reader, RealStore, SharedStore,
};
use livetrail_record::{
    Field, FieldValue, Opening, digest_to_base64, name_token, parse_canonical, session_of,
};
use livetrail_verify::{Answer, Directory, Files, Options, Verdict, verify};

const PATIENCE: Duration = Duration::from_secs(20);

/// In every personal field of these tests.
const CANARY: &str = "canary";

fn identity() -> Identity {
    Identity::from_seeds("example.com/audit", &[1; 32].into(), &[2; 32].into()).unwrap()
}

/// A vault in memory. It survives power cuts.
#[derive(Clone, Default)]
struct Vault(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By the index of the entry.
    kept: BTreeMap<u64, Opening>,
    sealed: u64,
    /// The number of openings that will not be sealed.
    failures: u64,
    /// A companion has this many bytes more.
    padding: usize,
    secret: Option<[u8; 32]>,
}

impl Vault {
    fn kept(&self) -> BTreeMap<u64, Opening> {
        self.0.lock().unwrap().kept.clone()
    }

    fn fail(&self, times: u64) {
        self.0.lock().unwrap().failures = times;
    }
}

impl Openings for Vault {
    fn seal(&self, opening: &OpeningOf<'_>, into: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        into.extend_from_slice(&opening.opening.to_json());
        if state.failures > 0 {
            state.failures -= 1;
            return Err(io::Error::other("no key"));
        }
        into.resize(into.len() + state.padding, b' ');
        state.sealed += 1;
        Ok(())
    }

    fn name_secret(&self, app: &str) -> Option<[u8; 32]> {
        self.0.lock().unwrap().secret.filter(|_| app == "live")
    }
}

impl CompanionStore for Vault {
    fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        for one in companions {
            let opening = Opening::parse(one.bytes.trim_ascii_end()).unwrap();
            state.kept.insert(one.index, opening);
        }
        Ok(())
    }
}

fn open(store: &SharedStore, vault: &Vault) -> Arc<LedgerSink> {
    let builder = Ledger::builder(Arc::clone(store), identity()).companions(vault.clone());
    let openings = Arc::new(vault.clone());
    let opened = LedgerSink::open_with(builder, SystemClock::new(), openings);
    Arc::new(opened.unwrap().0)
}

fn pipeline(sink: &Arc<LedgerSink>, recovered: Vec<OpenSession>) -> Arc<AuditPipeline> {
    let builder = AuditPipeline::builder(sink.clone()).node("a".to_owned());
    Arc::new(builder.recovered(recovered).build().unwrap())
}

fn engine(pipeline: &Arc<AuditPipeline>) -> Engine {
    Engine::builder()
        .application(AppSpec::new("live"))
        .audit(pipeline, Policy::of(Mode::Strict))
        .build()
        .unwrap()
}

fn attempt(stream: &str) -> Attempt {
    let peer: SocketAddr = "192.0.2.77:4711".parse().unwrap();
    Attempt::new(StreamKey::parse("live", stream).unwrap(), "test")
        .peer(peer)
        .user_agent(CANARY)
}

fn entries(store: &SharedStore) -> Vec<Vec<u8>> {
    let reader = Reader::open(Arc::clone(store)).unwrap();
    let size = reader.checkpoint().unwrap().head().size;
    reader
        .entries(0..size)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn records(store: &SharedStore) -> Vec<AuditRecord> {
    let entries = entries(store);
    entries
        .iter()
        .map(|entry| parse_canonical(entry).unwrap())
        .collect()
}

fn labels(records: &[AuditRecord]) -> Vec<&str> {
    records.iter().map(|record| record.action.label()).collect()
}

/// Each entry commits to the opening that is kept under its index, and no opening is without its
/// entry.
fn assert_committed(records: &[AuditRecord], vault: &Vault) {
    let personal = Field::named("personal").unwrap();
    let mut kept = vault.kept();
    for (index, record) in (0..).zip(records) {
        let opening = kept.remove(&index);
        let wanted = opening.map(|opening| FieldValue::Digest(opening.commitment()));
        assert_eq!(personal.get(record), wanted, "entry {index}: {record:?}");
    }
    assert!(kept.is_empty(), "openings without an entry: {kept:?}");
}

fn assert_sound(trail: &Path) {
    let report = verify(&Directory::new(trail), &Options::default(), &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
}

async fn live_for_a_moment(pipeline: &Arc<AuditPipeline>) {
    let engine = engine(pipeline);
    let publication = engine.publish(attempt("cam")).await.unwrap();
    let playback = engine.play(attempt("cam")).await.unwrap();
    engine.play(attempt("none")).await.unwrap_err();
    drop(playback);
    publication.end(Reason::ClientClosed);
    assert!(engine.shutdown(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trail_goes_on_in_schema_2_and_first_records_alone_have_openings() {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("trail");
    std::fs::create_dir(&trail).unwrap();
    let store: SharedStore = Arc::new(RealStore::new(&trail));
    Ledger::create(&store, &identity()).unwrap();
    let (ledger, _) = Ledger::builder(Arc::clone(&store), identity())
        .open()
        .unwrap();
    let clear = Arc::new(LedgerSink::new(ledger));
    let first = pipeline(&clear, Vec::new());
    live_for_a_moment(&first).await;
    assert!(first.close().await.durable);
    clear.close(PATIENCE).unwrap();
    let in_clear = records(&store);
    assert!(in_clear.iter().all(|record| record.v == 1));

    let vault = Vault::default();
    let sink = open(&store, &vault);
    let second = pipeline(&sink, Vec::new());
    live_for_a_moment(&second).await;
    let report = second.close().await;
    assert!(report.durable && report.dropped == 0, "{report:?}");
    sink.close(PATIENCE).unwrap();

    let all = records(&store);
    assert_eq!(all[..in_clear.len()], in_clear[..]);
    let new = &all[in_clear.len()..];
    assert!(new.iter().all(|record| record.v == 2));
    assert_eq!(labels(new), labels(&in_clear));
    assert_committed(&all, &vault);
    let kept = vault.kept();
    let opened: Vec<_> = kept
        .keys()
        .map(|index| all[usize::try_from(*index).unwrap()].action.label())
        .collect();
    assert_eq!(opened, ["publish_started", "play_started", "play_denied"]);
    for (index, opening) in &kept {
        let record = &all[usize::try_from(*index).unwrap()];
        assert_eq!(Some(opening.session()), record.session);
        assert_eq!(opening.get("peer").unwrap().expose(), "192.0.2.77:4711");
        assert_eq!(opening.get("user_agent").unwrap().expose(), CANARY);
    }
    for entry in &entries(&store)[in_clear.len()..] {
        let entry = String::from_utf8_lossy(entry);
        assert!(
            !entry.contains(CANARY) && !entry.contains("192.0.2"),
            "{entry}"
        );
    }
    assert_sound(&trail);
}

#[tokio::test]
async fn an_opening_that_cannot_be_sealed_is_tried_again_and_no_record_is_lost() {
    let store: SharedStore = Arc::new(MemStore::new());
    Ledger::create(&store, &identity()).unwrap();
    let vault = Vault::default();
    let sink = open(&store, &vault);
    let pipeline = AuditPipeline::new(sink.clone(), 1_000);
    let record = |n: u64| {
        let action = AuditAction::Event(format!("n{n}"));
        AuditRecord::new(action, "live").with_principal(format!("{CANARY}{n}"))
    };
    pipeline.record(record(0)).unwrap();
    pipeline.sync().await.unwrap();
    vault.fail(u64::MAX);
    for n in 1..50 {
        pipeline.record(record(n)).unwrap();
    }
    let noticed = async {
        while sink.failing().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noticed)
        .await
        .expect("it is reported");
    let words = sink.failing().unwrap().to_string();
    assert!(
        words.contains("cannot seal personal data: no key"),
        "{words}"
    );
    assert_eq!(
        sink.handle().durable_entries(),
        1,
        "no entry without its opening"
    );
    // From now on it fails three times more.
    vault.fail(3);
    let report = pipeline.close().await;
    assert!(report.durable && report.dropped == 0, "{report:?}");
    assert_eq!(vault.0.lock().unwrap().failures, 0);
    assert!(sink.failing().is_none());
    sink.close(PATIENCE).unwrap();
    let records = records(&store);
    let wanted: Vec<_> = (0..50)
        .map(|n| AuditAction::Event(format!("n{n}")))
        .collect();
    let actions: Vec<_> = records.iter().map(|record| record.action.clone()).collect();
    assert_eq!(actions, wanted);
    assert_committed(&records, &vault);
    let kept = vault.kept();
    assert_eq!(kept.len(), 50);
    for (n, opening) in (0..).zip(kept.values()) {
        let (boot, seq) = (records[n].boot.unwrap(), records[n].seq.unwrap());
        assert_eq!(opening.session(), session_of(boot, seq));
        let principal = opening.get("principal").unwrap();
        assert_eq!(principal.expose(), format!("{CANARY}{n}"));
    }
    let mut commitments: Vec<_> = kept.values().map(Opening::commitment).collect();
    commitments.sort_unstable();
    commitments.dedup();
    assert_eq!(commitments.len(), 50, "each has a salt of its own");
}

#[tokio::test]
async fn a_log_that_stops_ends_the_attempts_to_seal() {
    let store: SharedStore = Arc::new(MemStore::new());
    Ledger::create(&store, &identity()).unwrap();
    let vault = Vault::default();
    vault.fail(u64::MAX);
    let sink = open(&store, &vault);
    let pipeline = AuditPipeline::new(sink.clone(), 1_000);
    let record = AuditRecord::new(AuditAction::Event("one".into()), "live");
    pipeline.record(record.with_principal(CANARY)).unwrap();
    let noticed = async {
        while sink.failing().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noticed)
        .await
        .expect("it is reported");
    sink.handle().halt("a witness has seen more");
    let report = tokio::time::timeout(PATIENCE, pipeline.close()).await;
    assert!(!report.expect("it ends").durable);
    assert_eq!(sink.handle().durable_entries(), 0);
}

/// After a crash the log has the openings of all entries that were durable, and the next boot ends
/// the sessions under the names that their first records have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_sessions_are_closed_under_the_token_of_their_name() {
    let disk = MemStore::new();
    let store: SharedStore = Arc::new(disk.clone());
    Ledger::create(&store, &identity()).unwrap();
    let secret = [7; 32];
    let vault = Vault::default();
    vault.0.lock().unwrap().secret = Some(secret);
    let sink = open(&store, &vault);
    let pipe = pipeline(&sink, Vec::new());
    let live = engine(&pipe);
    let publication = live.publish(attempt("canary-room")).await.unwrap();
    let session = publication.session().as_uuid();
    // The moment of the cut. Nothing need be in the vault yet.
    let disk = disk.power_cut(PowerCut::Synced);
    let after: SharedStore = Arc::new(disk.clone());
    drop((publication, live, pipe, sink));

    let vault = Vault::default();
    vault.0.lock().unwrap().secret = Some(secret);
    open(&after, &vault).close(PATIENCE).unwrap();
    let reader = Reader::open(Arc::clone(&after)).unwrap();
    let left_open = open_sessions_of_ledger(&reader).unwrap();
    let sessions: Vec<_> = left_open.iter().map(|open| open.session).collect();
    assert_eq!(sessions, [session]);
    assert!(left_open[0].principal.is_none() && left_open[0].peer.is_none());
    let sink = open(&after, &vault);
    let next = pipeline(&sink, left_open);
    live_for_a_moment(&next).await;
    assert!(next.close().await.durable);
    sink.close(PATIENCE).unwrap();

    let records = records(&after);
    assert_committed(&records, &vault);
    let of_session: Vec<_> = records
        .iter()
        .filter(|record| record.session == Some(session))
        .cloned()
        .collect();
    assert_eq!(labels(&of_session), ["publish_started", "publish_ended"]);
    assert!(of_session[1].inferred);
    let token = name_token(&secret, "canary-room");
    for record in &of_session {
        assert_eq!(record.stream.as_deref(), Some(&*token));
    }
    let opening = vault
        .kept()
        .into_values()
        .find(|one| one.session() == session);
    let name = opening.unwrap().get("stream").unwrap().expose().to_owned();
    assert_eq!(name, "canary-room");
    for entry in entries(&after) {
        let entry = String::from_utf8_lossy(&entry).into_owned();
        assert!(
            !entry.contains(CANARY) && !entry.contains("\"cam\""),
            "{entry}"
        );
    }
    assert_eq!(open_sessions_of_ledger(&reader).unwrap(), []);
    let paths = disk.paths().into_iter();
    let files = paths.map(|path| (path.clone(), after.read(&path).unwrap()));
    let mut options = Options::default();
    for (index, opening) in vault.kept() {
        let json = String::from_utf8(opening.to_json()).unwrap();
        let line = format!("{{\"index\":{index},\"opening\":{json}}}");
        options.openings.read("kept", line.as_bytes()).unwrap();
    }
    let report = verify(&Files(files.collect()), &options, &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let answers = &report.personal.answers;
    assert!(answers.len() > 1, "{report}");
    assert!(
        answers.iter().all(|one| one.answer == Answer::Shown),
        "{report}"
    );
}

#[tokio::test]
async fn an_operators_personal_name_is_in_the_opening_and_the_tokens_name_is_clear() {
    let store: SharedStore = Arc::new(MemStore::new());
    Ledger::create(&store, &identity()).unwrap();
    let vault = Vault::default();
    let sink = open(&store, &vault);
    let record = |name: &str| {
        AuditRecord::new(AuditAction::AdminSessionKicked, "live")
            .with_by("ops-token")
            .with_principal(name)
    };
    sink.write_batch(vec![record("Ada"), record("ops-token")])
        .await;
    sink.close(PATIENCE).unwrap();
    let records = records(&store);
    assert_committed(&records, &vault);
    assert!(
        records
            .iter()
            .all(|record| record.by.as_deref() == Some("ops-token"))
    );
    let kept = vault.kept();
    assert_eq!(kept.keys().collect::<Vec<_>>(), [&0]);
    assert_eq!(kept[&0].get("by").unwrap().expose(), "Ada");
    assert_eq!(digest_to_base64(&kept[&0].commitment()).len(), 44);
}

#[tokio::test]
async fn a_batch_larger_than_the_queue_is_appended_in_parts() {
    let store: SharedStore = Arc::new(MemStore::new());
    Ledger::create(&store, &identity()).unwrap();
    let vault = Vault::default();
    let mut options = livetrail_ledger::Options::default();
    options.queue_bytes = 256 << 10;
    let builder = Ledger::builder(Arc::clone(&store), identity()).options(options);
    let builder = builder.companions(vault.clone());
    let openings = Arc::new(vault.clone());
    let (sink, _) = LedgerSink::open_with(builder, SystemClock::new(), openings).unwrap();
    let batch: Vec<_> = (0..40)
        .map(|n| {
            AuditRecord::new(AuditAction::Event(format!("n{n}")), "live")
                .with_detail(CANARY.repeat(10_000))
        })
        .collect();
    tokio::time::timeout(PATIENCE, sink.write_batch(batch))
        .await
        .expect("it fits in parts");
    sink.close(PATIENCE).unwrap();
    let records = records(&store);
    assert_eq!(records.len(), 40);
    assert_committed(&records, &vault);
}

#[tokio::test]
async fn a_sealed_opening_that_is_too_long_costs_its_record_alone() {
    let store: SharedStore = Arc::new(MemStore::new());
    Ledger::create(&store, &identity()).unwrap();
    let vault = Vault::default();
    let sink = open(&store, &vault);
    let record = |n: u64| {
        let action = AuditAction::Event(format!("n{n}"));
        AuditRecord::new(action, "live").with_principal(CANARY)
    };
    sink.write(record(0)).await;
    vault.0.lock().unwrap().padding = MAX_COMPANION_BYTES;
    sink.write(record(1)).await;
    vault.0.lock().unwrap().padding = 0;
    sink.write(record(2)).await;
    assert_eq!(sink.unwritable(), 1);
    sink.close(PATIENCE).unwrap();
    let records = records(&store);
    assert_eq!(records.len(), 2);
    assert_committed(&records, &vault);
}

#[test]
fn a_ledger_without_a_store_of_companions_takes_no_openings() {
    let store: SharedStore = Arc::new(MemStore::new());
    Ledger::create(&store, &identity()).unwrap();
    let builder = Ledger::builder(store, identity());
    let openings = Arc::new(Vault::default());
    let refused = LedgerSink::open_with(builder, SystemClock::new(), openings).map(|_| ());
    assert!(
        matches!(refused, Err(LedgerError::NoCompanionStore)),
        "{refused:?}"
    );
}
