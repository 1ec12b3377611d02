//! A server's bucket in the hands of somebody else: a second server with the same trail, an owner
//! who empties it or hides what is there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use livetrail_s3::answer::Version;
use system_tests::{Config, Finished, S3Server, Server, Signal, clock, livetrail_verify, run};
use tokio::runtime::Runtime;

use super::Place;
use crate::beside::{await_state, origin};

const PATIENCE: Duration = Duration::from_secs(60);

/// The prefix of all keys of these tests, in the settings of the server's sink.
const PREFIX: &str = "prefix = \"some/where\"\n";

/// A bucket, and the guard in front of it.
struct Store {
    place: Place,
    /// The guard before the S3 server runs here.
    _runtime: Runtime,
}

impl Store {
    fn new(object_lock: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let place = runtime.block_on(Place::with(object_lock));
        let _runtime = runtime;
        Self { place, _runtime }
    }

    /// Settings of a sink that reaches the S3 server without anything in between.
    fn direct(&self) -> String {
        let endpoint = format!("http://{}", S3Server::shared().address());
        self.place.settings(&endpoint) + PREFIX
    }

    /// Settings of a sink behind the guard.
    fn guarded(&self) -> String {
        let endpoint = format!("http://{}", self.place.guard_address());
        self.place.settings(&endpoint) + PREFIX
    }

    fn site(&self, server: &Server) -> String {
        format!("some/where/{}/", origin(server).replace('/', "_2F"))
    }

    fn versions(&self, server: &Server) -> Vec<Version> {
        self.place.versions(&origin(server))
    }

    /// The result of an auditor who has only the bucket.
    fn verify(&self, server: &Server) -> Finished {
        self.verify_with(server, &[])
    }

    fn verify_with(&self, server: &Server, further: &[&str]) -> Finished {
        let site = self.site(server);
        let url = format!("s3://{}/{}", self.place.name(), site.trim_end_matches('/'));
        let endpoint = format!("http://{}", S3Server::shared().address());
        let mut verify = Command::new(livetrail_verify());
        verify.args([&url, "--s3-endpoint", &endpoint, "--s3-region", "us-east-1"]);
        verify.args(further);
        verify.arg("--vkey").arg(server.data().join("trail.vkey"));
        verify.env("AWS_ACCESS_KEY_ID", "auditor");
        verify.env("AWS_SECRET_ACCESS_KEY", "a-secret");
        run("livetrail-verify", &verify, PATIENCE)
    }

    #[track_caller]
    fn assert_sound(&self, server: &Server, entries: usize) {
        let told = self.verify(server).success();
        assert!(told.stdout.starts_with("SOUND"), "{}", told.output());
        let entries = format!("{entries} entries");
        assert!(told.stdout.contains(&entries), "{}", told.output());
    }
}

/// A server that has run once without sinks, and is to have this one.
fn server_with(sink: Config) -> Server {
    let mut server = Server::start(Config::new());
    server.stop();
    server.set_config(sink);
    server
}

fn required(settings: &str) -> Config {
    Config::new().sink("bucket", "s3", settings)
}

/// Everything that is sealed is in the bucket.
fn await_all(server: &Server) {
    await_state(server, "bucket", "following");
    clock::wait_until("the bucket has everything", PATIENCE, || {
        let health = server.get("/health").json();
        health["sinks"][0]["lag_records"] == 0
    });
}

/// Puts a copy of one data directory in the place of another.
fn replace(data: &Path, by: &Path) {
    if data.exists() {
        std::fs::remove_dir_all(data).expect("a directory that can go");
    }
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(by).arg(data);
    run("cp", &copy, PATIENCE).success();
}

fn checkpoint(data: &Path) -> Vec<u8> {
    std::fs::read(data.join("trail/checkpoint")).expect("a checkpoint")
}

/// A start that is refused: exit code 2 with this text, and nothing is signed.
#[track_caller]
fn assert_refused(server: &Server, words: &str) {
    let before = checkpoint(&server.data());
    let told = run("livetrail serve", &server.command(), PATIENCE);
    assert_eq!(told.status.code(), Some(2), "{}", told.output());
    assert!(told.stderr.contains(words), "{}", told.output());
    assert_eq!(checkpoint(&server.data()), before, "{}", told.output());
}

