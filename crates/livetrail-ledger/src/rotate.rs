//! Handing a log over to new keys. **The order is the design**: each step says what a crash right there means.
//!
//! The log itself must say so first, in an entry that the published checkpoint covers: whoever trusts the old key learns of the new one by that. The
//! ledger does not know what an entry means, so that is its owner's part.
//!
//! 1. The trail is recovered with the old keys. *Crash: as in any start.*
//! 2. The published checkpoint, signed with the old keys, gets the lines of the new ones, and is archived for ever: the hand-over. *Crash: the
//!    archive has it; nothing else has changed, and the log can go on with either the old keys or this again.*
//! 3. It is published. *Crash: whoever has either key believes it; `log.json` says the old ones still.*
//! 4. It is published once more, for good, under the id of the key that is given up (`handover/<id>`): whoever has only what is served and that key
//!    finds it there. *Crash: as in 3; done again, a later one takes its place.*
//! 5. `log.json` names the new keys, and keeps the old ones by name: from here on the log opens with the new ones alone. *Crash before: as in 3.
//!    After: done.*

use std::sync::Arc;

use livetrail_tlog::VerifiedCheckpoint;

use crate::{
    clock::Clock,
    error::LedgerError,
    identity::Identity,
    integrate::Blocked,
    layout,
    manifest::Manifest,
    recover::{ExternalFloor, Recovered, recover},
    store::{Access, SharedStore, parent, replace},
};

/// Takes a log from one identity to another; can be done again after a failure or a crash at any point.
pub(crate) fn rotate(
    store: &SharedStore,
    old: &Arc<Identity>,
    new: &Identity,
    clock: &Arc<dyn Clock>,
    floors: &mut [Box<dyn ExternalFloor>],
) -> Result<VerifiedCheckpoint, LedgerError> {
    let manifest = Manifest::read(store.as_ref())?;
    if manifest.check(new).is_ok() {
        // It was done; what came after it did not come to its end. Its name may be in the page cache alone.
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
    } = recover(store, old, clock, Vec::new(), floors)?;
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
    sealer
        .add_cosignatures(&published, &lines)
        .map_err(|blocked| match blocked {
            Blocked::Fatal(fatal) => LedgerError::Stopped(fatal),
            Blocked::NoSpace => LedgerError::io(
                "make room: the disk is full, for",
                layout::CHECKPOINT,
                std::io::ErrorKind::StorageFull.into(),
            ),
        })?;
    // Both must take what is published now, or the log would be lost to one of them.
    let handed_over = new
        .verifier()?
        .verify_note(sealer.published().note().clone())?;
    hand_over(store, old, new, &sealer.published().note().encode())?;
    replace(
        store.as_ref(),
        layout::MANIFEST,
        &next.encode()?,
        Access::Private,
    )
    .map_err(|error| LedgerError::io("write", layout::MANIFEST, error))?;
    Ok(handed_over)
}

/// Step 4.
fn hand_over(
    store: &SharedStore,
    old: &Identity,
    new: &Identity,
    note: &str,
) -> Result<(), LedgerError> {
    let told = |error| LedgerError::io("write", layout::HAND_OVERS, error);
    for made in store.create_dir(layout::HAND_OVERS).map_err(told)? {
        store.sync_dir(parent(&made)).map_err(told)?;
    }
    for (key, next) in [
        (old.signer_key(), new.signer_key()),
        (old.cosigner_key(), new.cosigner_key()),
    ] {
        if key != next {
            let path = layout::hand_over(key.id());
            replace(store.as_ref(), &path, note.as_bytes(), Access::Checkpoint)
                .map_err(|error| LedgerError::io("write", path, error))?;
        }
    }
    Ok(())
}
