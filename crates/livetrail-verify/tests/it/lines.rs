//! Lines of JSON as a sink writes them: sound when unchanged, and each change is found, with its
//! file and its line.

use std::io::{BufReader, Read};
use std::time::Duration;

use livetrail_tlog::{Frontier, leaf_hash};
use livetrail_verify::{
    Class, Limits, Lines, Options, Report, Severity, Verdict, VerifyError, verify_lines,
};

use crate::support::{Keys, Log, assert_found, assert_sound, keys, story};

/// The log's lines, written by other code than the sink's.
pub(crate) fn lines(log: &Log) -> Vec<String> {
    let entries = log.entries.iter().enumerate();
    let line = |(index, entry): (usize, &Vec<u8>)| {
        let record = String::from_utf8(entry.clone()).unwrap();
        let leaf = leaf_hash(entry);
        format!("{{\"index\":{index},\"leaf\":\"{leaf}\",\"record\":{record}}}\n")
    };
    entries.map(line).collect()
}

fn input(name: &str, text: &str) -> Result<Lines, VerifyError> {
    Ok(Lines {
        name: name.to_owned(),
        reader: Box::new(std::io::Cursor::new(text.to_owned())),
    })
}

pub(crate) fn check(files: &[(&str, String)], note: &[u8], options: &Options) -> Report {
    let inputs = files.iter().map(|(name, text)| input(name, text));
    verify_lines(inputs, ("note", note), options, &mut |_, _| {}).unwrap()
}

fn one(text: String, log: &Log) -> Report {
    let note = log.checkpoint(log.entries.len(), &keys());
    check(&[("f", text)], &note, &keys().options())
}

/// The positions of the failures of a class.
fn places(report: &Report, class: Class) -> Vec<String> {
    let failures = report.findings.iter();
    failures
        .filter(|finding| finding.severity == Severity::Failure && finding.class == class)
        .map(|finding| finding.path.clone().unwrap_or_default())
        .collect()
}

#[test]
fn rotated_files_in_order_are_the_log_that_was_signed() {
    let log = story(700).log();
    let all = lines(&log);
    let files = [
        ("a", all[..256].concat()),
        ("b", all[256..300].concat()),
        ("c", all[300..].concat()),
    ];
    let mut options = keys().options();
    options.against = vec![
        ("empty".to_owned(), log.checkpoint(0, &keys())),
        ("older".to_owned(), log.checkpoint(299, &keys())),
    ];
    let report = check(&files, &log.checkpoint(700, &keys()), &options);
    assert_sound(&report);
    assert_eq!((report.figures.entries, report.figures.records), (700, 700));
    assert_eq!(report.older.consistent, 2, "{report}");
    assert!(report.sessions.closed > 300, "{report}");
    assert_eq!(report.place, "a … c (3 files)");

    // Entries that the checkpoint does not cover yet are noted, and are not a failure.
    let report = check(&files, &log.checkpoint(650, &keys()), &options);
    assert_sound(&report);
    assert_eq!((report.figures.entries, report.figures.beyond), (650, 50));

    // Another order, and a missing file.
    let [a, b, c] = files;
    let note = log.checkpoint(700, &keys());
    let report = check(&[b, a.clone()], &note, &options);
    assert_found(&report, Class::Missing);
    let report = check(&[a, c], &note, &options);
    assert_found(&report, Class::Missing);
    assert_eq!(report.first_index, Some(256));
    assert_eq!(places(&report, Class::Missing), ["c:1"]);
}

#[test]
fn a_line_that_comes_again_is_the_same_or_it_is_a_failure() {
    let log = story(300).log();
    let all = lines(&log);
    let again = [all[..200].concat(), all[150..].concat()].concat();
    let report = one(again.clone(), &log);
    assert_sound(&report);
    assert_eq!(report.figures.repeated, 50);

    let other = Log {
        entries: story(301).log().entries[1..].to_vec(),
    };
    let changed = lines(&other)[170].clone();
    let report = one(again.replacen(&all[170], &changed, 1), &log);
    assert_found(&report, Class::EntryChanged);
    assert_eq!(report.first_index, Some(170), "{report}");
    assert!(
        places(&report, Class::EntryChanged).contains(&"f:221".to_owned()),
        "{report}"
    );
}

