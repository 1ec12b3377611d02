//! S3 with Object Lock: `LocalStack`'s server, a single Python process, which limits the
//! measurement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use livetrail_replica::conformance::TestLog;
use livetrail_s3::answer::versions;
use livetrail_s3::{Bucket, CredentialSource, LockMode};
use livetrail_sinks::s3::{Retention, S3Options, S3Sink};
use system_tests::{S3Server, clock};

use crate::{ORIGIN, Round, follow, in_turns, rate};

pub(crate) const BARE: &str =
    "`PUT` of the same objects without conditions, checksums and locks, eight at a time";

const DAY: Duration = Duration::from_hours(24);

/// Requests at the same time: as many as the sink's.
const PARALLEL: usize = 8;

pub(crate) fn round(log: &TestLog, sink_first: bool) -> Round {
    let server = S3Server::shared();
    let locked = || server.create_bucket(&new_name(), true);
    let dir = tempfile::tempdir().expect("a folder");
    let credentials = dir.path().join("credentials");
    let profile = "[trail]\naws_access_key_id = trail\naws_secret_access_key = a-secret\n";
    std::fs::write(&credentials, profile).expect("credentials");
    let fill = |bucket: &Bucket| {
        let retention = Retention::all(LockMode::Compliance, DAY);
        let mut options = S3Options::new(bucket.clone(), Some(retention));
        options.credentials = CredentialSource::Profile {
            path: credentials.clone(),
            profile: "trail".to_owned(),
        };
        let now_s = Arc::new(|| clock::wall_ms() / 1_000);
        let sink = S3Sink::new("bucket", options, now_s).expect("a sink");
        follow(log, Arc::new(sink))
    };
    let made = locked();
    let early = (!sink_first).then(|| fill(&made));
    let sink = || {
        if early.is_some() {
            fill(&locked())
        } else {
            fill(&made)
        }
    };
    let bare = || put_all(log, &made);
    in_turns(sink_first, sink, bare)
}

fn put_all(log: &TestLog, made: &Bucket) -> f64 {
    let server = S3Server::shared();
    let objects = objects_of(made);
    let bucket = server.create_bucket(&new_name(), false);
    let next = AtomicUsize::new(0);
    rate(log, || {
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL {
                scope.spawn(|| {
                    while let Some((key, bytes)) = objects.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let answer = server.ask(bucket.put(key, bytes.clone()));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                });
            }
        });
    })
}

/// What the sink put there.
fn objects_of(bucket: &Bucket) -> Vec<(String, Vec<u8>)> {
    let server = S3Server::shared();
    let mut after = None;
    let mut objects = Vec::new();
    loop {
        let site = ORIGIN.replace('/', "_2F");
        let answer = server.ask(bucket.list_versions(&format!("{site}/"), after.as_ref()));
        let page = versions(&answer.body).expect("a listing");
        for version in page.versions {
            let got = server.ask(bucket.get_version(&version.key, &version.version_id));
            assert_eq!(got.status, 200, "{}", got.text());
            objects.push((version.key, got.body));
        }
        after = page.next;
        if after.is_none() {
            return objects;
        }
    }
}

fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("speed-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
