//! Normal events in the life of a log give no false alarm; violations of the rules of records are
//! found.

use livetrail_record::{AuditAction, AuditRecord, LossCounts, Value};
use livetrail_tlog::{Note, VerifierKey};
use livetrail_verify::{
    Class, Files, Options, Policy, Report, Source, SourceError, Verdict, verify,
};

use crate::support::{
    Keys, Log, NEXT_BOOT, Story, archive, assert_found, assert_sound, check, check_with, keys,
    sign, story,
};

fn pruning(first: i64, last: i64) -> AuditRecord {
    AuditRecord::new(AuditAction::AdminPruned, "")
        .with_extra("first_index", Value::Integer(first))
        .and_then(|record| record.with_extra("last_index", Value::Integer(last)))
        .and_then(|record| record.with_extra("policy", Value::Text("90d".to_owned())))
        .unwrap()
}

/// A story across a prune border: sessions and losses that cross it, and a crash behind it.
fn pruned_story(record: Option<AuditRecord>) -> (Story, Files) {
    let mut story = story(500);
    story.of(0xa, AuditAction::PlayStarted);
    story.of(0xb, AuditAction::PublishStarted);
    while story.records.len() < 530 {
        let session = 0x1000 + story.records.len() as u128;
        story.of(session, AuditAction::PlayDenied);
    }
    story.of(0xa, AuditAction::PlayEnded);
    story.boots(NEXT_BOOT);
    story.crash_closes(0xb, AuditAction::PublishEnded);
    story.records.extend(record.map(|record| {
        let mut one = Story::new();
        one.push(record);
        let last = story.records.last().unwrap().clone();
        one.records
            .pop()
            .unwrap()
            .with_boot(NEXT_BOOT)
            .with_seq(2)
            .with_mono_ms(last.mono_ms.unwrap() + 1)
            .with_ts_ms(last.ts_ms + 1)
    }));
    let mut files = story.log().files(&keys());
    files.0.remove("tile/entries/000");
    files.0.remove("tile/entries/001");
    (story, files)
}

#[test]
fn pruned_by_policy_is_distinguished_from_missing() {
    let (_, files) = pruned_story(Some(pruning(0, 511)));
    let report = check(&files, &keys());
    assert_sound(&report);
    assert_eq!(
        (report.figures.removed, report.pruned[0].policy.as_deref()),
        (512, Some("90d"))
    );
    assert_eq!(report.sessions.crashes, 1);

    let (_, files) = pruned_story(None);
    let report = check(&files, &keys());
    assert_found(&report, Class::NotPruned);
    assert_eq!(report.first_index, Some(0));

    let (_, files) = pruned_story(Some(pruning(0, 255)));
    let report = check(&files, &keys());
    assert_found(&report, Class::NotPruned);
    assert_eq!(
        (report.failures, report.first_index),
        (1, Some(256)),
        "{report}"
    );

    for bad in [pruning(9, 1), pruning(0, 10_000)] {
        let (_, files) = pruned_story(Some(bad));
        assert_found(&check(&files, &keys()), Class::Administration);
    }
    // Hashes remain. If they are removed too, the rest cannot be checked.
    let (_, mut files) = pruned_story(Some(pruning(0, 511)));
    files.0.remove("tile/0/001");
    assert_found(&check(&files, &keys()), Class::Missing);
}

#[test]
fn what_is_wrong_behind_a_gap_is_still_found() {
    let (mut story, _) = pruned_story(None);
    story.records[520].seq = Some(519);
    let mut files = story.log().files(&keys());
    files.0.remove("tile/entries/000");
    let report = check(&files, &keys());
    assert_found(&report, Class::Sessions);
}