#[test]
fn every_change_is_found_and_named() {
    let log = story(400).log();
    let all = lines(&log);
    let text = all.concat();
    assert_sound(&one(text.clone(), &log));

    let changed = text.replacen(&all[123], &all[123].replace("cam", "cat"), 1);
    let report = one(changed, &log);
    assert_found(&report, Class::EntryChanged);
    assert_eq!(places(&report, Class::EntryChanged), ["f:124"]);

    // Changed together with its leaf hash: the signed root shows it.
    let mut other = log.clone();
    let entry = String::from_utf8(other.entries[123].clone()).unwrap();
    other.entries[123] = entry.replace("cam", "cat").into_bytes();
    let report = one(lines(&other).concat(), &log);
    assert_found(&report, Class::Root);
    assert_eq!(places(&report, Class::Root), ["note"]);

    let report = one(text.replacen(&all[200], "", 1), &log);
    assert_found(&report, Class::Missing);
    assert_eq!(
        (report.first_index, places(&report, Class::Missing)),
        (Some(200), vec!["f:201".to_owned()])
    );

    let report = one(all[..399].concat(), &log);
    assert_found(&report, Class::Missing);
    assert_eq!(report.first_index, Some(399));

    let report = one(all[7..].concat(), &log);
    assert_found(&report, Class::Missing);
    assert_eq!(report.first_index, Some(0));

    let swapped = [
        all[..50].concat(),
        all[51].clone(),
        all[50].clone(),
        all[52..].concat(),
    ];
    let report = one(swapped.concat(), &log);
    assert_found(&report, Class::Missing);
    assert!(
        places(&report, Class::Line).contains(&"f:52".to_owned()),
        "{report}"
    );

    let report = one(text.replacen(",\"leaf\"", ", \"leaf\"", 1), &log);
    assert_found(&report, Class::Line);
    assert_eq!(places(&report, Class::Line), ["f:1"]);

    // Signed by somebody else; and not signed.
    let note = log.checkpoint(400, &Keys::new(9));
    let report = check(&[("f", text.clone())], &note, &keys().options());
    assert_found(&report, Class::Signature);
    let report = check(&[("f", text)], b"nothing", &keys().options());
    assert_found(&report, Class::Checkpoint);
}

#[test]
fn lines_of_others_are_reported_and_a_torn_end_is_a_note() {
    let log = story(100).log();
    let all = lines(&log);
    let mixed = [
        &all[..40].concat(),
        "an info of the server\n\n",
        &all[40..].concat(),
        "{\"index\":100,\"le",
    ]
    .concat();
    let report = one(mixed.clone(), &log);
    assert_sound(&report);
    assert_eq!(report.remarks, 1, "{report}");
    assert!(report.to_string().contains("f:41"), "{report}");
    assert!(
        report.notes.iter().any(|note| note.contains("f:103")),
        "{report}"
    );
    let report = one("1764000000000\tserver_started\t\t-\t\n".to_owned(), &log);
    assert_found(&report, Class::Missing);
    assert!(report.to_string().contains("without --lines"), "{report}");
    let options = Options {
        strict: true,
        ..keys().options()
    };
    let report = check(&[("f", mixed)], &log.checkpoint(100, &keys()), &options);
    assert_found(&report, Class::Line);
}

#[test]
fn a_torn_line_is_a_note_if_it_comes_again_whole_and_else_a_failure() {
    let log = story(100).log();
    let all = lines(&log);
    // Killed in entry 60, and restarted with entry 50; each position of the cut.
    for cut in (1..all[60].len()).step_by(7) {
        let text = [
            &all[..60].concat(),
            &all[60][..cut],
            "\n",
            &all[50..].concat(),
        ]
        .concat();
        let report = one(text, &log);
        assert_sound(&report);
        assert_eq!(report.figures.repeated, 10, "{cut}: {report}");
        assert_eq!(report.remarks, 1, "{cut}: {report}");
        assert!(report.to_string().contains("f:61"), "{cut}: {report}");
    }
    // Changed, so that it is not the beginning of the repeated line.
    let changed = all[60].replacen("leaf", "leak", 1);
    let text = all[..60].concat() + &changed + &all[50..].concat();
    assert_eq!(places(&one(text, &log), Class::Line), ["f:61"]);
    // It was not written again, so it is missing; then one that no checkpoint covers yet.
    let text = [
        &all[..60].concat(),
        &all[60][..40],
        "\n",
        &all[61..].concat(),
    ]
    .concat();
    let report = one(text, &log);
    assert_eq!(places(&report, Class::Line), ["f:61"]);
    assert_eq!(places(&report, Class::Missing), ["f:62"]);
    let text = [&all[..60].concat(), &all[60][..40], "\n"].concat();
    let note = log.checkpoint(60, &keys());
    let report = check(&[("f", text)], &note, &keys().options());
    assert_sound(&report);
    assert!(
        report.notes.iter().any(|note| note.contains("f:61")),
        "{report}"
    );
    // As many as allowed, and one more.
    let beginnings: String = (0..101).map(|_| all[60][..40].to_owned() + "\n").collect();
    let text = all[..60].concat() + &beginnings + &all[60..].concat();
    assert_eq!(places(&one(text, &log), Class::Line), ["f:161"]);
}

