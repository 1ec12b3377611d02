//! Handing a log over to new keys. **The order is the design**: each step says what a crash right there means.
//!
//! The log itself must say so first, in an entry that the published checkpoint covers: whoever trusts the old key learns of the new one by that. The
//! ledger does not know what an entry means, so that is its owner's part.
//!
//! 1. The trail is recovered with the old keys. *Crash: as in any start.*
//! 2. The published checkpoint, signed with the old keys, gets the lines of the new ones, and is archived for ever: the hand-over. *Crash: the
//!    archive has it; nothing else has changed, and the log can go on with either the old keys or this again.*
//! 3. It is published. *Crash: whoever has either key believes it; `log.json` says the old ones still.*
//! 4. `log.json` names the new keys, and keeps the old ones by name: from here on the log opens with the new ones alone. *Crash before: as in 3.
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
    store::{Access, SharedStore, replace},
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
        // It was done; what came after it did not come to its end.
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
    replace(
        store.as_ref(),
        layout::MANIFEST,
        &next.encode()?,
        Access::Private,
    )
    .map_err(|error| LedgerError::io("write", layout::MANIFEST, error))?;
    Ok(handed_over)
}
