//! Buckets only: locks, refusals at the start, objects that somebody deleted or overwrote.

use livetrail_replica::conformance::{Place as AnyPlace, TestLog, run_case};
use livetrail_replica::{ErrorClass, ReplicaError, ReplicaSink as _};
use livetrail_s3::LockMode;
use livetrail_sinks::s3::Retention;
use system_tests::{S3Server, clock};

use super::guard::ROTATED_KEY;
use super::{KEPT, Place, sink};

const ORIGIN: &str = "example.com/a";
const SITE: &str = "some/where/example.com_2Fa/";

/// Each version of each object can be deleted by nobody, and is kept as long as its class says.
#[test]
fn nothing_that_is_written_can_be_deleted() {
    run_case(async {
        let place = Place::fresh().await;
        let log = TestLog::with(ORIGIN, 300);
        let mut options = place.options();
        let mut retention = Retention::all(LockMode::Compliance, KEPT);
        retention.tiles = KEPT * 2;
        retention.checkpoints = KEPT * 3;
        options.retention = Some(retention);
        options.legal_hold = true;
        let bucket = sink(options);
        bucket.append(&log.range(0, 300)).await.unwrap();
        log.add(1);
        bucket.append(&log.range(300, 1)).await.unwrap();
        let mut keys = Vec::new();
        for version in place.versions(ORIGIN) {
            let key = format!("{SITE}{}", version.key);
            let deletion = place.bucket.delete_version(&key, &version.version_id);
            let answer = S3Server::shared().ask(deletion);
            assert_eq!(answer.status, 403, "{key}: {}", answer.text());
            let read = place.bucket.get_version(&key, &version.version_id);
            let read = S3Server::shared().ask(read);
            let header = |name: &str| {
                let of_name =
                    |line: &String| line.strip_prefix(name).map(|value| value.trim().to_owned());
                read.header.iter().find_map(of_name).unwrap_or_default()
            };
            assert_eq!(header("x-amz-object-lock-mode:"), "compliance", "{key}");
            assert_eq!(header("x-amz-object-lock-legal-hold:"), "on", "{key}");
            let days = match version.key.as_str() {
                key if key.starts_with("tile/entries/") => 1,
                key if key.starts_with("tile/") => 2,
                _ => 3,
            };
            let until: jiff::Timestamp = header("x-amz-object-lock-retain-until-date:")
                .to_uppercase()
                .parse()
                .unwrap();
            let now_s = i64::try_from(clock::wall_ms() / 1_000).unwrap();
            let seconds = until.as_second() - now_s;
            assert!(
                (days * 86_400 - 600..=days * 86_400).contains(&seconds),
                "{key}: {until}"
            );
            keys.push(version.key);
        }
        keys.sort();
        let size = |size: u64| format!("{size:020}");
        let mut wanted = vec![
            "checkpoint".to_owned(),
            "checkpoint".to_owned(),
            format!("checkpoints/{}", size(300)),
            format!("checkpoints/{}", size(301)),
            format!("commits/{}", size(300)),
            format!("commits/{}", size(301)),
        ];
        for tile in ["0/000", "0/001.p/44", "0/001.p/45", "1/000.p/1"] {
            wanted.push(format!("tile/{tile}"));
        }
        for bundle in ["000", "001.p/44", "001.p/45"] {
            wanted.push(format!("tile/entries/{bundle}"));
        }
        assert_eq!(keys, wanted);
    });
}

/// A bucket without Object Lock is refused at the start, with the reason, and accepted if the
/// configuration asks for no retention.
#[test]
fn a_bucket_without_object_lock_is_refused_unless_accepted() {
    run_case(async {
        let place = Place::with(false).await;
        let log = TestLog::with(ORIGIN, 10);
        let refused = sink(place.options());
        for error in [
            refused.health().await.unwrap_err(),
            refused.cursor(ORIGIN).await.unwrap_err(),
            refused.append(&log.range(0, 10)).await.unwrap_err(),
        ] {
            assert_eq!(error.class(), ErrorClass::Permanent);
            assert!(error.to_string().contains("has no Object Lock"), "{error}");
        }
        assert_eq!(place.versions(ORIGIN), []);
        let mut options = place.options();
        options.retention = None;
        let taken = sink(options);
        taken.health().await.unwrap();
        taken.append(&log.range(0, 10)).await.unwrap();
        assert_eq!(place.held(ORIGIN).await.len(), 10);
    });
}

