//! A bucket whose owner can bypass every lock: an older copy of the ledger does not start against
//! its remains, and the sink continues where that is possible.

use std::sync::Arc;
use std::time::Duration;

use livetrail_ledger::{ExternalFloor as _, SeenTree};
use livetrail_replica::conformance::{TestLog, run_case};
use livetrail_replica::{ReplicaFloor, ReplicaSink};
use livetrail_s3::answer::Version;
use system_tests::S3Server;

use super::{Place, sink};

const ORIGIN: &str = "example.com/a";
const SITE: &str = "some/where/example.com_2Fa/";
const LONG: Duration = Duration::from_secs(60);

/// A bucket that locks nothing, with a log of 200 entries that became 400.
struct Owned {
    place: Place,
    log: TestLog,
    yesterday: TestLog,
}

impl Owned {
    async fn fresh() -> Self {
        let place = Place::with(false).await;
        let log = TestLog::with(ORIGIN, 200);
        let yesterday = tokio::task::block_in_place(|| log.copy());
        let owned = Self {
            place,
            log,
            yesterday,
        };
        let sink = owned.sink();
        sink.append(&owned.log.range(0, 200)).await.unwrap();
        owned.log.add(200);
        sink.append(&owned.log.range(200, 200)).await.unwrap();
        owned
    }

    fn sink(&self) -> Arc<dyn ReplicaSink> {
        let mut options = self.place.options();
        options.retention = None;
        Arc::new(sink(options))
    }

    /// The answer that yesterday's copy of the ledger gets at its start.
    fn reported(&self) -> Option<u64> {
        let sinks = vec![(self.sink(), true)];
        let mut floor = ReplicaFloor::new(self.yesterday.reader(), sinks, LONG);
        let seen = tokio::task::block_in_place(|| floor.largest_seen());
        assert!(floor.unanswered().is_empty(), "the answer is whole");
        seen.iter().find_map(|floor| match floor.seen {
            SeenTree::Tree(head) => Some(head.size),
            _ => None,
        })
    }

    fn versions(&self) -> Vec<Version> {
        self.place.versions(ORIGIN)
    }

    fn put(&self, key: &str, body: impl Into<bytes::Bytes>) {
        let put = self.place.bucket.put(&format!("{SITE}{key}"), body);
        assert_eq!(S3Server::shared().ask(put).status, 200, "{key}");
    }

    /// Removes all objects with this prefix.
    fn remove(&self, beginning: &str) {
        for version in self.versions() {
            if version.key.starts_with(beginning) {
                let key = format!("{SITE}{}", version.key);
                let delete = self.place.bucket.delete_version(&key, &version.version_id);
                assert_eq!(S3Server::shared().ask(delete).status, 204, "{key}");
            }
        }
    }

    /// Puts a delete marker above it, or removes it where no versions are kept.
    fn hide(&self, key: &str) {
        let delete = self.place.bucket.delete(&format!("{SITE}{key}"));
        assert_eq!(S3Server::shared().ask(delete).status, 204, "{key}");
    }

    fn read(&self, key: &str) -> Vec<u8> {
        let answer = S3Server::shared().ask(self.place.bucket.get(&format!("{SITE}{key}")));
        assert_eq!(answer.status, 200, "{key}");
        answer.body
    }

    /// It continues, to 450 entries.
    async fn assert_goes_on(&self) {
        let sink = self.sink();
        let next = sink.cursor(ORIGIN).await.unwrap().next();
        self.log.add(50);
        let rest = usize::try_from(self.log.size() - next).unwrap();
        sink.append(&self.log.range(next, rest)).await.unwrap();
        let next = sink.cursor(ORIGIN).await.unwrap().next();
        assert_eq!(next, self.log.size());
    }
}

fn of_size(folder: &str, size: u64) -> String {
    format!("{folder}/{size:020}")
}

#[test]
fn what_is_left_of_the_newer_checkpoints_keeps_an_older_copy_from_starting() {
    run_case(async {
        // Newer checkpoints and commits are gone, and `checkpoint` is left.
        let owned = Owned::fresh().await;
        assert_eq!(owned.reported(), Some(400));
        owned.remove(&of_size("checkpoints", 400));
        owned.remove(&of_size("commits", 400));
        assert_eq!(owned.reported(), Some(400));
        owned.assert_goes_on().await;

        // `checkpoint` is an older one, which is properly signed; the archive has the newest.
        let owned = Owned::fresh().await;
        let older = owned.read(&of_size("checkpoints", 200));
        owned.put("checkpoint", older.clone());
        assert_eq!(owned.reported(), Some(400));
        owned.assert_goes_on().await;

        // A whole copy of yesterday proves nothing, and raises no alarm.
        let owned = Owned::fresh().await;
        for beginning in ["checkpoints", "commits"] {
            owned.remove(&of_size(beginning, 400));
        }
        owned.remove("checkpoint");
        owned.put(&of_size("checkpoints", 200), older.clone());
        owned.put("checkpoint", older);
        assert_eq!(owned.reported(), Some(200));
        owned.assert_goes_on().await;
    });
}

#[test]
fn rubbish_under_any_name_hides_nothing_and_does_not_stop_the_sink() {
    run_case(async {
        let owned = Owned::fresh().await;
        for folder in ["commits", "checkpoints"] {
            owned.put(&of_size(folder, 999_999), "rubbish");
        }
        assert_eq!(owned.reported(), Some(400));
        owned.assert_goes_on().await;

        // A good one under the name of a larger one, and rubbish where the next batch ends.
        let owned = Owned::fresh().await;
        let newest = owned.read(&of_size("checkpoints", 400));
        owned.put(&of_size("checkpoints", 999_999), newest);
        for folder in ["commits", "checkpoints"] {
            owned.put(&of_size(folder, 450), "rubbish");
        }
        assert_eq!(owned.reported(), Some(400));
        let sink = owned.sink();
        owned.log.add(50);
        sink.append(&owned.log.range(400, 50)).await.unwrap();
        owned.assert_goes_on().await;
    });
}

#[test]
fn a_tail_whose_tiles_are_gone_is_written_again_from_the_commit_before() {
    run_case(async {
        let owned = Owned::fresh().await;
        owned.hide("tile/0/001.p/144");
        owned.hide("tile/entries/001.p/144");
        assert_eq!(owned.reported(), Some(400));
        assert_eq!(owned.sink().cursor(ORIGIN).await.unwrap().next(), 200);
        owned.assert_goes_on().await;
    });
}
