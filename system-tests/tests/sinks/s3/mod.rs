//! The bucket with Object Lock.

mod conformance;
mod guard;
mod outage;
mod own;
mod owner;
mod page;
mod server;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{
    Access, Erasing, Manipulation, Place as AnyPlace, Proxy, Server, TestLog,
};
use livetrail_s3::answer::{Version, versions};
use livetrail_s3::{Bucket, CredentialSource, LockMode};
use livetrail_sinks::s3::{Retention, S3Options, S3Sink};
use livetrail_tlog::{Bundle, parse_bundle};
use system_tests::{S3Server, bucket_at, clock};
use tempfile::TempDir;

use guard::Guard;

/// Kept until the test server ends.
const KEPT: Duration = Duration::from_hours(24);

/// A test's own bucket, on the server of the process, behind a guard and a proxy.
pub(crate) struct Place {
    bucket: Bucket,
    credentials: TempDir,
    guard: Guard,
    proxy: Proxy,
}

impl Place {
    async fn with(object_lock: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = tokio::task::spawn_blocking(S3Server::shared).await.unwrap();
        let name = format!("trail-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let bucket = server.create_bucket(&name, object_lock);
        let credentials = TempDir::new().unwrap();
        let profile = "[trail]\naws_access_key_id = trail\naws_secret_access_key = a-secret\n";
        std::fs::write(credentials.path().join("credentials"), profile).unwrap();
        let guard = Guard::start(server.address()).await.unwrap();
        let proxy = Proxy::start(guard.address()).await.unwrap();
        Self {
            bucket,
            credentials,
            guard,
            proxy,
        }
    }

    /// The bucket's name.
    pub(crate) fn name(&self) -> &str {
        self.bucket.name()
    }

    /// Where the proxy before the guard listens.
    pub(crate) const fn proxy_address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Where the guard before the server listens.
    pub(crate) const fn guard_address(&self) -> SocketAddr {
        self.guard.address()
    }

    /// The keys and contents of all versions of all objects, one after the other.
    pub(crate) fn everything(&self) -> Vec<u8> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let request = self.bucket.list_versions("", after.as_ref());
            let page = versions(&S3Server::shared().ask(request).body).unwrap();
            for version in page.versions.iter().filter(|one| !one.is_delete_marker) {
                let request = self.bucket.get_version(&version.key, &version.version_id);
                all.extend_from_slice(version.key.as_bytes());
                all.extend_from_slice(&S3Server::shared().ask(request).body);
            }
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    /// The lines of a server's `[sink.s3]` for the bucket, behind this endpoint.
    pub(crate) fn settings(&self, endpoint: &str) -> String {
        let lock = "lock = \"compliance\"\nkeep_entries = \"1d\"\nkeep_tiles = \"1d\"\nkeep_checkpoints = \"1d\"\n";
        self.settings_with(endpoint, lock)
    }

    /// The same, with this about who may delete what.
    fn settings_with(&self, endpoint: &str, lock: &str) -> String {
        let (name, credentials) = (self.name(), self.credentials.path().join("credentials"));
        format!(
            "bucket = {name:?}\nregion = \"us-east-1\"\nendpoint = {endpoint:?}\ncredentials_file = {credentials:?}\n\
             profile = \"trail\"\n{lock}batch_interval = \"1s\"\n"
        )
    }

    /// A sink that goes through the proxy.
    pub(crate) fn own_sink(&self) -> S3Sink {
        sink(self.options())
    }

    /// The server's endpoint, and the address of the prefix with the logs.
    pub(crate) fn address(&self) -> (String, String) {
        (
            format!("http://{}", S3Server::shared().address()),
            format!("s3://{}/some/where", self.name()),
        )
    }

    /// The settings of a sink that goes through the proxy.
    fn options(&self) -> S3Options {
        let bucket = bucket_at(self.proxy.address(), self.bucket.name());
        let retention = Retention::all(LockMode::Compliance, KEPT);
        let mut options = S3Options::new(bucket, Some(retention));
        options.prefix = "some/where".to_owned();
        options.credentials = CredentialSource::Profile {
            path: self.credentials.path().join("credentials"),
            profile: "trail".to_owned(),
        };
        options
    }

    /// All versions of a log's objects, each key without the common prefix.
    fn versions(&self, origin: &str) -> Vec<Version> {
        let site = format!("some/where/{}/", origin.replace('/', "_2F"));
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let request = self.bucket.list_versions(&site, after.as_ref());
            let answer = S3Server::shared().ask(request);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = versions(&answer.body).unwrap();
            found.extend(page.versions);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for version in &mut found {
            version.key = version.key.strip_prefix(&site).unwrap().to_owned();
        }
        found
    }

    fn contents(&self, origin: &str, version: &Version) -> Vec<u8> {
        let key = format!("some/where/{}/{}", origin.replace('/', "_2F"), version.key);
        let request = self.bucket.get_version(&key, &version.version_id);
        let answer = S3Server::shared().ask(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }
}

fn sink(options: S3Options) -> S3Sink {
    S3Sink::new("bucket", options, Arc::new(|| clock::wall_ms() / 1_000)).unwrap()
}

#[async_trait]
impl AnyPlace for Place {
    async fn fresh() -> Self {
        Self::with(true).await
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(sink(self.options()))
    }

    /// From the bundles: each has one version, and each partial one is a prefix of the next.
    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        let mut widest: BTreeMap<u64, (u16, Vec<Vec<u8>>)> = BTreeMap::new();
        let mut keys = Vec::new();
        for version in self.versions(origin) {
            let Some(bundle) = bundle_at(&version.key) else {
                continue;
            };
            assert!(
                !version.is_delete_marker && !keys.contains(&version.key),
                "{version:?}"
            );
            keys.push(version.key.clone());
            let bytes = self.contents(origin, &version);
            let entries: Vec<_> = parse_bundle(bundle, &bytes)
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect();
            let known = widest.entry(bundle.index()).or_default();
            let common = entries.len().min(known.1.len());
            assert_eq!(entries[..common], known.1[..common], "{bundle}");
            if bundle.width() > known.0 {
                *known = (bundle.width(), entries);
            }
        }
        widest
            .into_iter()
            .flat_map(|(number, (_, entries))| (number * 256..).zip(entries))
            .collect()
    }

    /// Writes over the locked objects: the locks keep the first versions.
    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        let site = format!("some/where/{}/", log.origin().replace('/', "_2F"));
        let size = |size: u64| format!("{size:020}");
        match what {
            Manipulation::Foreign => {
                let size = size(log.size());
                let rubbish = [
                    format!("commits/{size}"),
                    format!("checkpoints/{size}"),
                    "checkpoint".to_owned(),
                    "commits/00000000000000999999".to_owned(),
                    "checkpoints/00000000000000999999".to_owned(),
                    format!("tile/0/001.p/{}", log.size() - 256),
                ];
                for key in rubbish {
                    let put = self.bucket.put(&format!("{site}{key}"), "rubbish");
                    assert_eq!(S3Server::shared().ask(put).status, 200);
                }
                for key in [format!("commits/{size}"), format!("checkpoints/{size}")] {
                    let delete = self.bucket.delete(&format!("{site}{key}"));
                    assert_eq!(S3Server::shared().ask(delete).status, 204);
                }
                true
            }
            // A commit without objects behind it is skipped, and COMPLIANCE lets nobody remove
            // anything.
            Manipulation::Claimed | Manipulation::Emptied => false,
        }
    }
}

