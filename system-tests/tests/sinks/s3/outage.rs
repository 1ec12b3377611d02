//! An hour's outage of the bucket, whose server is unreachable for a time; the verifier reads only
//! the bucket.

use std::collections::BTreeMap;
use std::path::Path;

use livetrail_s3::answer::Version;
use livetrail_s3::{Credentials, Endpoint};
use livetrail_tlog::parse_bundle;
use livetrail_verify::{BucketSite, Class, Options, Policy, Report, Verdict, keys_in, verify};
use system_tests::S3Server;
use tokio::runtime::Runtime;

use super::{Place, bundle_at};
use crate::outage::{self, Log, ORIGIN};

const SITE: &str = "some/where/example.com_2Ftorture";

struct Store {
    place: Place,
    /// The guard and the proxy before the server run here.
    _runtime: Runtime,
}

impl Store {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let place = runtime.block_on(Place::with(true));
        Self {
            place,
            _runtime: runtime,
        }
    }

    /// The answer of the verifier for the bucket alone, which must contain this checkpoint.
    fn report(&self, log: &Log, against: Vec<u8>, strict: bool) -> Report {
        let keys = std::fs::read_to_string(log.vkey()).unwrap();
        let mut policy = Policy::default();
        for key in keys_in(&keys).unwrap() {
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

impl outage::Place for Store {
    const NAME: &'static str = "s3";

    fn words(&self, _log: &Log) -> Vec<String> {
        let credentials = self.place.credentials.path().join("credentials");
        vec![
            "bucket".to_owned(),
            self.place.proxy.address().to_string(),
            self.place.bucket.name().to_owned(),
            credentials.to_str().unwrap().to_owned(),
        ]
    }

    fn goes_away(&self) {
        self.place.guard.go_down();
        self.place.proxy.cut();
    }

    fn comes_back(&self) {
        self.place.guard.pass();
    }

    /// From the bundles: each has one version, and each partial one is a prefix of the next.
    fn read(&self, each: &mut dyn FnMut(u64, &[u8])) {
        let mut bundles: BTreeMap<u64, Vec<Version>> = BTreeMap::new();
        for version in self.place.versions(ORIGIN) {
            assert!(!version.is_delete_marker, "{version:?}");
            if let Some(bundle) = bundle_at(&version.key) {
                bundles.entry(bundle.index()).or_default().push(version);
            }
        }
        for (number, mut versions) in bundles {
            versions.sort_by_key(|version| bundle_at(&version.key).unwrap().width());
            let mut widest: Vec<u8> = Vec::new();
            for version in &versions {
                let bytes = self.place.contents(ORIGIN, version);
                assert!(bytes.starts_with(&widest), "{} differs", version.key);
                assert!(bytes.len() > widest.len(), "{} is there twice", version.key);
                widest = bytes;
            }
            let bundle = bundle_at(&versions.last().unwrap().key).unwrap();
            let entries = parse_bundle(bundle, &widest).unwrap();
            for (index, entry) in (number * 256..).zip(entries) {
                each(index, entry);
            }
        }
    }

    fn verify(&self, log: &Log, entries: u64) {
        assert_tiles_equal(&self.place, &log.trail(), entries);
        let checkpoint = std::fs::read(log.trail().join("checkpoint")).unwrap();
        let report = self.report(log, checkpoint.clone(), false);
        assert_eq!(report.verdict, Verdict::Sound, "{report}");
        assert_eq!(
            (report.figures.entries, report.older.given),
            (entries, 1),
            "{report}"
        );
        assert_eq!(report.figures.strays + report.figures.beyond, 0, "{report}");
        an_attack_is_logged(self, log, checkpoint);
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    outage::out_and_back(&Store::new());
}

/// Every tile of the ledger's site is in the bucket with the same bytes, and the newest checkpoint.
fn assert_tiles_equal(place: &Place, trail: &Path, total: u64) {
    let key = format!("checkpoints/{total:020}");
    let mut newest = None;
    for version in place.versions(ORIGIN) {
        if version.key == key {
            newest = Some(place.contents(ORIGIN, &version));
        }
        if version.key.starts_with("tile/") && bundle_at(&version.key).is_none() {
            // An earlier partial file is the beginning of the later one.
            let theirs = place.contents(ORIGIN, &version);
            let ours = current(trail, &version.key);
            assert!(ours.starts_with(&theirs), "{} differs", version.key);
        }
    }
    let ours = std::fs::read(trail.join("checkpoint")).unwrap();
    assert_eq!(newest, Some(ours));
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

/// With all rights except those that Object Lock refuses, somebody writes another history above and
/// deletes: it is reported, and the first versions are verified.
fn an_attack_is_logged(store: &Store, log: &Log, checkpoint: Vec<u8>) {
    let bucket = &store.place.bucket;
    let server = S3Server::shared();
    let put = bucket.put(&format!("{SITE}/tile/entries/000"), "another history");
    assert_eq!(server.ask(put).status, 200);
    let delete = bucket.delete(&format!("{SITE}/tile/0/001"));
    assert_eq!(server.ask(delete).status, 204);
    let report = store.report(log, checkpoint.clone(), false);
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let altered = report
        .findings
        .iter()
        .filter(|finding| finding.class == Class::Altered);
    let told: Vec<_> = altered
        .map(|finding| finding.path.as_deref().unwrap())
        .collect();
    assert_eq!(told, ["tile/0/001", "tile/entries/000"], "{report}");
    // With `--strict` it is a failure.
    assert_eq!(
        store.report(log, checkpoint, true).verdict,
        Verdict::NotSound
    );
}
