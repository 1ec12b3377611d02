//! A file of lines in JSON, in the folder for temporary files.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use livetrail_replica::ReplicaOptions;
use livetrail_replica::conformance::TestLog;
use livetrail_sinks::file::{FileReplica, Format};

use crate::{Round, follow, in_turns, rate};

pub(crate) const BARE: &str =
    "the same bytes appended to a file, `fdatasync` after as many as a batch has";

pub(crate) fn round(log: &TestLog, sink_first: bool) -> Round {
    let dir = tempfile::tempdir().expect("a folder");
    let to = |name: &str| {
        let path = dir.path().join(name);
        follow(log, Arc::new(FileReplica::new("file", path, Format::Json)))
    };
    if !sink_first {
        // So that there are bytes to append.
        to("example.json");
    }
    let sink = || to("trail.json");
    let bare = || {
        let made = if sink_first {
            "trail.json"
        } else {
            "example.json"
        };
        let bytes = std::fs::read(dir.path().join(made)).expect("the lines");
        let batch = ReplicaOptions::default().batch_records as u64;
        let batches = log.size().div_ceil(batch).max(1);
        let part = bytes.len().div_ceil(batches as usize);
        let mut file = File::create(dir.path().join("bare")).expect("a file");
        rate(log, || {
            for part in bytes.chunks(part) {
                file.write_all(part).expect("it is written");
                file.sync_data().expect("it is synced");
            }
        })
    };
    in_turns(sink_first, sink, bare)
}
