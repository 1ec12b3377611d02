//! All keys of a log: those that sign now, and those that were given up, each believed up to its hand-over and no further.

use livetrail_tlog::{Checkpoint, KeyId, KeyType, Note, VerifiedCheckpoint, VerifierKey};

use crate::{
    error::LedgerError, identity::OwnVerifier, layout, manifest::Manifest, store::SharedStore,
};

/// The checkpoint under which keys of a log were given up: signed with them, and with those that took their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Its size: no checkpoint of a larger one may be signed with the keys that were given up.
    pub size: u64,
    /// The ids of the keys that were given up under it: one or two.
    pub keys: Vec<KeyId>,
    /// The signed note, as it was published.
    pub note: Vec<u8>,
}

/// The hand-overs of a trail, by size. A key that was given up before there were such files has none.
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

/// Verifies a checkpoint with any pair of the log's keys, none of which was given up under a smaller one.
pub(crate) fn verify(
    store: &SharedStore,
    manifest: &Manifest,
    bytes: &[u8],
) -> Result<VerifiedCheckpoint, LedgerError> {
    let invalid = |source| LedgerError::CheckpointForeign { source };
    let note = Note::parse(bytes).map_err(invalid)?;
    let bounds = hand_overs(store, manifest)?;
    let mut keys = vec![
        (manifest.signer_key()?, u64::MAX),
        (manifest.cosigner_key()?, u64::MAX),
    ];
    for key in manifest.retired_keys()? {
        let own = |hand_over: &&HandOver| hand_over.keys.contains(&key.id());
        if let Some(hand_over) = bounds.iter().find(own) {
            keys.push((key, hand_over.size));
        }
    }
    let named = |key: &VerifierKey| {
        let mut ids = note.signatures().iter().map(|line| line.key_id());
        ids.any(|id| id == key.id())
    };
    keys.retain(|(key, _)| named(key));
    let mut refused = livetrail_tlog::Error::NoLogSignature;
    for (signer, signed_to) in of_type(&keys, KeyType::ED25519) {
        for (cosigner, cosigned_to) in of_type(&keys, KeyType::COSIGNATURE) {
            let verifier = OwnVerifier::new(&manifest.origin, signer, cosigner)?;
            match verifier.verify_note(note.clone()) {
                Ok(checkpoint) => {
                    let bound = (*signed_to).min(*cosigned_to);
                    let size = checkpoint.head().size;
                    if size <= bound {
                        return Ok(checkpoint);
                    }
                    return Err(LedgerError::CheckpointRetired { size, bound });
                }
                Err(error) => refused = error,
            }
        }
    }
    Err(invalid(refused))
}

fn of_type(
    keys: &[(VerifierKey, u64)],
    wanted: KeyType,
) -> impl Iterator<Item = &(VerifierKey, u64)> {
    keys.iter().filter(move |(key, _)| key.key_type() == wanted)
}