#[test]
fn of_two_servers_with_one_trail_in_one_bucket_the_later_one_stops_its_log() {
    let store = Store::new(true);
    let mut first = server_with(required(&store.direct()));
    first.start_again();
    first.grow(4);
    await_all(&first);
    first.stop();

    // A copy starts while it cannot ask the bucket, and signs another tree.
    let optional = Config::new().optional_sink("bucket", "s3", &store.guarded());
    let mut second = server_with(optional);
    replace(&second.data(), &first.data());
    first.start_again();
    first.grow(4);
    await_all(&first);
    store.place.guard.go_down();
    second.start_again();
    second.grow(2);
    await_state(&second, "bucket", "retrying");

    store.place.guard.pass();
    second.signal(Signal::HUP);
    clock::wait_until("the copy's log stops", PATIENCE, || {
        let health = second.get("/health");
        health.status == 503 && health.json()["trouble"] == "log_stopped"
    });
    await_state(&second, "bucket", "forked");
    let log = second.log();
    assert!(
        log.contains("Do not start this copy of the trail again"),
        "{log}"
    );
    assert_eq!(second.stop_within(PATIENCE).code(), Some(1));
    store.place.guard.pass();
    let told = run("livetrail serve", &second.command(), PATIENCE);
    assert_eq!(told.status.code(), Some(2), "{}", told.output());

    // The first one continues, and the bucket has its tree and no other.
    first.grow(4);
    await_all(&first);
    let trail = first.stop();
    store.assert_sound(&first, trail.records().len());
}

#[test]
fn a_bucket_that_is_emptied_under_a_server_is_reported_on_record_and_filled_again() {
    let store = Store::new(false);
    let endpoint = format!("http://{}", S3Server::shared().address());
    let settings = store.place.settings_with(&endpoint, "lock = \"none\"\n") + PREFIX;
    let mut server = server_with(required(&settings));
    server.start_again();
    server.grow(4);
    await_all(&server);

    let site = store.site(&server);
    for version in store.versions(&server) {
        let key = format!("{site}{}", version.key);
        let delete = store.place.bucket.delete_version(&key, &version.version_id);
        assert_eq!(S3Server::shared().ask(delete).status, 204, "{key}");
    }
    assert!(store.versions(&server).is_empty());
    assert_ne!(store.verify(&server).status.code(), Some(0), "it is empty");
    server.signal(Signal::HUP);
    let trail = server.await_records("admin_replica_went_back", 1);
    assert_eq!(trail.count("admin_replica_went_back"), 1, "{trail}");
    let metrics = server.get("/metrics").text();
    let line = "livetrail_sink_went_back_total{sink=\"bucket\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    assert!(server.log().contains("A SINK HAS LESS THAN IT HAD"));

    await_all(&server);
    let trail = server.stop();
    store.assert_sound(&server, trail.records().len());
}

#[test]
fn an_older_trail_does_not_start_against_a_bucket_whose_newest_objects_are_hidden_or_rolled_back() {
    let store = Store::new(true);
    let mut server = server_with(required(&store.direct()));
    server.start_again();
    server.grow(4);
    await_all(&server);
    server.stop();
    let (yesterday, today) = (server.file("yesterday"), server.file("today"));
    replace(&yesterday, &server.data());
    let known: Vec<_> = keys(&store.versions(&server));
    let older = checkpoint(&yesterday);
    server.start_again();
    server.grow(6);
    await_all(&server);
    server.stop();
    replace(&today, &server.data());

    // COMPLIANCE lets anybody put a marker or another version above.
    let site = store.site(&server);
    for key in keys(&store.versions(&server)) {
        if !known.contains(&key) || key == "checkpoint" {
            let delete = store.place.bucket.delete(&format!("{site}{key}"));
            assert_eq!(S3Server::shared().ask(delete).status, 204, "{key}");
        }
    }
    replace(&server.data(), &yesterday);
    assert_refused(&server, "an older copy was restored");
    let put = store.place.bucket.put(&format!("{site}checkpoint"), older);
    assert_eq!(S3Server::shared().ask(put).status, 200);
    assert_refused(&server, "an older copy was restored");

    // Today's trail starts. The auditor has everything, and a report of what lies above.
    replace(&server.data(), &today);
    server.start_again();
    server.grow(2);
    await_all(&server);
    let trail = server.stop();
    store.assert_sound(&server, trail.records().len());
    let told = store.verify_with(&server, &["--strict"]);
    assert_eq!(told.status.code(), Some(1), "{}", told.output());
}

/// Each once.
fn keys(versions: &[Version]) -> Vec<String> {
    let mut keys: Vec<_> = versions.iter().map(|one| one.key.clone()).collect();
    keys.sort();
    keys.dedup();
    keys
}
