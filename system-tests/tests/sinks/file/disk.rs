//! A real small disk that is full: a partial write is not committed, and when there is space each
//! entry is there once.

use livetrail_replica::conformance::TestLog;
use livetrail_replica::{ErrorClass, ReplicaSink as _};
use livetrail_sinks::file::{FileReplica, Format};
use system_tests::SmallDisk;

use super::held_in;

const ORIGIN: &str = "example.com/a";

/// Room for both files many times over.
const MIB: u64 = 8;

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test says what it has not shown")]
async fn on_a_full_disk_it_stays_behind_and_continues_with_free_space() {
    let Some(disk) = SmallDisk::new(MIB) else {
        eprintln!("NOT SHOWN: a full disk under a file sink; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    let log = TestLog::with(ORIGIN, 1_200);
    let path = disk.path().join("trail.json");
    let sink = FileReplica::new("file", &path, Format::Json);
    sink.append(&log.range(0, 200)).await.unwrap();
    let committed = std::fs::metadata(&path).unwrap().len();
    let wanted = sink.cursor(ORIGIN).await.unwrap();
    for _ in 0..2 {
        disk.fill();
        // Far more than what is left of the file's last block.
        let error = sink.append(&log.range(200, 1_000)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Passing, "{error:?}");
        assert!(std::fs::metadata(&path).unwrap().len() >= committed);
        assert_eq!(sink.cursor(ORIGIN).await.unwrap(), wanted);
        disk.free();
    }
    sink.append(&log.range(200, 1_000)).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let held: Vec<_> = text.lines().map(held_in).collect();
    let entries = (0..).zip(log.entries().into_iter().map(Vec::from));
    assert_eq!(held, entries.collect::<Vec<_>>());
}
