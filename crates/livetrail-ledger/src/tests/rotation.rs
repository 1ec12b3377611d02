//! New keys for a log: who can read which checkpoints, and a crash at every step.

use std::{io, sync::Arc};

use livetrail_tlog::{CheckpointVerifier, Ed25519Verifier, Note, VerifiedCheckpoint};

use super::faults::changes;
use super::harness::{Core, Seen, Still, check_whole, created, entry, identity, small, with_keys};
use crate::{
    Class, Clock, Fault, FaultPlan, FaultStore, Identity, Ledger, LedgerError, MemStore, PowerCut,
    Reader, Seed, SharedStore, Store as _, upkeep::rotate::rotate,
};

/// A trail of 30 sealed entries and 2 that are only durable.
fn trail() -> MemStore {
    let mem = created();
    let store: SharedStore = Arc::new(mem.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    core.append(30);
    core.commit().unwrap();
    core.integrate().unwrap();
    core.seal().unwrap();
    core.append(2);
    core.commit().unwrap();
    mem
}

fn to(store: &SharedStore, new: &Identity) -> Result<VerifiedCheckpoint, LedgerError> {
    let clock: Arc<dyn Clock> = Arc::new(Still);
    rotate(store, &Arc::new(identity()), new, &clock, &mut [], None)
}

fn opens(mem: &MemStore, identity: Identity) -> Result<u64, LedgerError> {
    let store: SharedStore = Arc::new(mem.copy());
    let (ledger, report) = Ledger::builder(store, identity).options(small()).open()?;
    ledger.close().unwrap();
    Ok(report.entries)
}

#[test]
fn from_the_hand_over_on_the_new_keys_sign_and_both_believe_it() {
    let mem = trail();
    let store: SharedStore = Arc::new(mem.clone());
    let follower = Reader::open(Arc::clone(&store)).unwrap();
    let new = with_keys(3, 4);
    let handed_over = to(&store, &new).unwrap();
    assert_eq!(handed_over.head().size, 32, "what was durable is sealed");
    let kept = mem.read("private/checkpoints/00000000000000000032.note");
    let published = mem.read("checkpoint").unwrap();
    assert_eq!(kept.unwrap(), published);
    let note = Note::parse(&published).unwrap();
    assert_eq!(note.signatures().len(), 4);
    // It is stored under the id of each retired key, and of no other.
    for key in [identity().signer_key(), identity().cosigner_key()] {
        assert_eq!(
            mem.read(&format!("handover/{}", key.id())).unwrap(),
            published
        );
        let found = follower.hand_over(key.id()).unwrap();
        assert_eq!(found, Some(published.clone()));
    }
    assert_eq!(follower.hand_over(new.signer_key().id()).unwrap(), None);
    assert_eq!(mem.list("handover").unwrap().len(), 2);
    for who in [identity(), new.clone()] {
        assert!(who.verifier().unwrap().verify_note(note.clone()).is_ok());
    }
    // The log continues with the new keys only.
    let error = opens(&mem, identity()).unwrap_err();
    assert!(matches!(error, LedgerError::Key { .. }), "{error}");
    let (ledger, _) = Ledger::builder(Arc::clone(&store), new.clone())
        .options(small())
        .open()
        .unwrap();
    ledger.append(Class::Strict, &[entry(32)]).unwrap();
    ledger.close().unwrap();
    let note = Note::parse(&mem.read("checkpoint").unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 2);
    let old = Ed25519Verifier::new(identity().signer_key()).unwrap();
    let old = CheckpointVerifier::new("example.com/audit", old);
    assert!(
        old.verify_note(note).is_err(),
        "the old key does not sign it"
    );
    // An open reader continues to work.
    assert_eq!(follower.checkpoint().unwrap().head().size, 33);
    let reader = Reader::open(store).unwrap();
    assert_eq!(reader.verifier_keys()[0], *new.signer_key());
    assert_eq!(
        reader.retired_keys().unwrap(),
        [
            identity().signer_key().clone(),
            identity().cosigner_key().clone()
        ]
    );
    check_whole(&mem, &Seen::default(), 33);
}

#[test]
fn a_key_that_was_given_up_is_believed_up_to_its_hand_over_and_no_further() {
    let mem = trail();
    let before = mem.read("checkpoint").unwrap();
    let store: SharedStore = Arc::new(mem.clone());
    let reader = Reader::open(Arc::clone(&store)).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let change =
        |old: Identity, new: Identity| rotate(&store, &Arc::new(old), &new, &clock, &mut [], None);
    change(identity(), with_keys(3, 2)).unwrap();
    change(with_keys(3, 2), with_keys(3, 4)).unwrap();
    let text = |size| {
        let head = livetrail_tlog::TreeHead {
            size,
            root: livetrail_tlog::leaf_hash(b"any"),
        };
        livetrail_tlog::Checkpoint::new("example.com/audit", head)
            .unwrap()
            .encode()
    };
    let signed = |who: Identity, size| who.sign(&text(size), 7).unwrap().encode();
    // A reader from before the changes, and one from after them.
    for reader in [&reader, &Reader::open(Arc::clone(&store)).unwrap()] {
        let size = |note: &[u8]| Ok::<_, LedgerError>(reader.verify_checkpoint(note)?.head().size);
        assert_eq!(size(&before).unwrap(), 30);
        for who in [identity(), with_keys(3, 2), with_keys(3, 4)] {
            assert_eq!(size(signed(who, 31).as_bytes()).unwrap(), 31);
        }
        assert_eq!(size(signed(with_keys(3, 4), 33).as_bytes()).unwrap(), 33);
        let stranger = size(signed(with_keys(9, 9), 32).as_bytes());
        assert!(matches!(
            stranger,
            Err(LedgerError::CheckpointForeign { .. })
        ));
    }
    // At the size of the hand-over only its tree, above it none; also for a reader from before the
    // change.
    for who in [identity(), with_keys(3, 2)] {
        let other = reader.verify_checkpoint(signed(who, 32).as_bytes());
        assert!(
            matches!(other, Err(LedgerError::CheckpointRetired { size: 32, .. })),
            "{other:?}"
        );
    }
    for who in [identity(), with_keys(3, 2), with_keys(1, 4)] {
        let beyond = reader.verify_checkpoint(signed(who, 33).as_bytes());
        assert!(
            matches!(
                beyond,
                Err(LedgerError::CheckpointRetired {
                    size: 33,
                    bound: 32
                })
            ),
            "{beyond:?}"
        );
    }
    let hand_overs = reader.hand_overs().unwrap();
    assert_eq!(
        hand_overs.len(),
        2,
        "two notes, because the second has more lines"
    );
    assert!(
        hand_overs
            .iter()
            .all(|one| one.size == 32 && one.keys.len() == 1)
    );
    let retired = reader.retired().unwrap();
    assert!(retired.iter().all(|retired| retired.until().size == 32));
    let known: Vec<_> = retired.into_iter().map(|one| one.key().clone()).collect();
    assert_eq!(known, reader.retired_keys().unwrap());
    // A file that is not a hand-over is reported, and its key is not trusted.
    let path = format!("handover/{}", identity().signer_key().id());
    mem.write(&path, &before, crate::Access::Checkpoint)
        .unwrap();
    for refused in [
        reader.retired().map(|_| ()),
        reader.verify_checkpoint(&before).map(|_| ()),
    ] {
        assert!(
            matches!(refused, Err(LedgerError::HandOver { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn one_of_the_keys_can_be_changed_alone_and_again() {
    let mem = trail();
    let store: SharedStore = Arc::new(mem.clone());
    to(&store, &with_keys(1, 4)).unwrap();
    let note = Note::parse(&mem.read("checkpoint").unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 3);
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let again =
        |old: Identity, new: Identity| rotate(&store, &Arc::new(old), &new, &clock, &mut [], None);
    again(with_keys(1, 4), with_keys(5, 4)).unwrap();
    assert_eq!(opens(&mem, with_keys(5, 4)).unwrap(), 32);
    assert_eq!(
        Reader::open(Arc::clone(&store))
            .unwrap()
            .retired_keys()
            .unwrap()
            .len(),
        2
    );
    // Repeating it has the same result.
    again(with_keys(1, 4), with_keys(5, 4)).unwrap();
    assert_eq!(
        Reader::open(Arc::clone(&store))
            .unwrap()
            .retired_keys()
            .unwrap()
            .len(),
        2
    );
    // A retired key cannot return.
    let error = again(with_keys(5, 4), with_keys(1, 4)).unwrap_err();
    assert!(matches!(error, LedgerError::KeyRetired { .. }), "{error}");
}

#[test]
fn what_is_not_this_log_is_refused_with_nothing_changed() {
    let mem = trail();
    let before: Vec<_> = mem
        .paths()
        .iter()
        .map(|path| mem.read(path).unwrap())
        .collect();
    let store: SharedStore = Arc::new(mem.clone());
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let new = with_keys(3, 4);
    let error = rotate(
        &store,
        &Arc::new(with_keys(9, 2)),
        &new,
        &clock,
        &mut [],
        None,
    )
    .unwrap_err();
    assert!(matches!(error, LedgerError::Key { .. }), "{error}");
    let other = Identity::from_seeds(
        "example.com/other",
        &Seed::new([3; 32]),
        &Seed::new([4; 32]),
    );
    let error = to(&store, &other.unwrap()).unwrap_err();
    assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
    let after: Vec<_> = mem
        .paths()
        .iter()
        .map(|path| mem.read(path).unwrap())
        .collect();
    assert!(before == after);
    let empty: SharedStore = Arc::new(created());
    let error = to(&empty, &new).unwrap_err();
    assert!(matches!(error, LedgerError::RotationUnrecorded), "{error}");
}

#[test]
fn after_a_crash_at_any_step_one_of_the_keys_opens_the_log_or_the_change_must_end() {
    let fresh = trail();
    let counting = FaultStore::over_memory(fresh.copy());
    to(
        &(Arc::new(counting.clone()) as SharedStore),
        &with_keys(3, 4),
    )
    .unwrap();
    let mut crashes = 0;
    for (op, count) in counting.counts() {
        for nth in 0..count {
            for fault in [
                Fault::Error(io::ErrorKind::Other),
                Fault::ErrorButDone(io::ErrorKind::Other),
                Fault::Short,
                Fault::KilledBefore,
                Fault::KilledAfter,
            ] {
                if !changes(op) && !matches!(fault, Fault::Error(_)) {
                    continue;
                }
                let plan = FaultPlan { op, nth, fault };
                let mem = fresh.copy();
                let faulty = FaultStore::over_memory(mem.clone());
                faulty.arm(plan);
                let store: SharedStore = Arc::new(faulty);
                let done = to(&store, &with_keys(3, 4)).is_ok();
                drop(store);
                for cut in [
                    PowerCut::Synced,
                    PowerCut::Prefix(nth),
                    PowerCut::Subset(nth),
                ] {
                    crashes += 1;
                    comes_back(&mem.power_cut(cut), done, &format!("{plan:?}, {cut:?}"));
                }
                comes_back(&mem, done, &format!("{plan:?}, process killed"));
            }
        }
    }
    assert!(crashes > 400, "{crashes}");
}

fn hand_over_of(identity: &Identity) -> String {
    format!("handover/{}", identity.signer_key().id())
}

fn comes_back(mem: &MemStore, done: bool, what: &str) {
    let (old, new) = (opens(mem, identity()), opens(mem, with_keys(3, 4)));
    // Once retired, the old key signs nothing, even before the log has the new one.
    let given_up = matches!(old, Err(LedgerError::KeyGivenUp { .. }));
    assert_eq!(
        given_up,
        new.is_err() && mem.read(&hand_over_of(&identity())).is_ok(),
        "{what}: {old:?}, {new:?}"
    );
    assert!(
        given_up || matches!((&old, &new), (Ok(32), Err(_)) | (Err(_), Ok(32))),
        "{what}: {old:?}, {new:?}"
    );
    if given_up {
        let other = to(&(Arc::new(mem.copy()) as SharedStore), &with_keys(7, 8));
        assert!(
            matches!(other, Err(LedgerError::KeyGivenUp { .. })),
            "{what}: a second successor: {other:?}"
        );
    }
    assert!(!done || new.is_ok(), "{what}: it was done");
    let store: SharedStore = Arc::new(mem.copy());
    to(&store, &with_keys(3, 4)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let kept = store.read("private/checkpoints/00000000000000000032.note");
    let kept = Note::parse(&kept.unwrap()).unwrap();
    let served = store.read(&hand_over_of(&identity()));
    let served = Note::parse(&served.unwrap()).unwrap();
    assert_eq!(served.text(), kept.text(), "{what}");
    for who in [identity(), with_keys(3, 4)] {
        assert!(
            who.verifier().unwrap().verify_note(served.clone()).is_ok(),
            "{what}"
        );
    }
    for who in [identity(), with_keys(3, 4)] {
        assert!(
            who.verifier().unwrap().verify_note(kept.clone()).is_ok(),
            "{what}"
        );
    }
    let (ledger, report) = Ledger::builder(store, with_keys(3, 4))
        .options(small())
        .open()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(report.is_clean(), "{what}: {report:?}");
    ledger.close().unwrap();
}