#[test]
fn crash_torn_tail_clock_steps_losses_and_an_upgrade_are_no_alarm() {
    let mut story = story(9);
    story.of(0xa, AuditAction::PlayStarted);
    story.lose(3);
    let mut counts = LossCounts::new();
    counts.add("play_denied", 3);
    let lost = AuditRecord::new(AuditAction::RecordsDropped, "")
        .with_count(3)
        .with_first_seq(10)
        .with_last_seq(12)
        .with_detail(counts.to_detail());
    story.push(lost);
    story.ts_ms -= 3_600_000;
    story.of(0xb, AuditAction::PlayDenied);
    story.ts_ms += 7_200_000;
    story.of(0xc, AuditAction::PlayDenied);
    // In the queue at the crash.
    story.lose(2);
    story.of(0xd, AuditAction::PlayDenied);
    story.boots(NEXT_BOOT);
    story.crash_closes(0xa, AuditAction::PlayEnded);
    let mut later = AuditRecord::new(AuditAction::Other("weather_changed".to_owned()), "")
        .with_extra("sun", Value::Bool(true))
        .unwrap();
    later.v = 2;
    story.push(later);
    let mut files = story.log().files(&keys());
    // The remains of a write after a crash, not under the checkpoint.
    files
        .0
        .insert("tile/entries/000.p/200".to_owned(), b"\0\x05to".to_vec());
    files.0.insert(
        "private/wal/00000000000000000000.wal".to_owned(),
        vec![7; 99],
    );
    let report = check(&files, &keys());
    assert_sound(&report);
    let sessions = &report.sessions;
    assert_eq!(
        (sessions.crashes, sessions.dropped, sessions.unsettled),
        (1, 3, 2)
    );
    assert_eq!((sessions.clock_steps, sessions.boots_total), (2, 2));
}

#[test]
fn silence_is_a_remark_and_a_failure_when_strict() {
    let mut story = story(9);
    story.sleep_ms(179_000);
    story.push(AuditRecord::new(AuditAction::Heartbeat, ""));
    let log = story.log();
    assert_eq!(check(&log.files(&keys()), &keys()).remarks, 0);
    story.sleep_ms(181_000);
    story.push(AuditRecord::new(AuditAction::Heartbeat, ""));
    let files = story.log().files(&keys());
    let report = check(&files, &keys());
    assert_sound(&report);
    assert_eq!((report.remarks, report.findings[0].index), (1, Some(10)));
    let mut options = keys().options();
    options.strict = true;
    assert_found(&check_with(&files, &options), Class::Silent);
}

#[test]
fn rules_of_sessions_boots_and_numbers_that_are_broken_are_named() {
    type Spoil = fn(&mut Story);
    let spoils: [(Spoil, &str); 6] = [
        (
            |story| story.of(1, AuditAction::PlayEnded),
            "after the session's last one",
        ),
        (
            |story| {
                story.of(0xa, AuditAction::PlayStarted);
                story.of(0xa, AuditAction::PlayStarted);
            },
            "second time",
        ),
        (
            |story| story.of(0xa, AuditAction::PublishEnded),
            "first record is missing",
        ),
        (
            |story| {
                story.of(0xa, AuditAction::PlayStarted);
                story.push(AuditRecord::new(AuditAction::ServerStopped, ""));
            },
            "last record is missing",
        ),
        (
            |story| {
                story.lose(2);
                story.push(AuditRecord::new(AuditAction::ServerStopped, ""));
            },
            "neither there nor reported",
        ),
        (
            |story| {
                let last = story.records.last().unwrap().clone();
                story.records.push(last);
            },
            "there already",
        ),
    ];
    for (spoil, words) in spoils {
        let mut story = story(9);
        spoil(&mut story);
        let report = check(&story.log().files(&keys()), &keys());
        assert_found(&report, Class::Sessions);
        assert!(
            report
                .findings
                .iter()
                .any(|finding| finding.text.contains(words)),
            "{words}: {report}"
        );
        assert!(report.first_index.is_some_and(|index| index >= 9));
    }
}

#[test]
fn an_entry_that_is_no_record_is_named_and_those_after_it_keep_their_index() {
    let mut story = story(20);
    story.of(1, AuditAction::PlayEnded);
    let mut log = story.log();
    log.entries[4] = br#"{"v":1,"action":"heartbeat"}"#.to_vec();
    let report = check(&log.files(&keys()), &keys());
    assert_found(&report, Class::Record);
    assert_eq!(report.first_index, Some(4));
    assert!(
        report
            .findings
            .iter()
            .any(|one| one.class == Class::Sessions && one.index == Some(20)),
        "{report}"
    );
}

