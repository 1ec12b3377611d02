//! Three servers in one place, written by the replicator and read by the commands: a database, a
//! bucket, and the copies of a topic. A server whose end was cut off and a silent one are found.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::SystemClock;
use livetrail_replica::conformance::{Place as _, TestLog, run_case};
use livetrail_replica::{ReplicaOptions, ReplicaSink, Replicas, Replicator};
use serde_json::Value;
use system_tests::{Finished, clock, livetrail, livetrail_verify, run};
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::page::Typist;
use crate::postgres::Table;

const PATIENCE: Duration = Duration::from_secs(120);

const WHOLE: &str = "example.com/whole";
const CUT: &str = "example.com/cut";
const SILENT: &str = "example.com/silent";

/// Ten seconds after the newest record, and 185 s after that of the silent server.
const NOW: &str = "2025-11-24T16:04:20Z";

/// A part of the time in which all three have records.
const SINCE: (&str, u64) = ("2025-11-24T16:00:30Z", 1_764_000_030_000);
const UNTIL: (&str, u64) = ("2025-11-24T16:01:10Z", 1_764_000_070_000);

/// Three servers, and what an auditor has of them.
pub(crate) struct Fleet {
    logs: [TestLog; 3],
    /// A checkpoint that the server with the cut end had signed before.
    older: PathBuf,
    dir: TempDir,
}

impl Fleet {
    /// The servers follow their logs to these destinations. One of them had more records, which
    /// never came to the destination.
    pub(crate) fn follow(sink: impl Fn(usize) -> Arc<dyn ReplicaSink>) -> Self {
        let logs = [(WHOLE, 1_000), (CUT, 1_000), (SILENT, 300)]
            .map(|(origin, count)| TestLog::with(origin, count));
        for (number, log) in logs.iter().enumerate() {
            let clock = Arc::new(SystemClock::new());
            let options = ReplicaOptions::default();
            let replicator =
                Replicator::new(log.handle(), log.reader(), sink(number), options, clock).unwrap();
            let watch = replicator.watch();
            let mut replicas = Replicas::new();
            replicas.start(replicator).unwrap();
            clock::wait_until("the destination has everything", PATIENCE, || {
                watch.status().cursor == Some(log.size())
            });
            replicas.close(Duration::from_secs(5));
        }
        let dir = TempDir::new().unwrap();
        for (number, log) in logs.iter().enumerate() {
            let keys = log
                .reader()
                .verifier_keys()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            std::fs::write(dir.path().join(format!("{number}.vkey")), keys.join("\n")).unwrap();
        }
        let keys = logs
            .iter()
            .flat_map(|log| log.reader().verifier_keys().to_vec());
        let keys: Vec<_> = keys.map(|key| key.to_string()).collect();
        std::fs::write(dir.path().join("fleet.vkey"), keys.join("\n")).unwrap();
        let older = dir.path().join("older.checkpoint");
        let [_, cut, _] = &logs;
        cut.add(100);
        let note = cut.reader().checkpoint().unwrap().note().encode();
        std::fs::write(&older, note).unwrap();
        Self { logs, older, dir }
    }

    fn command(&self, program: &Path, place: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(place)
            .args(["--fleet", "--as-of", NOW, "--silent-after", "100"]);
        for number in 0..self.logs.len() {
            command
                .arg("--vkey")
                .arg(self.dir.path().join(format!("{number}.vkey")));
        }
        // Of the bucket's server.
        command
            .env("AWS_ACCESS_KEY_ID", "trail")
            .env("AWS_SECRET_ACCESS_KEY", "a-secret");
        command
    }

    fn query(&self, place: &[&str], more: &[&str]) -> Finished {
        let mut command = self.command(livetrail(), &[&["trail", "query"], place].concat());
        command.args(more);
        run("livetrail trail query", &command, PATIENCE)
    }

    /// Types the commands on the page about several nodes that have this word, with these texts in
    /// place of the page's. Returns their number.
    pub(crate) fn follow_page(&self, word: &str, replaced: &[(&str, &str)]) -> usize {
        let typed = type_page(&self.dir.path().join("fleet.vkey"), word, replaced);
        for finished in &typed {
            // By now all three are silent, and these logs are not those of servers.
            let is_verifier = finished.stdout.starts_with("NOT SOUND");
            let wanted = i32::from(is_verifier);
            assert_eq!(
                finished.status.code(),
                Some(wanted),
                "{}",
                finished.output()
            );
        }
        typed.len()
    }

