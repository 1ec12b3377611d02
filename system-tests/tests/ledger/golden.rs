//! Trails of earlier formats: they verify forever, and today's ledger continues them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use livetrail_verify::{Directory, Options, Policy, Verdict, keys_in, verify};

use crate::copies::copy;
use crate::subject::Subject;

/// Entries under the checkpoint of the trail in the first format, and those that only its
/// write-ahead log has.
const SEALED: u64 = 341;
const DURABLE: u64 = 350;

/// The length of its segments; the zeros behind their last records are not kept.
const SEGMENT_BYTES: u64 = 256 << 10;

/// The folder of the trail in the first format.
pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/format-1")
}

#[test]
fn a_trail_of_the_first_format_verifies_with_an_older_checkpoint_and_two_crashes_in_it() {
    let keys = fs::read_to_string(golden().join("keys/trail.vkey")).expect("the verifier keys");
    let mut policy = Policy::default();
    for key in keys_in(&keys).expect("keys") {
        policy.add(key).expect("a key of a log");
    }
    let older = fs::read(golden().join("older.checkpoint")).expect("an older checkpoint");
    let options = Options {
        policy,
        against: vec![("older".to_owned(), older)],
        ..Options::default()
    };
    let trail = Directory::new(golden().join("trail"));
    let report = verify(&trail, &options, &mut |_, _| {}).expect("a trail to verify");
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert_eq!(report.figures.entries, SEALED, "{report}");
    assert_eq!(report.older.consistent, 1, "{report}");
    assert_eq!(report.sessions.crashes, 2, "{report}");
    assert!(report.sessions.closed > 0, "{report}");
}

#[test]
fn todays_ledger_opens_a_trail_of_the_first_format_recovers_its_tail_and_goes_on() {
    let mut subject = Subject::new();
    copy(&golden().join("trail"), &subject.path());
    for entry in fs::read_dir(subject.path().join("private/wal")).expect("segments") {
        let path = entry.expect("a segment").path();
        let segment = fs::OpenOptions::new().write(true).open(path);
        let segment = segment.expect("a segment to write to");
        segment.set_len(SEGMENT_BYTES).expect("room for zeros");
    }
    let keys = subject.keys();
    copy(&golden().join("keys"), &keys);
    for seed in ["signer", "cosigner"] {
        let only_its_owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(keys.join(seed), only_its_owner).expect("the mode of a seed");
    }
    subject.keep_checkpoint();
    let older = fs::read(golden().join("older.checkpoint")).expect("an older checkpoint");
    subject.keep("older", older);
    // A later opening must find everything that was reported to the last boot as durable.
    subject.durable = DURABLE;
    subject.recover_and_verify();
    assert!(
        subject.durable > DURABLE,
        "this boot has records of its own"
    );
    subject.fill(2_000);
    subject.recover_and_verify();
    assert!(subject.check_roots() > 2);
}
