//! Every change to a trail is found.

use livetrail_record::{AuditAction, encode_canonical};
use livetrail_verify::{Class, Files, Options, Verdict, verify};

use crate::support::{
    Keys, Log, ORIGIN, archive, assert_found, assert_sound, check, check_with, keys, story,
};

/// 300 records, with one older checkpoint in the archive.
fn small() -> (Log, Files) {
    let log = story(261).log();
    let mut files = log.files(&keys());
    archive(&log, 258, &keys(), &mut files);
    (log, files)
}

/// Bits that carry no evidence: everything in `private/log.json` except origin and keys. The layout
/// of its JSON, the format's number, and the log's id (which only the write-ahead log uses) say
/// nothing about the trail.
fn is_exception(path: &str, bytes: &[u8], at: usize) -> bool {
    if path != "private/log.json" {
        return false;
    }
    let text = std::str::from_utf8(bytes).unwrap();
    let evidence = |name: &str| {
        let value = text.split(&format!("\"{name}\": \"")).nth(1).unwrap();
        let start = text.len() - value.len();
        start..start + value.find('"').unwrap()
    };
    !["origin", "vkey", "cosigner_vkey"]
        .iter()
        .any(|name| evidence(name).contains(&at))
}

#[test]
fn every_bit_of_every_file_is_evidence() {
    let log = story(5).log();
    let mut files = log.files(&keys());
    archive(&log, 3, &keys(), &mut files);
    let (flips, exceptions) = flip(&files, 1, &[0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(
        flips > 15_000 && exceptions < 200,
        "{flips} flips, {exceptions} bytes excepted"
    );
}

#[test]
fn so_are_those_of_a_trail_with_full_tiles_of_two_levels() {
    let (_, files) = small();
    let (flips, _) = flip(&files, 67, &[3]);
    assert!(flips > 1_000, "{flips} flips");
}

/// Flips these bits in every `step`th byte of every file, one at a time; returns the numbers of
/// flips that were found and of bytes that were excepted.
fn flip(files: &Files, step: usize, bits: &[u32]) -> (usize, usize) {
    assert_sound(&check(files, &keys()));
    let options = Options {
        threads: 1,
        ..keys().options()
    };
    let (mut flips, mut exceptions) = (0, 0);
    let mut spoiled = files.clone();
    for (path, bytes) in &files.0 {
        for at in (0..bytes.len()).step_by(step) {
            if is_exception(path, bytes, at) {
                exceptions += 1;
                continue;
            }
            for bit in bits {
                spoiled.0.get_mut(path).unwrap()[at] ^= 1 << bit;
                let report = verify(&spoiled, &options, &mut |_, _| {}).unwrap();
                spoiled.0.get_mut(path).unwrap()[at] ^= 1 << bit;
                assert_eq!(
                    report.verdict,
                    Verdict::NotSound,
                    "bit {bit} of byte {at} of {path}"
                );
                // A larger checkpoint size makes other files count as missing.
                let named = report
                    .findings
                    .iter()
                    .any(|finding| finding.path.as_deref() == Some(path));
                assert!(named, "bit {bit} of byte {at} of {path}: {report}");
                flips += 1;
            }
        }
    }
    (flips, exceptions)
}

#[test]
fn a_file_that_is_not_there_is_missed() {
    let (_, files) = small();
    for path in files.0.keys().filter(|path| !path.starts_with("private/")) {
        let mut spoiled = files.clone();
        spoiled.0.remove(path);
        let report = check(&spoiled, &keys());
        assert_eq!(report.verdict, Verdict::NotSound, "{path}");
        let mut longer = files.clone();
        longer.0.get_mut(path).unwrap().push(b'\n');
        assert_eq!(
            check(&longer, &keys()).verdict,
            Verdict::NotSound,
            "{path} and a byte"
        );
        let mut shorter = files.clone();
        shorter.0.get_mut(path).unwrap().pop();
        assert_eq!(
            check(&shorter, &keys()).verdict,
            Verdict::NotSound,
            "{path} less a byte"
        );
    }
}

/// The tree is computed again over other entries, but the old checkpoint stays: nobody has the key.
fn recomputed(log: &Log, change: impl FnOnce(&mut Log)) -> Files {
    let mut changed = log.clone();
    change(&mut changed);
    let mut files = changed.files(&keys());
    let size = log.entries.len();
    files
        .0
        .insert("checkpoint".to_owned(), log.checkpoint(size, &keys()));
    files
}

#[test]
fn a_changed_tree_under_an_old_signature_is_found() {
    let log = story(700).log();
    let edited = |log: &mut Log| {
        let mut record = livetrail_record::parse_canonical(&log.entries[5]).unwrap();
        record.app = "other".to_owned();
        log.entries[5] = encode_canonical(&record).unwrap();
    };
    for files in [
        recomputed(&log, edited),
        recomputed(&log, |log| log.entries.swap(10, 12)),
        recomputed(&log, |log| {
            let doubled = log.entries[20].clone();
            log.entries.insert(20, doubled);
            log.entries.pop();
        }),
    ] {
        assert_found(&check(&files, &keys()), Class::Root);
    }
    for files in [
        recomputed(&log, |log| drop(log.entries.remove(300))),
        recomputed(&log, |log| drop(log.entries.remove(0))),
        recomputed(&log, |log| drop(log.entries.pop())),
        recomputed(&log, |log| drop(log.entries.drain(..256))),
        recomputed(&log, |log| log.entries.insert(1, log.entries[1].clone())),
    ] {
        let report = check(&files, &keys());
        assert_eq!(report.verdict, Verdict::NotSound, "{report}");
    }
}

#[test]
fn an_edited_entry_is_named_whether_its_tile_was_recomputed_or_not() {
    let log = story(70_000).log();
    let mut files = log.files(&keys());
    let bundle = files.0.get_mut("tile/entries/003").unwrap();
    let at = bundle.len() - 60;
    bundle[at] ^= 4;
    let report = check(&files, &keys());
    assert_found(&report, Class::EntryChanged);
    assert_eq!(report.first_index, Some(1023));
    // A changed tile is distinguished from that by the tile above it.
    let mut files = log.files(&keys());
    files.0.get_mut("tile/0/003").unwrap()[32] ^= 4;
    let report = check(&files, &keys());
    assert_eq!(report.failures, 1, "{report}");
    assert_found(&report, Class::Tile);
    assert_eq!(report.first_index, Some(769));
    let mut files = log.files(&keys());
    files.0.get_mut("tile/1/000").unwrap()[64] ^= 4;
    let report = check(&files, &keys());
    assert_eq!(
        (report.failures, report.first_index),
        (1, Some(512)),
        "{report}"
    );
}

#[test]
fn a_log_signed_again_with_another_key_is_found() {
    let log = story(300).log();
    let other = Keys::new(2);
    assert_eq!(other.vkey().name().as_str(), ORIGIN);
    let files = log.files(&other);
    assert_sound(&check(&files, &other));
    let report = check(&files, &keys());
    assert_found(&report, Class::Signature);
    assert_found(&report, Class::Manifest);
    let mut options = keys().options();
    options.origin = Some("example.com/another".to_owned());
    assert_found(&check_with(&log.files(&keys()), &options), Class::Origin);
}

#[test]
fn with_an_older_checkpoint_a_cut_tail_is_found_and_a_fork_too() {
    let log = story(700).log();
    let mut options = keys().options();
    options.against = vec![("kept".to_owned(), log.checkpoint(600, &keys()))];
    let report = check_with(&log.files(&keys()), &options);
    assert_sound(&report);
    assert_eq!(report.older.consistent, 1);

    let mut cut = log.clone();
    cut.entries.truncate(512);
    // The key's owner did it: the signature is valid.
    let report = check_with(&cut.files(&keys()), &options);
    assert_found(&report, Class::Older);
    assert!(report.to_string().contains("cut off"), "{report}");

    let mut fork = story(550);
    for session in 0..75 {
        fork.of(0xf000 + session, AuditAction::PlayStarted);
        fork.of(0xf000 + session, AuditAction::PlayEnded);
    }
    let fork = fork.log();
    assert_sound(&check(&fork.files(&keys()), &keys()));
    let report = check_with(&fork.files(&keys()), &options);
    assert_found(&report, Class::Older);
    assert!(report.to_string().contains("fork"), "{report}");
    // The archive is such a witness too.
    let mut files = fork.files(&keys());
    archive(&log, 560, &keys(), &mut files);
    assert_found(&check(&files, &keys()), Class::Older);
    let mut files = cut.files(&keys());
    archive(&log, 700, &keys(), &mut files);
    assert_found(&check(&files, &keys()), Class::Older);
}

#[test]
fn a_checkpoint_of_an_earlier_day_put_back_is_a_smaller_trail_and_the_older_one_shows_it() {
    let log = story(300).log();
    let mut files = log.files(&keys());
    files
        .0
        .insert("checkpoint".to_owned(), log.checkpoint(256, &keys()));
    assert_sound(&check(&files, &keys()));
    let mut options = keys().options();
    options.against = vec![("kept".to_owned(), log.checkpoint(300, &keys()))];
    assert_found(&check_with(&files, &options), Class::Older);
}

#[test]
fn invalid_evidence_prevents_an_answer() {
    let log = story(300).log();
    let files = log.files(&keys());
    let mut options = keys().options();
    options.against = vec![("kept".to_owned(), log.checkpoint(200, &Keys::new(2)))];
    assert_eq!(check_with(&files, &options).verdict, Verdict::CouldNotCheck);
    options.against = vec![("kept".to_owned(), b"nothing".to_vec())];
    assert!(verify(&files, &options, &mut |_, _| {}).is_err());
}
