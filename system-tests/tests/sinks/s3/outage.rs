//! An outage of the bucket, while the trail grows and our process is killed twice, and once more while it catches up: afterwards ledger and
//! bucket are equal, and the verifier says so from the bucket alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use livetrail_audit::replica::conformance::run_case;
use livetrail_s3::{Credentials, Endpoint};
use livetrail_verify::{BucketSite, Class, Options, Policy, Report, Verdict, keys_in, verify};
use system_tests::{Process, S3Server, clock};

use super::{Place, bundle_at};

const ORIGIN: &str = "example.com/torture";
const SITE: &str = "some/where/example.com_2Ftorture";

/// What an hour has at 1,000 records a second, in the short form a hundredth of it.
const RECORDS: u64 = 36_000;

/// For as much work as there is; `LIVETRAIL_OUTAGE_RECORDS` may ask for much.
const PATIENCE: Duration = Duration::from_mins(30);

struct Writer {
    temp: tempfile::TempDir,
    place: Place,
}

impl Writer {
    fn trail(&self) -> PathBuf {
        self.temp.path().join("trail")
    }

    /// Appends until there are so many entries, and follows with the bucket.
    fn start(&self, count: u64) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trail-writer"));
        command.arg(self.trail()).arg(count.to_string()).arg("0");
        command
            .arg("bucket")
            .arg(self.place.proxy.address().to_string());
        command.arg(self.place.bucket.name());
        command.arg(self.place.credentials.path().join("credentials"));
        Process::spawn("trail-writer", &command)
    }

    /// What the verifier says from the bucket alone, which must contain this checkpoint.
    fn verify(&self, against: Vec<u8>, strict: bool) -> Report {
        let keys = std::fs::read_to_string(self.trail().with_extension("keys").join("trail.vkey"));
        let mut policy = Policy::default();
        for key in keys_in(&keys.unwrap()).unwrap() {
            policy.add(key).unwrap();
        }
        let options = Options {
            policy,
            against: vec![("the ledger's own".to_owned(), against)],
            strict,
            ..Options::default()
        };
        let server = format!("http://{}", S3Server::shared().address());
        let endpoint = Endpoint::new(&server, "us-east-1", true).unwrap();
        let auditor = Credentials::new("auditor", "secret", None).unwrap();
        let url = format!("s3://{}/{SITE}", self.place.bucket.name());
        let bucket = BucketSite::open(&url, endpoint, auditor).unwrap();
        verify(&bucket, &options, &mut |_, _| {}).unwrap()
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    let asked = std::env::var("LIVETRAIL_OUTAGE_RECORDS").ok();
    let records = asked.map_or(RECORDS, |asked| asked.parse().unwrap());
    run_case(async move {
        let writer = Writer {
            temp: tempfile::tempdir().unwrap(),
            place: Place::with(true).await,
        };
        let writer = tokio::task::spawn_blocking(move || {
            out_and_back(&writer, records);
            writer
        });
        drop(writer.await.unwrap());
    });
}

fn out_and_back(writer: &Writer, records: u64) {
    writer.place.guard.go_down();
    for part in [records / 3, records / 3 * 2] {
        let mut process = writer.start(u64::MAX);
        clock::wait_until("a part of the hour", PATIENCE, || {
            assert!(process.is_running(), "{}", process.said());
            process.largest_said("durable ") >= part
        });
        process.crash();
    }
    assert_eq!(writer.place.versions(ORIGIN), []);
    let mut process = writer.start(records);
    clock::wait_until("the hour is over", PATIENCE, || {
        assert!(process.is_running(), "{}", process.said());
        process.largest_said("closed ") > 0
    });
    writer.place.guard.pass();
    clock::wait_until("a part is there", PATIENCE, || {
        let mut versions = writer.place.versions(ORIGIN).into_iter();
        versions.any(|version| version.key.starts_with("commits/"))
    });
    process.crash();
    // It adds how it was ended, and catches up.
    let finished = writer.start(0).wait(PATIENCE).success();
    let total = finished
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("replicated "));
    let total: u64 = total.unwrap().parse().unwrap();
    assert!(total >= records);

    assert_equal(writer, total);
    let checkpoint = std::fs::read(writer.trail().join("checkpoint")).unwrap();
    let report = writer.verify(checkpoint.clone(), false);
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert_eq!(
        (report.figures.entries, report.older.given),
        (total, 1),
        "{report}"
    );
    assert_eq!(report.figures.strays + report.figures.beyond, 0, "{report}");
    an_attack_is_told(writer, checkpoint);
}

/// Every file of the ledger's site is in the bucket with the same bytes, and nothing else is there.
fn assert_equal(writer: &Writer, total: u64) {
    let trail = writer.trail();
    let mut entries = 0;
    for version in writer.place.versions(ORIGIN) {
        assert!(!version.is_delete_marker, "{version:?}");
        let ours = writer.place.contents(ORIGIN, &version);
        let key = version.key.as_str();
        if !key.starts_with("tile/") {
            continue;
        }
        // An earlier partial file is the beginning of the later one.
        let theirs = current(&trail, key);
        assert!(theirs.starts_with(&ours), "{key} differs");
        if let Some(bundle) = bundle_at(key).filter(|_| trail.join(key).exists()) {
            assert_eq!(theirs, ours, "{key} differs");
            entries += u64::from(bundle.width());
        }
    }
    assert_eq!(entries, total);
    let newest = std::fs::read(trail.join("checkpoint")).unwrap();
    let key = format!("checkpoints/{total:020}");
    let versions = writer.place.versions(ORIGIN);
    let found = versions.iter().find(|version| version.key == key).unwrap();
    assert_eq!(writer.place.contents(ORIGIN, found), newest);
}

/// The ledger's file for this path, or what has taken its place.
fn current(trail: &Path, path: &str) -> Vec<u8> {
    let full = path.split(".p/").next().unwrap();
    let folder = trail.join(format!("{full}.p"));
    let mut candidates = vec![trail.join(path), trail.join(full)];
    if let Ok(listed) = std::fs::read_dir(folder) {
        let mut wider: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
        wider.sort_by_key(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .parse::<u16>()
                .unwrap()
        });
        candidates.extend(wider.into_iter().rev());
    }
    let found = candidates.iter().find(|path| path.is_file());
    std::fs::read(found.unwrap_or_else(|| panic!("{path} is not in the ledger"))).unwrap()
}

/// With all rights but those that Object Lock refuses, somebody puts another history above and deletes: it is told, and the first versions
/// are what is verified.
fn an_attack_is_told(writer: &Writer, checkpoint: Vec<u8>) {
    let bucket = &writer.place.bucket;
    let server = S3Server::shared();
    let put = bucket.put(&format!("{SITE}/tile/entries/000"), "another history");
    assert_eq!(server.ask(put).status, 200);
    let delete = bucket.delete(&format!("{SITE}/tile/0/001"));
    assert_eq!(server.ask(delete).status, 204);
    let report = writer.verify(checkpoint.clone(), false);
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let altered = report
        .findings
        .iter()
        .filter(|finding| finding.class == Class::Altered);
    let told: Vec<_> = altered
        .map(|finding| finding.path.as_deref().unwrap())
        .collect();
    assert_eq!(told, ["tile/0/001", "tile/entries/000"], "{report}");
    // Who asks for it gets it as a failure.
    assert_eq!(writer.verify(checkpoint, true).verdict, Verdict::NotSound);
}
