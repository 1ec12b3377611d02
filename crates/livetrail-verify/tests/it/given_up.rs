//! A retired key in the hands of a thief: it counts only up to its hand-over.

use livetrail_record::{AuditAction, AuditRecord, Value};
use livetrail_tlog::{ProofFile, RetiredKey, inclusion_proof};
use livetrail_verify::{Class, Files, KeyFile, Options, Policy, Report, Verdict, verify_proof};

use crate::events::{hand_over, of_site, rotation, signed_by};
use crate::lines;
use crate::support::{
    Keys, Log, archive, assert_found, assert_sound, check_with, keys, sign, story,
};

const HANDED_OVER: usize = 31;

/// An honest trail of 331 entries: entries 29 and 30 record the change of both keys, handed over at
/// 31.
struct Changed {
    log: Log,
    old: Keys,
    new: Keys,
}

/// The record of a change of the second key.
fn of_second(old: &Keys, new: &Keys) -> AuditRecord {
    let text = |keys: &Keys| Value::Text(keys.second.verifier_key().to_string());
    AuditRecord::new(AuditAction::AdminKeyRotated, "")
        .with_extra("vkey", text(new))
        .and_then(|record| record.with_extra("old_vkey", text(old)))
        .unwrap()
}

impl Changed {
    fn new() -> Self {
        let (old, new) = (keys(), Keys::new(2));
        let mut story = story(29);
        story.push(rotation(&old, &new));
        story.push(of_second(&old, &new));
        for session in 0..300 {
            story.of(0x300 + session, AuditAction::PlayDenied);
        }
        let log = story.log();
        Self { log, old, new }
    }

    fn note(&self) -> Vec<u8> {
        signed_by(&self.log, HANDED_OVER, &[&self.old, &self.new])
    }

    fn files(&self) -> Files {
        let mut files = self.log.files(&self.new);
        hand_over(&mut files, &self.old.vkey(), self.note());
        let second = self.old.second.verifier_key();
        hand_over(&mut files, &second, self.note());
        let path = format!("private/checkpoints/{HANDED_OVER:020}.note");
        files.0.insert(path, self.note());
        files
    }

    /// The trail that a thief with the old secrets makes of it: another entry after the hand-over,
    /// signed again.
    fn forged(&self) -> Files {
        let mut files = self.files();
        let mut log = self.log.clone();
        log.entries[200] = log.entries[201].clone();
        log.entries.truncate(201);
        log.write_tree(&mut files);
        let head = log.head(201);
        files
            .0
            .insert("checkpoint".to_owned(), sign(head, &self.old));
        files.0.remove("private/log.json");
        files
    }

    fn retired(&self) -> [RetiredKey; 2] {
        let head = self.log.head(HANDED_OVER);
        [self.old.vkey(), self.old.second.verifier_key()].map(|key| RetiredKey::new(key, head))
    }

    /// `trail.vkey` and `trail.retired`, as the server writes them.
    fn both_files(&self) -> String {
        let [signer, second] = self.retired();
        let (now, next) = (self.new.vkey(), self.new.second.verifier_key());
        format!("{now}\n{next}\n# Keys that were given up.\n{signer}\n{second}\n")
    }

    /// `trail.vkey` of an earlier version.
    fn earlier_file(&self) -> String {
        let (now, next) = (self.new.vkey(), self.new.second.verifier_key());
        let (old, second) = (self.old.vkey(), self.old.second.verifier_key());
        format!("{now}\n{next}\n# Given up: they verify what was signed before.\n{old}\n{second}\n")
    }

    /// All readers: with the old keys, with the new ones, with both.
    fn everybody(&self) -> Vec<(&'static str, Options)> {
        let alone = |key| {
            let mut policy = Policy::default();
            policy.add(key).unwrap();
            with_policy(policy)
        };
        vec![
            ("the old keys", self.old.options()),
            ("the old key alone", alone(self.old.vkey())),
            ("the new keys", self.new.options()),
            ("the new key alone", alone(self.new.vkey())),
            ("both files", of_file(&self.both_files())),
            (
                "a file of an earlier version",
                of_file(&self.earlier_file()),
            ),
        ]
    }
}

