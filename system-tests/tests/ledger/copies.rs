//! Two writers on one directory, and a directory that was put back from an older copy.

use std::path::Path;
use std::time::Duration;

use livetrail_verify::Verdict;
use system_tests::{clock, run};

use crate::subject::{Subject, TIMEOUT};

#[test]
fn a_second_process_on_the_same_directory_refuses_in_words() {
    let mut subject = Subject::new();
    let first = subject.start(1_000);
    clock::wait_until("the first writer", Duration::from_secs(20), || {
        first.said().contains("durable ")
    });
    let second = run("second", &subject.writer(10, 0), TIMEOUT).failure();
    let words = "another process has the trail in";
    assert!(second.stderr.contains(words), "{}", second.output());
    assert_eq!(second.stdout, "", "it never opened the trail");
    subject.hear(&first.crash());
    subject.recover_and_verify();
}

#[test]
fn a_directory_restored_from_an_older_copy_is_found_with_the_newer_checkpoint() {
    let mut subject = Subject::new();
    subject.fill(1_000);
    let older = subject.beside("older");
    copy(&subject.path(), &older);
    assert_eq!(subject.verify(&older).verdict, Verdict::Sound);
    subject.fill(2_000);
    let report = subject.verify(&older);
    assert_eq!(report.verdict.exit_code(), 1, "{report}");
    assert_eq!(subject.verify(&subject.path()).verdict, Verdict::Sound);
}

#[test]
fn a_trail_that_went_on_from_an_older_copy_is_a_fork_and_is_found() {
    let mut subject = Subject::new();
    subject.fill(500);
    let older = subject.beside("older");
    copy(&subject.path(), &older);
    subject.fill(1_500);
    // The older copy replaces the trail, with its keys, and grows beyond it.
    std::fs::rename(subject.path(), subject.beside("newer")).expect("a trail to move");
    std::fs::rename(&older, subject.path()).expect("a copy to move");
    run("fork", &subject.writer(3_000, 0), TIMEOUT).success();
    let report = subject.verify(&subject.path());
    assert_eq!(report.verdict, Verdict::NotSound, "{report}");
}

/// Copies a directory to a path that does not exist yet.
#[track_caller]
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry of a directory");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its kind").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file to copy");
        }
    }
}
