//! How long `livetrail trail query --fleet --postgres` takes for one stream and one hour of a month
//! of three servers: `cargo run -p system-tests --example fleet_query [RECORDS [ROUNDS]]`.
//!
//! The rows are made in the database, in the sink's schema: records of viewers, two for each
//! session, with everything that the entries of a server have. Each log has a checkpoint that its
//! key has signed, as the command verifies it; the tree below it is not made. At the end it prints
//! how the database has read the records. A million rows take 0.7 GB in the folder for temporary
//! files.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::process::Command;
use std::time::Duration;

use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Outcome, Reason, Uuid, encode_entry,
};
use livetrail_sinks::postgres::{PostgresTarget, set_up};
use livetrail_tlog::{Checkpoint, Ed25519Signer, KeyName, Note, TreeHead, leaf_hash};
use system_tests::clock::Stopwatch;
use system_tests::{CommandLine, Postgres, livetrail, run};

const USAGE: &str = "\
How long a query of one stream and one hour takes in the database of three servers.

Usage: fleet_query [RECORDS [ROUNDS]]

  RECORDS     of all three in the month [default: 30000000]
  ROUNDS      of the query [default: 21]
  -h, --help  Print this";

const PATIENCE: Duration = Duration::from_secs(3_600);

const NODES: [&str; 3] = [
    "example.com/edge-1",
    "example.com/edge-2",
    "example.com/origin",
];

/// 2026-10-01, the beginning of the month.
const MONTH_MS: u64 = 1_790_812_800_000;

const DAYS: u64 = 30;

/// Values that the statement replaces in an entry.
const SESSION: Uuid = Uuid::from_u128(0x0199_a7b2_5c1e_7000_8000_00c0_4fd4_30c8);
const TS_MS: u64 = 1_234_567_890_123;
const SEQ: u64 = 987_654_321;
const STREAM: &str = "the-stream";

fn main() {
    let mut given = CommandLine::of_process(USAGE);
    let mut number = |of, or| {
        let text = given.take();
        text.map_or(or, |text| given.number(of, &text, 1))
    };
    let (records, rounds) = (number("RECORDS", 30_000_000), number("ROUNDS", 21));
    given.end();
    let settings = [
        "shared_buffers=512MB",
        "maintenance_work_mem=512MB",
        "fsync=off",
        "full_page_writes=off",
        "max_wal_size=2GB",
        "autovacuum=off",
    ];
    let server = Postgres::start_with(|_| settings.map(str::to_owned).into());
    let target = PostgresTarget::parse(&server.url()).expect("an address");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(set_up(&target)).expect("the schema");
    let stopwatch = Stopwatch::start();
    let keys = fill(&server, records / NODES.len() as u64);
    println!(
        "{records} records in {:.0} s",
        stopwatch.elapsed().as_secs_f64()
    );
    println!(
        "database: {}",
        server.sql("SELECT pg_size_pretty(pg_database_size('postgres'))")
    );
    server.sql("CREATE ROLE auditor LOGIN IN ROLE livetrail_reader");

    let mut command = Command::new(livetrail());
    command.args([
        "trail",
        "query",
        "--fleet",
        "--postgres",
        &server.url_of("auditor"),
    ]);
    command.args(keys.iter().flat_map(|key| ["--vkey", key]));
    command.args([
        "--as-of",
        "2026-10-31",
        "--stream",
        "cam",
        "--format",
        "json",
    ]);
    command.args([
        "--since",
        "2026-10-16T12:00:00Z",
        "--until",
        "2026-10-16T13:00:00Z",
    ]);
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..rounds {
        let stopwatch = Stopwatch::start();
        let finished = run("the query", &command, PATIENCE).success();
        times.push(stopwatch.elapsed().as_millis());
        found = finished.stdout.lines().count();
    }
    let first = times.first().copied().unwrap_or_default();
    times.sort_unstable();
    println!(
        "{found} records of one stream and one hour: first {first} ms, median {} ms, longest {} ms",
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default(),
    );
    explain(&server, &command);
}

/// Prints how the database reads records for the command: by an index, if that is as it should be.
fn explain(server: &Postgres, command: &Command) {
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = '0'",
    ] {
        server.sql(&format!("ALTER ROLE auditor SET {setting}"));
    }
    run("the query", command, PATIENCE).success();
    let log = server.log();
    let scans = log.lines().map(str::trim);
    let scans = scans.filter(|line| line.contains(" Scan ") && line.contains("records"));
    let mut scans: Vec<_> = scans
        .map(|line| line.trim_start_matches("->").trim())
        .collect();
    scans.dedup();
    println!("{}", scans.join("\n"));
}

