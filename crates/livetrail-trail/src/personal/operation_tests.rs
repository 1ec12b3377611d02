//! Erasures and holds with a log: what is on record, and in which order.

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord};
use livetrail_ledger::{Identity, Ledger};
use livetrail_record::{EntryContext, Uuid, Value, encode_entry, parse_canonical};
use livetrail_vault::{NewRow, RowKind, Selection};

use super::{approved::Retries, erase::Operation, *};
use crate::{Trail, TrailView};

const ALICE: &str = "alice-canary";

fn session(number: u128) -> SessionId {
    number.to_be_bytes()
}

/// A trail in memory, and its pipeline.
fn trail() -> (Trail, Arc<AuditPipeline>) {
    let mut settings = Settings::new("unused");
    settings.ledger.checkpoint_interval = Duration::from_millis(2);
    let store: SharedStore = Arc::new(MemStore::new());
    let identity =
        Identity::from_seeds("example.com/test", &[1; 32].into(), &[2; 32].into()).unwrap();
    Ledger::create(&store, &identity).unwrap();
    let mut trail = Trail::open_in(store, identity, settings).unwrap();
    let pipeline = trail.pipeline().heartbeat(Duration::ZERO).build().unwrap();
    (trail, Arc::new(pipeline))
}

/// Puts openings of sessions of a principal into the vault. Session 9 has a part of its own.
fn insert(view: &TrailView, principal: &str, numbers: &[u128]) {
    let part = |number: &u128| number + 1_000;
    let rows = numbers.iter().flat_map(|number| {
        let row = NewRow {
            session: session(*number),
            kind: RowKind::Session,
            app: "live",
            time_ms: 1_000 + u64::try_from(*number).unwrap(),
            principal: Some(principal),
            peer: None,
            user_agent: None,
            stream: Some("cam"),
            owner: None,
            opening: b"{}",
        };
        let part = NewRow {
            session: session(part(number)),
            principal: None,
            owner: Some(session(*number)),
            ..row
        };
        [Some(row), (*number == 9).then_some(part)]
    });
    let rows: Vec<NewRow<'_>> = rows.flatten().collect();
    view.personal().with(|vault| vault.insert(&rows)).unwrap();
}

fn present(view: &TrailView, numbers: impl IntoIterator<Item = u128>) -> Vec<u128> {
    let is_there = |number: &u128| {
        let row = view.personal().with(|vault| vault.get(&session(*number)));
        row.unwrap().is_some()
    };
    numbers.into_iter().filter(is_there).collect()
}

/// What operators did, in the order of the log. No entry has the name.
fn on_record(view: &TrailView) -> Vec<AuditRecord> {
    let size = view.reader.checkpoint().unwrap().head().size;
    let entries = view.reader.entries(0..size).unwrap();
    let records = entries.map(|entry| {
        let entry = entry.unwrap();
        assert!(!String::from_utf8_lossy(&entry).contains(ALICE));
        parse_canonical(&entry).unwrap()
    });
    records.filter(|record| record.action.is_admin()).collect()
}

fn labels(records: &[AuditRecord]) -> Vec<&str> {
    records.iter().map(|record| record.action.label()).collect()
}

fn listed(record: &AuditRecord) -> Vec<u128> {
    let sessions = replay::erased_sessions(record);
    sessions.into_iter().map(u128::from_be_bytes).collect()
}

fn text<'a>(record: &'a AuditRecord, name: &str) -> Option<&'a str> {
    match record.extra.get(name) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn of_alice(id: &str) -> ErasureRequest {
    ErasureRequest::new(id, "art17", "local:0", Whose::Principal(ALICE.into())).unwrap()
}

