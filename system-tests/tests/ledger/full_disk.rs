//! A real small disk that is full: the least important records are dropped and counted, new
//! sessions are refused, and when space is free again the same log continues by itself.

use std::time::Duration;

use system_tests::{SmallDisk, clock};

use crate::settings::say;
use crate::subject::Subject;

/// Room for the writer's segments and tiles, with some to spare.
const MIB: u64 = 24;

/// The writer looks for room once a second.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_full_disk_sheds_and_refuses_and_with_free_space_the_same_log_continues() {
    let Some(disk) = SmallDisk::new(MIB) else {
        say("NOT SHOWN: a full disk; LIVETRAIL_NO_MOUNTS is set");
        return;
    };
    let mut subject = Subject::in_dir(&disk.path());
    let writer = subject.start_patient(10_000);
    let said = |word: &str| writer.said().matches(word).count();
    let wait_for_more = |what: &str, word: &str, more: usize| {
        let before = said(word);
        clock::wait_until(what, SOON, || said(word) >= before + more);
    };
    wait_for_more("something durable", "\ndurable ", 3);
    for _ in 0..2 {
        let (shed, refused, reported) = (said("\nshed "), said("\nrefused "), said("\nreported "));
        disk.fill();
        clock::wait_until("what is worth least is shed", SOON, || {
            said("\nshed ") > shed
        });
        clock::wait_until("a session is refused", SOON, || {
            said("\nrefused ") > refused
        });
        disk.free();
        clock::wait_until("the loss is on record", SOON, || {
            said("\nreported ") > reported
        });
        wait_for_more("checkpoints go on", "\nsealed ", 3);
    }
    subject.hear(&writer.crash());
    let report = subject.recover_and_verify();
    let dropped = report.sessions.dropped;
    assert!(dropped > 0, "{report}");
    subject.fill(subject.durable + 500);
    let report = subject.recover_and_verify();
    assert_eq!(report.sessions.dropped, dropped, "{report}");
    assert!(subject.check_roots() > 10);
    say(&format!(
        "{dropped} records were shed or refused, and each is accounted for"
    ));
}