#[async_trait]
impl Erasing for Place {
    async fn opening_sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(sink(self.options()).keeping_openings())
    }

    /// Each version counts, because a reader with all rights could read it.
    async fn openings(&self, origin: &str) -> Vec<([u8; 16], Vec<u8>)> {
        let versions = self.versions(origin).into_iter();
        let kept = versions.filter(|one| !one.is_delete_marker);
        kept.filter_map(|version| {
            let digits = version.key.strip_prefix("personal/")?;
            let session = u128::from_str_radix(digits, 16).unwrap().to_be_bytes();
            Some((session, self.contents(origin, &version)))
        })
        .collect()
    }
}

/// The bundle that has this path.
fn bundle_at(path: &str) -> Option<Bundle> {
    match path.parse().ok()? {
        livetrail_tlog::TilePath::Entries(bundle) => Some(bundle),
        livetrail_tlog::TilePath::Hashes(_) => None,
    }
}

#[async_trait]
impl Server for Place {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    async fn kill(&self) {
        self.guard.go_down();
        self.proxy.cut();
    }

    async fn restart(&self) {
        self.guard.pass();
    }
}

#[async_trait]
impl Access for Place {
    async fn revoke(&self) {
        self.guard.refuse();
        self.proxy.cut();
    }

    async fn grant(&self) {
        self.guard.pass();
        self.proxy.cut();
    }
}
