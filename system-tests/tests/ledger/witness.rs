//! An independent witness (PyPI `aics-witness`) cosigns a log that is killed and restarted.

use std::process::Command;
use std::time::Duration;

use livetrail_verify::{Directory, Options, Policy, Verdict, keys_in, verify};
use system_tests::{Process, Witness, clock, run};

use crate::copies::copy;
use crate::subject::{Subject, TIMEOUT};

/// How often the writer is killed.
const KILLS: usize = 6;

fn writer(subject: &Subject, witness: &Witness, count: u64, pause_us: u64) -> Command {
    let mut writer = subject.writer(count, pause_us);
    writer.arg(&witness.url).arg(&witness.key);
    writer
}

#[test]
fn a_foreign_witness_cosigns_through_kills_and_never_refuses_for_our_fault() {
    let mut subject = Subject::new();
    subject.fill(100);
    let mut witness = Witness::new(subject.beside("witness"));
    witness.start("example.com/torture", &subject.signer_key());
    for kill in 0..KILLS {
        let command = writer(&subject, &witness, u64::MAX, 500);
        let running = Process::spawn("trail-writer", &command);
        // The writer is killed at a different moment each time: after its nth checkpoint.
        clock::wait_until("checkpoints", Duration::from_secs(30), || {
            running.said().matches("sealed ").count() > 3 + 7 * kill
        });
        subject.hear(&running.crash());
    }
    let last = writer(&subject, &witness, subject.durable + 500, 500);
    subject.hear(&run("trail-writer", &last, TIMEOUT).success());
    let answers = witness.answers();
    assert!(answers(200) > KILLS, "{} cosignatures", answers(200));
    // With `old 0` twice for a start: before the trail is opened, and when it runs.
    let starts = KILLS + 1;
    assert!(answers(409) <= 2 * starts, "{} times 409", answers(409));
    for status in [400, 403, 404, 422, 503] {
        assert_eq!(answers(status), 0, "answers {status}");
    }
    // Those who trust the witness find its line under the trail, and under the kept checkpoints.
    subject.recover_and_verify();
    let keys = std::fs::read_to_string(subject.path().with_extension("keys").join("trail.vkey"));
    let mut policy = Policy::default();
    for key in keys_in(&format!("{}{}", keys.expect("keys"), witness.key)).expect("keys") {
        policy.add(key).expect("a key");
    }
    let archive = subject.path().join("private/checkpoints");
    let newest = std::fs::read_dir(archive).expect("an archive");
    let newest = newest.map(|one| one.expect("a file").path()).max();
    let newest = std::fs::read(newest.expect("a kept checkpoint")).expect("a checkpoint");
    let note = String::from_utf8(newest.clone()).expect("a note");
    assert!(note.contains("— witness.example/w1 "), "{note}");
    std::fs::write(subject.path().join("checkpoint"), newest).expect("a checkpoint to write");
    let options = Options {
        policy,
        ..Options::default()
    };
    let report = verify(&Directory::new(subject.path()), &options, &mut |_, _| {});
    let report = report.expect("a trail");
    assert_eq!(
        report
            .checkpoint
            .as_ref()
            .map_or(0, |one| one.witnessed.len()),
        1,
        "{report}"
    );
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
}

#[test]
fn an_older_copy_is_not_signed_when_a_foreign_witness_has_seen_more() {
    let mut subject = Subject::new();
    subject.fill(100);
    let mut witness = Witness::new(subject.beside("witness"));
    witness.start("example.com/torture", &subject.signer_key());
    let fill = |subject: &mut Subject, count| {
        let command = writer(subject, &witness, count, 0);
        let finished = run("trail-writer", &command, TIMEOUT).success();
        subject.hear(&finished);
    };
    fill(&mut subject, 500);
    let older = subject.beside("older");
    copy(&subject.path(), &older);
    fill(&mut subject, 900);
    std::fs::rename(subject.path(), subject.beside("newer")).expect("a trail to move");
    copy(&older, &subject.path());
    let before = std::fs::read(subject.path().join("checkpoint")).expect("a checkpoint");
    let refused = writer(&subject, &witness, 2_000, 0);
    let refused = run("trail-writer", &refused, TIMEOUT).failure();
    for words in [
        "witness.example/w1",
        "an older copy was restored",
        "restore the newest copy",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.output());
    }
    assert_eq!(refused.stdout, "", "it never opened the trail");
    let after = std::fs::read(subject.path().join("checkpoint")).expect("a checkpoint");
    assert_eq!(before, after, "nothing was signed");
    let answers = witness.answers();
    assert_eq!(answers(422), 0);
}
