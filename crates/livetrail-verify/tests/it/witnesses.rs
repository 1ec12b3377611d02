//! Policies that require witnesses: the newest checkpoint that they have cosigned counts, and later
//! entries are not cosigned yet.

use livetrail_tlog::{CosignatureSigner, KeyName, Note, ProofFile, VerifierKey, inclusion_proof};
use livetrail_verify::{Class, Files, Options, Policy, Verdict, verify_proof};

use crate::events::of_site;
use crate::support::{Keys, Log, assert_found, assert_sound, check_with, keys, sign, story};

fn witness(number: u8) -> CosignatureSigner {
    let name = KeyName::new(format!("w{number}.example")).unwrap();
    CosignatureSigner::from_seed(name, &[number; 32])
}

/// Two of three.
fn options() -> Options {
    let own = keys().second.verifier_key();
    let key = |number| witness(number).verifier_key();
    let text = format!(
        "log {}\nlog {own}\nwitness a {}\nwitness b {}\nwitness c {}\ngroup few 2 a b c\nquorum few\n",
        keys().vkey(),
        key(11),
        key(12),
        key(13)
    );
    Options {
        policy: Policy::parse(&text).unwrap(),
        threads: 2,
        ..Options::default()
    }
}

/// The signed checkpoint of a size with the cosignatures of these witnesses, at the time of the
/// log's own.
fn cosigned(log: &Log, size: usize, keys: &Keys, witnesses: &[u8], time_s: u64) -> Vec<u8> {
    let mut note = Note::parse(&sign(log.head(size), keys)).unwrap();
    for number in witnesses {
        note.add_signature_of(&witness(*number).at(time_s)).unwrap();
    }
    note.encode().into_bytes()
}

const NOW_S: u64 = 1_763_805_600;

/// As the ledger publishes it: by the number of cosigners.
fn publish(files: &mut Files, number: usize, note: Vec<u8>) {
    files.0.insert(format!("cosigned/{number}"), note);
}

fn archive_it(files: &mut Files, size: usize, note: Vec<u8>) {
    let path = format!("private/checkpoints/{size:020}.note");
    files.0.insert(path, note);
}

#[test]
fn the_newest_cosigned_checkpoint_is_judged_and_what_is_above_it_is_not_cosigned_yet() {
    let log = story(300).log();
    for newest in [0, 1, 255, 299, 300] {
        for is_archived in [true, false] {
            let mut files = log.files(&keys());
            let few = cosigned(&log, newest, &keys(), &[11, 13], NOW_S);
            let one = cosigned(&log, 300, &keys(), &[11], NOW_S);
            files.0.insert("checkpoint".to_owned(), one.clone());
            if is_archived {
                archive_it(&mut files, newest, few.clone());
            } else {
                publish(&mut files, 1, one);
                publish(&mut files, 2, few);
            }
            for strict in [false, true] {
                let options = Options {
                    strict,
                    ..options()
                };
                let report = if is_archived {
                    check_with(&files, &options)
                } else {
                    of_site(&files, &options)
                };
                assert_sound(&report);
                assert_eq!(report.remarks, 0, "{report}");
                let said = report.cosigned.as_ref().unwrap();
                assert_eq!((said.size, said.by.len()), (newest as u64, 2), "{report}");
                let told = report.to_string();
                let above = format!("{} entries above them are not cosigned yet", 300 - newest);
                assert!(told.contains(&above), "{told}");
            }
        }
    }
    // With the published one cosigned there is no note.
    let mut files = log.files(&keys());
    let note = cosigned(&log, 300, &keys(), &[12, 13], NOW_S);
    files.0.insert("checkpoint".to_owned(), note);
    let report = check_with(&files, &options());
    assert_sound(&report);
    assert!(!report.to_string().contains("not cosigned"), "{report}");
}

#[test]
fn without_a_checkpoint_that_enough_have_cosigned_it_is_not_sound() {
    let log = story(300).log();
    let mut files = log.files(&keys());
    assert_found(&check_with(&files, &options()), Class::Signature);
    // One of three, twice, and a stranger.
    for (number, witnesses) in [[11, 11], [11, 77]].iter().enumerate() {
        let note = cosigned(&log, 200, &keys(), &witnesses[..1], NOW_S);
        archive_it(&mut files, 200 + number, note);
    }
    publish(&mut files, 1, cosigned(&log, 250, &keys(), &[12], NOW_S));
    assert_eq!(
        check_with(&files, &options()).verdict,
        Verdict::NotSound,
        "each has one"
    );
}

#[test]
fn a_cosigned_checkpoint_of_another_tree_or_of_a_larger_one_is_found() {
    let log = story(300).log();
    let mut other = log.clone();
    other.entries[120] = other.entries[121].clone();
    for (note, class) in [
        (
            cosigned(&other, 200, &keys(), &[11, 12], NOW_S),
            Class::Older,
        ),
        (
            cosigned(&story(400).log(), 400, &keys(), &[11, 12], NOW_S),
            Class::Older,
        ),
        (b"rubbish".to_vec(), Class::Older),
    ] {
        let mut files = log.files(&keys());
        publish(&mut files, 1, note.clone());
        publish(&mut files, 2, note);
        assert_found(&check_with(&files, &options()), class);
        assert_found(&of_site(&files, &options()), class);
    }
}

#[test]
fn a_long_end_without_cosignatures_is_remarked() {
    let log = story(300).log();
    let mut files = log.files(&keys());
    let note = cosigned(&log, 200, &keys(), &[11, 12], NOW_S - 7_300);
    archive_it(&mut files, 200, note);
    let report = check_with(&files, &options());
    assert_sound(&report);
    assert_eq!(report.remarks, 1, "{report}");
    assert!(
        report.to_string().contains("2 h before the newest"),
        "{report}"
    );
    let strict = Options {
        strict: true,
        ..options()
    };
    assert_found(&check_with(&files, &strict), Class::Signature);
}

#[test]
fn a_receipt_that_is_not_cosigned_yet_is_no_accusation() {
    let log = story(300).log();
    let receipt = |witnesses: &[u8]| {
        let proof = inclusion_proof(&log.hashes(), 41).unwrap();
        let note = cosigned(&log, 300, &keys(), witnesses, NOW_S);
        let file = ProofFile::new(41, proof, Note::parse(&note).unwrap()).unwrap();
        verify_proof(file.encode().as_bytes(), &log.entries[41], &options()).unwrap()
    };
    assert_eq!(receipt(&[12, 13]).verdict, Verdict::Sound);
    for too_few in [&[][..], &[12], &[12, 77]] {
        let report = receipt(too_few);
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        assert!(report.to_string().contains("later"), "{report}");
    }
    let key: VerifierKey = witness(12).verifier_key();
    assert!(!receipt(&[]).to_string().contains(&key.to_string()));
}
