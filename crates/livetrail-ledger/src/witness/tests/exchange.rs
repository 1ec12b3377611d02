//! When requests are made, and the meaning of answers.

use std::{sync::Arc, time::Duration};

use livetrail_tlog::{Checkpoint, Hash, TreeHead, VerifiedCheckpoint, WitnessAnswer, leaf_hash};
use proptest::prelude::*;

use super::{Model, SECOND, cosigner, options, witness};
use crate::{
    Class, Ledger, Reader, WitnessOptions,
    store::SharedStore,
    tests::harness::{created, entry, identity, small},
    witness::{
        ask::ask,
        exchange::{Alarm, Exchange, Next, Outcome},
    },
};

fn signed(size: u64) -> VerifiedCheckpoint {
    let root = if size == 0 {
        Hash::EMPTY_TREE
    } else {
        leaf_hash(&size.to_be_bytes())
    };
    let text = Checkpoint::new("example.com/audit", TreeHead { size, root }).unwrap();
    let note = identity().sign(&text.encode(), 1_700_000_000).unwrap();
    identity().verifier().unwrap().verify_note(note).unwrap()
}

fn cosigned(checkpoint: &VerifiedCheckpoint, seed: u8) -> WitnessAnswer {
    let mut note = checkpoint.note().clone();
    note.add_signature_of(&cosigner(seed).at(1_700_000_000))
        .unwrap();
    WitnessAnswer::Cosigned(note.signatures().to_vec())
}

#[test]
fn the_size_of_a_witness_is_learned_from_its_409() {
    let mut exchange = Exchange::new(&WitnessOptions::default(), 7);
    let checkpoint = signed(100);
    let head = checkpoint.head();
    assert_eq!(exchange.next(SECOND, head), Next::Ask { old: 0 });
    let outcome = exchange.answered(
        SECOND,
        &witness(1),
        &checkpoint,
        0,
        Ok(WitnessAnswer::Conflict { size: 40 }),
    );
    assert_eq!(outcome, Outcome::Again);
    assert_eq!(exchange.next(SECOND, head), Next::Ask { old: 40 });
    let answer = Ok(cosigned(&checkpoint, 1));
    let Outcome::Cosigned(lines) = exchange.answered(SECOND, &witness(1), &checkpoint, 40, answer)
    else {
        panic!("not cosigned");
    };
    assert_eq!(lines.len(), 1, "its own line, and not the log's");
    assert_eq!(exchange.next(SECOND, head), Next::Wait(11 * SECOND));
    assert_eq!(
        exchange.next(11 * SECOND, head),
        Next::Wait(21 * SECOND),
        "nothing new"
    );
    assert_eq!(
        exchange.next(11 * SECOND, signed(101).head()),
        Next::Ask { old: 100 }
    );
}

#[test]
fn a_witness_that_has_seen_more_or_another_tree_ends_the_exchange() {
    let conflict = |size| Ok(WitnessAnswer::Conflict { size });
    for (old, answer, alarm) in [
        (
            0,
            conflict(101),
            Alarm::Ahead {
                theirs: 101,
                ours: 100,
            },
        ),
        (
            40,
            conflict(u64::MAX),
            Alarm::Ahead {
                theirs: u64::MAX,
                ours: 100,
            },
        ),
        (100, conflict(100), Alarm::Another { size: 100 }),
        (
            100,
            Ok(WitnessAnswer::Inconsistent),
            Alarm::Another { size: 100 },
        ),
        (
            40,
            Ok(WitnessAnswer::Inconsistent),
            Alarm::Another { size: 40 },
        ),
    ] {
        let mut exchange = Exchange::new(&WitnessOptions::default(), 7);
        let outcome = exchange.answered(SECOND, &witness(1), &signed(100), old, answer.clone());
        assert_eq!(outcome, Outcome::Alarm(alarm), "{old}, {answer:?}");
        assert_eq!(exchange.next(SECOND, signed(100).head()), Next::Never);
        let words = alarm.words(&witness(1));
        assert!(
            words.contains("witness1.example") && words.contains("restore"),
            "{words}"
        );
    }
}

#[test]
fn answers_that_are_no_alarm_are_tried_again_later_and_named() {
    let cut = |mut answer: WitnessAnswer| {
        if let WitnessAnswer::Cosigned(lines) = &mut answer {
            lines.retain(|line| line.name().as_str().starts_with("example.com"));
        }
        answer
    };
    for (old, answer, words) in [
        (0, Ok(WitnessAnswer::Forbidden), "verifier key"),
        (0, Ok(WitnessAnswer::UnknownOrigin), "origin"),
        (0, Ok(WitnessAnswer::BadRequest), "C2SP"),
        (0, Ok(WitnessAnswer::Inconsistent), "without a proof"),
        (40, Ok(WitnessAnswer::Conflict { size: 40 }), "409"),
        (0, Ok(cosigned(&signed(99), 1)), "not valid"),
        (0, Ok(cosigned(&signed(100), 2)), "not valid"),
        (0, Ok(cut(cosigned(&signed(100), 1))), "not valid"),
        (0, Ok(WitnessAnswer::Cosigned(Vec::new())), "not valid"),
        (0, Err("the connection broke".to_owned()), "broke"),
    ] {
        let mut exchange = Exchange::new(&WitnessOptions::default(), 7);
        let outcome = exchange.answered(SECOND, &witness(1), &signed(100), old, answer.clone());
        let Outcome::Failed(why) = outcome else {
            panic!("{answer:?}: {outcome:?}");
        };
        assert!(why.contains(words), "{why}");
        assert!(matches!(
            exchange.next(SECOND, signed(100).head()),
            Next::Wait(_)
        ));
    }
}

