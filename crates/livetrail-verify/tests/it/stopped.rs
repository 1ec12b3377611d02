//! A log that stopped while its server continued: the verifier reports what the next start puts on
//! record, and raises no false alarm.

use livetrail_record::{AuditAction, AuditRecord, LossCounts, Value};
use livetrail_verify::{Class, Finding, Report, Severity};

use crate::support::{NEXT_BOOT, Story, assert_found, assert_sound, check, keys, story};

const MISSING: u64 = 5;

/// Nine records of a boot, then a session that the log's stop leaves open.
fn until_the_stop() -> Story {
    let mut story = story(9);
    story.of(0xa, AuditAction::PlayStarted);
    story
}

/// The report of a next start that knows the number: a record of the boot that ended, without its
/// monotonic time.
fn exact(story: &mut Story) {
    let first = story.records.len() as u64;
    let mut counts = LossCounts::new();
    counts.add("play_denied", MISSING - 1);
    counts.add("play_ended", 1);
    story.lose(MISSING);
    let loss = AuditRecord::new(AuditAction::RecordsDropped, "")
        .with_count(MISSING)
        .with_first_seq(first)
        .with_last_seq(first + MISSING - 1)
        .with_detail(counts.to_detail())
        .with_extra("log_stopped_ms", Value::Integer(1_763_805_611_000))
        .and_then(|record| record.with_extra("log_stopped_why", Value::Text("EROFS".to_owned())));
    story.push(loss.unwrap());
    story.records.last_mut().unwrap().mono_ms = None;
}

/// The report of a next start that does not: a record of no boot.
fn unknown(story: &mut Story) {
    let mut record = AuditRecord::new(AuditAction::LogStopped, "")
        .with_detail("the log stopped and the server was killed later")
        .with_nonce([9; 16]);
    record.ts_ms = story.ts_ms + 1_000;
    story.records.push(record);
}

/// The start after these reports, which closes the session that was open.
fn goes_on(mut story: Story) -> Report {
    story.sleep_ms(2_000);
    story.boots(NEXT_BOOT);
    story.crash_closes(0xa, AuditAction::PlayEnded);
    story.of(0xb, AuditAction::PlayDenied);
    story.push(AuditRecord::new(AuditAction::ServerStopped, ""));
    check(&story.log().files(&keys()), &keys())
}

fn told_of(report: &Report) -> Vec<&Finding> {
    let stopped = |finding: &&Finding| finding.text.contains("the log had stopped");
    report.findings.iter().filter(stopped).collect()
}

#[test]
fn a_loss_whose_number_is_known_is_counted_exactly_and_is_no_alarm() {
    let mut story = until_the_stop();
    exact(&mut story);
    let report = goes_on(story);
    assert_sound(&report);
    let sessions = &report.sessions;
    assert_eq!((sessions.dropped, sessions.unsettled), (MISSING, 0));
    assert_eq!((sessions.open_total, sessions.boots_total), (0, 2));
    assert!(told_of(&report).is_empty(), "{report}");
    assert!(
        report.to_string().contains("5 records reported as lost"),
        "{report}"
    );
}

#[test]
fn a_loss_whose_number_is_not_known_is_a_remark_at_its_record() {
    for counted in [false, true] {
        let mut story = until_the_stop();
        if counted {
            exact(&mut story);
        }
        let at = story.records.len() as u64;
        unknown(&mut story);
        let report = goes_on(story);
        assert_sound(&report);
        let dropped = if counted { MISSING } else { 0 };
        assert_eq!(report.sessions.dropped, dropped, "{report}");
        let [remark] = told_of(&report)[..] else {
            panic!("{report}");
        };
        assert_eq!(
            (remark.severity, remark.class, remark.index),
            (Severity::Remark, Class::Sessions, Some(at))
        );
        assert!(
            report
                .to_string()
                .contains("an unknown number of records is missing"),
            "{report}"
        );
    }
}

#[test]
fn a_report_that_leaves_out_a_missing_record_is_found() {
    let mut story = until_the_stop();
    exact(&mut story);
    let loss = story.records.last_mut().unwrap();
    loss.first_seq = loss.first_seq.map(|first| first + 1);
    loss.count = Some(MISSING - 1);
    let mut counts = LossCounts::new();
    counts.add("play_denied", MISSING - 1);
    loss.detail = Some(counts.to_detail().into());
    assert_found(&goes_on(story), Class::Sessions);
}
