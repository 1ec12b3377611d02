//! Keys that were given up in a change of keys.

use livetrail_tlog::{Note, VerifiedCheckpoint, VerifierKey};

use crate::{error::LedgerError, identity::Identity, layout, store::Store};

/// The hand-over of this key under the published checkpoint, if a change of keys was interrupted
/// after step 2. An older hand-over is from a version that let the log continue with the old key:
/// then a later one replaces it.
pub(crate) fn given_up_under(
    store: &dyn Store,
    key: &VerifierKey,
    published: &VerifiedCheckpoint,
) -> Result<Option<Vec<u8>>, LedgerError> {
    let path = layout::hand_over(key.id());
    let bytes = match store.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io("read", path, error)),
    };
    let note = Note::parse(&bytes).map_err(|source| LedgerError::HandOver { path, source })?;
    Ok((note.text() == published.note().text()).then_some(bytes))
}

/// Refuses keys that were retired in an interrupted change: they sign nothing any longer.
pub(crate) fn refuse_given_up(
    store: &dyn Store,
    identity: &Identity,
    published: &VerifiedCheckpoint,
) -> Result<(), LedgerError> {
    for key in [identity.signer_key(), identity.cosigner_key()] {
        if given_up_under(store, key, published)?.is_some() {
            return Err(LedgerError::KeyGivenUp {
                key: key.to_string(),
            });
        }
    }
    Ok(())
}