#[test]
fn a_witness_that_contradicts_itself_is_not_asked_for_a_while() {
    let mut exchange = Exchange::new(&WitnessOptions::default(), 7);
    let checkpoint = signed(100);
    let mut asked = 0;
    while let Next::Ask { old } = exchange.next(SECOND, checkpoint.head()) {
        asked += 1;
        assert!(asked < 10);
        let size = old + 1;
        exchange.answered(
            SECOND,
            &witness(1),
            &checkpoint,
            old,
            Ok(WitnessAnswer::Conflict { size }),
        );
    }
    assert_eq!(asked, 4);
}

#[test]
fn a_witness_that_is_down_is_asked_less_and_less_and_reported_after_a_minute() {
    let options = WitnessOptions::default();
    let mut exchange = Exchange::new(&options, 7);
    let checkpoint = signed(100);
    let (mut now, mut asked, mut reported) = (Duration::ZERO, Vec::new(), Vec::new());
    while now < 600 * SECOND {
        if exchange.is_newly_overdue(now) {
            reported.push(now);
        }
        match exchange.next(now, checkpoint.head()) {
            Next::Wait(until) => now = until,
            Next::Ask { old } => {
                asked.push(now);
                exchange.answered(now, &witness(1), &checkpoint, old, Err("down".to_owned()));
            }
            Next::Never => panic!("gave up"),
        }
    }
    assert_eq!(reported, [60 * SECOND]);
    assert!((12..=24).contains(&asked.len()), "{asked:?}");
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses
            .iter()
            .all(|pause| *pause <= options.longest_pause && *pause >= 5 * SECOND),
        "{pauses:?}"
    );
    // Once it is back, everything is as before, and the next outage is reported again.
    let until = 700 * SECOND;
    let answer = Ok(cosigned(&checkpoint, 1));
    exchange.answered(until, &witness(1), &checkpoint, 0, answer);
    assert_eq!(exchange.failing_since(), None);
    let later = until + 10 * SECOND;
    exchange.answered(
        later,
        &witness(1),
        &signed(200),
        100,
        Err("down".to_owned()),
    );
    assert!(!exchange.is_newly_overdue(later + 59 * SECOND));
    assert!(exchange.is_newly_overdue(later + 60 * SECOND));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is lost on the way, a correct log and a correct witness converge, and no answer
    /// blames the log.
    #[test]
    fn a_right_log_and_a_right_witness_come_together(
        steps in prop::collection::vec((0_u64..400, 0_u32..3, any::<bool>(), any::<bool>()), 1..12),
    ) {
        let model = Model::new(1);
        let mem = created();
        let store: SharedStore = Arc::new(mem);
        let (ledger, _) = Ledger::builder(Arc::clone(&store), identity()).options(small()).open().unwrap();
        let reader = Reader::open(store).unwrap();
        let mut exchange = Exchange::new(&options(), 3);
        let (mut now, mut next) = (Duration::ZERO, 0);
        for (grow, lose, down, restart) in steps {
            if grow > 0 {
                let entries: Vec<_> = (next..next + grow).map(entry).collect();
                next = ledger.append(Class::Strict, &entries).unwrap().next;
                ledger.wait_sealed(next, 60 * SECOND).unwrap();
            }
            {
                let mut state = model.state.lock().unwrap();
                (state.lose, state.down) = (lose, down);
            }
            if restart {
                exchange = Exchange::new(&options(), 5);
            }
            let checkpoint = ledger.checkpoint();
            for round in 0..12 {
                if round == 6 {
                    model.state.lock().unwrap().down = false;
                }
                match exchange.next(now, checkpoint.head()) {
                    Next::Ask { old } => {
                        let answer = ask(model.as_ref(), &witness(1), &reader, &checkpoint, old, SECOND);
                        let outcome = exchange.answered(now, &witness(1), &checkpoint, old, answer);
                        prop_assert!(!matches!(outcome, Outcome::Alarm(_)), "{outcome:?}");
                    }
                    Next::Wait(until) => now = until,
                    Next::Never => prop_assert!(false, "gave up"),
                }
            }
        }
        let checkpoint = ledger.checkpoint();
        let mut rounds = 0;
        while model.state.lock().unwrap().head != Some(checkpoint.head()) {
            rounds += 1;
            prop_assert!(rounds < 20);
            match exchange.next(now, checkpoint.head()) {
                Next::Ask { old } => {
                    let answer = ask(model.as_ref(), &witness(1), &reader, &checkpoint, old, SECOND);
                    exchange.answered(now, &witness(1), &checkpoint, old, answer);
                }
                Next::Wait(until) => now = until,
                Next::Never => prop_assert!(false, "gave up"),
            }
        }
        prop_assert_eq!(model.faults(), vec![]);
    }
}
