//! Records that contradict each other or the trail: holds, nodes, ids, clocks, silence, outcomes.

use livetrail_record::{AuditAction, AuditRecord, Outcome, Reason, Uuid, Value};
use livetrail_verify::{Class, Options, Report, Verdict, VerifyError, verify_file};

use crate::support::{
    NEXT_BOOT, Story, assert_found, assert_sound, check, check_with, keys, story,
};

fn of(story: &Story) -> Report {
    check(&story.log().files(&keys()), &keys())
}

fn held(name: &str, from: Option<i64>) -> AuditRecord {
    let record = AuditRecord::new(AuditAction::AdminHeld, "");
    let record = record
        .with_extra("hold", Value::Text(name.to_owned()))
        .unwrap();
    match from {
        Some(from) => record.with_extra("from_index", Value::Integer(from)),
        None => record.with_extra("lifted", Value::Bool(true)),
    }
    .unwrap()
}

fn pruned(last: i64) -> AuditRecord {
    AuditRecord::new(AuditAction::AdminPruned, "")
        .with_extra("first_index", Value::Integer(0))
        .and_then(|record| record.with_extra("last_index", Value::Integer(last)))
        .and_then(|record| record.with_extra("policy", Value::Text("older than 400d".to_owned())))
        .unwrap()
}

#[test]
fn a_hold_on_record_binds_a_pruning() {
    let with = |records: &[AuditRecord]| {
        let mut story = story(600);
        for record in records {
            story.push(record.clone());
        }
        of(&story)
    };
    for good in [
        vec![held("case", Some(256)), pruned(255)],
        vec![held("case", Some(0)), held("case", None), pruned(511)],
        vec![held("case", Some(0)), held("case", Some(512)), pruned(511)],
        vec![pruned(511), held("case", Some(100))],
    ] {
        assert_sound(&with(&good));
    }
    for broken in [
        vec![held("case", Some(256)), pruned(256)],
        vec![
            held("a", Some(0)),
            held("b", Some(0)),
            held("a", None),
            pruned(255),
        ],
        vec![held("case", Some(512)), held("case", Some(0)), pruned(511)],
    ] {
        let report = with(&broken);
        assert_found(&report, Class::NotPruned);
        assert!(report.to_string().contains("was not lifted"), "{report}");
    }
}

/// A crash with an open session, and a boot after it under this node's name.
fn crashed(node: &str, closes: bool) -> Story {
    let mut story = Story::new();
    story.of(7, AuditAction::PlayStarted);
    story.boots(NEXT_BOOT);
    if closes {
        story.crash_closes(7, AuditAction::PlayEnded);
    }
    story.of(8, AuditAction::PlayDenied);
    for record in &mut story.records {
        if record.boot == Some(NEXT_BOOT) {
            record.node = Some(node.to_owned());
        }
    }
    story
}

#[test]
fn a_crash_is_one_also_when_the_next_boot_has_another_node_name() {
    for node in ["n1", "another"] {
        let report = of(&crashed(node, true));
        assert_sound(&report);
        assert_eq!(
            (report.sessions.crashes, report.sessions.open_total),
            (1, 0)
        );
        assert_found(&of(&crashed(node, false)), Class::Sessions);
    }
}

/// A session id that was made at this time.
fn made_at(ms: u64, number: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&(number | 1 << 63).to_be_bytes());
    Uuid::from_bytes(bytes)
}

#[test]
fn an_id_that_is_used_again_is_found_however_long_after() {
    let denied = |session| {
        AuditRecord::new(AuditAction::PlayDenied, "live")
            .with_stream("cam")
            .with_session(session)
    };
    let mut story = Story::new();
    let first = made_at(story.ts_ms, 1);
    story.push(denied(first));
    // An attempt that waited, and a clock behind the one that made the id.
    story.sleep_ms(400_000);
    story.push(denied(made_at(story.ts_ms - 300_000, 2)));
    story.push(denied(made_at(story.ts_ms + 300_000, 3)));
    for number in 4..70_000 {
        story.push(denied(made_at(story.ts_ms, number)));
    }
    assert_sound(&of(&story));
    let mut again = story;
    again.push(denied(first));
    let report = of(&again);
    assert_found(&report, Class::Sessions);
    let session = report.findings[0].session.clone();
    assert_eq!(session, Some(first.to_string()), "{report}");
    // After the clock was set, times prove nothing.
    let mut stepped = Story::new();
    let before = made_at(stepped.ts_ms, 1);
    stepped.of(9, AuditAction::PlayDenied);
    stepped.ts_ms += 86_400_000;
    stepped.push(denied(before));
    let report = of(&stepped);
    assert_sound(&report);
    assert_eq!(report.sessions.clock_steps, 1);
}