fn with_policy(policy: Policy) -> Options {
    Options {
        policy,
        threads: 2,
        ..Options::default()
    }
}

fn of_file(text: &str) -> Options {
    let mut file = KeyFile::default();
    file.read(text).unwrap();
    let mut policy = Policy::default();
    policy.add_file(file).unwrap();
    with_policy(policy)
}

/// Without the files that a thief would omit.
fn without(files: &Files, beginnings: &[&str]) -> Files {
    let mut files = files.clone();
    let is_kept = |path: &String| !beginnings.iter().any(|begin| path.starts_with(begin));
    files.0.retain(|path, _| is_kept(path));
    files
}

#[test]
fn the_honest_trail_is_sound_for_everybody_and_reports_up_to_where_the_old_key_counts() {
    let changed = Changed::new();
    for (who, options) in changed.everybody() {
        for strict in [false, true] {
            let options = Options {
                strict,
                ..options.clone()
            };
            for report in [
                check_with(&changed.files(), &options),
                of_site(&changed.files(), &options),
            ] {
                assert_eq!(report.verdict, Verdict::Sound, "{who}: {report}");
                assert_eq!(report.remarks, 0, "{who}: {report}");
                let until = report.rotations[0].old_key_until;
                assert_eq!(until, Some(HANDED_OVER as u64), "{who}: {report}");
            }
        }
    }
}

#[test]
fn a_tail_that_is_signed_with_the_old_key_behind_its_hand_over_is_believed_by_nobody() {
    let changed = Changed::new();
    let forged = changed.forged();
    for (who, options) in changed.everybody() {
        let all = check_with(&forged, &options);
        assert_found(&all, Class::Signature);
        assert_found(&of_site(&forged, &options), Class::Signature);
        // One of the two is enough.
        for left_out in ["handover", "private"] {
            let some = without(&forged, &[left_out]);
            assert_found(&check_with(&some, &options), Class::Signature);
        }
        // Without both, the old key alone cannot know it, and the report states this.
        let bare = without(&forged, &["handover", "private"]);
        let report = check_with(&bare, &options);
        if who.starts_with("the old") {
            assert_sound(&report);
            let text = report.to_string();
            assert!(text.contains("ask for the new one"), "{who}: {text}");
        } else {
            assert_found(&report, Class::Signature);
        }
    }
}

#[test]
fn the_lowest_hand_over_counts() {
    let changed = Changed::new();
    let mut files = changed.forged();
    // The thief hides the hand-over, and shows a later checkpoint of the honest trail, with another
    // tree.
    files = without(&files, &["handover", "private"]);
    let late = signed_by(&changed.log, 220, &[&changed.new]);
    files
        .0
        .insert(format!("handover/{}", changed.old.vkey().id()), late);
    for (who, options) in changed.everybody() {
        let report = check_with(&files, &options);
        assert_eq!(report.verdict, Verdict::NotSound, "{who}: {report}");
    }
    // The lower one of two in the tree counts, whichever was found first.
    let mut files = changed.files();
    let late = signed_by(&changed.log, 100, &[&changed.old, &changed.new]);
    hand_over(&mut files, &changed.old.vkey(), late);
    let report = check_with(&files, &changed.new.options());
    let until = report.rotations[0].old_key_until;
    assert_eq!(until, Some(HANDED_OVER as u64), "{report}");
}

