//! Wrong clocks (libfaketime, from outside): the trail is sound all the same, and the verifier
//! raises no false alarm.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use livetrail_verify::Report;
use system_tests::{Process, clock, faketime};

use crate::settings::say;
use crate::subject::Subject;

const SOON: Duration = Duration::from_secs(20);

/// A writer whose wall clock shows the time that is in a file, and can change at any moment.
struct Clockwork {
    time: PathBuf,
    writer: Process,
}

impl Clockwork {
    fn start(subject: &Subject, time: &str) -> Self {
        let path = subject.beside("time");
        faketime::set(&path, time);
        let mut command: Command = subject.writer(u64::MAX, 10_000);
        faketime::apply(&mut command, &path);
        let writer = Process::spawn("trail-writer", &command);
        let clockwork = Self { time: path, writer };
        clockwork.go_on();
        clockwork
    }

    /// Sets the clock, and waits until records and checkpoints with the new time are there.
    fn set(&self, time: &str) {
        faketime::set(&self.time, time);
        self.go_on();
    }

    #[track_caller]
    fn go_on(&self) {
        let sealed = || self.writer.said().matches("\nsealed ").count();
        let before = sealed();
        clock::wait_until("checkpoints go on", SOON, || sealed() >= before + 4);
    }

    fn crash(self, subject: &mut Subject) -> Report {
        subject.hear(&self.writer.crash());
        subject.recover_and_verify()
    }
}

#[test]
fn steps_of_an_hour_and_a_frozen_clock_leave_a_whole_trail() {
    let mut subject = Subject::new();
    let clockwork = Clockwork::start(&subject, "+0");
    clockwork.set("+3600");
    clockwork.set("-3600");
    clockwork.set("2026-01-01 12:00:00");
    clockwork.set("+0");
    let report = clockwork.crash(&mut subject);
    say(&format!(
        "{} steps of the clock",
        report.sessions.clock_steps
    ));
    assert!(report.sessions.clock_steps >= 4, "{report}");
    assert_eq!(report.failures, 0, "{report}");
}

#[test]
fn a_boot_in_1970_continues_the_trail_of_today_and_the_other_way_round() {
    let mut subject = Subject::new();
    let (today, long_ago) = ("+0", "1970-01-01 00:00:01");
    for (boot, time) in [today, long_ago, today, long_ago].into_iter().enumerate() {
        let report = Clockwork::start(&subject, time).crash(&mut subject);
        assert_eq!(report.failures, 0, "boot {boot}: {report}");
        assert_eq!(report.sessions.crashes, boot as u64 + 1, "{report}");
    }
    // The trail was also created in 1970.
    let mut subject = Subject::new();
    let clockwork = Clockwork::start(&subject, long_ago);
    clockwork.set(today);
    let report = clockwork.crash(&mut subject);
    assert!(report.sessions.clock_steps >= 1, "{report}");
    subject.fill(subject.durable + 1_000);
    subject.recover_and_verify();
    assert!(subject.check_roots() > 4);
}
