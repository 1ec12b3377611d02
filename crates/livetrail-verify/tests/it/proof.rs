//! Receipts for one record: correct ones are accepted, and any changed byte is found.

use livetrail_tlog::{Note, ProofFile, inclusion_proof};
use livetrail_verify::{Class, Options, Policy, ProofReport, Verdict, VerifyError, verify_proof};

use crate::support::{Keys, Log, keys, story};

fn receipt(log: &Log, index: usize, keys: &Keys) -> Vec<u8> {
    let size = log.entries.len();
    let proof = inclusion_proof(&log.hashes(), index as u64).unwrap();
    let checkpoint = Note::parse(&log.checkpoint(size, keys)).unwrap();
    let file = ProofFile::new(index as u64, proof, checkpoint).unwrap();
    file.encode().into_bytes()
}

fn check(proof: &[u8], entry: &[u8]) -> ProofReport {
    verify_proof(proof, entry, &keys().options()).unwrap()
}

#[test]
fn a_receipt_stands_alone() {
    let log = story(300).log();
    for index in [0, 1, 255, 256, 299] {
        let proof = receipt(&log, index, &keys());
        let report = check(&proof, &log.entries[index]);
        assert_eq!(report.verdict, Verdict::Sound, "{report}");
        assert_eq!(report.index, Some(index as u64));
        let checkpoint = report.checkpoint.unwrap();
        assert_eq!((checkpoint.size, checkpoint.verified), (300, true));
        assert!(report.findings.is_empty() && report.notes.is_empty());
        // As a command prints it.
        let line = [log.entries[index].as_slice(), b"\n"].concat();
        assert_eq!(check(&proof, &line).verdict, Verdict::Sound);
    }
}

#[test]
fn any_byte_that_is_changed_is_found() {
    let log = story(70).log();
    let (proof, entry) = (receipt(&log, 41, &keys()), &log.entries[41]);
    for at in 0..proof.len() {
        for flip in [0x01, 0x02, 0x20, 0x80] {
            let mut other = proof.clone();
            other[at] ^= flip;
            let report = check(&other, entry);
            assert_eq!(report.verdict, Verdict::NotSound, "byte {at}: {report}");
            assert!(!report.findings.is_empty());
        }
    }
    for at in 0..entry.len() {
        for flip in [0x01, 0x02, 0x20, 0x80] {
            let mut other = entry.clone();
            other[at] ^= flip;
            let report = check(&proof, &other);
            assert_eq!(report.verdict, Verdict::NotSound, "byte {at}: {report}");
        }
    }
    for cut in 0..proof.len() {
        assert_eq!(
            check(&proof[..cut], entry).verdict,
            Verdict::NotSound,
            "{cut}"
        );
    }
}

#[test]
fn another_record_index_key_or_log_is_found_and_named() {
    let log = story(70).log();
    let proof = receipt(&log, 41, &keys());
    let classes = |report: ProofReport| -> Vec<Class> {
        assert_eq!(report.verdict, Verdict::NotSound);
        report
            .findings
            .iter()
            .map(|finding| finding.class)
            .collect()
    };
    assert_eq!(classes(check(&proof, &log.entries[42])), [Class::Proof]);
    assert_eq!(
        classes(check(&receipt(&log, 42, &keys()), &log.entries[41])),
        [Class::Proof]
    );
    assert_eq!(
        classes(check(&receipt(&log, 41, &Keys::new(9)), &log.entries[41])),
        [Class::Signature]
    );
    assert_eq!(classes(check(b"", &log.entries[41])), [Class::Proof]);
    assert_eq!(
        classes(check(&proof, b"no record")),
        [Class::Record, Class::Proof]
    );
    let elsewhere = Options {
        origin: Some("example.com/other".to_owned()),
        ..keys().options()
    };
    let report = verify_proof(&proof, &log.entries[41], &elsewhere).unwrap();
    assert_eq!(classes(report), [Class::Origin]);
    let nobody = verify_proof(&proof, &log.entries[41], &Options::default());
    assert!(matches!(nobody, Err(VerifyError::NoKey)));
}

#[test]
fn unsigned_entries_are_reported() {
    let log = story(70).log();
    let text = String::from_utf8(receipt(&log, 41, &keys())).unwrap();
    let extra = text.replacen('\n', "\nextra aGk=\n", 1);
    let report = check(extra.as_bytes(), &log.entries[41]);
    assert_eq!(
        (report.verdict, report.notes.len()),
        (Verdict::Sound, 1),
        "{report}"
    );
    let mut policy = Policy::default();
    policy.add(keys().vkey()).unwrap();
    let options = Options {
        policy,
        ..Options::default()
    };
    let report = verify_proof(text.as_bytes(), &log.entries[41], &options).unwrap();
    assert_eq!(report.verdict, Verdict::Sound);
    assert!(
        report.notes[0].contains("1 of 2 signature lines"),
        "{report}"
    );
}