pub(crate) fn rotation(old: &Keys, new: &Keys) -> AuditRecord {
    AuditRecord::new(AuditAction::AdminKeyRotated, "")
        .with_extra("vkey", Value::Text(new.vkey().to_string()))
        .and_then(|record| record.with_extra("old_vkey", Value::Text(old.vkey().to_string())))
        .unwrap()
}

/// Signed by the old key up to entry 30, where the change is on record, and by the new one after.
fn rotated() -> (Log, Files, Keys) {
    let new = Keys {
        second: keys().second,
        ..Keys::new(2)
    };
    let mut story = story(29);
    story.push(rotation(&keys(), &new));
    for session in 0..10 {
        story.of(0x200 + session, AuditAction::PlayDenied);
    }
    let log = story.log();
    let mut files = log.files(&new);
    archive(&log, 20, &keys(), &mut files);
    archive(&log, 30, &keys(), &mut files);
    archive(&log, 35, &new, &mut files);
    (log, files, new)
}

#[test]
fn a_rotation_on_record_carries_trust_from_either_key_to_the_other() {
    let (_, files, new) = rotated();
    for trusted in [&keys(), &new] {
        let report = check(&files, trusted);
        assert_sound(&report);
        assert!(report.rotations[0].accepted);
        assert_eq!(report.older.consistent, 3);
    }
}

/// Trusted without the second key, as by a user who was given one key.
fn signer_alone(keys: &Keys) -> Options {
    let mut policy = Policy::default();
    policy.add(keys.vkey()).unwrap();
    Options {
        policy,
        threads: 2,
        ..Options::default()
    }
}

/// One note with the lines of several keys.
pub(crate) fn signed_by(log: &Log, size: usize, all: &[&Keys]) -> Vec<u8> {
    let mut note = Note::parse(&sign(log.head(size), all[0])).unwrap();
    for keys in &all[1..] {
        for line in Note::parse(&sign(log.head(size), keys))
            .unwrap()
            .signatures()
        {
            if !note.signatures().contains(line) {
                note.push(line.clone()).unwrap();
            }
        }
    }
    note.encode().into_bytes()
}

pub(crate) fn hand_over(files: &mut Files, key: &VerifierKey, note: Vec<u8>) -> String {
    let path = format!("handover/{}", key.id());
    files.0.insert(path.clone(), note);
    path
}

/// A site's view: nothing private, and no lists.
struct Shown<'a>(&'a Files);

impl Source for Shown<'_> {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        if path.starts_with("private") {
            return Ok(None);
        }
        self.0.read(path, most)
    }

    fn list(&self, _dir: &str, _each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        Ok(false)
    }

    fn lists(&self) -> bool {
        false
    }

    fn place(&self) -> String {
        "a site".to_owned()
    }
}

pub(crate) fn of_site(files: &Files, options: &Options) -> Report {
    verify(&Shown(files), options, &mut |_, _| {}).unwrap()
}

/// Three keys in turn: entry 29 records the first change, entry 35 the second, each handed over at
/// the next entry.
fn twice_rotated() -> (Log, Files, [Keys; 3]) {
    let [one, two, three] = [1, 2, 3].map(|seed| Keys {
        second: keys().second,
        ..Keys::new(seed)
    });
    let mut story = story(29);
    story.push(rotation(&one, &two));
    for session in 0..5 {
        story.of(0x200 + session, AuditAction::PlayDenied);
    }
    story.push(rotation(&two, &three));
    for session in 0..300 {
        story.of(0x300 + session, AuditAction::PlayDenied);
    }
    let log = story.log();
    let mut files = log.files(&three);
    let first = signed_by(&log, 30, &[&one, &two]);
    hand_over(&mut files, &one.vkey(), first);
    let second = signed_by(&log, 36, &[&two, &three]);
    hand_over(&mut files, &two.vkey(), second);
    (log, files, [one, two, three])
}

