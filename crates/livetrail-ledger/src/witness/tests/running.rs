//! Witnesses next to a ledger with its threads.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use livetrail_tlog::Note;

use super::{Model, SECOND, cosigner, options, witness};
use crate::{
    Class, Ledger, LedgerError, Witness, WitnessEvent, WitnessFloor, WitnessOptions,
    WitnessTransport, Witnesses,
    error::Fatal,
    store::{Access, MemStore, PowerCut, SharedStore, Store as _},
    tests::harness::{created, entry, identity, small},
};

fn open(store: &SharedStore, model: &Arc<Model>, seed: u8) -> Result<Ledger, LedgerError> {
    let transport: Arc<dyn WitnessTransport> = model.clone();
    let floor = WitnessFloor::new(Arc::clone(store), vec![witness(seed)], options(), transport)?;
    let builder = Ledger::builder(Arc::clone(store), identity());
    Ok(builder.options(small()).floor(floor).open()?.0)
}

fn follow(
    ledger: &Ledger,
    model: &Arc<Model>,
    events: &Arc<Mutex<Vec<WitnessEvent>>>,
) -> Witnesses {
    let transport: Arc<dyn WitnessTransport> = model.clone();
    let events = Arc::clone(events);
    let listener = move |event: &WitnessEvent| events.lock().unwrap().push(event.clone());
    Witnesses::start(
        ledger.handle(),
        vec![witness(1)],
        options(),
        transport,
        listener,
    )
    .unwrap()
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < 60 * SECOND, "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

fn append(ledger: &Ledger, count: u64) -> u64 {
    let first = ledger.status().appended;
    let entries: Vec<_> = (first..first + count).map(entry).collect();
    let next = ledger.append(Class::Strict, &entries).unwrap().next;
    ledger.wait_sealed(next, 60 * SECOND).unwrap();
    next
}

#[test]
fn a_witness_follows_a_log_through_crashes_and_never_has_a_reason_to_refuse() {
    let model = Model::new(1);
    let mut mem = created();
    let events = Arc::default();
    for life in 0..12 {
        let store: SharedStore = Arc::new(mem.clone());
        let ledger = open(&store, &model, 1).unwrap();
        let witnesses = follow(&ledger, &model, &events);
        for step in 0..3 {
            let size = append(&ledger, 1 + life * 37 % 300);
            if step == 1 {
                until("a cosignature", || model.size() >= size);
                until("its line", || {
                    witnesses.status()[0].cosigned_size >= Some(size)
                });
            }
        }
        let status = witnesses.status().remove(0);
        assert_eq!(
            (status.error, status.failures, status.conflicts),
            (None, 0, u64::from(life > 0)),
            "life {life}"
        );
        // The power fails while the ledger and its witnesses run.
        mem = mem.power_cut(PowerCut::Subset(life));
        witnesses.stop();
    }
    assert_eq!(model.faults(), []);
    assert_eq!(*events.lock().unwrap(), []);
    // Its cosignatures are kept, each as a checkpoint with its line.
    let kept = mem.list("private/checkpoints").unwrap();
    assert!(kept.len() >= 12, "{} were kept", kept.len());
    for one in kept {
        let note = mem
            .read(&format!("private/checkpoints/{}", one.name))
            .unwrap();
        let note = Note::parse(&note).unwrap();
        assert!(note.verify(&[&witness(1).verifier]).is_ok(), "{}", one.name);
    }
}

#[test]
fn an_outage_of_a_witness_delays_nothing_and_is_reported() {
    let model = Model::new(1);
    let store: SharedStore = Arc::new(created());
    let ledger = open(&store, &model, 1).unwrap();
    model.state.lock().unwrap().down = true;
    let events: Arc<Mutex<Vec<WitnessEvent>>> = Arc::default();
    let transport: Arc<dyn WitnessTransport> = model.clone();
    let seen = Arc::clone(&events);
    let options = WitnessOptions {
        overdue_after: Duration::from_millis(30),
        ..options()
    };
    let witnesses = Witnesses::start(
        ledger.handle(),
        vec![witness(1)],
        options,
        transport,
        move |event| {
            seen.lock().unwrap().push(event.clone());
        },
    )
    .unwrap();
    let size = append(&ledger, 500);
    until("the outage", || !events.lock().unwrap().is_empty());
    assert!(
        matches!(&events.lock().unwrap()[..], [WitnessEvent::Overdue { error, .. }] if error.contains("reach"))
    );
    assert!(witnesses.status()[0].overdue);
    model.state.lock().unwrap().down = false;
    until("its return", || events.lock().unwrap().len() > 1);
    assert!(matches!(events.lock().unwrap()[1], WitnessEvent::Back { size: at, .. } if at == size));
    assert!(!witnesses.status()[0].overdue);
    ledger.close().unwrap();
}

#[test]
fn an_older_copy_is_not_signed_when_a_witness_has_seen_more_or_another() {
    let model = Model::new(1);
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let events = Arc::default();
    let live = |store: &SharedStore, count: u64| {
        let ledger = open(store, &model, 1).unwrap();
        let witnesses = follow(&ledger, &model, &events);
        let size = append(&ledger, count);
        until("a cosignature", || {
            witnesses.status()[0].cosigned_size >= Some(size)
        });
        witnesses.stop();
        ledger.close().unwrap();
    };
    live(&store, 300);
    let yesterday = mem.copy();
    live(&store, 77);
    // At the start, with the hint from that time and without it.
    for hint in [true, false] {
        let copy = yesterday.copy();
        if !hint {
            copy.remove("private/witness.json").unwrap();
        }
        let before = copy.read("checkpoint").unwrap();
        let store: SharedStore = Arc::new(copy.clone());
        let error = open(&store, &model, 1).unwrap_err();
        assert!(
            matches!(
                error,
                LedgerError::FloorAhead {
                    theirs: 377,
                    ours: 300,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            error.to_string().contains("witness1.example") && error.to_string().contains("restore"),
            "{error}"
        );
        assert_eq!(copy.read("checkpoint").unwrap(), before);
    }
    // When it cannot be reached, the remembered size counts.
    model.state.lock().unwrap().down = true;
    let copy = yesterday.copy();
    let hint = mem.read("private/witness.json").unwrap();
    copy.write("private/witness.json", &hint, Access::Private)
        .unwrap();
    let error = open(&(Arc::new(copy) as SharedStore), &model, 1).unwrap_err();
    assert!(
        matches!(error, LedgerError::FloorAhead { theirs: 377, .. }),
        "{error}"
    );
    // The same while the ledger runs, after a start at which the witness could not be reached.
    let copy = yesterday.copy();
    let store: SharedStore = Arc::new(copy.clone());
    let ledger = open(&store, &model, 1).unwrap();
    model.state.lock().unwrap().down = false;
    let witnesses = follow(&ledger, &model, &events);
    until("the stop", || ledger.status().stopped.is_some());
    let stopped = ledger.status().stopped.unwrap();
    assert!(
        matches!(&*stopped, Fatal::Halted { reason } if reason.contains("377")),
        "{stopped}"
    );
    until("the alarm", || !events.lock().unwrap().is_empty());
    assert!(matches!(
        &events.lock().unwrap()[..],
        [WitnessEvent::Alarm { .. }]
    ));
    witnesses.stop();
    drop(ledger);
    // A fork: the copy has grown beyond the tree that the witness has seen, without its knowledge.
    model.state.lock().unwrap().down = true;
    let copy = yesterday.copy();
    let store: SharedStore = Arc::new(copy);
    let ledger = open(&store, &model, 1).unwrap();
    let next = ledger.append(Class::Strict, &["another"; 90]).unwrap().next;
    ledger.wait_sealed(next, 60 * SECOND).unwrap();
    ledger.close().unwrap();
    model.state.lock().unwrap().down = false;
    let error = open(&store, &model, 1).unwrap_err();
    assert!(
        matches!(error, LedgerError::FloorFork { size: 377, .. }),
        "{error}"
    );
    assert_eq!(model.size(), 377);
}

#[test]
fn what_cannot_be_a_witness_is_refused_in_words() {
    let key = cosigner(1).verifier_key();
    for url in [
        "",
        "witness.example",
        "ftp://w.example",
        "http://",
        "https://a b",
        "http://w.example/?x=1",
        "http://u:p@w.example",
    ] {
        let error = Witness::new(url, key.clone()).unwrap_err();
        assert!(
            matches!(error, LedgerError::WitnessUrl { .. }),
            "{url}: {error}"
        );
    }
    let error = Witness::new("https://w.example", identity().signer_key().clone()).unwrap_err();
    assert!(matches!(error, LedgerError::Log(_)), "{error}");
    let store: SharedStore = Arc::new(MemStore::new());
    let with = |witnesses, options| {
        WitnessFloor::new(Arc::clone(&store), witnesses, options, Model::new(1)).map(|_| ())
    };
    assert!(with(vec![witness(1), witness(2)], options()).is_ok());
    let error = with(vec![witness(1), witness(2), witness(1)], options()).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    let error = with((0..33).map(witness).collect(), options()).unwrap_err();
    assert!(error.to_string().contains("33"), "{error}");
    let never = WitnessOptions {
        interval: Duration::ZERO,
        ..options()
    };
    assert!(with(vec![witness(1)], never).is_err());
}

#[test]
fn all_witnesses_cosign_the_same_checkpoints_and_the_newest_of_them_are_published() {
    let models = [Model::new(1), Model::new(2), Model::new(3)];
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let (ledger, _) = Ledger::builder(Arc::clone(&store), identity())
        .options(small())
        .open()
        .unwrap();
    let transport: Arc<dyn WitnessTransport> = Arc::new(Several(models.to_vec()));
    let given = (1..=3).map(witness).collect();
    let quiet = |_: &WitnessEvent| {};
    let witnesses = Witnesses::start(ledger.handle(), given, options(), transport, quiet).unwrap();
    let newest = |number: usize| {
        let bytes = mem.read(&format!("cosigned/{number}")).ok()?;
        let note = Note::parse(&bytes).unwrap();
        let keys = [1, 2, 3].map(|seed| witness(seed).verifier);
        let lines = keys
            .iter()
            .filter(|key| note.verify(&[*key]).is_ok())
            .count();
        assert!(
            lines >= number,
            "cosigned/{number} has {lines} cosignatures"
        );
        Some(
            livetrail_tlog::Checkpoint::parse(note.text())
                .unwrap()
                .head()
                .size,
        )
    };
    // A log that is never idle: without a common checkpoint no two of them would ever cosign the
    // same one.
    for _ in 0..4 {
        let before = newest(3);
        until("a checkpoint of all three", || {
            append(&ledger, 7);
            newest(3) > before
        });
        let sizes = [newest(1), newest(2), newest(3)];
        assert!(sizes[0] >= sizes[1] && sizes[1] >= sizes[2], "{sizes:?}");
    }
    // With one away, two are enough for readers that ask for two.
    models[2].state.lock().unwrap().down = true;
    let before = newest(2);
    until("a checkpoint of two", || {
        append(&ledger, 7);
        newest(2) > before
    });
    assert!(witnesses.finish(60 * SECOND));
    ledger.close().unwrap();
    // A receipt contains the checkpoint with the most cosignatures that covers the entry.
    let reader = crate::Reader::open(store).unwrap();
    let receipt = reader.inclusion_proof(3).unwrap();
    let receipt = livetrail_tlog::ProofFile::parse(receipt.as_bytes()).unwrap();
    let of_all = mem.read("cosigned/3").unwrap();
    assert_eq!(receipt.checkpoint().encode().into_bytes(), of_all);
    let last = reader.checkpoint().unwrap().head().size - 1;
    let receipt = reader.inclusion_proof(last).unwrap();
    let receipt = livetrail_tlog::ProofFile::parse(receipt.as_bytes()).unwrap();
    assert_eq!(receipt.index(), last);
}

#[test]
fn at_an_orderly_stop_the_last_checkpoint_is_cosigned_whatever_the_interval() {
    let model = Model::new(1);
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let ledger = open(&store, &model, 1).unwrap();
    let seldom = WitnessOptions {
        interval: 600 * SECOND,
        longest_pause: 600 * SECOND,
        ..options()
    };
    let start = |transport: Arc<dyn WitnessTransport>| {
        let options = seldom.clone();
        Witnesses::start(
            ledger.handle(),
            vec![witness(1)],
            options,
            transport,
            |_| {},
        )
        .unwrap()
    };
    let witnesses = start(model.clone());
    append(&ledger, 5);
    until("the first cosignature", || {
        witnesses.status()[0].cosigned_size.is_some()
    });
    let last = append(&ledger, 40);
    assert!(model.size() < last, "the interval is long");
    assert!(witnesses.finish(60 * SECOND));
    assert_eq!(model.size(), last);
    // An unreachable one is asked once, and waited for no longer than the limit.
    let witnesses = start(model.clone());
    append(&ledger, 3);
    model.state.lock().unwrap().down = true;
    assert!(
        witnesses.finish(60 * SECOND),
        "it has answered, with an error"
    );
    drop(witnesses);
    let witnesses = start(Arc::new(Never));
    append(&ledger, 3);
    assert!(!witnesses.finish(Duration::from_millis(50)));
    ledger.close().unwrap();
    let kept = Note::parse(&mem.read("cosigned/1").unwrap()).unwrap();
    let kept = livetrail_tlog::Checkpoint::parse(kept.text()).unwrap();
    assert_eq!(kept.head().size, last);
}

/// Several witnesses behind one network, by their numbers.
struct Several(Vec<Arc<Model>>);

impl WitnessTransport for Several {
    fn post(&self, url: &str, body: &str, timeout: Duration) -> Result<crate::RawAnswer, String> {
        let named = |number: &usize| url.starts_with(&format!("http://witness{number}."));
        let number = (1..=self.0.len()).find(named).unwrap();
        self.0[number - 1].post(url, body, timeout)
    }
}

/// A network that does not answer for a long time.
struct Never;

impl WitnessTransport for Never {
    fn post(&self, _: &str, _: &str, _: Duration) -> Result<crate::RawAnswer, String> {
        thread::sleep(SECOND);
        Err("no answer".to_owned())
    }
}
