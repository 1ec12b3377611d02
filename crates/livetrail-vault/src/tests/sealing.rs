//! The keys of the segments of a write-ahead log.

use std::sync::Arc;

use livetrail_ledger::{
    Access, FaultPlan, FaultStore, MemStore, PowerCut, SharedStore, Store as _,
};

use crate::{
    MAX_OPENING_BYTES, VaultError,
    sealed::{SEALED_EXTRA_BYTES, SEGMENT_KEYS_FILE, SegmentKeys},
};

fn open(mem: &MemStore) -> SegmentKeys {
    SegmentKeys::open(Arc::new(mem.clone()), 4).unwrap()
}

#[test]
fn an_opening_opens_until_its_key_is_destroyed() {
    let mem = MemStore::new();
    let mut keys = open(&mem);
    let key = keys.create(256).unwrap();
    let sealed = key.seal(7, b"alice").unwrap();
    assert_eq!(sealed.len(), 5 + SEALED_EXTRA_BYTES);
    assert_ne!(
        sealed,
        key.seal(7, b"alice").unwrap(),
        "no nonce is used twice"
    );
    assert!(key.open(8, &sealed).is_err() && keys.create(512).unwrap().open(7, &sealed).is_err());
    drop(keys);
    let mut keys = open(&mem);
    let key = keys.get(256).unwrap();
    assert_eq!(**key.open(7, &sealed).unwrap(), *b"alice");
    assert_ne!(sealed, key.seal(7, b"alice").unwrap(), "nor after a start");
    let largest = vec![b'x'; MAX_OPENING_BYTES];
    assert_eq!(
        **key.open(9, &key.seal(9, &largest).unwrap()).unwrap(),
        *largest
    );
    assert!(matches!(
        key.seal(9, &vec![b'x'; MAX_OPENING_BYTES + 1]),
        Err(VaultError::TooLarge { .. })
    ));
    keys.destroy(256).unwrap();
    keys.destroy(256).unwrap();
    assert!(matches!(
        keys.get(256),
        Err(VaultError::NoSegmentKey { segment: 256 })
    ));
    assert_eq!(keys.segments().collect::<Vec<_>>(), [512]);
    let bytes = mem
        .power_cut(PowerCut::Synced)
        .read(SEGMENT_KEYS_FILE)
        .unwrap();
    assert_eq!(bytes[64..128], [0; 64]);
    assert!(open(&mem).get(256).is_err());
}

#[test]
fn a_copy_of_the_vault_has_no_keys_of_segments() {
    let mem = MemStore::new();
    let vault = super::open(&mem);
    open(&mem).create(1).unwrap();
    mem.write("another.key", b"secret", Access::Private)
        .unwrap();
    let copy = MemStore::new();
    vault
        .copy_to_store(&crate::disk::Disk(Arc::new(copy.clone())))
        .unwrap();
    assert!(!copy.exists(SEGMENT_KEYS_FILE).unwrap() && !copy.exists("another.key").unwrap());
    assert!(copy.exists(crate::disk::VAULT).unwrap());
}

#[test]
fn the_number_of_keys_is_bounded_and_places_are_used_again() {
    let mem = MemStore::new();
    let mut keys = open(&mem);
    for segment in 0..4 {
        keys.create(segment).unwrap();
    }
    assert!(matches!(keys.create(9), Err(VaultError::Full { .. })));
    keys.create(3).unwrap();
    keys.destroy(1).unwrap();
    keys.create(9).unwrap();
    assert_eq!(mem.read(SEGMENT_KEYS_FILE).unwrap().len(), 5 * 64);
    assert_eq!(open(&mem).segments().collect::<Vec<_>>(), [0, 2, 3, 9]);
}

#[test]
fn whatever_fails_a_key_that_was_given_lives_and_a_destroyed_one_is_gone() {
    let life = |store: SharedStore| -> (Option<Vec<u8>>, bool) {
        let (mut sealed, mut destroyed) = (None, false);
        let steps = || -> Result<(), VaultError> {
            let mut keys = SegmentKeys::open(store, 4)?;
            keys.create(1)?;
            let key = keys.create(2)?;
            sealed = Some(key.seal(0, b"alice")?);
            keys.destroy(1)?;
            destroyed = true;
            Ok(())
        };
        let _ = steps();
        (sealed, destroyed)
    };
    let counted = FaultStore::over_memory(MemStore::new());
    life(Arc::new(counted.clone()));
    let mut cases = 0;
    for (op, count) in counted.counts() {
        for (nth, fault) in
            (0..count).flat_map(|nth| super::faults::FAULTS.map(|fault| (nth, fault)))
        {
            let mem = MemStore::new();
            let faulty = FaultStore::over_memory(mem.clone());
            faulty.arm(FaultPlan { op, nth, fault });
            let (sealed, destroyed) = life(Arc::new(faulty.clone()));
            for cut in [
                PowerCut::All,
                PowerCut::Synced,
                PowerCut::Prefix(nth),
                PowerCut::Subset(nth),
            ] {
                let what = format!("{op:?} {nth} {fault:?} {cut:?}");
                let keys = open(&mem.power_cut(cut));
                if let Some(sealed) = &sealed {
                    let key = keys
                        .get(2)
                        .unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(**key.open(0, sealed).unwrap(), *b"alice", "{what}");
                }
                assert!(!destroyed || keys.get(1).is_err(), "{what}");
                cases += 1;
            }
        }
    }
    assert!(cases > 100, "{cases}");
}
