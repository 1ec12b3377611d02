//! What an object says, and the error for one that is not valid.

use livetrail_replica::ReplicaError;
use livetrail_tlog::{Checkpoint, Error as TlogError, TreeHead};

/// Parses a commit.
pub(super) fn head_in(text: &[u8], key: &str, origin: &str) -> Result<TreeHead, ReplicaError> {
    let text = std::str::from_utf8(text).map_err(|error| ReplicaError::Damaged {
        what: format!("{key} is not text"),
        source: Some(error.into()),
    })?;
    let checkpoint = Checkpoint::parse(text).map_err(unreadable(key))?;
    if checkpoint.origin() != origin {
        return Err(damaged(format!("{key} is of another log")));
    }
    Ok(checkpoint.head())
}

pub(super) fn damaged(what: String) -> ReplicaError {
    ReplicaError::Damaged { what, source: None }
}

/// The error for an object that is not valid.
pub(super) fn unreadable(what: &str) -> impl FnOnce(TlogError) -> ReplicaError {
    let what = what.to_owned();
    move |error| ReplicaError::Damaged {
        what,
        source: Some(error.into()),
    }
}
