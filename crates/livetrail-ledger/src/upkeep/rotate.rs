//! Handing a log over to new keys. **The order is the design**: each step's comment says what a
//! crash right there means.
//!
//! The log itself must first record the change, in an entry that the published checkpoint covers:
//! those who trust the old key learn of the new one from that. The ledger does not know the meaning
//! of entries, so its owner appends that entry.
//!
//! 1. The trail is recovered with the old keys. *Crash: as in any start.*
//! 2. The published checkpoint, signed with the old keys, gets the lines of the new ones, and is
//!    kept permanently under the id of the retired key (`handover/<id>`). **From here on the old
//!    key signs nothing**: it counts only up to this size, so no start accepts it. *Crash before:
//!    nothing has changed. After: this step is repeated, with the same keys.*
//! 3. It is archived and published with all lines: a holder of either key can verify it. *Crash: as
//!    in 2.*
//! 4. `log.json` names the new keys, and lists the old ones: from here on the log opens with the
//!    new keys only. *Crash before: as in 3. After: done.*

use std::sync::Arc;

use livetrail_tlog::{RetiredKey, VerifiedCheckpoint, VerifierKey};

use crate::{
    Clock,
    error::LedgerError,
    identity::Identity,
    layout,
    manifest::Manifest,
    store::{Access, SharedStore, Store, parent, replace},
    upkeep::given_up::given_up_under,
    upkeep::recover::{ExternalFloor, Recovered, recover_to_rotate},
    write::companion::Keeper,
};

/// Takes a log from one identity to another. It can be repeated after a failure or a crash at any
/// point.
pub(crate) fn rotate(
    store: &SharedStore,
    old: &Arc<Identity>,
    new: &Identity,
    clock: &Arc<dyn Clock>,
    floors: &mut [Box<dyn ExternalFloor>],
    keeper: Option<Keeper>,
) -> Result<VerifiedCheckpoint, LedgerError> {
    let manifest = Manifest::read(store.as_ref())?;
    if manifest.check(new).is_ok() {
        // The change was made, but the steps after it did not complete. Its name may be only in the
        // page cache.
        store
            .sync_dir(layout::PRIVATE)
            .map_err(|error| LedgerError::io("sync", layout::PRIVATE, error))?;
        return crate::Reader::open(Arc::clone(store))?.checkpoint();
    }
    let next = manifest.rotated(old, new)?;
    let Recovered {
        mut sealer,
        lock: _lock,
        ..
    } = recover_to_rotate(store, old, clock, floors, keeper)?;
    let published = sealer.published();
    if published.head().size == 0 {
        return Err(LedgerError::RotationUnrecorded);
    }
    let time = published
        .log_cosignatures()
        .iter()
        .find_map(|line| line.timestamp_s);
    let signed = new.sign(published.note().text(), time.unwrap_or(1))?;
    let known = published.note().signatures();
    let lines: Vec<_> = signed
        .signatures()
        .iter()
        .filter(|line| !known.contains(line))
        .cloned()
        .collect();
    let published = published.clone();
    for (key, next) in pairs(old, new) {
        check_successor(store.as_ref(), key, next, &published)?;
    }
    let mut note = published.note().clone();
    for line in &lines {
        note.push(line.clone())?;
    }
    // Both identities must accept the checkpoint that is published then, or one of them would lose
    // the log.
    old.verifier()?.verify_note(note.clone())?;
    let handed_over = new.verifier()?.verify_note(note.clone())?;
    hand_over(store, old, new, &note.encode())?;
    sealer.add_cosignatures(&published, &lines)?;
    replace(
        store.as_ref(),
        layout::MANIFEST,
        &next.encode()?,
        Access::Private,
    )
    .map_err(|error| LedgerError::io("write", layout::MANIFEST, error))?;
    Ok(handed_over)
}

/// Step 2.
fn hand_over(
    store: &SharedStore,
    old: &Identity,
    new: &Identity,
    note: &str,
) -> Result<(), LedgerError> {
    let failed = |error| LedgerError::io("write", layout::HAND_OVERS, error);
    for made in store.create_dir(layout::HAND_OVERS).map_err(failed)? {
        store.sync_dir(parent(&made)).map_err(failed)?;
    }
    for (key, _) in pairs(old, new) {
        let path = layout::hand_over(key.id());
        replace(store.as_ref(), &path, note.as_bytes(), Access::Checkpoint)
            .map_err(|error| LedgerError::io("write", path, error))?;
    }
    Ok(())
}

/// The retired keys, each with its successor.
fn pairs<'a>(
    old: &'a Identity,
    new: &'a Identity,
) -> impl Iterator<Item = (&'a VerifierKey, &'a VerifierKey)> {
    [
        (old.signer_key(), new.signer_key()),
        (old.cosigner_key(), new.cosigner_key()),
    ]
    .into_iter()
    .filter(|(key, next)| key != next)
}

/// A key that was retired under the published checkpoint has one successor: a second one would be
/// another history of the keys.
fn check_successor(
    store: &dyn Store,
    key: &VerifierKey,
    next: &VerifierKey,
    published: &VerifiedCheckpoint,
) -> Result<(), LedgerError> {
    let Some(note) = given_up_under(store, key, published)? else {
        return Ok(());
    };
    let origin = published.checkpoint().origin();
    RetiredKey::from_hand_over(origin, key, next, &note)
        .map(|_| ())
        .map_err(|_| LedgerError::KeyGivenUp {
            key: key.to_string(),
        })
}