#[test]
fn a_receipt_that_the_old_key_signed_behind_its_hand_over_shows_nothing() {
    let changed = Changed::new();
    let receipt = |size: usize, index: usize, keys: &Keys| {
        let hashes = changed.log.hashes();
        let proof = inclusion_proof(&hashes[..size], index as u64).unwrap();
        let note = livetrail_tlog::Note::parse(&sign(changed.log.head(size), keys)).unwrap();
        ProofFile::new(index as u64, proof, note).unwrap().encode()
    };
    let verdict = |receipt: &str, index: usize, keys: &str| {
        let entry = &changed.log.entries[index];
        let report = verify_proof(receipt.as_bytes(), entry, &of_file(keys)).unwrap();
        (report.verdict, report.to_string())
    };
    let (both, earlier) = (changed.both_files(), changed.earlier_file());
    let before = receipt(HANDED_OVER, 7, &changed.old);
    assert_eq!(verdict(&before, 7, &both).0, Verdict::Sound);
    let forged = receipt(200, 150, &changed.old);
    assert_eq!(verdict(&forged, 150, &both).0, Verdict::NotSound);
    // The file does not state the bound: the answer is that it could not be checked, and why.
    for (receipt, index) in [(&before, 7), (&forged, 150)] {
        let (verdict, text) = verdict(receipt, index, &earlier);
        assert_eq!(verdict, Verdict::CouldNotCheck, "{text}");
        assert!(text.contains("trail.retired"), "{text}");
    }
    let now = receipt(200, 150, &changed.new);
    for keys in [&both, &earlier] {
        assert_eq!(verdict(&now, 150, keys).0, Verdict::Sound);
    }
}

#[test]
fn a_stolen_key_cannot_accuse_its_owner_with_a_checkpoint() {
    let changed = Changed::new();
    let mut other = changed.log.clone();
    other.entries[100] = other.entries[101].clone();
    let mut longer = changed.log.clone();
    longer.entries.extend(changed.log.entries.iter().cloned());
    for (what, note) in [
        ("a fork", sign(other.head(150), &changed.old)),
        ("a longer trail", sign(longer.head(500), &changed.old)),
    ] {
        for (who, options) in changed.everybody() {
            let options = Options {
                against: vec![("given".to_owned(), note.clone())],
                ..options
            };
            for report in [
                check_with(&changed.files(), &options),
                of_site(&changed.files(), &options),
            ] {
                let words = format!("{what}, {who}: {report}");
                assert_eq!(report.verdict, Verdict::CouldNotCheck, "{words}");
                assert!(words.contains("given up"), "{words}");
            }
        }
    }
    // Signatures from the old key's own time remain evidence.
    let note = sign(other.head(150), &changed.new);
    let options = Options {
        against: vec![("given".to_owned(), note)],
        ..changed.old.options()
    };
    assert_found(&check_with(&changed.files(), &options), Class::Older);
}

#[test]
fn a_stranger_accuses_nobody() {
    let changed = Changed::new();
    let stranger = Keys::new(9);
    let mut other = changed.log.clone();
    other.entries[100] = other.entries[101].clone();
    for note in [
        sign(other.head(150), &stranger),
        sign(changed.log.head(150), &stranger),
    ] {
        let options = Options {
            against: vec![("given".to_owned(), note)],
            ..changed.new.options()
        };
        let report = check_with(&changed.files(), &options);
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        assert_eq!(report.failures, 0, "{report}");
    }
}

#[test]
fn lines_too_are_believed_up_to_the_hand_over_alone() {
    let changed = Changed::new();
    let all = lines::lines(&changed.log).concat();
    let check = |size: usize, keys: &Keys, options: &Options| {
        let note = sign(changed.log.head(size), keys);
        lines::check(&[("f", all.clone())], &note, options)
    };
    let both = of_file(&changed.both_files());
    let report: Report = check(HANDED_OVER, &changed.old, &both);
    assert_sound(&report);
    assert_found(&check(200, &changed.old, &both), Class::Signature);
    assert_sound(&check(200, &changed.new, &both));
}

