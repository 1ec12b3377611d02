//! The process ends at each step of an append. Also: what the sink refuses, and the words of the
//! errors.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use livetrail_record::{encode_line, parse_canonical};
use livetrail_replica::conformance::TestLog;
use livetrail_replica::{ErrorClass, Gap, ReplicaError, ReplicaSink as _};

use super::append::{Step, Target, nothing_happens};
use super::batch::Batch;
use super::place::Place;
use super::{FileReplica, Format, Rotation};

mod moved;
mod rotation;

const ORIGIN: &str = "example.com/a";

const STEPS: [Step; 7] = [
    Step::Opened,
    Step::Begun,
    Step::Cut,
    Step::Written,
    Step::Synced,
    Step::CursorBeside,
    Step::Renamed,
];

/// A directory for a file and its companions.
struct Folder {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trail.tsv");
        Self { _dir: dir, path }
    }

    fn target(&self, format: Format) -> Target {
        self.rotating(format, Rotation::default())
    }

    fn rotating(&self, format: Format, rotation: Rotation) -> Target {
        Target::new(self.path.clone(), format, rotation)
    }

    fn cursor_path(&self) -> PathBuf {
        self.path.with_extension("tsv.cursor")
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }
}

/// The lines of a log's first entries. The sink encodes them with other code.
fn lines(log: &TestLog, count: usize) -> String {
    let entries = log.entries();
    let records = entries[..count].iter().map(|e| parse_canonical(e).unwrap());
    records.map(|record| encode_line(&record)).collect()
}

fn append(
    target: &mut Target,
    log: &TestLog,
    first: u64,
    count: usize,
) -> Result<(), ReplicaError> {
    let batch = Batch::of_range(&log.range(first, count), target.format());
    target.append(log.origin(), &batch, &mut nothing_happens)
}

/// Ends an append after this step. `false` if the append never reached it.
fn end_after(target: &mut Target, log: &TestLog, first: u64, count: usize, last: Step) -> bool {
    let batch = Batch::of_range(&log.range(first, count), target.format());
    let mut reached = false;
    let ended = target.append(log.origin(), &batch, &mut |step| {
        assert!(!reached, "{step:?} is done after {last:?}, where it ended");
        reached = step == last;
        if reached {
            return Err(io::Error::other("the process ends"));
        }
        Ok(())
    });
    assert_eq!(ended.is_err(), reached);
    reached
}

#[test]
fn each_entry_is_there_once_at_whatever_step_the_process_ends() {
    let log = TestLog::with(ORIGIN, 60);
    for before in [0, 20] {
        for step in STEPS {
            // If the machine ends, the unsynced data may be gone, all or in part.
            for kept in ["all", "half", "none", "holes"] {
                let folder = Folder::new();
                let mut target = folder.target(Format::Lines);
                if before > 0 {
                    append(&mut target, &log, 0, before).unwrap();
                }
                let committed = lines(&log, before).len() as u64;
                assert!(end_after(&mut target, &log, before as u64, 20, step));
                let unsynced = matches!(step, Step::Cut | Step::Written);
                let length = folder.text().len() as u64;
                if unsynced && kept != "all" {
                    let file = File::options().write(true).open(&folder.path).unwrap();
                    let half = committed + (length - committed) / 2;
                    file.set_len(if kept == "none" { committed } else { half })
                        .unwrap();
                    if kept == "holes" {
                        file.set_len(length + 100).unwrap();
                    }
                }
                // Another process continues from the cursor.
                let mut next = folder.target(Format::Lines);
                let cursor = next.cursor(ORIGIN).unwrap();
                let at = cursor.map_or(0, |cursor| cursor.next);
                let wanted = if step == Step::Renamed { 20 } else { 0 };
                assert_eq!(at, before as u64 + wanted, "{step:?}");
                // This batch is shorter than the interrupted one. Nothing of that may stay after
                // it.
                append(&mut next, &log, at, 5).unwrap();
                let there = usize::try_from(at).unwrap() + 5;
                assert_eq!(folder.text(), lines(&log, there), "{step:?}, {kept} kept");
                append(&mut next, &log, at + 5, 60 - there).unwrap();
                assert_eq!(folder.text(), lines(&log, 60), "{step:?}, {kept} kept");
            }
        }
    }
}

#[test]
fn the_cursor_says_what_is_synced_and_nothing_is_committed_before() {
    let log = TestLog::with(ORIGIN, 40);
    let folder = Folder::new();
    let mut target = folder.target(Format::Lines);
    append(&mut target, &log, 0, 20).unwrap();
    let batch = Batch::of_range(&log.range(20, 20), Format::Lines);
    let mut steps = Vec::new();
    let appended = target.append(ORIGIN, &batch, &mut |step| {
        let cursor = folder.target(Format::Lines).cursor(ORIGIN).unwrap();
        steps.push((step, cursor.unwrap().next, folder.text().lines().count()));
        Ok(())
    });
    appended.unwrap();
    let wanted = [
        (Step::Opened, 20, 20),
        (Step::Begun, 20, 20),
        (Step::Cut, 20, 20),
        (Step::Written, 20, 40),
        (Step::Synced, 20, 40),
        (Step::CursorBeside, 20, 40),
        (Step::Renamed, 40, 40),
    ];
    assert_eq!(steps, wanted);
    let cursor = target.cursor(ORIGIN).unwrap().unwrap();
    let range = log.range(20, 20);
    assert_eq!(cursor.bytes, folder.text().len() as u64);
    assert_eq!(cursor.last_leaf.as_ref(), range.leaves().last());
    assert_eq!(cursor.checkpoint.as_ref(), Some(range.note()));
}