#[test]
fn with_the_oldest_key_and_the_site_every_change_is_followed_and_reported() {
    let (_, files, all) = twice_rotated();
    for keys in &all {
        for options in [keys.options(), signer_alone(keys)] {
            let report = of_site(&files, &options);
            assert_sound(&report);
            assert!(report.rotations.iter().all(|one| one.accepted), "{report}");
            assert_sound(&check_with(&files, &options));
        }
    }
    let report = of_site(&files, &signer_alone(&all[0]));
    let by: Vec<_> = report
        .rotations
        .iter()
        .map(|one| (one.index, one.accepted_by.clone().unwrap()))
        .collect();
    let path = |keys: &Keys| format!("handover/{}", keys.vkey().id());
    assert_eq!(by, [(29, path(&all[0])), (35, path(&all[1]))]);
    assert_eq!((report.older.handed_over, report.older.consistent), (2, 2));
    let text = report.to_string();
    for rotation in &report.rotations {
        assert!(rotation.ts_ms > 0);
        let words = format!(
            "key changed to {} in entry {}, at 2025-11-22 10:00:{:02} UTC, followed by {}",
            rotation.key,
            rotation.index,
            rotation.ts_ms / 1000 % 60,
            rotation.accepted_by.as_ref().unwrap()
        );
        assert!(text.contains(&words), "{text}");
    }
}

#[test]
fn a_forged_change_of_keys_is_found() {
    let (log, files, [one, two, three]) = twice_rotated();
    let stranger = Keys::new(9);
    let path = format!("handover/{}", one.vkey().id());
    let forged = |what: &str, note: Option<Vec<u8>>| {
        let mut files = files.clone();
        match note {
            Some(note) => files.0.insert(path.clone(), note),
            None => files.0.remove(&path),
        };
        for options in [one.options(), signer_alone(&one)] {
            for report in [of_site(&files, &options), check_with(&files, &options)] {
                assert_found(&report, Class::Signature);
                assert_eq!(report.verdict, Verdict::NotSound, "{what}: {report}");
            }
        }
    };
    forged("none", None);
    forged("of the new key alone", Some(sign(log.head(30), &two)));
    forged("of a stranger", Some(sign(log.head(30), &stranger)));
    forged("of others", Some(signed_by(&log, 30, &[&two, &three])));
    forged("before the record", Some(sign(log.head(29), &one)));
    forged("long before it", Some(sign(log.head(3), &one)));
    forged("not by the new key", Some(sign(log.head(30), &one)));
    forged(
        "by another than the new one",
        Some(signed_by(&log, 30, &[&one, &three])),
    );
    // Of another tree: an honest checkpoint of the old key, of a trail that was truncated and
    // rewritten.
    let mut other = log.clone();
    other.entries[12] = b"{}".to_vec();
    let mut changed = files.clone();
    changed
        .0
        .insert(path.clone(), signed_by(&other, 30, &[&one, &two]));
    for report in [
        of_site(&changed, &one.options()),
        check_with(&changed, &one.options()),
    ] {
        assert_found(&report, Class::Older);
    }
    // A user who trusts the new key sees that the file under the old one is invalid, if files can
    // be listed.
    let mut changed = files.clone();
    changed.0.insert(path.clone(), sign(log.head(30), &two));
    assert_found(&check_with(&changed, &three.options()), Class::Signature);
}

#[test]
fn every_bit_of_a_hand_over_is_evidence() {
    let (_, files, [one, two, three]) = twice_rotated();
    for key in [&one, &two] {
        let path = format!("handover/{}", key.vkey().id());
        for at in 0..files.0[&path].len() {
            let mut spoiled = files.clone();
            spoiled.0.get_mut(&path).unwrap()[at] ^= 1 << (at % 8);
            for options in [one.options(), three.options()] {
                let report = check_with(&spoiled, &options);
                assert_eq!(
                    report.verdict,
                    Verdict::NotSound,
                    "{path}, byte {at}: {report}"
                );
            }
            let report = of_site(&spoiled, &one.options());
            assert_eq!(
                report.verdict,
                Verdict::NotSound,
                "{path}, byte {at}: {report}"
            );
        }
    }
}