#[tokio::test]
async fn an_erasure_is_on_record_with_all_its_parts_and_completed_and_names_nobody() {
    let (trail, pipeline) = trail();
    let view = trail.view();
    insert(&view, ALICE, &[1, 9]);
    insert(&view, "bob", &[2]);
    let report = erase(&pipeline, &view, &of_alice("17")).await.unwrap();
    assert_eq!((report.held, report.completed), (0, true));
    assert_eq!(present(&view, [1, 2, 9, 1_009]), [2]);
    let records = on_record(&view);
    assert_eq!(
        labels(&records),
        ["admin_erased", "admin_erasure_completed"]
    );
    let mut sessions = listed(&records[0]);
    sessions.sort_unstable();
    assert_eq!(sessions, [1, 9, 1_009]);
    for record in &records {
        assert_eq!(text(record, "request"), Some("17"));
        assert_eq!(text(record, "basis"), Some("art17"));
        assert_eq!(text(record, "scope"), Some("openings"));
        assert_eq!(record.by.as_deref(), Some("local:0"));
    }
    // It may be repeated.
    let again = erase(&pipeline, &view, &of_alice("17")).await.unwrap();
    assert_eq!((again.erased, again.completed), (0, true));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_erased_and_a_dry_run_changes_nothing() {
    let (trail, pipeline) = trail();
    let view = trail.view();
    insert(&view, ALICE, &[1, 9]);
    let selection = of_alice("17").selection();
    let found = view.personal().with(|vault| vault.dry_run(&selection));
    assert_eq!(found.unwrap().erased, 2);
    assert_eq!(present(&view, [1, 9, 1_009]), [1, 9, 1_009]);
    let operation = Operation {
        pipeline: &pipeline,
        view: &view,
    };
    operation.settle().await.unwrap();
    assert_eq!(labels(&on_record(&view)), Vec::<&str>::new());
    pipeline.close().await;
    assert!(erase(&pipeline, &view, &of_alice("17")).await.is_err());
    assert_eq!(present(&view, [1, 9, 1_009]), [1, 9, 1_009]);
}

#[tokio::test]
async fn a_hold_beats_an_erasure_and_lifting_it_runs_the_erasure() {
    let (trail, pipeline) = trail();
    let view = trail.view();
    insert(&view, ALICE, &[1, 9]);
    let on = HoldOn::Principal(ALICE.to_owned());
    let held = hold(&pipeline, &view, "case-17", &on, "local:0").await;
    assert_eq!(held.unwrap().sessions, 2);
    let report = erase(&pipeline, &view, &of_alice("17")).await.unwrap();
    assert_eq!(
        (report.erased, report.held, report.completed),
        (0, 2, false)
    );
    assert_eq!(report.holds, ["case-17"]);
    let refused = erase(&pipeline, &view, &of_alice("17")).await.unwrap_err();
    assert!(
        refused.to_string().contains("waits for a hold"),
        "{refused}"
    );
    // A later session of the same person is covered, and is put on record.
    insert(&view, ALICE, &[3]);
    let operation = Operation {
        pipeline: &pipeline,
        view: &view,
    };
    operation.list_later().await.unwrap();
    operation.list_later().await.unwrap();
    assert_eq!(present(&view, [1, 3, 9, 1_009]), [1, 3, 9, 1_009]);
    let lifted = lift(&pipeline, &view, "case-17", "local:0").await.unwrap();
    assert_eq!((lifted.len(), lifted[0].completed), (1, true));
    // The request does not erase what came after it.
    assert_eq!(present(&view, [1, 3, 9, 1_009]), [3]);
    let records = on_record(&view);
    let wanted = [
        "admin_held",
        "admin_erasure_waits",
        "admin_held",
        "admin_held",
        "admin_erased",
        "admin_erasure_completed",
    ];
    assert_eq!(labels(&records), wanted);
    assert_eq!(
        (listed(&records[0]), listed(&records[2])),
        (vec![1, 9], vec![3])
    );
    assert_eq!(text(&records[0], "scope"), Some("principal"));
    assert_eq!(text(&records[1], "hold"), Some("case-17"));
    assert_eq!(records[3].extra.get("lifted"), Some(&Value::Bool(true)));
    assert_eq!(text(&records[4], "request"), Some("17"));
    let cursors = view.reader.cursors().unwrap();
    assert!(cursors.is_empty(), "{cursors:?}");
    let unknown = lift(&pipeline, &view, "case-17", "local:0").await;
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("there is no hold")
    );
}

