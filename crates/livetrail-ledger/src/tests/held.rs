//! Signing that waits for an answer: over the life of one process, a close, a crash, and the next
//! start.

use std::{sync::Arc, time::Duration};

use super::harness::{Seen, check_whole, created, entry, identity, small};
use crate::{
    Class, ExternalFloor, Floor, Ledger, LedgerError, MemStore, RecoveryReport, SeenTree,
    SharedStore, Store as _, WaitError,
};

const LONG: Duration = Duration::from_secs(60);

/// A party that must answer.
enum Asked {
    Silent,
    Answers(u64),
    NotRequired,
}

impl ExternalFloor for Asked {
    fn largest_seen(&mut self) -> Vec<Floor> {
        match self {
            Self::Answers(size) => vec![Floor {
                source_name: "sink bucket".to_owned(),
                seen: SeenTree::Size(*size),
            }],
            Self::Silent | Self::NotRequired => Vec::new(),
        }
    }

    fn unanswered(&self) -> Vec<String> {
        match self {
            Self::Silent => vec!["sink bucket".to_owned()],
            Self::Answers(_) | Self::NotRequired => Vec::new(),
        }
    }

    fn dismisses(&self, _: &str) -> bool {
        matches!(self, Self::NotRequired)
    }
}

fn open(mem: &MemStore, asked: Asked) -> Result<(Ledger, RecoveryReport), LedgerError> {
    let store: SharedStore = Arc::new(mem.clone());
    let builder = Ledger::builder(store, identity()).options(small());
    builder.floor(asked).open()
}

fn append(ledger: &Ledger, range: std::ops::Range<u64>) {
    let end = range.end;
    let entries: Vec<_> = range.map(entry).collect();
    ledger.append(Class::Strict, &entries).unwrap();
    ledger.wait_durable(end, LONG).unwrap();
}

/// A trail of 30 sealed entries.
fn trail() -> MemStore {
    let mem = created();
    let (ledger, _) = open(&mem, Asked::Answers(0)).unwrap();
    append(&ledger, 0..30);
    ledger.wait_sealed(30, LONG).unwrap();
    ledger.close().unwrap();
    mem
}

#[test]
fn entries_are_durable_and_unsigned_until_the_answer_comes() {
    let mem = trail();
    let (ledger, _) = open(&mem, Asked::Silent).unwrap();
    append(&ledger, 30..700);
    assert_eq!(ledger.status().held, ["sink bucket"]);
    // Many times the interval between two checkpoints.
    let waited = ledger.wait_sealed(31, Duration::from_millis(200));
    assert!(matches!(waited, Err(WaitError::TimedOut)), "{waited:?}");
    assert_eq!(ledger.checkpoint().head().size, 30);
    ledger.answered("sink other").unwrap();
    assert_eq!(ledger.status().held, ["sink bucket"]);
    ledger.answered("sink bucket").unwrap();
    ledger.wait_sealed(700, LONG).unwrap();
    assert!(ledger.status().held.is_empty());
    assert!(mem.read("private/held").is_err());
    ledger.close().unwrap();
    check_whole(&mem, &Seen::default(), 700);
}

#[test]
fn what_was_recorded_under_a_hold_is_sealed_by_no_start_without_an_answer() {
    let mem = trail();
    let (ledger, _) = open(&mem, Asked::Silent).unwrap();
    append(&ledger, 30..60);
    // After an orderly close, or after a crash.
    assert_eq!(ledger.close().unwrap().head().size, 30);
    let error = open(&mem, Asked::Silent).map(drop).unwrap_err();
    assert!(matches!(&error, LedgerError::SigningHeld { names } if names == &["sink bucket"]));
    assert!(error.to_string().contains("sink bucket"), "{error}");
    // A command that asks nobody does not count as an answer either.
    let store: SharedStore = Arc::new(mem.clone());
    let asks_nobody = Ledger::builder(store, identity()).options(small()).open();
    assert!(matches!(
        asks_nobody.map(drop),
        Err(LedgerError::SigningHeld { .. })
    ));
    // A party that has seen more than was sealed: the copy is old, and its later entries are not
    // signed.
    let error = open(&mem, Asked::Answers(90)).map(drop).unwrap_err();
    assert!(matches!(error, LedgerError::FloorAhead { .. }), "{error}");
    for answer in [Asked::Answers(30), Asked::NotRequired] {
        let mem = mem.copy();
        let (ledger, report) = open(&mem, answer).unwrap();
        assert_eq!((report.sealed, report.entries), (30, 60));
        assert!(mem.read("private/held").is_err());
        ledger.close().unwrap();
        check_whole(&mem, &Seen::default(), 60);
    }
}

#[test]
fn what_was_durable_before_the_start_is_sealed_under_a_hold_too() {
    let mem = trail();
    let crashed = {
        let (ledger, _) = open(&mem, Asked::Silent).unwrap();
        append(&ledger, 30..40);
        let copy = mem.copy();
        // As if there had been no hold: an older program, or a crash between durable and sealed.
        copy.remove("private/held").unwrap();
        copy
    };
    let (ledger, report) = open(&crashed, Asked::Silent).unwrap();
    assert_eq!((report.sealed, report.entries), (30, 40));
    assert_eq!(ledger.checkpoint().head().size, 40);
    append(&ledger, 40..41);
    assert_eq!(ledger.close().unwrap().head().size, 40);
}

#[test]
fn a_file_that_cannot_be_understood_is_not_passed_over() {
    let mem = trail();
    mem.write("private/held", b"sink bucket\n", crate::Access::Private)
        .unwrap();
    let error = open(&mem, Asked::NotRequired).map(drop).unwrap_err();
    assert!(matches!(error, LedgerError::HeldFile), "{error}");
}