#[test]
fn a_range_that_was_there_or_leaves_a_hole_finds_the_cursor_elsewhere() {
    let log = TestLog::with(ORIGIN, 60);
    let folder = Folder::new();
    let mut target = folder.target(Format::Json);
    append(&mut target, &log, 0, 20).unwrap();
    let before = folder.text();
    for first in [0, 10, 30] {
        let error = append(&mut target, &log, first, 20).unwrap_err();
        assert!(
            matches!(error, ReplicaError::CursorMoved { found: 20, .. }),
            "{first}: {error:?}"
        );
    }
    assert_eq!(folder.text(), before);
}

/// Checks the error for a directory that someone changed. The file must stay as it is.
#[track_caller]
fn assert_refused(folder: &Folder, format: Format, origin: &str, words: &str) {
    let before = (folder.text(), fs::read(folder.cursor_path()).ok());
    let mut target = folder.target(format);
    let log = TestLog::with(origin, 60);
    let error = append(&mut target, &log, 20, 20).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent, "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!((folder.text(), fs::read(folder.cursor_path()).ok()), before);
}

/// A directory with a file of 20 lines and its cursor.
fn begun() -> Folder {
    let folder = Folder::new();
    let log = TestLog::with(ORIGIN, 20);
    append(&mut folder.target(Format::Lines), &log, 0, 20).unwrap();
    folder
}

#[test]
fn foreign_and_changed_files_are_refused_and_not_touched() {
    let shorter = begun();
    let text = shorter.text();
    fs::write(&shorter.path, &text[..text.len() - 1]).unwrap();
    assert_refused(&shorter, Format::Lines, ORIGIN, "was cut in place");
    // Another file is at the path, and it is too short.
    let kept = File::open(&shorter.path).unwrap();
    fs::remove_file(&shorter.path).unwrap();
    fs::write(&shorter.path, &text[..text.len() - 1]).unwrap();
    drop(kept);
    assert_refused(&shorter, Format::Lines, ORIGIN, "restore the file");
    fs::remove_file(&shorter.path).unwrap();
    assert_refused(&shorter, Format::Lines, ORIGIN, "put it back");
    // A restored copy is as good as the original.
    fs::write(&shorter.path, &text).unwrap();
    let log = TestLog::with(ORIGIN, 60);
    append(&mut shorter.target(Format::Lines), &log, 20, 40).unwrap();
    assert_eq!(shorter.text(), lines(&log, 60));

    let without = begun();
    fs::remove_file(without.cursor_path()).unwrap();
    assert_refused(&without, Format::Lines, ORIGIN, "says of which log");

    let changed = begun();
    fs::write(&changed.path, text.replace('\n', " ")).unwrap();
    assert_refused(&changed, Format::Lines, ORIGIN, "no line ends at byte");

    let other = "a file of its own";
    assert_refused(&begun(), Format::Lines, "example.com/b", other);
    assert_refused(&begun(), Format::Json, ORIGIN, "set it back");

    let link = Folder::new();
    std::os::unix::fs::symlink("/dev/null", &link.path).unwrap();
    assert_refused(&link, Format::Lines, ORIGIN, "no plain file");

    let path = PathBuf::from("/nonexistent/trail.tsv");
    let place = Place::new(path.clone());
    let mut nowhere = Target::new(path, Format::Lines, Rotation::default());
    for error in [
        place.health(),
        append(&mut nowhere, &TestLog::with(ORIGIN, 1), 0, 1),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent, "{error:?}");
        assert!(error.to_string().contains("make its directory"), "{error}");
    }

    let damaged = begun();
    fs::write(damaged.cursor_path(), "x").unwrap();
    let error = damaged.target(Format::Lines).cursor(ORIGIN).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fork, "{error:?}");
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let folder = begun();
    let log = TestLog::with(ORIGIN, 60);
    let held = File::open(folder.path.with_extension("tsv.lock")).unwrap();
    held.lock().unwrap();
    let mut target = folder.target(Format::Lines);
    let error = append(&mut target, &log, 20, 20).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Passing, "{error:?}");
    assert!(error.to_string().contains("another process"), "{error}");
    assert_eq!(target.cursor(ORIGIN).unwrap().unwrap().next, 20);
    Place::new(folder.path.clone()).health().unwrap();
    drop(held);
    append(&mut target, &log, 20, 40).unwrap();
    assert_eq!(folder.text(), lines(&log, 60));
}

#[tokio::test]
async fn a_gap_is_a_line_and_the_cursor_goes_on_behind_it() {
    let folder = Folder::new();
    let log = TestLog::with(ORIGIN, 600);
    let sink = FileReplica::new("file", &folder.path, Format::Lines);
    sink.append(&log.range(0, 20)).await.unwrap();
    let newest = sink.cursor(ORIGIN).await.unwrap().checkpoint().cloned();
    let gap = Gap::new(ORIGIN, 20..512, "pruned");
    sink.skip(&gap).await.unwrap();
    let again = sink.skip(&gap).await.unwrap_err();
    assert!(
        matches!(again, ReplicaError::CursorMoved { found: 512, .. }),
        "{again:?}"
    );
    let cursor = sink.cursor(ORIGIN).await.unwrap();
    assert_eq!((cursor.next(), cursor.last_leaf()), (512, None));
    assert_eq!(cursor.checkpoint(), newest.as_ref());
    sink.append(&log.range(512, 88)).await.unwrap();
    let text = folder.text();
    let gap = text.lines().nth(20).unwrap();
    assert!(gap.contains("\tgap ") && gap.contains("next_index=512"));
    assert_eq!(text.lines().count(), 20 + 1 + 88);
    assert!(Path::new(&folder.path).is_file());
}
