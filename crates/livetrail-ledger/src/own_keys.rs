//! All keys of a log: the current ones, and the retired ones, each trusted only up to its
//! hand-over.

use livetrail_tlog::{Checkpoint, Error, KeyId, Note, RetiredKey, VerifiedCheckpoint};

use crate::{
    error::LedgerError, identity::OwnVerifier, layout, manifest::Manifest, store::SharedStore,
};

/// The checkpoint under which keys of a log were retired: signed with them and with their
/// successors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Its size: no checkpoint of a larger tree may be signed with the retired keys.
    pub size: u64,
    /// The ids of the keys that were retired under it: one or two.
    pub keys: Vec<KeyId>,
    /// The signed note, as it was published.
    pub note: Vec<u8>,
}

/// The hand-overs of a trail, by size. A key that was retired before these files existed has none.
pub(crate) fn hand_overs(
    store: &SharedStore,
    manifest: &Manifest,
) -> Result<Vec<HandOver>, LedgerError> {
    let mut found: Vec<HandOver> = Vec::new();
    for key in manifest.retired_keys()? {
        let path = layout::hand_over(key.id());
        let note = match store.read(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LedgerError::io("read", path, error)),
        };
        match found.iter_mut().find(|known| known.note == note) {
            Some(known) => known.keys.push(key.id()),
            None => found.push(HandOver {
                size: size_in(&note, &manifest.origin)?,
                keys: vec![key.id()],
                note,
            }),
        }
    }
    found.sort_by_key(|hand_over| hand_over.size);
    Ok(found)
}

fn size_in(note: &[u8], origin: &str) -> Result<u64, LedgerError> {
    let note = Note::parse(note)?;
    let checkpoint = Checkpoint::parse(note.text())?;
    if checkpoint.origin() != origin {
        return Err(LedgerError::Origin {
            wanted: origin.to_owned(),
            found: checkpoint.origin().to_owned(),
        });
    }
    Ok(checkpoint.head().size)
}

/// The retired keys, oldest first, each with its hand-over. A key without a hand-over is omitted.
pub(crate) fn retired(
    store: &SharedStore,
    manifest: &Manifest,
) -> Result<Vec<RetiredKey>, LedgerError> {
    let keys = manifest.retired_keys()?;
    let now = [manifest.signer_key()?, manifest.cosigner_key()?];
    let mut retired = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let later = keys.iter().skip(at.saturating_add(1)).chain(&now);
        let mut later = later.filter(|later| later.key_type() == key.key_type());
        let path = layout::hand_over(key.id());
        let note = match store.read(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LedgerError::io("read", path, error)),
        };
        let Some(successor) = later.next() else {
            continue;
        };
        let read = RetiredKey::from_hand_over(&manifest.origin, key, successor, &note);
        retired.push(read.map_err(|source| LedgerError::HandOver { path, source })?);
    }
    Ok(retired)
}

/// Verifies a checkpoint with a key of each kind. Neither key may have been retired under a smaller
/// tree.
pub(crate) fn verify(
    store: &SharedStore,
    manifest: &Manifest,
    bytes: &[u8],
) -> Result<VerifiedCheckpoint, LedgerError> {
    let (signer, cosigner) = (manifest.signer_key()?, manifest.cosigner_key()?);
    // Most checkpoints are signed with the current keys: then no other file is read.
    if let Ok(checkpoint) = OwnVerifier::new(&manifest.origin, &signer, &cosigner)?.verify(bytes) {
        return Ok(checkpoint);
    }
    let retired = retired(store, manifest)?;
    let foreign = |source| LedgerError::CheckpointForeign { source };
    let note = Note::parse(bytes).map_err(foreign)?;
    OwnVerifier::with_retired(&manifest.origin, &signer, &cosigner, &retired)?
        .verify_note(note.clone())
        .map_err(|source| match source {
            Error::KeyGivenUp { until, size, .. } => {
                LedgerError::CheckpointRetired { size, bound: until }
            }
            // The signature counts and the cosignature does not.
            Error::Quorum { .. } => given_up(&retired, &note).unwrap_or_else(|| foreign(source)),
            source => foreign(source),
        })
}

/// The error for a note with a key that was retired under a smaller tree.
fn given_up(retired: &[RetiredKey], note: &Note) -> Option<LedgerError> {
    let head = Checkpoint::parse(note.text()).ok()?.head();
    let has_signed = |key: KeyId| note.signatures().iter().any(|line| line.key_id() == key);
    let mut passed = retired.iter().filter(|key| !key.covers(head));
    let key = passed.find(|key| has_signed(key.key().id()))?;
    Some(LedgerError::CheckpointRetired {
        size: head.size,
        bound: key.until().size,
    })
}