#[tokio::test]
async fn a_hold_keeps_the_entries_from_its_first_session_on() {
    let (trail, pipeline) = trail();
    let view = trail.view();
    for (number, stream) in [(1, "other"), (2, "cam"), (3, "cam")] {
        let record = AuditRecord::new(AuditAction::PublishStarted, "live")
            .with_session(Uuid::from_u128(number))
            .with_stream(stream);
        pipeline.record(record).unwrap();
    }
    let stream = HoldOn::Stream {
        app: "live".to_owned(),
        name: "cam".to_owned(),
    };
    let by_stream = hold(&pipeline, &view, "a", &stream, "local:0").await;
    let session = HoldOn::Sessions(vec![session(3)]);
    let by_session = hold(&pipeline, &view, "b", &session, "local:0").await;
    let (a, b) = (by_stream.unwrap().from, by_session.unwrap().from);
    assert_eq!(b, a + 1);
    let entry = parse_canonical(&view.reader.entry(a).unwrap()).unwrap();
    assert_eq!(entry.session, Some(Uuid::from_u128(2)));
    let records = on_record(&view);
    assert_eq!(records[0].stream.as_deref(), Some("cam"));
    assert_eq!(text(&records[0], "scope"), Some("stream"));
    let taken = hold(&pipeline, &view, "a", &session, "local:0").await;
    assert!(taken.unwrap_err().to_string().contains("is taken"));
    assert_eq!(view.reader.cursors().unwrap().len(), 2);
}