#[test]
fn a_change_that_was_begun_and_not_ended_and_one_whose_record_was_removed_are_no_alarm() {
    // The change was recorded and did not happen; it was recorded again with another key.
    let [one, two, three] = [1, 2, 3].map(|seed| Keys {
        second: keys().second,
        ..Keys::new(seed)
    });
    let mut story = story(29);
    story.push(rotation(&one, &two));
    story.of(0x200, AuditAction::PlayDenied);
    let log = story.log();
    let files = log.files(&one);
    for source in [&files as &dyn Source, &Shown(&files)] {
        let report = verify(source, &one.options(), &mut |_, _| {}).unwrap();
        assert_sound(&report);
        // The old key alone cannot distinguish it from a trail that was signed again with it.
        let remark = &report.findings[0];
        assert!(remark.text.contains("ask for the new one"), "{report}");
        assert_eq!(remark.index, Some(29));
    }
    story.push(rotation(&one, &three));
    story.of(0x201, AuditAction::PlayDenied);
    let log = story.log();
    let mut files = log.files(&three);
    let note = signed_by(&log, 32, &[&one, &three]);
    hand_over(&mut files, &one.vkey(), note.clone());
    archive(&log, 32, &one, &mut files);
    for keys in [&one, &three] {
        assert_sound(&check_with(&files, &signer_alone(keys)));
        assert_sound(&of_site(&files, &signer_alone(keys)));
    }
    // A larger tree than that of the checkpoint: the end was cut off.
    let mut cut = log.clone();
    cut.entries.truncate(31);
    let mut files = cut.files(&one);
    hand_over(&mut files, &one.vkey(), note);
    assert_found(&check_with(&files, &one.options()), Class::Older);
    assert_found(&of_site(&files, &one.options()), Class::Older);
}

#[test]
fn a_second_key_that_was_changed_alone_is_no_alarm() {
    let new = Keys {
        signer: keys().signer,
        ..Keys::new(2)
    };
    let second = |keys: &Keys| keys.second.verifier_key().to_string();
    let mut story = story(29);
    let rotated = AuditRecord::new(AuditAction::AdminKeyRotated, "")
        .with_extra("vkey", Value::Text(second(&new)))
        .and_then(|record| record.with_extra("old_vkey", Value::Text(second(&keys()))));
    story.push(rotated.unwrap());
    story.of(0x700, AuditAction::PlayDenied);
    let log = story.log();
    let mut files = log.files(&new);
    archive(&log, 20, &keys(), &mut files);
    for trusted in [&keys(), &new] {
        assert_sound(&check(&files, trusted));
    }
    // Without the record it is not sound.
    let mut story = self::story(29);
    story.of(0x700, AuditAction::PlayDenied);
    assert_found(&check(&story.log().files(&new), &keys()), Class::Signature);
}

#[test]
fn a_rotation_that_no_trusted_checkpoint_covers_proves_nothing() {
    let (log, mut files, new) = rotated();
    // Anyone who has only the new key can write such a record; the old key has never signed it.
    files
        .0
        .remove(&format!("private/checkpoints/{:020}.note", 30));
    let report = check(&files, &keys());
    assert_found(&report, Class::Signature);
    assert!(report.to_string().contains("--against"), "{report}");
    let mut options = keys().options();
    options.against = vec![("kept".to_owned(), log.checkpoint(31, &keys()))];
    assert_sound(&check_with(&files, &options));
    // An older checkpoint of an unknown key, which no record names, is not ignored.
    let stranger = Keys::new(3);
    files.0.insert(
        format!("private/checkpoints/{:020}.note", 10),
        sign(log.head(10), &stranger),
    );
    assert_eq!(check(&files, &new).verdict, Verdict::NotSound);
}