/// Makes the rows of each node. Returns the nodes' keys.
fn fill(server: &Postgres, each: u64) -> Vec<String> {
    let months = format!(
        "SELECT livetrail.ensure_partition(to_timestamp({}))",
        MONTH_MS / 1_000
    );
    server.sql(&months);
    // The indexes are made afterwards, and are the same.
    let indexes = server.sql(
        "SELECT string_agg(replace(indexdef, ' ON ONLY ', ' ON '), ';') FROM pg_indexes WHERE schemaname = 'livetrail' \
         AND tablename = 'records' AND indexname <> 'records_pkey'",
    );
    server.sql(
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT indexname FROM pg_indexes WHERE schemaname = 'livetrail' \
         AND tablename = 'records' AND indexname <> 'records_pkey' LOOP \
         EXECUTE format('DROP INDEX livetrail.%I', name); END LOOP; END $$",
    );
    let mut keys = Vec::new();
    for (number, origin) in NODES.iter().enumerate() {
        let seed = [u8::try_from(number).unwrap_or(0) + 1; 32];
        let name = KeyName::new(*origin).expect("a name");
        let signer = Ed25519Signer::from_seed(name, &seed);
        keys.push(signer.verifier_key().to_string());
        let head = TreeHead {
            size: each,
            root: leaf_hash(b"a tree"),
        };
        let text = Checkpoint::new(*origin, head)
            .expect("a checkpoint")
            .encode();
        let note = Note::sign(text, &[&signer]).expect("a note").encode();
        server.sql(&rows(origin, each, &note));
    }
    server.sql(&indexes);
    server.sql("VACUUM ANALYZE livetrail.records");
    keys
}

/// The statement that makes the rows of a node.
fn rows(origin: &str, each: u64, note: &str) -> String {
    let started = entry(AuditRecord::new(AuditAction::PlayStarted, "live"), origin);
    let mut ended =
        AuditRecord::new(AuditAction::PlayEnded, "live").with_reason(Reason::ClientClosed);
    ended.duration_ms = Some(123_456);
    ended.bytes = Some(61_728_000);
    ended.frames = Some(3_704);
    ended.dropped_frames = Some(0);
    let ended = entry(ended, origin);
    let step = DAYS * 86_400_000 / each.max(1);
    format!(
        "WITH log AS (INSERT INTO livetrail.logs (origin) VALUES ('{origin}') RETURNING log_id), \
           start AS (INSERT INTO livetrail.commits (log_id, next_index, checkpoint_size) SELECT log_id, 0, 0 FROM log) \
         INSERT INTO livetrail.commits (log_id, first_index, next_index, checkpoint_size) SELECT log_id, 0, {each}, {each} FROM log; \
         INSERT INTO livetrail.checkpoints (log_id, size, note) \
           SELECT log_id, {each}, convert_to('{note}', 'UTF8') FROM livetrail.logs WHERE origin = '{origin}'; \
         INSERT INTO livetrail.records (log_id, index, ts, action, app, stream, session, outcome, protocol, reason, \
             inferred, node, boot, seq, mono_ms, duration_ms, bytes, frames, dropped_frames, personal, leaf, entry) \
         SELECT log_id, i, to_timestamp(ms / 1000.0), CASE WHEN ends THEN 'play_ended' ELSE 'play_started' END, 'live', stream, \
             session::uuid, CASE WHEN ends THEN NULL ELSE 'success' END, 'rtmp', CASE WHEN ends THEN 'client_closed' END, \
             false, '{origin}', '00000000-0000-0000-0000-000000000007', i, ms - {MONTH_MS}, \
             CASE WHEN ends THEN 123456 END, CASE WHEN ends THEN 61728000 END, CASE WHEN ends THEN 3704 END, \
             CASE WHEN ends THEN 0 END, CASE WHEN NOT ends THEN sha256(int8send(i)) END, sha256('\\x00'::bytea || entry), entry \
         FROM ( \
           SELECT *, convert_to(replace(replace(replace(replace(CASE WHEN ends THEN '{ended}' ELSE '{started}' END, \
             '{SESSION}', session), '{TS_MS}', ms::text), '{SEQ}', i::text), '{STREAM}', stream), 'UTF8') AS entry \
           FROM (SELECT log_id, i, {MONTH_MS} + i * {step} AS ms, i % 2 = 1 AS ends, \
               CASE WHEN i / 2 % 10 = 0 THEN 'cam' ELSE 'cam-' || (i / 2 * 7919 % 200) END AS stream, \
               regexp_replace(lpad(to_hex({MONTH_MS} + i / 2 * 2 * {step}), 12, '0') || '7' || substr(md5(log_id || '-' || i / 2), 1, 3) \
                 || '8' || substr(md5(log_id || '-' || i / 2), 4, 15), '(.{{8}})(.{{4}})(.{{4}})(.{{4}})(.{{12}})', '\\1-\\2-\\3-\\4-\\5') AS session \
             FROM livetrail.logs, generate_series(0, {each}::bigint - 1) i WHERE origin = '{origin}') made) rows"
    )
}

/// The entry of a record, as a server writes it.
fn entry(record: AuditRecord, origin: &str) -> String {
    let mut record = record
        .with_ts_ms(TS_MS)
        .with_session(SESSION)
        .with_stream(STREAM)
        .with_boot(Uuid::from_u128(7))
        .with_seq(SEQ);
    record.node = Some(origin.to_owned());
    record.protocol = Some("rtmp".to_owned());
    record.mono_ms = Some(86_400_000);
    if record.action == AuditAction::PlayStarted {
        record = record
            .with_outcome(Outcome::Success)
            .with_principal("viewer")
            .with_peer("192.0.2.7:51234")
            .with_user_agent("player/1.0");
    }
    let encoded = encode_entry(&record, &EntryContext::new([7; 16])).expect("an entry");
    String::from_utf8(encoded.bytes).expect("text")
}