#[tokio::test]
async fn an_erasure_is_complete_when_the_sinks_have_passed_it_also_after_a_restart() {
    let (trail, pipeline) = trail();
    let view = trail.view();
    let operation = Operation {
        pipeline: &pipeline,
        view: &view,
    };
    let note = r#"{"request":"17","basis":"art17","by":"local:0","below":40}"#;
    let lost = r#"{"request":"18","basis":"art17","by":"local:0","below":null}"#;
    view.personal()
        .with(|vault| {
            vault.set_note("erasure 17", Some(note))?;
            vault.set_note("erasure 18", Some(lost))
        })
        .unwrap();
    assert!(operation.complete(39).await.unwrap().is_empty());
    assert_eq!(operation.complete(40).await.unwrap(), ["17"]);
    // The process ended after the vault had run a request that waited.
    operation.recover().await.unwrap();
    assert_eq!(operation.complete(u64::MAX).await.unwrap(), ["18"]);
    assert_eq!(labels(&on_record(&view)), ["admin_erasure_completed"; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_with_all_approvals_is_repeated_until_it_is_done_also_by_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(data.path());
    settings.ledger.checkpoint_interval = Duration::from_millis(2);
    crate::create(&settings).unwrap();
    let open = || {
        let mut trail = Trail::open(&settings).unwrap();
        let pipeline = trail.pipeline().heartbeat(Duration::ZERO).build().unwrap();
        (trail, Arc::new(pipeline))
    };
    let (trail, pipeline) = open();
    let view = trail.view();
    insert(&view, ALICE, &[1]);
    let mut approval = Approval::new(of_alice("17"), 1_000);
    approval.is_ready = true;
    view.personal().keep_approval(&approval).unwrap();
    // Nothing can be recorded any more.
    pipeline.close().await;
    let operation = Operation {
        pipeline: &pipeline,
        view: &view,
    };
    let mut retries = Retries::begin(view.personal()).await;
    retries.step(operation).await;
    assert_eq!(view.personal().repeated_erasures(), ["17"]);
    assert_eq!(present(&view, [1]), [1]);
    drop(view);
    trail.shutdown(&pipeline, Duration::from_secs(10)).await;

    let (trail, pipeline) = open();
    let view = trail.view();
    let operation = Operation {
        pipeline: &pipeline,
        view: &view,
    };
    let mut retries = Retries::begin(view.personal()).await;
    retries.step(operation).await;
    assert_eq!(present(&view, [1]), Vec::<u128>::new());
    assert!(view.personal().repeated_erasures().is_empty());
    assert!(view.personal().approvals().is_empty());
    assert_eq!(
        labels(&on_record(&view)),
        ["admin_erased", "admin_erasure_completed"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_asks_the_server_that_has_the_vault_and_no_file_has_the_name() {
    let data = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(data.path());
    settings.ledger.checkpoint_interval = Duration::from_millis(2);
    crate::create(&settings).unwrap();
    let mut trail = Trail::open(&settings).unwrap();
    let pipeline = Arc::new(trail.pipeline().heartbeat(Duration::ZERO).build().unwrap());
    trail.keep(&pipeline).unwrap();
    let view = trail.view();
    insert(&view, ALICE, &[1]);
    let directory = view.personal().directory().unwrap();
    let ask = async |asked: Asked| {
        let settings = settings.clone();
        let asking = tokio::task::spawn_blocking(move || asked.ask_server(&settings));
        asking.await.unwrap().unwrap()
    };
    let held = Asked::Hold {
        name: "case-17".to_owned(),
        on: HoldOn::Principal(ALICE.to_owned()),
        by: "local:0".to_owned(),
    };
    let Answered::Held(report) = ask(held).await else {
        panic!("a hold");
    };
    assert_eq!(report.sessions, 1);
    let Answered::Erased(report) = ask(Asked::Erase(of_alice("17"))).await else {
        panic!("an erasure");
    };
    assert_eq!(report.held, 1);
    assert!(matches!(
        ask(Asked::Erase(of_alice("17"))).await,
        Answered::Refused(_)
    ));
    let lift = Asked::Lift {
        name: "case-17".to_owned(),
        by: "local:0".to_owned(),
    };
    assert!(matches!(ask(lift).await, Answered::Lifted(reports) if reports.len() == 1));
    assert_eq!(present(&view, [1]), Vec::<u128>::new());
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        let has = |bytes: &[u8]| bytes.windows(ALICE.len()).any(|at| at == ALICE.as_bytes());
        assert!(!has(&bytes), "{}", path.display());
        let end = path.extension().and_then(|end| end.to_str());
        assert!(!matches!(end, Some("request" | "running" | "answer")));
    }
    trail.shutdown(&pipeline, Duration::from_secs(10)).await;
    let records = on_record(&view);
    assert_eq!(
        records
            .iter()
            .filter(|r| r.action == AuditAction::AdminHeld)
            .count(),
        2
    );
}

#[test]
fn a_record_shows_its_fields_only_if_its_entry_commits_to_them() {
    let (personal, _) =
        Personal::in_memory(&Settings::new("unused"), Arc::new(SystemClock::new())).unwrap();
    let of = |action, detail: Option<&str>| {
        let mut record = AuditRecord::new(action, "live")
            .with_boot(Uuid::from_u128(1))
            .with_seq(4)
            .with_session(Uuid::from_u128(7))
            .with_principal(ALICE)
            .with_user_agent("VLC");
        record.detail = detail.map(Into::into);
        encode_entry(&record, &EntryContext::new([9; 16])).unwrap()
    };
    let (first, later) = (
        of(AuditAction::PlayStarted, None),
        of(AuditAction::PlayEnded, Some("text")),
    );
    let read = |entry: &livetrail_record::Entry| parse_canonical(&entry.bytes).unwrap();
    let (before, after) = (read(&first), read(&later));
    let shown = |record: &AuditRecord| {
        let mut record = record.clone();
        let shown = personal.with(|vault| fill_in(vault, &mut record)).unwrap();
        (shown, record)
    };
    assert_eq!(shown(&before).0, Shown::Missing);
    let rows = [(&first, None), (&later, Some(session(7)))];
    for (entry, owner) in rows {
        let opening = entry.opening.as_ref().unwrap();
        let json = opening.to_json();
        let row = NewRow {
            session: *opening.session().as_bytes(),
            kind: RowKind::Session,
            app: "live",
            time_ms: 1,
            principal: None,
            peer: None,
            user_agent: None,
            stream: None,
            owner,
            opening: &json,
        };
        personal.with(|vault| vault.insert(&[row])).unwrap();
    }
    for (record, detail) in [(&before, None), (&after, Some("text"))] {
        let (how, record) = shown(record);
        assert_eq!(how, Shown::Filled);
        assert_eq!(
            record.principal.as_ref().map(|name| name.expose()),
            Some(ALICE)
        );
        assert_eq!(record.detail.as_ref().map(|text| text.expose()), detail);
    }
    // Another commitment: what the vault has is not what the entry says.
    let mut forged = before.clone();
    let other = livetrail_record::digest_to_base64(&[1; 32]);
    forged.extra.insert("personal", Value::Text(other)).unwrap();
    assert_eq!(shown(&forged).0, Shown::Missing);
    let request = Request {
        id: "r".to_owned(),
        selection: Selection::Sessions(vec![session(7)]),
    };
    personal.erase(&request, &mut |_| Ok(())).unwrap();
    for record in [&before, &after] {
        let (how, record) = shown(record);
        assert_eq!((how, record.principal), (Shown::Erased, None));
    }
    let mut old = before;
    old.principal = Some(ALICE.into());
    hide(&mut old);
    assert_eq!(old.principal, None);
}