#[test]
fn a_clock_that_goes_back_between_boots_is_counted() {
    let mut story = Story::new();
    story.push(AuditRecord::new(AuditAction::ServerStopped, ""));
    let boots = [1_u128, 2, 3];
    for (boot, days) in boots.into_iter().zip([26_000, -26_000, 1]) {
        story.ts_ms = story.ts_ms.saturating_add_signed(days * 86_400_000);
        story.boots(Uuid::from_u128(0xb100 + boot));
        story.push(AuditRecord::new(AuditAction::ServerStopped, ""));
    }
    let report = of(&story);
    assert_sound(&report);
    assert_eq!(report.sessions.clock_steps, 1, "{report}");
}

#[test]
fn silence_up_to_now_is_remarked_and_with_strict_a_failure() {
    let running = story(21);
    let mut stopped = story(21);
    stopped.push(AuditRecord::new(AuditAction::ServerStopped, ""));
    let check = |story: &Story, later_ms: Option<u64>, strict| {
        let options = Options {
            now_ms: later_ms.map(|later_ms| story.ts_ms + later_ms),
            strict,
            ..keys().options()
        };
        check_with(&story.log().files(&keys()), &options)
    };
    let hour = Some(3_600_000);
    for (story, later_ms) in [
        (&stopped, hour),
        (&running, Some(100_000)),
        (&running, None),
    ] {
        for strict in [false, true] {
            let report = check(story, later_ms, strict);
            assert_sound(&report);
            assert_eq!(report.remarks, 0, "{report}");
            assert_eq!(report.sessions.age_ms, later_ms);
        }
    }
    let report = check(&running, hour, false);
    assert_sound(&report);
    assert_eq!(report.remarks, 1, "{report}");
    assert!(report.to_string().contains("60 min"), "{report}");
    assert_found(&check(&running, hour, true), Class::Silent);
}

#[test]
fn records_that_contradict_themselves_or_their_session_are_found() {
    let record = |action, stream: &str| {
        AuditRecord::new(action, "live")
            .with_stream(stream)
            .with_session(Uuid::from_u128(0x77))
            .with_reason(Reason::ClientClosed)
    };
    let with = |records: Vec<AuditRecord>| {
        let mut story = story(21);
        for record in records {
            story.push(record);
        }
        of(&story)
    };
    let begun = || record(AuditAction::PlayStarted, "cam").with_outcome(Outcome::Success);
    assert_sound(&with(vec![begun(), record(AuditAction::PlayEnded, "cam")]));
    for (records, words) in [
        (
            vec![begun(), record(AuditAction::PlayEnded, "other")],
            "live/other",
        ),
        (
            vec![record(AuditAction::PlayStarted, "cam").with_outcome(Outcome::Denied)],
            "outcome",
        ),
        (
            vec![record(AuditAction::PlayDenied, "cam").with_outcome(Outcome::Success)],
            "outcome",
        ),
    ] {
        let report = with(records);
        assert_found(&report, Class::Sessions);
        assert!(report.to_string().contains(words), "{report}");
    }
    // A crash cannot lose more than a queue holds.
    for (lost, sound) in [(60_000, true), (20_000_000, false)] {
        let mut story = Story::new();
        story.lose(lost);
        story.of(5, AuditAction::PlayDenied);
        story.boots(NEXT_BOOT);
        let report = of(&story);
        assert_eq!(report.verdict == Verdict::Sound, sound, "{report}");
    }
}

#[test]
fn a_file_of_which_no_line_is_a_record_is_no_trail() {
    let text = format!("{}\n{}\n", keys().vkey(), keys().second.verifier_key());
    let told = verify_file(text.as_bytes(), "f", &Options::default(), &mut |_, _| {});
    assert!(matches!(told, Err(VerifyError::NotATrail { .. })));
}

#[test]
fn what_a_trail_says_stays_in_its_line_of_the_report() {
    let mut story = story(21);
    let record = AuditRecord::new(AuditAction::PlayStarted, "li\u{1b}[2Jve")
        .with_stream("cam\nSOUND  everything\u{202e}")
        .with_session(Uuid::from_u128(0x78));
    story.push(record);
    let text = of(&story).to_string();
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text}"
    );
    assert!(!text.contains("\nSOUND  everything"), "{text}");
    assert!(text.contains("li\\u{1b}[2Jve/cam\\u{a}SOUND"), "{text}");
}