    /// Checks what the verifier and a query say about the place.
    pub(crate) fn check(&self, place: &[&str]) {
        self.check_verifier(place);
        self.check_query(place);
    }

    fn check_verifier(&self, place: &[&str]) {
        let mut command = self.command(livetrail_verify(), place);
        command.args(["--without-boot-records", "--json"]);
        let report = |command: &Command| -> (Option<i32>, Value) {
            let finished = run("livetrail-verify", command, PATIENCE);
            let report = serde_json::from_str(&finished.stdout);
            (
                finished.status.code(),
                report.unwrap_or_else(|_| panic!("{}", finished.output())),
            )
        };
        let of = |report: &Value, origin: &str| {
            let trails = report["trails"].as_array().unwrap();
            let trail = trails.iter().find(|trail| trail["origin"] == origin);
            let trail = trail.unwrap_or_else(|| panic!("{origin} in {report:#}"));
            let word = |name: &str| trail[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", trail["entries"], word("state"), word("verdict"))
        };
        // Nobody can see that the end is missing, but who has an older checkpoint.
        let (code, sound) = report(&command);
        assert_eq!(code, Some(1), "{sound:#}");
        assert_eq!(of(&sound, WHOLE), "1000 current sound");
        assert_eq!(of(&sound, CUT), "1000 current sound");
        assert_eq!(of(&sound, SILENT), "300 silent sound");
        command.arg("--against").arg(&self.older);
        let (code, cut) = report(&command);
        assert_eq!(code, Some(1), "{cut:#}");
        assert_eq!(of(&cut, WHOLE), "1000 current sound");
        assert_eq!(of(&cut, CUT), "1000 current not_sound");
    }

    fn check_query(&self, place: &[&str]) {
        let filter = ["--stream", "cam-3", "--since", SINCE.0, "--until", UNTIL.0];
        let finished = self
            .query(place, &[&filter[..], &["--format", "json"]].concat())
            .success();
        let shown: Vec<Value> = finished
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mut wanted = Vec::new();
        for (log, size) in self.logs.iter().zip([1_000, 1_000, 300]) {
            for (index, entry) in log.entries().iter().take(size).enumerate() {
                let record: Value = serde_json::from_slice(entry).unwrap();
                let ts_ms = record["ts_ms"].as_u64().unwrap();
                if record["stream"] == "cam-3" && (SINCE.1..UNTIL.1).contains(&ts_ms) {
                    wanted.push(serde_json::json!({"index": index, "origin": log.origin(), "record": record}));
                }
            }
        }
        assert!(wanted.len() > 60, "{}", wanted.len());
        let times: Vec<_> = shown
            .iter()
            .map(|line| line["record"]["ts_ms"].as_u64())
            .collect();
        assert!(times.is_sorted(), "{times:?}");
        let sorted = |lines: &[Value]| {
            let mut lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&shown), sorted(&wanted));
        let silent = format!(
            "warning: {SILENT} is silent: its newest record is of 2025-11-24T16:01:14.750Z, 2 min older"
        );
        assert!(finished.stderr.contains(&silent), "{}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    }
}

/// Types the commands on the page about several nodes that have this word, with these keys, and
/// these texts in place of the page's. Returns how each has ended.
pub(crate) fn type_page(keys: &Path, word: &str, replaced: &[(&str, &str)]) -> Vec<Finished> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/nodes.md");
    let page = std::fs::read_to_string(page).unwrap();
    let is_asked = |line: &&str| line.starts_with("livetrail") && line.contains(word);
    let mut typist = Typist::new();
    typist.knows("AWS_ACCESS_KEY_ID", "trail");
    typist.knows("AWS_SECRET_ACCESS_KEY", "a-secret");
    let typed = page.lines().filter(is_asked).map(|line| {
        let line = line.replace("fleet.vkey", keys.to_str().unwrap());
        let replace = |line: String, (from, to): &(&str, &str)| line.replace(from, to);
        typist.tries(&replaced.iter().fold(line, replace))
    });
    typed.collect()
}

#[test]
fn a_database_of_several_servers_is_verified_and_queried_as_a_whole() {
    run_case(async {
        let table = Table::fresh().await;
        let url = table.server.url_of("trail");
        let fleet = block_in_place(|| Fleet::follow(|_| Arc::new(crate::postgres::sink(&url))));
        table
            .server
            .sql("CREATE ROLE auditor LOGIN IN ROLE livetrail_reader");
        let url = table.server.url_of("auditor");
        let place = ["--postgres", url.as_str()];
        block_in_place(|| {
            fleet.check(&place);
            // A part of a session's id is its beginning or its end, and a table has the servers.
            for (part, found) in [
                ("0000000000f5", 9),
                ("00000000-0000-0000-0000-0000000000f5", 9),
                ("zz", 0),
            ] {
                let shown = fleet.query(&place, &["--session", part, "--format", "tsv"]);
                assert_eq!(
                    shown.stdout.lines().count(),
                    found,
                    "{part}: {}",
                    shown.output()
                );
            }
            let table = fleet
                .query(&place, &["--action", "publish_ended", "--until", SINCE.0])
                .success();
            let is_silent = |line: &str| line.contains(SILENT) && line.contains("┆ silent ");
            assert!(table.stdout.lines().any(is_silent), "{}", table.stdout);
            let chain = [
                "--session",
                "00000000-0000-0000-0000-0000000000f5",
                "--chain",
            ];
            let chains = fleet.query(&place, &[&chain[..], &["--format", "json"]].concat());
            assert_eq!(
                chains
                    .success()
                    .stdout
                    .matches("\"kind\":\"publish\"")
                    .count(),
                3
            );
        });
        block_in_place(|| {
            let on_page = "postgres://auditor@127.0.0.1:5432/trail";
            let typed = fleet.follow_page("--postgres", &[(on_page, &url)]);
            assert_eq!(typed, 4);
        });
        // The columns and the entries of a changed row are compared.
        let change = |what: &str| {
            let sql = format!(
                "ALTER TABLE livetrail.records DISABLE TRIGGER ALL; UPDATE livetrail.records SET {what}"
            );
            table.server.sql(&sql);
        };
        block_in_place(|| {
            change("stream = 'other' WHERE log_id = 1 AND index = 100");
            let shown = fleet.query(&place, &["--stream", "other"]).success();
            assert!(shown.stdout.starts_with("0 records\n"), "{}", shown.stdout);
            assert!(
                shown
                    .stderr
                    .contains("rows whose columns contradict their entries: 1;"),
                "{}",
                shown.stderr
            );
            change("entry = set_byte(entry, 20, 65) WHERE log_id = 1 AND index = 300");
            let refused = fleet.query(&place, &["--format", "tsv"]).failure();
            assert!(
                refused
                    .stderr
                    .contains("entry 300 is not what its leaf hash says"),
                "{}",
                refused.stderr
            );
        });
        // Persons are found by the openings that a sink keeps.
        let names = TestLog::new("example.com/names");
        names.add_sessions(3);
        let keeping = crate::postgres::sink(&table.server.url_of("names")).keeping_openings();
        keeping.append(&names.range(0, 3)).await.unwrap();
        let key = names.reader().verifier_keys()[0].to_string();
        block_in_place(|| {
            for (condition, value, found) in [
                ("--principal", "viewer-1", 1),
                ("--peer", "192.0.2.0/24", 3),
                ("--peer", "198.51.100.0/24", 0),
                ("--user-agent", "a \"player\"", 3),
            ] {
                let more = ["--vkey", &key, condition, value, "--format", "tsv"];
                let shown = fleet.query(&place, &more).success();
                let lines = shown.stdout.lines();
                let of_it = lines.filter(|line| line.starts_with("example.com/names\t"));
                assert_eq!(
                    of_it.count(),
                    found,
                    "{condition} {value}: {}",
                    shown.output()
                );
            }
        });
    });
}

#[test]
fn a_bucket_of_several_servers_is_verified_and_queried_as_a_whole() {
    run_case(async {
        let bucket = crate::s3::Place::fresh().await;
        block_in_place(|| {
            let fleet = Fleet::follow(|_| Arc::new(bucket.own_sink()));
            let (endpoint, url) = bucket.address();
            fleet.check(&[&url, "--s3-endpoint", &endpoint]);
            let on_page = ["s3://bucket/trails", "http://127.0.0.1:9000"];
            let typed = fleet.follow_page("s3://", &[(on_page[0], &url), (on_page[1], &endpoint)]);
            assert_eq!(typed, 2);
        });
    });
}