/// With only the first key, the lines and a sink's cursor: the hand-overs in it lead to the current
/// key.
#[test]
fn the_hand_overs_in_a_sinks_cursor_lead_from_the_first_key_to_the_last() {
    use base64::Engine as _;

    let changed = Changed::new();
    let all = lines::lines(&changed.log).concat();
    let size = changed.log.entries.len();
    let note = sign(changed.log.head(size), &changed.new);
    let encoded = base64::engine::general_purpose::STANDARD.encode(changed.note());
    let hand_overs: String = [changed.old.vkey(), changed.old.second.verifier_key()]
        .iter()
        .map(|key| format!("hand_over {} {encoded}\n", key.id()))
        .collect();
    let check = |hand_overs: &str, options: &Options| {
        let text = format!(
            "livetrail-sink-cursor 1\nsink a\norigin o\nnext {size}\nleaf -\n{hand_overs}checkpoint\n"
        );
        let cursor = [text.as_bytes(), &note].concat();
        let of_file = format!(
            "livetrail-file-cursor 2\norigin o\nnext {size}\n{hand_overs}checkpoint {}\n",
            note.len()
        );
        let of_file = [of_file.as_bytes(), &note, b"ahead 0\n"].concat();
        let reports =
            [cursor, of_file].map(|cursor| lines::check(&[("f", all.clone())], &cursor, options));
        let [report, other] = reports;
        assert_eq!(report.verdict, other.verdict, "{report}\n{other}");
        report
    };
    assert_sound(&check(&hand_overs, &changed.new.options()));
    assert_sound(&check(&hand_overs, &changed.old.options()));
    // Without them the first key leads nowhere, and an invalid one is not a hand-over.
    for none in ["", "hand_over x y\n", "hand_over 01020304 AAAA\n"] {
        let report = check(none, &changed.old.options());
        assert_ne!(report.verdict, Verdict::Sound, "{none:?}: {report}");
    }
}

#[test]
fn a_repeated_record_of_a_change_that_differs_is_found() {
    let (old, new) = (keys(), Keys::new(2));
    let again = |size: i64, root: &str, key: &Keys| {
        let record = AuditRecord::new(AuditAction::AdminKeyRotated, "");
        record
            .with_extra("vkey", Value::Text(key.vkey().to_string()))
            .and_then(|record| record.with_extra("old_vkey", Value::Text(old.vkey().to_string())))
            .and_then(|record| record.with_extra("handed_over_size", Value::Integer(size)))
            .and_then(|record| record.with_extra("handed_over_root", Value::Text(root.to_owned())))
            .unwrap()
    };
    let trail = |records: Vec<AuditRecord>| {
        let mut story = story(29);
        story.push(rotation(&old, &new));
        story.push(of_second(&old, &new));
        for record in records {
            story.push(record);
        }
        story.of(0x201, AuditAction::PlayDenied);
        let log = story.log();
        let mut files = log.files(&new);
        let path = format!("private/checkpoints/{HANDED_OVER:020}.note");
        files
            .0
            .insert(path, signed_by(&log, HANDED_OVER, &[&old, &new]));
        (check_with(&files, &new.options()), log)
    };
    let (_, log) = trail(vec![]);
    let root = log.head(HANDED_OVER).root.to_string();
    let size = HANDED_OVER as i64;
    assert_sound(&trail(vec![again(size, &root, &new), again(size, &root, &new)]).0);
    let other = log.head(30).root.to_string();
    for second in [
        again(size, &other, &new),
        again(30, &root, &new),
        again(size, &root, &Keys::new(7)),
    ] {
        let records = vec![again(size, &root, &new), second];
        assert_found(&trail(records).0, Class::Administration);
    }
}

#[test]
fn the_bound_is_known_from_a_repeated_record_after_the_first_was_pruned() {
    // The hand-over's files are missing; the record that was repeated at a pruning has size and
    // root.
    let changed = Changed::new();
    let mut story = story(29);
    let record = rotation(&changed.old, &changed.new)
        .with_extra("handed_over_size", Value::Integer(20))
        .and_then(|record| {
            let root = story.log().head(20).root.to_string();
            record.with_extra("handed_over_root", Value::Text(root))
        });
    story.push(record.unwrap());
    story.push(of_second(&changed.old, &changed.new));
    let log = story.log();
    let mut files = log.files(&changed.new);
    archive(&log, 10, &changed.old, &mut files);
    let report = check_with(&files, &changed.new.options());
    assert_sound(&report);
    assert_eq!(report.rotations[0].old_key_until, Some(20), "{report}");
}
