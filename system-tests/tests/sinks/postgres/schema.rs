//! The schema's rights and views: nobody changes anything, queries have their views, entries stay
//! exact.

use std::sync::Arc;
use std::time::Duration;

use livetrail_ledger::{Class, Identity, Ledger, MemStore, Reader, SharedStore};
use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Reason, Uuid, Value, digest_to_base64,
    encode_canonical, encode_entry,
};
use livetrail_replica::conformance::{Erasing as _, Place as _, TestLog};
use livetrail_replica::{Erasure, ErrorClass, Gap, ReplicaError, ReplicaSink as _, SealedRange};
use livetrail_sinks::SinksError;
use livetrail_sinks::postgres::{PostgresTarget, SCHEMA_VERSION, set_up};
use livetrail_tlog::leaf_hash;
use system_tests::Postgres;

use super::{Table, sink};

const ORIGIN: &str = "example.com/a";

/// The migrations up to version 2, which has no column for a field of schema 2.
const OLDER: [&str; 2] = [
    include_str!("../../../../crates/livetrail-sinks/src/postgres/sql/001.sql"),
    include_str!("../../../../crates/livetrail-sinks/src/postgres/sql/002.sql"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_changes_or_removes_anything() {
    let table = Table::fresh().await;
    let log = TestLog::with(ORIGIN, 600);
    table
        .direct()
        .append(&log.range(0, 600))
        .await
        .expect("appended");
    let tables = [
        ("records", "app = 'x'"),
        ("commits", "gap = 'x'"),
        ("checkpoints", "size = 9"),
        ("logs", "origin = 'x'"),
    ];
    for (name, set) in tables {
        for change in [
            format!("UPDATE livetrail.{name} SET {set}"),
            format!("DELETE FROM livetrail.{name}"),
            format!("TRUNCATE livetrail.{name} CASCADE"),
        ] {
            let error = table.server.try_sql("trail", &change).unwrap_err();
            assert!(error.contains("permission denied"), "{change}: {error}");
            // The owner has all privileges, and is kept by the triggers.
            let error = table.server.try_sql("postgres", &change).unwrap_err();
            assert!(error.contains("is append-only"), "{change}: {error}");
            let around = format!("SET session_replication_role = replica; {change}");
            let error = table.server.try_sql("postgres", &around).unwrap_err();
            assert!(error.contains("is append-only"), "{around}: {error}");
        }
    }
    let partition = "SELECT tableoid::regclass FROM livetrail.records LIMIT 1";
    let partition = table.server.sql(partition);
    assert!(partition.starts_with("livetrail.records_20"), "{partition}");
    for change in [
        format!("DELETE FROM {partition}"),
        format!("UPDATE {partition} SET entry = ''"),
        format!("TRUNCATE {partition}"),
    ] {
        let error = table.server.try_sql("postgres", &change).unwrap_err();
        assert!(error.contains("is append-only"), "{change}: {error}");
        let error = table.server.try_sql("trail", &change).unwrap_err();
        assert!(error.contains("permission denied"), "{change}: {error}");
    }
    let error = table
        .server
        .try_sql("trail", "CREATE TABLE livetrail.mine (x int)")
        .unwrap_err();
    assert!(error.contains("permission denied"), "{error}");
    assert_eq!(
        table.server.sql("SELECT count(*) FROM livetrail.records"),
        "600"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_up_twice_changes_nothing_and_a_newer_schema_is_not_touched() {
    let server = Postgres::start();
    let target = PostgresTarget::parse(&server.url()).unwrap();
    let first = set_up(&target).await.unwrap();
    assert_eq!((first.from, first.to), (0, SCHEMA_VERSION));
    let second = set_up(&target).await.unwrap();
    assert_eq!((second.from, second.to), (SCHEMA_VERSION, SCHEMA_VERSION));
    server.sql("INSERT INTO livetrail.schema_version (version) VALUES (99)");
    let newer = set_up(&target).await.unwrap_err();
    assert!(
        matches!(newer, SinksError::NewerSchema { found: 99, .. }),
        "{newer}"
    );
    let writer = sink(&server.url()).health().await.unwrap_err();
    assert!(
        matches!(writer, ReplicaError::Unsuitable { .. }),
        "{writer}"
    );
}

/// A server of the newest version writes to the older schema, and to the new columns once an
/// administrator has made them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_takes_records_of_schema_2_and_gets_their_columns_by_a_set_up() {
    let server = Postgres::start();
    for role in ["livetrail_writer", "livetrail_reader"] {
        server.sql(&format!("CREATE ROLE {role} NOLOGIN"));
    }
    for (version, migration) in (1..).zip(OLDER) {
        server.sql(migration);
        server.sql(&format!(
            "INSERT INTO livetrail.schema_version (version) VALUES ({version})"
        ));
    }
    server.sql("SELECT livetrail.ensure_partition('2023-11-15')");
    server.sql("CREATE ROLE trail LOGIN IN ROLE livetrail_writer");
    let entry = |session| {
        let record = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_ts_ms(1_700_000_000_000)
            .with_session(Uuid::from_u128(session))
            .with_principal("alice")
            .with_extra("via", Value::Text("front".to_owned()))
            .unwrap();
        encode_entry(&record, &EntryContext::new([9; 16])).unwrap()
    };
    let entries = [entry(1), entry(2)];
    let ranges = sealed_in_steps(&entries.each_ref().map(|entry| entry.bytes.clone()));
    let writer = || sink(&server.url_of("trail"));
    writer().append(&ranges[0]).await.unwrap();
    let error = writer().keeping_openings().health().await.unwrap_err();
    assert!(error.to_string().contains("sinks init postgres"), "{error}");
    let target = PostgresTarget::parse(&server.url()).unwrap();
    let done = set_up(&target).await.unwrap();
    assert_eq!((done.from, done.to), (2, SCHEMA_VERSION));
    writer().append(&ranges[1]).await.unwrap();
    let columns = "SELECT index, via, encode(personal, 'base64'), principal IS NULL FROM livetrail.records ORDER BY index";
    let personal = entries[1].opening.as_ref().unwrap().commitment();
    let personal = digest_to_base64(&personal);
    assert_eq!(server.sql(columns), format!("0|||t\n1|front|{personal}|t"));
    let exact =
        "SELECT convert_from(entry, 'UTF8')::json ->> 'via' FROM livetrail.records WHERE index = 0";
    assert_eq!(server.sql(exact), "front");
    let told = server.try_sql("postgres", "UPDATE livetrail.records SET via = 'x'");
    assert!(told.unwrap_err().contains("is append-only"));
}

/// Names are in the views as long as there are openings. A writer without the eraser's role cannot
/// read or write any, and nobody but the eraser can remove one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_show_names_until_they_are_erased() {
    let table = Table::fresh().await;
    let log = TestLog::new(ORIGIN);
    let sessions = log.add_sessions(2);
    let named = table.opening_sink().await;
    named.append(&log.range(0, 2)).await.unwrap();
    let names =
        "SELECT principal, peer, user_agent, stream_name FROM livetrail.sessions ORDER BY session";
    let of = |index| {
        format!(
            "viewer-{index}|192.0.2.7:{}|a \"player\"|cam",
            10_000 + index
        )
    };
    assert_eq!(table.server.sql(names), format!("{}\n{}", of(0), of(1)));
    let proven = "SELECT convert_from(opening, 'UTF8')::json ->> 'principal' FROM livetrail.openings ORDER BY index";
    assert_eq!(table.server.sql(proven), "viewer-0\nviewer-1");
    for change in [
        "SELECT principal FROM livetrail.openings",
        "DELETE FROM livetrail.openings",
        "INSERT INTO livetrail.erased (log_id, session) SELECT 1, gen_random_uuid()",
    ] {
        let error = table.server.try_sql("trail", change).unwrap_err();
        assert!(error.contains("permission denied"), "{change}: {error}");
    }
    let change = "UPDATE livetrail.openings SET principal = 'x'";
    let error = table.server.try_sql("names", change).unwrap_err();
    assert!(error.contains("permission denied"), "{error}");
    let unable = sink(&table.server.url_of("trail")).keeping_openings();
    let error = unable.health().await.unwrap_err();
    assert!(error.to_string().contains("livetrail_eraser"), "{error}");

    let erasure = Erasure::new(ORIGIN, 0..2, sessions[..1].to_vec());
    named.erase(&erasure).await.unwrap();
    assert_eq!(table.server.sql(names), format!("|||cam\n{}", of(1)));
    let left = "SELECT count(*), count(personal) FROM livetrail.records";
    assert_eq!(table.server.sql(left), "2|2", "the entries stay");
}

/// A server's error can repeat a row: in its message, its detail, its hint and its context. What a
/// sink reports has the SQLSTATE and the names of the schema's objects, and no value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_repeats_no_value_of_a_row() {
    let table = Table::fresh().await;
    let log = TestLog::new(ORIGIN);
    log.add_sessions(2);
    let named = table.opening_sink().await;
    let raises = |table: &str| {
        format!(
            "CREATE FUNCTION leak_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'bad row: %', NEW USING DETAIL = NEW::text, HINT = NEW::text; END $$; \
             CREATE TRIGGER leak BEFORE INSERT ON livetrail.{table} FOR EACH ROW EXECUTE FUNCTION leak_{table}()"
        )
    };
    let undo = |table: &str| format!("DROP TRIGGER leak ON livetrail.{table}");
    let check = "ALTER TABLE livetrail.openings ADD CONSTRAINT no_viewer CHECK (principal NOT LIKE 'viewer%')";
    let name = ["viewer-0", "192.0.2.7", "a \"player\""];
    let record = ["play_started"];
    for (make, end, code, values) in [
        (
            check.to_owned(),
            "ALTER TABLE livetrail.openings DROP CONSTRAINT no_viewer".to_owned(),
            "23514",
            &name[..],
        ),
        (raises("openings"), undo("openings"), "P0001", &name[..]),
        (raises("records"), undo("records"), "P0001", &record[..]),
    ] {
        table.server.sql(&make);
        let error = named.append(&log.range(0, 2)).await.unwrap_err();
        table.server.sql(&end);
        assert_eq!(error.class(), ErrorClass::Permanent);
        let mut said = format!("{error} {error:?}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            said += &format!(" {error} {error:?}");
            cause = error.source();
        }
        assert!(said.contains(code), "{said}");
        for value in values {
            assert!(!said.contains(value), "{value}: {said}");
        }
    }
    named.append(&log.range(0, 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_for_a_person_are_distinguished_from_those_that_may_pass() {
    let server = Postgres::start();
    let health = |url: String| async move { sink(&url).health().await.unwrap_err() };
    let unset = health(server.url()).await;
    assert!(
        matches!(unset, ReplicaError::Unsuitable { .. }),
        "{unset:?}"
    );
    assert!(
        unset
            .to_string()
            .contains("livetrail trail sinks init postgres")
    );
    let nobody = health(server.url_of("nobody")).await;
    assert!(matches!(nobody, ReplicaError::Denied { .. }), "{nobody:?}");
    let target = PostgresTarget::parse(&server.url()).unwrap();
    set_up(&target).await.unwrap();
    server.sql("CREATE ROLE reader LOGIN IN ROLE livetrail_reader");
    let reader = health(server.url_of("reader")).await;
    assert!(matches!(reader, ReplicaError::Denied { .. }), "{reader:?}");
    let elsewhere = format!("postgres://postgres@{}/elsewhere", server.address());
    let elsewhere = health(elsewhere).await;
    assert!(
        matches!(elsewhere, ReplicaError::Unsuitable { .. }),
        "{elsewhere:?}"
    );
    server.kill();
    let down = health(server.url()).await;
    assert_eq!(down.class(), ErrorClass::Passing, "{down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_on_record_and_the_cursor_goes_on_behind_it() {
    let table = Table::fresh().await;
    let log = TestLog::with(ORIGIN, 600);
    let sink = table.direct();
    sink.append(&log.range(0, 256)).await.unwrap();
    let gap = Gap::new(ORIGIN, 256..512, "pruned");
    sink.skip(&gap).await.unwrap();
    let again = sink.skip(&gap).await.unwrap_err();
    assert!(
        matches!(again, ReplicaError::CursorMoved { found: 512, .. }),
        "{again}"
    );
    sink.append(&log.range(512, 88)).await.unwrap();
    let losses = "SELECT index, action, count, detail FROM livetrail.losses";
    assert_eq!(table.server.sql(losses), "256|not_replicated|256|pruned");
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_of_a_compliance_officer_have_their_views() {
    let table = Table::fresh().await;
    let log = TestLog::with(ORIGIN, 400);
    table.direct().append(&log.range(0, 400)).await.unwrap();
    let sql = |sql: &str| table.server.sql(sql);
    assert_eq!(
        sql(
            "SELECT kind, app, extract(epoch FROM duration), reason, denied FROM livetrail.sessions WHERE session = '00000000-0000-0000-0000-000000000001'"
        ),
        "publish|live|0.750000|client_closed|f"
    );
    assert_eq!(
        sql("SELECT count(*), min(reason) FROM livetrail.refusals"),
        "100|unauthorized"
    );
    assert_eq!(
        sql("SELECT sum(refused), sum(viewers) FROM livetrail.viewers_per_stream"),
        "100|0"
    );
    assert_eq!(
        sql("SELECT origin, next_index, covered_by FROM livetrail.cursors"),
        format!("{ORIGIN}|400|400")
    );
    // The most frequent queries use an index, and do not read the whole table.
    let plan = sql(
        "SET enable_seqscan = off; EXPLAIN SELECT * FROM livetrail.records WHERE session = '00000000-0000-0000-0000-000000000001'",
    );
    assert!(plan.contains("session"), "{plan}");
    table
        .server
        .sql("CREATE ROLE auditor LOGIN IN ROLE livetrail_reader");
    let seen = table
        .server
        .try_sql("auditor", "SELECT count(*) FROM livetrail.sessions");
    assert_eq!(seen.unwrap(), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_count_attempts_where_one_record_stands_for_many() {
    let table = Table::fresh().await;
    let of = |action, session, count| {
        let mut record = AuditRecord::new(action, "live")
            .with_ts_ms(1_700_000_000_000)
            .with_session(Uuid::from_u128(session));
        record.stream = Some("cam".into());
        record.count = count;
        encode_canonical(&record).unwrap()
    };
    let entries = [
        of(AuditAction::PlayDenied, 1, None),
        of(AuditAction::PlayDenied, 2, Some(7)),
        of(AuditAction::PublishDenied, 3, Some(5)),
        of(AuditAction::PlayStarted, 4, None),
    ];
    table.direct().append(&sealed(&entries)).await.unwrap();
    let sql = |sql: &str| table.server.sql(sql);
    assert_eq!(
        sql("SELECT action, sum(attempts) FROM livetrail.refusals GROUP BY action ORDER BY action"),
        "play_denied|8\npublish_denied|5"
    );
    assert_eq!(
        sql("SELECT stream, viewers, watching, refused FROM livetrail.viewers_per_stream"),
        "cam|1|1|8"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_no_column_can_hold_are_there_byte_for_byte() {
    let table = Table::fresh().await;
    let mut odd = AuditRecord::new(AuditAction::Event("l\0abel".to_owned()), "live")
        .with_ts_ms((1 << 53) - 1)
        .with_reason(Reason::Kicked)
        .with_session(Uuid::from_u128(5));
    odd.user_agent = Some("a\0b".into());
    odd.bytes = Some((1 << 53) - 1);
    let entries = vec![
        encode_canonical(&odd).unwrap(),
        b"no record at all \xff\0".to_vec(),
        Vec::new(),
        vec![0xaa; 65_535],
    ];
    let range = sealed(&entries);
    table.direct().append(&range).await.unwrap();
    let held = table.held(ORIGIN).await;
    let held: Vec<_> = held.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(held, entries);
    let columns = "SELECT label = E'l\\ufffdabel', user_agent = E'a\\ufffdb', extract(year FROM ts), bytes FROM livetrail.records WHERE index = 0";
    assert_eq!(table.server.sql(columns), "t|t|287396|9007199254740991");
    assert_eq!(
        table
            .server
            .sql("SELECT count(*) FROM livetrail.records_other"),
        "4"
    );
}

/// A ledger of these entries, as one range.
fn sealed(entries: &[Vec<u8>]) -> SealedRange {
    range(entries, 0..entries.len())
}

/// The same ledger's entries, each as a range of its own.
fn sealed_in_steps(entries: &[Vec<u8>]) -> Vec<SealedRange> {
    let all = 0..entries.len();
    all.map(|at| range(entries, at..at + 1)).collect()
}

fn range(entries: &[Vec<u8>], of: std::ops::Range<usize>) -> SealedRange {
    let store: SharedStore = Arc::new(MemStore::new());
    let identity = Identity::from_seeds(ORIGIN, &[1; 32].into(), &[2; 32].into()).unwrap();
    Ledger::create(&store, &identity).unwrap();
    let (ledger, _) = Ledger::builder(store.clone(), identity).open().unwrap();
    let appended = ledger.append(Class::Strict, entries).unwrap();
    ledger
        .wait_durable(appended.next, Duration::from_secs(20))
        .unwrap();
    ledger.close().unwrap();
    let checkpoint = Reader::open(store).unwrap().checkpoint().unwrap();
    let first = of.start as u64;
    let entries = &entries[of];
    let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let entries = entries.iter().cloned().map(Into::into).collect();
    SealedRange::new(first, entries, leaves, Arc::new(checkpoint)).unwrap()
}
