//! Another program moves the file away, with and without a signal.

use super::*;

/// Moves the file as logrotate does. `create` leaves an empty file at the path.
fn move_away(folder: &Folder, to: &str, create: bool) -> PathBuf {
    let to = folder.path.with_file_name(to);
    fs::rename(&folder.path, &to).unwrap();
    if create {
        File::create_new(&folder.path).unwrap();
    }
    to
}

fn together(folder: &Folder, moved: &[PathBuf]) -> String {
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    moved.iter().map(read).collect::<String>() + &folder.text()
}

#[test]
fn lines_go_into_the_moved_file_until_the_signal_and_into_a_new_one_after_it() {
    for create in [false, true] {
        let log = TestLog::with(ORIGIN, 90);
        let folder = begun();
        let mut target = folder.target(Format::Lines);
        append(&mut target, &log, 20, 10).unwrap();
        let first = move_away(&folder, "trail.tsv.1", create);
        append(&mut target, &log, 30, 10).unwrap();
        assert_eq!(folder.text(), "", "before the signal");
        target.reopen().unwrap();
        assert_eq!(fs::read_to_string(&first).unwrap(), lines(&log, 40));
        append(&mut target, &log, 40, 10).unwrap();
        assert_eq!(fs::read_to_string(&first).unwrap(), lines(&log, 40));
        // First there is a signal without a move. Then the file moves again, and nothing is written
        // before the signal.
        target.reopen().unwrap();
        append(&mut target, &log, 50, 10).unwrap();
        let second = move_away(&folder, "trail.tsv.2", create);
        target.reopen().unwrap();
        append(&mut target, &log, 60, 30).unwrap();
        assert_eq!(together(&folder, &[first, second]), lines(&log, 90));
    }
}

#[test]
fn a_file_moved_while_nobody_wrote_is_found_and_a_torn_end_in_it_is_truncated() {
    for create in [false, true] {
        for torn in [false, true] {
            let log = TestLog::with(ORIGIN, 60);
            let folder = begun();
            if torn {
                assert!(end_after(
                    &mut folder.target(Format::Lines),
                    &log,
                    20,
                    10,
                    Step::Written
                ));
                assert!(folder.text().len() > lines(&log, 20).len());
            }
            let moved = move_away(&folder, "trail.tsv-20261125", create);
            // A reader that takes no lock sees where the cursor is.
            let asked = folder.target(Format::Lines).cursor(ORIGIN).unwrap();
            assert_eq!(asked.unwrap().next, 20);
            append(&mut folder.target(Format::Lines), &log, 20, 40).unwrap();
            assert_eq!(fs::read_to_string(&moved).unwrap(), lines(&log, 20));
            assert_eq!(together(&folder, &[moved]), lines(&log, 60));
        }
    }
}

#[test]
fn a_missing_file_is_refused_until_the_signal_confirms_it() {
    for create in [false, true] {
        let log = TestLog::with(ORIGIN, 60);
        let folder = begun();
        let elsewhere = tempfile::tempdir().unwrap();
        let gone = elsewhere.path().join("trail.tsv");
        fs::rename(&folder.path, &gone).unwrap();
        if create {
            File::create_new(&folder.path).unwrap();
        }
        assert_refused(&folder, Format::Lines, ORIGIN, "send the server SIGHUP");
        let mut target = folder.target(Format::Lines);
        target.reopen().unwrap();
        append(&mut target, &log, 20, 40).unwrap();
        assert_eq!(together(&folder, &[gone]), lines(&log, 60));
    }
}

#[test]
fn what_was_deleted_under_the_writer_is_refused_at_once() {
    let log = TestLog::with(ORIGIN, 60);
    let folder = begun();
    let mut target = folder.target(Format::Lines);
    append(&mut target, &log, 20, 10).unwrap();
    fs::remove_file(&folder.path).unwrap();
    let error = append(&mut target, &log, 30, 10).unwrap_err();
    assert!(error.to_string().contains("put it back"), "{error}");
    // The file is there: as a copy.
    let text = lines(&log, 30);
    fs::write(&folder.path, &text).unwrap();
    append(&mut target, &log, 30, 20).unwrap();
    append(&mut folder.target(Format::Lines), &log, 50, 10).unwrap();
    assert_eq!(folder.text(), lines(&log, 60));
}

#[test]
fn a_truncated_file_is_refused_with_a_message_also_after_a_signal_and_a_restart() {
    let log = TestLog::with(ORIGIN, 60);
    let folder = begun();
    let mut target = folder.target(Format::Lines);
    append(&mut target, &log, 20, 10).unwrap();
    // This does what `copytruncate` does.
    fs::copy(&folder.path, folder.path.with_file_name("trail.tsv.1")).unwrap();
    File::options()
        .write(true)
        .open(&folder.path)
        .unwrap()
        .set_len(0)
        .unwrap();
    let mut restarted = folder.target(Format::Lines);
    for target in [&mut target, &mut restarted] {
        for error in [
            append(target, &log, 30, 10).unwrap_err(),
            target.reopen().unwrap_err(),
            append(target, &log, 30, 10).unwrap_err(),
        ] {
            assert_eq!(error.class(), ErrorClass::Permanent, "{error:?}");
            assert!(error.to_string().contains("copytruncate"), "{error}");
        }
    }
    assert_eq!(folder.text(), "");
}

#[test]
fn another_file_in_its_place_is_never_written_to() {
    let log = TestLog::with(ORIGIN, 61);
    let folder = begun();
    let mut target = folder.target(Format::Lines);
    append(&mut target, &log, 20, 10).unwrap();
    let moved = move_away(&folder, "trail.tsv.1", false);
    let other = "x".repeat(lines(&log, 60).len());
    fs::write(&folder.path, &other).unwrap();
    for _ in 0..2 {
        let error = target.reopen().unwrap_err();
        assert!(error.to_string().contains("another file"), "{error}");
        let error = append(&mut target, &log, 30, 10).unwrap_err();
        assert!(error.to_string().contains("another file"), "{error}");
    }
    assert_eq!(folder.text(), other);
    fs::remove_file(&folder.path).unwrap();
    append(&mut target, &log, 30, 30).unwrap();
    assert_eq!(together(&folder, &[moved]), lines(&log, 60));

    // The next file has started and has no lines yet.
    move_away(&folder, "trail.tsv.2", false);
    target.reopen().unwrap();
    move_away(&folder, "trail.tsv.3", false);
    fs::write(&folder.path, &other).unwrap();
    let mut restarted = folder.target(Format::Lines);
    let error = append(&mut restarted, &log, 60, 1).unwrap_err();
    assert!(error.to_string().contains("another file"), "{error}");
    assert_eq!(folder.text(), other);
}

#[tokio::test]
async fn a_signal_before_anything_was_written_changes_nothing() {
    let folder = Folder::new();
    let log = TestLog::with(ORIGIN, 20);
    let sink = FileReplica::new("file", &folder.path, Format::Lines);
    assert!(sink.reopen().await.unwrap());
    sink.append(&log.range(0, 20)).await.unwrap();
    assert!(sink.reopen().await.unwrap());
    assert_eq!(folder.text(), lines(&log, 20));
}