#[test]
fn what_the_sink_itself_says_it_never_had_cannot_be_checked() {
    let log = story(600).log();
    let all = lines(&log);
    let gap =
        "{\"first_index\":20,\"next_index\":512,\"gap\":\"pruned before the sink came back\"}\n";
    let text = [&all[..20].concat(), gap, &all[512..].concat()].concat();
    let report = one(text.clone(), &log);
    assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
    assert!(report.problems[0].contains("f:21"), "{report}");
    // The existing lines are checked all the same.
    let report = one(
        text.replacen(&all[530], &all[530].replace("cam", "cat"), 1),
        &log,
    );
    assert_found(&report, Class::EntryChanged);
    assert_eq!(report.first_index, Some(530));
}

/// The first line of a sink's file: the tree of the entries before it.
fn tree(log: &Log, size: usize) -> String {
    let mut tree = Frontier::new();
    for entry in &log.entries[..size] {
        tree.append(leaf_hash(entry)).unwrap();
    }
    let peaks: Vec<_> = tree.peaks().iter().map(|peak| format!("{peak}")).collect();
    let peaks = peaks.join("\",\"");
    format!("{{\"tree_size\":{size},\"peaks\":[\"{peaks}\"]}}\n")
}

#[test]
fn entries_after_removed_files_are_proven_from_the_trees_hashes() {
    let log = story(700).log();
    let all = lines(&log);
    let note = log.checkpoint(700, &keys());
    let strict = Options {
        strict: true,
        ..keys().options()
    };
    for from in [1, 2, 255, 256, 300, 511, 699] {
        let head = tree(&log, from);
        let rest = [&head, &all[from..].concat()[..]].concat();
        // Also with all earlier lines; then it is compared.
        let whole = [("a", all[..from].concat()), ("b", rest.clone())];
        assert_sound(&check(&whole, &note, &strict));
        // Alone only on request.
        let report = check(&[("b", rest.clone())], &note, &strict);
        assert_found(&report, Class::Missing);
        let alone = Options {
            without_head: true,
            against: vec![("older".to_owned(), log.checkpoint(from, &keys()))],
            ..keys().options()
        };
        let report = check(&[("b", rest.clone())], &note, &alone);
        assert_eq!(report.verdict, Verdict::Sound, "{from}: {report}");
        let figures = &report.figures;
        let counted = (figures.from, figures.entries, figures.records);
        let left = (700 - from) as u64;
        assert_eq!(counted, (from as u64, left, left), "{report}");
        assert_eq!(report.older.consistent, 1, "{report}");
        let said = format!("SOUND from entry {from} on  b\n");
        assert!(report.to_string().starts_with(&said), "{report}");
        // Earlier entries do not exist for a comparison.
        let before = Options {
            against: vec![("older".to_owned(), log.checkpoint(from - 1, &keys()))],
            ..alone.clone()
        };
        if from > 1 {
            let report = check(&[("b", rest)], &note, &before);
            assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        }
    }
}

#[test]
fn an_older_checkpoint_says_nothing_of_the_trees_behind_it() {
    let log = story(700).log();
    let all = lines(&log);
    let files = [
        ("a", all[..300].concat()),
        ("b", [tree(&log, 300), all[300..500].concat()].concat()),
        ("c", [tree(&log, 500), all[500..].concat()].concat()),
    ];
    for size in [250, 300, 301, 499, 500, 700] {
        let note = log.checkpoint(size, &keys());
        let report = check(&files, &note, &keys().options());
        assert_sound(&report);
        assert_eq!(report.figures.entries, size as u64, "{report}");
    }
}