/// A default retention would lock openings, so that nobody could erase them. A sink without
/// openings takes such a bucket.
#[test]
fn a_bucket_that_locks_each_object_by_itself_is_refused_for_openings() {
    run_case(async {
        let place = Place::fresh().await;
        let keeping = || sink(place.options()).keeping_openings();
        keeping().health().await.unwrap();
        for mode in ["GOVERNANCE", "COMPLIANCE"] {
            S3Server::shared().lock_by_default(place.name(), mode);
            let log = TestLog::new(ORIGIN);
            log.add_sessions(1);
            for error in [
                keeping().health().await.unwrap_err(),
                keeping().append(&log.range(0, 1)).await.unwrap_err(),
            ] {
                assert_eq!(error.class(), ErrorClass::Permanent);
                let words = format!("default retention ({mode})");
                assert!(error.to_string().contains(&words), "{error}");
            }
            assert_eq!(place.versions(ORIGIN), []);
            sink(place.options()).health().await.unwrap();
        }
    });
}

/// A missing bucket, file or key is reported as an error for a person.
#[test]
fn a_missing_destination_is_reported_with_a_message() {
    run_case(async {
        let place = Place::fresh().await;
        let mut options = place.options();
        options.bucket = system_tests::bucket_at(S3Server::shared().address(), "no-such-bucket");
        let error = sink(options).cursor(ORIGIN).await.unwrap_err();
        assert!(
            matches!(error, ReplicaError::Unsuitable { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("NoSuchBucket"), "{error}");
        let bucket = sink(place.options());
        std::fs::remove_file(place.credentials.path().join("credentials")).unwrap();
        let error = bucket.cursor(ORIGIN).await.unwrap_err();
        assert!(matches!(error, ReplicaError::Denied { .. }), "{error:?}");
    });
}

/// Changed credentials are used without an error and without a restart, once the old ones are
/// refused.
#[test]
fn changed_keys_are_taken_up_at_once() {
    run_case(async {
        let place = Place::fresh().await;
        let log = TestLog::with(ORIGIN, 50);
        let bucket = place.sink().await;
        place.guard.rotate();
        let error = bucket.append(&log.range(0, 50)).await.unwrap_err();
        assert!(matches!(error, ReplicaError::Denied { .. }), "{error:?}");
        assert!(!error.to_string().contains("a-secret"), "{error}");
        // It still uses the old credentials.
        let profile = format!(
            "[trail]\naws_access_key_id = {ROTATED_KEY}\naws_secret_access_key = another\n"
        );
        std::fs::write(place.credentials.path().join("credentials"), profile).unwrap();
        bucket.append(&log.range(0, 50)).await.unwrap();
        assert_eq!(bucket.cursor(ORIGIN).await.unwrap().next(), 50);
    });
}

/// Somebody with rights to delete can put a marker above an object: its first version still exists,
/// and the sink continues from it.
#[test]
fn delete_markers_above_the_newest_objects_do_not_stop_it() {
    run_case(async {
        let place = Place::fresh().await;
        let log = TestLog::with(ORIGIN, 300);
        place.sink().await.append(&log.range(0, 300)).await.unwrap();
        for key in ["tile/entries/001.p/44", "tile/0/001.p/44"] {
            let request = place.bucket.delete(&format!("{SITE}{key}"));
            assert_eq!(S3Server::shared().ask(request).status, 204);
        }
        log.add(300);
        let bucket = place.sink().await;
        assert_eq!(bucket.cursor(ORIGIN).await.unwrap().next(), 300);
        bucket.append(&log.range(300, 300)).await.unwrap();
        assert_eq!(bucket.cursor(ORIGIN).await.unwrap().next(), 600);
    });
}

/// An object of another history at a place that comes later is a fork when that place is reached.
#[test]
fn another_object_that_is_there_already_is_a_fork() {
    run_case(async {
        let place = Place::fresh().await;
        let (log, other) = (TestLog::with(ORIGIN, 600), TestLog::with(ORIGIN, 100));
        other.add_other(500, "other");
        let bucket = place.sink().await;
        bucket.append(&log.range(0, 50)).await.unwrap();
        // A second writer that was killed before its commit would leave this.
        let bundle: Vec<_> = other.entries()[..256].to_vec();
        let bytes = livetrail_tlog::encode_bundle(&bundle).unwrap();
        let put = place.bucket.put(&format!("{SITE}tile/entries/000"), bytes);
        assert_eq!(S3Server::shared().ask(put).status, 200);
        let error = bucket.append(&log.range(50, 550)).await.unwrap_err();
        assert!(
            matches!(error, ReplicaError::Fork { index: 100, .. }),
            "{error:?}"
        );
        assert_eq!(place.sink().await.cursor(ORIGIN).await.unwrap().next(), 50);
    });
}
