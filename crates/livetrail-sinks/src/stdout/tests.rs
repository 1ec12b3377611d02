//! Readers that are slow, gone or absent, and outputs that are full.

use std::fs::File;
use std::io::{PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use livetrail_replica::conformance::TestLog;
use livetrail_replica::{ErrorClass, Gap, ReplicaError, ReplicaSink as _};
use tempfile::TempDir;

use super::StdoutSink;
use crate::json_line;

const ORIGIN: &str = "example.com/a";

/// A pipe with a sink at one end. The system buffers 64 KiB.
fn piped() -> (StdoutSink, PipeReader, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let sink = StdoutSink::over("out", File::from(OwnedFd::from(writer)), folder.path());
    (sink, reader, folder)
}

/// The lines of a log's first entries.
fn lines(log: &TestLog, count: usize) -> String {
    let mut text = String::new();
    for (index, entry) in (0..).zip(&log.entries()[..count]) {
        let leaf = livetrail_tlog::leaf_hash(entry);
        json_line::entry(&mut text, index, &leaf, entry, true, None);
    }
    text
}

#[tokio::test]
async fn what_a_slow_reader_has_taken_of_a_batch_that_was_given_up_is_not_written_again() {
    let log = TestLog::with(ORIGIN, 900);
    let (sink, mut reader, _folder) = piped();
    sink.append(&log.range(0, 100)).await.unwrap();
    let range = log.range(100, 600);
    let patience = Duration::from_millis(100);
    let given_up = tokio::time::timeout(patience, sink.append(&range)).await;
    assert!(given_up.is_err(), "the pipe takes 64 KiB and no more");
    let busy = sink.append(&range).await.unwrap_err();
    assert_eq!(busy.class(), ErrorClass::Passing, "{busy:?}");
    assert!(busy.to_string().contains("slow"), "{busy}");
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 100);

    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    // The abandoned thread ends when its batch is written. The test then sends the same batch with
    // more entries, so a part of it is already written.
    loop {
        match sink.append(&log.range(100, 800)).await {
            Ok(()) => break,
            Err(ReplicaError::Unavailable { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 900);
    drop(sink);
    assert_eq!(reading.join().unwrap().unwrap(), lines(&log, 900));
}

#[tokio::test]
async fn a_process_that_comes_after_one_that_had_not_noted_it_writes_the_batch_again() {
    let log = TestLog::with(ORIGIN, 60);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let open = || {
        File::options()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap()
    };
    let start = |at: &str| StdoutSink::over("out", open(), &folder.path().join(at));
    let sink = start("a");
    sink.append(&log.range(0, 20)).await.unwrap();
    sink.append(&log.range(20, 20)).await.unwrap();
    // This sets the cursor back to its state before the second batch.
    let earlier = start("b");
    earlier.append(&log.range(0, 20)).await.unwrap();
    earlier.append(&log.range(20, 40)).await.unwrap();
    let all = lines(&log, 60);
    let forty = lines(&log, 40);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), forty + &all);
    let moved = sink.append(&log.range(20, 20)).await.unwrap_err();
    assert!(matches!(moved, ReplicaError::CursorMoved { found: 40, .. }));
}

#[tokio::test]
async fn behind_a_line_that_a_killed_process_did_not_end_a_new_one_begins() {
    let log = TestLog::with(ORIGIN, 60);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let all = lines(&log, 60);
    for (before, between) in [("", ""), ("{\"index\":0,\"le", "\n"), ("other\n", "")] {
        std::fs::write(&path, before).unwrap();
        let output = File::options().append(true).open(&path).unwrap();
        let cursors = folder.path().join(format!("cursors-{}", before.len()));
        let sink = StdoutSink::over("out", output, &cursors);
        sink.append(&log.range(0, 20)).await.unwrap();
        sink.append(&log.range(20, 40)).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{before}{between}{all}"));
    }
}

#[tokio::test]
async fn a_reader_that_left_is_reported_and_the_cursor_stays() {
    let log = TestLog::with(ORIGIN, 40);
    let (sink, reader, _folder) = piped();
    sink.append(&log.range(0, 20)).await.unwrap();
    drop(reader);
    for _ in 0..2 {
        let error = sink.append(&log.range(20, 20)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent, "{error:?}");
        assert!(error.to_string().contains("nobody reads"), "{error}");
    }
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 20);
}

#[tokio::test]
async fn nowhere_is_refused_and_a_full_disk_is_tried_again() {
    let log = TestLog::with(ORIGIN, 20);
    let folder = tempfile::tempdir().unwrap();
    for (device, class, words) in [
        ("/dev/null", ErrorClass::Permanent, "/dev/null"),
        ("/dev/full", ErrorClass::Passing, "cannot write"),
    ] {
        let output = File::options().write(true).open(device).unwrap();
        let sink = StdoutSink::over("out", output, folder.path());
        let error = sink.append(&log.range(0, 20)).await.unwrap_err();
        assert_eq!(error.class(), class, "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 0);
    }
}

#[tokio::test]
async fn a_gap_is_a_line_and_it_goes_on_behind_it() {
    let log = TestLog::with(ORIGIN, 600);
    let (sink, mut reader, _folder) = piped();
    sink.append(&log.range(0, 20)).await.unwrap();
    sink.skip(&Gap::new(ORIGIN, 20..512, "pruned"))
        .await
        .unwrap();
    sink.append(&log.range(512, 88)).await.unwrap();
    assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 600);
    drop(sink);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let all = lines(&log, 600);
    let before: String = all.split_inclusive('\n').take(20).collect();
    let behind: String = all.split_inclusive('\n').skip(512).collect();
    let gap = "{\"first_index\":20,\"next_index\":512,\"gap\":\"pruned\"}\n";
    assert_eq!(text, before + gap + &behind);
}