#[test]
fn a_forged_tree_or_anything_changed_behind_it_is_found() {
    let log = story(700).log();
    let all = lines(&log);
    let note = log.checkpoint(700, &keys());
    let alone = Options {
        without_head: true,
        ..keys().options()
    };
    let (from, head) = (300, tree(&log, 300));
    let rest = all[from..].concat();
    let broken = |head: &str, rest: &str, class| {
        let report = check(&[("b", [head, rest].concat())], &note, &alone);
        assert_found(&report, class);
    };
    let last = head.rsplit('"').nth(1).unwrap();
    let forged = head.replace(last, &leaf_hash(b"forged").to_string());
    assert_ne!(forged, head);
    broken(&forged, &rest, Class::Root);
    // Hashes in another order, and of another position.
    let mut peaks: Vec<_> = head.split('"').collect();
    peaks.swap(5, 7);
    broken(&peaks.join("\""), &rest, Class::Root);
    // 300 and 306 have the same number of hashes.
    broken(&tree(&log, 306).replace("306", "300"), &rest, Class::Root);
    broken(&tree(&log, 299), &rest, Class::Missing);
    broken(&tree(&log, 301), &rest, Class::Line);
    // A missing entry after it, or another one with a matching hash.
    broken(&head, &all[from + 1..].concat(), Class::Missing);
    let (mut changed, mut entry) = (all.clone(), log.entries[400].clone());
    let at = entry.windows(3).position(|part| part == b"cam").unwrap();
    entry[at] = b'd';
    changed[400] = format!(
        "{{\"index\":400,\"leaf\":\"{}\",\"record\":{}}}\n",
        leaf_hash(&entry),
        String::from_utf8(entry).unwrap()
    );
    broken(&head, &changed[from..].concat(), Class::Root);
    // All lines exist, but the hashes are wrong.
    let whole = [&all[..from].concat(), &forged[..], &rest].concat();
    let report = check(&[("a", whole)], &note, &keys().options());
    assert_found(&report, Class::Root);
    assert_eq!(report.first_index, Some(300));
}

#[test]
fn a_checkpoint_of_removed_entries_proves_nothing_about_the_others() {
    let log = story(700).log();
    let rest = [tree(&log, 300), lines(&log)[300..].concat()].concat();
    let alone = Options {
        without_head: true,
        ..keys().options()
    };
    for size in [0, 299, 300] {
        let report = check(
            &[("b", rest.clone())],
            &log.checkpoint(size, &keys()),
            &alone,
        );
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{size}: {report}");
        let words = "it proves nothing in them";
        assert!(report.problems[0].contains(words), "{report}");
    }
    let report = check(&[("b", rest)], &log.checkpoint(301, &keys()), &alone);
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert_eq!((report.figures.entries, report.figures.beyond), (1, 399));
}

#[test]
fn without_a_key_or_a_checkpoint_nothing_is_checked() {
    let log = story(10).log();
    let note = log.checkpoint(10, &keys());
    let nothing: [Result<Lines, VerifyError>; 0] = [];
    let told = verify_lines(
        nothing,
        ("note", &note),
        &Options::default(),
        &mut |_, _| {},
    );
    assert!(matches!(told, Err(VerifyError::NoKey)));
    let cursor = b"livetrail-file-cursor 1\norigin a\ncheckpoint 0\nahead 0\n";
    let nothing: [Result<Lines, VerifyError>; 0] = [];
    let told = verify_lines(nothing, ("c", cursor), &keys().options(), &mut |_, _| {});
    assert!(matches!(told, Err(VerifyError::NoCheckpoint { .. })));
}

#[test]
fn rotated_files_are_sound_against_any_older_checkpoint() {
    let log = story(700).log();
    let all = lines(&log);
    let files = |from: &[usize]| -> Vec<(String, String)> {
        let mut ends = from[1..].to_vec();
        ends.push(700);
        let parts = from.iter().zip(ends);
        parts
            .map(|(from, to)| {
                (
                    from.to_string(),
                    [tree(&log, *from), all[*from..to].concat()].concat(),
                )
            })
            .collect()
    };
    let files = files(&[0, 256, 300, 500]);
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    for size in [1, 255, 256, 257, 299, 300, 301, 499, 500, 650, 700] {
        let report = check(&files, &log.checkpoint(size, &keys()), &keys().options());
        assert_sound(&report);
        assert_eq!(report.figures.entries, size as u64, "{report}");
    }
}

/// Repeats the same bytes forever.
struct Endless {
    text: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.text[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at = (self.at + length) % self.text.len();
        Ok(length)
    }
}

#[test]
fn lines_without_end_have_a_time_limit_and_are_no_finding() {
    let log = story(20).log();
    let first = lines(&log).remove(0);
    let note = log.checkpoint(20, &keys());
    let options = Options {
        limits: Limits::within(Duration::from_secs(1)),
        ..keys().options()
    };
    for text in [first, "one line without end".to_owned()] {
        let endless = Endless {
            text: text.clone().into_bytes(),
            at: 0,
        };
        let pipe = Lines {
            name: "pipe".to_owned(),
            reader: Box::new(BufReader::new(endless)),
        };
        let inputs = [Ok(pipe), input("never", "not read")];
        let report = verify_lines(inputs, ("note", &note), &options, &mut |_, _| {}).unwrap();
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{text}: {report}");
        let said = "the check was stopped after 1 s, its time limit";
        assert!(report.problems[0].contains(said), "{text}: {report}");
        assert_eq!(report.place, "pipe");
    }
}
